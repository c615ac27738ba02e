//! Runs a function on another OS thread of the process, in the handler of a signal that interrupts what it does: so one sees where it stands, without
//! its help.
//!
//! # Steps
//!
//! ```text
//!  the one who asks, with the lock             the handler, on the thread that is asked
//!  A1  QUESTION := function and argument       H1  WORD: ASKED -> TAKEN, if it names this thread    [CAS]
//!  A2  WORD := ASKED, and the thread's number  H2  calls the function
//!  A3  sends the signal to that thread         H3  WORD := DONE
//!  A4  waits for DONE
//!  A5  late: WORD: ASKED -> 0                  [CAS] no answer; if it fails, the handler is at H2: waits for DONE
//! ```
//!
//! A signal that comes late, after A5, finds nothing at H1, or the next question to the same thread: then it answers that.
//!
//! # The signal
//!
//! SIGURG, as Go's runtime does: hardly any program uses it, and what it does by default is nothing. The handler is installed at the first
//! question, if the program has none. A program's own handler stays as it is, with its flags: one that was there before ours, and one that is installed later,
//! which takes the place of ours. Then there are no answers.
//!
//! A thread that waits in a system call must not be asked: some calls (poll, nanosleep) end with EINTR after any handler.
//!
//! # Invariants
//!
//! 1. QUESTION is written at A1 only, while WORD is 0 or DONE, by who has the lock; it is read between H1 and H3.
//! 2. What runs in the handler takes no lock, allocates nothing, uses no thread-local but errno, and keeps that.
//!
//! Linux on x86_64 and aarch64; elsewhere, and under a sanitizer, which holds signals back, there is no answer.

use crate::sys::system_thread::SystemThread;

/// Where a thread was interrupted: as the fields of [`StackCopy`](crate::sys::stack_walk::StackCopy).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interrupted {
    pub(crate) place: usize,
    pub(crate) registers: [usize; 4],
}

/// See the module's text: invariant 2.
pub(crate) type Note = fn(*mut (), &Interrupted);

/// Has `note(arg, …)` called on `thread`, in a signal handler, within `patience_ns`. False: it was not, and will not be.
///
/// # Safety
///
/// `note` may be called with `arg` on that thread, wherever it stands, until this returns.
#[cfg_attr(not(green_asks), allow(clippy::needless_pass_by_value, unused_variables, reason = "there is no answer"))]
pub(crate) unsafe fn ask(thread: &SystemThread, patience_ns: u64, note: Note, arg: *mut ()) -> bool {
    #[cfg(green_asks)]
    // SAFETY: as the caller promises.
    return unsafe { linux::ask(thread, patience_ns, note, arg) };
    #[cfg(not(green_asks))]
    false
}

/// The calling OS thread may be asked from now on: a program that handles signals by sigwait(3) blocks all of them before it makes the threads that this one has its mask from. Not if the program has
/// a handler for the signal, which may be meant for other threads.
pub(crate) fn admit() {
    #[cfg(green_asks)]
    linux::admit();
}

/// Has the program a handler of its own for the signal?
pub(crate) fn has_foreign_handler() -> bool {
    #[cfg(green_asks)]
    return linux::has_foreign_handler();
    #[cfg(not(green_asks))]
    false
}

#[cfg(green_asks)]
mod linux {
    use std::cell::UnsafeCell;
    use std::ptr;

    use super::{Interrupted, Note};
    use crate::base::atomic::{AtomicU32, Ordering, spin_loop, yield_now};
    use crate::base::lock::Lock;
    use crate::sys::clock::real_ns;
    use crate::sys::fork::PerProcess;
    use crate::sys::library;
    use crate::sys::signals::errno;
    use crate::sys::system_thread::SystemThread;

    const SIGNAL: libc::c_int = libc::SIGURG;

    /// `number of an OS thread << 2 | state`.
    static WORD: AtomicU32 = AtomicU32::new(0);
    const ASKED: u32 = 1;
    const TAKEN: u32 = 2;
    const DONE: u32 = 3;

    /// Looks at the word before the asker gives its processor away, and before it sleeps between two looks.
    const SPINS: u32 = 200;
    const YIELDS: u32 = 220;

    struct Question(UnsafeCell<Option<(Note, *mut ())>>);

    // SAFETY: invariant 1.
    unsafe impl Sync for Question {}

    static QUESTION: Question = Question(UnsafeCell::new(None));

    /// One asks at a time. True: the handler has been installed.
    static ASKERS: PerProcess<Lock<bool>> = PerProcess::new(|| Lock::new(false));

