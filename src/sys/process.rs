//! A descriptor that can be read from when a child has ended.

use std::io;
use std::os::fd::OwnedFd;

/// Of a child that has not been waited for.
///
/// # Errors
///
/// The system has none (before Linux 5.3, or not Linux at all), or there are no more descriptors.
#[cfg(target_os = "linux")]
pub(crate) fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: the call takes two numbers. It sets close-on-exec itself.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the system has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// As above.
#[cfg(not(target_os = "linux"))]
pub(crate) fn pidfd(_pid: u32) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}
