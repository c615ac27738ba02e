//! The first function on the stack of a thread that has something called at each switch: [`on_switch`].

use std::ptr::NonNull;

use crate::fiber::Entry;
use crate::park::on_switch;
use crate::sched::entry;
use crate::task::Header;
use crate::task::header::Main;
use crate::task::unwound::EndsBy;

/// Threads that have something called at each switch. None of them runs on top of another thread, nor another on top of it: that would be no switch.
pub(crate) struct Switched;

impl Main for Switched {
    const MAIN: Entry = thread_main;

    fn unwound(thread: &Header, how: EndsBy) {
        entry::count_end(thread, how);
    }

    fn mark(_: *const ()) -> *const () {
        on_switch::mark()
    }
}

/// As [`entry::thread_main`].
///
/// # Safety
///
/// As there.
unsafe fn thread_main(thread: *mut ()) {
    // SAFETY: `start` passes the header, and it is alive until the thread has ended.
    unsafe {
        let header = NonNull::new_unchecked(thread.cast::<Header>());
        entry::enter_worker(header.as_ref());
        on_switch::begin(header);
        entry::thread_main(thread);
        on_switch::end(header);
    }
}
