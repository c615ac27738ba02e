//! Whether a call may park, and the waits that parked calls are made of.

use std::cell::Cell;
use std::ffi::c_int;
use std::os::fd::BorrowedFd;
use std::time::Duration;

pub(crate) use green::__interposed::{Caller, NEVER, WaitEnd, after, has_passed, sleep_until, spend};
use green::__interposed::{DescriptorWait, caller, hand_over, hand_over_unless_in_handler, is_in_handler};

use crate::calls::counters::{BLOCKED, DESCRIPTORS};
use crate::calls::raw::{self, AGAIN, address, error};

thread_local! {
    static OFF: Cell<u32> = const { Cell::new(0) };
}

/// Runs `f`, in which no call of the calling thread parks: all block, as without this crate.
///
/// It is for code that must not be interleaved with other green threads, or that needs the exact behaviour of a system call. What `f` calls of
/// `green` itself parks as ever (where that is a fault, use [`green::no_park`]); of threads that share thread-locals the neighbours that run meanwhile are
/// inside of this, too.
///
/// ```
/// let answer = green_std::off(|| 7);
/// assert_eq!(answer, 7);
/// ```
pub fn off<R>(f: impl FnOnce() -> R) -> R {
    struct On;
    impl Drop for On {
        fn drop(&mut self) {
            OFF.set(OFF.get() - 1);
        }
    }
    OFF.set(OFF.get() + 1);
    let _on = On;
    f()
}

/// Who calls, for the question whether it may park.
#[inline]
pub(crate) fn who() -> Caller {
    match caller() {
        Caller::Plain => Caller::Plain,
        green if OFF.get() == 0 => green,
        _ => Caller::Plain,
    }
}

#[inline]
pub(crate) fn may_park() -> bool {
    who() != Caller::Plain
}

/// May the caller park while it holds what belongs to a thread?
#[inline]
pub(crate) fn may_park_anywhere() -> bool {
    who() == Caller::HasThreadLocals
}

/// The caller has made a lock free, and woken so many: the one that is next has its turn.
#[inline]
pub(crate) fn hand_on(woken: u32) {
    if woken > 0 && may_park_anywhere() {
        hand_over();
    }
}

/// The same, in a function that a signal's handler may call.
pub(crate) fn hand_on_unless_in_handler(woken: u32) {
    if woken > 0 && may_park_anywhere() {
        hand_over_unless_in_handler();
    }
}

/// May the caller, who may park by what [`may_park`] says, and has to wait, do so? Not in a signal's handler, though it be on the green thread's stack.
pub(crate) fn may_wait_here() -> bool {
    let may = !is_in_handler();
    if !may {
        BLOCKED.add();
    }
    may
}

/// An attempt's result: another thread is at it, and nobody tells when that is through. No system call's.
pub(crate) const TAKEN: isize = isize::MIN;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// The waits of one call for one descriptor.
pub(crate) struct Waits {
    waits: DescriptorWait,
}

impl Waits {
    /// Of a descriptor that blocks, or of epoll. `None`, here and below: it cannot be waited for, the caller has to block.
    pub(crate) fn of(fd: c_int, direction: Direction) -> Option<Self> {
        Self::new(fd, direction, true)
    }

    /// Of one that anybody may have made nonblocking: a duplicate is waited for.
    pub(crate) fn of_any(fd: c_int, direction: Direction) -> Option<Self> {
        Self::new(fd, direction, !is_nonblocking(fd))
    }

    fn new(fd: c_int, direction: Direction, blocks: bool) -> Option<Self> {
        if !may_wait_here() {
            return None;
        }
        // SAFETY: it is used for the duration of the call, and may be closed meanwhile as in any system call; -1 is refused.
        let fd = (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })?;
        match DescriptorWait::new(fd, direction == Direction::Write, blocks) {
            Ok(waits) => Some(Self { waits }),
            Err(_) => {
                BLOCKED.add();
                None
            }
        }
    }

    /// Waits until the descriptor is ready; later, until something has happened to it since the last time.
    pub(crate) fn wait(&mut self, deadline_ns: u64) -> Option<WaitEnd> {
        let ended = self.waits.wait(deadline_ns);
        match ended {
            Ok(_) => DESCRIPTORS.add(),
            Err(_) => BLOCKED.add(),
        }
        ended.ok()
    }
}

pub(crate) fn is_nonblocking(fd: c_int) -> bool {
    // SAFETY: reads flags.
    let flags = unsafe { raw::call(libc::SYS_fcntl, [fd as usize, libc::F_GETFL as usize, 0, 0, 0, 0]) };
    flags >= 0 && flags & libc::O_NONBLOCK as isize != 0
}

/// An option of a socket; `None`: it is no socket, or there is no such option.
pub(crate) fn option<T: Copy + Default>(fd: c_int, name: c_int) -> Option<T> {
    let mut value = T::default();
    let mut len = size_of::<T>() as libc::socklen_t;
    let args =
        [fd as usize, libc::SOL_SOCKET as usize, name as usize, address(&raw mut value), address(&raw mut len), 0];
    // SAFETY: the kernel writes at most `len` bytes there.
    let result = unsafe { raw::call(libc::SYS_getsockopt, args) };
    (result == 0).then_some(value)
}

/// When a call that begins now gives up, as the socket's `SO_RCVTIMEO` or `SO_SNDTIMEO` says.
pub(crate) fn deadline(fd: c_int, direction: Direction) -> u64 {
    let name = if direction == Direction::Read { libc::SO_RCVTIMEO } else { libc::SO_SNDTIMEO };
    match option::<[i64; 2]>(fd, name) {
        Some([0, 0]) | None => NEVER,
        Some([seconds, micros]) => after(Duration::new(seconds as u64, micros as u32 * 1000)),
    }
}

