//! The end of the process by `exit`, or by the end of `main`.

/// Has `call` called when the process ends so. Its other threads still run then.
pub(crate) fn at_exit(call: extern "C" fn()) {
    #[cfg(not(miri))]
    {
        super::library::pin();
        // SAFETY: a function that lives as long as the code. An error (no memory) leaves it uncalled.
        unsafe { libc::atexit(call) };
    }
    #[cfg(miri)]
    let _ = call;
}
