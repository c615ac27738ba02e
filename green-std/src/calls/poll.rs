//! Waiting for several descriptors. The system call only looks; a thread that has to wait waits for an epoll descriptor of its own that has them all.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use libc::{epoll_event, fd_set, nfds_t, pollfd, sigset_t, timespec, timeval};

use crate::calls::counters::{BLOCKED, SLEEPS};
use crate::calls::mask::{MASK_LEN, with_mask};
use crate::calls::raw::{self, address, error, returned_int};
use crate::calls::waits::{
    Direction, NEVER, WaitEnd, Waits, after, at_once, has_passed, may_park, may_wait_here, sleep_until, spend,
};

/// When a wait is over that may take so long; `None`: no such time.
pub(crate) fn deadline_of(timeout: &timespec) -> Option<u64> {
    let nanos = u32::try_from(timeout.tv_nsec).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(after(Duration::new(u64::try_from(timeout.tv_sec).ok()?, nanos)))
}

fn deadline_of_millis(millis: c_int) -> u64 {
    u64::try_from(millis).map_or(NEVER, |millis| after(Duration::from_millis(millis)))
}

/// The one direction that a descriptor is waited for in, if it is one.
fn direction(events: i16) -> Option<Direction> {
    match events {
        libc::POLLIN => Some(Direction::Read),
        libc::POLLOUT => Some(Direction::Write),
        _ => None,
    }
}

/// What a call waits for.
enum AnyWait {
    /// Nothing but the time.
    Time,
    One(Waits),
    /// An epoll descriptor that has them all, each by its changes: a state that the caller does not want to know ends one wait, not all.
    All(OwnedFd, Waits),
}

impl AnyWait {
    /// `None`: the caller has to block.
    fn of(fds: &[pollfd]) -> Option<Self> {
        let mut meant: Vec<&pollfd> = fds.iter().filter(|one| one.fd >= 0).collect();
        let Some(first) = meant.first() else { return may_wait_here().then_some(Self::Time) };
        if meant.iter().all(|other| other.fd == first.fd && other.events == first.events)
            && let Some(direction) = direction(first.events)
        {
            return Waits::of_any(first.fd, direction).map(Self::One);
        }
        meant.sort_by_key(|one| one.fd);
        let all = epoll_of(&meant);
        if all.is_none() {
            BLOCKED.add();
        }
        let all = all?;
        let waits = Waits::of(all.as_raw_fd(), Direction::Read)?;
        Some(Self::All(all, waits))
    }

    /// Waits until one of them may have become ready.
    fn wait(&mut self, deadline_ns: u64) -> Option<WaitEnd> {
        match self {
            Self::Time => {
                SLEEPS.add();
                Some(sleep_until(deadline_ns))
            }
            Self::One(waits) => waits.wait(deadline_ns),
            Self::All(all, waits) => {
                let ended = waits.wait(deadline_ns);
                drain(all);
                ended
            }
        }
    }
}

/// Takes the changes out that have been told: the next ends a wait.
fn drain(all: &OwnedFd) {
    const MOST: usize = 64;
    let mut events = [epoll_event { events: 0, u64: 0 }; MOST];
    let args = [all.as_raw_fd() as usize, address(events.as_mut_ptr()), MOST, 0, 0, MASK_LEN];
    // SAFETY: the kernel writes at most so many events; it does not wait.
    while unsafe { raw::call(libc::SYS_epoll_pwait, args) } == MOST as isize {}
}

/// An epoll descriptor that can be read from when one of `fds`, which are in order, has changed.
fn epoll_of(fds: &[&pollfd]) -> Option<OwnedFd> {
    // SAFETY: no memory is passed.
    let all = unsafe { raw::call(libc::SYS_epoll_create1, [libc::EPOLL_CLOEXEC as usize, 0, 0, 0, 0, 0]) };
    // SAFETY: it is new, and nobody else's.
    let all = (all >= 0).then(|| unsafe { OwnedFd::from_raw_fd(all as c_int) })?;
    // A descriptor may stand there twice, but is known once.
    for same in fds.chunk_by(|one, other| one.fd == other.fd) {
        let events = same.iter().fold(libc::EPOLLET as u32, |events, one| events | u32::from(one.events as u16));
        let mut event = epoll_event { events, u64: 0 };
        let fd = same[0].fd as usize;
        let args = [all.as_raw_fd() as usize, libc::EPOLL_CTL_ADD as usize, fd, address(&raw mut event), 0, 0];
        // SAFETY: the kernel reads one event.
        if unsafe { raw::call(libc::SYS_epoll_ctl, args) } != 0 {
            return None;
        }
    }
    Some(all)
}

