//! Waits that end by their times; what a signal and a cancel do not end; and calls before `main`.
#![cfg(green_std)]

mod help;

use std::ffi::c_int;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem::zeroed;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use green_std::counters;
use help::{alone_on_one_worker, beside_a_neighbour, on_one_worker, until};

green_std::interpose!();

static BEFORE_MAIN: AtomicI32 = AtomicI32::new(-1);

extern "C" fn before_main() {
    let time = libc::timespec { tv_sec: 0, tv_nsec: 1000 };
    // SAFETY: a time, and descriptors of this function's with a buffer of one byte.
    unsafe {
        let slept = libc::nanosleep(&raw const time, null_mut());
        let lock = Mutex::new(7);
        let (mut pipe, mut byte) = ([0; 2], [0_u8]);
        assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
        let written = libc::write(pipe[1], b"x".as_ptr().cast(), 1);
        let read = libc::read(pipe[0], byte.as_mut_ptr().cast(), 1);
        pipe.iter().for_each(|fd| _ = libc::close(*fd));
        let all_done = slept == 0 && (written, read, byte) == (1, 1, *b"x") && *lock.lock().unwrap() == 7;
        BEFORE_MAIN.store(all_done.into(), Ordering::Relaxed);
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = before_main;

#[test]
fn before_main_calls_do_what_they_did() {
    assert_eq!(BEFORE_MAIN.load(Ordering::Relaxed), 1);
}

#[test]
fn a_signal_ends_no_call_of_a_thread_that_is_parked() {
    static CAME: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn counts(_: c_int) {
        CAME.fetch_add(1, Ordering::Relaxed);
    }
    on_one_worker(|| {
        // SAFETY: a handler that only counts, on the worker's stack for signals. Without `SA_RESTART`: it ends calls with `EINTR`.
        unsafe {
            let mut action: libc::sigaction = zeroed();
            action.sa_sigaction = counts as extern "C" fn(c_int) as usize;
            action.sa_flags = libc::SA_ONSTACK;
            assert_eq!(libc::sigaction(libc::SIGUSR2, &raw const action, null_mut()), 0);
        }
        let (one, mut other) = UnixStream::pair().unwrap();
        let (pipe, mut to_pipe) = io::pipe().unwrap();
        let (polled, mut to_polled) = io::pipe().unwrap();
        let (sender, receiver) = mpsc::channel();
        let (begun, parked) = (Instant::now(), AtomicUsize::new(0));
        green::scope(|scope| {
            let parks = [
                // SAFETY: buffers of one byte, and times.
                scope.spawn(move || unsafe {
                    assert_eq!(libc::recv(one.as_raw_fd(), [0_u8].as_mut_ptr().cast(), 1, 0), 1);
                }),
                // SAFETY: the same.
                scope.spawn(move || unsafe {
                    assert_eq!(libc::read(pipe.as_raw_fd(), [0_u8].as_mut_ptr().cast(), 1), 1);
                }),
                // SAFETY: the same.
                scope.spawn(move || unsafe {
                    let mut state = libc::pollfd { fd: polled.as_raw_fd(), events: libc::POLLIN, revents: 0 };
                    assert_eq!(libc::poll(&raw mut state, 1, -1), 1);
                }),
                // SAFETY: the same.
                scope.spawn(move || unsafe {
                    let time = libc::timespec { tv_sec: 0, tv_nsec: 200_000_000 };
                    assert_eq!(libc::nanosleep(&raw const time, null_mut()), 0);
                    assert!(begun.elapsed() >= Duration::from_millis(200));
                }),
                scope.spawn(move || receiver.recv().unwrap()),
            ];
            until(|| parks.iter().all(|thread| thread.thread().waits_for().is_some() || thread.is_finished()));
            parked.store(parks.iter().filter(|thread| !thread.is_finished()).count(), Ordering::Relaxed);
            // SAFETY: no arguments. It is the worker's: all that this test runs is on it.
            let worker = unsafe { libc::gettid() };
            thread::spawn(move || {
                for came in 1..=20 {
                    // SAFETY: no memory is passed.
                    let sent = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), worker, libc::SIGUSR2) };
                    assert_eq!(sent, 0);
                    while CAME.load(Ordering::Relaxed) < came {
                        thread::yield_now();
                    }
                }
            })
            .join()
            .unwrap();
            assert!(parks[..3].iter().all(|thread| thread.thread().waits_for() == Some("readable")));
            other.write_all(b"x").unwrap();
            to_pipe.write_all(b"x").unwrap();
            to_polled.write_all(b"x").unwrap();
            sender.send(()).unwrap();
        });
        assert!(CAME.load(Ordering::Relaxed) == 20 && parked.into_inner() >= 4);
    });
}

