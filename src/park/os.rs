//! A plain OS thread as the parking primitive sees it: a header like a green thread's, woken through a futex.
//!
//! # Invariants
//!
//! 1. The header is the first field of the `repr(C)` struct `OsThread`, so a pointer to one is a pointer to the other.
//! 2. The thread-local holds one counted reference; handles and wakers that outlive the OS thread hold theirs.

use std::cell::Cell;
use std::panic::Location;
use std::ptr::{self, NonNull};

use crate::base::atomic::{AtomicU64, Ordering};
use crate::park::os_threads::waits;
use crate::stack::StackSize;
use crate::sys::clock::NEVER;
use crate::sys::parker::Parker;
use crate::task::header::{Spec, VTable};
use crate::task::wait::{End, Epoch};
use crate::task::{Header, Task, destroy_locals};

#[repr(C)]
struct OsThread {
    header: Header,
    parker: Parker,
}

static VTABLE: VTable = VTable {
    main: |_| unreachable!("an OS thread has its own stack"),
    border: None,
    run: |_, _| unreachable!("an OS thread is not run"),
    take_output: |_, _| unreachable!("an OS thread has no result"),
    drop_output: |_| unreachable!("an OS thread has no result"),
    done: |_| unreachable!("an OS thread is not run"),
    free,
    after_run: None,
    type_name: None,
    calls_at: None,
};

unsafe fn free(header: NonNull<Header>) {
    // SAFETY: invariant 1, and the pointer came from a box in `Mine::new`; the last reference is gone.
    drop(unsafe { Box::from_raw(header.cast::<OsThread>().as_ptr()) });
}

unsafe fn schedule(header: NonNull<Header>) {
    // Once it has its token, the thread may end and give its reference up: this one keeps the parker until the call is
    // over.
    // SAFETY: the thread waits for the token that is put below, so its header is alive here.
    let keep = unsafe { Task::counted(header) };
    // SAFETY: invariant 1.
    unsafe { keep.as_ptr().cast::<OsThread>().as_ref() }.parker.unpark();
}

/// Numbers for threads: given out in blocks to workers, one by one to OS threads.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The first id of this process: those before it are its parent's.
static FIRST_ID: AtomicU64 = AtomicU64::new(0);

/// The process is a child, and has no thread yet but the one that calls this.
pub(super) fn note_fork() {
    FIRST_ID.store(NEXT_ID.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// Was the thread with this id there before the process was forked?
pub(crate) fn is_the_parents(id: u64) -> bool {
    id < FIRST_ID.load(Ordering::Relaxed)
}

/// Takes `count` fresh thread ids; returns the first.
pub(crate) fn fresh_ids(count: u64) -> u64 {
    NEXT_ID.fetch_add(count, Ordering::Relaxed)
}

/// What this OS thread is to the crate. The cells have no destructor, so they are there to the thread's very end.
struct Mine {
    /// Holds a counted reference; null before the first use.
    header: Cell<*const Header>,
    /// Zero before the first use.
    id: Cell<u64>,
}

/// Gives [`Mine`] up when the thread ends.
struct AtEnd;

thread_local! {
    static MINE: Mine = const { Mine { header: Cell::new(ptr::null()), id: Cell::new(0) } };
    static AT_END: AtEnd = const { AtEnd };
}

/// Makes the header of this OS thread.
///
/// A thread-local that was made before the crate's own is dropped after it, and may wait in its destructor: then a second
/// header is made, with the same id, and stays: nothing is left that could free it.
#[cold]
fn make() -> NonNull<Header> {
    if MINE.with(|mine| mine.id.get() == 0) {
        MINE.with(|mine| mine.id.set(fresh_ids(1)));
    }
    let spec = Spec {
        name: std::thread::current().name().map(Into::into),
        size: StackSize::DEFAULT,
        id: MINE.with(|mine| mine.id.get()),
        runtime: ptr::null(),
        schedule,
        refs: 1,
        handle: false,
        spawned_at: Location::caller(),
    };
    let thread = Box::new(OsThread { header: Header::new(spec, &VTABLE), parker: Parker::new() });
    let header = NonNull::from(Box::leak(thread)).cast::<Header>();
    MINE.with(|mine| mine.header.set(header.as_ptr()));
    // An error: the thread is past that already.
    let _ = AT_END.try_with(|_| ());
    header
}

impl Drop for AtEnd {
    fn drop(&mut self) {
        let Some(header) = NonNull::new(MINE.with(|mine| mine.header.get().cast_mut())) else { return };
        // SAFETY: the reference of `MINE`. The header stands there until its values are gone, so that their destructors
        // find themselves in this same thread.
        unsafe {
            header.as_ref().limits.dissolve();
            destroy_locals(header.as_ref());
            header.as_ref().limits.dissolve();
            MINE.with(|mine| mine.header.set(ptr::null()));
            drop(Task::from_raw(header));
        }
    }
}

/// The header of this OS thread: the pointer to the whole block, alive until the thread ends.
#[inline]
pub(crate) fn header() -> NonNull<Header> {
    NonNull::new(MINE.with(|mine| mine.header.get().cast_mut())).unwrap_or_else(make)
}

/// Sleeps until somebody ends the wait `epoch` of this OS thread, or ends it itself when `deadline_ns` has passed.
///
/// The end of the wait puts one token into the parker, and this takes it before it returns: so no token is ever left
/// over for a later wait, and no waker is left behind that still touches the header.
///
/// # Safety
///
/// `header` is the calling OS thread's own, from [`header`], and its wait `epoch` has begun.
pub(crate) unsafe fn sleep(header: NonNull<Header>, epoch: Epoch, mut deadline_ns: u64) {
    // SAFETY: invariant 1.
    let thread = unsafe { header.cast::<OsThread>().as_ref() };
    // What it waits for is often about to come. A few microseconds at most; the yields are for one that has no core.
    let backoff = crossbeam_utils::Backoff::new();
    while !backoff.is_completed() && !thread.parker.has_token() {
        backoff.snooze();
    }
    // SAFETY: it is the calling thread's.
    let _waits = (deadline_ns == NEVER).then(|| waits(|| unsafe { Task::counted(header) }));
    while !thread.parker.park(deadline_ns) {
        if thread.header.wait.end(epoch, End::TimedOut) {
            return;
        }
        deadline_ns = NEVER;
    }
}
