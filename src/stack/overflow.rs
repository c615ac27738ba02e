//! Tells which green thread has overflowed its stack, before the process aborts.
//!
//! A stack overflow touches a guard, and the kernel turns that into a signal with the address. A handler in front of
//! std's, on a signal stack of its own, looks the address up among the chunks (the signal's code differs by the kind of
//! guard, so it is not asked). Every other fault goes on to the handler that was there before: std's still reports
//! overflows of plain threads, and a null pointer still ends the process by SIGSEGV.
//!
//! A signal that comes near the end of a stack, and whose handler does not ask for the signal stack (SA_ONSTACK), is an
//! overflow as well: the kernel itself finds no room for the handler's frame, and says so by a SIGSEGV without an address.
//!
//! It takes an address in a guard for an overflow. A wild pointer that happens to hit one is reported as such too.

use std::cell::Cell;
use std::fmt::{self, Write};
use std::process::abort;

use super::{StackSize, arena};
use crate::sys::fault::{self, AltStack, Fault};
use crate::sys::fork::ForkSafeOnce;

/// Calls back with the id and the name of the green thread that runs on this OS thread, at most once; not at all if
/// there is none. It runs in a signal handler: it takes no lock and allocates nothing.
pub(crate) type Describe = fn(&mut dyn FnMut(u64, Option<&str>));

static DESCRIBE: ForkSafeOnce<Describe> = ForkSafeOnce::new();

/// Installs the handler, once for the process.
pub(crate) fn install(describe: Describe) {
    DESCRIBE.get_or_init(|| describe);
    // So that the handler finds it known.
    crate::sys::mem::page_size();
    fault::install(on_fault);
}

/// Gives this OS thread a signal stack if it has none: without one no overflow could be reported. To be called on each
/// OS thread that runs green threads; it is taken back when the thread ends.
pub(crate) fn prepare_thread() {
    thread_local! {
        static STACK: Cell<Option<AltStack>> = const { Cell::new(None) };
    }
    // Without memory for it the process still dies of an overflow, only not with a message.
    if let Ok(Some(stack)) = AltStack::install_if_missing() {
        STACK.set(Some(stack));
    }
}

fn on_fault(fault: Fault) {
    let (size, by_signal) = match fault {
        Fault::Access(address) => (arena::guard_below(address, 0), false),
        Fault::NoFrame { sp, frame } => (arena::guard_below(sp, frame), true),
        Fault::Other => return,
    };
    if let Some(size) = size {
        report(size, by_signal);
        abort();
    }
}

fn report(size: StackSize, by_signal: bool) {
    let mut message = OverflowMessage { bytes: [0; 1024], len: 0 };
    let mut known = false;
    if let Some(describe) = DESCRIBE.get() {
        describe(&mut |id, name| {
            known = true;
            let name = name.unwrap_or("<unnamed>");
            let _ = write!(message, "\ngreen thread '{name:.200}' (id {id}) has overflowed its stack\n");
        });
    }
    if !known {
        let _ = message.write_str("\na green thread has overflowed its stack\n");
    }
    if by_signal {
        let _ = message.write_str("(no room for a signal handler, which was installed without SA_ONSTACK)\n");
    }
    let bytes = size.bytes();
    let _ = writeln!(message, "(stack size {bytes} bytes; set it with Builder::stack_size or GREEN_STACK_SIZE)");
    let _ = message.write_str("fatal runtime error: stack overflow, aborting\n");
    fault::write_stderr(&message.bytes[..message.len]);
}

/// Text in a fixed space; what does not fit is cut off.
struct OverflowMessage {
    bytes: [u8; 1024],
    len: usize,
}

impl Write for OverflowMessage {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let len = text.len().min(room.len());
        room[..len].copy_from_slice(&text.as_bytes()[..len]);
        self.len += len;
        Ok(())
    }
}
