//! What its users make of an actor: the state, and what it does with messages.

#![forbid(unsafe_code)]

use std::panic::Location;
use std::time::Duration;

use crate::actor::engine::cell::Plan;
use crate::actor::glue::start;
use crate::actor::{Addr, Context, Deferred, Exit, Mailbox, Message, Signal};
use crate::rt::default::with_shared;
use crate::sched::Shared;
use crate::sched::switched::Begins;

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

    /// How many messages may be [put aside](Context::stash): by default 256.
    const STASH: usize = 256;

    /// After how long without a message [`signal`](Self::signal) gets a [`Signal::ReceiveTimeout`], and again after each further
    /// so long: by default never.
    ///
    /// The time begins when the last message has been handled, or with the end of `started`. Messages of the actor's own timers and
    /// signals do not count. A time of zero is a compile error where the actor is started.
    ///
    /// ```
    /// use green::actor::{Actor, Context, Exit, Signal};
    /// use std::time::Duration;
    ///
    /// struct Session;
    /// impl Actor for Session {
    ///     const RECEIVE_TIMEOUT: Option<Duration> = Some(Duration::from_millis(5));
    ///
    ///     fn signal(&mut self, signal: Signal, ctx: &mut Context<Self>) {
    ///         match signal {
    ///             Signal::ReceiveTimeout => ctx.stop(),
    ///             other => ctx.default_signal(other),
    ///         }
    ///     }
    /// }
    /// assert_eq!(Session.start().join(), Exit::Normal);
    /// ```
    const RECEIVE_TIMEOUT: Option<Duration> = None;

    /// Whether [`signal`](Self::signal) is asked when a linked actor has ended or a helper thread has panicked: by default it is not,
    /// and an abnormal end of either ends this actor, whatever `signal` does with the rest.
    ///
    /// So who handles [`Signal::Down`] cannot switch links off by accident. `true` is OTP's `trap_exit`: the actor survives, unless its
    /// `signal` says otherwise.
    ///
    /// ```
    /// use green::actor::{Actor, Addr, Context, Exit, Signal};
    /// # struct Engine;
    /// # impl Actor for Engine {}
    ///
    /// struct Car { engine: Addr<Engine>, ends: green::channel::Sender<Exit> }
    /// impl Actor for Car {
    ///     const TRAPS_EXITS: bool = true;
    ///
    ///     fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
    ///         ctx.link(&self.engine);
    ///         Ok(())
    ///     }
    ///     fn signal(&mut self, signal: Signal, _: &mut Context<Self>) {
    ///         if let Signal::LinkExit { reason, .. } = signal {
    ///             self.ends.send(reason).unwrap(); // It rolls on.
    ///         }
    ///     }
    /// }
    /// let (ends, seen) = green::channel::unbounded();
    /// let engine = Engine.start();
    /// let car = Car { engine: engine.clone(), ends }.start();
    /// engine.kill();
    /// assert_eq!(seen.recv(), Ok(Exit::Killed));
    /// assert!(!car.is_ended());
    /// ```
    const TRAPS_EXITS: bool = false;

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
    /// waits. [`Signal::StreamEnded`] comes after the messages of its stream. Ends of linked actors and panics of helpers come here
    /// only if [`TRAPS_EXITS`](Self::TRAPS_EXITS) says so; if not, an abnormal one ends this actor, and a normal one is not told.
    /// What is not overridden does [`Context::default_signal`]. Examples are at [`Context::monitor`] and [`Context::spawn`].
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
    #[track_caller]
    fn start(self) -> Addr<Self> {
        let started_at = Location::caller();
        let plan = |shared: &Shared| {
            let (size, begins) = Begins::plainly(shared);
            Plan { name: None, size, mailbox: Self::MAILBOX, begins, started_at }
        };
        match with_shared(|shared| start(shared, plan(shared), self)) {
            Ok(strong) => Addr::new(strong),
            Err(error) => panic!("failed to start an actor: {error}"),
        }
    }
}

// As `Receives` has it: of the workers of a pool the compiler names this one.
#[diagnostic::on_unimplemented(
    message = "actors of type `{Self}` do not handle messages of type `{M}`",
    label = "`{Self}` has no `Handler<{M}>`",
    note = "write `impl Handler<{M}> for {Self}`, or the message in `messages! {{ impl {Self} {{ .. }} }}`"
)]
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
/// It takes no other messages: the compiler says so, and names the two.
///
/// ```compile_fail,E0277
/// # use green::actor::{Actor, Message};
/// # struct Register;
/// # impl Actor for Register {}
/// struct Clear;
/// impl Message for Clear { type Reply = (); }
/// Register.start().tell(Clear).unwrap(); // actors of type `Register` do not handle messages of type `Clear`
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

    /// [`Receives::__run`], for a generic actor of this crate: beside its own `Receives` there could be a `Handler` somewhere.
    #[doc(hidden)]
    #[inline(always)]
    fn __handle<T>(
        &mut self,
        msg: impl FnOnce() -> M,
        ctx: &mut Context<Self>,
        pass_on: impl FnOnce(M::Reply) -> T,
    ) -> Option<T> {
        Some(pass_on(self.handle(msg(), ctx)))
    }
}

