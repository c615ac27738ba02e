//! Which frames stand on the calling thread's stack? Asked before a time-out is raised: its `timeout` call must be among
//! the callers, or nobody would catch it. It may be on the stack of a suspended coroutine of another library.

#[cfg(not(any(miri, target_arch = "arm")))]
use super::unwinder::unwind;

/// Is `address` in a frame from which the calling one was called? Then an unwinding can come there. True if that cannot be
/// seen. (Between the frames of a coroutine and those of its resumer may lie another stack, which is taken for theirs.)
#[cold]
#[inline(never)]
pub(crate) fn is_in_caller(address: usize) -> bool {
    // AddressSanitizer puts locals elsewhere.
    if cfg!(green_sanitizer = "address") {
        return true;
    }
    #[cfg(not(any(miri, target_arch = "arm")))]
    {
        let mut search = Search { address, begin: usize::MAX, found: false };
        // SAFETY: `search_frame` gets what it expects, for as long as the call lasts.
        unsafe { unwind::_Unwind_Backtrace(search_frame, (&raw mut search).cast()) };
        search.found
    }
    #[cfg(any(miri, target_arch = "arm"))]
    {
        let _ = address;
        true
    }
}

/// A search for the frame with an address in it.
#[cfg(not(any(miri, target_arch = "arm")))]
struct Search {
    address: usize,
    /// Where the frame before, called by this one, begins.
    begin: usize,
    found: bool,
}

/// # Safety
///
/// Called by the unwinder, with a [`Search`].
#[cfg(not(any(miri, target_arch = "arm")))]
unsafe extern "C-unwind" fn search_frame(
    context: *mut unwind::Context,
    search: *mut std::ffi::c_void,
) -> std::ffi::c_int {
    // SAFETY: as the caller promises; nobody else has it now.
    let search = unsafe { &mut *search.cast::<Search>() };
    // SAFETY: the frame is the unwinder's, and valid during this call.
    let begin = unsafe { unwind::_Unwind_GetCFA(context) };
    search.found = (search.begin..begin).contains(&search.address);
    search.begin = begin;
    if search.found { unwind::END } else { unwind::GO_ON }
}

#[cfg(all(test, not(any(miri, target_arch = "arm", green_sanitizer = "address"))))]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_the_frames_of_callers_only() {
        let here = 0_u8;
        assert!(is_in_caller((&raw const here).addr()));
        assert!(!is_in_caller((&raw const *Box::new(here)).addr()));
        std::thread::scope(|s| s.spawn(|| assert!(!is_in_caller((&raw const here).addr()))).join().unwrap());
    }
}
