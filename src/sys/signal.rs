//! Memory faults: a handler in front of the one that was there, and a signal stack to run it on.
//!
//! # Invariants
//!
//! 1. `OLD` is written before our handler for that signal is installed, and never again.
//! 2. What runs in the handler takes no lock and allocates nothing: it may have interrupted either.
//! 3. An [`AltStack`] belongs to its thread, and is unmapped only when the kernel does not use it any more.

use std::cell::UnsafeCell;
use std::mem::{MaybeUninit, transmute};
use std::sync::Once;
use std::{io, ptr};

use crate::base::atomic::{AtomicPtr, Ordering};
use crate::sys::mem;

/// macOS reports some faults on protected pages as bus errors.
const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// The actions that were there before.
struct OldActions(UnsafeCell<[MaybeUninit<libc::sigaction>; SIGNALS.len()]>);

// SAFETY: invariant 1: written under the `Once`, before the handler that reads it can run.
unsafe impl Sync for OldActions {}

static OLD: OldActions = OldActions(UnsafeCell::new([MaybeUninit::uninit(); SIGNALS.len()]));

/// What looks at a fault first; set before the handler is installed.
static ON_FAULT: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

type OnFault = fn(usize);

/// Has `on_fault` called with the address of every memory fault from now on. If it returns, the fault goes to the
/// handler that was there before, as if ours were not. Only the first call does anything.
///
/// `on_fault` runs in the signal handler: see invariant 2.
pub(crate) fn install(on_fault: OnFault) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // ORDERING: Release pairs with the Acquire in `handle`, on whatever thread the fault is.
        ON_FAULT.store(on_fault as *mut (), Ordering::Release);
        for (index, signal) in SIGNALS.into_iter().enumerate() {
            // SAFETY: `install_one` is called once for each signal, under the `Once`.
            unsafe { install_one(index, signal) };
        }
    });
}

/// # Safety
///
/// Once for each signal, `index` being its place in `SIGNALS`.
unsafe fn install_one(index: usize, signal: libc::c_int) {
    // SAFETY: `OLD` is ours until the handler is installed (invariant 1); a null action only reads; all of the old
    // action is written if the call succeeds, and zeros are a valid `sigaction` if it does not (SIG_DFL).
    unsafe {
        let old = &mut (*OLD.0.get())[index];
        old.as_mut_ptr().write_bytes(0, 1);
        libc::sigaction(signal, ptr::null(), old.as_mut_ptr());
        // Signals blocked, and calls restarted, as the old handler wants it: the kernel then does that part of
        // standing in for it.
        let mut new = old.assume_init();
        new.sa_flags &= libc::SA_NODEFER | libc::SA_RESTART;
        new.sa_flags |= libc::SA_SIGINFO | libc::SA_ONSTACK;
        new.sa_sigaction = handle as *const () as usize;
        libc::sigaction(signal, &raw const new, ptr::null_mut());
    }
}

extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo to a handler with SA_SIGINFO.
    let info_ref = unsafe { &*info };
    // What a process sent has no address. Linux gives it a code of zero or less.
    let sent = cfg!(target_os = "linux") && info_ref.si_code <= 0;
    if !sent {
        // ORDERING: Acquire pairs with the Release in `install`.
        let on_fault = ON_FAULT.load(Ordering::Acquire);
        // SAFETY: `install` stored an `OnFault` before it installed this handler.
        let on_fault = unsafe { transmute::<*mut (), OnFault>(on_fault) };
        // SAFETY: SIGSEGV and SIGBUS of the kernel's own carry an address.
        on_fault(unsafe { info_ref.si_addr() }.addr());
    }
    // SAFETY: the arguments are the kernel's own.
    unsafe { chain(signal, sent, info, context) };
}

/// Does what the kernel would have done had the old action been there.
///
/// # Safety
///
/// In the handler of `signal`, with its arguments.
unsafe fn chain(signal: libc::c_int, sent: bool, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(index) = SIGNALS.iter().position(|known| *known == signal) else { return };
    // SAFETY: invariant 1: written before this handler was installed.
    let old = unsafe { (*OLD.0.get())[index].assume_init_ref() };
    match old.sa_sigaction {
        // A fault that is ignored ends the process all the same.
        libc::SIG_IGN if sent => {}
        // On return the instruction faults again, and finds the default action. What was sent does not come again:
        // it waits, blocked, for the return.
        libc::SIG_DFL | libc::SIG_IGN => {
            reset(signal);
            if sent {
                // SAFETY: no requirements.
                unsafe { libc::raise(signal) };
            }
        }
        handler => {
            if old.sa_flags & libc::SA_RESETHAND != 0 {
                reset(signal);
            }
            // SAFETY: the old action's address is a handler of the form that its flags say, and the arguments are
            // the kernel's own.
            unsafe {
                if old.sa_flags & libc::SA_SIGINFO != 0 {
                    type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
                    transmute::<usize, Handler>(handler)(signal, info, context);
                } else {
                    transmute::<usize, extern "C" fn(libc::c_int)>(handler)(signal);
                }
            }
        }
    }
}

