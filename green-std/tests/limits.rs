//! Where calls do not park, and how waits end early.
#![cfg(green_std)]

mod help;

use std::ffi::{c_int, c_void};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use help::{alone_on_one_worker, on_one_worker, on_shared_thread_locals, on_two_workers, until};

green_std::interpose!();

#[test]
fn a_cancel_ends_a_read_with_an_error_and_is_raised_at_the_next_blocking_call() {
    on_one_worker(|| {
        let (one, _other) = UnixStream::pair().unwrap();
        let (sender, receiver) = mpsc::channel();
        let reads = green::spawn(move || {
            let error = (&one).read(&mut [0]).unwrap_err();
            sender.send(error.raw_os_error()).unwrap();
            green::sleep(Duration::from_millis(1));
            unreachable!("it is cancelled");
        });
        until(|| reads.thread().waits_for() == Some("readable"));
        reads.cancel();
        assert_eq!(receiver.recv().unwrap(), Some(libc::ECANCELED));
        assert!(reads.join().unwrap_err().is::<green::Cancelled>());
    });
}

/// A call on one end of a pair of sockets has moved some bytes of many, and waits for the rest when it is cancelled: it says how many they were.
fn says_what_it_has_done(name: &str, call: unsafe fn(c_int, *mut c_void, usize) -> isize) {
    const MANY: usize = 8 << 20;
    let (one, mut other) = UnixStream::pair().unwrap();
    let sends = !name.starts_with("recv");
    let (said, says) = mpsc::channel();
    let moves = green::spawn(move || {
        let mut bytes = vec![7_u8; MANY];
        // SAFETY: a descriptor and so many bytes of this function's.
        let done = unsafe { call(one.as_raw_fd(), bytes.as_mut_ptr().cast(), MANY) };
        said.send(done).unwrap();
        green::sleep(Duration::from_millis(1));
        unreachable!("it is cancelled");
    });
    let waits = || moves.thread().waits_for().is_some();
    until(waits);
    let mut came = 1000;
    match sends {
        // It goes on with the rest, as a call that blocks does.
        true => other.read_exact(&mut vec![0; came]).unwrap(),
        false => other.write_all(&vec![0; came]).unwrap(),
    }
    green::sleep(Duration::from_millis(5));
    until(waits);
    moves.cancel();
    assert!(moves.join().unwrap_err().is::<green::Cancelled>());
    if sends {
        came += other.read_to_end(&mut Vec::new()).unwrap();
    }
    assert_eq!(says.recv().unwrap(), came as isize, "{name}");
    assert!(came < MANY);
}

#[test]
fn a_call_that_a_cancel_ends_half_done_says_how_many_bytes_it_has_moved() {
    unsafe fn message<R>(at: *mut c_void, len: usize, call: impl FnOnce(&mut libc::msghdr) -> R) -> R {
        let mut part = libc::iovec { iov_base: at, iov_len: len };
        // SAFETY: zeros are a value of it.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        call(&mut message)
    }
    on_one_worker(|| {
        // SAFETY: as the caller says, here and below.
        says_what_it_has_done("send", |fd, at, len| unsafe { libc::send(fd, at, len, 0) });
        // SAFETY: the same.
        says_what_it_has_done("write", |fd, at, len| unsafe { libc::write(fd, at, len) });
        // SAFETY: the same.
        says_what_it_has_done("writev", |fd, at, len| unsafe {
            libc::writev(fd, &libc::iovec { iov_base: at, iov_len: len }, 1)
        });
        // SAFETY: the same.
        says_what_it_has_done("sendmsg", |fd, at, len| unsafe {
            message(at, len, |message| libc::sendmsg(fd, message, 0))
        });
        // SAFETY: the same.
        says_what_it_has_done("sendmmsg", |fd, at, len| unsafe {
            message(at, len, |message| {
                let mut one = libc::mmsghdr { msg_hdr: *message, msg_len: 0 };
                assert_eq!(libc::sendmmsg(fd, &raw mut one, 1, 0), 1);
                one.msg_len as isize
            })
        });
        // SAFETY: the same.
        says_what_it_has_done("recv", |fd, at, len| unsafe { libc::recv(fd, at, len, libc::MSG_WAITALL) });
    });
}

