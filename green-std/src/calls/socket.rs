//! Calls on sockets. The system call is tried first, told not to block; only if it would have is the rest looked at.

use std::ffi::{c_int, c_long, c_void};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use libc::{
    MSG_DONTWAIT, MSG_ERRQUEUE, MSG_OOB, MSG_PEEK, MSG_WAITALL, iovec, msghdr, size_t, sockaddr, socklen_t, ssize_t,
};

use crate::calls::counters::BLOCKED;
use crate::calls::raw::{self, AGAIN, address, error, returned, returned_int};
use crate::calls::waits::{
    Direction, WaitEnd, deadline, has_passed, is_nonblocking, look, may_park, option, sleep_until, until_done, wait,
};

/// Of bytes that a call was asked for: what it has done, or the error that has stopped it before it did anything.
fn so_far(done: usize, result: isize) -> isize {
    if done > 0 { done as isize } else { result }
}

fn is_stream(fd: c_int) -> bool {
    option::<c_int>(fd, libc::SO_TYPE) == Some(libc::SOCK_STREAM)
}

/// # Safety
///
/// As of `recvfrom`.
pub unsafe fn recvfrom(
    fd: c_int,
    buf: *mut c_void,
    len: size_t,
    flags: c_int,
    from: *mut sockaddr,
    from_len: *mut socklen_t,
) -> ssize_t {
    // SAFETY: as the caller promises, for a part of the buffer.
    let call = |done: usize, flags: c_int| unsafe {
        let rest = address(buf) + done;
        let args = [fd as usize, rest, len - done, flags as usize, address(from), address(from_len)];
        raw::call(libc::SYS_recvfrom, args)
    };
    if flags & (MSG_DONTWAIT | MSG_ERRQUEUE | MSG_OOB) != 0 || !may_park() {
        return returned(call(0, flags));
    }
    let whole = flags & MSG_WAITALL != 0 && is_stream(fd);
    if whole && flags & MSG_PEEK != 0 {
        BLOCKED.add();
        return returned(call(0, flags));
    }
    let mut done = 0;
    loop {
        let attempt = || call(done, flags | MSG_DONTWAIT);
        let result = until_done(fd, Direction::Read, attempt, || call(done, flags));
        if result <= 0 || !whole {
            return returned(so_far(done, result));
        }
        done += result as usize;
        if done == len {
            return len as isize;
        }
    }
}

/// # Safety
///
/// As of `recv`.
pub unsafe fn recv(fd: c_int, buf: *mut c_void, len: size_t, flags: c_int) -> ssize_t {
    // SAFETY: the same.
    unsafe { recvfrom(fd, buf, len, flags, std::ptr::null_mut(), std::ptr::null_mut()) }
}

/// # Safety
///
/// As of `sendto`.
pub unsafe fn sendto(
    fd: c_int,
    buf: *const c_void,
    len: size_t,
    flags: c_int,
    to: *const sockaddr,
    to_len: socklen_t,
) -> ssize_t {
    // SAFETY: as the caller promises, for a part of the buffer.
    let call = |done: usize, flags: c_int| unsafe {
        let rest = address(buf) + done;
        raw::call(libc::SYS_sendto, [fd as usize, rest, len - done, flags as usize, address(to), to_len as usize])
    };
    if flags & MSG_DONTWAIT != 0 || !may_park() {
        return returned(call(0, flags));
    }
    let mut done = 0;
    loop {
        // No signal for the rest: what has been sent is the result.
        let flags = if done > 0 { flags | libc::MSG_NOSIGNAL } else { flags };
        let attempt = || call(done, flags | MSG_DONTWAIT);
        let result = until_done(fd, Direction::Write, attempt, || call(done, flags));
        if result < 0 {
            return returned(so_far(done, result));
        }
        done += result as usize;
        // A call that blocks comes back when all is sent; one that does not, when the buffer is full.
        if done >= len || result == 0 || is_nonblocking(fd) {
            return done as isize;
        }
    }
}