/// Makes `look`, which does not wait, until it has a result other than zero or the time is up; waits in between for what `waits` says.
fn until_some(
    deadline_ns: u64,
    mut look: impl FnMut() -> isize,
    waits: impl FnOnce() -> Option<AnyWait>,
    block: impl FnOnce() -> isize,
) -> isize {
    let (mut waits, mut begun) = (Some(waits), None);
    loop {
        let result = look();
        if result != 0 || has_passed(deadline_ns) {
            spend();
            return result;
        }
        begun = begun.or_else(|| waits.take()?());
        match begun.as_mut().and_then(|begun| begun.wait(deadline_ns)) {
            Some(WaitEnd::Ready | WaitEnd::TimedOut) => {}
            Some(WaitEnd::Interrupted) => {
                spend();
                return error(libc::ECANCELED);
            }
            None => return block(),
        }
    }
}

/// # Safety
///
/// As of `ppoll`.
pub unsafe fn ppoll(fds: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t) -> c_int {
    // The kernel writes what is left of the time into its argument, libc's function does not.
    // SAFETY: as the caller promises.
    let mut copy = unsafe { timeout.as_ref() }.copied();
    let copy_at = copy.as_mut().map_or(0, |copy| address(copy));
    // SAFETY: as the caller promises.
    let block = || unsafe {
        let args = [address(fds), count as usize, copy_at, address(mask), MASK_LEN, 0];
        with_mask(mask, || raw::call(libc::SYS_ppoll, args))
    };
    // SAFETY: as the caller promises.
    let deadline_ns = unsafe { timeout.as_ref() }.map_or(Some(NEVER), deadline_of);
    let looks = copy.is_some_and(|time| time.tv_sec == 0 && time.tv_nsec == 0);
    let Some(deadline_ns) = deadline_ns.filter(|_| !looks && may_park()) else { return returned_int(at_once(block())) };
    if !mask.is_null() {
        BLOCKED.add();
        return returned_int(block());
    }
    let look = || {
        // A variable, as the kernel writes into it, too; qemu's demands that it can.
        let mut zero = timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: as the caller promises; it does not wait.
        unsafe { raw::call(libc::SYS_ppoll, [address(fds), count as usize, address(&raw mut zero), 0, MASK_LEN, 0]) }
    };
    let waits = || {
        // SAFETY: the kernel has just read and written them; with a count of zero the pointer may be null.
        AnyWait::of(if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(fds, count as usize) } })
    };
    returned_int(until_some(deadline_ns, look, waits, block))
}

/// # Safety
///
/// As of `poll`.
pub unsafe fn poll(fds: *mut pollfd, count: nfds_t, millis: c_int) -> c_int {
    let timeout = timespec { tv_sec: (millis / 1000).into(), tv_nsec: (millis % 1000 * 1_000_000).into() };
    let timeout = if millis < 0 { std::ptr::null() } else { &raw const timeout };
    // SAFETY: the same.
    unsafe { ppoll(fds, count, timeout, std::ptr::null()) }
}

/// The sets of a `select`, as words: those to read, to write, with exceptions.
struct Sets {
    given: [*mut fd_set; 3],
    words: usize,
}

const BITS: usize = usize::BITS as usize;
/// So many bits a set has that nobody has made longer. The kernel reads no more than there are descriptors, whatever the caller says.
const MOST_IN_SETS: c_int = 1024;

impl Sets {
    fn copy(&self) -> [Vec<usize>; 3] {
        // SAFETY: the caller of `select` promises that its sets have a bit for each descriptor below its first argument.
        let word = |set: *mut fd_set, at: usize| unsafe { set.cast::<usize>().add(at).read() };
        self.given.map(|set| (0..self.words).map(|at| if set.is_null() { 0 } else { word(set, at) }).collect())
    }

    fn give_back(&self, sets: &[Vec<usize>; 3]) {
        for (given, words) in self.given.iter().zip(sets).filter(|(given, _)| !given.is_null()) {
            for (at, word) in words.iter().enumerate() {
                // SAFETY: as above.
                unsafe { given.cast::<usize>().add(at).write(*word) };
            }
        }
    }
}

fn as_pollfds(sets: &[Vec<usize>; 3]) -> Vec<pollfd> {
    let has = |set: usize, fd: usize| sets[set][fd / BITS] >> (fd % BITS) & 1 != 0;
    let events = |fd: usize| {
        let [read, write, except] = [(0, libc::POLLIN), (1, libc::POLLOUT), (2, libc::POLLPRI)]
            .map(|(set, event)| if has(set, fd) { event } else { 0 });
        read | write | except
    };
    let all = (0..sets[0].len() * BITS).map(|fd| pollfd { fd: fd as c_int, events: events(fd), revents: 0 });
    all.filter(|one| one.events != 0).collect()
}

