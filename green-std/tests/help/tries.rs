//! One call of each function, which has to wait: until a neighbour ends the wait, until its thread is cancelled, or until a time-out around it is over.

use std::ffi::{CString, c_char, c_int, c_void};
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use libc::{clockid_t, pollfd, sem_t, ssize_t, timespec};

use crate::{c, help};

/// What becomes of a call when its thread is cancelled, or has waited in it for longer than a time-out around it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OnCancel {
    /// It fails with `ECANCELED`.
    Fails,
    /// It says what it says when it has waited for as long as it was told.
    Early,
    /// It waits on for what it waits for.
    GoesOn,
    /// It is not tried.
    Untried,
}

/// What ends the wait of a call, or tries to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum By {
    Neighbour,
    Cancel,
    TimeOut,
}

pub(crate) struct Try {
    pub(crate) name: &'static str,
    pub(crate) on_cancel: OnCancel,
    pub(crate) by: By,
}

impl fmt::Display for Try {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}, {:?})", self.name, self.by, self.on_cancel)
    }
}

impl Try {
    /// Will the call come back although nobody does what it waits for?
    fn ends_by_itself(&self) -> bool {
        self.by != By::Neighbour && matches!(self.on_cancel, OnCancel::Fails | OnCancel::Early)
    }

    pub(crate) fn path(&self) -> PathBuf {
        std::env::temp_dir().join(format!("green-std-{}-{}", self.name, std::process::id()))
    }

    /// A call has come back with `result`; `done` is what it says when it has done its work.
    fn judge(&self, result: isize, done: isize, may_be_done: bool) {
        let error = io::Error::last_os_error();
        match self.on_cancel {
            OnCancel::Fails if self.ends_by_itself() => {
                assert_eq!((result, error.raw_os_error()), (-1, Some(libc::ECANCELED)), "{self}");
            }
            OnCancel::Early if self.ends_by_itself() => assert_eq!(result, done, "{self}"),
            _ => {
                assert_eq!(result, done, "{self}: {error}");
                assert!(may_be_done, "{self} has not waited");
            }
        }
    }
}

/// How many calls came back on another OS thread than the one that they were made on.
pub(crate) static MOVES: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn os_thread() -> c_int {
    unsafe { libc::gettid() }
}

/// A time-out that is over while a call waits; and a time that is longer.
const SHORT: Duration = Duration::from_millis(5);
const LONGER: Duration = Duration::from_millis(12);

/// A green thread is in `call`, which comes back, and says `done`, when a neighbour has called `end`; or as `case` says.
pub(crate) fn parks(case: &Try, call: impl FnOnce() -> isize + Send, done: isize, end: impl FnOnce()) {
    let (may_be_done, is_back) = (AtomicBool::new(false), AtomicBool::new(false));
    green::scope(|scope| {
        let (may_be_done, is_back) = (&may_be_done, &is_back);
        let body = move || {
            let on = os_thread();
            let result = call();
            case.judge(result, done, may_be_done.load(Ordering::Acquire));
            MOVES.fetch_add(usize::from(os_thread() != on), Ordering::Relaxed);
            is_back.store(true, Ordering::Release);
            if case.by != By::Neighbour {
                green::sleep(Duration::from_secs(1000));
                unreachable!("{case}: it is cancelled");
            }
        };
        let thread = scope.spawn(move || match case.by {
            By::TimeOut => assert!(green::timeout(SHORT, body).is_err(), "{case}"),
            _ => body(),
        });
        while thread.thread().waits_for().is_none() && !thread.is_finished() {
            green::yield_now();
        }
        if case.by == By::Cancel {
            thread.cancel();
        }
        if !case.ends_by_itself() {
            // It stays so; what tries again at times does so a few times.
            green::sleep(if case.by == By::TimeOut { LONGER } else { SHORT });
            assert!(!is_back.load(Ordering::Acquire), "{case}: it has not waited on");
            may_be_done.store(true, Ordering::Release);
            end();
        }
        match thread.join() {
            Ok(()) => assert_ne!(case.by, By::Cancel),
            Err(payload) if case.by == By::Cancel && payload.is::<green::Cancelled>() => {}
            Err(payload) => std::panic::resume_unwind(payload),
        }
    });
    assert!(is_back.into_inner());
}

/// Something of C's, zeros at first, that threads share by its address.
pub(crate) struct Zeros<T>(Box<T>);

impl<T> Zeros<T> {
    pub(crate) fn new() -> Self {
        Self(Box::new(unsafe { zeroed() }))
    }

