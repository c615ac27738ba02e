//! Children: what they inherit from the thread that starts them, and what std's own settings are worth.
#![cfg(all(target_os = "linux", not(miri)))]
#![allow(missing_docs)]

mod help;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::time::Duration;

use green::process::{Command, Stdio};
use help::{everywhere, in_a_child, on_workers, set_limit};

fn slack() -> i64 {
    // SAFETY: PR_GET_TIMERSLACK has no further arguments.
    unsafe { libc::syscall(libc::SYS_prctl, libc::PR_GET_TIMERSLACK, 0, 0, 0, 0) as i64 }
}

fn set_slack(ns: i64) {
    // SAFETY: PR_SET_TIMERSLACK takes a number.
    unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_TIMERSLACK, ns, 0, 0, 0) };
}

/// What the kernel says in a child about its line `name` of `/proc/self/status`.
fn status_in_a_child(name: &str) -> String {
    let output = Command::new("grep").args([&format!("^{name}:"), "/proc/self/status"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim_start_matches(&format!("{name}:")).trim().to_owned()
}

fn text_of(command: &mut Command) -> String {
    String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
}

#[test]
fn children_and_os_threads_started_from_green_threads_have_the_processs_timer_slack_and_not_the_workers() {
    let of_the_process = slack();
    if of_the_process <= 0 {
        return eprintln!("not tried: no timer slack here");
    }
    on_workers(move || {
        for waits_in_the_poller in [false, true] {
            if waits_in_the_poller {
                let (reader, _writer) = std::io::pipe().unwrap();
                let short = Duration::from_micros(300);
                green::io::wait_readable_timeout(&reader, short).unwrap_err();
            }
            // The worker has slept.
            green::sleep(Duration::from_millis(2));
            assert_eq!(slack(), of_the_process);
            assert_eq!(std::thread::spawn(slack).join().unwrap(), of_the_process);
            assert_eq!(green::blocking(slack), of_the_process);
            let of_a_child = text_of(Command::new("cat").arg("/proc/self/timerslack_ns"));
            if !help::EMULATED {
                assert_eq!(of_a_child, of_the_process.to_string());
            }
        }
    });
}

#[test]
fn a_timer_slack_of_the_programs_own_is_there_after_a_sleep() {
    on_workers(|| {
        if slack() > 0 {
            set_slack(123_456);
            green::sleep(Duration::from_millis(2));
            assert_eq!(slack(), 123_456);
            set_slack(0);
        }
    });
}

/// The worker's signal mask, with SIGUSR1 in it.
fn block_usr1() {
    // SAFETY: a set of our own is filled and read.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGUSR1);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

#[test]
fn what_a_green_thread_has_set_for_its_os_thread_is_there_in_a_child() {
    everywhere(|| {
        // The pool has a thread, from before.
        green::blocking(|| ());
        // SAFETY: the calls take numbers, or a set of our own.
        let cpu = unsafe {
            libc::setpriority(libc::PRIO_PROCESS, libc::gettid() as libc::id_t, 7);
            let mut set = std::mem::zeroed::<libc::cpu_set_t>();
            libc::sched_getaffinity(0, size_of_val(&set), &raw mut set);
            let cpu = (0..libc::CPU_SETSIZE as usize).rfind(|cpu| libc::CPU_ISSET(*cpu, &set)).unwrap();
            libc::CPU_ZERO(&mut set);
            libc::CPU_SET(cpu, &mut set);
            libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
            cpu
        };
        block_usr1();
        let std_says = |name: &str| {
            let output =
                std::process::Command::new("grep").args([&format!("^{name}:"), "/proc/self/status"]).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim_start_matches(&format!("{name}:")).trim().to_owned()
        };
        for name in ["SigBlk", "SigIgn", "Cpus_allowed", "NoNewPrivs", "Seccomp", "CapEff"] {
            assert_eq!(status_in_a_child(name), std_says(name), "{name}");
        }
        assert_eq!(status_in_a_child("Cpus_allowed_list"), cpu.to_string());
        if !help::EMULATED {
            assert_eq!(text_of(&mut Command::new("nice")), "7");
        }
    });
}

#[test]
fn a_child_is_started_by_its_callers_os_thread() {
    on_workers(|| {
        // SAFETY: no requirements.
        let here = unsafe { libc::gettid() };
        let mut command = Command::new("true");
        let (mut reader, writer) = std::io::pipe().unwrap();
        // SAFETY: the closure makes system calls only.
        unsafe {
            command.as_std_mut().pre_exec(move || {
                // Set by the kernel from the thread that called fork.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                let _ = &writer;
                Ok(())
            });
        }
        let mut child = command.spawn().unwrap();
        let list = std::fs::read_to_string(format!("/proc/self/task/{here}/children"));
        if let Ok(list) = list {
            assert!(list.split_whitespace().any(|pid| pid == child.id().to_string()), "{list}");
        }
        assert!(child.wait().unwrap().success());
        drop(command);
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    });
}

/// A file that both kinds of commands may write to.
fn file() -> File {
    let path =
        std::env::temp_dir().join(format!("green-process-{}-{:?}", std::process::id(), std::thread::current().id()));
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

#[test]
fn streams_that_were_set_through_std_are_honoured_by_output_as_std_does() {
    everywhere(|| {
        let script = "cat; echo out; echo err >&2";
        // 0: not set, 1: null, 2: a file, 3: piped, 4: inherited.
        for round in 0..25 {
            let (input, output) = (round % 5, round / 5);
            let (ours, theirs) = (file(), file());
            let set = |command: &mut std::process::Command, file: &File| {
                let stdio = |kind| match kind {
                    1 => Some(Stdio::null()),
                    2 => Some(Stdio::from(file.try_clone().unwrap())),
                    3 => Some(Stdio::piped()),
                    4 => Some(Stdio::inherit()),
                    _ => None,
                };
                // An inherited standard input may be a terminal.
                if let Some(stdio) = stdio(if input == 4 { 1 } else { input }) {
                    command.stdin(stdio);
                }
                if let Some(stdio) = stdio(output) {
                    command.stdout(stdio);
                }
                if let Some(stdio) = stdio(output) {
                    command.stderr(stdio);
                }
                command.args(["-c", script, "\n    stdout: Some("]);
            };
            let mut std_command = std::process::Command::new("sh");
            set(&mut std_command, &theirs);
            let mut command = Command::new("sh");
            set(command.as_std_mut(), &ours);
            for again in 0..2 {
                let (expected, got) = (std_command.output().unwrap(), command.output().unwrap());
                assert_eq!(got, expected, "input {input}, output {output}, run {again}");
                let text = |mut file: &File| {
                    let mut text = String::new();
                    file.seek(SeekFrom::Start(0)).unwrap();
                    file.read_to_string(&mut text).unwrap();
                    text
                };
                assert_eq!(text(&ours), text(&theirs), "input {input}, output {output}, run {again}");
            }
            // `output` has left nothing behind.
            assert_eq!(command.status().unwrap(), std_command.status().unwrap());
        }
    });
}

#[test]
fn a_stream_that_was_set_here_counts_and_one_that_output_has_reset_does_not() {
    everywhere(|| {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2"]).stderr(Stdio::null());
        let _ = command.as_std_mut();
        for _ in 0..3 {
            let output = command.output().unwrap();
            assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b""[..]));
        }
        command.as_std_mut().stdout(Stdio::null());
        assert_eq!(command.output().unwrap().stdout, b"");
    });
}

#[test]
fn a_child_without_a_pidfd_is_waited_for_and_left_by_a_time_out() {
    let ended = in_a_child(&[], || {
        let runtime = help::builder().workers(1).blocking_threads(1).build().unwrap();
        runtime.run(|| {
            let mut lasts: Vec<_> = (0..3).map(|_| Command::new("sleep").arg("1000").spawn().unwrap()).collect();
            let mut ends = Command::new("sleep").arg("0.1").spawn().unwrap();
            set_limit(libc::RLIMIT_NOFILE as i32, 0);
            green::scope(|s| {
                for child in &mut lasts {
                    s.spawn(|| {
                        assert!(green::timeout(Duration::from_millis(300), || child.wait()).is_err());
                        child.kill().unwrap();
                        assert!(!child.wait().unwrap().success());
                    });
                }
                // The pool, of one thread, is not taken.
                assert_eq!(green::blocking(|| 1), 1);
                assert!(ends.wait().unwrap().success());
            });
        });
    });
    ended.assert_success();
}

#[test]
fn a_caller_that_collects_output_leaves_by_a_time_out_and_a_cancel_though_the_child_keeps_its_pipes() {
    const LASTS: u64 = 30;
    let child = |out: bool, err: bool| {
        let pipe = |piped| if piped { Stdio::piped() } else { Stdio::null() };
        Command::new("sleep").arg(LASTS.to_string()).stdout(pipe(out)).stderr(pipe(err)).spawn().unwrap()
    };
    everywhere(move || {
        let start = std::time::Instant::now();
        for (out, err) in [(true, true), (true, false), (false, true)] {
            let collect = || child(out, err).wait_with_output();
            assert!(green::timeout(Duration::from_millis(50), collect).is_err());
            let thread = green::spawn(move || child(out, err).wait_with_output());
            green::sleep(Duration::from_millis(20));
            thread.cancel();
            assert!(thread.join().unwrap_err().is::<green::Cancelled>());
        }
        let output = || Command::new("sleep").arg(LASTS.to_string()).output();
        assert!(green::timeout(Duration::from_millis(50), output).is_err());
        assert!(start.elapsed() < Duration::from_secs(LASTS / 2));
    });
}
