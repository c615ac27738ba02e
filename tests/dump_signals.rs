//! Which signals `green::dump::on_signal` takes, and from whom it does not.
#![cfg(not(miri))]

mod help;

use std::io;
use std::time::Duration;

#[test]
fn a_signal_that_is_waited_for_is_no_dumps_and_the_other_way_round() {
    use green::signal::{SignalKind, wait_for};

    let asks = || {
        let takes = |kind| green::timeout(Duration::ZERO, || wait_for(&[kind]));
        green::dump::on_signal(libc::SIGUSR2).unwrap();
        let error = takes(SignalKind::User2).unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(error.to_string().contains("is taken"), "{error}");
        green::dump::on_signal(libc::SIGUSR2).unwrap();
        takes(SignalKind::User1).unwrap_err();
        assert_eq!(green::dump::on_signal(libc::SIGUSR1).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        let traces = green::recorder::write_on(green::recorder::Trigger::Signal(libc::SIGUSR2), std::env::temp_dir());
        assert_eq!(traces.unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        takes(SignalKind::User1).unwrap_err();
    };
    help::in_a_child(&[], asks).assert_success();
}

#[test]
fn a_signal_that_is_taken_or_is_none_is_an_error() {
    // SAFETY: nothing raises it.
    unsafe { libc::signal(libc::SIGWINCH, libc::SIG_IGN) };
    assert_eq!(green::dump::on_signal(libc::SIGWINCH).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    for signal in [libc::SIGKILL, libc::SIGFPE, libc::SIGSEGV] {
        assert_eq!(green::dump::on_signal(signal).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
    assert_eq!(green::dump::on_signal(100_000).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a_value_that_the_variable_does_not_know_is_an_error_that_names_both() {
    let builds = || {
        let error = green::Runtime::new().unwrap_err();
        assert_eq!(error.to_string(), r#"GREEN_DUMP="often" is not "quit""#);
    };
    help::in_a_child(&[("GREEN_DUMP", "often")], builds).assert_success();
}

/// Not what one is to do: but no crash.
#[cfg(not(green_sanitized))]
#[test]
fn a_dump_in_a_signal_handler_ends() {
    use std::sync::atomic::{AtomicU32, Ordering};

    static MADE: AtomicU32 = AtomicU32::new(0);
    extern "C" fn dumps(_: libc::c_int) {
        let mut text = Vec::new();
        green::dump::text(&mut text).unwrap();
        assert!(text.starts_with(b"green threads: "), "{}", String::from_utf8_lossy(&text));
        MADE.fetch_add(1, Ordering::Relaxed);
    }
    let raises = || {
        // SAFETY: a number.
        unsafe { libc::raise(libc::SIGUSR1) };
    };
    let ended = help::in_a_child(&[], || {
        // SAFETY: each place at which it is raised is a call of this test's, which has no lock.
        unsafe { libc::signal(libc::SIGUSR1, dumps as extern "C" fn(libc::c_int) as libc::sighandler_t) };
        raises();
        for workers in [1, 2] {
            let runtime = help::runtime(workers);
            let waits = runtime.spawn(green::thread::park);
            runtime.run(raises);
            waits.thread().unpark();
            waits.join().unwrap();
        }
        assert_eq!(MADE.load(Ordering::Relaxed), 3);
    });
    ended.assert_success();
}

#[cfg(not(green_emulated))]
#[test]
fn a_dump_in_a_child_of_fork_has_no_threads() {
    fn forks() {
        // SAFETY: no requirements; the child has a copy of this thread alone.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let mut text = Vec::new();
            // SAFETY: a number; SIGALRM ends a child that hangs.
            unsafe { libc::alarm(20) };
            let is_empty = green::dump::text(&mut text).is_ok() && text == b"green threads: 0\n";
            // SAFETY: no requirements.
            unsafe { libc::_exit(i32::from(!is_empty)) };
        }
        let mut status = 0;
        // SAFETY: the call writes one number.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
    }
    let ended = help::in_a_child(&[], || {
        let runtime = help::runtime(2);
        let waits = runtime.spawn(green::thread::park);
        help::until_parked(waits.thread(), "park");
        forks();
        runtime.run(forks);
        waits.thread().unpark();
        waits.join().unwrap();
    });
    ended.assert_success();
}