#[test]
fn a_cancel_does_not_end_the_opening_of_a_fifo() {
    let path = std::env::temp_dir().join(format!("green-std-ends-{}", std::process::id()));
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: a string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    on_one_worker(|| {
        let (opened, is_open) = (AtomicBool::new(false), path.clone());
        green::scope(|scope| {
            let opened = &opened;
            let opens = scope.spawn(move || {
                let _file = File::open(is_open).unwrap();
                opened.store(true, Ordering::Relaxed);
                green::sleep(Duration::from_millis(1));
                unreachable!("it is cancelled");
            });
            until(|| opens.thread().waits_for() == Some("blocking"));
            opens.cancel();
            green::sleep(Duration::from_millis(20));
            assert_eq!((opens.thread().waits_for(), opened.load(Ordering::Relaxed)), (Some("blocking"), false));
            let _writer = OpenOptions::new().write(true).open(&path).unwrap();
            assert!(opens.join().unwrap_err().is::<green::Cancelled>());
            assert!(opened.load(Ordering::Relaxed));
        });
    });
    std::fs::remove_file(&path).unwrap();
}

/// Sets one of the times of a socket.
fn set_time(fd: c_int, name: c_int, time: Duration) {
    let time = libc::timeval { tv_sec: time.as_secs() as _, tv_usec: time.subsec_micros().into() };
    // SAFETY: an option that is a time.
    let result = unsafe {
        libc::setsockopt(fd, libc::SOL_SOCKET, name, (&raw const time).cast(), size_of::<libc::timeval>() as u32)
    };
    assert_eq!(result, 0);
}

/// `f` lets a neighbour run, and takes that long at least.
fn takes(least: Duration, f: impl FnOnce()) {
    let begun = Instant::now();
    beside_a_neighbour(f);
    let took = begun.elapsed();
    assert!(took >= least && took < Duration::from_secs(100), "{took:?}");
}

/// So long that a machine with much else to do lets a wait begin before that is over.
const TIME: Duration = Duration::from_millis(300);

#[test]
fn a_time_ends_a_connect_that_waits_for_a_listener_with_a_full_queue() {
    on_one_worker(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // SAFETY: a number.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let address = listener.local_addr().unwrap();
        let _first = TcpStream::connect(address).unwrap();
        let to = libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: address.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
            sin_zero: [0; 8],
        };
        // SAFETY: it is new, and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0)) };
        set_time(socket.as_raw_fd(), libc::SO_SNDTIMEO, TIME);
        takes(TIME, || {
            // SAFETY: an address of that length.
            let result = unsafe { libc::connect(socket.as_raw_fd(), (&raw const to).cast(), size_of_val(&to) as u32) };
            assert_eq!((result, io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EINPROGRESS)));
        });
    });
}

#[test]
fn a_time_ends_an_accept() {
    on_one_worker(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        set_time(listener.as_raw_fd(), libc::SO_RCVTIMEO, TIME);
        takes(TIME, || assert_eq!(listener.accept().unwrap_err().raw_os_error(), Some(libc::EAGAIN)));
    });
}