#[test]
fn a_cancel_and_a_time_out_end_a_sleep() {
    on_one_worker(|| {
        let begun = Instant::now();
        let sleeps = green::spawn(|| {
            thread::sleep(Duration::from_secs(1000));
            green::sleep(Duration::from_millis(1));
        });
        until(|| sleeps.thread().waits_for() == Some("sleep"));
        sleeps.cancel();
        assert!(sleeps.join().unwrap_err().is::<green::Cancelled>());
        let late = green::timeout(Duration::from_millis(10), || {
            thread::sleep(Duration::from_secs(1000));
            green::sleep(Duration::from_millis(1));
        });
        assert!(late.is_err() && begun.elapsed() < Duration::from_secs(200));
    });
}

#[test]
fn a_cancelled_thread_waits_on_for_a_lock() {
    on_one_worker(|| {
        let (sender, receiver) = mpsc::channel();
        let waits = green::spawn(move || {
            let got = receiver.recv().unwrap();
            assert_eq!(got, 7);
            green::sleep(Duration::from_millis(1));
        });
        until(|| waits.thread().waits_for() == Some("futex"));
        waits.cancel();
        green::sleep(Duration::from_millis(5));
        assert_eq!(waits.thread().waits_for(), Some("futex"));
        sender.send(7).unwrap();
        assert!(waits.join().unwrap_err().is::<green::Cancelled>());
    });
}

#[test]
fn inside_off_and_no_park_nothing_parks() {
    on_one_worker(|| {
        let ran = AtomicBool::new(false);
        green::scope(|scope| {
            scope.spawn(|| ran.store(true, Ordering::Relaxed));
            green_std::off(|| thread::sleep(Duration::from_millis(5)));
            green::no_park(|| thread::sleep(Duration::from_millis(5)));
            assert!(!ran.load(Ordering::Relaxed), "a neighbour had a turn");
            thread::sleep(Duration::from_millis(5));
            assert!(ran.load(Ordering::Relaxed), "a neighbour had no turn");
        });
    });
}

#[test]
fn a_signal_handler_on_a_stack_of_its_own_blocks() {
    static RAN: AtomicBool = AtomicBool::new(false);
    static SAW: AtomicU64 = AtomicU64::new(0);
    extern "C" fn sleeps(_: std::ffi::c_int) {
        thread::sleep(Duration::from_millis(5));
        SAW.store(1 + u64::from(RAN.load(Ordering::Relaxed)), Ordering::Relaxed);
    }
    on_one_worker(|| {
        // SAFETY: a handler that may be called; a worker has a stack for it.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = sleeps as extern "C" fn(_) as usize;
            action.sa_flags = libc::SA_ONSTACK;
            assert_eq!(libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()), 0);
        }
        green::scope(|scope| {
            scope.spawn(|| RAN.store(true, Ordering::Relaxed));
            // SAFETY: no memory is passed.
            unsafe { libc::raise(libc::SIGUSR1) };
            assert_eq!(SAW.load(Ordering::Relaxed), 1, "0: it did not run; 2: a neighbour had a turn");
        });
    });
}

#[test]
fn a_plain_os_thread_does_what_it_did() {
    let (one, _other) = UnixStream::pair().unwrap();
    one.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    assert_eq!((&one).read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    thread::sleep(Duration::from_millis(1));
    // SAFETY: no memory is passed.
    let closed = unsafe { libc::recv(-1, std::ptr::null_mut(), 0, 0) };
    assert_eq!((closed, std::io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EBADF)));
}

/// Installs a handler for the process.
fn handle(signal: c_int, handler: extern "C" fn(c_int), flags: c_int) {
    // SAFETY: the handlers of this file may be called anywhere.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        (action.sa_sigaction, action.sa_flags) = (handler as usize, flags);
        assert_eq!(libc::sigaction(signal, &raw const action, null_mut()), 0);
    }
}

fn raise(signal: c_int) {
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

/// A neighbour looks whether it runs while the handler does; `f` has the handler called.
fn beside_a_neighbour_that_looks(what: &str, is_inside: &AtomicBool, f: impl FnOnce()) {
    let (is_over, saw) = (AtomicBool::new(false), AtomicBool::new(false));
    green::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                saw.fetch_or(is_inside.load(Ordering::Relaxed), Ordering::Relaxed);
                green::yield_now();
            }
        });
        f();
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(!saw.into_inner(), "{what}: a neighbour had a turn inside of a signal's handler");
}

