//! Programs all of whose threads wait for one another, and which nothing can wake, are told so, in debug builds and others that are told to; others are not.
#![cfg(all(any(debug_assertions, green_deadlocks), target_os = "linux"))]
// Each has a thread of its own that nobody knows.
#![cfg(not(any(miri, green_emulated, green_sanitized, green_backend = "threads")))]

mod help;

use std::env;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use green::Runtime;
use green::channel::unbounded;
use green::sync::Mutex;

const WORKERS: &str = "GREEN_TEST_WORKERS";
/// Set in a process that is told, whatever the test is about.
const CONTROL: &str = "GREEN_TEST_CONTROL";
const SAID: &str = "green: deadlock: all threads wait for one another, ";
/// A program that has not been told for so long after another was, which has begun later, is not told at all: that is as long as from a look to the next.
const LONGER: Duration = Duration::from_secs(1);

/// Runs `f` on a runtime with one worker and with two, on the only thread of a process of its own, which SIGALRM ends after `seconds`. Calls `check` with what
/// that process says on standard error, and then ends it. (It is a child of fork of a test's process: in that the first thread waits for the test, by std's means.)
fn alone(seconds: u32, f: impl FnOnce(Runtime), check: impl Fn(&mut BufReader<ChildStderr>)) {
    if let Some(workers) = env::var_os(WORKERS) {
        let workers = workers.to_str().and_then(|text| text.parse().ok()).expect("a number of workers");
        // SAFETY: no requirements; there are no threads but the harness's, which has no lock while it waits.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: numbers.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::alarm(seconds);
            }
            match env::var_os(CONTROL) {
                Some(_) => help::runtime(workers).run(green::thread::park),
                None => f(help::runtime(workers)),
            }
            std::process::exit(0);
        }
        let mut status = 0;
        // SAFETY: the call writes one number.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        std::process::exit(if libc::WIFSIGNALED(status) { libc::WTERMSIG(status) } else { 0 });
    }
    for mut child in ["1", "2"].map(|workers| start(workers, &[])) {
        let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        check(&mut stderr);
        drop(stderr);
        let _ = child.kill();
        let status = child.wait().unwrap();
        assert!(status.signal() == Some(libc::SIGKILL) || status.code() == Some(libc::SIGALRM), "{status}");
    }
}

/// This test once more, in a process of its own.
fn start(workers: &str, variables: &[(&str, &str)]) -> Child {
    let name = std::thread::current().name().expect("the harness names a test's thread").to_owned();
    let mut child = help::itself();
    child.args([&name, "--exact", "--nocapture", "--test-threads=1"]).env(WORKERS, workers);
    child.envs(variables.iter().copied()).env("RUST_BACKTRACE", "0").stdout(Stdio::null()).stderr(Stdio::piped());
    child.spawn().expect("this binary runs")
}

/// The program is told, once, and shown what each thread waits for.
fn is_told(counts: &str, shows: &[&str], f: impl FnOnce(Runtime)) {
    alone(30, f, |stderr| {
        let mut said = String::new();
        let has_all = |said: &str| said.contains(SAID) && shows.iter().all(|show| said.contains(show));
        while !has_all(&said) && stderr.read_line(&mut said).unwrap() > 0 {}
        assert!(has_all(&said) && said.contains(&format!("{SAID}{counts}, ")), "{said}");
    });
}

