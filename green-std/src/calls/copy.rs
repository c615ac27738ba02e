//! Copies inside of the kernel: `std::io::copy` makes them where an end is a socket or a pipe.

use std::ffi::{c_int, c_uint};

use libc::{off_t, size_t, ssize_t};

use crate::calls::file::{Kind, kind, write};
use crate::calls::raw::{self, AGAIN, address, error, returned};
use crate::calls::waits::{Call, Direction, at_once, is_nonblocking, look, may_park};

/// So much is read of a file before it is sent.
const PART: usize = 1 << 16;

/// From a file to a descriptor that would have to be waited for: read and written, part by part. Without an offset the file's own position is read first and set last, as the kernel does it,
/// without a lock either.
///
/// # Safety
///
/// As of `sendfile`.
pub unsafe fn sendfile(to: c_int, from: c_int, offset: *mut off_t, count: size_t) -> ssize_t {
    if kind(to).is_none() {
        // SAFETY: as the caller promises.
        let call = unsafe { raw::call(libc::SYS_sendfile, [to as usize, from as usize, address(offset), count, 0, 0]) };
        return returned(at_once(call));
    }
    let seek = |to: usize, whence: c_int| {
        // SAFETY: no memory is passed.
        unsafe { raw::call(libc::SYS_lseek, [from as usize, to, whence as usize, 0, 0, 0]) }
    };
    // SAFETY: null, or the caller's number.
    let start = match unsafe { offset.as_ref() } {
        Some(offset) => *offset as isize,
        None => seek(0, libc::SEEK_CUR),
    };
    if start < 0 {
        return returned(error(libc::EINVAL));
    }
    let (mut done, mut part) = (0, vec![0_u8; count.min(PART)]);
    let last = loop {
        let len = (count - done).min(PART);
        let at = start as usize + done;
        // SAFETY: the kernel writes at most so many bytes.
        let read = unsafe { raw::call(libc::SYS_pread64, [from as usize, address(part.as_mut_ptr()), len, at, 0, 0]) };
        if read <= 0 {
            break returned(read);
        }
        // SAFETY: so many have been read.
        let written = unsafe { write(to, part.as_ptr().cast(), read as usize) };
        done += written.max(0) as usize;
        if written < read || done == count {
            break written;
        }
    };
    if done == 0 {
        return last;
    }
    let end = start as usize + done;
    // SAFETY: null, or the caller's number.
    match unsafe { offset.as_mut() } {
        Some(offset) => *offset = end as off_t,
        None => _ = seek(end, libc::SEEK_SET),
    }
    done as ssize_t
}

/// From a pipe, or to one. If the other end is a socket that blocks, it is refused (`EINVAL`): there is no way to ask the kernel not to wait for
/// that, and callers have to be able to copy themselves, as std does.
///
/// # Safety
///
/// As of `splice`.
pub unsafe fn splice(
    from: c_int,
    from_offset: *mut off_t,
    to: c_int,
    to_offset: *mut off_t,
    len: size_t,
    flags: c_uint,
) -> ssize_t {
    let call = |flags: c_uint| {
        let args = [from as usize, address(from_offset), to as usize, address(to_offset), len, flags as usize];
        // SAFETY: as the caller promises.
        unsafe { raw::call(libc::SYS_splice, args) }
    };
    let [from_kind, to_kind] = [from, to].map(kind);
    let waits = flags & libc::SPLICE_F_NONBLOCK == 0 && (from_kind.is_some() || to_kind.is_some());
    if !waits || !may_park() {
        return returned(at_once(call(flags)));
    }
    if from_kind == Some(Kind::Socket) || to_kind == Some(Kind::Socket) {
        return returned(error(libc::EINVAL));
    }
    let attempt = || call(flags | libc::SPLICE_F_NONBLOCK);
    loop {
        let first = attempt();
        if first != AGAIN {
            return returned(at_once(first));
        }
        // Which end is it that it would wait for?
        let (fd, direction) = match from_kind.is_some() && look(from, libc::POLLIN) == 0 {
            true => (from, Direction::Read),
            false => (to, Direction::Write),
        };
        // Where that end does not block, the call does not.
        if is_nonblocking(fd) {
            return returned(first);
        }
        let mut is_ready = false;
        let waited = Call::new(fd, direction).until_done(
            || {
                let result = attempt();
                let events = if direction == Direction::Read { libc::POLLIN } else { libc::POLLOUT };
                is_ready = result == AGAIN && look(fd, events) != 0;
                // It may be the other end's turn.
                if is_ready { 0 } else { result }
            },
            || call(flags),
        );
        if !is_ready {
            return returned(waited);
        }
    }
}
