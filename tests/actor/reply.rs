//! Every ask gets an answer: the reply, the message, or the cause.

use std::time::{Duration, Instant};

use green::actor::{Actor, Addr, Builder, Exit, Mailbox, SendError};

use crate::help::until;
use crate::{Add, Counter, Do, Gate, Get, LONG, Puppet, everywhere, hold};

#[test]
fn a_call_is_answered_later() {
    everywhere(|| {
        let counters: Vec<_> = (0..10).map(|n| Counter(n).start()).collect();
        let pending: Vec<_> = counters.iter().map(|counter| counter.call(Get).unwrap()).collect();
        let sum: i64 = pending.into_iter().map(|reply| reply.wait().unwrap()).sum();
        assert_eq!(sum, 45);
    });
}

#[test]
fn a_message_that_timed_out_comes_back_and_is_never_handled() {
    everywhere(|| {
        let (puppet, lines) = Puppet::new();
        let puppet = puppet.start();
        let gate = hold(&puppet);
        let message = |name: &'static str| Do::new(move |me: &mut Puppet, _: &mut _| me.write(name));
        let soon = Duration::from_millis(2);
        assert!(matches!(puppet.send_timeout(message("ask"), soon), Err(SendError::Timeout(Some(_)))));
        let pending = puppet.call(message("call")).unwrap();
        assert!(matches!(pending.wait_timeout(soon), Err(SendError::Timeout(Some(_)))));
        gate.open();
        puppet.send(message("last")).unwrap();
        assert_eq!(lines.try_recv().unwrap(), "last");
    });
}

/// Asks until the deadline passes while the handler waits. If it passes before, the message comes back.
fn times_out_inside<R: Send + 'static>(puppet: &Addr<Puppet>, mut message: Do<R>) {
    let mut timeout = Duration::from_millis(5);
    loop {
        match puppet.send_timeout(message, timeout) {
            Err(SendError::Timeout(None)) => return,
            Err(SendError::Timeout(Some(back))) => (message, timeout) = (back.into_inner(), timeout * 4),
            _ => panic!("it was answered, or refused"),
        }
    }
}

#[test]
fn a_late_reply_is_dropped_and_reaches_no_other_ask() {
    everywhere(|| {
        let (puppet, _lines) = Puppet::new();
        let puppet = puppet.start();
        let (gate, inside) = (Gate::new(), Gate::new());
        let (until, reached) = (gate.clone(), inside.clone());
        let slow = Do::new(move |_, _| {
            reached.open();
            until.wait();
            1
        });
        times_out_inside(&puppet, slow);
        assert!(inside.is_open());
        let also = puppet.clone();
        let next = green::spawn(move || also.send_timeout(Do::new(|_, _| 2), LONG));
        gate.open();
        assert_eq!(next.join().unwrap().unwrap(), 2);
    });
}

#[test]
fn the_message_of_a_dropped_pending_stays_queued() {
    everywhere(|| {
        let counter = Counter(0).start();
        drop(counter.call(Add(5)).unwrap());
        assert_eq!(counter.send(Get).unwrap(), 5);
    });
}

#[test]
fn the_deadline_is_inherited_down_the_call_chain() {
    everywhere(|| {
        let (slow, _lines) = Puppet::new();
        let slow = slow.start();
        let gate = hold(&slow);
        let (middle, _lines) = Puppet::new();
        let middle = middle.start();
        let start = Instant::now();
        let inner = Do::new(move |_, ctx| {
            assert!(ctx.deadline().is_some_and(|deadline| deadline < start + Duration::from_secs(4)));
            // Its own time-out would be an hour.
            slow.send_timeout(Do::new(|_, _| ()), Duration::from_secs(3600)).is_err()
        });
        let _ = middle.send_timeout(inner, Duration::from_millis(30));
        assert!(middle.send_timeout(Do::new(|_, _| true), LONG).unwrap(), "the inner ask ended by the outer deadline");
        assert!(start.elapsed() < Duration::from_secs(10));
        gate.open();
    });
}

#[test]
fn a_panic_in_a_handler_is_the_answer_with_its_text() {
    everywhere(|| {
        let (puppet, _lines) = Puppet::new();
        let puppet = puppet.start();
        let bang = Do::<i32>::new(|_, _| std::panic::resume_unwind(Box::new(String::from("bang"))));
        match puppet.send(bang) {
            Err(SendError::Died(Exit::Panic(text))) => assert_eq!(text, "bang"),
            other => panic!("{other:?}"),
        }
        assert_eq!(puppet.join(), Exit::Panic("bang".into()));
        assert!(matches!(puppet.send(Do::new(|_, _| 1)), Err(SendError::Closed(_))));
        let call = puppet.call(Do::new(|_, _| 1));
        assert!(matches!(call, Err(SendError::Closed(_))));
    });
}

#[test]
fn what_was_queued_behind_a_panic_comes_back() {
    everywhere(|| {
        let (puppet, _lines) = Puppet::new();
        let puppet = puppet.start();
        let gate = hold(&puppet);
        puppet.tell(Do::new(|_, _| std::panic::resume_unwind(Box::new("bang")))).unwrap();
        let also = puppet.clone();
        let ask = green::spawn(move || also.send_timeout(Do::new(|_, _| 1), LONG));
        let call = puppet.call(Do::new(|_, _| 1)).unwrap();
        while puppet.queued() < 3 {
            green::sleep(Duration::from_micros(100));
        }
        gate.open();
        assert!(matches!(ask.join().unwrap(), Err(SendError::Closed(_))));
        assert!(matches!(call.wait_timeout(LONG), Err(SendError::Closed(_))));
    });
}

