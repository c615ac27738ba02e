//! Each function that `interpose!` defines parks the green thread that has to wait in it; and the documentation names each.
#![cfg(green_std)]
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "each call gets what it needs, made by the function that makes it"
)]

mod help;

use std::ffi::{CString, c_char, c_int, c_long, c_void};
use std::fs::File;
use std::io::Write;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use help::alone_on_one_worker;
use libc::{clockid_t, pollfd, sem_t, ssize_t, timespec, timeval};

green_std::interpose!();

#[path = "help/functions_of_libc.rs"]
mod c;

/// A green thread is in `call`, which comes back when a neighbour, on the same worker, has called `end`.
fn parks(name: &str, call: impl FnOnce() + Send, end: impl FnOnce()) {
    let (has_ended, is_back) = (AtomicBool::new(false), AtomicBool::new(false));
    green::scope(|scope| {
        let (has_ended, is_back) = (&has_ended, &is_back);
        let waits = scope.spawn(move || {
            call();
            assert!(has_ended.load(Ordering::Acquire), "{name} has not waited");
            is_back.store(true, Ordering::Release);
        });
        while waits.thread().waits_for().is_none() {
            assert!(!is_back.load(Ordering::Acquire));
            green::yield_now();
        }
        // It stays so; what tries again at times does so a few times.
        green::sleep(Duration::from_millis(5));
        has_ended.store(true, Ordering::Release);
        end();
    });
    assert!(is_back.into_inner());
}

/// Something of C's, zeros at first, that threads share by its address.
struct Zeros<T>(Box<T>);

impl<T> Zeros<T> {
    fn new() -> Self {
        Self(Box::new(unsafe { zeroed() }))
    }

    fn address(&self) -> usize {
        (&raw const *self.0).expose_provenance()
    }
}

fn at<T>(address: usize) -> *mut T {
    std::ptr::with_exposed_provenance_mut(address)
}

/// A moment that does not come.
fn far(clock: clockid_t) -> timespec {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut now) }, 0);
    timespec { tv_sec: now.tv_sec + 1000, tv_nsec: 0 }
}

const MONOTONIC: clockid_t = libc::CLOCK_MONOTONIC;

/// A function waits for one byte to read.
fn reads(name: &str, call: impl FnOnce(c_int, *mut c_void) -> ssize_t + Send) {
    let (one, mut other) = UnixStream::pair().unwrap();
    let reads = move || {
        let mut byte = [0_u8];
        assert_eq!(call(one.as_raw_fd(), byte.as_mut_ptr().cast()), 1, "{name}");
    };
    parks(name, reads, || other.write_all(b"1").unwrap());
}