/// What `poll` says of one descriptor now.
pub(crate) fn look(fd: c_int, events: i16) -> i16 {
    let mut one = libc::pollfd { fd, events, revents: 0 };
    let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let args = [address(&raw mut one), 1, address(&raw const zero), 0, 8, 0];
    // SAFETY: one descriptor, a time-out, no mask.
    let count = unsafe { raw::call(libc::SYS_ppoll, args) };
    if count > 0 { one.revents } else { 0 }
}

/// For how long a thread that writes to a Unix socket waits before it tries again: when the peer stops reading, nobody tells.
struct Pauses(Option<u64>);

impl Pauses {
    fn new(fd: c_int, direction: Direction) -> Self {
        let unix = direction == Direction::Write && option::<c_int>(fd, libc::SO_DOMAIN) == Some(libc::AF_UNIX);
        Self(unix.then_some(1))
    }

    /// The end of the next wait, if that is before `deadline_ns`.
    fn before(&mut self, deadline_ns: u64) -> u64 {
        let Some(millis) = self.0 else { return deadline_ns };
        self.0 = Some((millis * 2).min(100));
        deadline_ns.min(after(Duration::from_millis(millis)))
    }
}

/// A call of libc's on one descriptor, which may be several system calls: they have one deadline.
pub(crate) struct Call {
    fd: c_int,
    direction: Direction,
    /// What is found out when the call first has to wait.
    begun: Option<Begun>,
}

struct Begun {
    deadline_ns: u64,
    pauses: Pauses,
    waits: Waits,
}

impl Call {
    pub(crate) fn new(fd: c_int, direction: Direction) -> Self {
        Self { fd, direction, begun: None }
    }

    pub(crate) fn direction(&self) -> Direction {
        self.direction
    }

    fn begun(&mut self) -> Option<&mut Begun> {
        if self.begun.is_none() {
            let (fd, direction) = (self.fd, self.direction);
            let waits = Waits::of(fd, direction)?;
            self.begun =
                Some(Begun { deadline_ns: deadline(fd, direction), pauses: Pauses::new(fd, direction), waits });
        }
        self.begun.as_mut()
    }

    /// Makes a system call until it has not to wait: `attempt` does not block and may say `EAGAIN`, or [`TAKEN`]; `block` is the same call as it was made.
    pub(crate) fn until_done(&mut self, mut attempt: impl FnMut() -> isize, block: impl FnOnce() -> isize) -> isize {
        const LONGEST: Duration = Duration::from_millis(16);
        let waits = |result: isize| result == AGAIN || result == TAKEN;
        let mut result = attempt();
        if !waits(result) || is_nonblocking(self.fd) {
            // Where the descriptor does not block, neither does the call.
            let result = if result == TAKEN { block() } else { result };
            spend();
            return result;
        }
        let (fd, direction) = (self.fd, self.direction);
        // Of a Unix socket each part may take as long.
        if self.begun.as_ref().is_some_and(|begun| begun.pauses.0.is_some()) {
            self.begun = None;
        }
        let Some(Begun { deadline_ns, pauses, waits: descriptor }) = self.begun() else { return block() };
        let mut pause = Duration::from_millis(1);
        while waits(result) {
            let until = if result == TAKEN {
                let until = after(pause).min(*deadline_ns);
                pause = (pause * 2).min(LONGEST);
                until
            } else {
                pauses.before(*deadline_ns)
            };
            match descriptor.wait(until) {
                None => return block(),
                Some(WaitEnd::Interrupted) => {
                    spend();
                    return error(libc::ECANCELED);
                }
                Some(WaitEnd::TimedOut) if has_passed(*deadline_ns) => return AGAIN,
                Some(WaitEnd::TimedOut) => {}
                // The reading side may have ended, where only a call that blocks says so: it does not block.
                Some(WaitEnd::Ready) if direction == Direction::Read => {
                    result = attempt();
                    if result == AGAIN && look(fd, libc::POLLRDHUP) & (libc::POLLRDHUP | libc::POLLHUP) != 0 {
                        return block();
                    }
                    continue;
                }
                Some(WaitEnd::Ready) => {}
            }
            result = attempt();
        }
        result
    }
}

/// [`Call::until_done`], of a call that is one system call.
pub(crate) fn until_done(
    fd: c_int,
    direction: Direction,
    attempt: impl FnMut() -> isize,
    block: impl FnOnce() -> isize,
) -> isize {
    Call::new(fd, direction).until_done(attempt, block)
}

/// The result of a call of a green thread's that does not wait: one that makes many in a row lets its neighbours run.
pub(crate) fn at_once(result: isize) -> isize {
    if may_park() {
        spend();
    }
    result
}

/// Makes `attempt`, which does not block, until it says something other than [`TAKEN`]; between, the thread sleeps: at first briefly. For what nobody tells of: after the deadline it is
/// `EAGAIN`. `block` is the call for who may not sleep so.
pub(crate) fn with_pauses(
    longest: Duration,
    deadline_ns: u64,
    mut attempt: impl FnMut() -> isize,
    block: impl FnOnce() -> isize,
) -> isize {
    let mut has_slept = false;
    let mut pause = Duration::from_millis(1);
    loop {
        let result = attempt();
        if result != TAKEN || has_passed(deadline_ns) {
            spend();
            return if result == TAKEN { AGAIN } else { result };
        }
        if !has_slept && !may_wait_here() {
            return block();
        }
        has_slept = true;
        if sleep_until(deadline_ns.min(after(pause))) == WaitEnd::Interrupted {
            spend();
            return error(libc::ECANCELED);
        }
        pause = (pause * 2).min(longest);
    }
}
