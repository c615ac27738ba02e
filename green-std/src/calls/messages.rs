//! Calls that receive or send several messages.

use std::ffi::{c_int, c_uint};
use std::time::{Duration, Instant};

use libc::{MSG_DONTWAIT, MSG_ERRQUEUE, MSG_OOB, MSG_WAITALL, MSG_WAITFORONE, mmsghdr, timespec};

use crate::calls::counters::BLOCKED;
use crate::calls::poll::deadline_of;
use crate::calls::raw::{self, address, error, returned_int};
use crate::calls::socket::sendmsg;
use crate::calls::waits::{Call, Direction, NEVER, at_once, has_passed, is_nonblocking, may_park};

/// As many as the kernel takes.
const MOST: c_uint = 1024;

/// # Safety
///
/// As of `recvmmsg`.
pub unsafe fn recvmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int, time: *mut timespec) -> c_int {
    let call = |done: usize, flags: c_int, time: *mut timespec| {
        let at = address(messages.wrapping_add(done));
        // SAFETY: as the caller promises, for a part of the messages.
        unsafe {
            let args = [fd as usize, at, count as usize - done, flags as usize, address(time), 0];
            raw::call(libc::SYS_recvmmsg, args)
        }
    };
    let nothing = flags & (MSG_DONTWAIT | MSG_ERRQUEUE | MSG_OOB) != 0 || count == 0 || count > MOST;
    if nothing || !may_park() {
        return returned_int(at_once(call(0, flags, time)));
    }
    if flags & MSG_WAITALL != 0 {
        BLOCKED.add();
        return returned_int(call(0, flags, time));
    }
    // SAFETY: null, or the caller's time.
    let Some(deadline_ns) = unsafe { time.as_ref() }.map_or(Some(NEVER), deadline_of) else {
        return returned_int(error(libc::EINVAL));
    };
    // The kernel writes there as well, where the call is made as it was.
    // SAFETY: the same.
    let (begun, whole) = (Instant::now(), unsafe { time.as_ref() }.copied());
    let (mut done, mut waits) = (0, Call::new(fd, Direction::Read));
    let result = loop {
        let attempt = || call(done, flags | MSG_DONTWAIT, std::ptr::null_mut());
        let result = waits.until_done(attempt, || call(done, flags, time));
        done += result.max(0) as usize;
        let enough = flags & MSG_WAITFORONE != 0 || done >= count as usize || is_nonblocking(fd);
        // Linux looks at the time when a message has come, and so does this.
        if result <= 0 || enough || has_passed(deadline_ns) {
            break result;
        }
    };
    if let Some(whole) = whole {
        let left = Duration::new(whole.tv_sec as u64, whole.tv_nsec as u32).saturating_sub(begun.elapsed());
        let left = timespec { tv_sec: left.as_secs() as libc::time_t, tv_nsec: left.subsec_nanos().into() };
        // SAFETY: the caller's time, in which Linux writes what is left.
        unsafe { time.write(left) };
    }
    returned_int(if done > 0 { done as isize } else { result })
}

/// # Safety
///
/// As of `sendmmsg`.
pub unsafe fn sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int {
    if flags & MSG_DONTWAIT != 0 || !may_park() || is_nonblocking(fd) {
        let args = [fd as usize, address(messages), count as usize, flags as usize, 0, 0];
        // SAFETY: as the caller promises.
        return returned_int(at_once(unsafe { raw::call(libc::SYS_sendmmsg, args) }));
    }
    let count = count.min(MOST) as usize;
    for done in 0..count {
        // SAFETY: as the caller promises: so many messages.
        let message = unsafe { &mut *messages.add(done) };
        // One by one: of a message that has no room, a stream takes a part, and a call that blocks sends all.
        // SAFETY: the same.
        match unsafe { sendmsg(fd, &raw const message.msg_hdr, flags) } {
            sent @ 0.. => message.msg_len = sent as c_uint,
            _ if done > 0 => return done as c_int,
            _ => return -1,
        }
    }
    count as c_int
}
