//! Calls on sockets. The system call is tried first, told not to block; only if it would have is the rest looked at.

use std::ffi::{c_int, c_void};
use std::time::Duration;

use green::__interposed::claim;
use libc::{
    MSG_DONTWAIT, MSG_ERRQUEUE, MSG_OOB, MSG_PEEK, MSG_WAITALL, iovec, msghdr, size_t, sockaddr, socklen_t, ssize_t,
};

use crate::calls::counters::BLOCKED;
use crate::calls::raw::{self, AGAIN, address, error, returned, returned_int};
use crate::calls::waits::{
    Call, Direction, TAKEN, WaitEnd, Waits, at_once, deadline, is_nonblocking, look, may_park, option, spend,
    until_done, with_pauses,
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
        return returned(at_once(call(0, flags)));
    }
    let whole = flags & MSG_WAITALL != 0 && is_stream(fd);
    if whole && flags & MSG_PEEK != 0 {
        BLOCKED.add();
        return returned(call(0, flags));
    }
    let (mut done, mut waits) = (0, Call::new(fd, Direction::Read));
    loop {
        let attempt = || call(done, flags | MSG_DONTWAIT);
        let result = waits.until_done(attempt, || call(done, flags));
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
        return returned(at_once(call(0, flags)));
    }
    let (mut done, mut waits) = (0, Call::new(fd, Direction::Write));
    loop {
        // No signal for the rest: what has been sent is the result.
        let flags = if done > 0 { flags | libc::MSG_NOSIGNAL } else { flags };
        let attempt = || call(done, flags | MSG_DONTWAIT);
        let result = waits.until_done(attempt, || call(done, flags));
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
        return returned(at_once(call(flags)));
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
        return returned(at_once(call(message, flags)));
    }
    let mut waits = Call::new(fd, Direction::Write);
    let first = waits.until_done(|| call(message, flags | MSG_DONTWAIT), || call(message, flags));
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
        waits.until_done(attempt, || call(&raw const message, flags))
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
    returned_int(connect_by(fd, call))
}

/// Connects by `call`.
fn connect_by(fd: c_int, call: impl Fn() -> isize) -> isize {
    // Of sockets that deal in datagrams it is a note, and does not wait.
    let waits = || matches!(option::<c_int>(fd, libc::SO_TYPE), Some(libc::SOCK_STREAM | libc::SOCK_SEQPACKET));
    if !may_park() || is_nonblocking(fd) || !waits() {
        return at_once(call());
    }
    let deadline_ns = deadline(fd, Direction::Write);
    // Again: a Unix socket whose listener's queue is full, and nobody tells when it is not. (Of others it is what the call says that blocks.) The flag is read when the call begins;
    // what it has begun goes on without.
    let is_unix = option::<c_int>(fd, libc::SO_DOMAIN) == Some(libc::AF_UNIX);
    let attempt = || match nonblocking_call(fd, &call) {
        AGAIN if is_unix => TAKEN,
        result => result,
    };
    let result = with_pauses(Duration::from_millis(50), deadline_ns, attempt, &call);
    if result != error(libc::EINPROGRESS) {
        return result;
    }
    connected(fd, deadline_ns, call)
}

/// Waits for the end of a connection's beginning.
fn connected(fd: c_int, deadline_ns: u64, block: impl FnOnce() -> isize) -> isize {
    // Where it cannot be waited for, the call waits for what has begun.
    let Some(mut waits) = Waits::of(fd, Direction::Write) else { return block() };
    while look(fd, libc::POLLOUT) == 0 {
        match waits.wait(deadline_ns) {
            Some(WaitEnd::Ready) => {}
            Some(WaitEnd::TimedOut) => return error(libc::EINPROGRESS),
            Some(WaitEnd::Interrupted) => {
                spend();
                return error(libc::ECANCELED);
            }
            None => return block(),
        }
    }
    -(option::<c_int>(fd, libc::SO_ERROR).unwrap_or(0) as isize)
}

