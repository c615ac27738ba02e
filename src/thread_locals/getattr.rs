//! `pthread_getattr_np` in a thread with thread-locals of its own. glibc's function finds all but one thing in the descriptor; for the set of CPUs
//! it asks the kernel, by the number in the descriptor, which the kernel has not given.

use std::ffi::{c_int, c_ulong, c_void};

use crate::sys::glibc;
use crate::thread_locals::block;

/// What [`pthread_getattr_np!`](crate::pthread_getattr_np) defines. AddressSanitizer asks from signal handlers on a stack of their own, and dies of
/// a refusal: in its builds nobody has to define it.
///
/// # Safety
///
/// As of libc's function.
#[cfg_attr(all(green_sanitized, green_sanitizer = "address"), unsafe(export_name = "pthread_getattr_np"))]
pub unsafe extern "C" fn pthread_getattr_np(thread: c_ulong, attributes: *mut c_void) -> c_int {
    // SAFETY: as the caller promises.
    let call = || unsafe { glibc::getattr(thread, attributes) };
    if block::is_own() && thread as usize == glibc::pthread_self() { block::with_kernels_number(call) } else { call() }
}
