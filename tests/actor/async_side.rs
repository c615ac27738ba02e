//! Async code that sends to actors whose mailboxes are full: it waits, its executor does not.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use green::actor::{Actor, Addr, AnyPending, Builder, Mailbox, Overflow, SendError, messages, testkit, wait_any};
use green::time::now;

use crate::help::{bounded, until_parked};
use crate::{Do, Gate, LONG, Puppet, everywhere, hold};

fn tokio() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

fn full() -> (Addr<Puppet>, std::sync::mpsc::Receiver<String>, Gate) {
    let (puppet, lines) = Puppet::new();
    let puppet = Builder::new().mailbox(Mailbox::bounded(1)).start(puppet).unwrap();
    let gate = hold(&puppet);
    puppet.try_tell(say("first")).unwrap();
    (puppet, lines, gate)
}

fn say(line: impl Into<String>) -> Do<u32> {
    let line = line.into();
    Do::new(move |me: &mut Puppet, _: &mut _| {
        me.write(line);
        7
    })
}

#[test]
fn a_call_to_a_full_mailbox_lets_the_other_tasks_of_a_single_threaded_executor_run() {
    bounded(|| {
        let (puppet, lines, gate) = full();
        tokio().block_on(async {
            let called = puppet.call_async(say("called"));
            let told = puppet.tell_async(say("told"));
            // The very task that makes room runs on the same thread.
            let opens = tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                gate.open();
            });
            let (reply, told) = futures::join!(async { called.await?.await }, told);
            assert_eq!(reply.unwrap(), 7);
            told.unwrap();
            opens.await.unwrap();
        });
        puppet.send(say("last")).unwrap();
        // In the order in which they were first polled.
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), ["first", "called", "told", "last"]);
    });
}

#[test]
fn a_future_that_is_dropped_while_it_waits_for_room_has_sent_nothing() {
    bounded(|| {
        let (puppet, lines, gate) = full();
        tokio().block_on(async {
            let soon = Duration::from_millis(2);
            assert!(tokio::time::timeout(soon, puppet.call_async(say("called"))).await.is_err());
            assert!(tokio::time::timeout(soon, puppet.tell_async(say("told"))).await.is_err());
            drop(puppet.call_async(say("never polled")));
            // Room that comes to nobody is not lost: the next has it.
            let mut waits = Box::pin(puppet.recipient::<Do<u32>>().call_async(say("dropped with its room")));
            assert!(tokio::time::timeout(soon, &mut waits).await.is_err());
            let next = puppet.tell_async(say("next"));
            gate.open();
            let deadline = std::time::Instant::now() + LONG;
            // Nobody polls it, so only the actor lets it in.
            while lines.try_iter().filter(|line| line == "first").count() == 0 {
                assert!(std::time::Instant::now() < deadline);
                std::thread::yield_now();
            }
            drop(waits);
            next.await.unwrap();
        });
        puppet.send(say("last")).unwrap();
        let lines: Vec<_> = lines.try_iter().filter(|line| !line.starts_with("dropped")).collect();
        assert_eq!(lines, ["next", "last"]);
        assert_eq!(puppet.queued(), 0);
    });
}

#[test]
fn futures_that_wait_for_room_are_told_that_the_actor_ends() {
    bounded(|| {
        let (puppet, _lines, gate) = full();
        tokio().block_on(async {
            let kills = puppet.clone();
            let kill = tokio::spawn(async move { kills.kill() });
            let (called, told) = futures::join!(puppet.call_async(say("called")), puppet.tell_async(say("told")));
            assert!(matches!(called, Err(SendError::Closed(_))));
            assert!(matches!(told, Err(SendError::Closed(_))));
            kill.await.unwrap();
        });
        gate.open();
    });
}

#[test]
fn a_call_that_must_not_wait_says_that_the_mailbox_is_full() {
    everywhere(|| {
        let (puppet, _lines, gate) = full();
        assert!(matches!(puppet.try_call(say("called")), Err(SendError::Full(_))));
        assert!(matches!(puppet.recipient().try_call(say("called")), Err(SendError::Full(_))));
        assert_eq!(puppet.queued(), 1);
        gate.open();
        puppet.send(say("last")).unwrap();
        assert_eq!(puppet.try_call(say("called")).unwrap().wait().unwrap(), 7);
        puppet.kill();
        puppet.join();
        assert!(matches!(puppet.try_call(say("called")), Err(SendError::Closed(_))));
    });
}