    pub(crate) fn address(&self) -> usize {
        (&raw const *self.0).expose_provenance()
    }
}

pub(crate) fn at<T>(address: usize) -> *mut T {
    std::ptr::with_exposed_provenance_mut(address)
}

/// A moment that does not come.
pub(crate) fn far(clock: clockid_t) -> timespec {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut now) }, 0);
    timespec { tv_sec: now.tv_sec + 1000, tv_nsec: 0 }
}

pub(crate) const MONOTONIC: clockid_t = libc::CLOCK_MONOTONIC;

/// A function waits for one byte to read.
pub(crate) fn reads(case: &Try, call: impl FnOnce(c_int, *mut c_void) -> ssize_t + Send) {
    let (one, mut other) = UnixStream::pair().unwrap();
    let reads = move || {
        let mut byte = [0_u8];
        call(one.as_raw_fd(), byte.as_mut_ptr().cast())
    };
    parks(case, reads, 1, || other.write_all(b"1").unwrap());
}

/// A function waits for room to write one byte.
pub(crate) fn writes(case: &Try, call: impl FnOnce(c_int, *const c_void) -> ssize_t + Send) {
    let (one, other) = std::io::pipe().unwrap();
    let mut other = OwnedFd::from(other);
    let mut one = OwnedFd::from(one);
    if case.name.starts_with("send") {
        // Of which nothing is read, and one datagram leaves room for one.
        let (from, to) = std::os::unix::net::UnixDatagram::pair().unwrap();
        (one, other) = (to.into(), from.into());
    }
    let fd = other.as_raw_fd();
    unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        assert_eq!(libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK), 0);
        let part = [0_u8; 4096];
        while libc::write(fd, part.as_ptr().cast(), part.len()) > 0 {}
        assert_eq!(libc::fcntl(fd, libc::F_SETFL, flags), 0);
    }
    let writes = move || call(other.as_raw_fd(), [1_u8].as_ptr().cast());
    parks(case, writes, 1, || {
        let mut part = [0_u8; 4096];
        while unsafe { libc::read(one.as_raw_fd(), part.as_mut_ptr().cast(), part.len()) } == part.len() as ssize_t {
            let mut state = pollfd { fd: one.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            if unsafe { libc::poll(&raw mut state, 1, 0) } == 0 {
                break;
            }
        }
    });
}

/// A function waits until a descriptor can be read from, and finds one.
pub(crate) fn polls(case: &Try, call: impl FnOnce(c_int) -> c_int + Send) {
    let (one, mut other) = UnixStream::pair().unwrap();
    parks(case, move || call(one.as_raw_fd()) as isize, 1, || other.write_all(b"1").unwrap());
}

/// One that nobody else has.
pub(crate) fn eventfd(value: u64) -> OwnedFd {
    let fd = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, 0)) };
    if value > 0 {
        assert_eq!(unsafe { libc::eventfd_write(fd.as_raw_fd(), value) }, 0);
    }
    fd
}

/// A function opens a FIFO, whose other end is opened then.
pub(crate) fn opens(case: &Try, call: impl FnOnce(*const c_char) -> c_int + Send) {
    let path = case.path();
    let of = |path: &PathBuf| CString::new(path.to_str().unwrap()).unwrap();
    assert_eq!(unsafe { libc::mkfifo(of(&path).as_ptr(), 0o600) }, 0);
    let opens = || {
        let fd = call(of(&path).as_ptr());
        if fd < 0 {
            return -1;
        }
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
        0
    };
    // For both: so it does not wait. It stays, as the thread that opens may come later.
    let mut other = None;
    parks(case, opens, 0, || other = Some(File::options().read(true).write(true).open(&path).unwrap()));
    drop(other);
    std::fs::remove_file(path).unwrap();
}

/// A function locks something that is locked.
pub(crate) fn locks<T>(
    case: &Try,
    call: impl FnOnce(*mut T) -> c_int + Send,
    lock: unsafe extern "C" fn(*mut T) -> c_int,
    unlock: unsafe extern "C" fn(*mut T) -> c_int,
) {
    let shared = Zeros::<T>::new();
    let address = shared.address();
    unsafe {
        assert_eq!(lock(at(address)), 0);
        let locks = move || {
            let result = call(at(address));
            assert_eq!(unlock(at(address)), 0);
            result as isize
        };
        parks(case, locks, 0, || assert_eq!(unlock(at(address)), 0));
    }
}

