//! Is a panic being reported on the calling thread's stack, with its hook running?
//!
//! std does not say. But functions of std are on the stack then which are not at any other time, because unwinding, which
//! comes next, leaves them before it runs anything of the program's. Which these are, one panic shows, made for the
//! purpose: those on the stack in its hook that were not there before.

use std::ffi::{c_int, c_void};

#[cfg(not(target_arch = "arm"))]
use super::unwinder::unwind;
use crate::sys::fork::ForkSafeOnce;

/// Where the functions begin that are on the stack while a hook runs.
static REPORTING: ForkSafeOnce<Vec<usize>> = ForkSafeOnce::new();

/// Learns the functions of `during`, the stack in a hook, that are not in `before`.
pub(crate) fn learn(before: &[usize], during: &[usize]) {
    REPORTING.get_or_init(|| during.iter().copied().filter(|function| !before.contains(function)).collect());
}

/// Does a panic hook run on the calling thread's stack? False if it cannot be seen.
#[cold]
#[inline(never)]
pub(crate) fn is_reported() -> bool {
    let Some(reporting) = REPORTING.get() else { return false };
    let mut found = false;
    functions(&mut |function| found |= reporting.contains(&function));
    found
}

/// Calls `each` with where the functions on the calling thread's stack begin, innermost first.
#[inline(never)]
pub(crate) fn functions(each: &mut dyn FnMut(usize)) {
    #[cfg(not(any(miri, target_arch = "arm")))]
    {
        let mut each = each;
        // SAFETY: `frame` gets what it expects, for as long as the call lasts.
        unsafe { unwind::_Unwind_Backtrace(frame, (&raw mut each).cast()) };
    }
    #[cfg(any(miri, target_arch = "arm"))]
    let _ = each;
}

/// # Safety
///
/// Called by the unwinder, with what [`functions`] gives it.
#[cfg(not(any(miri, target_arch = "arm")))]
unsafe extern "C-unwind" fn frame(context: *mut unwind::UnwindContext, each: *mut c_void) -> c_int {
    // SAFETY: as the caller promises; nobody else has it now.
    let each = unsafe { &mut *each.cast::<&mut dyn FnMut(usize)>() };
    // SAFETY: the frame is the unwinder's, and valid during this call.
    each(unsafe { unwind::_Unwind_GetRegionStart(context) });
    unwind::GO_ON
}
