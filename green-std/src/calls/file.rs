//! `read` and `write` on whatever a descriptor is.
//!
//! | what it is | the call |
//! | --- | --- |
//! | a socket | as `recv` and `send` |
//! | a pipe, a terminal, an eventfd, a timerfd and the like | told not to wait (`RWF_NOWAIT`), where the kernel can; else made when `poll` says that it need not wait, by one thread at a time |
//! | a terminal or another device to write to, an eventfd to add to | the same, but `poll` says only that there is some room: what may be too much is written by an OS thread that may block, and so is what would fit, as long as there is such a write |
//! | a file | made as it is: a disk has no readiness |
//!
//! `O_NONBLOCK` would let the system say whether all fits. But it is the open file's, which a terminal's other processes have, too, and which a neighbour reads that reads an eventfd at
//! this moment: their calls would fail.

use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_void};

use green::__interposed::{PendingWrite, blocking, has_pending_write};
use libc::{eventfd_t, iovec, size_t, ssize_t};

use crate::calls::counters::HANDED_OVER;
use crate::calls::raw::{self, AGAIN, address, error, returned};
use crate::calls::socket::{FileIdentity, identity_of, one_at_a_time, send_rest, status};
use crate::calls::waits::{Call, Direction, is_nonblocking, look, may_park, may_park_anywhere, may_wait_here, spend};

/// So much goes into a pipe that can be written to (`PIPE_BUF`).
const PIPE_BUF: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Socket,
    Pipe(FileIdentity),
    /// A terminal, say.
    Device(FileIdentity),
    /// An eventfd, and what else is of no kind.
    Counter(FileIdentity),
    /// `/dev/null` and its like, which have room for all.
    Memory(FileIdentity),
}

/// The device number of what is no device, but memory.
const MEMORY: c_uint = 1;

/// What `fd` is, if calls on it may park the caller.
pub(crate) fn kind(fd: c_int) -> Option<Kind> {
    if !may_park() {
        return None;
    }
    if is_nonblocking(fd) {
        spend();
        return None;
    }
    let status = status(fd)?;
    let file = identity_of(fd, &status);
    match status.st_mode & libc::S_IFMT {
        // The standard streams of std, too, where they are sockets.
        libc::S_IFSOCK if fd > 2 || may_park_anywhere() => Some(Kind::Socket),
        // Output goes through locks that belong to a thread.
        _ if !may_park_anywhere() => None,
        libc::S_IFIFO => Some(Kind::Pipe(file)),
        libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK | libc::S_IFLNK => None,
        libc::S_IFCHR if libc::major(status.st_rdev) == MEMORY => Some(Kind::Memory(file)),
        libc::S_IFCHR => Some(Kind::Device(file)),
        _ => Some(Kind::Counter(file)),
    }
}

/// What an attempt says that has found room, though perhaps not enough. No system call's result.
const MAY_NOT_FIT: isize = isize::MIN + 1;

/// Is there room for all of `parts`, of a file that `poll` says this of?
fn fits(kind: Kind, parts: &[iovec], events: i16) -> bool {
    match (kind, parts) {
        // To what is zero anything can be added; and one to what is not full.
        (Kind::Counter(_), [_]) if events & libc::POLLIN == 0 => true,
        (Kind::Counter(_), [part]) if events & libc::POLLOUT != 0 && part.iov_len == 8 => {
            // SAFETY: the caller's buffer, of this length.
            unsafe { part.iov_base.cast::<u64>().read_unaligned() == 1 }
        }
        (Kind::Counter(_) | Kind::Device(_), _) => false,
        _ => true,
    }
}

/// Reads into, or writes out of, `parts`, without waiting if the kernel can; else when `poll` says that it need not.
fn transfer(call: &mut Call, fd: c_int, kind: Kind, parts: &[iovec]) -> isize {
    let direction = call.direction();
    let (nowait, plain, events) = match direction {
        Direction::Read => (libc::SYS_preadv2, libc::SYS_readv, libc::POLLIN),
        // Whether there is anything to read says whether an eventfd is zero.
        Direction::Write => (libc::SYS_pwritev2, libc::SYS_writev, libc::POLLOUT | libc::POLLIN),
    };
    let (at, count) = (address(parts.as_ptr()), parts.len());
    // SAFETY: the caller's buffers.
    let now = || unsafe {
        let here = usize::MAX; // the descriptor's own position
        raw::call(nowait, [fd as usize, at, count, here, here, libc::RWF_NOWAIT as usize])
    };
    // SAFETY: the same.
    let block = || unsafe { raw::call(plain, [fd as usize, at, count, 0, 0, 0]) };
    let pending = Cell::new(None);
    let when_ready = |file: FileIdentity| {
        // Before the look: see `interposed/claim.rs` in `green`.
        let is_alone = direction == Direction::Read || !matches!(kind, Kind::Counter(_)) || !has_pending_write(file);
        let found = look(fd, events);
        match direction {
            Direction::Read if found == 0 => return AGAIN,
            Direction::Write if found & !libc::POLLIN == 0 => return AGAIN,
            Direction::Write if !is_alone || !fits(kind, parts, found) => {
                pending.set(Some(PendingWrite::new(file)));
                return MAY_NOT_FIT;
            }
            _ => {}
        }
        let len: usize = parts.iter().map(|part| part.iov_len).sum();
        if matches!(kind, Kind::Pipe(_)) && direction == Direction::Write && len > PIPE_BUF {
            let first = parts.iter().find(|part| part.iov_len > 0).expect("there is more than nothing");
            let len = first.iov_len.min(PIPE_BUF);
            // SAFETY: a part of the caller's buffers.
            return unsafe { raw::call(libc::SYS_write, [fd as usize, address(first.iov_base), len, 0, 0, 0]) };
        }
        block()
    };
    let attempt = || match (kind, now()) {
        // What an older kernel, a filter of system calls or an emulator says, and of some files each kernel.
        (Kind::Pipe(file) | Kind::Device(file) | Kind::Counter(file) | Kind::Memory(file), result)
            if UNSUPPORTED.contains(&result) =>
        {
            match one_at_a_time(file, || when_ready(file)) {
                MAY_NOT_FIT => {
                    let _pending = pending.take();
                    hand_over(block)
                }
                result => result,
            }
        }
        (_, result) => result,
    };
    call.until_done(attempt, block)
}

