//! A plain OS thread as the parking primitive sees it: a header like a green thread's, woken through a futex.
//!
//! # Invariants
//!
//! 1. The header is the first field of the `repr(C)` struct `OsThread`, so a pointer to one is a pointer to the other.
//! 2. The thread-local holds one counted reference; handles and wakers that outlive the OS thread hold theirs.

use std::cell::OnceCell;
use std::ptr::{self, NonNull};

use crate::base::atomic::{AtomicU64, Ordering};
use crate::stack::StackSize;
use crate::sys::clock::NEVER;
use crate::sys::parker::Parker;
use crate::task::header::{Spec, VTable};
use crate::task::wait::{End, Epoch};
use crate::task::{Header, Task, local};

#[repr(C)]
struct OsThread {
    header: Header,
    parker: Parker,
}

static VTABLE: VTable = VTable {
    run: |_, _| unreachable!("an OS thread is not run"),
    take_output: |_, _| unreachable!("an OS thread has no result"),
    drop_output: |_| unreachable!("an OS thread has no result"),
    done: |_| unreachable!("an OS thread is not run"),
    free,
    after_run: None,
};

unsafe fn free(header: NonNull<Header>) {
    // SAFETY: invariant 1, and the pointer came from a box in `Mine::new`; the last reference is gone.
    drop(unsafe { Box::from_raw(header.cast::<OsThread>().as_ptr()) });
}

unsafe fn schedule(header: NonNull<Header>) {
    // Once it has its token, the thread may end and give its reference up: this one keeps the parker until the call is
    // over.
    // SAFETY: the thread waits for the token that is put below, so its header is alive here.
    let keep = unsafe {
        header.as_ref().state.add_ref();
        Task::from_raw(header)
    };
    // SAFETY: invariant 1.
    unsafe { keep.as_ptr().cast::<OsThread>().as_ref() }.parker.unpark();
}

/// Numbers for threads: given out in blocks to workers, one by one to OS threads.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Takes `count` fresh thread ids; returns the first.
pub(crate) fn fresh_ids(count: u64) -> u64 {
    NEXT_ID.fetch_add(count, Ordering::Relaxed)
}

struct Mine(Task);

impl Mine {
    fn new() -> Self {
        let spec = Spec {
            name: std::thread::current().name().map(Into::into),
            size: StackSize::DEFAULT,
            id: fresh_ids(1),
            runtime: ptr::null(),
            schedule,
            refs: 1,
            handle: false,
        };
        let thread = Box::new(OsThread { header: Header::new(spec, &VTABLE), parker: Parker::new() });
        // SAFETY: the one counted reference goes into the `Task`.
        Self(unsafe { Task::from_raw(NonNull::from(Box::leak(thread)).cast()) })
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        // SAFETY: the thread-local's destructor runs on the thread itself.
        unsafe { local::destroy(&self.0) };
    }
}

thread_local! {
    static MINE: OnceCell<Mine> = const { OnceCell::new() };
}

/// Calls `f` with the header of this OS thread.
pub(crate) fn with<R>(f: impl FnOnce(&Task) -> R) -> R {
    let mut f = Some(f);
    let mut call = |task: &Task| f.take().map(|f| f(task));
    let result = MINE.try_with(|mine| call(&mine.get_or_init(Mine::new).0));
    // The thread-local is gone when other thread-locals' destructors run late: a header for this call alone will do.
    result.unwrap_or_else(|_| call(&Mine::new().0)).expect("it is called once")
}

/// Sleeps until somebody ends the wait `epoch` of this OS thread, or ends it itself when `deadline_ns` has passed.
///
/// Whoever ends the wait puts one token into the parker, and this takes it before it returns: so no token is ever left
/// over for a later wait, and no waker is left behind that still touches the header.
///
/// # Safety
///
/// `header` is the calling OS thread's own, from [`with`], and its wait `epoch` has begun.
pub(crate) unsafe fn sleep(header: &Header, epoch: Epoch, mut deadline_ns: u64) {
    // SAFETY: invariant 1.
    let thread = unsafe { NonNull::from(header).cast::<OsThread>().as_ref() };
    while !thread.parker.park(deadline_ns) {
        if header.wait.end(epoch, End::TimedOut) {
            return;
        }
        deadline_ns = NEVER;
    }
}
