//! What its users make of an actor: the state, and what it does with messages.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::actor::engine::cell::Plan;
use crate::actor::glue::start;
use crate::actor::{Addr, Context, Exit, Mailbox, Message, Signal};
use crate::rt::runtime::with_shared;
use crate::sched::Shared;

/// Holds state and handles messages, one at a time.
///
/// A type becomes an actor by this trait, and takes the messages for which it implements [`Handler`].
/// [`start`](Self::start) moves the value into a cell of its own, and from then on only its handlers touch it.
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
    /// How many messages may wait, and what happens to one more: by default 256, and then senders wait. See
    /// [`Mailbox`].
    const MAILBOX: Mailbox = Mailbox::bounded(256);

    /// How long a [`send`](Addr::send) to this actor waits for the reply, and a [`tell`](Addr::tell) of another actor
    /// for room: by default five seconds.
    const ASK_TIMEOUT: Duration = Duration::from_secs(5);

    /// Starts the actor in the caller's runtime, or the default one, and returns its address. Does not wait for
    /// `started`.
    ///
    /// For a name, a mailbox, a stack size or another runtime: [`Builder`](crate::actor::Builder).
    ///
    /// ```
    /// # use green::actor::{Actor, Exit};
    /// struct Idle;
    /// impl Actor for Idle {}
    /// let idle = Idle.start();
    /// idle.stop();
    /// assert_eq!(idle.join(), Exit::Shutdown);
    /// ```
    ///
    /// # Panics
    ///
    /// If there is no memory for it, or the default runtime cannot start; [`Builder::start`](crate::actor::Builder::start) returns an error instead.
    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
        let _ = ctx;
        Ok(())
    }

    /// Handles what the system tells: the end of a monitored or linked actor, a panic of a helper thread, the end of an
    /// attached stream.
    ///
    /// Signals come ahead of messages, and take turns with them: after each signal one message is handled, if one
    /// waits. [`Signal::StreamEnded`] comes after the messages of its stream. If this is not overridden, the abnormal end
    /// of a linked actor or a panic of a helper ends this actor: [`Context::default_signal`]. Examples are at
    /// [`Context::monitor`] and [`Context::spawn`].
    fn signal(&mut self, signal: Signal, ctx: &mut Context<Self>) {
        ctx.default_signal(signal);
    }

    /// Cleans up: called last, however the actor ends, if `started` has succeeded.
    ///
    /// The mailbox is closed, and what was queued has gone back. A kill does not interrupt this; a
    /// [`timeout`](crate::timeout) in it works. A panic in it does not change the exit.
    ///
    /// ```
    /// use green::actor::{Actor, Context, Exit};
    ///
    /// struct Writer(green::channel::Sender<Exit>);
    /// impl Actor for Writer {
    ///     fn stopping(&mut self, why: &Exit, _: &mut Context<Self>) {
    ///         self.0.send(why.clone()).unwrap();
    ///     }
    /// }
    /// let (sender, last) = green::channel::bounded(1);
    /// Writer(sender).start().stop();
    /// assert_eq!(last.recv(), Ok(Exit::Shutdown));
    /// ```
    fn stopping(&mut self, why: &Exit, ctx: &mut Context<Self>) {
        let _ = (why, ctx);
    }

    /// Starts the actor, in the caller's runtime or the default one. Does not wait for `started`.
    ///
    /// # Panics
    ///
    /// If there is no memory for it, or the default runtime cannot start; [`Builder::start`](crate::actor::Builder::start) gives an error instead.
    fn start(self) -> Addr<Self> {
        let plan = |shared: &Shared| Plan {
            name: None,
            size: shared.stack_size,
            mailbox: Self::MAILBOX,
            thread_locals: shared.thread_locals,
        };
        match with_shared(|shared| start(shared, plan(shared), self)) {
            Ok(strong) => Addr::new(strong),
            Err(error) => panic!("failed to start an actor: {error}"),
        }
    }
}

/// Handles messages of type `M`: an actor implements it once for each type of message that it takes.
///
/// ```
/// use green::actor::{Actor, Context, Handler, Message};
///
/// struct Get;
/// impl Message for Get { type Reply = u32; }
/// struct Set(u32);
/// impl Message for Set { type Reply = (); }
///
/// struct Register(u32);
/// impl Actor for Register {}
/// impl Handler<Get> for Register {
///     fn handle(&mut self, _: Get, _: &mut Context<Self>) -> u32 { self.0 }
/// }
/// impl Handler<Set> for Register {
///     fn handle(&mut self, m: Set, _: &mut Context<Self>) { self.0 = m.0 }
/// }
/// let register = Register(1).start();
/// register.send(Set(2)).unwrap();
/// assert_eq!(register.send(Get).unwrap(), 2);
/// ```
///
/// It takes no other messages: the compiler says so.
///
/// ```compile_fail
/// # use green::actor::{Actor, Message};
/// # struct Register;
/// # impl Actor for Register {}
/// struct Clear;
/// impl Message for Clear { type Reply = (); }
/// Register.start().tell(Clear).unwrap(); // no `Handler<Clear>`
/// ```
pub trait Handler<M: Message>: Actor {
    /// Handles one message and returns the reply.
    ///
    /// This is plain blocking code: it may sleep, lock, read a socket, or ask another actor and wait for the answer. No
    /// other message of this actor is handled meanwhile. A message that was told has no asker, and its reply is
    /// dropped.
    ///
    /// ```
    /// use green::actor::{Actor, Addr, Context, Handler, Message};
    ///
    /// struct Rate;
    /// impl Message for Rate { type Reply = f64; }
    /// struct Bank;
    /// impl Actor for Bank {}
    /// impl Handler<Rate> for Bank {
    ///     fn handle(&mut self, _: Rate, _: &mut Context<Self>) -> f64 { 1.25 }
    /// }
    ///
    /// struct Convert(f64);
    /// impl Message for Convert { type Reply = f64; }
    /// struct Desk { bank: Addr<Bank> }
    /// impl Actor for Desk {}
    /// impl Handler<Convert> for Desk {
    ///     fn handle(&mut self, m: Convert, _: &mut Context<Self>) -> f64 {
    ///         m.0 * self.bank.send(Rate).unwrap() // waits
    ///     }
    /// }
    /// assert_eq!(Desk { bank: Bank.start() }.start().send(Convert(2.0)).unwrap(), 2.5);
    /// ```
    ///
    /// # Panics
    ///
    /// A panic ends the actor: the asker gets [`SendError::Died`](crate::actor::SendError::Died), queued messages go back, links and monitors are
    /// told.
    fn handle(&mut self, msg: M, ctx: &mut Context<Self>) -> M::Reply;
}