/// A function waits for a semaphore.
pub(crate) fn posts(case: &Try, call: impl FnOnce(*mut sem_t) -> c_int + Send) {
    let shared = Zeros::<sem_t>::new();
    let address = shared.address();
    parks(
        case,
        move || call(at(address)) as isize,
        0,
        || unsafe {
            assert_eq!(libc::sem_post(at(address)), 0);
        },
    );
}

/// A function waits for a condition variable, with a mutex that is locked.
pub(crate) fn signals(
    case: &Try,
    call: impl FnOnce(*mut libc::pthread_cond_t, *mut libc::pthread_mutex_t) -> c_int + Send,
    signal: unsafe extern "C-unwind" fn(*mut libc::pthread_cond_t) -> c_int,
) {
    let (condition, mutex) = (Zeros::<libc::pthread_cond_t>::new(), Zeros::<libc::pthread_mutex_t>::new());
    let (condition, mutex) = (condition.address(), mutex.address());
    unsafe {
        let waits = move || {
            assert_eq!(libc::pthread_mutex_lock(at(mutex)), 0);
            let result = call(at(condition), at(mutex));
            assert_eq!(libc::pthread_mutex_unlock(at(mutex)), 0);
            result as isize
        };
        parks(case, waits, 0, || assert_eq!(signal(at(condition)), 0));
    }
}

/// A function waits for the end of a child, whose code is 3.
pub(crate) fn children(case: &Try, call: impl FnOnce(libc::pid_t, *mut c_int) -> libc::pid_t + Send) {
    let mut child = Command::new("sh").args(["-c", "read x; exit 3"]).stdin(Stdio::piped()).spawn().unwrap();
    let (input, pid, mut status) = (child.stdin.take(), child.id() as c_int, 0);
    let status_at = (&raw mut status).expose_provenance();
    parks(case, move || call(pid, at(status_at)) as isize, pid as isize, || drop(input));
    let is_gone = child.wait().is_err();
    assert_eq!(is_gone, !case.ends_by_itself(), "{case}: else it is still there to be waited for");
    assert_eq!(status, if is_gone { 3 << 8 } else { 0 }, "{case}");
}

/// A function waits for the end of an OS thread.
pub(crate) fn joins(case: &Try, c11: bool, call: impl FnOnce(libc::pthread_t) -> c_int + Send) {
    static MAY_END: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn waits(nothing: *mut c_void) -> *mut c_void {
        while MAY_END.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
        nothing
    }
    extern "C" fn waits_as_c11(nothing: *mut c_void) -> c_int {
        waits(nothing);
        0
    }
    MAY_END.store(0, Ordering::Release);
    let thread = unsafe {
        let mut thread = zeroed();
        let begun = match c11 {
            true => c::thrd_create(&raw mut thread, waits_as_c11, null_mut()),
            false => libc::pthread_create(&raw mut thread, null(), waits, null_mut()),
        };
        assert_eq!(begun, 0);
        thread
    };
    parks(case, move || call(thread) as isize, 0, || MAY_END.store(1, Ordering::Release));
}

/// A function is called once, and parks.
pub(crate) fn once(case: &Try, call: impl Fn(*mut c_int, unsafe extern "C-unwind" fn()) -> c_int + Sync) {
    static HAS_BEGUN: AtomicBool = AtomicBool::new(false);
    static MAY_END: AtomicBool = AtomicBool::new(false);
    unsafe extern "C-unwind" fn routine() {
        HAS_BEGUN.store(true, Ordering::Release);
        help::until(|| MAY_END.load(Ordering::Acquire));
    }
    HAS_BEGUN.store(false, Ordering::Release);
    MAY_END.store(false, Ordering::Release);
    let control = Zeros::<c_int>::new();
    let control = control.address();
    let call = &call;
    green::scope(|scope| {
        scope.spawn(move || call(at(control), routine));
        help::until(|| HAS_BEGUN.load(Ordering::Acquire));
        parks(case, move || call(at(control), routine) as isize, 0, || MAY_END.store(true, Ordering::Release));
    });
}

/// A function sleeps while a neighbour runs: for so long, or for a whole second if it knows nothing less.
pub(crate) fn sleeps(case: &Try, call: impl FnOnce(Duration) -> c_int + Send) {
    if case.by != By::Neighbour {
        return parks(case, || call(Duration::from_secs(1000)) as isize, 0, || {});
    }
    let has_run = AtomicBool::new(false);
    green::scope(|scope| {
        let sleeper = scope.spawn(|| {
            assert_eq!(call(Duration::from_millis(20)), 0, "{case}");
            assert!(has_run.load(Ordering::Relaxed), "{case} keeps its neighbours from running");
        });
        while sleeper.thread().waits_for() != Some("sleep") {
            green::yield_now();
        }
        has_run.store(true, Ordering::Relaxed);
    });
}