#[test]
fn what_a_mailbox_does_when_it_is_full_it_does_to_futures_too() {
    everywhere(|| {
        for overflow in [Overflow::Reject, Overflow::DropNewest, Overflow::DropOldest] {
            let mailbox = Mailbox::bounded(1).overflow(overflow);
            let puppet = Builder::new().mailbox(mailbox).start(Puppet::new().0).unwrap();
            let gate = hold(&puppet);
            puppet.tell(say("first")).unwrap();
            let told = green::block_on(puppet.tell_async(say("told")));
            let called = green::block_on(puppet.call_async(say("called")));
            match overflow {
                Overflow::Reject => {
                    assert!(matches!((told, &called), (Err(SendError::Full(_)), Err(SendError::Full(_)))))
                }
                Overflow::DropNewest => assert!(matches!((told, &called), (Ok(()), Err(SendError::Full(_))))),
                _ => assert!(matches!((told, &called), (Ok(()), Ok(_)))),
            }
            gate.open();
            puppet.stop();
            puppet.join();
            if let Ok(called) = called {
                assert_eq!(called.wait().unwrap(), 7);
            }
        }
    });
}

/// Counts how often a future is told to look again.
#[derive(Default)]
struct Wakes(AtomicUsize);
impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_thread_and_a_future_that_wait_for_room_come_in_turn() {
    everywhere(|| {
        let (puppet, lines, gate) = full();
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        let mut future = pin!(puppet.call_async(say("future")));
        assert!(future.as_mut().poll(&mut cx).is_pending());
        let mut second = pin!(puppet.tell_async(say("second")));
        assert!(second.as_mut().poll(&mut cx).is_pending());
        let also = puppet.clone();
        let thread = green::spawn(move || also.tell(say("thread")).unwrap());
        gate.open();
        thread.join().unwrap();
        puppet.send(say("last")).unwrap();
        let Poll::Ready(Ok(reply)) = future.poll(&mut cx) else { panic!("it was let in") };
        assert_eq!(reply.wait().unwrap(), 7);
        assert!(second.poll(&mut cx).is_ready());
        assert!(wakes.0.load(Ordering::SeqCst) >= 2);
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), ["first", "future", "second", "thread", "last"]);
    });
}

#[test]
fn a_call_that_is_awaited_ends_with_its_deadline() {
    bounded(|| {
        let (puppet, log, gate) = full();
        gate.open();
        assert_eq!(crate::next(&log), "first");
        let gate = hold(&puppet);
        let called = puppet.call(say("late")).unwrap().within(Duration::from_millis(5));
        let Err(SendError::Timeout(Some(_))) = futures::executor::block_on(called) else {
            panic!("it was not handled")
        };
        assert_eq!(puppet.queued(), 0, "it was taken back");
        // Without a deadline of its own, by tokio, on another thread of whose the actor has no part.
        let soon = tokio().block_on(async {
            let called = puppet.call_async(say("soon")).await.unwrap();
            let mut called = std::pin::pin!(called);
            let early = tokio::time::timeout(Duration::from_millis(5), called.as_mut()).await;
            assert!(early.is_err());
            gate.open();
            called.await
        });
        assert_eq!(soon.unwrap(), 7);
        let in_time = puppet.call(say("in time")).unwrap().within(LONG);
        assert_eq!(futures::executor::block_on(in_time).unwrap(), 7);
    });
}

/// Sleeps for as long as it is told, and has little time to answer.
struct Short;
impl Actor for Short {
    const ASK_TIMEOUT: Duration = Duration::from_millis(50);
}
/// Has much.
struct Patient;
impl Actor for Patient {
    const ASK_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
}
messages! {
    impl Short {
        fn Sleep(&mut self, d: Duration) { green::sleep(d) }
    }
    impl Patient {
        fn Rest(&mut self) { green::sleep(HOUR) }
    }
}

const HOUR: Duration = Duration::from_secs(3600);

/// It was so long, in virtual time.
#[track_caller]
fn assert_passed(passed: Duration, d: Duration) {
    assert!(passed >= d && passed < d + Duration::from_millis(1), "{passed:?}, not {d:?}");
}

