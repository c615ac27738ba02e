//! Where a thread must not wait: inside [`no_park`], and in a panic hook.
#![forbid(unsafe_code)]

use std::cell::Cell;

use crate::sys::in_panic;
use crate::task::Header;

thread_local! {
    /// Eight times the depth of `no_park` on this OS thread, [`IN_HOOK`], [`ALONE`] and [`APART`]. Nothing switches inside the former two, so they need
    /// not be kept by green thread.
    static BARRED: Cell<u32> = const { Cell::new(0) };
}

/// The OS thread runs a panic hook.
const IN_HOOK: u32 = 1;
/// No other runs on top of the thread, unless the headers of both have the same runtime: it has thread-locals of its own, this one too, or something called at
/// each switch.
const ALONE: u32 = 2;
/// Nor does such a one: the thread is an actor, whose header has the runtime itself, as those of plain threads have.
const APART: u32 = 4;
/// One call of `no_park`.
const NO_PARK: u32 = 8;

/// Runs `f`; any attempt to park inside it panics.
///
/// A green thread that waits lets others run on the same OS thread. Code that must not be interleaved so (it holds a
/// guard that has set a thread-local, or it runs inside a lazy `thread_local!` initialiser) says it with `no_park`:
/// a `park`, `sleep`, `join`, `yield_now` or any other blocking call inside is then a panic that names `no_park`, not a
/// puzzle. On an OS thread it does the same, so that tests need no runtime.
///
/// # Panics
///
/// When something inside `f` would park. A panic of `f` passes through.
///
/// ```
/// let sum = green::no_park(|| (1..=10).sum::<u32>());
/// assert_eq!(sum, 55);
/// ```
pub fn no_park<R>(f: impl FnOnce() -> R) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            BARRED.set(BARRED.get() - NO_PARK);
        }
    }
    BARRED.set(BARRED.get() + NO_PARK);
    let _leave = Leave;
    f()
}

#[inline(always)]
pub(crate) fn may_park() -> bool {
    BARRED.get() < NO_PARK
}

/// Neither inside `no_park` nor in a panic hook.
#[inline(always)]
pub(crate) fn may_switch() -> bool {
    BARRED.get() & !(ALONE | APART) == 0
}

/// The same; and one that the calling thread joins may run on top of it, if the headers of both have the same runtime.
#[inline(always)]
pub(crate) fn may_run_joined() -> bool {
    BARRED.get() & !ALONE == 0
}

/// The same; and any other thread may.
#[inline(always)]
pub(crate) fn may_run_on_top() -> bool {
    BARRED.get() == 0
}

/// Which others may run on top of a thread?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OnTop {
    Any,
    /// Those that it joins, and that have the same runtime in their headers.
    SameOnly,
    None,
}

impl OnTop {
    /// Of a thread with thread-locals of its own, or with something called at each switch.
    pub(crate) fn of_apart(thread: &Header) -> Self {
        if thread.vtable.after_run.is_some() { OnTop::None } else { OnTop::SameOnly }
    }
}

/// On top of the calling thread run no others than these from now on. (Or it suspends, and the OS thread runs others.) Gives what held before.
pub(crate) fn set_on_top(others: OnTop) -> OnTop {
    let before = BARRED.get();
    let bits = match others {
        OnTop::Any => 0,
        OnTop::SameOnly => ALONE,
        OnTop::None => ALONE | APART,
    };
    BARRED.set(before & !(ALONE | APART) | bits);
    match before & (ALONE | APART) {
        0 => OnTop::Any,
        ALONE => OnTop::SameOnly,
        _ => OnTop::None,
    }
}

/// For calls that will wait, and must not unwind out of that wait because others borrow from their caller's stack: panics
/// inside `no_park` before anything is borrowed. `no_park` nests by calls, so what holds here holds at the wait.
#[inline(always)]
#[track_caller]
pub(crate) fn assert_may_park(what: &str) {
    if !may_park() {
        parked_in_no_park(what);
    }
}

#[cold]
#[inline(never)]
#[track_caller]
fn parked_in_no_park(what: &str) -> ! {
    panic!("{what} inside green::no_park: the code there must not let other green threads run")
}

/// Does this OS thread run a panic hook?
fn in_hook() -> bool {
    BARRED.get() & IN_HOOK != 0
}

/// Marks the calling OS thread as running a panic hook; gives the mark back that was there.
pub(crate) fn set_in_hook(on: bool) -> bool {
    let before = BARRED.get();
    BARRED.set((before & !IN_HOOK) | u32::from(on));
    before & IN_HOOK != 0
}

/// Does the calling thread run a panic hook, marked by a wrapper or not?
pub(super) fn in_some_hook() -> bool {
    in_hook() || std::thread::panicking() && in_panic::is_reported()
}

/// A panic hook blocks. Switching there would let another thread panic inside this one's hook, which std answers with
/// an abort; so say it in a clear way.
#[cold]
#[inline(never)]
pub(crate) fn parked_in_hook() -> ! {
    crate::base::abort::fatal(format_args!(
        "a panic hook made a blocking call that has to wait; it must not, nor must what formats a panic's message"
    ))
}
