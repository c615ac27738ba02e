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
}

/// Nothing to do where libraries stay (musl) or are linked statically; nothing known to do elsewhere.
#[cfg(not(any(
    all(target_os = "linux", target_env = "gnu", not(target_feature = "crt-static")),
    target_os = "android",
    target_os = "freebsd",
    target_vendor = "apple"
)))]
pub(crate) fn pin() {}
