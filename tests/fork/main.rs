//! fork without exec: what the child may do, and what it is told where the parent's runtime would be needed.
// An emulator has threads of its own, which a child lacks.
#![cfg(all(target_os = "linux", not(any(miri, green_emulated))))]
#![allow(missing_docs)]

mod actors;
mod gate;
#[path = "../help/mod.rs"]
mod help;
mod lists;

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use green::net::{TcpListener, TcpStream};
use help::{bounded, in_a_child, runtime};

/// Runs `f` in a child of fork, which must not hang. How it ended (of 256: a panic of `f`), and what it said.
fn forked(f: impl FnOnce()) -> (i32, String) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    // SAFETY: no requirements; the child has a copy of this thread alone.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        // SAFETY: numbers. SIGALRM ends a child that hangs; what it says goes into the pipe.
        unsafe {
            libc::alarm(20);
            libc::dup2(writer.as_raw_fd(), 2);
        }
        let result = catch_unwind(AssertUnwindSafe(f));
        // SAFETY: no requirements.
        unsafe { libc::_exit(i32::from(result.is_err())) };
    }
    drop(writer);
    let (mut text, mut status) = (Vec::new(), 0);
    loop {
        let mut wait = libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry.
        if unsafe { libc::poll(&raw mut wait, 1, 10_000) } == 0 {
            if has_a_thread_that_does_not_begin(child) {
                // SAFETY: a child that nobody has waited for.
                unsafe { libc::kill(child, libc::SIGKILL) };
            }
            continue;
        }
        let mut some = [0; 4096];
        match reader.read(&mut some).unwrap() {
            0 => break,
            n => text.extend_from_slice(&some[..n]),
        }
    }
    // SAFETY: the call writes one number.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    (status, String::from_utf8_lossy(&text).into_owned())
}

/// Is an OS thread of the child's still without its name? Where a thread of the parent began or ended as it forked, it had the lock of std's of what is known of
/// each thread's stack, and the child's threads wait for that before they are named: nobody but std can mend it.
fn has_a_thread_that_does_not_begin(child: i32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{child}/task")).into_iter().flatten().flatten();
    let others = tasks.filter(|task| task.file_name().to_str() != Some(&*child.to_string()));
    let mut names = others.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.any(|name| !name.starts_with("green"))
}

#[track_caller]
fn assert_works(what: &str, f: impl FnOnce()) {
    // Such children in a process.
    static LOCKED: AtomicU32 = AtomicU32::new(0);
    let (status, text) = forked(f);
    let is_locked = status == libc::SIGKILL && LOCKED.fetch_add(1, Relaxed) < 2;
    assert!(status == 0 || is_locked, "{what}: {status}: {text}");
}

#[track_caller]
fn assert_told(what: &str, status_wanted: i32, f: impl FnOnce()) {
    let (status, text) = forked(f);
    assert!(text.contains("child of fork") && text.contains("make a Runtime of its own"), "{what}: {status}: {text}");
    assert_eq!(status, status_wanted, "{what}: {text}");
}

const PANICKED: i32 = 256;

/// Runs `f` where a program may fork: on a plain OS thread, and in green threads of the default runtime and of others.
fn wherever_one_forks(f: impl Fn() + Send + Sync + Copy + 'static) {
    let ended = in_a_child(&[], || {
        // The default runtime runs.
        green::run(|| green::blocking(|| ()));
        bounded(f);
        bounded(move || green::run(f));
        for workers in [1, 2] {
            bounded(move || runtime(workers).run(f));
        }
        bounded(move || runtime(2).run(|| green::blocking(f)));
    });
    ended.assert_success();
}

#[test]
fn whatever_needs_the_parents_runtime_panics_in_a_child() {
    wherever_one_forks(|| {
        let own = runtime(2);
        let parked = own.spawn(green::thread::park);
        let on_default = green::spawn(|| green::sleep(Duration::from_secs(1000)));
        assert_told("spawn", PANICKED, || drop(green::spawn(|| 1)));
        assert_told("run", PANICKED, || green::run(|| ()));
        assert_told("spawn in a scope", PANICKED, || green::scope(|s| drop(s.spawn(|| 1))));
        assert_told("Runtime::run", PANICKED, || own.run(|| ()));
        assert_told("Runtime::spawn", PANICKED, || drop(own.spawn(|| ())));
        assert_works("Builder::spawn", || {
            let error = green::thread::Builder::new().spawn(|| 1).unwrap_err();
            assert!(error.to_string().contains("child of fork"), "{error}");
        });
        let on_default = std::cell::Cell::new(Some(on_default));
        assert_told("join", PANICKED, || _ = on_default.take().unwrap().join());
        assert_told("await", PANICKED, || _ = green::block_on(on_default.take().unwrap()));
        let on_default = on_default.take().unwrap();
        on_default.cancel();
        assert!(on_default.join().is_err());
        let done = green::spawn(|| 5);
        while !done.is_finished() {
            green::sleep(Duration::from_millis(1));
        }
        let done = std::cell::Cell::new(Some(done));
        assert_works("join of one that has ended", || assert_eq!(done.take().unwrap().join().unwrap(), 5));
        parked.thread().unpark();
        parked.join().unwrap();
        assert_told("drop", PANICKED, move || drop(own));
    });
}