#[test]
fn a_handler_on_the_threads_own_stack_gave_its_turn_away() {
    static IS_INSIDE: AtomicBool = AtomicBool::new(false);
    static PIPE: AtomicI32 = AtomicI32::new(-1);
    static WRITTEN: AtomicU32 = AtomicU32::new(0);
    extern "C" fn writes(_: c_int) {
        IS_INSIDE.store(true, Ordering::Relaxed);
        // SAFETY: one byte.
        let n = unsafe { libc::write(PIPE.load(Ordering::Relaxed), [1_u8].as_ptr().cast(), 1) };
        WRITTEN.fetch_add(n as u32, Ordering::Relaxed);
        IS_INSIDE.store(false, Ordering::Relaxed);
    }
    const TIMES: u32 = 400;
    let signals = || {
        let (mut from, to) = UnixStream::pair().unwrap();
        PIPE.store(to.as_raw_fd(), Ordering::Relaxed);
        WRITTEN.store(0, Ordering::Relaxed);
        handle(libc::SIGUSR2, writes, 0);
        // More than are made in one turn; what is read counts for none.
        beside_a_neighbour_that_looks("spent", &IS_INSIDE, || {
            for _ in 0..TIMES {
                raise(libc::SIGUSR2);
                green_std::off(|| from.read_exact(&mut [0]).unwrap());
            }
        });
        assert_eq!(WRITTEN.load(Ordering::Relaxed), TIMES);
        drop(to);
    };
    on_one_worker(signals);
    on_shared_thread_locals(signals);
}

#[test]
fn a_handler_on_the_threads_own_stack_parked_where_it_had_to_wait() {
    static IS_INSIDE: AtomicBool = AtomicBool::new(false);
    static SOCKET: AtomicI32 = AtomicI32::new(-1);
    static DONE: AtomicU32 = AtomicU32::new(0);
    extern "C" fn waits(_: c_int) {
        IS_INSIDE.store(true, Ordering::Relaxed);
        let (fd, mut byte) = (SOCKET.load(Ordering::Relaxed), [0_u8]);
        let (second, mut one) = (
            libc::timespec { tv_sec: 0, tv_nsec: 3_000_000 },
            libc::pollfd { fd, events: libc::POLLIN | libc::POLLPRI, revents: 0 },
        );
        // SAFETY: one time, one descriptor, one byte.
        unsafe {
            let slept = libc::nanosleep(&raw const second, null_mut());
            let polled = (libc::poll(null_mut(), 0, 1), libc::poll(&raw mut one, 1, 100_000));
            let read = libc::read(fd, byte.as_mut_ptr().cast(), 1);
            DONE.store(u32::from((slept, polled, read) == (0, (0, 1), 1)), Ordering::Relaxed);
        }
        IS_INSIDE.store(false, Ordering::Relaxed);
    }
    on_one_worker(|| {
        let (from, mut to) = UnixStream::pair().unwrap();
        SOCKET.store(from.as_raw_fd(), Ordering::Relaxed);
        handle(libc::SIGURG, waits, libc::SA_RESTART);
        // An OS thread, as the worker is blocked.
        let writes = thread::spawn(move || {
            green_std::off(|| thread::sleep(Duration::from_millis(20)));
            to.write_all(b"1").unwrap();
            to
        });
        beside_a_neighbour_that_looks("waits", &IS_INSIDE, || raise(libc::SIGURG));
        assert_eq!(DONE.load(Ordering::Relaxed), 1);
        drop(writes.join().unwrap());
    });
}

#[test]
fn who_blocks_signals_himself_parks() {
    on_one_worker(|| {
        // SAFETY: sets of this function's.
        let change = |how, change: unsafe extern "C" fn(c_int, *const _, *mut _) -> c_int| unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&raw mut set, libc::SIGWINCH);
            assert_eq!(change(how, &raw const set, null_mut()), 0);
        };
        for function in [libc::pthread_sigmask, libc::sigprocmask] {
            change(libc::SIG_BLOCK, function);
            help::beside_a_neighbour(|| thread::sleep(Duration::from_millis(1)));
            change(libc::SIG_UNBLOCK, function);
            help::beside_a_neighbour(|| thread::sleep(Duration::from_millis(1)));
        }
    });
}