#[test]
fn a_failing_reply_kills_nobody() {
    everywhere(|| {
        let (puppet, _lines) = Puppet::new();
        let puppet = puppet.start();
        let failed = puppet.send(Do::new(|_, _| "x".parse::<i32>())).unwrap();
        assert!(failed.is_err());
        assert_eq!(puppet.send(Do::new(|_, _| 3)).unwrap(), 3);
    });
}

#[test]
fn a_reply_that_is_put_off_comes_from_elsewhere() {
    everywhere(|| {
        let (puppet, _lines) = Puppet::new();
        let puppet = puppet.start();
        let later = |n: i32| {
            Do::new(move |_: &mut Puppet, ctx: &mut green::actor::Context<Puppet>| {
                let reply = ctx.defer::<Do<i32>>();
                green::spawn(move || {
                    green::sleep(Duration::from_millis(1));
                    reply.reply(n);
                });
                0
            })
        };
        assert_eq!(puppet.send(later(5)).unwrap(), 5);
        assert_eq!(puppet.call(later(6)).unwrap().wait().unwrap(), 6);
        puppet.tell(later(7)).unwrap();
        // On the spot, and after the asker has gone.
        let now = Do::new(|_, ctx| {
            ctx.defer::<Do<i32>>().reply(8);
            0
        });
        assert_eq!(puppet.send(now).unwrap(), 8);
    });
}

#[test]
fn a_reply_that_is_dropped_unanswered_says_so() {
    everywhere(|| {
        let (puppet, _lines) = Puppet::new();
        let puppet = puppet.start();
        let forget = || {
            Do::new(|_: &mut Puppet, ctx: &mut green::actor::Context<Puppet>| {
                drop(ctx.defer::<Do<i32>>());
                0
            })
        };
        assert!(matches!(puppet.send(forget()), Err(SendError::NoReply)));
        assert!(matches!(puppet.call(forget()).unwrap().wait(), Err(SendError::NoReply)));
    });
}

#[test]
fn a_reply_that_is_put_off_beyond_the_deadline_is_dropped() {
    everywhere(|| {
        let (puppet, _lines) = Puppet::new();
        let puppet = puppet.start();
        let (sender, receiver) = std::sync::mpsc::channel();
        let keep = Do::new(move |_, ctx: &mut green::actor::Context<Puppet>| {
            sender.send(ctx.defer::<Do<i32>>()).unwrap();
            0
        });
        times_out_inside(&puppet, keep);
        receiver.recv().unwrap().reply(9);
        assert_eq!(puppet.send(Do::new(|_, _| 4)).unwrap(), 4);
    });
}

#[test]
fn a_cancelled_asker_leaves_and_the_actor_goes_on() {
    everywhere(|| {
        let (puppet, _lines) = Puppet::new();
        let puppet = Builder::new().mailbox(Mailbox::bounded(1)).start(puppet).unwrap();
        let gate = hold(&puppet);
        let askers: Vec<_> = (0..6)
            .map(|n| {
                let puppet = puppet.clone();
                green::spawn(move || {
                    if n % 2 == 0 {
                        puppet.send(Do::new(|_, _| ())).is_ok()
                    } else {
                        puppet.tell(Do::new(|_, _| ())).is_ok()
                    }
                })
            })
            .collect();
        // One has got the only place: by a tell, which is over, or by an ask.
        let waits =
            |asker: &green::thread::JoinHandle<bool>| asker.is_finished() || asker.thread().waits_for().is_some();
        until(|| askers.iter().all(waits));
        askers.iter().for_each(|asker| asker.cancel());
        let ends = askers.into_iter().map(|asker| asker.join());
        // One of them may have told before it was cancelled.
        assert!(ends.filter(|end| end.as_ref().is_err_and(|payload| payload.is::<green::Cancelled>())).count() >= 5);
        gate.open();
        assert_eq!(puppet.send_timeout(Do::new(|_, _| 4), LONG).unwrap(), 4);
        assert_eq!(puppet.queued(), 0);
    });
}

#[test]
fn a_timeout_around_an_ask_unwinds_the_asker_only() {
    everywhere(|| {
        let (puppet, _lines) = Puppet::new();
        let puppet = puppet.start();
        let gate = hold(&puppet);
        let result = green::timeout(Duration::from_millis(3), || puppet.send(Do::new(|_, _| ())).is_ok());
        assert!(result.is_err());
        gate.open();
        assert_eq!(puppet.send(Do::new(|_, _| 4)).unwrap(), 4);
    });
}

#[test]
fn a_foreign_waker_that_panics_does_not_end_the_actor_that_answers() {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};

    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new("bang"));
        }
    }
    everywhere(|| {
        let puppet = Puppet::new().0.start();
        let gate = hold(&puppet);
        let mut reply = pin!(puppet.call(Do::new(|_, _| 5)).unwrap());
        let waker = Waker::from(Arc::new(Panics));
        assert!(reply.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        gate.open();
        assert_eq!(puppet.send(Do::new(|_, _| 6)).unwrap(), 6);
        assert!(matches!(reply.poll(&mut Context::from_waker(&waker)), Poll::Ready(Ok(5))));
    });
}
