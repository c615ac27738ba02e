//! Calls whose reply nobody awaits: what becomes of their messages when their actor ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use green::actor::{Actor, Context, DeadLetter, Handler, Mailbox, Message, Recipient, SendError, dead_letters};

use crate::{Puppet, everywhere, hold};

/// A reader reads the dead letters of the whole process: one scenario at a time.
static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// Counts the dead letters that are notes.
struct Reader(usize);
impl Actor for Reader {
    const MAILBOX: Mailbox = Mailbox::unbounded();
}
impl Handler<DeadLetter> for Reader {
    fn handle(&mut self, letter: DeadLetter, _: &mut Context<Self>) {
        self.0 += usize::from(letter.message == std::any::type_name::<Note>());
    }
}
struct Read;
impl Message for Read {
    type Reply = usize;
}
impl Handler<Read> for Reader {
    fn handle(&mut self, _: Read, _: &mut Context<Self>) -> usize {
        std::mem::take(&mut self.0)
    }
}

/// What becomes of a note that the puppet is called with.
#[derive(Clone)]
enum Way {
    Queued,
    Stashed,
    Forwarded(Recipient<Note>),
}

/// Counts when it is dropped.
struct Note {
    dropped: Arc<AtomicUsize>,
    way: Way,
}
impl Message for Note {
    type Reply = ();
}
impl Drop for Note {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}
impl Handler<Note> for Puppet {
    fn handle(&mut self, note: Note, ctx: &mut Context<Self>) {
        match note.way.clone() {
            Way::Queued => {}
            Way::Stashed => ctx.stash(note).unwrap(),
            Way::Forwarded(to) => ctx.forward(&to, note).unwrap(),
        }
    }
}

/// Its asker goes when it was refused already, without a look.
#[test]
fn a_call_that_was_refused_before_its_reply_was_given_up_is_a_dead_letter_too() {
    let _one = ONE.lock();
    let reader = Reader(0).start();
    dead_letters().subscribe(&reader.recipient());
    let puppet = Puppet::new().0.start();
    let gate = hold(&puppet);
    let dropped = Arc::new(AtomicUsize::new(0));
    let pending = puppet.call(Note { dropped: Arc::clone(&dropped), way: Way::Queued }).unwrap();
    puppet.kill();
    puppet.join();
    assert_eq!(reader.send(Read).unwrap(), 0);
    drop(pending);
    assert_eq!((dropped.load(Ordering::Relaxed), reader.send(Read).unwrap()), (1, 1));
    drop(gate);
}

struct Nothing;
impl Message for Nothing {
    type Reply = ();
}
impl Handler<Nothing> for Puppet {
    fn handle(&mut self, _: Nothing, _: &mut Context<Self>) {}
}

/// It was dropped in silence.
#[test]
fn a_call_whose_reply_nobody_awaits_is_a_dead_letter_when_its_actor_ends() {
    everywhere(|| {
        let _one = ONE.lock();
        let reader = Reader(0).start();
        dead_letters().subscribe(&reader.recipient());
        let end = Puppet::new().0.start();
        let ways = [Way::Queued, Way::Stashed, Way::Forwarded(end.recipient())];
        for (number, way) in ways.into_iter().enumerate() {
            let puppet = Puppet::new().0.start();
            let is_queued = matches!(way, Way::Queued);
            let last = if matches!(way, Way::Forwarded(_)) { &end } else { &puppet };
            let gate = (is_queued || last == &end).then(|| hold(last));
            let dropped = Arc::new(AtomicUsize::new(0));
            let call = || puppet.call(Note { dropped: Arc::clone(&dropped), way: way.clone() }).unwrap();
            let awaited = call();
            drop(call());
            if !is_queued {
                puppet.send(Nothing).unwrap();
            }
            assert_eq!(dropped.load(Ordering::Relaxed), 0, "way {number}");
            last.kill();
            last.join();
            assert_eq!(reader.send(Read).unwrap(), 1, "way {number}");
            let refused = awaited.wait();
            assert!(matches!(refused, Err(SendError::Closed(_) | SendError::Died(_))), "way {number}: {refused:?}");
            drop(refused);
            assert_eq!((dropped.load(Ordering::Relaxed), reader.send(Read).unwrap()), (2, 0), "way {number}");
            drop(gate);
        }
    });
}