fn set_of(signals: &[c_int]) -> libc::sigset_t {
    // SAFETY: a set of this function's.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        signals.iter().for_each(|signal| assert_eq!(libc::sigaddset(&raw mut set, *signal), 0));
        set
    }
}

/// Changes which signals the calling OS thread blocks; gives what they were.
fn change_mask(how: c_int, set: &libc::sigset_t) -> libc::sigset_t {
    let mut old = set_of(&[]);
    // SAFETY: two sets.
    assert_eq!(unsafe { libc::pthread_sigmask(how, set, &raw mut old) }, 0);
    old
}

/// Set while the handler of [`naps`] runs.
static NAPS: AtomicBool = AtomicBool::new(false);

extern "C" fn naps(_: c_int) {
    NAPS.store(true, Ordering::Relaxed);
    thread::sleep(Duration::from_millis(2));
    NAPS.store(false, Ordering::Relaxed);
}

#[test]
fn a_handler_that_came_as_its_signal_was_let_in_again_parked() {
    type LetIn = fn(&libc::sigset_t);
    let let_in: [(&str, LetIn); 6] = [
        ("pthread_sigmask", |old| _ = change_mask(libc::SIG_SETMASK, old)),
        ("unblocked", |_| _ = change_mask(libc::SIG_UNBLOCK, &set_of(&[libc::SIGPROF]))),
        // SAFETY: a set, a time, one event; no other descriptors.
        ("ppoll", |old| unsafe {
            let time = libc::timespec { tv_sec: 1, tv_nsec: 0 };
            assert_eq!(libc::ppoll(null_mut(), 0, &raw const time, old), -1);
        }),
        // SAFETY: the same.
        ("pselect", |old| unsafe {
            let (none, time) = (null_mut(), libc::timespec { tv_sec: 1, tv_nsec: 0 });
            assert_eq!(libc::pselect(0, none, none, none, &raw const time, old), -1);
        }),
        // SAFETY: the same.
        ("epoll_pwait", |old| unsafe {
            let fd = libc::epoll_create1(0);
            let mut event = libc::epoll_event { events: 0, u64: 0 };
            assert_eq!(libc::epoll_pwait(fd, &raw mut event, 1, 1000, old), -1);
            libc::close(fd);
        }),
        // SAFETY: the same.
        ("sigsuspend", |old| unsafe { assert_eq!(libc::sigsuspend(old), -1) }),
    ];
    on_one_worker(|| {
        handle(libc::SIGPROF, naps, 0);
        for (name, let_in) in let_in {
            let old = change_mask(libc::SIG_BLOCK, &set_of(&[libc::SIGPROF]));
            // Pending.
            raise(libc::SIGPROF);
            beside_a_neighbour_that_looks(name, &NAPS, || let_in(&old));
            change_mask(libc::SIG_SETMASK, &old);
            help::beside_a_neighbour(|| thread::sleep(Duration::from_millis(1)));
        }
    });
}

#[test]
fn a_post_in_a_handler_had_the_woken_thread_run_inside_of_it() {
    struct Semaphore(std::cell::UnsafeCell<libc::sem_t>);
    // SAFETY: what it is for.
    unsafe impl Sync for Semaphore {}
    // SAFETY: zeros are a semaphore of one process.
    static SEMAPHORE: Semaphore = Semaphore(std::cell::UnsafeCell::new(unsafe { std::mem::zeroed() }));
    static IS_INSIDE: AtomicBool = AtomicBool::new(false);
    extern "C" fn posts(_: c_int) {
        IS_INSIDE.store(true, Ordering::Relaxed);
        // SAFETY: a semaphore.
        unsafe { libc::sem_post(SEMAPHORE.0.get()) };
        IS_INSIDE.store(false, Ordering::Relaxed);
    }
    on_one_worker(|| {
        handle(libc::SIGVTALRM, posts, 0);
        let waits = green::spawn(|| {
            // SAFETY: a semaphore.
            assert_eq!(unsafe { libc::sem_wait(SEMAPHORE.0.get()) }, 0);
            IS_INSIDE.load(Ordering::Relaxed)
        });
        until(|| waits.thread().waits_for() == Some("futex"));
        raise(libc::SIGVTALRM);
        assert!(!waits.join().unwrap(), "it ran inside of a signal's handler");
    });
}

