//! Memory faults: a handler in front of the one that was there, and a signal stack to run it on.
//!
//! # Invariants
//!
//! 1. `OLD` is written before our handler for that signal is installed, and never again.
//! 2. What runs in the handler takes no lock and allocates nothing: it may have interrupted either.
//! 3. The handler stays installed: what a handler that was there before does to the action is put back, and remembered.
//! 4. An [`AltStack`] belongs to its thread, and is unmapped only when the kernel does not use it any more.

use std::cell::UnsafeCell;
use std::mem::{MaybeUninit, transmute};
use std::time::Duration;
use std::{io, ptr};

use crate::base::atomic::{AtomicBool, AtomicPtr, Ordering};
use crate::sys::clock::real_ns;
use crate::sys::fork::ForkSafeOnce;
use crate::sys::poll::comes_to_have_room;
use crate::sys::{library, mem};

/// So long who crashes waits for room on standard error.
const PATIENCE: Duration = Duration::from_secs(1);

/// macOS reports some faults on protected pages as bus errors.
const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// The actions that were there before.
struct OldActions(UnsafeCell<[MaybeUninit<libc::sigaction>; SIGNALS.len()]>);

// SAFETY: invariant 1: written in `install_one`, before the handler that reads it can run.
unsafe impl Sync for OldActions {}

static OLD: OldActions = OldActions(UnsafeCell::new([MaybeUninit::uninit(); SIGNALS.len()]));

/// The old handlers that have made way for the default action: it stands behind ours from then on.
static MADE_WAY: [AtomicBool; SIGNALS.len()] = [const { AtomicBool::new(false) }; SIGNALS.len()];

/// What looks at a fault first; set before the handler is installed.
static ON_FAULT: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

type OnFault = fn(Fault);

/// A SIGSEGV or SIGBUS that the kernel has a reason for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The interrupted code accessed this address, and does so again when the handler returns.
    Access(usize),
    /// The interrupted code was about to be interrupted by another signal, whose handler was to run on the same stack, and
    /// there the kernel could not write the `frame` bytes that a handler returns by.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux tells"))]
    NoFrame { sp: usize, frame: usize },
    /// Any other: the kernel tells no address.
    Other,
}

