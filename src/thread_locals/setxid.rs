//! `setuid` and its like: glibc signals every thread in its list, and each says in its own descriptor that it has done so. The handler finds that
//! descriptor by the thread pointer, so on a green thread's block it would note it in the wrong one, and the caller would wait for ever.
//! Our handler stands before glibc's, and lends it the thread pointer of the worker.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::arch::{set_thread_pointer, thread_pointer};
use crate::sys::glibc;
use crate::thread_locals::block;

type SignalHandler = extern "C" fn(c_int, *mut c_void, *mut c_void);

/// glibc's handler; 0: it has none.
static BEFORE: AtomicUsize = AtomicUsize::new(0);

/// glibc has installed its handler when the first thread was made, before this is called.
pub(super) fn install() {
    crate::sys::library::pin();
    // SAFETY: `handle` calls glibc's handler.
    unsafe { glibc::replace_setxid(handle, |before| BEFORE.store(before, Ordering::Relaxed)) };
}

/// `BEFORE` is stored when this gets installed: the system call for that comes between, and orders the two for every thread that is signalled.
extern "C" fn handle(signal: c_int, info: *mut c_void, context: *mut c_void) {
    let before = BEFORE.load(Ordering::Relaxed);
    // SAFETY: it was in the kernel's table as a handler with three arguments.
    let before = unsafe { std::mem::transmute::<usize, SignalHandler>(before) };
    let pointer = thread_pointer();
    match block::worker_of(pointer) {
        None => before(signal, info, context),
        // SAFETY: the worker runs this very thread, so nobody else is on its thread-locals, which this function does not use.
        Some(worker) => unsafe {
            set_thread_pointer(worker);
            before(signal, info, context);
            set_thread_pointer(pointer);
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It would call itself for ever. A child of fork installs it again where its parent had come no further.
    #[test]
    fn the_handler_that_is_installed_twice_does_not_stand_before_itself() {
        // Has glibc install its own.
        std::thread::spawn(|| ()).join().unwrap();
        install();
        install();
        assert_ne!(BEFORE.load(Ordering::Relaxed), handle as *const () as usize);
    }
}
