//! Calls that do not wait: a thread that makes them in a loop lets its neighbours have their turns. And states that stay: they do not make one that waits go round.
#![cfg(green_std)]

mod help;

use std::ffi::c_int;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use green_std::counters;
use help::{alone_on_one_worker, on_one_worker, on_shared_thread_locals, until};

green_std::interpose!();

unsafe extern "C" {
    fn thrd_yield();
}

/// A neighbour has its turn while a thread does nothing but call `f`.
fn lets_others_run(what: &str, f: impl Fn()) {
    let ran = AtomicBool::new(false);
    green::scope(|scope| {
        scope.spawn(|| ran.store(true, Ordering::Relaxed));
        for _ in 0..2000 {
            f();
            if ran.load(Ordering::Relaxed) {
                return;
            }
        }
        panic!("a loop of {what} starves its neighbours");
    });
}

#[test]
fn a_loop_of_calls_that_do_not_wait_starved_its_neighbours() {
    on_one_worker(|| {
        let (one, _other) = UnixStream::pair().unwrap();
        let fd = one.as_raw_fd();
        let mut byte = [0_u8];
        let at = byte.as_mut_ptr().cast();
        let no_time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: times and buffers that are valid for the calls.
        unsafe {
            lets_others_run("nanosleep", || _ = libc::nanosleep(&raw const no_time, std::ptr::null_mut()));
            lets_others_run("sched_yield", || assert_eq!(libc::sched_yield(), 0));
            lets_others_run("thrd_yield", || thrd_yield());
            lets_others_run("recv, told not to wait", || _ = libc::recv(fd, at, 1, libc::MSG_DONTWAIT));
            lets_others_run("poll, told not to wait", || {
                let mut one = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
                libc::poll(&raw mut one, 1, 0);
            });
            lets_others_run("waitpid, told not to wait", || {
                _ = libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG);
            });
            one.set_nonblocking(true).unwrap();
            lets_others_run("recv of one that does not block", || _ = libc::recv(fd, at, 1, 0));
            lets_others_run("read of one that does not block", || _ = libc::read(fd, at, 1));
        }
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        lets_others_run("connects that are refused", || assert!(TcpStream::connect(closed).is_err()));
    });
}

#[test]
fn who_waited_for_a_neighbour_by_yields_of_std_hung() {
    on_one_worker(|| {
        let turn = AtomicU32::new(0);
        help::many(10, |number| {
            while turn.load(Ordering::Relaxed) != 9 - number as u32 {
                thread::yield_now();
            }
            turn.fetch_add(1, Ordering::Relaxed);
        });
    });
}

/// Where the holder of a lock of std must not park, its neighbours must not run either.
/// The thread that a message wakes has its turn when the sender waits or ends: so messages gather.
#[test]
fn who_receives_from_many_waits_once_for_a_senders_turn_and_not_for_each_message() {
    alone_on_one_worker(|| {
        const SENDERS: usize = 20;
        const MESSAGES: usize = 50;
        let (sender, receiver) = mpsc::channel();
        let receives = green::spawn(move || receiver.iter().count());
        let before = counters().futexes;
        green::scope(|scope| {
            for _ in 0..SENDERS {
                let sender = sender.clone();
                scope.spawn(move || (0..MESSAGES).for_each(|message| sender.send(message).unwrap()));
            }
        });
        drop(sender);
        assert_eq!(receives.join().unwrap(), SENDERS * MESSAGES);
        let waits = counters().futexes - before;
        assert!(waits <= 2 * SENDERS as u64, "{waits} waits");
    });
}

#[test]
fn a_yield_of_std_stays_one_of_the_os_thread_where_thread_locals_are_shared() {
    on_shared_thread_locals(|| {
        let ran = AtomicBool::new(false);
        green::scope(|scope| {
            scope.spawn(|| ran.store(true, Ordering::Relaxed));
            (0..1000).for_each(|_| thread::yield_now());
            assert!(!ran.load(Ordering::Relaxed), "a neighbour had a turn");
        });
    });
}

#[test]
fn a_loop_of_sleeps_that_a_cancel_ends_starved_its_neighbours() {
    on_one_worker(|| {
        let (ran, over) = (AtomicBool::new(false), AtomicBool::new(false));
        green::scope(|scope| {
            let (ran, over) = (&ran, &over);
            let sleeps = scope.spawn(move || {
                for _ in 0..2000 {
                    thread::sleep(Duration::from_secs(1000));
                    if ran.load(Ordering::Relaxed) {
                        over.store(true, Ordering::Relaxed);
                        return;
                    }
                }
            });
            until(|| sleeps.thread().waits_for() == Some("sleep"));
            sleeps.cancel();
            scope.spawn(move || ran.store(true, Ordering::Relaxed));
            _ = sleeps.join();
        });
        assert!(over.into_inner());
    });
}

fn set_option(fd: c_int, level: c_int, name: c_int, value: c_int) {
    // SAFETY: an option that is a number.
    let result = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size_of::<c_int>() as u32) };
    assert_eq!(result, 0);
}

#[test]
fn an_error_that_nobody_fetches_made_a_read_go_round() {
    alone_on_one_worker(|| {
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(closed).unwrap();
        // The error stays in a queue of its own, from which nobody takes it.
        set_option(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_RECVERR, 1);
        socket.send(b"to nobody").unwrap();
        assert!(socket.recv(&mut [0]).is_err());
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let before = counters().descriptors;
        assert!(socket.recv(&mut [0]).is_err());
        let waits = counters().descriptors - before;
        assert!((1..100).contains(&waits), "{waits} waits");
    });
}

#[test]
fn an_end_that_nobody_asked_for_made_a_select_go_round() {
    alone_on_one_worker(|| {
        let (one, other) = UnixStream::pair().unwrap();
        drop(other);
        let fd = one.as_raw_fd();
        let before = counters().descriptors;
        let begun = Instant::now();
        // SAFETY: a set of this function's; the time is its own, too.
        let found = unsafe {
            let mut except: libc::fd_set = std::mem::zeroed();
            libc::FD_SET(fd, &raw mut except);
            let mut time = libc::timeval { tv_sec: 0, tv_usec: 200_000 };
            libc::select(fd + 1, std::ptr::null_mut(), std::ptr::null_mut(), &raw mut except, &raw mut time)
        };
        assert!(found == 0 && begun.elapsed() >= Duration::from_millis(200));
        let waits = counters().descriptors - before;
        assert!((1..100).contains(&waits), "{waits} waits");
    });
}

#[test]
fn a_time_out_of_sending_began_anew_with_each_part() {
    on_one_worker(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // Small buffers: so there are many parts, and each has its place soon.
        set_option(listener.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, 1 << 16);
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        set_option(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, 1 << 16);
        let (mut peer, _) = listener.accept().unwrap();
        stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let over = AtomicBool::new(false);
        green::scope(|scope| {
            let over = &over;
            // Always soon enough for one part.
            scope.spawn(move || {
                let mut part = vec![0; 50_000];
                while !over.load(Ordering::Relaxed) {
                    peer.read_exact(&mut part).unwrap();
                    thread::sleep(Duration::from_millis(20));
                }
            });
            let all = vec![0; 200_000_000];
            let begun = Instant::now();
            let sent = stream.write(&all).unwrap();
            over.store(true, Ordering::Relaxed);
            stream.write_all(&all[..1_000_000]).unwrap_or_default();
            assert!(sent < all.len() && begun.elapsed() < Duration::from_secs(100), "{sent} bytes");
            drop(stream);
        });
    });
}
