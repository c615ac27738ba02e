//! What its users make of an actor: the state, and what it does with messages.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::actor::engine::cell::Plan;
use crate::actor::glue::start;
use crate::actor::{Addr, Context, Exit, Mailbox, Message, Signal};
use crate::rt::runtime::with_shared;
use crate::sched::Shared;

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
    /// If there is no memory for it, or the default runtime cannot start; [`Builder::start`](crate::actor::Builder::start) gives an error instead.
    fn start(self) -> Addr<Self> {
        let plan = |shared: &Shared| Plan { name: None, size: shared.stack_size, mailbox: Self::MAILBOX };
        match with_shared(|shared| start(shared, plan(shared), self)) {
            Ok(strong) => Addr::new(strong),
            Err(error) => panic!("failed to start an actor: {error}"),
        }
    }
}

/// An actor that takes messages of type `M`.
pub trait Handler<M: Message>: Actor {
    /// Handles one message. Plain blocking code: it may sleep, lock, read a socket, or ask another actor and wait for the
    /// answer. No other message of this actor is handled meanwhile.
    ///
    /// A panic ends the actor; the asker gets [`SendError::Died`].
    fn handle(&mut self, msg: M, ctx: &mut Context<Self>) -> M::Reply;
}
