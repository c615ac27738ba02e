//! The library that this code is in.

/// Keeps the library that this code is in mapped from now on, should it be one that can be unloaded: what the process keeps
/// the address of (a signal handler, say) has to stay where it is. A refusal is of no matter: the program itself, whose
/// name `dlopen` does not take, stays anyway.
#[cfg(any(
    all(target_os = "linux", target_env = "gnu", not(target_feature = "crt-static")),
    target_os = "android",
    target_os = "freebsd",
    target_vendor = "apple"
))]
pub(crate) fn pin() {
    use crate::base::atomic::{AtomicBool, Ordering};

    /// Once will do. Not asked again: that would be to wait for the loader, where a thread that forks may wait for the caller.
    static PINNED: AtomicBool = AtomicBool::new(false);
    if PINNED.load(Ordering::Relaxed) {
        return;
    }
    let mut place = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: `dladdr` takes any address, and fills `place` in if it knows it; zeros are a valid `Dl_info`. The name is one
    // of the loader's own, and what is loaded already runs no code when it is opened again.
    unsafe {
        if libc::dladdr((pin as *const ()).cast(), place.as_mut_ptr()) != 0 {
            let name = place.assume_init().dli_fname;
            if !name.is_null() {
                libc::dlopen(name, libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE);
            }
        }
    }
    PINNED.store(true, Ordering::Relaxed);
}

/// The program or library that an address is in, and where it is there, as `addr2line` wants it. By `dl_iterate_phdr`: `dladdr` would wait for a library's
/// constructor that does not come to its end.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(crate) fn module_of(address: usize) -> Option<(String, usize)> {
    use std::ffi::{CStr, c_int, c_void};

    struct ModuleSearch {
        address: usize,
        found: Option<(String, usize)>,
    }

    unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _: libc::size_t, search: *mut c_void) -> c_int {
        // SAFETY: `info` and what it leads to are the loader's, which keeps them during the call; `search` is the caller's.
        let (info, search) = unsafe { (&*info, &mut *search.cast::<ModuleSearch>()) };
        let base = info.dlpi_addr as usize;
        let is_within = |at: u16| {
            // SAFETY: as above: there are so many.
            let segment = unsafe { &*info.dlpi_phdr.add(at.into()) };
            let begin = base.wrapping_add(segment.p_vaddr as usize);
            segment.p_type == libc::PT_LOAD && search.address.wrapping_sub(begin) < segment.p_memsz as usize
        };
        if !(0..info.dlpi_phnum).any(is_within) {
            return 0;
        }
        // SAFETY: as above; a string.
        let name = (!info.dlpi_name.is_null()).then(|| unsafe { CStr::from_ptr(info.dlpi_name) });
        let name = name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        search.found = Some((name, search.address.wrapping_sub(base)));
        1
    }

    let mut search = ModuleSearch { address, found: None };
    // SAFETY: `look` does what it has to, and takes the pointer for what it is.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
    let (name, place) = search.found?;
    // The program itself has no name there.
    let name = if name.is_empty() { std::env::current_exe().ok()?.to_string_lossy().into_owned() } else { name };
    Some((name, place))
}

/// Nothing to do where libraries stay (musl) or are linked statically; nothing known to do elsewhere.
#[cfg(not(any(
    all(target_os = "linux", target_env = "gnu", not(target_feature = "crt-static")),
    target_os = "android",
    target_os = "freebsd",
    target_vendor = "apple"
)))]
pub(crate) fn pin() {}

/// It is not looked for there.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub(crate) fn module_of(_: usize) -> Option<(String, usize)> {
    None
}

#[cfg(all(test, target_os = "linux", green_stack_walk, not(any(miri, green_emulated))))]
pub(crate) mod tests {
    use std::ffi::{c_int, c_void};
    use std::sync::Barrier;

    /// Goes through the loader's list of libraries, and stays there from `stands` until `goes_on`.
    pub(crate) fn stay_in_list(stands: &Barrier, goes_on: &Barrier) {
        unsafe extern "C" fn stay(_: *mut libc::dl_phdr_info, _: usize, both: *mut c_void) -> c_int {
            // SAFETY: what is given below, which is there until the call is over.
            let (stands, goes_on) = unsafe { *both.cast::<(&Barrier, &Barrier)>() };
            stands.wait();
            goes_on.wait();
            1
        }
        let mut both = (stands, goes_on);
        // SAFETY: `stay` does what it has to, and takes the pointer for what it is.
        unsafe { libc::dl_iterate_phdr(Some(stay), (&raw mut both).cast()) };
    }
}