#[derive(Default)]
struct Counter(u32);
impl green::actor::Actor for Counter {}

struct Add(u32);
impl green::actor::Message for Add {
    type Reply = u32;
}
impl green::actor::Handler<Add> for Counter {
    fn handle(&mut self, add: Add, _: &mut green::actor::Context<Self>) -> u32 {
        self.0 += add.0;
        self.0
    }
}

#[test]
fn whoever_asks_a_resting_actor_of_the_parents_is_told_in_a_child() {
    use green::actor::Actor;
    wherever_one_forks(|| {
        let counter = Counter::default().start();
        // It rests when it has answered, or soon.
        assert_eq!(counter.send(Add(1)).unwrap(), 1);
        green::sleep(Duration::from_millis(20));
        assert_told("send", PANICKED, || _ = counter.send(Add(1)));
        assert_told("call", PANICKED, || _ = counter.call(Add(1)));
        assert_told("tell", PANICKED, || _ = counter.tell(Add(1)));
        assert_eq!(counter.send(Add(1)).unwrap(), 2);
    });
}

struct Wait(help::Gate, help::Gate);
impl green::actor::Message for Wait {
    type Reply = ();
}
impl green::actor::Handler<Wait> for Counter {
    fn handle(&mut self, wait: Wait, _: &mut green::actor::Context<Self>) {
        wait.0.open();
        wait.1.wait();
    }
}

#[test]
fn whoever_waits_for_an_actor_of_the_parents_or_sends_to_it_is_told_in_a_child() {
    use green::actor::{Actor, Exit, Mailbox};
    const LONG: Duration = Duration::from_secs(60);
    wherever_one_forks(|| {
        let resting = Counter::default().start();
        assert_eq!(resting.send(Add(1)).unwrap(), 1);
        green::sleep(Duration::from_millis(20));
        let busy = Counter::default().start();
        let (reached, gate) = (help::Gate::new(), help::Gate::new());
        let handled = busy.call(Wait(reached.clone(), gate.clone())).unwrap();
        reached.wait();
        let full = green::actor::Builder::new().mailbox(Mailbox::bounded(1)).start(Counter::default()).unwrap();
        let reached = help::Gate::new();
        full.tell(Wait(reached.clone(), gate.clone())).unwrap();
        reached.wait();
        full.tell(Add(1)).unwrap();
        let dead = Counter::default().start();
        dead.kill();
        dead.join();
        for (state, actor) in [("resting", &resting), ("busy", &busy), ("full", &full)] {
            let told = |what: &str, f: &dyn Fn()| assert_told(&format!("{state}: {what}"), PANICKED, f);
            told("join", &|| _ = actor.join());
            told("join_timeout", &|| _ = actor.join_timeout(LONG));
            told("send", &|| _ = actor.send(Add(1)));
            told("tell", &|| _ = actor.tell(Add(1)));
            told("call", &|| _ = actor.call(Add(1)));
            told("call_async", &|| _ = green::block_on(actor.call_async(Add(1))));
            told("tell_async", &|| _ = green::block_on(actor.tell_async(Add(1))));
            told("a large ask", &|| _ = actor.send(Wide([1; 4096])));
            told("stop", &|| actor.stop());
            told("kill", &|| actor.kill());
        }
        let pending = std::cell::Cell::new(Some(handled));
        assert_told("wait", PANICKED, || _ = pending.take().unwrap().wait());
        assert_told("wait_timeout", PANICKED, || _ = pending.take().unwrap().wait_timeout(LONG));
        assert_told("await", PANICKED, || _ = green::block_on(pending.take().unwrap()));
        let (defers, put_off) = (Defers::default().start(), help::Gate::new());
        let deferred = std::cell::Cell::new(Some(defers.call(PutOff(put_off.clone())).unwrap()));
        put_off.wait();
        assert_told("wait for what is put off", PANICKED, || _ = deferred.take().unwrap().wait());
        assert_told("await what is put off", PANICKED, || _ = green::block_on(deferred.take().unwrap()));
        let (last, dead) = (std::cell::Cell::new(Some(Counter::default().start())), &dead);
        green::sleep(Duration::from_millis(20));
        assert_works("the last address goes, and the dead", || {
            drop(last.take());
            assert_eq!(dead.join(), Exit::Killed);
            assert!(dead.tell(Add(1)).is_err() && dead.call(Add(1)).is_err() && dead.send(Add(1)).is_err());
            dead.stop();
            dead.kill();
            let own = help::builder().workers(1).build().unwrap();
            let counter = green::actor::Builder::new().runtime(&own).start(Counter::default()).unwrap();
            assert_eq!(counter.send(Add(1)).unwrap(), 1);
            counter.tell(Add(1)).unwrap();
            counter.stop();
            assert_eq!(counter.join(), Exit::Shutdown);
        });
        gate.open();
        pending.take().unwrap().wait_timeout(LONG).unwrap();
        busy.kill();
        assert_eq!(busy.join(), Exit::Killed);
    });
}