/// Makes a call on a descriptor that blocks, as if it did not; [`TAKEN`] if another thread does so now. The flag is of the open file: a second one would take the first one's flag for
/// what the file was, and leave it set. (Another process that has the file sees the flag as well.)
fn nonblocking_call(fd: c_int, call: impl FnOnce() -> isize) -> isize {
    // SAFETY: flags of a descriptor of the caller's.
    let fcntl = |command: c_int, flags: usize| unsafe {
        raw::call(libc::SYS_fcntl, [fd as usize, command as usize, flags, 0, 0, 0])
    };
    one_at_a_time(identity(fd), || {
        let flags = fcntl(libc::F_GETFL, 0);
        if flags < 0 {
            return call();
        }
        fcntl(libc::F_SETFL, flags as usize | libc::O_NONBLOCK as usize);
        let result = call();
        fcntl(libc::F_SETFL, flags as usize);
        result
    })
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
    let file = identity(fd);
    let attempt = || one_at_a_time(file, || if look(fd, libc::POLLIN) == 0 { AGAIN } else { call() });
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

/// What a descriptor stands for.
pub(crate) fn status(fd: c_int) -> Option<libc::stat> {
    // SAFETY: zeros are a value of it.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `stat`.
    let result = unsafe { raw::call(libc::SYS_fstat, [fd as usize, address(&raw mut status), 0, 0, 0, 0]) };
    (result == 0).then_some(status)
}

/// What tells a file from others, by whatever descriptor: its device, and the number of its inode. What has an inode that others have, too, is told by its descriptor: see
/// `interposed/claim.rs` in `green`.
pub(crate) type FileIdentity = (u64, u64, c_int);

pub(crate) const fn identity_of(fd: c_int, status: &libc::stat) -> FileIdentity {
    // Eventfds and the like are of no kind.
    let shares_its_inode = matches!(status.st_mode & libc::S_IFMT, 0 | libc::S_IFCHR);
    (status.st_dev, status.st_ino, if shares_its_inode { fd } else { -1 })
}

/// Of what is no descriptor, that of nothing.
fn identity(fd: c_int) -> FileIdentity {
    status(fd).as_ref().map_or((0, 0, -1), |status| identity_of(fd, status))
}

/// Between a look and the call that it is for, no other green thread of this process makes the same on this file: so the call does not block. [`TAKEN`]: another one does, and the
/// caller looks again later.
///
/// Another process that shares the file, or a plain OS thread, may come between: then the call blocks until the next comes, with its worker; those who find the file taken look
/// again at times.
pub(crate) fn one_at_a_time(file: FileIdentity, f: impl FnOnce() -> isize) -> isize {
    /// It is over after two system calls, nearly always.
    const LOOKS: u32 = 8;
    for _ in 0..LOOKS {
        if let Some(_claimed) = claim(file) {
            return f();
        }
        // SAFETY: no arguments.
        unsafe { raw::call(libc::SYS_sched_yield, [0; 6]) };
    }
    TAKEN
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn who_found_a_file_taken_waited_for_a_call_that_blocks() {
        let result = one_at_a_time((1, 2, -1), || {
            let beside = |file| std::thread::spawn(move || one_at_a_time(file, || 7)).join().unwrap();
            assert_eq!(beside((1, 2, -1)), TAKEN);
            assert_eq!(beside((1, 2 + 64, -1)), 7, "another file");
            5
        });
        assert_eq!((result, one_at_a_time((1, 2, -1), || 6)), (5, 6));
    }

    #[test]
    fn who_wrote_to_an_eventfd_found_it_taken_by_another() {
        // SAFETY: no memory is passed; they are new, and nobody else's.
        let new = || unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, 0)) };
        let [one, other] = [new(), new()];
        let on = |fd: &OwnedFd, f: &dyn Fn() -> isize| one_at_a_time(identity(fd.as_raw_fd()), f);
        assert_eq!(on(&one, &|| on(&other, &|| 7)), 7);
        assert_eq!(on(&one, &|| on(&one, &|| 7)), TAKEN);
    }

    /// As some do when there is no memory, or no port.
    #[test]
    fn a_connection_of_a_kind_that_no_queue_keeps_waiting_was_tried_again_for_ever() {
        let tries = |family: c_int| {
            let tries = AtomicU32::new(0);
            let refused = || {
                // The second time it is another error.
                if tries.fetch_add(1, Ordering::Relaxed) == 0 { AGAIN } else { error(libc::ECONNREFUSED) }
            };
            // SAFETY: no memory is passed; it is new, and nobody else's.
            let socket = unsafe { OwnedFd::from_raw_fd(libc::socket(family, libc::SOCK_STREAM, 0)) };
            let result = green::run(|| connect_by(socket.as_raw_fd(), refused));
            (result, tries.into_inner())
        };
        assert_eq!(tries(libc::AF_INET), (AGAIN, 1));
        assert_eq!(tries(libc::AF_UNIX), (error(libc::ECONNREFUSED), 2));
    }

    #[test]
    fn of_two_calls_on_one_descriptor_the_second_left_it_so_that_it_does_not_block() {
        let (one, _other) = UnixStream::pair().unwrap();
        let fd = one.as_raw_fd();
        let (first_is_over, wait_for_first) = channel::<()>();
        let is_inside = &AtomicBool::new(false);
        std::thread::scope(|scope| {
            let second = move || {
                nonblocking_call(fd, || {
                    is_inside.store(true, Ordering::Relaxed);
                    _ = wait_for_first.recv();
                    0
                });
            };
            let first = || {
                let second = scope.spawn(second);
                while !second.is_finished() && !is_inside.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                0
            };
            assert_eq!(nonblocking_call(fd, first), 0);
            drop(first_is_over);
        });
        assert!(!is_nonblocking(fd));
    }
}