    /// # Safety
    ///
    /// As [`ask`](super::ask).
    pub(super) unsafe fn ask(thread: &SystemThread, patience_ns: u64, note: Note, arg: *mut ()) -> bool {
        let mut installed = ASKERS.get().lock();
        if !is_ours() {
            if *installed || !install() {
                return false;
            }
            *installed = true;
        }
        // SAFETY: A1: invariant 1: this has the lock, and whoever had it before has seen to it that no handler reads.
        unsafe { *QUESTION.0.get() = Some((note, arg)) };
        let word = |state| (thread.number() as u32) << 2 | state;
        // ORDERING: Release pairs with the Acquire at H1. A2.
        WORD.store(word(ASKED), Ordering::Release);
        let sent = send(thread);
        let until_ns = real_ns().saturating_add(patience_ns);
        let mut looks = 0;
        // ORDERING: Acquire pairs with the Release at H3: what the function has done is visible. A4.
        while WORD.load(Ordering::Acquire) != word(DONE) {
            looks += 1;
            if looks < SPINS {
                spin_loop();
            } else {
                // No sleep: the program may have defined that anew, so that a green thread would park in it with the lock.
                yield_now();
            }
            // ORDERING: Relaxed: nothing was handed over. A5.
            let take_back = || WORD.compare_exchange(word(ASKED), 0, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            if (!sent || looks >= YIELDS && real_ns() >= until_ns) && take_back() {
                return false;
            }
        }
        true
    }

    /// A3. False: the system refuses.
    fn send(thread: &SystemThread) -> bool {
        // SAFETY: no requirements.
        let group = libc::c_long::from(unsafe { libc::getpid() });
        // SAFETY: no pointers; a thread that is not there is an error.
        unsafe { libc::syscall(libc::SYS_tgkill, group, libc::c_long::from(thread.number()), SIGNAL) == 0 }
    }

    /// What others send means nothing, as it did before.
    extern "C" fn handle(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
        // SAFETY: the location is this thread's, and the kernel passes a context.
        unsafe {
            let errno = errno();
            let before = *errno;
            answer(context.cast());
            *errno = before;
        }
    }

    /// # Safety
    ///
    /// In the handler, with its context.
    unsafe fn answer(context: *const libc::ucontext_t) {
        // SAFETY: no requirements.
        let number = unsafe { libc::syscall(libc::SYS_gettid) } as u32;
        let word = |state| number << 2 | state;
        // ORDERING: Acquire pairs with the Release of A2. H1.
        if WORD.compare_exchange(word(ASKED), word(TAKEN), Ordering::Acquire, Ordering::Relaxed).is_err() {
            return;
        }
        // SAFETY: invariant 1; the caller of `ask` says that the function may be called.
        unsafe {
            if let Some((note, arg)) = *QUESTION.0.get() {
                note(arg, &interrupted(context));
            }
        }
        // ORDERING: Release pairs with the Acquire of A4. H3.
        WORD.store(word(DONE), Ordering::Release);
    }

    /// # Safety
    ///
    /// The context is that of a signal handler.
    #[cfg(target_arch = "x86_64")]
    unsafe fn interrupted(context: *const libc::ucontext_t) -> Interrupted {
        // SAFETY: the caller's.
        let registers = unsafe { &(*context).uc_mcontext.gregs };
        let register = |name: libc::c_int| registers[name as usize] as usize;
        let place = register(libc::REG_RIP);
        Interrupted {
            place,
            registers: [register(libc::REG_RSP), place, register(libc::REG_RBP), register(libc::REG_RBX)],
        }
    }

    /// # Safety
    ///
    /// The context is that of a signal handler.
    #[cfg(target_arch = "aarch64")]
    unsafe fn interrupted(context: *const libc::ucontext_t) -> Interrupted {
        // SAFETY: the caller's.
        let machine = unsafe { &(*context).uc_mcontext };
        let register = |number: usize| machine.regs[number] as usize;
        let registers = [machine.sp as usize, register(30), register(29), register(19)];
        Interrupted { place: machine.pc as usize, registers }
    }

    pub(super) fn admit() {
        if has_foreign_handler() {
            return;
        }
        // SAFETY: a valid set of this function's, which is filled first; only the mask of this thread is changed.
        unsafe {
            let mut signals: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut signals);
            libc::sigaddset(&raw mut signals, SIGNAL);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const signals, ptr::null_mut());
        }
    }

    pub(super) fn has_foreign_handler() -> bool {
        installed().is_some_and(|action| !matches!(action.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN)) && !is_ours()
    }

    /// Is the handler for the signal ours?
    fn is_ours() -> bool {
        installed().is_some_and(|action| action.sa_sigaction == handle as *const () as usize)
    }

    fn installed() -> Option<libc::sigaction> {
        // SAFETY: zeros are a valid `sigaction`, and a null new action only reads.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            (libc::sigaction(SIGNAL, ptr::null(), &raw mut action) == 0).then_some(action)
        }
    }

    /// Installs our handler, unless the program has one. False: it has, or the system refuses.
    fn install() -> bool {
        library::pin();
        let Some(mut action) = installed() else { return false };
        if !matches!(action.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) {
            return false;
        }
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        action.sa_sigaction = handle as *const () as usize;
        // SAFETY: a valid action, and a handler that does what a handler may.
        unsafe { libc::sigaction(SIGNAL, &raw const action, ptr::null_mut()) == 0 }
    }
}