/// Opens its gate; the reply is put off for ever.
struct PutOff(help::Gate);
#[derive(Default)]
struct Defers(Option<green::actor::Deferred<()>>);
impl green::actor::Actor for Defers {}
impl green::actor::Message for PutOff {
    type Reply = ();
}
impl green::actor::Handler<PutOff> for Defers {
    fn handle(&mut self, put_off: PutOff, ctx: &mut green::actor::Context<Self>) {
        self.0 = Some(ctx.defer::<PutOff>());
        put_off.0.open();
    }
}

struct Wide([u8; 4096]);
impl green::actor::Message for Wide {
    type Reply = u8;
}
impl green::actor::Handler<Wide> for Counter {
    fn handle(&mut self, wide: Wide, _: &mut green::actor::Context<Self>) -> u8 {
        wide.0[0]
    }
}

#[test]
fn a_scope_that_would_wait_for_the_parents_threads_ends_the_child_with_a_message() {
    wherever_one_forks(|| {
        let (mut reader, writer) = std::io::pipe().unwrap();
        green::scope(|s| {
            let thread = s.spawn(green::thread::park);
            // SAFETY: no requirements, and numbers.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: numbers.
                unsafe {
                    libc::alarm(20);
                    libc::dup2(writer.as_raw_fd(), 2);
                }
                return;
            }
            let mut status = 0;
            // SAFETY: the call writes one number.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status & 0x7f, libc::SIGABRT, "{status}");
            thread.thread().unpark();
        });
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(text.contains("a scope cannot wait for its threads: this process is a child of fork"), "{text}");
    });
}

