//! Dead letters: messages that nobody will handle and that nobody could be given back.

#![forbid(unsafe_code)]

use std::sync::Mutex;

use crate::actor::engine::lost;
use crate::actor::{ActorId, Message, Recipient, WeakRecipient};
use crate::base::lock::lock;
use crate::sys::fork::PerProcess;

static SUBSCRIBERS: PerProcess<Mutex<Vec<WeakRecipient<DeadLetter>>>> = PerProcess::new(Mutex::default);

/// Tells of a message that was dropped: its actor ended before it was handled, or a mailbox threw it away.
///
/// Messages that come back to their sender in an error are none. This is itself a message, for those that
/// [`subscribe`](DeadLetters::subscribe).
///
/// ```
/// use green::actor::{Actor, Context, DeadLetter, Handler};
///
/// struct Log;
/// impl Actor for Log {}
/// impl Handler<DeadLetter> for Log {
///     fn handle(&mut self, letter: DeadLetter, _: &mut Context<Self>) {
///         eprintln!("{} was for {:?}", letter.message, letter.actor);
///     }
/// }
/// let log = Log.start(); // as long as it lives
/// green::actor::dead_letters().subscribe(&log.recipient());
/// ```
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The actor that the message was for.
    pub actor: ActorId,
    /// The name of the message's type.
    pub message: &'static str,
}

impl Message for DeadLetter {
    type Reply = ();
}

/// Counts the dead letters of this process, and tells of them: what [`dead_letters`] returns.
///
/// ```
/// let letters: green::actor::DeadLetters = green::actor::dead_letters();
/// println!("{} messages were lost", letters.count());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct DeadLetters {
    _private: (),
}

/// Gives access to the dead letters of this process: their number, and a subscription.
///
/// ```
/// use green::actor::{Actor, Context, Exit, Handler, Message, dead_letters};
///
/// struct Busy;
/// impl Actor for Busy {
///     fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> {
///         green::thread::park();
///         Ok(())
///     }
/// }
/// struct Note;
/// impl Message for Note { type Reply = (); }
/// impl Handler<Note> for Busy {
///     fn handle(&mut self, _: Note, _: &mut Context<Self>) {}
/// }
///
/// let before = dead_letters().count();
/// let busy = Busy.start();
/// busy.tell(Note).unwrap();
/// busy.kill();
/// busy.join();
/// assert!(dead_letters().count() > before);
/// ```
#[must_use]
pub fn dead_letters() -> DeadLetters {
    DeadLetters { _private: () }
}

impl DeadLetters {
    /// Returns how many dead letters there have been since the process began.
    ///
    /// ```
    /// let so_far = green::actor::dead_letters().count();
    /// assert!(green::actor::dead_letters().count() >= so_far);
    /// ```
    #[must_use]
    pub fn count(&self) -> u64 {
        lost::count()
    }

    /// Has `to` told of each dead letter from now on, for as long as it lives and has room in its mailbox.
    ///
    /// The subscription does not keep `to` alive. Dead letters about dead letters are not told.
    ///
    /// ```
    /// use green::actor::{Actor, Context, DeadLetter, Handler, dead_letters};
    ///
    /// struct Log;
    /// impl Actor for Log {}
    /// impl Handler<DeadLetter> for Log {
    ///     fn handle(&mut self, lost: DeadLetter, _: &mut Context<Self>) {
    ///         eprintln!("{} was lost, for {}", lost.message, lost.actor);
    ///     }
    /// }
    /// let log = Log.start();
    /// dead_letters().subscribe(&log.recipient());
    /// ```
    pub fn subscribe(&self, to: &Recipient<DeadLetter>) {
        let mut subscribers = lock(SUBSCRIBERS.get());
        // Held until the lock is free: the last address of an actor may end it.
        let alive: Vec<_> = subscribers.iter().filter_map(WeakRecipient::upgrade).collect();
        *subscribers = alive.iter().chain([to]).map(Recipient::downgrade).collect();
        drop(subscribers);
        lost::report_to(report);
    }
}

/// Tells the subscribers.
fn report(actor: ActorId, message: &'static str) {
    if message == std::any::type_name::<DeadLetter>() {
        return; // A dead letter about a dead letter would go on for ever.
    }
    let subscribers = lock(SUBSCRIBERS.get()).clone();
    for subscriber in subscribers.iter().filter_map(WeakRecipient::upgrade) {
        let _ = subscriber.try_tell(DeadLetter { actor, message });
    }
}
