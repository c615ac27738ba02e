//! State machines: actors whose messages are handled by state, with `gen_statem`'s time-outs and postponed messages.

#![forbid(unsafe_code)]

use std::any::type_name;
use std::fmt;
use std::time::Duration;

use crate::actor::engine::lost::lost;
use crate::actor::{Actor, Context, Exit, Handler, Mailbox, Message, Signal, Timer};

/// Says what an actor does by the state that it is in: as a rule an enum. It is started in a [`Machine`].
///
#[doc = include_str!("docs/state_machine.md")]
pub trait StateMachine: Sized + Send + 'static {
    /// The states.
    type State: PartialEq + Send;

    /// That of the [`Machine`]: [`Actor::MAILBOX`].
    const MAILBOX: Mailbox = Mailbox::bounded(256);

    /// That of the [`Machine`]: [`Actor::ASK_TIMEOUT`].
    const ASK_TIMEOUT: Duration = Duration::from_secs(5);

    /// How many messages may be postponed: by default 256. One more is dropped: if it was told, it is a [dead
    /// letter](crate::actor::dead_letters); an asker gets [`SendError::NoReply`](crate::actor::SendError::NoReply).
    const POSTPONED: usize = 256;

    /// That of the [`Machine`]: [`Actor::TRAPS_EXITS`].
    const TRAPS_EXITS: bool = false;

    /// That of the [`Machine`]: [`Actor::RECEIVE_TIMEOUT`].
    const RECEIVE_TIMEOUT: Option<Duration> = None;

    /// The machine has entered `state`: the first one at its start, then each that differs from the one before. `Some`: how long it may
    /// stay there, before [`timed_out`](Self::timed_out) is called.
    ///
    /// A change of the state takes the time-out back, also one that is due already.
    fn enter(&mut self, state: &Self::State, ctx: &mut Context<Machine<Self>>) -> Option<Duration> {
        let _ = (state, ctx);
        None
    }

    /// The time that [`enter`](Self::enter) has given for `state` is over: returns the state that follows. If that is the same one, there is no
    /// further time-out.
    fn timed_out(&mut self, state: &Self::State, ctx: &mut Context<Machine<Self>>) -> Self::State;

    /// As [`Actor::signal`].
    fn signal(&mut self, signal: Signal, ctx: &mut Context<Machine<Self>>) {
        ctx.default_signal(signal);
    }

    /// As [`Actor::stopping`], in the state that the machine is in.
    fn stopping(&mut self, state: &Self::State, why: &Exit, ctx: &mut Context<Machine<Self>>) {
        let _ = (state, why, ctx);
    }
}

#[diagnostic::on_unimplemented(
    message = "state machines of type `{Self}` do not handle messages of type `{M}`",
    label = "`{Self}` has no `On<{M}>`",
    note = "write `impl On<{M}> for {Self}`"
)]
/// Handles messages of type `M` in each state: what [`Handler`] is for other actors.
///
/// ```
/// use green::actor::{Actor, Context, Machine, Step, On, StateMachine, messages};
///
/// messages! { struct Push -> u32; }
///
/// struct Switch { pushed: u32 }
/// impl StateMachine for Switch {
///     type State = bool;
///     fn timed_out(&mut self, on: &bool, _: &mut Context<Machine<Self>>) -> bool { *on }
/// }
/// impl On<Push> for Switch {
///     fn on(&mut self, on: &bool, _: Push, _: &mut Context<Machine<Self>>) -> Step<bool, Push> {
///         self.pushed += 1;
///         Step::Go(!on, self.pushed)
///     }
/// }
/// let switch = Machine::new(false, Switch { pushed: 0 }).start();
/// assert_eq!(switch.send(Push).unwrap(), 1);
/// ```
pub trait On<M: Message>: StateMachine {
    /// Handles one message in `state`, and says what follows. Plain blocking code, as a handler's is.
    fn on(&mut self, state: &Self::State, msg: M, ctx: &mut Context<Machine<Self>>) -> Step<Self::State, M>;
}

/// Says what follows a message of type `M`: what [`On::on`] returns.
///
/// ```
/// use green::actor::{Step, messages};
/// messages! { struct Coin(u32) -> &'static str; }
/// let thanks: Step<&str, Coin> = Step::Go("unlocked", "thank you");
/// let later: Step<&str, Coin> = Step::Postpone(Coin(5));
/// # let _ = (thanks, later);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step<S, M: Message> {
    /// The state stays, with its time-out; this is the reply.
    Stay(M::Reply),
    /// This state follows, with this reply. If it is another one, the time-out is taken back, [`enter`](StateMachine::enter) is called, and what was
    /// postponed is handled next, in its old order, before what is queued. The same one: as `Stay`.
    Go(S, M::Reply),
    /// The state is left and entered anew, with all that this brings, though it is the same.
    Again(M::Reply),
    /// The message is handled when the state has changed. Its asker waits on, until its own deadline.
    Postpone(M),
}

