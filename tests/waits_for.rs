//! `Thread::waits_for`: each kind of wait has its name.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use green::actor::{Actor, Context, Handler, Message};
use green::sync::{Barrier, Condvar, Mutex, Once, RwLock, Semaphore, WaitGroup};
use green::thread::Thread;
use help::{Flag, bounded, everywhere, runtime, until, until_parked};

const LONG: Duration = Duration::from_secs(600);

/// Spawns `f`, sees that it comes to wait for `what`, and ends it by a cancel.
#[track_caller]
fn waits_for(what: &'static str, f: impl FnOnce() + Send + 'static) {
    let thread = green::spawn(f);
    until_parked(thread.thread(), what);
    thread.cancel();
    assert!(thread.join().unwrap_err().is::<green::Cancelled>(), "{what}");
}

#[test]
fn each_wait_of_threads_time_and_channels_has_a_name() {
    everywhere(|| {
        waits_for("park", green::thread::park);
        waits_for("sleep", || green::sleep(LONG));
        waits_for("join", || drop(green::spawn(|| green::sleep(LONG)).join()));
        waits_for("future", || green::block_on(std::future::pending()));
        let (sender, receiver) = green::channel::bounded::<u32>(1);
        let empty = receiver.clone();
        waits_for("channel receive", move || _ = empty.recv());
        let empty = receiver.clone();
        waits_for("select", move || {
            let mut select = green::channel::Select::new();
            select.recv(&empty);
            let _ = select.ready();
        });
        sender.send(1).unwrap();
        waits_for("channel send", move || _ = sender.send(2));
        drop(receiver);
    });
}

#[test]
fn each_wait_of_the_locks_has_a_name() {
    everywhere(|| {
        let mutex = Arc::new(Mutex::new(()));
        let guard = mutex.lock().unwrap();
        let locked = mutex.clone();
        waits_for("mutex", move || drop(locked.lock()));
        drop(guard);
        waits_for("condvar", move || drop(Condvar::new().wait(mutex.lock().unwrap())));

        let lock = Arc::new(RwLock::new(()));
        let guard = lock.read().unwrap();
        let locked = lock.clone();
        waits_for("rwlock", move || drop(locked.write()));
        drop(guard);

        waits_for("semaphore", || drop(Semaphore::new(0).acquire()));
        waits_for("once", || Once::new().wait());
        waits_for("barrier", || _ = Barrier::new(2).wait());
        let group = WaitGroup::new();
        let member = group.clone();
        waits_for("wait group", move || group.wait());
        drop(member);
    });
}

#[test]
fn waits_for_the_system_have_names() {
    everywhere(|| {
        let listener = green::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = green::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let peer = listener.accept().unwrap();
        waits_for("readable", move || drop(listener.accept()));
        waits_for("readable", move || drop(stream.read(&mut [0])));
        drop(peer);
        waits_for("ctrl-c", || drop(green::signal::ctrl_c()));
        let open = Arc::new(Flag::new());
        let gate = open.clone();
        let thread = green::spawn(move || green::blocking(move || gate.wait()));
        until_parked(thread.thread(), "blocking");
        open.set();
        assert!(thread.join().is_ok());
    });
}

#[test]
fn a_scope_that_waits_for_its_threads_says_so() {
    everywhere(|| {
        let open = Flag::new();
        green::scope(|s| {
            let outer = s.spawn(|| green::scope(|inner| drop(inner.spawn(|| open.wait()))));
            until_parked(outer.thread(), "scope");
            open.set();
        });
    });
}

#[test]
fn waits_for_an_actor_have_names() {
    struct Holds(Arc<Flag>);
    impl Actor for Holds {}
    struct Hold;
    impl Message for Hold {
        type Reply = ();
    }
    impl Handler<Hold> for Holds {
        fn handle(&mut self, _: Hold, _: &mut Context<Self>) {
            self.0.wait();
        }
    }
    everywhere(|| {
        let open = Arc::new(Flag::new());
        let mailbox = green::actor::Mailbox::bounded(1);
        let actor = green::actor::Builder::new().mailbox(mailbox).start(Holds(open.clone())).unwrap();
        actor.tell(Hold).unwrap();
        until(|| actor.queued() == 0);
        let asked = actor.clone();
        waits_for("reply", move || drop(asked.send(Hold)));
        let full = actor.clone();
        waits_for("mailbox", move || while full.tell(Hold).is_ok() {});
        let joined = actor.clone();
        waits_for("actor's end", move || drop(joined.join()));
        open.set();
    });
}

#[test]
fn a_thread_that_runs_is_ready_has_not_started_or_has_ended_waits_for_nothing() {
    bounded(|| {
        runtime(1).run(|| {
            assert_eq!(green::thread::current().waits_for(), None);
            let parks = green::spawn(green::thread::park);
            let thread = parks.thread().clone();
            assert_eq!(thread.waits_for(), None, "it has not started");
            until_parked(&thread, "park");
            thread.unpark();
            assert_eq!(thread.waits_for(), None, "it is ready, and this is the only worker");
            parks.join().unwrap();
            assert_eq!(thread.waits_for(), None, "it has ended");
        });
    });
}

#[test]
fn an_os_thread_tells_what_it_waits_for_in_calls_of_the_crate() {
    bounded(|| {
        let (sender, handle) = std::sync::mpsc::channel::<Thread>();
        let os = std::thread::spawn(move || {
            sender.send(green::thread::current()).unwrap();
            green::thread::park();
            assert_eq!(green::thread::current().waits_for(), None);
        });
        let thread = handle.recv().unwrap();
        until_parked(&thread, "park");
        thread.unpark();
        os.join().unwrap();
        assert_eq!(thread.waits_for(), None);
    });
}