#[test]
fn what_needs_no_runtime_and_a_runtime_of_its_own_work_in_a_child() {
    wherever_one_forks(|| {
        let lock = green::sync::Mutex::new(0);
        let (sender, receiver) = green::channel::unbounded();
        assert_works("sleep, locks, channels, files, blocking", || {
            let start = Instant::now();
            green::sleep(Duration::from_millis(5));
            assert!(start.elapsed() >= Duration::from_millis(5));
            assert!(green::timeout(Duration::from_millis(5), green::thread::park).is_err());
            green::yield_now();
            *lock.lock().unwrap() += 1;
            sender.send(1).unwrap();
            assert_eq!(receiver.recv().unwrap(), 1);
            assert_eq!(green::blocking(|| 3), 3);
            assert!(green::fs::read_to_string("/proc/self/stat").unwrap().contains('('));
            assert_eq!(green::block_on(async { 4 }), 4);
            assert!(green::process::Command::new("true").status().unwrap().success());
        });
        assert_works("a look-up", || {
            use green::net::ToSocketAddrs;
            green::timeout(Duration::from_secs(10), || "localhost:1".to_socket_addrs()).unwrap().unwrap();
        });
        assert_works("a runtime of its own", || {
            let runtime = help::builder().workers(2).build().unwrap();
            let sum: u64 = runtime.run(|| {
                let threads: Vec<_> = (0..100)
                    .map(|n| {
                        green::spawn(move || {
                            green::sleep(Duration::from_millis(1));
                            green::blocking(|| n)
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert_eq!(sum, 4950);
            // And a child of the child.
            assert_told("spawn", PANICKED, || drop(runtime.spawn(|| 1)));
            drop(runtime);
        });
        assert_eq!(*lock.lock().unwrap(), 0);
    });
}

struct AddLater(Duration);
impl green::actor::Message for AddLater {
    type Reply = ();
}
impl green::actor::Handler<AddLater> for Counter {
    fn handle(&mut self, later: AddLater, ctx: &mut green::actor::Context<Self>) {
        ctx.send_after(later.0, Add(1));
    }
}

#[test]
fn timers_of_actors_fire_in_a_child_of_a_parent_that_had_some() {
    use green::actor::Actor;
    let count_to = |wanted: u32| {
        let counter = Counter::default().start();
        counter.send(AddLater(Duration::from_millis(1))).unwrap();
        let start = Instant::now();
        while counter.send(Add(0)).unwrap() != wanted {
            assert!(start.elapsed() < Duration::from_secs(60), "the timer does not fire");
            green::sleep(Duration::from_millis(1));
        }
    };
    wherever_one_forks(move || {
        count_to(1);
        assert_works("a timer of an actor of the child's", || runtime(1).run(|| count_to(1)));
    });
}

#[test]
fn a_closure_that_owns_what_it_uses_runs_in_a_child_though_the_parents_pool_has_a_thread_to_spare() {
    wherever_one_forks(|| {
        green::blocking(|| ());
        assert_works("unblock inside a time-out", || {
            assert_eq!(green::timeout(Duration::from_secs(60), || green::unblock(|| 4)), Ok(4));
        });
    });
}

#[test]
fn what_a_green_thread_that_has_forked_spawns_starts_no_default_runtime() {
    // Nothing has started one before.
    let ended = in_a_child(&[], || {
        bounded(|| {
            runtime(1).run(|| {
                assert_told("spawn", PANICKED, || drop(green::spawn(|| 1)));
                assert_told("run", PANICKED, || green::run(|| ()));
                assert_works("unblock inside a time-out", || {
                    assert_eq!(green::timeout(Duration::from_secs(60), || green::unblock(|| 4)), Ok(4));
                });
            });
        });
    });
    ended.assert_success();
}

#[test]
fn the_output_of_a_command_is_collected_in_a_child() {
    wherever_one_forks(|| {
        assert_works("output", || {
            let output = green::process::Command::new("sh").args(["-c", "echo a; echo b >&2"]).output().unwrap();
            assert!(output.status.success() && output.stdout == b"a\n" && output.stderr == b"b\n", "{output:?}");
        });
    });
}

#[test]
fn a_childs_copies_of_sockets_take_nothing_away_from_the_parents_poller() {
    wherever_one_forks(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        // Both wait, so both are registered.
        green::scope(|s| {
            s.spawn(|| {
                let mut one = [0];
                server.read_exact(&mut one).unwrap();
                server.write_all(&one).unwrap();
            });
            green::sleep(Duration::from_millis(1));
            client.write_all(b"1").unwrap();
            client.read_exact(&mut [0]).unwrap();
        });
        let sockets = std::cell::Cell::new(Some((client, server)));
        assert_works("sockets in the child", || {
            let (client, mut server) = sockets.take().unwrap();
            server.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
            server.read(&mut [0]).unwrap_err();
            let own = help::builder().workers(1).build().unwrap();
            own.run(|| server.read(&mut [0]).unwrap_err());
            server.set_read_timeout(None).unwrap();
            drop((client, server));
        });
        let (mut client, mut server) = sockets.take().unwrap();
        server.set_read_timeout(None).unwrap();
        green::scope(|s| {
            let reads = s.spawn(|| server.read(&mut [0]).unwrap());
            green::sleep(Duration::from_millis(2));
            client.write_all(b"2").unwrap();
            assert_eq!(reads.join().unwrap(), 1);
        });
    });
}

#[test]
fn a_green_thread_that_returns_in_the_child_ends_that_with_a_message_and_its_neighbours_do_not_run_there() {
    let ended = in_a_child(&[], || {
        for workers in [1, 2] {
            let (mut reader, writer) = std::io::pipe().unwrap();
            let status = bounded(move || {
                runtime(workers).run(move || {
                    let mut note = writer.try_clone().unwrap();
                    let neighbour = green::spawn_local(move || {
                        green::sleep(Duration::from_millis(30));
                        note.write_all(b"n").unwrap();
                    });
                    green::yield_now();
                    // SAFETY: no requirements.
                    let child = green::spawn_local(|| unsafe { libc::fork() }).join().unwrap();
                    let mut status = 0;
                    // SAFETY: the call writes one number.
                    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
                    neighbour.join().unwrap();
                    status
                })
            });
            assert_eq!(status & 0x7f, libc::SIGABRT, "{status}");
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            assert_eq!(text, "n", "the parent's alone");
        }
    });
    assert!(ended.output.contains("has come to its end in the child"), "{}", ended.output);
    ended.assert_success();
}

/// A connection is made, and served: both ends wait, and so does the listener.
fn connects() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = green::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.read_exact(&mut [0]).unwrap();
    });
    let (mut server, _) = listener.accept().unwrap();
    green::yield_now();
    server.write_all(b"1").unwrap();
    client.join().unwrap();
}

#[test]
fn a_grandchild_uses_no_slot_in_which_a_thread_of_its_parent_waits() {
    const SIZE: usize = 16 << 20;
    let ended = in_a_child(&[], || {
        runtime(1).run(connects);
        assert_works("a child", || {
            runtime(1).run(|| {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let (mut server, _) = listener.accept().unwrap();
                let writes = green::spawn(move || server.write_all(&vec![0; SIZE]).unwrap());
                help::until_parked(writes.thread(), "writable");
                assert_works("a grandchild", || runtime(1).run(connects));
                assert_eq!(client.read_to_end(&mut Vec::new()).unwrap(), SIZE);
                writes.join().unwrap();
            });
        });
    });
    ended.assert_success();
}

#[test]
fn an_actor_of_the_parents_runtime_is_an_error_in_a_child_though_others_had_the_lock_of_its_roster() {
    use green::actor::Builder;
    let ended = in_a_child(&[], || {
        let own = runtime(1);
        let counter = Builder::new().runtime(&own).start(Counter::default()).unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Outsiders: they take and give slots one at a time.
            for _ in 0..3 {
                scope.spawn(|| {
                    while !over.load(std::sync::atomic::Ordering::Relaxed) {
                        let started = || Builder::new().runtime(&own).start(Counter::default()).unwrap();
                        let started: Vec<_> = (0..100).map(|_| started()).collect();
                        started.iter().for_each(green::actor::Addr::stop);
                        started.iter().for_each(|counter| _ = counter.join());
                    }
                });
            }
            for _ in 0..help::scaled(150) {
                assert_works("start, and what lists them", || {
                    let error = Builder::new().runtime(&own).start(Counter::default()).unwrap_err();
                    assert!(error.to_string().contains("child of fork"), "{error}");
                    assert!(own.actors().is_empty());
                });
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let own = std::cell::Cell::new(Some(own));
        assert_told("shutdown", PANICKED, || _ = own.take().unwrap().shutdown(Duration::ZERO));
        assert_eq!(counter.send(Add(1)).unwrap(), 1);
    });
    ended.assert_success();
}

#[test]
fn a_child_that_was_forked_while_others_had_the_crates_locks_does_not_hang() {
    let ended = in_a_child(&[], || {
        // What std is asked once in a process (its panic hook) has been asked.
        runtime(1).run(|| ());
        let over = std::sync::atomic::AtomicBool::new(false);
        let is_over = || over.load(std::sync::atomic::Ordering::Relaxed);
        std::thread::scope(|scope| {
            // They take and give remotes, stacks, blocks, slots of descriptors, rings of events.
            for _ in 0..3 {
                scope.spawn(|| {
                    while !is_over() {
                        runtime(1).run(|| {
                            let threads: Vec<_> = (0..100).map(|n| green::spawn(move || n)).collect();
                            threads.into_iter().for_each(|thread| _ = thread.join());
                            connects();
                        });
                    }
                });
            }
            for _ in 0..help::scaled(150) {
                assert_works("a runtime of the child's own", || {
                    let own = runtime(1);
                    let sum = own.run(|| {
                        let threads: Vec<_> = (0..100).map(|n| green::spawn(move || n)).collect();
                        connects();
                        let _ = green::timeout(Duration::ZERO, green::signal::ctrl_c);
                        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>()
                    });
                    assert_eq!(sum, 4950);
                });
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    });
    ended.assert_success();
}

#[test]
fn a_child_makes_a_runtime_though_the_dumps_that_the_variable_asks_for_are_its_parents() {
    let ended = in_a_child(&[("GREEN_DUMP", "quit")], || {
        green::dump::on_signal(libc::SIGUSR2).unwrap();
        let (status, said) = forked(|| assert_eq!(runtime(1).run(|| 5), 5));
        assert_eq!(status, 0, "{said}");
        assert!(said.contains("green: GREEN_DUMP=quit: this process is a child of fork"), "{said}");
        // The parent obeys it.
        drop(runtime(1));
    });
    ended.assert_success();
}
