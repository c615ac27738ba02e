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
//! question. One that the program has installed before is called for what others send; one that it installs later takes the place of ours, and there
//! are no answers from then on.
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

#[cfg(green_asks)]
mod linux {
    use std::cell::UnsafeCell;
    use std::mem::transmute;
    use std::ptr;

    use super::{Interrupted, Note};
    use crate::base::atomic::{AtomicPtr, AtomicU32, Ordering, spin_loop, yield_now};
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

    /// What the program had installed; a box that is never freed.
    static BEFORE: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

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

    /// A3: sends the signal, with a mark by which the handler knows that it is ours. False: the system refuses.
    fn send(thread: &SystemThread) -> bool {
        /// The kernel's `siginfo_t` of a signal with a value, on machines of 64 bits.
        #[repr(C)]
        struct Info {
            signo: libc::c_int,
            errno: libc::c_int,
            code: libc::c_int,
            _pad: libc::c_int,
            pid: libc::pid_t,
            uid: libc::uid_t,
            value: *const AtomicU32,
            _rest: [u64; 12],
        }
        const _: () = assert!(size_of::<Info>() == 128);
        // SAFETY: no requirements.
        let (pid, uid) = unsafe { (libc::getpid(), libc::getuid()) };
        let (code, value) = (libc::SI_QUEUE, &raw const WORD);
        let info = Info { signo: SIGNAL, errno: 0, code, _pad: 0, pid, uid, value, _rest: [0; 12] };
        let (group, number) = (libc::c_long::from(pid), libc::c_long::from(thread.number()));
        // SAFETY: the call reads 128 bytes; a thread that is not there is an error.
        let result = unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, group, number, SIGNAL, &raw const info) };
        result == 0
    }

    extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        // SAFETY: the location is this thread's, and the kernel passes a context.
        let (errno, before) = unsafe {
            let errno = errno();
            let before = *errno;
            answer(context.cast());
            (errno, before)
        };
        // SAFETY: the kernel passes a valid siginfo; one with SI_QUEUE has a value.
        let is_ours = unsafe {
            (*info).si_code == libc::SI_QUEUE && ptr::eq((*info).si_value().sival_ptr.cast(), &raw const WORD)
        };
        if !is_ours {
            // SAFETY: the arguments are the kernel's own.
            unsafe { call_before(signal, info, context) };
        }
        // SAFETY: as above.
        unsafe { *errno = before };
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

    /// Calls the handler that the program had, if it had one.
    ///
    /// # Safety
    ///
    /// In the handler, with its arguments.
    unsafe fn call_before(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        // ORDERING: Acquire pairs with the Release in `install`.
        let before = BEFORE.load(Ordering::Acquire);
        // SAFETY: null, or a box that is never freed.
        let Some(before) = (unsafe { before.as_ref() }) else { return };
        if matches!(before.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) {
            return; // By default nothing happens.
        }
        // SAFETY: the old action's address is a handler of the form that its flags say, and the arguments are the kernel's own.
        unsafe {
            if before.sa_flags & libc::SA_SIGINFO != 0 {
                type SignalHandler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
                transmute::<usize, SignalHandler>(before.sa_sigaction)(signal, info, context);
            } else {
                transmute::<usize, extern "C" fn(libc::c_int)>(before.sa_sigaction)(signal);
            }
        }
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

    /// Puts our handler in front of the program's. False: the system refuses.
    fn install() -> bool {
        library::pin();
        let Some(before) = installed() else { return false };
        // ORDERING: Release pairs with the Acquire in `call_before`.
        BEFORE.store(Box::into_raw(Box::new(before)), Ordering::Release);
        // Signals blocked as the program's handler wants it.
        let mut action = before;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        action.sa_sigaction = handle as *const () as usize;
        // SAFETY: a valid action, and a handler that does what a handler may.
        unsafe { libc::sigaction(SIGNAL, &raw const action, ptr::null_mut()) == 0 }
    }
}
