#![doc = include_str!("README.md")]

// Floor 10.
mod addr;
mod builder;
mod context;
mod exit;
mod letters;
mod name;
mod promise;
mod raw;
#[cfg(all(test, not(miri)))]
mod tests;
mod timer;
mod watch;

use std::time::Duration;

pub use addr::{Addr, Recipient, WeakAddr, WeakRecipient};
pub use builder::Builder;
pub use context::{Context, Reenter};
pub use exit::{ActorId, Down, Exit, JoinError, Mailbox, MonitorRef, Overflow, SendError, Signal};
pub use letters::{DeadLetter, DeadLetters, dead_letters};
pub use name::{Name, NameTaken};
pub use promise::{Deferred, Pending};
pub use timer::Timer;

#[doc = include_str!("MIGRATING.md")]
pub mod migrating {
    #[allow(unused_imports, reason = "for the links of the page")]
    use super::*;
}

/// A value that handles messages, one at a time.
///
/// ```
/// use green::actor::{Actor, Context, Handler, Message};
///
/// struct Counter(i64);
/// impl Actor for Counter {}
///
/// struct Add(i64);
/// impl Message for Add { type Reply = (); }
/// struct Get;
/// impl Message for Get { type Reply = i64; }
///
/// impl Handler<Add> for Counter {
///     fn handle(&mut self, m: Add, _: &mut Context<Self>) { self.0 += m.0 }
/// }
/// impl Handler<Get> for Counter {
///     fn handle(&mut self, _: Get, _: &mut Context<Self>) -> i64 { self.0 }
/// }
///
/// let counter = Counter(0).start();
/// counter.tell(Add(5)).unwrap();
/// assert_eq!(counter.send(Get).unwrap(), 5);
/// ```
pub trait Actor: Sized + Send + 'static {
    /// How many messages may wait.
    const MAILBOX: Mailbox = Mailbox::bounded(256);

    /// How long a `send` to this actor waits for the reply, and a `tell` of another actor for room.
    const ASK_TIMEOUT: Duration = Duration::from_secs(5);

    /// Called first, on the actor's own green thread. It may wait; messages queue meanwhile.
    ///
    /// # Errors
    ///
    /// Ends the actor with that cause: what is queued goes back, `stopping` is not called.
    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
        let _ = ctx;
        Ok(())
    }

    /// Called for what the system tells, ahead of messages: the end of actors that are monitored or linked, a panic of a
    /// helper thread; and, among the messages, the end of a stream that is attached. If this is not overridden, the abnormal
    /// end of a linked actor, or a panic of a helper, ends this one: [`Context::default_signal`].
    fn signal(&mut self, signal: Signal, ctx: &mut Context<Self>) {
        ctx.default_signal(signal);
    }

    /// Called last, however the actor ends, if `started` has succeeded. The mailbox is closed, and what was queued has gone
    /// back. It is not interrupted by a kill; a [`timeout`](crate::timeout) in it works. A panic in it changes nothing.
    fn stopping(&mut self, why: &Exit, ctx: &mut Context<Self>) {
        let _ = (why, ctx);
    }

    /// Starts the actor, in the caller's runtime or the default one. Does not wait for `started`.
    ///
    /// # Panics
    ///
    /// If there is no memory for it, or the default runtime cannot start; [`Builder::start`] gives an error instead.
    fn start(self) -> Addr<Self> {
        Builder::new().start(self).unwrap_or_else(|error| panic!("failed to start an actor: {error}"))
    }
}

/// What can be sent: a type with the type of its reply.
///
/// Both travel by value. A send moves its message once, to the heap (an ask with its reply of up to 1 KiB stays on the asker's
/// stack), and the handler gets it once, as its argument. What a large one takes of a sender's stack is what the sender's own
/// frame has of it, and as much again for the result, in which it may come back. A default stack of 256 KiB is enough for a
/// message of 100 KiB and a reply of 48 KiB in a release build, for 16 KiB each without optimisation, where the compiler copies
/// at every step; what is larger goes in a [`Box`].
pub trait Message: Send + 'static {
    /// What the handler returns.
    type Reply: Send + 'static;
}

/// An actor that takes messages of type `M`.
pub trait Handler<M: Message>: Actor {
    /// Handles one message. Plain blocking code: it may sleep, lock, read a socket, or ask another actor and wait for the
    /// answer. No other message of this actor is handled meanwhile.
    ///
    /// A panic ends the actor; the asker gets [`SendError::Died`].
    fn handle(&mut self, msg: M, ctx: &mut Context<Self>) -> M::Reply;
}