#[diagnostic::on_unimplemented(
    message = "actors of type `{Self}` do not handle messages of type `{M}`",
    label = "`{Self}` has no `Handler<{M}>`",
    note = "write `impl Handler<{M}> for {Self}`, or the message in `messages! {{ impl {Self} {{ .. }} }}`"
)]
/// Takes messages of type `M`: what an address asks of its actor. Each [`Handler`] does.
///
/// An actor implements it itself, and not `Handler`, for messages whose reply it gives by hand: it gets the right to reply as an
/// argument, and nothing is returned. It may reply at once, later, from elsewhere ([`Deferred`]), or have another actor do it
/// ([`Context::forward_reply`]). This costs an allocation for each ask.
///
/// ```
/// use green::actor::{Actor, Context, Deferred, Message, Receives, messages};
///
/// /// A gate: those that wait for it are answered when it opens.
/// #[derive(Default)]
/// struct Gate { waiting: Vec<Deferred<u32>> }
/// impl Actor for Gate {}
///
/// struct Wait;
/// impl Message for Wait { type Reply = u32; }
/// impl Receives<Wait> for Gate {
///     fn receive(&mut self, _: Wait, reply: Deferred<u32>, _: &mut Context<Self>) { self.waiting.push(reply) }
/// }
/// messages! {
///     impl Gate {
///         fn Open(&mut self) { self.waiting.drain(..).for_each(|waiting| waiting.reply(7)) }
///     }
/// }
///
/// let gate = Gate::default().start();
/// let pending = gate.call(Wait).unwrap();
/// gate.tell(Open).unwrap();
/// assert_eq!(pending.wait().unwrap(), 7);
/// ```
pub trait Receives<M: Message>: Actor {
    /// Handles one message; `reply` is the right to answer it. A message that was told has no asker, and its reply goes nowhere.
    ///
    /// # Panics
    ///
    /// A panic ends the actor, as one of [`Handler::handle`] does. The asker gets the cause, unless it has its reply.
    fn receive(&mut self, msg: M, reply: Deferred<M::Reply>, ctx: &mut Context<Self>);

    /// Handles one message as its actor does, and passes the reply on. `None`: the actor has the right to reply.
    #[doc(hidden)]
    #[inline(always)]
    fn __run<T>(
        &mut self,
        msg: impl FnOnce() -> M,
        ctx: &mut Context<Self>,
        pass_on: impl FnOnce(M::Reply) -> T,
    ) -> Option<T> {
        let _ = pass_on;
        let reply = ctx.defer::<M>();
        self.receive(msg(), reply, ctx);
        None
    }
}

impl<A: Actor, M: HandledBy<A>> Receives<M> for A {
    fn receive(&mut self, msg: M, reply: Deferred<M::Reply>, ctx: &mut Context<Self>) {
        let _ = M::__handled(self, || msg, ctx, |answer| reply.reply(answer));
    }

    #[inline(always)]
    fn __run<T>(
        &mut self,
        msg: impl FnOnce() -> M,
        ctx: &mut Context<Self>,
        pass_on: impl FnOnce(M::Reply) -> T,
    ) -> Option<T> {
        M::__handled(self, msg, ctx, pass_on)
    }
}

/// [`Handler`], seen from the message. The compiler decides nothing of a type that it does not know yet, so before it names a missing handler it looks at the
/// argument of `tell`: of the type of an actor alone it would say that there is none for messages of type `_`.
#[doc(hidden)]
pub trait HandledBy<A: Actor>: Message {
    fn __handled<T>(
        actor: &mut A,
        msg: impl FnOnce() -> Self,
        ctx: &mut Context<A>,
        pass_on: impl FnOnce(Self::Reply) -> T,
    ) -> Option<T>;
}

impl<A: Handler<M>, M: Message> HandledBy<A> for M {
    #[inline(always)]
    fn __handled<T>(
        actor: &mut A,
        msg: impl FnOnce() -> M,
        ctx: &mut Context<A>,
        pass_on: impl FnOnce(M::Reply) -> T,
    ) -> Option<T> {
        actor.__handle(msg, ctx, pass_on)
    }
}
