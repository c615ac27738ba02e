//! Where calls do not park, and how waits end early.
#![cfg(green_std)]

mod help;

use std::io::Read;
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