/// Has an OS thread make a call that may block, where that can be.
fn hand_over(block: impl FnOnce() -> isize + Send) -> isize {
    if !may_wait_here() {
        return block();
    }
    HANDED_OVER.add();
    blocking(block)
}

/// What `writev` returns.
fn write_all(fd: c_int, kind: Kind, parts: &[iovec]) -> isize {
    let mut call = Call::new(fd, Direction::Write);
    let first = transfer(&mut call, fd, kind, parts);
    if first <= 0 {
        return returned(first);
    }
    send_rest(fd, parts, first as usize, |rest| transfer(&mut call, fd, kind, rest))
}

const UNSUPPORTED: [isize; 4] = [error(libc::EOPNOTSUPP), error(libc::ENOSYS), error(libc::EINVAL), error(libc::EPERM)];

/// # Safety
///
/// As of `readv`.
pub unsafe fn readv(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: as the caller promises.
    let block = || unsafe { raw::call(libc::SYS_readv, [fd as usize, address(parts), count as usize, 0, 0, 0]) };
    let Some(kind) = kind(fd).filter(|_| (1..=1024).contains(&count)) else { return returned(block()) };
    if kind == Kind::Socket {
        // SAFETY: zeros are a message without content.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        (message.msg_iov, message.msg_iovlen) = (parts.cast_mut(), count as usize);
        // SAFETY: as the caller promises; the message is this function's.
        return unsafe { crate::calls::socket::recvmsg(fd, &raw mut message, 0) };
    }
    // SAFETY: as the caller promises.
    let parts = unsafe { std::slice::from_raw_parts(parts, count as usize) };
    returned(transfer(&mut Call::new(fd, Direction::Read), fd, kind, parts))
}

/// # Safety
///
/// As of `writev`.
pub unsafe fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: as the caller promises.
    let block = || unsafe { raw::call(libc::SYS_writev, [fd as usize, address(parts), count as usize, 0, 0, 0]) };
    let Some(kind) = kind(fd).filter(|_| (1..=1024).contains(&count)) else { return returned(block()) };
    if kind == Kind::Socket {
        // SAFETY: zeros are a message without content.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        (message.msg_iov, message.msg_iovlen) = (parts.cast_mut(), count as usize);
        // SAFETY: as the caller promises; the message is this function's.
        return unsafe { crate::calls::socket::sendmsg(fd, &raw const message, 0) };
    }
    // SAFETY: as the caller promises.
    let parts = unsafe { std::slice::from_raw_parts(parts, count as usize) };
    write_all(fd, kind, parts)
}

/// # Safety
///
/// As of `read`.
pub unsafe fn read(fd: c_int, buf: *mut c_void, len: size_t) -> ssize_t {
    // SAFETY: as the caller promises.
    let block = || unsafe { raw::call(libc::SYS_read, [fd as usize, address(buf), len, 0, 0, 0]) };
    match kind(fd).filter(|_| len > 0) {
        None => returned(block()),
        // SAFETY: as the caller promises.
        Some(Kind::Socket) => unsafe { crate::calls::socket::recv(fd, buf, len, 0) },
        Some(kind) => {
            let part = iovec { iov_base: buf, iov_len: len };
            returned(transfer(&mut Call::new(fd, Direction::Read), fd, kind, &[part]))
        }
    }
}

/// # Safety
///
/// As of `write`.
pub unsafe fn write(fd: c_int, buf: *const c_void, len: size_t) -> ssize_t {
    // SAFETY: as the caller promises.
    let block = || unsafe { raw::call(libc::SYS_write, [fd as usize, address(buf), len, 0, 0, 0]) };
    match kind(fd).filter(|_| len > 0) {
        None => returned(block()),
        // SAFETY: as the caller promises.
        Some(Kind::Socket) => unsafe { crate::calls::socket::send(fd, buf, len, 0) },
        Some(kind) => {
            let parts = [iovec { iov_base: buf.cast_mut(), iov_len: len }];
            write_all(fd, kind, &parts)
        }
    }
}

/// # Safety
///
/// As of libc's function.
pub unsafe fn eventfd_read(fd: c_int, value: *mut eventfd_t) -> c_int {
    // SAFETY: as the caller promises.
    if unsafe { read(fd, value.cast(), size_of::<eventfd_t>()) } == size_of::<eventfd_t>() as ssize_t { 0 } else { -1 }
}

/// # Safety
///
/// None.
pub unsafe fn eventfd_write(fd: c_int, value: eventfd_t) -> c_int {
    // SAFETY: a value of this function's.
    let written = unsafe { write(fd, (&raw const value).cast(), size_of::<eventfd_t>()) };
    if written == size_of::<eventfd_t>() as ssize_t { 0 } else { -1 }
}
