//! `poll(2)`: how a plain OS thread waits for one descriptor.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use crate::sys::clock::{NEVER, real_ns};

/// Waits until `fd` can be read from (or written to), or has an error or an end to tell of; until `deadline_ns` at the
/// latest, which may have passed already. False: it was the deadline.
///
/// # Errors
///
/// `EBADF`: it is no descriptor.
pub(crate) fn wait_for(fd: impl AsRawFd, write: bool, deadline_ns: u64) -> io::Result<bool> {
    let events = if write { libc::POLLOUT } else { libc::POLLIN };
    let mut one = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    loop {
        let left = match deadline_ns {
            NEVER => None,
            0 => Some(Duration::ZERO),
            deadline_ns => Some(Duration::from_nanos(deadline_ns.saturating_sub(real_ns()))),
        };
        match poll(&mut one, left) {
            Ok(0) if left.is_some_and(|left| left.is_zero()) => return Ok(false),
            Ok(0) => {}
            Ok(_) if one.revents & libc::POLLNVAL != 0 => return Err(io::Error::from_raw_os_error(libc::EBADF)),
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Has the reading side of `fd` ended: by its peer, or by a shutdown? Where a blocking read would return, and a non-blocking
/// one says `EAGAIN`. (That is so on Linux only.)
pub(crate) fn has_ended(fd: BorrowedFd<'_>) -> bool {
    #[cfg(target_os = "linux")]
    {
        let mut one = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
        poll(&mut one, Some(Duration::ZERO)).is_ok() && one.revents & (libc::POLLRDHUP | libc::POLLHUP) != 0
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = fd;
        false
    }
}

/// Sleeps until `fd` can be read from, but not longer than `d`. May come back early.
pub(crate) fn sleep_on(fd: RawFd, d: Duration) {
    let _ = poll(&mut libc::pollfd { fd, events: libc::POLLIN, revents: 0 }, Some(d));
}

/// Can `fd` be read from now?
pub(crate) fn is_readable(fd: RawFd) -> bool {
    poll(&mut libc::pollfd { fd, events: libc::POLLIN, revents: 0 }, Some(Duration::ZERO)).is_ok_and(|count| count > 0)
}

/// Is there room in `fd` to write, or an error to be told of, within `d`, or does a signal come? For signal handlers, too: it takes no lock and allocates nothing.
pub(crate) fn comes_to_have_room(fd: RawFd, d: Duration) -> bool {
    match poll(&mut libc::pollfd { fd, events: libc::POLLOUT, revents: 0 }, Some(d)) {
        Ok(count) => count > 0,
        Err(error) => error.kind() == io::ErrorKind::Interrupted,
    }
}

/// One call; on Linux to the nanosecond.
#[cfg(target_os = "linux")]
fn poll(one: &mut libc::pollfd, timeout: Option<Duration>) -> io::Result<usize> {
    let seconds = |d: Duration| libc::time_t::try_from(d.as_secs()).unwrap_or(libc::time_t::MAX);
    let timeout = timeout.map(|d| libc::timespec { tv_sec: seconds(d), tv_nsec: d.subsec_nanos() as _ });
    let timeout_ptr = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: one `pollfd` that is valid, a time-out that is null or valid, no signal mask.
    let count = unsafe { libc::ppoll(one, 1, timeout_ptr, std::ptr::null()) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// One call; the time-out is rounded up to milliseconds.
#[cfg(not(target_os = "linux"))]
fn poll(one: &mut libc::pollfd, timeout: Option<Duration>) -> io::Result<usize> {
    let millis = |d: Duration| libc::c_int::try_from(d.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX);
    // SAFETY: one `pollfd` that is valid.
    let count = unsafe { libc::poll(one, 1, timeout.map_or(-1, millis)) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}