#[test]
fn a_mask_that_was_changed_unseen_had_a_worker_block_for_good() {
    unsafe extern "C" {
        fn sighold(signal: c_int) -> c_int;
    }
    let parks = || {
        let ran = AtomicBool::new(false);
        green::scope(|scope| {
            scope.spawn(|| ran.store(true, Ordering::Relaxed));
            thread::sleep(Duration::from_millis(1));
            ran.load(Ordering::Relaxed)
        })
    };
    on_one_worker(|| {
        let set = set_of(&[libc::SIGXCPU]);
        // SAFETY: one set; it is as long as the kernel's.
        let changed = unsafe {
            libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const set, null_mut::<c_void>(), 8)
        };
        assert_eq!(changed, 0);
        assert!(parks(), "the system call was not seen");
        change_mask(libc::SIG_UNBLOCK, &set);
        // SAFETY: no memory is passed.
        assert_eq!(unsafe { sighold(libc::SIGXCPU) }, 0);
        let parks_again = (0..1000).any(|_| {
            green::sleep(Duration::from_millis(1));
            parks()
        });
        assert!(parks_again);
    });
}

/// Whoever accepts, green threads or an OS thread, says so to the client. A call that has looked, and finds that the OS thread was quicker, blocks until the next client comes.
#[test]
fn an_os_thread_at_the_same_listener_had_green_threads_spin_on_all_workers() {
    const CLIENTS: u32 = 2000;
    on_two_workers(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (is_over, ticks) = (AtomicBool::new(false), AtomicU32::new(0));
        let accepts = || {
            loop {
                let (mut stream, _) = listener.accept().unwrap();
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                stream.write_all(b"1").unwrap();
            }
        };
        thread::scope(|os| {
            os.spawn(accepts);
            green::scope(|scope| {
                (0..4).for_each(|_| _ = scope.spawn(accepts));
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        ticks.fetch_add(1, Ordering::Relaxed);
                        green::sleep(Duration::from_millis(1));
                    }
                });
                let client = || TcpStream::connect(address).unwrap().read_exact(&mut [0]);
                for _ in 0..CLIENTS {
                    client().unwrap();
                }
                assert!(ticks.load(Ordering::Relaxed) > 0);
                is_over.store(true, Ordering::Relaxed);
                // As many as accept: each ends at one.
                (0..5).for_each(|_| _ = client());
            });
        });
    });
}

#[test]
fn a_call_that_blocked_was_not_counted() {
    alone_on_one_worker(|| {
        let blocked = |what: &str, f: &dyn Fn()| {
            let before = green_std::counters().blocked;
            f();
            assert_eq!(green_std::counters().blocked, before + 1, "{what}");
        };
        // An emulator has no room for them.
        if std::env::var_os("GREEN_EMULATED").is_none() {
            blocked("select of many", &|| {
                let mut wide = [0_u64; 32];
                let mut time = libc::timeval { tv_sec: 0, tv_usec: 1000 };
                // SAFETY: a set of 2048 bits.
                let found =
                    unsafe { libc::select(2048, wide.as_mut_ptr().cast(), null_mut(), null_mut(), &raw mut time) };
                assert_eq!(found, 0);
            });
        }
        blocked("the calling OS thread's own child", &|| {
            let mut child = std::process::Command::new("true").spawn().unwrap();
            // SAFETY: no memory is passed.
            assert_eq!(unsafe { libc::waitpid(child.id() as i32, null_mut(), libc::__WNOTHREAD) }, child.id() as i32);
            assert!(child.wait().is_err(), "it is gone");
        });
    });
}

#[test]
fn a_select_with_the_longest_time_of_all_overflowed() {
    on_one_worker(|| {
        let (one, mut other) = UnixStream::pair().unwrap();
        other.write_all(b"1").unwrap();
        // SAFETY: a set, and a time.
        unsafe {
            let mut set: libc::fd_set = std::mem::zeroed();
            libc::FD_SET(one.as_raw_fd(), &raw mut set);
            let mut time = libc::timeval { tv_sec: libc::time_t::MAX, tv_usec: 2_000_000 };
            let found = libc::select(one.as_raw_fd() + 1, &raw mut set, null_mut(), null_mut(), &raw mut time);
            assert_eq!(found, 1);
        }
    });
}
