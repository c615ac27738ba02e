//! Which frames stand on the calling thread's stack? Asked before a time-out is raised: its `timeout` call must be among
//! the callers, or nobody would catch it. It may be on the stack of a suspended coroutine of another library.

#[cfg(not(any(miri, target_arch = "arm")))]
use super::unwinder::unwind;

/// Is `address` in a frame of `function` from which the calling one was called? Then an unwinding can come there. True if
/// that cannot be seen.
///
/// Where a coroutine was resumed the walk goes over to another stack: between the ends of those two frames may lie any
/// number of stacks. But the function that switches there is another one.
#[cold]
#[inline(never)]
pub(crate) fn is_in_caller(address: usize, function: usize) -> bool {
    // AddressSanitizer puts locals elsewhere.
    if cfg!(green_sanitizer = "address") {
        return true;
    }
    #[cfg(not(any(miri, target_arch = "arm")))]
    {
        let mut search = Search { address, function, begin: usize::MAX, is_of_function: false, found: false };
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
    function: usize,
    /// Where the frame before, called by this one, begins.
    begin: usize,
    /// That is one of the function.
    is_of_function: bool,
    found: bool,
}

/// # Safety
///
/// Called by the unwinder, with a [`Search`].
#[cfg(not(any(miri, target_arch = "arm")))]
unsafe extern "C-unwind" fn search_frame(
    context: *mut unwind::UnwindContext,
    search: *mut std::ffi::c_void,
) -> std::ffi::c_int {
    // SAFETY: as the caller promises; nobody else has it now.
    let search = unsafe { &mut *search.cast::<Search>() };
    // SAFETY: the frame is the unwinder's, and valid during this call. (What it calls CFA here is the end of the frame that
    // this one called, and its own beginning.)
    let (begin, function) = unsafe { (unwind::_Unwind_GetCFA(context), unwind::_Unwind_GetRegionStart(context)) };
    search.found = search.is_of_function && (search.begin..begin).contains(&search.address);
    (search.begin, search.is_of_function) = (begin, function == search.function);
    if search.found { unwind::END } else { unwind::GO_ON }
}

#[cfg(all(test, not(any(miri, target_arch = "arm", green_sanitizer = "address"))))]
mod tests {
    use super::*;

    /// Has a local, and says where and in what function: its own, `this`.
    fn holds(this: usize, look: &dyn Fn(usize, usize)) {
        let here = 0_u8;
        look((&raw const here).addr(), this);
        std::hint::black_box(&here);
    }

    #[test]
    fn an_address_is_found_in_the_frames_of_its_function_among_the_callers_only() {
        let holds: fn(usize, &dyn Fn(usize, usize)) = std::hint::black_box(holds);
        holds(holds as usize, &|here, function| {
            assert!(is_in_caller(here, function));
            assert!(!is_in_caller(here, is_in_caller as *const () as usize), "it is in another function's");
            assert!(!is_in_caller((&raw const *Box::new(0_u8)).addr(), function), "it is in none");
            std::thread::scope(|s| s.spawn(|| assert!(!is_in_caller(here, function))).join().unwrap());
        });
    }
}
