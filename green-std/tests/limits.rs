//! Where calls do not park, and how waits end early.
#![cfg(green_std)]

mod help;

use std::ffi::{c_int, c_void};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use help::{on_one_worker, until};

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
