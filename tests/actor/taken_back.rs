//! What is taken back is gone: its place in the mailbox, its memory.

use std::sync::Arc;
use std::time::Duration;

use green::actor::{Actor, Builder, Context, Handler, Mailbox, Message, SendError};

use crate::help::until_parked;
use crate::{Do, Gate, LONG, Puppet, everywhere, hold};

fn nothing() -> Do<()> {
    Do::new(|_, _| ())
}

#[test]
fn calls_that_were_taken_back_do_not_fill_the_mailbox() {
    everywhere(|| {
        let puppet = Builder::new().mailbox(Mailbox::bounded(4)).start(Puppet::new().0).unwrap();
        let gate = hold(&puppet);
        for _ in 0..40 {
            let taken_back = puppet.call(nothing()).unwrap().wait_timeout(Duration::from_nanos(1));
            assert!(matches!(taken_back, Err(SendError::Timeout(Some(_)))));
            assert_eq!(puppet.queued(), 0);
        }
        // A bound of four takes four.
        (0..4).for_each(|_| puppet.try_tell(nothing()).unwrap());
        assert!(matches!(puppet.try_tell(nothing()), Err(SendError::Full(_))));
        gate.open();
        puppet.send(nothing()).unwrap();
    });
}

#[test]
fn a_call_that_is_taken_back_makes_room_for_a_sender_that_waits() {
    everywhere(|| {
        let puppet = Builder::new().mailbox(Mailbox::bounded(1)).start(Puppet::new().0).unwrap();
        let gate = hold(&puppet);
        let pending = puppet.call(nothing()).unwrap();
        let (told, also) = (Gate::new(), puppet.clone());
        let tell = {
            let told = told.clone();
            green::spawn(move || {
                also.tell(nothing()).unwrap();
                told.open();
            })
        };
        until_parked(tell.thread(), "mailbox");
        assert!(matches!(pending.wait_timeout(Duration::from_nanos(1)), Err(SendError::Timeout(Some(_)))));
        told.wait();
        tell.join().unwrap();
        assert_eq!(puppet.queued(), 1);
        gate.open();
        puppet.send(nothing()).unwrap();
    });
}

#[test]
fn what_stays_keeps_its_order_when_calls_between_are_taken_back() {
    everywhere(|| {
        let (puppet, lines) = Puppet::new();
        let puppet = puppet.start();
        let gate = hold(&puppet);
        let say = |n: i32| Do::new(move |me: &mut Puppet, _: &mut _| me.write(n.to_string()));
        let mut pending: Vec<_> = (0..9).map(|n| Some(puppet.call(say(n)).unwrap())).collect();
        for at in [0, 4, 3, 8] {
            let taken = pending[at].take().unwrap().wait_timeout(Duration::from_nanos(1));
            assert!(matches!(taken, Err(SendError::Timeout(Some(_)))));
        }
        assert_eq!(puppet.queued(), 5);
        gate.open();
        pending.into_iter().flatten().for_each(|reply| reply.wait_timeout(LONG).unwrap());
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), ["1", "2", "5", "6", "7"]);
    });
}

/// An actor whose handler waits, and a message that is counted.
struct Stuck(Gate);
impl Actor for Stuck {
    const MAILBOX: Mailbox = Mailbox::unbounded();
}
struct Counted {
    _count: Arc<()>,
}
impl Message for Counted {
    type Reply = ();
}
impl Handler<Counted> for Stuck {
    fn handle(&mut self, _: Counted, _: &mut Context<Self>) {
        self.0.wait();
    }
}

#[test]
fn the_memory_of_a_call_that_was_taken_back_is_free_at_once() {
    everywhere(|| {
        let (gate, count) = (Gate::new(), Arc::new(()));
        let stuck = Stuck(gate.clone()).start();
        let message = || Counted { _count: Arc::clone(&count) };
        stuck.tell(message()).unwrap();
        for _ in 0..1000 {
            drop(stuck.call(message()).unwrap().wait_timeout(Duration::from_nanos(1)));
            assert!(Arc::strong_count(&count) <= 2);
        }
        assert!(stuck.queued() <= 1);
        gate.open();
    });
}

#[test]
fn a_call_that_is_taken_back_while_it_is_taken_up_is_handled_once_or_never() {
    everywhere(|| {
        let (puppet, lines) = Puppet::new();
        let puppet = puppet.start();
        let mut given_back = 0;
        for round in 0..300 {
            let pending = puppet.call(Do::new(|me: &mut Puppet, _: &mut _| me.write("handled"))).unwrap();
            let patience = Duration::from_nanos(1 + round * 40);
            given_back += usize::from(matches!(pending.wait_timeout(patience), Err(SendError::Timeout(Some(_)))));
        }
        puppet.send(nothing()).unwrap();
        assert_eq!(given_back + lines.try_iter().count(), 300);
        assert_eq!(puppet.queued(), 0);
    });
}