#[test]
fn a_call_that_is_awaited_ends_with_the_time_out_of_its_target() {
    testkit::run(|| {
        let short = Short.start();
        let in_time = Duration::from_millis(40);
        let start = now();
        green::block_on(short.call(Sleep(in_time)).unwrap()).unwrap();
        assert_passed(now() - start, in_time);
        // It is being handled, so its message does not come back.
        let start = now();
        let late = green::block_on(short.call(Sleep(HOUR)).unwrap());
        assert!(matches!(late, Err(SendError::Timeout(None))), "{late:?}");
        assert_passed(now() - start, Short::ASK_TIMEOUT);
        // That of one that waits behind it does.
        let start = now();
        let queued = green::block_on(short.call(Sleep(in_time)).unwrap());
        assert!(matches!(queued, Err(SendError::Timeout(Some(_)))), "{queued:?}");
        assert_passed(now() - start, Short::ASK_TIMEOUT);
        short.kill();
    });
    // By an executor that is not green's, in real time.
    bounded(|| {
        let short = Short.start();
        let start = Instant::now();
        let late = futures::executor::block_on(short.call(Sleep(HOUR)).unwrap());
        assert!(matches!(late, Err(SendError::Timeout(_))), "{late:?}");
        assert!(start.elapsed() >= Short::ASK_TIMEOUT, "{:?}", start.elapsed());
        short.kill();
    });
}

#[test]
fn a_call_that_is_awaited_ends_with_the_deadline_that_its_caller_inherits() {
    testkit::run(|| {
        let (middle, patient) = (Puppet::new().0.start(), Patient.start());
        let asks = patient.clone();
        let (told, saw) = std::sync::mpsc::channel();
        let awaits = Do::new(move |_, _| {
            let start = now();
            let late = green::block_on(asks.call(Rest).unwrap());
            told.send((now() - start, matches!(late, Err(SendError::Timeout(None))))).unwrap();
        });
        let asked = middle.send_timeout(awaits, Duration::from_secs(60));
        assert!(matches!(asked, Err(SendError::Timeout(None))));
        middle.send(Do::new(|_, _| ())).unwrap();
        let (passed, is_late) = saw.try_recv().unwrap();
        assert!(is_late);
        assert_passed(passed, Duration::from_secs(60));
        patient.kill();
    });
}

#[test]
fn of_several_replies_the_first_is_found() {
    everywhere(|| {
        let puppets = [(); 3].map(|()| Puppet::new().0.start());
        let gates: Vec<_> = puppets.iter().map(hold).collect();
        let mut pending: Vec<_> = puppets.iter().map(|puppet| puppet.call(say("one")).unwrap().within(LONG)).collect();
        assert!(!pending.iter().any(|one| one.is_ready()));
        let opened = gates[1].clone();
        let opens = green::spawn(move || opened.open());
        assert_eq!(wait_any(&pending), 1);
        assert_eq!(pending.remove(1).wait().unwrap(), 7);
        opens.join().unwrap();

        puppets[2].kill();
        let (first, last) = (&pending[0], &pending[1]);
        let both: [&dyn AnyPending; 2] = [first, last];
        assert_eq!(wait_any(&both), 1);
        assert!(matches!(pending.remove(1).wait(), Err(SendError::Closed(_))));

        let short = puppets[0].call(say("never")).unwrap().within(Duration::from_millis(2));
        pending.push(short);
        assert_eq!(wait_any(&pending), 1);
        assert!(matches!(pending.remove(1).wait(), Err(SendError::Timeout(Some(_)))));
        gates[0].open();
        assert_eq!(wait_any(&pending), 0);
        assert!(pending[0].is_ready());
    });
}

/// The second took the place of the first, which was not woken.
#[test]
fn all_that_wait_for_one_of_the_same_replies_are_woken() {
    everywhere(|| {
        let puppet = Puppet::new().0.start();
        let gate = hold(&puppet);
        let pending = Arc::new([puppet.call(say("one")).unwrap().within(HOUR)]);
        let waits = [(); 3].map(|()| {
            let pending = Arc::clone(&pending);
            let waits = green::spawn(move || wait_any(&pending[..]));
            until_parked(waits.thread(), "reply");
            waits
        });
        let [cancelled, one, two] = waits;
        cancelled.cancel();
        assert!(cancelled.join().is_err());
        gate.open();
        assert_eq!((one.join().unwrap(), two.join().unwrap()), (0, 0));
    });
}
