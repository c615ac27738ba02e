//! `pthread_once`, and `call_once` of C11, which is the same function in glibc. C++'s `std::call_once` calls it.
//!
//! libc's word is zero; or a number that forks count up, and [`RUNS`]: somebody is in the function; or [`DONE`]. A number of before a fork is that of a thread which the child does not
//! have. libc's own function sleeps while somebody is in there, and nobody can look first: so a green thread never calls it, and does with the word what it does.
//!
//! ```text
//!  a green thread                                    an OS thread, in libc's own function
//!  O1 takes the word: it was not DONE, nor is        the same, and sleeps in the kernel
//!     anybody in there; else it waits in green's
//!     table of futexes as long as the word stays
//!  O2 calls the function
//!  O3 word := DONE, or zero as it unwinds            the same
//!  O4 wakes the kernel's waiters and green ones      wakes the kernel's; on its return here, if it has come
//!                                                    by the program's `pthread_once`: green ones
//! ```
//!
//! O3 is K1 of that table's proof, O4 the rest of it, where it holds. An OS thread that unwinds out of the function does not come back here; nor does who calls libc's own function and not the
//! program's: libc itself, by another name, and a library that is loaded with `RTLD_DEEPBIND`. So a wait looks again at times.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::mem::transmute;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use green::__interposed::{futex_wait, futex_wake};

use crate::calls::counters::FUTEXES;
use crate::calls::hidden::PTHREAD_ONCE;
use crate::calls::pthread::may_wait;
use crate::calls::raw::{self, address};
use crate::calls::waits::{after, may_park_anywhere};

/// What is to be called once.
type Routine = unsafe extern "C-unwind" fn();

const RUNS: u32 = 1;
const DONE: u32 = 2;
const ALL: u32 = u32::MAX;
/// For so long a thread waits at a time.
const PAUSE: Duration = Duration::from_millis(16);

/// # Safety
///
/// As of libc's function.
pub unsafe fn pthread_once(control: *mut c_int, routine: Routine) -> c_int {
    // SAFETY: a word of the caller's, that threads change as one.
    let word = unsafe { AtomicU32::from_ptr(control.cast()) };
    // ORDERING: Acquire pairs with the Release of who has called the function, in `run` or in libc.
    if word.load(Ordering::Acquire) & DONE != 0 {
        return 0;
    }
    // SAFETY: as the caller promises.
    unsafe { not_done(word, routine) }
}

/// # Safety
///
/// As of libc's function.
pub unsafe fn call_once(flag: *mut c_int, routine: Routine) {
    // SAFETY: as the caller promises.
    unsafe { pthread_once(flag, routine) };
}

/// # Safety
///
/// As of libc's function.
unsafe fn block(word: *const AtomicU32, routine: Routine) -> c_int {
    type Once = unsafe extern "C-unwind" fn(*const AtomicU32, Routine) -> c_int;
    // SAFETY: the type of the function of this name; as the caller promises.
    unsafe { transmute::<*mut c_void, Once>(PTHREAD_ONCE.get())(word, routine) }
}

/// # Safety
///
/// As of libc's function.
#[cold]
unsafe fn not_done(word: &AtomicU32, routine: Routine) -> c_int {
    let taken = if may_park_anywhere() { running() } else { None };
    let Some(taken) = taken else {
        // SAFETY: as the caller promises.
        let result = unsafe { block(word, routine) };
        futex_wake(address(word), ALL, ALL);
        return result;
    };
    let mut waits = false;
    loop {
        // ORDERING: Acquire, here and below: as in `pthread_once`.
        let seen = word.load(Ordering::Acquire);
        if seen & DONE != 0 {
            return 0;
        }
        if seen != taken {
            if word.compare_exchange(seen, taken, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                // SAFETY: as the caller promises.
                unsafe { run(word, routine) };
                return 0;
            }
            continue;
        }
        if !waits {
            if !may_wait(false) {
                // SAFETY: as the caller promises.
                return unsafe { block(word, routine) };
            }
            waits = true;
            FUTEXES.add();
        }
        // SAFETY: the word is the caller's.
        _ = unsafe { futex_wait(word, taken, ALL, after(PAUSE)) };
    }
}

/// The function is over.
struct Over<'a> {
    word: &'a AtomicU32,
    becomes: u32,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let at = address(self.word);
        // ORDERING: Release pairs with the Acquires of those who find it done, here or in libc.
        self.word.store(self.becomes, Ordering::Release);
        // By the address alone: it may be gone.
        let args = [at, (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as usize, i32::MAX as usize, 0, 0, 0];
        // SAFETY: a wake looks the address up, and touches no memory.
        unsafe { raw::call(libc::SYS_futex, args) };
        futex_wake(at, ALL, ALL);
    }
}

/// Calls the function, for the one who has taken the word. If it unwinds, as C++ does, the next one calls it anew.
///
/// # Safety
///
/// It may be called.
unsafe fn run(word: &AtomicU32, routine: Routine) {
    let mut over = Over { word, becomes: 0 };
    // SAFETY: as the caller promises.
    unsafe { routine() };
    over.becomes = DONE;
}

/// The word while somebody of this process is in the function: libc knows, and shows it in a call of its own. `None`: it does otherwise than this module says.
fn running() -> Option<u32> {
    thread_local! {
        static WORD: Cell<*const AtomicU32> = const { Cell::new(std::ptr::null()) };
        static SHOWN: Cell<u32> = const { Cell::new(0) };
    }
    unsafe extern "C-unwind" fn look() {
        // SAFETY: the word of the caller below.
        SHOWN.set(unsafe { &*WORD.get() }.load(Ordering::Relaxed));
    }
    let word = AtomicU32::new(0);
    WORD.set(&raw const word);
    // SAFETY: a word that nobody else has, so that nobody waits.
    unsafe { block(&raw const word, look) };
    let shown = SHOWN.get();
    (shown & (RUNS | DONE) == RUNS && word.into_inner() == DONE).then_some(shown)
}