/// A function waits for room to write one byte.
fn writes(name: &str, call: impl FnOnce(c_int, *const c_void) -> ssize_t + Send) {
    let (one, other) = std::io::pipe().unwrap();
    let mut other = OwnedFd::from(other);
    let mut one = OwnedFd::from(one);
    if name.starts_with("send") {
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
    let writes = move || {
        assert_eq!(call(other.as_raw_fd(), [1_u8].as_ptr().cast()), 1, "{name}");
    };
    parks(name, writes, || {
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
fn polls(name: &str, call: impl FnOnce(c_int) -> c_int + Send) {
    let (one, mut other) = UnixStream::pair().unwrap();
    parks(name, move || assert_eq!(call(one.as_raw_fd()), 1, "{name}"), || other.write_all(b"1").unwrap());
}

/// A function opens a FIFO, whose other end is opened then.
fn opens(name: &str, call: impl FnOnce(*const c_char) -> c_int + Send) {
    let path = std::env::temp_dir().join(format!("green-std-{name}-{}", std::process::id()));
    let of = |path: &PathBuf| CString::new(path.to_str().unwrap()).unwrap();
    assert_eq!(unsafe { libc::mkfifo(of(&path).as_ptr(), 0o600) }, 0);
    let opens = || {
        let fd = call(of(&path).as_ptr());
        assert!(fd >= 0, "{name}: {}", std::io::Error::last_os_error());
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    };
    // For both: so it does not wait. It stays, as the thread that opens may come later.
    let mut other = None;
    parks(name, opens, || other = Some(File::options().read(true).write(true).open(&path).unwrap()));
    drop(other);
    std::fs::remove_file(path).unwrap();
}

/// A function locks something that is locked.
fn locks<T>(
    name: &str,
    call: impl FnOnce(*mut T) -> c_int + Send,
    lock: unsafe extern "C" fn(*mut T) -> c_int,
    unlock: unsafe extern "C" fn(*mut T) -> c_int,
) {
    let shared = Zeros::<T>::new();
    let address = shared.address();
    unsafe {
        assert_eq!(lock(at(address)), 0);
        let locks = move || {
            assert_eq!((call(at(address)), unlock(at(address))), (0, 0), "{name}");
        };
        parks(name, locks, || assert_eq!(unlock(at(address)), 0));
    }
}

/// A function waits for a semaphore.
fn posts(name: &str, call: impl FnOnce(*mut sem_t) -> c_int + Send) {
    let shared = Zeros::<sem_t>::new();
    let address = shared.address();
    parks(
        name,
        move || assert_eq!(call(at(address)), 0, "{name}"),
        || unsafe {
            assert_eq!(libc::sem_post(at(address)), 0);
        },
    );
}

/// A function waits for a condition variable, with a mutex that is locked.
fn signals(
    name: &str,
    call: impl FnOnce(*mut libc::pthread_cond_t, *mut libc::pthread_mutex_t) -> c_int + Send,
    signal: unsafe extern "C-unwind" fn(*mut libc::pthread_cond_t) -> c_int,
) {
    let (condition, mutex) = (Zeros::<libc::pthread_cond_t>::new(), Zeros::<libc::pthread_mutex_t>::new());
    let (condition, mutex) = (condition.address(), mutex.address());
    unsafe {
        let waits = move || {
            assert_eq!(libc::pthread_mutex_lock(at(mutex)), 0);
            assert_eq!(call(at(condition), at(mutex)), 0, "{name}");
            assert_eq!(libc::pthread_mutex_unlock(at(mutex)), 0);
        };
        parks(name, waits, || assert_eq!(signal(at(condition)), 0));
    }
}

/// A function waits for the end of a child, whose code is 3.
fn children(name: &str, call: impl FnOnce(libc::pid_t, *mut c_int) -> libc::pid_t + Send) {
    let mut child = Command::new("sh").args(["-c", "read x; exit 3"]).stdin(Stdio::piped()).spawn().unwrap();
    let (input, pid, mut status) = (child.stdin.take(), child.id() as c_int, 0);
    parks(name, || assert_eq!(call(pid, &raw mut status), pid, "{name}"), || drop(input));
    assert_eq!((status, child.wait().is_err()), (3 << 8, true), "{name}: it is gone");
}

/// A function waits for the end of an OS thread.
fn joins(name: &str, c11: bool, call: impl FnOnce(libc::pthread_t) -> c_int + Send) {
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
    parks(name, move || assert_eq!(call(thread), 0, "{name}"), || MAY_END.store(1, Ordering::Release));
}

/// A function is called once, and parks.
fn once(name: &str, call: impl Fn(*mut c_int, unsafe extern "C-unwind" fn()) + Sync) {
    static MAY_END: AtomicBool = AtomicBool::new(false);
    unsafe extern "C-unwind" fn routine() {
        help::until(|| MAY_END.load(Ordering::Acquire));
    }
    MAY_END.store(false, Ordering::Release);
    let control = Zeros::<c_int>::new();
    let control = control.address();
    let call = &call;
    green::scope(|scope| {
        scope.spawn(move || call(at(control), routine));
        green::yield_now();
        parks(name, move || call(at(control), routine), || MAY_END.store(true, Ordering::Release));
    });
}

/// A function sleeps while a neighbour runs.
fn sleeps(name: &str, call: impl FnOnce() + Send) {
    let has_run = AtomicBool::new(false);
    green::scope(|scope| {
        let sleeper = scope.spawn(|| {
            call();
            assert!(has_run.load(Ordering::Relaxed), "{name} keeps its neighbours from running");
        });
        while sleeper.thread().waits_for() != Some("sleep") {
            green::yield_now();
        }
        has_run.store(true, Ordering::Relaxed);
    });
}

/// A neighbour runs when a function gives its turn away.
fn yields(name: &str, call: impl FnOnce()) {
    let has_run = AtomicBool::new(false);
    green::scope(|scope| {
        scope.spawn(|| has_run.store(true, Ordering::Relaxed));
        call();
        assert!(has_run.load(Ordering::Relaxed), "{name} gives no turn away");
    });
}

const READ: c_int = libc::O_RDONLY;
const HERE: c_int = libc::AT_FDCWD;

/// One call of each, by its name. Those that only wake are in the calls of others.
type Case = (&'static str, fn(&str));

macro_rules! cases {
    ($($name:ident: $how:expr;)*) => {
        unsafe { &[$((stringify!($name), $how)),*] }
    };
}

fn mutex(name: &str, call: impl FnOnce(*mut libc::pthread_mutex_t) -> c_int + Send) {
    locks(name, call, libc::pthread_mutex_lock, libc::pthread_mutex_unlock);
}

fn rwlock(name: &str, call: impl FnOnce(*mut libc::pthread_rwlock_t) -> c_int + Send) {
    locks(name, call, libc::pthread_rwlock_wrlock, libc::pthread_rwlock_unlock);
}

unsafe extern "C-unwind" fn signal(condition: *mut libc::pthread_cond_t) -> c_int {
    unsafe { libc::pthread_cond_signal(condition) }
}

unsafe extern "C-unwind" fn broadcast(condition: *mut libc::pthread_cond_t) -> c_int {
    unsafe { libc::pthread_cond_broadcast(condition) }
}

/// A message of one part.
fn message(part: &mut libc::iovec) -> libc::msghdr {
    let mut message: libc::msghdr = unsafe { zeroed() };
    (message.msg_iov, message.msg_iovlen) = (part, 1);
    message
}

/// The one byte at `at`.
fn part(at: *const c_void) -> libc::iovec {
    libc::iovec { iov_base: at.cast_mut(), iov_len: 1 }
}

fn readable(fd: c_int) -> pollfd {
    pollfd { fd, events: libc::POLLIN, revents: 0 }
}

/// A set of one, and how many there may be.
fn one_of(fd: c_int) -> (libc::fd_set, c_int) {
    unsafe {
        let mut set = zeroed();
        libc::FD_SET(fd, &raw mut set);
        (set, fd + 1)
    }
}

/// Waits by an epoll of one descriptor.
fn epolls(fd: c_int, wait: impl FnOnce(c_int, *mut libc::epoll_event) -> c_int) -> c_int {
    unsafe {
        let epoll = OwnedFd::from_raw_fd(libc::epoll_create1(0));
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 7 };
        assert_eq!(libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event), 0);
        wait(epoll.as_raw_fd(), &raw mut event)
    }
}

/// Waits for a client of a listener.
fn accepts(name: &str, call: impl FnOnce(c_int) -> c_int + Send) {
    let path = std::env::temp_dir().join(format!("green-std-{name}-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let accepts = move || {
        let fd = call(listener.as_raw_fd());
        assert!(fd >= 0);
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    };
    let mut client = None;
    parks(name, accepts, || client = Some(UnixStream::connect(&path).unwrap()));
    std::fs::remove_file(path).unwrap();
}

/// The listener's queue is full.
fn connects(name: &str) {
    let path = std::env::temp_dir().join(format!("green-std-{name}-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let first = UnixStream::connect(&path).unwrap();
    let connects = || drop(UnixStream::connect(&path).unwrap());
    parks(name, connects, || drop(listener.accept().unwrap()));
    drop(first);
    std::fs::remove_file(path).unwrap();
}

fn a_file() -> File {
    let path = std::env::temp_dir().join(format!("green-std-file-{}", std::process::id()));
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    file.write_all(b"1").unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

/// A futex, by the system call.
fn waits_for_a_word(name: &str) {
    let word = AtomicU32::new(7);
    let at = word.as_ptr();
    let call = |operation: c_int, value: u32| unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, null::<timespec>())
    };
    assert!(!at.is_null());
    let waits = || assert_eq!(call(libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, 7), 0 as c_long);
    parks(name, waits, || assert_eq!(call(libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1), 1));
}

static CASES: &[Case] = cases! {
    syscall: |name| waits_for_a_word(name);
    read: |name| reads(name, |fd, at| libc::read(fd, at, 1));
    __read_chk: |name| reads(name, |fd, at| c::__read_chk(fd, at, 1, 1));
    readv: |name| reads(name, |fd, at| libc::readv(fd, &part(at), 1));
    recv: |name| reads(name, |fd, at| libc::recv(fd, at, 1, 0));
    __recv_chk: |name| reads(name, |fd, at| c::__recv_chk(fd, at, 1, 1, 0));
    recvfrom: |name| reads(name, |fd, at| libc::recvfrom(fd, at, 1, 0, null_mut(), null_mut()));
    __recvfrom_chk: |name| reads(name, |fd, at| c::__recvfrom_chk(fd, at, 1, 1, 0, null_mut(), null_mut()));
    recvmsg: |name| reads(name, |fd, at| libc::recvmsg(fd, &mut message(&mut part(at)), 0));
    recvmmsg: |name| reads(name, |fd, at| {
        let mut one = libc::mmsghdr { msg_hdr: message(&mut part(at)), msg_len: 0 };
        libc::recvmmsg(fd, &raw mut one, 1, 0, null_mut()) as ssize_t
    });
    write: |name| writes(name, |fd, at| libc::write(fd, at, 1));
    writev: |name| writes(name, |fd, at| libc::writev(fd, &part(at), 1));
    send: |name| writes(name, |fd, at| libc::send(fd, at, 1, 0));
    sendto: |name| writes(name, |fd, at| libc::sendto(fd, at, 1, 0, null(), 0));
    sendmsg: |name| writes(name, |fd, at| libc::sendmsg(fd, &message(&mut part(at)), 0));
    sendmmsg: |name| writes(name, |fd, at| {
        let mut one = libc::mmsghdr { msg_hdr: message(&mut part(at)), msg_len: 0 };
        libc::sendmmsg(fd, &raw mut one, 1, 0) as ssize_t
    });
    sendfile: |name| writes(name, |fd, _| libc::sendfile(fd, a_file().as_raw_fd(), &mut 0, 1));
    sendfile64: |name| writes(name, |fd, _| libc::sendfile64(fd, a_file().as_raw_fd(), &mut 0, 1));
    splice: |name| {
        let (from, mut to) = std::io::pipe().unwrap();
        let file = a_file();
        let splices = move || {
            let (from, to) = (from.as_raw_fd(), file.as_raw_fd());
            assert_eq!(libc::splice(from, null_mut(), to, null_mut(), 1, 0), 1);
        };
        parks(name, splices, || to.write_all(b"1").unwrap());
    };
    poll: |name| polls(name, |fd| libc::poll(&mut readable(fd), 1, -1));
    __poll_chk: |name| polls(name, |fd| c::__poll_chk(&mut readable(fd), 1, -1, size_of::<pollfd>()));
    ppoll: |name| polls(name, |fd| libc::ppoll(&mut readable(fd), 1, null(), null()));
    __ppoll_chk: |name| polls(name, |fd| {
        c::__ppoll_chk(&mut readable(fd), 1, null(), null(), size_of::<pollfd>())
    });
    select: |name| polls(name, |fd| {
        let ((mut set, count), mut time) = (one_of(fd), timeval { tv_sec: 1000, tv_usec: 0 });
        libc::select(count, &raw mut set, null_mut(), null_mut(), &raw mut time)
    });
    pselect: |name| polls(name, |fd| {
        let (mut set, count) = one_of(fd);
        libc::pselect(count, &raw mut set, null_mut(), null_mut(), null(), null())
    });
    epoll_wait: |name| polls(name, |fd| epolls(fd, |epoll, event| libc::epoll_wait(epoll, event, 1, -1)));
    epoll_pwait: |name| polls(name, |fd| {
        epolls(fd, |epoll, event| libc::epoll_pwait(epoll, event, 1, -1, null()))
    });
    open: |name| opens(name, |path| libc::open(path, READ));
    open64: |name| opens(name, |path| libc::open64(path, READ));
    openat: |name| opens(name, |path| libc::openat(HERE, path, READ));
    openat64: |name| opens(name, |path| libc::openat64(HERE, path, READ));
    creat: |name| opens(name, |path| libc::creat(path, 0o600));
    creat64: |name| opens(name, |path| libc::creat64(path, 0o600));
    __open_2: |name| opens(name, |path| c::__open_2(path, READ));
    __open64_2: |name| opens(name, |path| c::__open64_2(path, READ));
    __openat_2: |name| opens(name, |path| c::__openat_2(HERE, path, READ));
    __openat64_2: |name| opens(name, |path| c::__openat64_2(HERE, path, READ));
    connect: |name| connects(name);
    accept: |name| accepts(name, |fd| libc::accept(fd, null_mut(), null_mut()));
    accept4: |name| accepts(name, |fd| libc::accept4(fd, null_mut(), null_mut(), libc::SOCK_CLOEXEC));
    nanosleep: |name| sleeps(name, || {
        assert_eq!(libc::nanosleep(&timespec { tv_sec: 0, tv_nsec: 20_000_000 }, null_mut()), 0);
    });
    clock_nanosleep: |name| sleeps(name, || {
        let time = timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        assert_eq!(libc::clock_nanosleep(MONOTONIC, 0, &raw const time, null_mut()), 0);
    });
    usleep: |name| sleeps(name, || assert_eq!(libc::usleep(20_000), 0));
    sleep: |name| sleeps(name, || assert_eq!(libc::sleep(1), 0));
    sched_yield: |name| yields(name, || assert_eq!(libc::sched_yield(), 0));
    thrd_yield: |name| yields(name, || c::thrd_yield());
    pthread_mutex_lock: |name| mutex(name, |at| libc::pthread_mutex_lock(at));
    pthread_mutex_timedlock: |name| mutex(name, |at| {
        libc::pthread_mutex_timedlock(at, &far(libc::CLOCK_REALTIME))
    });
    pthread_mutex_clocklock: |name| mutex(name, |at| {
        c::pthread_mutex_clocklock(at, MONOTONIC, &far(MONOTONIC))
    });
    mtx_lock: |name| mutex(name, |at| c::mtx_lock(at));
    mtx_timedlock: |name| mutex(name, |at| c::mtx_timedlock(at, &far(libc::CLOCK_REALTIME)));
    pthread_rwlock_rdlock: |name| rwlock(name, |at| libc::pthread_rwlock_rdlock(at));
    pthread_rwlock_timedrdlock: |name| rwlock(name, |at| {
        c::pthread_rwlock_timedrdlock(at, &far(libc::CLOCK_REALTIME))
    });
    pthread_rwlock_clockrdlock: |name| rwlock(name, |at| {
        c::pthread_rwlock_clockrdlock(at, MONOTONIC, &far(MONOTONIC))
    });
    pthread_rwlock_wrlock: |name| rwlock(name, |at| libc::pthread_rwlock_wrlock(at));
    pthread_rwlock_timedwrlock: |name| rwlock(name, |at| {
        c::pthread_rwlock_timedwrlock(at, &far(libc::CLOCK_REALTIME))
    });
    pthread_rwlock_clockwrlock: |name| rwlock(name, |at| {
        c::pthread_rwlock_clockwrlock(at, MONOTONIC, &far(MONOTONIC))
    });
    sem_wait: |name| posts(name, |at| libc::sem_wait(at));
    sem_timedwait: |name| posts(name, |at| libc::sem_timedwait(at, &far(libc::CLOCK_REALTIME)));
    sem_clockwait: |name| posts(name, |at| c::sem_clockwait(at, MONOTONIC, &far(MONOTONIC)));
    pthread_cond_wait: |name| signals(name, |at, mutex| libc::pthread_cond_wait(at, mutex), signal);
    pthread_cond_timedwait: |name| {
        let far = far(libc::CLOCK_REALTIME);
        signals(name, |at, mutex| libc::pthread_cond_timedwait(at, mutex, &raw const far), broadcast);
    };
    pthread_cond_clockwait: |name| {
        let far = far(MONOTONIC);
        signals(name, |at, mutex| c::pthread_cond_clockwait(at, mutex, MONOTONIC, &raw const far), signal);
    };
    cnd_wait: |name| signals(name, |at, mutex| c::cnd_wait(at, mutex), c::cnd_signal);
    cnd_timedwait: |name| {
        let far = far(libc::CLOCK_REALTIME);
        signals(name, |at, mutex| c::cnd_timedwait(at, mutex, &raw const far), c::cnd_broadcast);
    };
    pthread_once: |name| once(name, |at, routine| assert_eq!(c::pthread_once(at, routine), 0));
    call_once: |name| once(name, |at, routine| c::call_once(at, routine));
    pthread_barrier_wait: |name| {
        let barrier = Zeros::<libc::pthread_barrier_t>::new();
        let barrier = barrier.address();
        {
            assert_eq!(c::pthread_barrier_init(at(barrier), null(), 2), 0);
            parks(name, move || _ = c::pthread_barrier_wait(at(barrier)), || _ = c::pthread_barrier_wait(at(barrier)));
        }
    };
    pthread_join: |name| joins(name, false, |thread| libc::pthread_join(thread, null_mut()));
    pthread_timedjoin_np: |name| joins(name, false, |thread| {
        c::pthread_timedjoin_np(thread, null_mut(), &far(libc::CLOCK_REALTIME))
    });
    pthread_clockjoin_np: |name| joins(name, false, |thread| {
        c::pthread_clockjoin_np(thread, null_mut(), MONOTONIC, &far(MONOTONIC))
    });
    thrd_join: |name| joins(name, true, |thread| c::thrd_join(thread, null_mut()));
    wait: |name| children(name, |_, status| libc::wait(status));
    wait3: |name| children(name, |_, status| c::wait3(status, 0, null_mut()));
    wait4: |name| children(name, |child, status| libc::wait4(child, status, 0, &raw mut *Box::new(zeroed())));
    waitid: |name| children(name, |child, status| {
        let mut info = zeroed::<libc::siginfo_t>();
        assert_eq!(libc::waitid(libc::P_PID, child as u32, &raw mut info, libc::WEXITED), 0);
        status.write(info.si_status() << 8);
        info.si_pid()
    });
    waitpid: |name| children(name, |child, status| libc::waitpid(child, status, 0));
    flock: |name| {
        let path = std::env::temp_dir().join(format!("green-std-{name}-{}", std::process::id()));
        let [one, other] = [(); 2].map(|()| File::create(&path).unwrap());
        {
            assert_eq!(libc::flock(one.as_raw_fd(), libc::LOCK_EX), 0);
            parks(name, move || assert_eq!(libc::flock(other.into_raw_fd(), libc::LOCK_EX), 0), || drop(one));
        }
        std::fs::remove_file(path).unwrap();
    };
    getaddrinfo: |name| {
        let before = green_std::counters().handed_over;
        {
            let mut found = null_mut();
            assert_eq!(libc::getaddrinfo(c"127.0.0.1".as_ptr(), null(), null(), &raw mut found), 0, "{name}");
            libc::freeaddrinfo(found);
        }
        assert!(green_std::counters().handed_over > before);
    };
};

#[test]
fn every_function_parks() {
    alone_on_one_worker(|| CASES.iter().for_each(|(name, case)| case(name)));
}

/// What wakes those that others have parked; and what does not wait, but has to be known.
const WAKERS: [&str; 10] = [
    "cnd_broadcast",
    "cnd_signal",
    "mtx_unlock",
    "pthread_cond_broadcast",
    "pthread_cond_signal",
    "pthread_mutex_unlock",
    "pthread_rwlock_unlock",
    "pthread_sigmask",
    "sem_post",
    "sigprocmask",
];

const SOURCE: &str = include_str!("../src/lib.rs");

/// The names that `interpose!` defines.
fn defined() -> Vec<&'static str> {
    let (_, after) = SOURCE.split_once("macro_rules! interpose ").unwrap();
    let (code, _) = after.split_once("macro_rules! __define ").unwrap();
    let name = |line: &'static str| {
        line.trim().trim_start_matches("unsafe extern \"C\" ").strip_prefix("fn ")?.split('(').next()
    };
    code.lines().filter_map(name).collect()
}

#[test]
fn a_function_was_defined_that_no_test_calls() {
    let mut tried: Vec<_> = CASES.iter().map(|(name, _)| *name).chain(WAKERS).collect();
    let mut defined = defined();
    tried.sort_unstable();
    defined.sort_unstable();
    assert_eq!(defined, tried);
}

#[test]
fn the_table_of_what_parks_was_not_what_is_defined() {
    let (_, after) = SOURCE.split_once("# What parks").unwrap();
    let (table, _) = after.split_once("# What does not").unwrap();
    let named: Vec<_> = table.split('`').skip(1).step_by(2).map(|name| name.trim_end_matches("()")).collect();
    let defined = defined();
    for name in &defined {
        let plain =
            name.trim_start_matches("__").trim_end_matches("_chk").trim_end_matches("_2").trim_end_matches("64");
        assert!(WAKERS.contains(name) || named.contains(&plain), "{name} is not in the table");
    }
    // Those that begin as the functions do.
    for name in named.iter().filter(|name| {
        ["pthread_", "sem_", "mtx_", "cnd_", "thrd_", "send", "recv"].iter().any(|start| name.starts_with(start))
    }) {
        assert!(defined.contains(name), "{name} is not defined");
    }
}
