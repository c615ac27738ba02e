//! Traces that are written when something happens, and what may be in their way.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use green::Runtime;
use green::recorder::{Trigger, write_on};

use crate::{TOO_LATE, apart, has, help, in_a_process, is_in_time, is_whole, traces};

/// Has its trace, if it is to have one, come in time?
fn panics() -> bool {
    is_in_time(|| assert!(std::panic::catch_unwind(|| panic!("as it should")).is_err()))
}

/// The child ends, and is tried again.
fn is_too_late() -> ! {
    println!("{TOO_LATE}");
    std::process::exit(0);
}

/// From the first runtime on there is a hook that asks for traces.
fn write_on_panics(dir: &Path) {
    green::run(|| ());
    write_on(Trigger::Panic, dir).unwrap();
}

/// Two panics have their traces, each before its thread goes on.
fn two_have_theirs(dir: &Path) {
    for count in 1..=2 {
        has(dir, count, panics());
        assert_eq!(traces(dir).len(), count);
    }
}

#[test]
fn a_thread_that_panics_with_standard_error_locked_has_its_trace_and_so_has_the_next() {
    apart("triggers::a_thread_that_panics_with_standard_error_locked_has_its_trace_and_so_has_the_next", |dir| {
        write_on_panics(dir);
        let _locked = io::stderr().lock();
        two_have_theirs(dir);
    });
}

#[test]
fn a_standard_error_that_nobody_reads_keeps_no_trace_from_being_written() {
    apart("triggers::a_standard_error_that_nobody_reads_keeps_no_trace_from_being_written", |dir| {
        std::panic::set_hook(Box::new(|_| ()));
        write_on_panics(dir);
        let (_reader, mut writer) = io::pipe().unwrap();
        let set_flags = |flags: libc::c_int| {
            // SAFETY: a descriptor of the test's own, and numbers.
            assert_eq!(unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, flags) }, 0);
        };
        set_flags(libc::O_NONBLOCK);
        while (&writer).write(&[b'x'; 4096]).is_ok() {}
        while (&writer).write(b"x").is_ok() {}
        set_flags(0);
        // SAFETY: both are open; the file is the one that was standard error.
        let mut before = unsafe {
            let before = File::from_raw_fd(libc::dup(2));
            assert_eq!(libc::dup2(writer.as_raw_fd(), 2), 2);
            before
        };
        if !(panics() && panics()) {
            is_too_late();
        }
        let count = traces(dir).len();
        if count != 2 {
            let _ = writeln!(before, "{count} traces");
            std::process::exit(1);
        }
        writer.flush().unwrap();
    });
}

#[test]
fn a_trace_takes_the_place_of_no_file_and_goes_through_no_link() {
    let test = "triggers::a_trace_takes_the_place_of_no_file_and_goes_through_no_link";
    let written = apart(test, |dir| {
        let path = |number| dir.join(format!("green-{}-panic-{number}.pftrace", std::process::id()));
        fs::write(path(1), "of an earlier process with this number").unwrap();
        std::os::unix::fs::symlink(dir.join("elsewhere"), path(2)).unwrap();
        write_on_panics(dir);
        has(dir, 1, panics());
        assert_eq!(fs::read_to_string(path(1)).unwrap(), "of an earlier process with this number");
        assert!(!dir.join("elsewhere").exists() && is_whole(&path(3)));
        has(dir, 2, panics());
        assert!(is_whole(&path(4)));
    });
    if let Some(written) = written {
        assert_eq!(written.len(), 4, "{written:?}");
    }
}

#[test]
fn a_trace_that_cannot_be_written_is_not_counted_and_the_last_one_says_that_it_is() {
    let test = "triggers::a_trace_that_cannot_be_written_is_not_counted_and_the_last_one_says_that_it_is";
    if let Some(dir) = std::env::var_os("RECORDER_DIR") {
        let place = Path::new(&dir).join("place");
        fs::create_dir(&place).unwrap();
        write_on_panics(&place);
        fs::remove_dir(&place).unwrap();
        let twenty_panic = || {
            if !(0..20).all(|_| panics()) {
                is_too_late();
            }
        };
        twenty_panic();
        fs::create_dir(&place).unwrap();
        twenty_panic();
        assert_eq!(traces(&place).len(), 16);
        return;
    }
    let (_, said) = in_a_process(test, "last");
    assert_eq!(said.matches("green: no trace: ").count(), 20, "{said}");
    assert_eq!(said.matches("(the last one of a panic: 16 have been written)").count(), 1, "{said}");
}

#[test]
fn signals_have_as_many_traces_as_they_ask_for() {
    let written = apart("triggers::signals_have_as_many_traces_as_they_ask_for", |dir| {
        write_on(Trigger::Signal(libc::SIGUSR1), dir).unwrap();
        for count in 1..=20 {
            // SAFETY: `raise` has no conditions.
            assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
            help::spin_until("a trace", || traces(dir).iter().filter(|path| is_whole(path)).count() == count);
        }
    });
    if let Some(written) = written {
        assert_eq!(written.len(), 20, "{written:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn stalls_that_come_one_after_the_other_have_one_trace() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    let written = apart("triggers::stalls_that_come_one_after_the_other_have_one_trace", |dir| {
        green::stall::set_hook(|stall| {
            if stall.cause() != green::stall::StallCause::NoProcessor {
                SEEN.fetch_add(1, Ordering::SeqCst);
            }
        });
        write_on(Trigger::Stall, dir).unwrap();
        let builder = Runtime::builder().workers(1).stall_limit(Duration::from_millis(5)).spare_workers(0);
        let runtime = builder.build().unwrap();
        let start = Instant::now();
        while SEEN.load(Ordering::SeqCst) < 4 {
            let stalls = runtime.spawn(|| std::thread::sleep(Duration::from_millis(100)));
            runtime.spawn(|| ()).join().unwrap();
            stalls.join().unwrap();
            assert!(start.elapsed() < Duration::from_secs(120), "no stalls");
        }
        help::spin_until("a trace", || traces(dir).iter().any(|path| is_whole(path)));
        // On a machine that is so slow there may be one each ten seconds.
        assert!(traces(dir).len() <= 1 + start.elapsed().as_secs() as usize / 10, "{:?}", traces(dir));
    });
    if let Some(written) = written {
        assert!(!written.is_empty());
    }
}
