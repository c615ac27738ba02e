//! The functions that C code calls which was compiled with `_FORTIFY_SOURCE`: they are told how long the buffer is; or that there is no mode.

use std::ffi::{c_char, c_int, c_void};

use libc::{nfds_t, pollfd, sigset_t, size_t, sockaddr, socklen_t, ssize_t, timespec};

unsafe extern "C" {
    /// libc's: reports the overflow, and aborts.
    fn __chk_fail() -> !;
}

fn assert_fits(len: usize, buf_len: usize) {
    if len > buf_len {
        // SAFETY: it takes nothing.
        unsafe { __chk_fail() }
    }
}

/// # Safety
///
/// As of `read`.
pub unsafe fn __read_chk(fd: c_int, buf: *mut c_void, len: size_t, buf_len: size_t) -> ssize_t {
    assert_fits(len, buf_len);
    // SAFETY: as the caller promises.
    unsafe { crate::calls::file::read(fd, buf, len) }
}

/// # Safety
///
/// As of `recv`.
pub unsafe fn __recv_chk(fd: c_int, buf: *mut c_void, len: size_t, buf_len: size_t, flags: c_int) -> ssize_t {
    assert_fits(len, buf_len);
    // SAFETY: as the caller promises.
    unsafe { crate::calls::socket::recv(fd, buf, len, flags) }
}

/// # Safety
///
/// As of `recvfrom`.
pub unsafe fn __recvfrom_chk(
    fd: c_int,
    buf: *mut c_void,
    len: size_t,
    buf_len: size_t,
    flags: c_int,
    from: *mut sockaddr,
    from_len: *mut socklen_t,
) -> ssize_t {
    assert_fits(len, buf_len);
    // SAFETY: as the caller promises.
    unsafe { crate::calls::socket::recvfrom(fd, buf, len, flags, from, from_len) }
}

/// # Safety
///
/// As of `poll`.
pub unsafe fn __poll_chk(fds: *mut pollfd, count: nfds_t, millis: c_int, fds_len: size_t) -> c_int {
    assert_fits(count as usize, fds_len / size_of::<pollfd>());
    // SAFETY: as the caller promises.
    unsafe { crate::calls::poll::poll(fds, count, millis) }
}

/// # Safety
///
/// As of `ppoll`.
pub unsafe fn __ppoll_chk(
    fds: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    mask: *const sigset_t,
    fds_len: size_t,
) -> c_int {
    assert_fits(count as usize, fds_len / size_of::<pollfd>());
    // SAFETY: as the caller promises.
    unsafe { crate::calls::poll::ppoll(fds, count, timeout, mask) }
}

fn assert_makes_none(flags: c_int) {
    if flags & libc::O_CREAT != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE {
        // SAFETY: it takes nothing.
        unsafe { __chk_fail() }
    }
}

/// # Safety
///
/// As of `open`.
pub unsafe fn __open_2(path: *const c_char, flags: c_int) -> c_int {
    assert_makes_none(flags);
    // SAFETY: as the caller promises.
    unsafe { crate::calls::open::open(path, flags, 0) }
}

/// # Safety
///
/// As of `openat`.
pub unsafe fn __openat_2(folder: c_int, path: *const c_char, flags: c_int) -> c_int {
    assert_makes_none(flags);
    // SAFETY: as the caller promises.
    unsafe { crate::calls::open::openat(folder, path, flags, 0) }
}