/// # Safety
///
/// As of `send`.
pub unsafe fn send(fd: c_int, buf: *const c_void, len: size_t, flags: c_int) -> ssize_t {
    // SAFETY: the same.
    unsafe { sendto(fd, buf, len, flags, std::ptr::null(), 0) }
}

/// # Safety
///
/// As of `recvmsg`.
pub unsafe fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    // SAFETY: as the caller promises.
    let call = |flags: c_int| unsafe {
        raw::call(libc::SYS_recvmsg, [fd as usize, address(message), flags as usize, 0, 0, 0])
    };
    if flags & (MSG_DONTWAIT | MSG_ERRQUEUE | MSG_OOB) != 0 || !may_park() {
        return returned(call(flags));
    }
    if flags & MSG_WAITALL != 0 {
        BLOCKED.add();
        return returned(call(flags));
    }
    returned(until_done(fd, Direction::Read, || call(flags | MSG_DONTWAIT), || call(flags)))
}

/// # Safety
///
/// As of `sendmsg`.
pub unsafe fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    // SAFETY: as the caller promises; the messages made here point to parts of the caller's.
    let call = |message: *const msghdr, flags: c_int| unsafe {
        raw::call(libc::SYS_sendmsg, [fd as usize, address(message), flags as usize, 0, 0, 0])
    };
    if flags & MSG_DONTWAIT != 0 || !may_park() {
        return returned(call(message, flags));
    }
    let attempt = || call(message, flags | MSG_DONTWAIT);
    let first = until_done(fd, Direction::Write, attempt, || call(message, flags));
    if first <= 0 {
        return returned(first);
    }
    // SAFETY: the kernel has just read it.
    let parts = unsafe { std::slice::from_raw_parts((*message).msg_iov, (*message).msg_iovlen) };
    send_rest(fd, parts, first as usize, |parts| {
        // SAFETY: valid as above.
        let mut message = unsafe { message.read() };
        (message.msg_iov, message.msg_iovlen) = (parts.as_mut_ptr(), parts.len());
        // It went with the first byte.
        (message.msg_control, message.msg_controllen) = (std::ptr::null_mut(), 0);
        let flags = flags | libc::MSG_NOSIGNAL;
        let attempt = || call(&raw const message, flags | MSG_DONTWAIT);
        until_done(fd, Direction::Write, attempt, || call(&raw const message, flags))
    })
}

/// Has `call` send what a first call, which has sent `done` bytes, has left of `parts`: a call that blocks would have sent all. The result of the whole.
pub(crate) fn send_rest(
    fd: c_int,
    parts: &[iovec],
    mut done: usize,
    mut call: impl FnMut(&mut [iovec]) -> isize,
) -> isize {
    let whole: usize = parts.iter().map(|part| part.iov_len).sum();
    if done < whole && is_nonblocking(fd) {
        return done as isize;
    }
    while done < whole {
        let mut skip = done;
        let mut left = Vec::new();
        for part in parts {
            let gone = skip.min(part.iov_len);
            skip -= gone;
            if gone < part.iov_len {
                left.push(iovec { iov_base: part.iov_base.wrapping_byte_add(gone), iov_len: part.iov_len - gone });
            }
        }
        match call(&mut left) {
            more @ 1.. => done += more as usize,
            _ => break,
        }
    }
    done as isize
}

