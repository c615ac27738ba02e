//! What a handler can do besides handling.

#![forbid(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use crate::actor::engine::ask::defer;
use crate::actor::engine::cell::{Core, RunState};
use crate::actor::engine::relay::InHand;
use crate::actor::engine::ties::Tie;
use crate::actor::engine::{lifecycle, monitor, silence, tell};
use crate::actor::glue::passed;
use crate::actor::handling::{end_of_stream, route};
use crate::actor::timer::{self, Fired, Timer};
use crate::actor::{
    Actor, ActorId, Addr, Address, Deferred, Exit, Message, MonitorRef, Receives, Recipient, Returned, SendError,
    Signal, WeakAddr,
};
use crate::sys::clock::{NEVER, instant_at, now_ns};

/// Gives a handler access to its own actor: address, end, timers, helper threads, and the message that is being
/// handled.
///
#[doc = include_str!("docs/context.md")]
pub struct Context<A: Actor> {
    pub(crate) inner: RunState,
    _actor: PhantomData<fn(A) -> A>,
}

impl<A: Actor> Context<A> {
    pub(crate) fn new(inner: RunState) -> Self {
        Self { inner, _actor: PhantomData }
    }

    #[inline]
    pub(crate) fn core(&self) -> &Core {
        self.inner.core()
    }

    /// Returns the actor's own address.
    ///
    /// An actor that keeps its own address keeps itself alive, until it is stopped; see [`weak_addr`](Self::weak_addr).
    ///
    #[doc = include_str!("docs/context_addr.md")]
    #[must_use]
    pub fn addr(&self) -> Addr<A> {
        Addr::new(self.core().strong())
    }

    /// Returns the actor's own address, as one that does not keep the actor alive: for its children, for closures, for its own state.
    ///
    #[doc = include_str!("docs/context_weak_addr.md")]
    #[must_use]
    pub fn weak_addr(&self) -> WeakAddr<A> {
        WeakAddr::new(self.core().weak())
    }

    /// Returns the actor's number: the one that [`Addr::id`] returns, too.
    ///
    #[doc = include_str!("docs/context_id.md")]
    #[must_use]
    pub fn id(&self) -> ActorId {
        self.core().id()
    }

    /// Stops the actor in good order: closes the mailbox now, has what is queued handled, then ends the actor.
    ///
    #[doc = include_str!("docs/context_stop.md")]
    pub fn stop(&mut self) {
        self.core().stop(Exit::Normal, lifecycle::DRAIN);
    }

    /// Ends the actor after this handler, for the reason `cause`.
    ///
    #[doc = include_str!("docs/context_fail.md")]
    pub fn fail(&mut self, cause: impl Into<Exit>) {
        self.inner.end.get_or_insert(Box::new(cause.into()));
    }