/// A `select` with a deadline; the caller has seen to the time that is left.
unsafe fn select_until(
    count: c_int,
    given: [*mut fd_set; 3],
    deadline_ns: u64,
    block: impl FnOnce() -> isize,
) -> c_int {
    let sets = Sets { given, words: usize::try_from(count).unwrap_or(0).div_ceil(BITS) };
    let wanted = sets.copy();
    let fds = as_pollfds(&wanted);
    let look = || {
        let mut found = wanted.clone();
        let at = |set: usize, words: &mut Vec<usize>| {
            if given[set].is_null() { 0 } else { address(words.as_mut_ptr()) }
        };
        let [read, write, except] = [0, 1, 2].map(|set| at(set, &mut found[set]));
        let mut zero = timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: copies, as long as the caller's sets.
        let result =
            unsafe { raw::call(libc::SYS_pselect6, [count as usize, read, write, except, address(&raw mut zero), 0]) };
        if result >= 0 && (result > 0 || has_passed(deadline_ns)) {
            sets.give_back(&found);
        }
        result
    };
    returned_int(until_some(deadline_ns, look, || AnyWait::of(&fds), block))
}

/// # Safety
///
/// As of `pselect`.
pub unsafe fn pselect(
    count: c_int,
    read: *mut fd_set,
    write: *mut fd_set,
    except: *mut fd_set,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: as the caller promises.
    let mut copy = unsafe { timeout.as_ref() }.copied();
    let copy_at = copy.as_mut().map_or(0, |copy| address(copy));
    let mask_and_len = [address(mask), MASK_LEN];
    // SAFETY: as the caller promises.
    let block = || unsafe {
        let sets = [address(read), address(write), address(except)];
        let args = [count as usize, sets[0], sets[1], sets[2], copy_at, address(mask_and_len.as_ptr())];
        with_mask(mask, || raw::call(libc::SYS_pselect6, args))
    };
    // SAFETY: as the caller promises.
    let deadline_ns = unsafe { timeout.as_ref() }.map_or(Some(NEVER), deadline_of);
    let Some(deadline_ns) = deadline_ns.filter(|_| count >= 0 && may_park()) else { return returned_int(block()) };
    if !mask.is_null() || count > MOST_IN_SETS {
        BLOCKED.add();
        return returned_int(block());
    }
    // SAFETY: as the caller promises.
    unsafe { select_until(count, [read, write, except], deadline_ns, block) }
}

/// # Safety
///
/// As of `select`.
pub unsafe fn select(
    count: c_int,
    read: *mut fd_set,
    write: *mut fd_set,
    except: *mut fd_set,
    timeout: *mut timeval,
) -> c_int {
    // SAFETY: as the caller promises.
    let Some(given) = (unsafe { timeout.as_mut() }) else {
        // SAFETY: the same.
        return unsafe { pselect(count, read, write, except, std::ptr::null(), std::ptr::null()) };
    };
    if given.tv_sec < 0 || given.tv_usec < 0 {
        return returned_int(error(libc::EINVAL));
    }
    let time = timespec {
        tv_sec: given.tv_sec.saturating_add(given.tv_usec / 1_000_000),
        tv_nsec: given.tv_usec % 1_000_000 * 1000,
    };
    let begun = std::time::Instant::now();
    // SAFETY: the same.
    let result = unsafe { pselect(count, read, write, except, &raw const time, std::ptr::null()) };
    // Linux tells what is left.
    let left = Duration::new(time.tv_sec as u64, time.tv_nsec as u32).saturating_sub(begun.elapsed());
    (given.tv_sec, given.tv_usec) = (left.as_secs() as libc::time_t, left.subsec_micros().into());
    result
}

/// # Safety
///
/// As of `epoll_pwait`.
pub unsafe fn epoll_pwait(
    fd: c_int,
    events: *mut epoll_event,
    most: c_int,
    millis: c_int,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: as the caller promises.
    let call = |millis: c_int| unsafe {
        let args = [fd as usize, address(events), most as usize, millis as usize, address(mask), MASK_LEN];
        with_mask(mask, || raw::call(libc::SYS_epoll_pwait, args))
    };
    if millis == 0 || !may_park() {
        return returned_int(at_once(call(millis)));
    }
    if !mask.is_null() {
        BLOCKED.add();
        return returned_int(call(millis));
    }
    let deadline_ns = deadline_of_millis(millis);
    let waits = || Waits::of(fd, Direction::Read).map(AnyWait::One);
    returned_int(until_some(deadline_ns, || call(0), waits, || call(millis)))
}

/// # Safety
///
/// As of `epoll_wait`.
pub unsafe fn epoll_wait(fd: c_int, events: *mut epoll_event, most: c_int, millis: c_int) -> c_int {
    // SAFETY: the same.
    unsafe { epoll_pwait(fd, events, most, millis, std::ptr::null()) }
}