/// The actor that a [`StateMachine`] runs in.
///
/// ```
/// # use green::actor::{Actor, Addr, Context, Machine, Step, On, StateMachine, messages};
/// # messages! { struct Push; }
/// # struct Switch;
/// # impl StateMachine for Switch {
/// #     type State = bool;
/// #     fn timed_out(&mut self, on: &bool, _: &mut Context<Machine<Self>>) -> bool { *on }
/// # }
/// # impl On<Push> for Switch {
/// #     fn on(&mut self, on: &bool, _: Push, _: &mut Context<Machine<Self>>) -> Step<bool, Push> { Step::Go(!on, ()) }
/// # }
/// let switch: Addr<Machine<Switch>> = Machine::new(false, Switch).start();
/// switch.send(Push).unwrap();
/// ```
pub struct Machine<S: StateMachine> {
    state: S::State,
    data: S,
    limit: Option<Timer>,
}

impl<S: StateMachine> Machine<S> {
    /// Makes a machine that begins in `state`. It is started as any actor.
    ///
    /// ```
    /// # use green::actor::{Actor, Context, Exit, Machine, StateMachine};
    /// # use std::time::Duration;
    /// /// Ends by itself after a while.
    /// struct Fuse;
    /// impl StateMachine for Fuse {
    ///     type State = bool;
    ///     fn enter(&mut self, burns: &bool, ctx: &mut Context<Machine<Self>>) -> Option<Duration> {
    ///         if !burns { ctx.stop() }
    ///         Some(Duration::from_millis(1))
    ///     }
    ///     fn timed_out(&mut self, _: &bool, _: &mut Context<Machine<Self>>) -> bool { false }
    /// }
    /// assert_eq!(Machine::new(true, Fuse).start().join(), Exit::Normal);
    /// ```
    pub fn new(state: S::State, data: S) -> Self {
        Self { state, data, limit: None }
    }

    fn enter(&mut self, ctx: &mut Context<Self>) {
        if let Some(limit) = self.limit.take() {
            limit.cancel();
        }
        let limit = self.data.enter(&self.state, ctx);
        self.limit = limit.map(|limit| ctx.send_after(limit, StateElapsed));
    }

    fn follow<M: Message>(&mut self, next: Step<S::State, M>, ctx: &mut Context<Self>) -> Option<M::Reply>
    where
        S: On<M>,
    {
        let reply = match next {
            Step::Postpone(msg) => {
                if ctx.stash(msg).is_err() {
                    let reply = ctx.defer::<M>();
                    if reply.is_awaited() {
                        reply.note_lost(ctx.id());
                    } else {
                        lost(ctx.id(), type_name::<M>());
                    }
                }
                return None;
            }
            Step::Stay(reply) => return Some(reply),
            Step::Go(state, reply) if state == self.state => return Some(reply),
            Step::Go(state, reply) => {
                self.state = state;
                reply
            }
            Step::Again(reply) => reply,
        };
        self.enter(ctx);
        ctx.unstash();
        Some(reply)
    }
}

/// The time for the state is over.
#[derive(Debug)]
struct StateElapsed;

impl Message for StateElapsed {
    type Reply = ();
}

impl<S: StateMachine> On<StateElapsed> for S {
    fn on(&mut self, state: &S::State, _: StateElapsed, ctx: &mut Context<Machine<S>>) -> Step<S::State, StateElapsed> {
        Step::Go(self.timed_out(state, ctx), ())
    }
}

impl<S: StateMachine> Actor for Machine<S> {
    const MAILBOX: Mailbox = S::MAILBOX;
    const ASK_TIMEOUT: Duration = S::ASK_TIMEOUT;
    const STASH: usize = S::POSTPONED;
    const TRAPS_EXITS: bool = S::TRAPS_EXITS;
    const RECEIVE_TIMEOUT: Option<Duration> = S::RECEIVE_TIMEOUT;

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
        self.enter(ctx);
        Ok(())
    }

    fn signal(&mut self, signal: Signal, ctx: &mut Context<Self>) {
        self.data.signal(signal, ctx);
    }

    fn stopping(&mut self, why: &Exit, ctx: &mut Context<Self>) {
        self.data.stopping(&self.state, why, ctx);
    }
}

impl<S: On<M>, M: Message> Handler<M> for Machine<S> {
    fn handle(&mut self, _: M, _: &mut Context<Self>) -> M::Reply {
        unreachable!("a message may be postponed")
    }

    fn __handle<T>(
        &mut self,
        msg: impl FnOnce() -> M,
        ctx: &mut Context<Self>,
        pass_on: impl FnOnce(M::Reply) -> T,
    ) -> Option<T> {
        let next = self.data.on(&self.state, msg(), ctx);
        self.follow(next, ctx).map(pass_on)
    }
}

impl<S: StateMachine> fmt::Debug for Machine<S>
where
    S::State: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("of", &type_name::<S>()).field("state", &self.state).finish_non_exhaustive()
    }
}