/// Nothing is said, however slow the machine is: by the time that another program, which has begun later, has been told, and a look later.
fn is_not_told(f: impl FnOnce(Runtime)) {
    alone(60, f, |stderr| {
        let mut control = start("1", &[(CONTROL, "1")]);
        let mut told = String::new();
        let mut lines = BufReader::new(control.stderr.take().expect("it is piped"));
        while !told.contains(SAID) && lines.read_line(&mut told).unwrap() > 0 {}
        let _ = control.kill();
        assert!(control.wait().is_ok() && told.contains(SAID), "{told}");
        std::thread::sleep(LONGER);
        // What has been said by now.
        let mut ready = libc::pollfd { fd: stderr.get_ref().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let mut said = String::new();
        // SAFETY: one entry.
        while (!stderr.buffer().is_empty() || unsafe { libc::poll(&raw mut ready, 1, 0) } > 0)
            && stderr.read_line(&mut said).unwrap() > 0
        {}
        assert!(!said.contains("deadlock") && !said.contains("panicked"), "{said}");
    });
}

#[test]
fn a_receive_whose_sender_a_thread_has_that_waits_is_told() {
    let shows = ["waits: park", "\"holds\"", "waits: channel receive", ", waits: scope"];
    is_told("2 green and 1 other", &shows, |runtime| {
        runtime.run(|| {
            let (sender, receiver) = unbounded::<()>();
            let holds = green::thread::Builder::new().name("holds".to_owned()).spawn(move || {
                green::thread::park();
                drop(sender);
            });
            let holds = holds.unwrap();
            let _ = receiver.recv();
            holds.join().unwrap();
        });
    });
}

#[test]
fn a_thread_that_nobody_unparks_is_told() {
    is_told("1 green and 1 other", &["waits: park"], |runtime| runtime.run(green::thread::park));
}

#[test]
fn threads_of_two_runtimes_and_of_the_system_that_wait_for_one_another_are_told() {
    let shows = ["waits: condvar", "waits: semaphore", "waits: channel receive"];
    is_told("2 green and 2 other", &shows, |runtime| {
        let other = help::runtime(1);
        let (sender, receiver) = unbounded::<()>();
        let keeps = sender.clone();
        let first = runtime.spawn(move || {
            let pair = (Mutex::new(()), green::sync::Condvar::new());
            let held = pair.0.lock().unwrap();
            drop(pair.1.wait(held));
            drop(keeps);
        });
        let second = other.spawn(move || {
            drop(green::sync::Semaphore::new(0).acquire());
            drop(sender);
        });
        let plain = std::thread::spawn(move || receiver.recv());
        first.join().unwrap();
        second.join().unwrap();
        drop(plain.join());
    });
}

#[test]
fn who_waits_for_the_end_of_an_actor_that_nobody_stops_is_told() {
    struct Rests;
    impl green::actor::Actor for Rests {}
    is_told("1 green and 1 other", &["waits: actor's end"], |runtime| {
        runtime.run(|| green::actor::Actor::start(Rests).join());
    });
}

#[test]
fn what_ended_a_while_ago_may_have_been_the_last_that_could_wake_somebody() {
    is_told("1 green and 1 other", &["waits: channel receive"], |runtime| {
        let (sender, receiver) = unbounded::<()>();
        let keeps = Box::leak(Box::new(sender)).clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(2));
            drop(keeps);
        });
        runtime.run(move || _ = receiver.recv());
    });
}

#[test]
fn threads_of_which_one_waits_until_a_time_are_not_told() {
    is_not_told(|runtime| {
        runtime.run(|| {
            let waits = green::spawn(|| green::thread::park_timeout(Duration::from_secs(60)));
            waits.join().unwrap();
        });
    });
}

#[test]
fn threads_beside_an_os_thread_that_waits_until_a_time_are_not_told() {
    is_not_told(|runtime| {
        runtime.run(|| {
            let (sender, receiver) = unbounded::<()>();
            let me = green::thread::current();
            std::thread::spawn(move || {
                let _ = receiver.recv_timeout(Duration::from_secs(60));
                me.unpark();
            });
            green::thread::park();
            drop(sender);
        });
    });
}

#[test]
fn threads_within_a_timeout_are_not_told() {
    is_not_told(|runtime| {
        runtime.run(|| _ = green::timeout(Duration::from_secs(60), green::thread::park));
    });
}

/// The hook's OS thread is one of the crate's own.
#[test]
fn threads_one_of_which_a_hook_for_stalls_may_wake_are_not_told() {
    static CALLED: AtomicBool = AtomicBool::new(false);
    is_not_told(|runtime| {
        green::stall::set_hook(|_| {
            CALLED.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_secs(60));
        });
        runtime.run(|| {
            // More than there are workers: so one waits.
            let spins = || help::spin_until("the hook", || CALLED.load(Ordering::SeqCst));
            let threads: Vec<_> = (0..3).map(|_| green::spawn(spins)).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            green::thread::park();
        });
    });
}

