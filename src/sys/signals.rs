//! Signals that ask a process for something, as bytes in a pipe: a handler may do little more than write one.

use std::io::{self, PipeReader};
use std::os::fd::IntoRawFd;

use crate::base::atomic::{AtomicU32, Ordering};
use crate::sys::library;

/// The signals that can be taken over. Each is a byte in the pipe: its place here.
pub(crate) const SIGNALS: [libc::c_int; 5] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];

/// The writing end of the pipe, which is never closed.
static PIPE: AtomicU32 = AtomicU32::new(u32::MAX);

extern "C" fn handle(signal: libc::c_int) {
    let place = SIGNALS.iter().position(|known| *known == signal).unwrap_or_default() as u8;
    // ORDERING: Acquire pairs with the Release in `open`; there was a descriptor before there was a handler.
    let fd = PIPE.load(Ordering::Acquire) as libc::c_int;
    // SAFETY: the location is this thread's; `write` may be called in a handler, with one valid byte. A full pipe is as
    // good as another byte. errno is kept for the code that was interrupted.
    unsafe {
        let errno = errno();
        let before = *errno;
        libc::write(fd, [place].as_ptr().cast(), 1);
        *errno = before;
    }
}

#[cfg(target_os = "linux")]
unsafe fn errno() -> *mut libc::c_int {
    // SAFETY: it has no conditions.
    unsafe { libc::__errno_location() }
}

#[cfg(not(target_os = "linux"))]
unsafe fn errno() -> *mut libc::c_int {
    // SAFETY: it has no conditions.
    unsafe { libc::__error() }
}

/// Makes the pipe: what signals write comes out of what this returns. Called once.
///
/// # Errors
///
/// There are no more descriptors.
pub(crate) fn open() -> io::Result<PipeReader> {
    let (reader, writer) = io::pipe()?;
    socket2::SockRef::from(&writer).set_nonblocking(true)?;
    // ORDERING: see `handle`.
    PIPE.store(writer.into_raw_fd() as u32, Ordering::Release);
    Ok(reader)
}

/// Takes a signal over for the rest of the process, by its place in [`SIGNALS`]; the pipe is there.
///
/// The handler runs on the thread's signal stack, if it has one: which thread the kernel picks is not known, and a green
/// stack may have no room for it.
///
/// # Errors
///
/// Those of `sigaction`.
pub(crate) fn install(place: usize) -> io::Result<()> {
    library::pin();
    // SAFETY: a zeroed `sigaction` is a valid one without flags, and its mask is set below.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(libc::c_int) = handle;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: a valid mask and action, and a handler that does what a handler may.
    let result = unsafe {
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(SIGNALS[place], &raw const action, std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
