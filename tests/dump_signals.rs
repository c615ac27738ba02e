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
    // The last is the crate's own: that is how a worker is asked where it stands.
    for signal in [libc::SIGKILL, libc::SIGFPE, libc::SIGSEGV, libc::SIGURG] {
        assert_eq!(green::dump::on_signal(signal).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
    let trigger = green::recorder::Trigger::Signal(libc::SIGURG);
    let error = green::recorder::write_on(trigger, std::env::temp_dir()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    assert_eq!(green::dump::on_signal(100_000).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

/// The masks of blocked signals of the OS threads of this process, by their names.
#[cfg(all(target_os = "linux", not(green_emulated)))]
fn masks() -> std::collections::BTreeMap<String, u64> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let mask = |task: std::path::PathBuf| {
        let name = std::fs::read_to_string(task.join("comm")).ok()?.trim().to_owned();
        let status = std::fs::read_to_string(task.join("status")).ok()?;
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"))?;
        Some((name, u64::from_str_radix(blocked.trim(), 16).ok()?))
    };
    tasks.filter_map(mask).collect()
}

#[cfg(all(target_os = "linux", not(green_emulated)))]
#[test]
fn no_signal_is_handled_by_a_thread_that_the_crate_has_for_itself() {
    use green::actor::{Actor, Context, Exit, Handler, Message};
    use green::recorder::{Trigger, write_on};

    struct Ticks;
    struct Tick;
    impl Message for Tick {
        type Reply = ();
    }
    impl Actor for Ticks {
        fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
            let _ = ctx.send_after(Duration::from_secs(100), Tick);
            Ok(())
        }
    }
    impl Handler<Tick> for Ticks {
        fn handle(&mut self, _: Tick, _: &mut Context<Self>) {}
    }
    let in_child = || {
        write_on(Trigger::Stall, std::env::temp_dir()).unwrap();
        green::dump::on_signal(libc::SIGUSR2).unwrap();
        green::timeout(Duration::ZERO, green::signal::ctrl_c).unwrap_err();
        let actor = green::run(|| Ticks.start());
        let names = ["green-dump", "green-monitor", "green-recorder", "green-signal", "green-timers"];
        help::spin_until("the threads", || names.iter().all(|name| masks().contains_key(*name)));
        // From 1 to 31, but those that cannot be blocked.
        let all = 0x7fff_ffff & !(1 << (libc::SIGKILL - 1)) & !(1 << (libc::SIGSTOP - 1));
        for name in names {
            let mask = masks()[name];
            assert_eq!(mask & all, all, "{name} has {mask:x}");
        }
        drop(actor);
    };
    help::in_a_child(&[("GREEN_STALL_LIMIT", "20")], in_child).assert_success();
}

/// A dump that waits for its reader, and holds nothing else up, is asked for twenty times more: these have one.
#[cfg(all(target_os = "linux", not(any(green_emulated, green_sanitized))))]
#[test]
fn signals_that_come_while_a_dump_is_written_have_one_dump_together() {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::time::Instant;

    const CHILD: &str = "GREEN_TEST_DUMPS";
    let test = "signals_that_come_while_a_dump_is_written_have_one_dump_together";
    if std::env::var_os(CHILD).is_some() {
        green::dump::on_signal(libc::SIGUSR2).unwrap();
        let runtime = help::runtime(1);
        // A pipe has no room for their names.
        let waits = |_| green::thread::Builder::new().name("x".repeat(40_000)).spawn(green::thread::park);
        let threads: Vec<_> = runtime.run(|| (0..5).map(|number| waits(number).unwrap()).collect());
        // SAFETY: a number.
        let ask = || assert_eq!(unsafe { libc::raise(libc::SIGUSR2) }, 0);
        ask();
        std::io::stdin().read_exact(&mut [0]).unwrap();
        // Threads come and go, and another dump is made.
        assert_eq!(runtime.run(|| green::spawn(|| 7).join().unwrap()), 7);
        assert!(help::dump::text().starts_with("green threads: 5\n"));
        (0..20).for_each(|_| ask());
        std::io::stdout().write_all(b"asked for\n").unwrap();
        // As long as the test wants: in it other dumps would come.
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        drop(threads);
        std::process::exit(0);
    }
    let mut command = help::itself();
    command.args([test, "--exact", "--nocapture"]).env(CHILD, "1");
    let pipe = std::process::Stdio::piped;
    let mut child = command.stdin(pipe()).stdout(pipe()).stderr(pipe()).spawn().unwrap();
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut next_dump = move || said.any(|line| line.starts_with("green threads: "));
    let begin = Instant::now();
    assert!(next_dump());
    stdin.write_all(b"!").unwrap();
    assert!(stdout.lines().any(|line| line.unwrap().contains("asked for")));
    let (sender, dumps) = std::sync::mpsc::channel();
    let reads = std::thread::spawn(move || while next_dump() && sender.send(()).is_ok() {});
    dumps.recv_timeout(Duration::from_secs(30)).unwrap();
    // A third would come as soon as the second has.
    dumps.recv_timeout(begin.elapsed().max(Duration::from_millis(300))).unwrap_err();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    reads.join().unwrap();
}

/// Standard error may be the end of a pipe that another process, or a shell, has made non-blocking.
#[cfg(not(any(green_emulated, green_sanitized)))]
#[test]
fn a_dump_to_a_standard_error_that_does_not_block_is_whole() {
    use std::io::{ErrorKind, Read};
    use std::time::Duration;

    const CHILD: &str = "GREEN_TEST_WHOLE_DUMP";
    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
    let test = "a_dump_to_a_standard_error_that_does_not_block_is_whole";
    if std::env::var_os(CHILD).is_some() {
        // SAFETY: flags, and a signal whose handler nobody has set; SIGALRM ends a child that hangs.
        unsafe {
            libc::alarm(help::BOUND.as_secs() as u32);
            let flags = libc::fcntl(libc::STDERR_FILENO, libc::F_GETFL);
            assert_eq!(libc::fcntl(libc::STDERR_FILENO, libc::F_SETFL, flags | libc::O_NONBLOCK), 0);
            libc::signal(libc::SIGQUIT, libc::SIG_DFL);
        }
        let runtime = help::runtime(1);
        let waits = |name: &str| green::thread::Builder::new().name(name.repeat(40_000)).spawn(green::thread::park);
        let threads = runtime.run(|| NAMES.map(|name| waits(name).unwrap()));
        threads.iter().for_each(|thread| help::until_parked(thread.thread(), "park"));
        // SAFETY: it is handled.
        unsafe { libc::raise(libc::SIGQUIT) };
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        std::process::exit(0);
    }
    let mut command = help::itself();
    command.args([test, "--exact", "--nocapture"]).env(CHILD, "1").env("GREEN_DUMP", "quit");
    let pipe = std::process::Stdio::piped;
    let mut child = command.stdin(pipe()).stdout(pipe()).stderr(pipe()).spawn().unwrap();
    let (stdin, mut stderr) = (child.stdin.take(), child.stderr.take().unwrap());
    let (sender, whole) = std::sync::mpsc::channel();
    let reads = std::thread::spawn(move || {
        let (mut said, mut some) = (Vec::new(), [0; 4096]);
        // It is slower than who writes.
        let pause = || std::thread::sleep(Duration::from_millis(5));
        loop {
            pause();
            match stderr.read(&mut some) {
                Ok(0) => return said,
                Ok(len) => said.extend_from_slice(&some[..len]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}"),
            }
            let has_name =
                |name: &&str| said.split(|byte| *byte == b'"').any(|part| part == name.repeat(40_000).as_bytes());
            if NAMES.iter().all(has_name) {
                _ = sender.send(());
            }
        }
    });
    let is_whole = whole.recv_timeout(Duration::from_secs(15)).is_ok();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    let len = reads.join().unwrap().len();
    assert!(is_whole, "{len} bytes of a dump of more than {}", NAMES.len() * 40_000);
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