#[test]
fn threads_of_which_one_waits_for_a_descriptor_are_not_told() {
    is_not_told(|runtime| {
        runtime.run(|| {
            let (reader, writer) = std::io::pipe().unwrap();
            green::io::wait_readable(&reader).unwrap();
            drop(writer);
        });
    });
}

#[test]
#[cfg(feature = "futures-io")]
fn a_thread_that_polls_async_code_which_waits_for_a_descriptor_is_not_told() {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Wake, Waker};

    use futures::AsyncReadExt;

    /// Of an executor that waits for the next task by a channel.
    struct Woken(green::channel::Sender<()>);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
        }
    }
    is_not_told(|runtime| {
        runtime.run(|| {
            let listener = green::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let mut server = green::net::Async::new(listener.accept().unwrap().0);
            let (sender, receiver) = unbounded();
            let waker = Waker::from(Arc::new(Woken(sender)));
            let mut byte = [0];
            let mut read = pin!(server.read(&mut byte));
            while read.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                receiver.recv().unwrap();
            }
        });
    });
}

#[test]
fn a_thread_that_a_plain_one_has_a_handle_of_is_not_told() {
    is_not_told(|runtime| {
        runtime.run(|| {
            let me = green::thread::current();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs(60));
                me.unpark();
            });
            green::thread::park();
        });
    });
}

#[test]
fn a_thread_for_which_a_blocking_call_goes_on_is_not_told() {
    is_not_told(|runtime| {
        runtime.run(|| green::blocking(|| std::thread::sleep(Duration::from_secs(60))));
    });
}

#[test]
fn a_thread_that_waits_for_a_signal_is_not_told() {
    is_not_told(|runtime| {
        runtime.run(|| _ = green::signal::wait_for(&[green::signal::SignalKind::User1]));
    });
}

#[test]
fn a_program_with_a_handler_for_a_signal_is_not_told() {
    extern "C" fn handle(_: libc::c_int) {}
    is_not_told(|runtime| {
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(libc::SIGUSR1, handle as extern "C" fn(libc::c_int) as libc::sighandler_t) };
        runtime.run(green::thread::park);
    });
}

#[test]
fn a_program_with_a_handler_for_the_signal_by_which_workers_are_asked_is_not_told() {
    extern "C" fn handle(_: libc::c_int) {}
    is_not_told(|runtime| {
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(libc::SIGURG, handle as extern "C" fn(libc::c_int) as libc::sighandler_t) };
        runtime.run(green::thread::park);
    });
}

#[test]
fn threads_beside_an_os_thread_that_waits_for_a_descriptor_are_not_told() {
    is_not_told(|runtime| {
        runtime.run(|| {
            let (reader, writer) = std::io::pipe().unwrap();
            let me = green::thread::current();
            std::thread::spawn(move || {
                green::io::wait_readable(&reader).unwrap();
                me.unpark();
            });
            green::thread::park();
            drop(writer);
        });
    });
}

#[test]
fn a_thread_that_an_actors_timer_will_wake_is_not_told() {
    use green::actor::{Actor, Context, Exit};
    struct Late;
    impl Actor for Late {
        fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
            ctx.send_after(Duration::from_secs(60), End);
            Ok(())
        }
    }
    struct End;
    impl green::actor::Message for End {
        type Reply = ();
    }
    impl green::actor::Handler<End> for Late {
        fn handle(&mut self, _: End, ctx: &mut Context<Self>) {
            ctx.stop();
        }
    }
    is_not_told(|runtime| runtime.run(|| _ = Late.start().join()));
}

#[test]
fn a_thread_that_awaits_a_future_is_not_told() {
    is_not_told(|runtime| runtime.run(|| green::block_on(std::future::pending::<()>())));
}

#[test]
fn threads_that_still_run_are_not_told() {
    is_not_told(|runtime| {
        runtime.run(|| {
            let runs = green::spawn(|| {
                loop {
                    green::sleep(Duration::from_millis(1500));
                }
            });
            runs.join().unwrap()
        });
    });
}