    /// Returns when the reply to this message is due; `None` if no sender waits for one.
    ///
    #[doc = include_str!("docs/context_deadline.md")]
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let deadline_ns = self.inner.frame().terms().deadline_ns;
        (deadline_ns != NEVER).then(|| instant_at(deadline_ns))
    }

    /// Watches another actor: when `other` ends, this actor's [`Actor::signal`] is called with a [`Signal::Down`].
    ///
    #[doc = include_str!("docs/context_monitor.md")]
    pub fn monitor(&mut self, other: &impl Address) -> MonitorRef {
        monitor::monitor(self.core(), other.core())
    }

    /// Takes a monitor of this actor back.
    ///
    #[doc = include_str!("docs/context_demonitor.md")]
    pub fn demonitor(&mut self, monitor: MonitorRef) {
        monitor::untie(self.core(), Tie::Watches(monitor.0));
    }

    /// Links this actor and `other`: when one of them ends abnormally, the other ends, too.
    ///
    #[doc = include_str!("docs/context_link.md")]
    pub fn link(&mut self, other: &impl Address) {
        monitor::link(self.core(), other.core());
    }

    /// Takes the [`link`](Self::link) with `other` back, in both directions.
    ///
    #[doc = include_str!("docs/context_unlink.md")]
    pub fn unlink(&mut self, other: &impl Address) {
        monitor::untie(self.core(), Tie::Linked(other.core().id().0));
    }

    /// Treats a signal as an actor does that does not override [`Actor::signal`].
    ///
    #[doc = include_str!("docs/context_default_signal.md")]
    pub fn default_signal(&mut self, signal: Signal) {
        match signal {
            Signal::LinkExit { reason, .. } if !reason.is_normal() => self.fail(reason),
            Signal::HelperPanicked { reason } | Signal::StreamEnded { error: Some(reason), .. } => self.fail(reason),
            _ => {}
        }
    }

    /// Sends a message to this actor itself.
    ///
    #[doc = include_str!("docs/context_notify.md")]
    pub fn notify<M: Message>(&mut self, msg: M) -> Result<(), SendError<M>>
    where
        A: Receives<M>,
    {
        tell::notify(self.core(), const { &route::<A, M>() }, msg)
    }

    /// Puts off the reply to the message that is being handled; it is given later, from any thread, by
    /// [`Deferred::reply`].
    ///
    #[doc = include_str!("docs/context_defer.md")]
    #[track_caller]
    pub fn defer<M: Message>(&mut self) -> Deferred<M::Reply> {
        match defer(self.core(), self.inner.frame()) {
            Some(deferred) => deferred,
            None => panic!("the message that is being handled has a reply of another type"),
        }
    }

    /// Has another actor answer in this one's place: the sender of this message gets the reply to `msg`.
    ///
    #[doc = include_str!("docs/context_forward.md")]
    #[track_caller]
    pub fn forward<M: Message>(&mut self, to: &Recipient<M>, msg: M) -> Result<(), SendError<M>> {
        let reply = self.defer::<M>();
        self.forward_reply(to, msg, reply)
    }

    /// Has another actor answer by a right to reply that this one has: the asker gets the reply to `msg`, which is due when that of the
    /// message is that is being handled.
    ///
    #[doc = include_str!("docs/context_forward_reply.md")]
    pub fn forward_reply<M: Message>(
        &mut self,
        to: &Recipient<M>,
        msg: M,
        reply: Deferred<M::Reply>,
    ) -> Result<(), SendError<M>> {
        let (core, route) = to.parts();
        let terms = self.inner.frame().terms();
        tell::forward(core, passed(route.passed, msg, reply, terms))
    }

    /// Puts the message that is being handled aside, with its sender, until [`unstash`](Self::unstash).
    ///
    #[doc = include_str!("docs/context_stash.md")]
    #[track_caller]
    pub fn stash<M: Message>(&mut self, msg: M) -> Result<(), SendError<M>>
    where
        A: Receives<M>,
    {
        if self.core().mailbox.lock().stashed() >= A::STASH {
            return Err(SendError::Full(Returned::new(msg)));
        }
        let (terms, owed) = (self.inner.frame().terms(), self.defer::<M>());
        tell::stash(self.core(), passed(const { route::<A, M>().passed }, msg, owed, terms));
        Ok(())
    }

    /// Has all stashed messages handled next, in their old order, before what is queued.
    ///
    #[doc = include_str!("docs/context_unstash.md")]
    pub fn unstash(&mut self) {
        self.core().mailbox.lock().unstash();
    }

    /// Sends `msg` to this actor when `d` has passed.
    ///
    #[doc = include_str!("docs/context_send_after.md")]
    pub fn send_after<M: Message>(&mut self, d: Duration, msg: M) -> Timer
    where
        A: Receives<M>,
    {
        let mut msg = Some(msg);
        let weak = self.core().weak();
        let timer = timer::start(d, move |timer, _| {
            let Some(taken) = msg.take() else { return Fired::Over };
            timer.sends_last();
            msg = tell::beat(weak.core(), const { &route::<A, M>() }, taken, timer).err();
            if msg.is_some() { Fired::Leaves } else { Fired::Over }
        });
        self.own_timer(timer)
    }

    /// Sends a message to this actor every `period`, for the first time when one has passed.
    ///
    #[doc = include_str!("docs/context_interval.md")]
    #[track_caller]
    pub fn interval<M: Message>(&mut self, period: Duration, make: impl FnMut() -> M + Send + 'static) -> Timer
    where
        A: Receives<M>,
    {
        self.interval_after(period, period, make)
    }

    /// Sends a message to this actor every `period`, for the first time when `first` has passed: at once, if that is zero.
    ///
    #[doc = include_str!("docs/context_interval_after.md")]
    #[track_caller]
    pub fn interval_after<M: Message>(
        &mut self,
        first: Duration,
        period: Duration,
        make: impl FnMut() -> M + Send + 'static,
    ) -> Timer
    where
        A: Receives<M>,
    {
        assert!(!period.is_zero(), "the `period` of an interval must not be zero");
        let (mut make, mut left) = (make, None);
        let weak = self.core().weak();
        let timer = timer::start(first, move |timer, due_ns| {
            let beat = |msg| {
                left = tell::beat(weak.core(), const { &route::<A, M>() }, msg, timer).err();
                left.is_none()
            };
            let goes_on = timer.is_queued() || weak.core().help(&mut make).is_some_and(beat);
            // Beats that are missed altogether are left out.
            if goes_on { Fired::Again(due_ns.saturating_add(nanos(period)).max(now_ns())) } else { Fired::Leaves }
        });
        self.own_timer(timer)
    }

    /// Has the actor told when no message has come for `timeout`.
    #[cold]
    pub(crate) fn expect_messages(&mut self, timeout: Duration) {
        silence::heard(self.core());
        let weak = self.core().weak();
        let timer = timer::start(timeout, move |_, _| Fired::again(silence::look(weak.core(), nanos(timeout))));
        self.own_timer(timer);
    }

    /// Has the timer end with the actor.
    fn own_timer(&mut self, timer: Timer) -> Timer {
        // Without the lock: senders do not wait while a long list is looked through, or what is over is dropped.
        let mut timers = std::mem::take(&mut self.core().mailbox.lock().extras().timers);
        drop(timers.add(timer.clone(), |timer| timer.is_over()));
        self.core().mailbox.lock().extras().timers = timers;
        timer
    }

    /// Spawns a helper: a green thread that is cancelled when the actor ends.
    ///
    #[doc = include_str!("docs/context_spawn.md")]
    pub fn spawn(&mut self, f: impl FnOnce() + Send + 'static) {
        let me = self.core().weak();
        let handle = crate::rt::thread::spawn(move || _ = me.core().help(f));
        let mut helpers = std::mem::take(&mut self.core().mailbox.lock().extras().helpers);
        drop(helpers.add(handle, |helper| helper.is_finished()));
        self.core().mailbox.lock().extras().helpers = helpers;
    }

    /// Takes what `source` gives, a channel's receiver or any iterator, as messages of this actor.
    ///
    #[doc = include_str!("docs/context_attach.md")]
    pub fn attach<S, M: Message>(&mut self, source: S)
    where
        S: IntoIterator<Item = M> + Send + 'static,
        A: Receives<M>,
    {
        self.follow::<M>(move |core, me| source.into_iter().try_for_each(|msg| me.take_in(core, msg)));
    }

    /// Takes what `source` gives as messages of this actor, up to the first error.
    ///
    #[doc = include_str!("docs/context_attach_results.md")]
    pub fn attach_results<S, M: Message, E: Into<Exit>>(&mut self, source: S)
    where
        S: IntoIterator<Item = Result<M, E>> + Send + 'static,
        A: Receives<M>,
    {
        self.follow::<M>(move |core, me| {
            source.into_iter().try_for_each(|item| me.take_in(core, item.map_err(Into::into)?))
        });
    }

    /// Has a helper send this actor `M`s; tells the actor of the end.
    fn follow<M: Message>(&mut self, source: impl FnOnce(&Core, &WeakAddr<A>) -> Result<(), Exit> + Send + 'static)
    where
        A: Receives<M>,
    {
        let me = self.weak_addr();
        let core = self.core().weak();
        self.spawn(move || {
            let error = source(core.core(), &me).err();
            tell::stream_ended::<M>(core.core(), const { &end_of_stream::<A>() }, error);
        });
    }
}

impl<A: Actor> WeakAddr<A> {
    /// Gives the actor, which is `core`, an item of a stream.
    fn take_in<M: Message>(&self, core: &Core, msg: M) -> Result<(), Exit>
    where
        A: Receives<M>,
    {
        let in_hand = InHand::<M>::new(core, core.id(), Deferred::nobody());
        let Some(me) = self.upgrade() else { return Err(Exit::Normal) };
        me.tell(msg).map_err(|error| Exit::Error(error.to_string()))?;
        drop(in_hand.arrived());
        Ok(())
    }
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

impl<A: Actor> fmt::Debug for Context<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Context").field(self.core()).finish()
    }
}