/// Has `on_fault` called with every memory fault from now on. If it returns, the fault goes to the
/// handler that was there before, as if ours were not. Only the first call does anything.
///
/// `on_fault` runs in the signal handler: see invariant 2.
pub(crate) fn install(on_fault: OnFault) {
    static ONCE: ForkSafeOnce<()> = ForkSafeOnce::new();
    ONCE.get_or_init(|| {
        library::pin();
        // ORDERING: Release pairs with the Acquire in `handle`, on whatever thread the fault is.
        ON_FAULT.store(on_fault as *mut (), Ordering::Release);
        for (index, signal) in SIGNALS.into_iter().enumerate() {
            // SAFETY: `install_one` is called once for each signal, under the turn of `ONCE`; in a child that makes it again, it finds our handler and returns.
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
        let mut before = MaybeUninit::<libc::sigaction>::zeroed();
        libc::sigaction(signal, ptr::null(), before.as_mut_ptr());
        let mut new = before.assume_init();
        if new.sa_sigaction == handle as *const () as usize {
            return; // This is a child, and its parent had come so far.
        }
        (*OLD.0.get())[index] = before;
        // Signals blocked, and calls restarted, as the old handler wants it: the kernel then does that part of
        // standing in for it.
        new.sa_flags &= libc::SA_NODEFER | libc::SA_RESTART;
        new.sa_flags |= libc::SA_SIGINFO | libc::SA_ONSTACK;
        new.sa_sigaction = handle as *const () as usize;
        libc::sigaction(signal, &raw const new, ptr::null_mut());
    }
}

extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo to a handler with SA_SIGINFO.
    let code = unsafe { (*info).si_code };
    // What a process sent has no address. Linux gives it a code of zero or less.
    let sent = cfg!(target_os = "linux") && code <= 0;
    let fault = match code {
        // SAFETY: the context is the kernel's own.
        os::SI_KERNEL => unsafe { os::without_address(context) },
        // SAFETY: SIGSEGV and SIGBUS of the kernel's own carry an address, but for the case above.
        _ => Fault::Access(unsafe { (*info).si_addr() }.addr()),
    };
    if !sent {
        // ORDERING: Acquire pairs with the Release in `install`.
        let on_fault = ON_FAULT.load(Ordering::Acquire);
        // SAFETY: `install` stored an `OnFault` before it installed this handler.
        let on_fault = unsafe { transmute::<*mut (), OnFault>(on_fault) };
        on_fault(fault);
    }
    let Some(index) = SIGNALS.iter().position(|known| *known == signal) else { return };
    // SAFETY: invariant 1: written before this handler was installed.
    let old = unsafe { (*OLD.0.get())[index].assume_init_ref() };
    // ORDERING: Relaxed: a flag and nothing else.
    let made_way = MADE_WAY[index].load(Ordering::Relaxed);
    match old.sa_sigaction {
        // A fault that is ignored ends the process all the same.
        libc::SIG_IGN if sent => {}
        handler if made_way || matches!(handler, libc::SIG_DFL | libc::SIG_IGN) => {
            // On return the instruction faults again, and finds the default action. What does not come again is made to:
            // it waits, blocked, for the return.
            reset(signal);
            if sent || !matches!(fault, Fault::Access(_)) {
                // SAFETY: no requirements.
                unsafe { libc::raise(signal) };
            }
        }
        // SAFETY: it is the old action of this signal, with a handler, and the arguments are the kernel's own.
        _ => unsafe { call_old(index, old, info, context) },
    }
}

/// Calls the handler that was there before, and sees to it that ours is called again (invariant 3). std's, for one, makes
/// the default action that of the signal and returns, whatever the fault was: the default action then stands behind ours. Ours
/// so meets a fault that comes again once more, and one that does not has not ended the reports of overflows.
///
/// # Safety
///
/// In the handler of signal number `index` in `SIGNALS`, with its arguments; `old` is its old action, and has a handler.
unsafe fn call_old(index: usize, old: &libc::sigaction, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let signal = SIGNALS[index];
    let before = installed(signal);
    // SAFETY: the old action's address is a handler of the form that its flags say, and the arguments are the kernel's own.
    unsafe {
        if old.sa_flags & libc::SA_SIGINFO != 0 {
            type SignalHandler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
            transmute::<usize, SignalHandler>(old.sa_sigaction)(signal, info, context);
        } else {
            transmute::<usize, extern "C" fn(libc::c_int)>(old.sa_sigaction)(signal);
        }
    }
    let reset = before.sa_sigaction != libc::SIG_DFL && installed(signal).sa_sigaction == libc::SIG_DFL;
    if reset || old.sa_flags & libc::SA_RESETHAND != 0 {
        MADE_WAY[index].store(true, Ordering::Relaxed);
    }
    if reset {
        // SAFETY: the action was installed before.
        unsafe { libc::sigaction(signal, &raw const before, ptr::null_mut()) };
    }
}

/// The action that `signal` has now.
fn installed(signal: libc::c_int) -> libc::sigaction {
    // SAFETY: zeros are a valid `sigaction`, and a null new action only reads.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, ptr::null(), &raw mut action);
        action
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

/// Writes to standard error, past all of std's locks. What does not go out is lost: with a descriptor that does not block, what its reader has not made room for in a second, all in all. (It may be
/// the thread that writes here.)
pub(crate) fn write_stderr(mut bytes: &[u8]) {
    let begin_ns = real_ns();
    let left = || PATIENCE.saturating_sub(Duration::from_nanos(real_ns().saturating_sub(begin_ns)));
    while !bytes.is_empty() {
        // SAFETY: the pointer and the length are those of a slice.
        let wrote = unsafe { libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(wrote) {
            Ok(wrote) => bytes = &bytes[wrote..],
            Err(_) => match io::Error::last_os_error().kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock if !left().is_zero() && comes_to_have_room(libc::STDERR_FILENO, left()) => {}
                _ => return,
            },
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
        // SAFETY: ours, and the kernel has just let go of it, or never had it (invariant 4).
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

/// What the kernel itself writes for a handler, which wide vector registers make large.
fn least_len() -> usize {
    #[cfg(target_os = "linux")]
    // SAFETY: no requirements; zero if the kernel does not say.
    let told = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
    #[cfg(not(target_os = "linux"))]
    let told = 0;
    told.max(libc::MINSIGSTKSZ)
}

/// What only Linux tells: why there is no address.
#[cfg(target_os = "linux")]
mod os {
    use super::{Fault, least_len};

    /// The code of what the kernel does not tell the address of.
    pub(super) const SI_KERNEL: libc::c_int = libc::SI_KERNEL;
    /// The ABI's red zone, and what aligning the frame may take.
    const BESIDES: usize = 256;

    /// # Safety
    ///
    /// The context is that of a signal handler.
    pub(super) unsafe fn without_address(context: *mut libc::c_void) -> Fault {
        // SAFETY: the caller's.
        match unsafe { interrupted_sp(context.cast()) } {
            Some(sp) => Fault::NoFrame { sp, frame: least_len() + BESIDES },
            None => Fault::Other,
        }
    }

    /// Where the interrupted code had its stack pointer; `None` if it was a general protection fault: an address that no
    /// address can be, which x86_64 does not tell.
    #[cfg(target_arch = "x86_64")]
    unsafe fn interrupted_sp(context: *const libc::ucontext_t) -> Option<usize> {
        const GENERAL_PROTECTION: libc::greg_t = 13;
        // SAFETY: the caller's.
        let registers = unsafe { &(*context).uc_mcontext.gregs };
        let sp = registers[libc::REG_RSP as usize] as usize;
        (registers[libc::REG_TRAPNO as usize] != GENERAL_PROTECTION).then_some(sp)
    }

    #[cfg(target_arch = "aarch64")]
    unsafe fn interrupted_sp(context: *const libc::ucontext_t) -> Option<usize> {
        // SAFETY: the caller's.
        Some(unsafe { (*context).uc_mcontext.sp } as usize)
    }

    #[cfg(all(target_arch = "riscv64", target_env = "gnu"))]
    unsafe fn interrupted_sp(context: *const libc::ucontext_t) -> Option<usize> {
        // SAFETY: the caller's.
        Some(unsafe { (*context).uc_mcontext.__gregs[libc::REG_SP] } as usize)
    }

    #[cfg(not(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        all(target_arch = "riscv64", target_env = "gnu")
    )))]
    unsafe fn interrupted_sp(_context: *const libc::ucontext_t) -> Option<usize> {
        None
    }
}

#[cfg(not(target_os = "linux"))]
mod os {
    use super::Fault;

    /// No code that there is: every fault has an address.
    pub(super) const SI_KERNEL: libc::c_int = libc::c_int::MIN;

    /// # Safety
    ///
    /// None.
    pub(super) unsafe fn without_address(_context: *mut libc::c_void) -> Fault {
        Fault::Other
    }
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

#[cfg(all(test, target_os = "linux", not(any(miri, green_emulated))))]
mod tests {
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::sys::fork::tests::in_a_new_process;

    #[test]
    fn who_crashed_waited_for_a_reader_that_made_a_little_room_again_and_again() {
        /// Makes room for a write; so many, and so slowly that all of them take ten times as long as the writer may wait.
        const PART: usize = 4096;
        const PARTS: usize = 200;
        in_a_new_process(|| {
            let (mut reader, writer) = std::io::pipe().unwrap();
            // SAFETY: the calls take numbers of descriptors of this test's, and of one that nobody else uses now.
            let (own, capacity) = unsafe {
                assert_eq!(libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK), 0);
                let own = libc::dup(libc::STDERR_FILENO);
                assert!(own >= 0 && libc::dup2(writer.as_raw_fd(), libc::STDERR_FILENO) >= 0);
                (own, libc::fcntl(writer.as_raw_fd(), libc::F_GETPIPE_SZ) as usize)
            };
            drop(writer);
            let is_over = AtomicBool::new(false);
            let read = std::thread::scope(|scope| {
                let reads = scope.spawn(|| {
                    let (mut read, mut part) = (0, [0; PART]);
                    while !is_over.load(Ordering::Relaxed) {
                        std::thread::sleep(PATIENCE / (PARTS as u32 / 10));
                        read += reader.read(&mut part).unwrap();
                    }
                    std::io::copy(&mut reader, &mut std::io::sink()).unwrap() as usize + read
                });
                write_stderr(&vec![b'.'; capacity + PARTS * PART]);
                // SAFETY: as above; it is closed once.
                unsafe {
                    libc::dup2(own, libc::STDERR_FILENO);
                    libc::close(own);
                }
                is_over.store(true, Ordering::Relaxed);
                reads.join().unwrap()
            });
            assert!((capacity..capacity + PARTS * PART).contains(&read), "{read} bytes of {capacity} and more");
        });
    }
}
