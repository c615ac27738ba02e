//! What the system's socket errors mean.

use std::io;

/// A non-blocking `connect` has begun, and goes on by itself.
pub(crate) fn is_in_progress(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR))
}

/// The process, or the system, has run out of descriptors or memory: trying again at once is of no use.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// What `accept` says on a socket that does not listen any more.
pub(crate) fn not_listening() -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}

/// The error of a socket's time-out, and of a call that would block: std gives the same for both.
pub(crate) fn would_block() -> io::Error {
    io::Error::from_raw_os_error(libc::EAGAIN)
}