/// Nothing tells of it, as nothing tells an OS thread.
#[test]
fn a_wait_for_a_descriptor_that_is_closed_meanwhile_goes_on_until_a_cancel_or_its_time() {
    on_one_worker(|| {
        for by_time in [false, true] {
            let (one, mut other) = UnixStream::pair().unwrap();
            if by_time {
                set_time(one.as_raw_fd(), libc::SO_RCVTIMEO, TIME);
            }
            let fd = one.into_raw_fd();
            let begun = Instant::now();
            let reads = green::spawn(move || {
                // SAFETY: a buffer of one byte.
                let result = unsafe { libc::recv(fd, [0_u8].as_mut_ptr().cast(), 1, 0) };
                (result, io::Error::last_os_error().raw_os_error())
            });
            until(|| reads.thread().waits_for() == Some("readable"));
            // SAFETY: it is this function's.
            assert_eq!(unsafe { libc::close(fd) }, 0);
            _ = other.write_all(b"x");
            green::sleep(TIME / 10);
            assert_eq!(reads.thread().waits_for(), Some("readable"));
            if !by_time {
                reads.cancel();
            }
            let ended = reads.join().unwrap();
            let error = if by_time { libc::EAGAIN } else { libc::ECANCELED };
            assert_eq!(ended, (-1, Some(error)));
            assert!(!by_time || begun.elapsed() >= TIME);
        }
    });
}

#[test]
fn sleeps_until_a_moment_and_waits_for_nothing_end_at_their_times() {
    on_one_worker(|| {
        // SAFETY: times; no descriptors.
        unsafe {
            for clock in [libc::CLOCK_MONOTONIC, libc::CLOCK_REALTIME] {
                let mut moment = zeroed::<libc::timespec>();
                assert_eq!(libc::clock_gettime(clock, &raw mut moment), 0);
                moment.tv_nsec += libc::c_long::from(TIME.subsec_nanos());
                moment.tv_sec += moment.tv_nsec / 1_000_000_000;
                moment.tv_nsec %= 1_000_000_000;
                // A step of the clock of the day is allowed for.
                takes(TIME / 2, || {
                    let result = libc::clock_nanosleep(clock, libc::TIMER_ABSTIME, &raw const moment, null_mut());
                    assert_eq!(result, 0);
                });
                // A moment that has been. Taken for a length of time it would last for as long as the machine is up, at least.
                let begun = Instant::now();
                assert_eq!(libc::clock_nanosleep(clock, libc::TIMER_ABSTIME, &raw const moment, null_mut()), 0);
                assert!(begun.elapsed() < Duration::from_secs(100));
            }
            let time = libc::timespec { tv_sec: 0, tv_nsec: TIME.subsec_nanos().into() };
            takes(TIME, || assert_eq!(libc::ppoll(null_mut(), 0, &raw const time, null()), 0));
            takes(TIME, || {
                assert_eq!(libc::pselect(0, null_mut(), null_mut(), null_mut(), &raw const time, null()), 0);
            });
        }
    });
}

#[test]
fn waits_with_a_mask_of_signals_are_counted_as_blocked() {
    // A worker that is stalled, as on a machine that is busy, gets a signal.
    let ends = |result: c_int| assert!(result == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EINTR));
    alone_on_one_worker(|| {
        let before = counters().blocked;
        let ran = AtomicBool::new(false);
        green::scope(|scope| {
            scope.spawn(|| ran.store(true, Ordering::Relaxed));
            // SAFETY: times, masks, and an epoll descriptor of this function's.
            unsafe {
                let (time, mask) = (libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 }, zeroed::<libc::sigset_t>());
                ends(libc::ppoll(null_mut(), 0, &raw const time, &raw const mask));
                let none = null_mut;
                ends(libc::pselect(0, none(), none(), none(), &raw const time, &raw const mask));
                let epoll = OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC));
                let mut event = zeroed::<libc::epoll_event>();
                ends(libc::epoll_pwait(epoll.as_raw_fd(), &raw mut event, 1, 1, &raw const mask));
            }
            assert!(!ran.load(Ordering::Relaxed), "a neighbour had a turn");
        });
        assert_eq!(counters().blocked, before + 3);
    });
}
