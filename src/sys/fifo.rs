//! What can be asked of a descriptor that is no regular file, and of FIFOs.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The flag of `open` by which that does not wait for the other end of a FIFO.
pub(crate) const NONBLOCK: i32 = libc::O_NONBLOCK;

/// Flags with which `open` never waits.
#[cfg(target_os = "linux")]
pub(crate) const NEVER_WAITS: i32 = libc::O_NONBLOCK | libc::O_PATH;
/// As above.
#[cfg(not(target_os = "linux"))]
pub(crate) const NEVER_WAITS: i32 = libc::O_NONBLOCK;

/// How much is written to a pipe that has room without waiting in the middle, and in one piece.
pub(crate) const PIPE_BUF: usize = libc::PIPE_BUF;

/// Can a FIFO be opened in pieces, as it is done here? Elsewhere nobody tells whether there is a writer.
pub(crate) const OPENS: bool = cfg!(target_os = "linux");

/// The FIFO has no reader yet.
pub(crate) fn has_no_reader(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENXIO)
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn flags(fd: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    // SAFETY: F_GETFL takes no argument.
    checked(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })
}

/// Would a call on it give `WouldBlock` instead of waiting?
pub(crate) fn is_nonblocking(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(flags(fd)? & libc::O_NONBLOCK != 0)
}

/// Can it be read from, and not be written to?
pub(crate) fn is_read_only(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(flags(fd)? & libc::O_ACCMODE == libc::O_RDONLY)
}

/// From now on calls on it wait.
pub(crate) fn set_blocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = flags(fd)? & !libc::O_NONBLOCK;
    // SAFETY: F_SETFL takes a number.
    checked(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) }).map(drop)
}

/// Is an empty FIFO, whose reading end `fd` is, open to write to somewhere? Takes nothing out of it.
///
/// `tee` copies from one pipe to another, and tells the two cases apart if there is nothing to copy: without a writer that is the
/// end, with one it would have to wait.
///
/// # Errors
///
/// There are no more descriptors; `fd` is no pipe.
#[cfg(target_os = "linux")]
pub(crate) fn has_writer(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let (_reader, writer) = io::pipe()?;
    // SAFETY: the call takes two descriptors, which are open, and numbers.
    let copied = unsafe { libc::tee(fd.as_raw_fd(), writer.as_raw_fd(), 1, libc::SPLICE_F_NONBLOCK) };
    match copied {
        0 => Ok(false),
        1.. => Ok(true),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            error => Err(error),
        },
    }
}

/// As above.
#[cfg(not(target_os = "linux"))]
pub(crate) fn has_writer(_fd: BorrowedFd<'_>) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}