/// # Safety
///
/// As of `connect`.
pub unsafe fn connect(fd: c_int, to: *const sockaddr, len: socklen_t) -> c_int {
    // SAFETY: as the caller promises.
    let call = || unsafe { raw::call(libc::SYS_connect, [fd as usize, address(to), len as usize, 0, 0, 0]) };
    if !may_park() || is_nonblocking(fd) || option::<c_int>(fd, libc::SO_TYPE).is_none() {
        return returned_int(call());
    }
    let deadline_ns = deadline(fd, Direction::Write);
    let mut pause = Duration::from_millis(1);
    loop {
        // The flag is read when the call begins; what it has begun goes on without.
        let result = with_nonblocking(fd, call);
        if result == error(libc::EINPROGRESS) {
            return returned_int(connected(fd, deadline_ns, call));
        }
        // A Unix socket whose listener's queue is full: nobody tells when it is not.
        if result != AGAIN {
            return returned_int(result);
        }
        if sleep_until(deadline_ns.min(crate::calls::waits::after(pause))) == WaitEnd::Interrupted {
            return returned_int(error(libc::ECANCELED));
        }
        if has_passed(deadline_ns) {
            return returned_int(AGAIN);
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Waits for the end of a connection's beginning.
fn connected(fd: c_int, deadline_ns: u64, block: impl FnOnce() -> isize) -> isize {
    while look(fd, libc::POLLOUT) == 0 {
        match wait(fd, Direction::Write, deadline_ns) {
            Some(WaitEnd::Ready) => {}
            Some(WaitEnd::TimedOut) => return error(libc::EINPROGRESS),
            Some(WaitEnd::Interrupted) => return error(libc::ECANCELED),
            // It waits for what has begun.
            None => return block(),
        }
    }
    -(option::<c_int>(fd, libc::SO_ERROR).unwrap_or(0) as isize)
}

/// Makes a call on a descriptor that blocks, as if it did not.
fn with_nonblocking(fd: c_int, call: impl FnOnce() -> isize) -> isize {
    // SAFETY: flags of a descriptor of the caller's.
    let fcntl = |command: c_int, flags: usize| unsafe {
        raw::call(libc::SYS_fcntl, [fd as usize, command as usize, flags, 0, 0, 0])
    };
    let flags = fcntl(libc::F_GETFL, 0);
    if flags < 0 {
        return call();
    }
    fcntl(libc::F_SETFL, flags as usize | libc::O_NONBLOCK as usize);
    let result = call();
    fcntl(libc::F_SETFL, flags as usize);
    result
}

/// # Safety
///
/// As of `accept4`.
pub unsafe fn accept4(fd: c_int, from: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> c_int {
    // SAFETY: as the caller promises.
    let call =
        || unsafe { raw::call(libc::SYS_accept4, [fd as usize, address(from), address(len), flags as usize, 0, 0]) };
    if !may_park() {
        return returned_int(call());
    }
    let attempt = || one_at_a_time(fd, || if look(fd, libc::POLLIN) == 0 { AGAIN } else { call() });
    // Of a listener that does not block, `until_done` hands `EAGAIN` on, and the system would have said the same.
    returned_int(until_done(fd, Direction::Read, attempt, call))
}

/// # Safety
///
/// As of `accept`.
pub unsafe fn accept(fd: c_int, from: *mut sockaddr, len: *mut socklen_t) -> c_int {
    // SAFETY: the same.
    unsafe { accept4(fd, from, len, 0) }
}

/// Between a look and the call that it is for, no other green thread of this process makes the same on this descriptor: so the call does not block.
///
/// Another process that shares the descriptor, or a plain OS thread, may come between: then the call blocks until the next comes, with its worker.
pub(crate) fn one_at_a_time(fd: c_int, f: impl FnOnce() -> isize) -> isize {
    const LOCKS: usize = 64;
    static TAKEN: [AtomicU32; LOCKS] = [const { AtomicU32::new(0) }; LOCKS];
    let taken = &TAKEN[fd as usize % LOCKS];
    // Held for two system calls; nothing parks or unwinds meanwhile.
    while taken.swap(1, Ordering::Acquire) != 0 {
        // SAFETY: no arguments.
        unsafe { raw::call(libc::SYS_sched_yield as c_long, [0; 6]) };
    }
    let result = f();
    taken.store(0, Ordering::Release);
    result
}