/// Makes the default action that of `signal`.
fn reset(signal: libc::c_int) {
    // SAFETY: zeros are a valid `sigaction`: SIG_DFL, no flags, nothing blocked.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, &raw const default, ptr::null_mut());
    }
}

/// Writes to standard error, past all of std's locks. What does not go out is lost.
pub(crate) fn write_stderr(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the pointer and the length are those of a slice.
        let wrote = unsafe { libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(wrote) {
            Ok(wrote) => bytes = &bytes[wrote..],
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// A signal stack of this OS thread's own, a guard below it.
#[derive(Debug)]
pub(crate) struct AltStack(mem::Pages);

impl AltStack {
    /// Installs one if the thread has none. std gives one to each thread that it starts, but only in a program whose
    /// `main` is Rust's.
    ///
    /// # Errors
    ///
    /// The system's, if there is no memory for it.
    pub(crate) fn install_if_missing() -> io::Result<Option<AltStack>> {
        if current().is_some() {
            return Ok(None);
        }
        let guard = mem::page_size();
        let len = (least_len() + 32 * 1024).next_multiple_of(guard) + guard;
        let stack = AltStack(mem::Pages { base: mem::reserve(len)?, len });
        // SAFETY: both the guard and what is above it are in the new mapping, which nobody else knows, and which
        // stays until the drop below.
        unsafe {
            mem::protect(mem::Pages { base: stack.0.base, len: guard })?;
            set(stack.0.base.add(guard).as_ptr().cast(), len - guard, 0)?;
        }
        Ok(Some(stack))
    }
}

impl Drop for AltStack {
    fn drop(&mut self) {
        let ours = |stack: libc::stack_t| stack.ss_sp.addr().wrapping_sub(self.0.base.addr().get()) < self.0.len;
        // SAFETY: with SS_DISABLE the pointer is not read.
        if current().is_some_and(ours) && unsafe { set(ptr::null_mut(), self.0.len, libc::SS_DISABLE) }.is_err() {
            return;
        }
        // SAFETY: ours, and the kernel has just let go of it, or never had it (invariant 3).
        unsafe { mem::unmap(self.0) };
    }
}

/// The signal stack that this OS thread has now.
fn current() -> Option<libc::stack_t> {
    let mut stack = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
    // SAFETY: a null new stack only reads.
    unsafe { libc::sigaltstack(ptr::null(), &raw mut stack) };
    (stack.ss_flags & libc::SS_DISABLE == 0).then_some(stack)
}

/// # Safety
///
/// The memory stays as long as the kernel has it.
unsafe fn set(base: *mut libc::c_void, len: usize, flags: libc::c_int) -> io::Result<()> {
    let stack = libc::stack_t { ss_sp: base, ss_flags: flags, ss_size: len };
    // SAFETY: the caller vouches for the memory.
    match unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What the kernel itself writes there, which wide vector registers make large.
fn least_len() -> usize {
    #[cfg(target_os = "linux")]
    // SAFETY: no requirements; zero if the kernel does not say.
    let told = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
    #[cfg(not(target_os = "linux"))]
    let told = 0;
    told.max(libc::MINSIGSTKSZ)
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{SIGNALS, current, ptr, set};

    pub(crate) const SIGSEGV: i32 = libc::SIGSEGV;
    pub(crate) const SIGABRT: i32 = libc::SIGABRT;

    /// An action to find installed.
    #[derive(Clone, Copy)]
    pub(crate) enum Action {
        Default,
        Ignore,
        /// The older form of a handler, with the signal only.
        Plain(extern "C" fn(i32)),
    }

    pub(crate) fn set_action(action: Action, flags: i32) {
        // SAFETY: zeros are a valid `sigaction`, and the handler is of the form without SA_SIGINFO.
        unsafe {
            let mut new: libc::sigaction = std::mem::zeroed();
            new.sa_flags = flags;
            new.sa_sigaction = match action {
                Action::Default => libc::SIG_DFL,
                Action::Ignore => libc::SIG_IGN,
                Action::Plain(handler) => handler as *const () as usize,
            };
            for signal in SIGNALS {
                libc::sigaction(signal, &raw const new, ptr::null_mut());
            }
        }
    }

    pub(crate) const ONCE_ONLY: i32 = libc::SA_RESETHAND;

    /// Sends this thread a SIGSEGV that no fault is behind.
    pub(crate) fn send_segv() {
        // SAFETY: no requirements.
        unsafe { libc::raise(libc::SIGSEGV) };
    }

    /// Ends the process at once, also from a signal handler.
    pub(crate) fn exit(code: i32) -> ! {
        // SAFETY: no requirements.
        unsafe { libc::_exit(code) }
    }

    /// Takes away the signal stack that std gave this thread.
    pub(crate) fn drop_alt_stack() {
        if let Some(stack) = current() {
            // SAFETY: with SS_DISABLE the pointer is not read.
            let _ = unsafe { set(ptr::null_mut(), stack.ss_size, libc::SS_DISABLE) };
        }
    }

    pub(crate) fn has_alt_stack() -> bool {
        current().is_some()
    }
}