/// A neighbour runs when a function gives its turn away.
pub(crate) fn yields(case: &Try, call: impl FnOnce()) {
    let has_run = AtomicBool::new(false);
    green::scope(|scope| {
        scope.spawn(|| has_run.store(true, Ordering::Relaxed));
        call();
        assert!(has_run.load(Ordering::Relaxed), "{case} gives no turn away");
    });
}

pub(crate) fn mutex(case: &Try, call: impl FnOnce(*mut libc::pthread_mutex_t) -> c_int + Send) {
    locks(case, call, libc::pthread_mutex_lock, libc::pthread_mutex_unlock);
}

pub(crate) fn rwlock(case: &Try, call: impl FnOnce(*mut libc::pthread_rwlock_t) -> c_int + Send) {
    locks(case, call, libc::pthread_rwlock_wrlock, libc::pthread_rwlock_unlock);
}

pub(crate) unsafe extern "C-unwind" fn signal(condition: *mut libc::pthread_cond_t) -> c_int {
    unsafe { libc::pthread_cond_signal(condition) }
}

pub(crate) unsafe extern "C-unwind" fn broadcast(condition: *mut libc::pthread_cond_t) -> c_int {
    unsafe { libc::pthread_cond_broadcast(condition) }
}

/// A message of one part.
pub(crate) fn message(part: &mut libc::iovec) -> libc::msghdr {
    let mut message: libc::msghdr = unsafe { zeroed() };
    (message.msg_iov, message.msg_iovlen) = (part, 1);
    message
}

/// The one byte at `at`.
pub(crate) fn part(at: *const c_void) -> libc::iovec {
    libc::iovec { iov_base: at.cast_mut(), iov_len: 1 }
}

pub(crate) fn readable(fd: c_int) -> pollfd {
    pollfd { fd, events: libc::POLLIN, revents: 0 }
}

/// A set of one, and how many there may be.
pub(crate) fn one_of(fd: c_int) -> (libc::fd_set, c_int) {
    unsafe {
        let mut set = zeroed();
        libc::FD_SET(fd, &raw mut set);
        (set, fd + 1)
    }
}

/// Waits by an epoll of one descriptor.
pub(crate) fn epolls(fd: c_int, wait: impl FnOnce(c_int, *mut libc::epoll_event) -> c_int) -> c_int {
    unsafe {
        let epoll = OwnedFd::from_raw_fd(libc::epoll_create1(0));
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 7 };
        assert_eq!(libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event), 0);
        wait(epoll.as_raw_fd(), &raw mut event)
    }
}

/// Waits for a client of a listener.
pub(crate) fn accepts(case: &Try, call: impl FnOnce(c_int) -> c_int + Send) {
    let path = case.path();
    let listener = UnixListener::bind(&path).unwrap();
    let accepts = move || {
        let fd = call(listener.as_raw_fd());
        if fd < 0 {
            return -1;
        }
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
        0
    };
    let mut client = None;
    parks(case, accepts, 0, || client = Some(UnixStream::connect(&path).unwrap()));
    std::fs::remove_file(path).unwrap();
}

/// The listener's queue is full.
pub(crate) fn connects(case: &Try) {
    let path = case.path();
    let listener = UnixListener::bind(&path).unwrap();
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let first = UnixStream::connect(&path).unwrap();
    let connects = || UnixStream::connect(&path).map_or(-1, |_| 0);
    parks(case, connects, 0, || drop(listener.accept().unwrap()));
    drop(first);
    std::fs::remove_file(path).unwrap();
}

pub(crate) fn a_file() -> File {
    let path = std::env::temp_dir().join(format!("green-std-file-{}", std::process::id()));
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    file.write_all(b"1").unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

/// A futex, by the system call.
pub(crate) fn waits_for_a_word(case: &Try) {
    let word = AtomicU32::new(7);
    let at = word.as_ptr();
    let call = |operation: c_int, value: u32| unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, null::<timespec>())
    };
    assert!(!at.is_null());
    let waits = || call(libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, 7) as isize;
    parks(case, waits, 0, || assert_eq!(call(libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1), 1));
}
