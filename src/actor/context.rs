//! What a handler can do besides handling.

#![forbid(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::actor::promise::Nested;
use crate::actor::raw::cell::{Core, Inner, Weak, run_admitted};
use crate::actor::raw::envelope::route;
use crate::actor::raw::frame::defer;
use crate::actor::raw::mail::Nudge;
use crate::actor::raw::parcel::Parcel;
use crate::actor::raw::post::{Asking, Origin};
use crate::actor::raw::posted::Posted;
use crate::actor::raw::ties::Tie;
use crate::actor::raw::{lifecycle, post};
use crate::actor::timer::{self, Timer};
use crate::actor::{
    Actor, ActorId, Addr, Deferred, Exit, Handler, Message, MonitorRef, Recipient, SendError, Signal, watch,
};
use crate::base::atomic::{AtomicU32, Ordering};
use crate::sys::clock::{NEVER, instant_at};

/// Gives a handler access to its own actor: address, end, timers, helper threads, and the message that is being
/// handled.
///
#[doc = include_str!("docs/context.md")]
pub struct Context<A: Actor> {
    pub(crate) inner: Inner,
    _actor: PhantomData<fn(A) -> A>,
}

impl<A: Actor> Context<A> {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner, _actor: PhantomData }
    }

    #[inline]
    pub(crate) fn core(&self) -> &Core {
        self.inner.core()
    }

    #[inline]
    pub(crate) fn take_end(&mut self) -> Option<Box<Exit>> {
        self.inner.end.take()
    }

    /// Returns the actor's own address.
    ///
    /// An actor that keeps its own address keeps itself alive, until it is stopped; see [`Addr::downgrade`].
    ///
    #[doc = include_str!("docs/context_addr.md")]
    #[must_use]
    pub fn addr(&self) -> Addr<A> {
        Addr::new(self.core().strong())
    }

    /// Returns the actor's number: the one that [`Addr::id`] returns, too.
    #[must_use]
    pub fn id(&self) -> ActorId {
        self.core().id()
    }

    /// Stops the actor in good order: closes the mailbox now, has what is queued handled, then ends the actor.
    ///
    /// What has not been handled after five seconds goes back to its senders, as with [`Addr::stop`]; but the exit is
    /// [`Exit::Normal`]. This handler goes on to its end, and its reply is sent. An example is on the page of
    /// [`Context`].
    pub fn stop(&mut self) {
        lifecycle::stop(self.core(), Exit::Normal, lifecycle::DRAIN);
    }

    /// Ends the actor after this handler, for the reason `cause`.
    ///
    #[doc = include_str!("docs/fail.md")]
    pub fn fail(&mut self, cause: impl Into<Exit>) {
        self.inner.end.get_or_insert(Box::new(cause.into()));
    }

    /// Returns when the reply to this message is due; `None` if no sender waits for one.
    ///
    #[doc = include_str!("docs/deadline.md")]
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let deadline_ns = self.inner.frame().deadline_ns.get();
        (deadline_ns != NEVER).then(|| instant_at(deadline_ns))
    }

    /// Watches another actor: when `other` ends, this actor's [`Actor::signal`] is called with a [`Signal::Down`].
    ///
    #[doc = include_str!("docs/monitor.md")]
    pub fn monitor<B: Actor>(&mut self, other: &Addr<B>) -> MonitorRef {
        watch::monitor(self.core(), other.core())
    }

    /// Takes a monitor of this actor back.
    ///
    #[doc = include_str!("docs/demonitor.md")]
    pub fn demonitor(&mut self, monitor: MonitorRef) {
        watch::untie(self.core(), Tie::Watches(monitor.0));
    }

    /// Links this actor and `other`: when one of them ends abnormally, the other ends, too.
    ///
    #[doc = include_str!("docs/link.md")]
    pub fn link<B: Actor>(&mut self, other: &Addr<B>) {
        watch::link(self.core(), other.core());
    }

    /// Takes the [`link`](Self::link) with `other` back, in both directions.
    ///
    #[doc = include_str!("docs/unlink.md")]
    pub fn unlink<B: Actor>(&mut self, other: &Addr<B>) {
        watch::untie(self.core(), Tie::Linked(other.id().0));
    }

    /// Treats a signal as an actor does that does not override [`Actor::signal`].
    ///
    /// The abnormal end of a linked actor ends this one for the same reason, and so does a panic of a helper thread;
    /// the rest is ignored. An actor that treats some signals itself calls this for the others; an example is at
    /// [`spawn`](Self::spawn).
    pub fn default_signal(&mut self, signal: Signal) {
        match signal {
            Signal::LinkExit { reason, .. } if !reason.is_normal() => self.fail(reason),
            Signal::HelperPanicked { reason } => self.fail(reason),
            _ => {}
        }
    }

    /// Sends a message to this actor itself.
    ///
    /// The message queues behind the others, but beyond the mailbox's capacity, so this never waits; a `tell` to
    /// oneself would wait for room that nobody can make. An example is on the page of [`Context`].
    ///
    /// # Errors
    ///
    /// `Closed(M)`: the actor is stopping.
    pub fn notify<M: Message>(&mut self, msg: M) -> Result<(), SendError<M>>
    where
        A: Handler<M>,
    {
        post::notify(self.core(), const { &route::<A, M>() }, msg, false)
    }

    /// Puts off the reply to the message that is being handled; it is given later, from any thread, by
    /// [`Deferred::reply`].
    ///
    #[doc = include_str!("docs/defer.md")]
    #[track_caller]
    pub fn defer<M: Message>(&mut self) -> Deferred<M::Reply> {
        match defer(self.core(), self.inner.frame()) {
            Some(deferred) => deferred,
            None => panic!("the message that is being handled has a reply of another type"),
        }
    }

    /// Has another actor answer in this one's place: the sender of this message gets the reply to `msg`.
    ///
    #[doc = include_str!("docs/forward.md")]
    #[track_caller]
    pub fn forward<M: Message>(&mut self, to: &Recipient<M>, msg: M) -> Result<(), SendError<M>> {
        let frame = self.inner.frame();
        let (deadline_ns, chain) = (frame.deadline_ns.get(), frame.chain.get());
        let reply = self.defer::<M>();
        to.pass(msg, reply, deadline_ns, chain)
    }

    /// Puts the message that is being handled aside, with its sender, until [`unstash`](Self::unstash).
    ///
    #[doc = include_str!("docs/stash.md")]
    #[track_caller]
    pub fn stash<M: Message>(&mut self, msg: M)
    where
        A: Handler<M>,
    {
        let frame = self.inner.frame();
        let (deadline_ns, chain) = (frame.deadline_ns.get(), frame.chain.get());
        let reply = self.defer::<M>();
        let reply = reply.is_awaited().then_some(reply);
        post::stash(self.core(), const { &route::<A, M>() }, msg, reply, deadline_ns, chain);
    }

    /// Has all stashed messages handled next, in their old order, before what is queued.
    ///
    /// An example is at [`stash`](Self::stash).
    pub fn unstash(&mut self) {
        self.core().mail.lock().unstash();
    }

    /// Sends `msg` to this actor when `d` has passed.
    ///
    #[doc = include_str!("docs/send_after.md")]
    pub fn send_after<M: Message>(&mut self, d: Duration, msg: M) -> Timer
    where
        A: Handler<M>,
    {
        let mut msg = Some(msg);
        let weak = self.core().weak();
        let timer = timer::start(d, None, move || {
            let Some(msg) = msg.take() else { return false };
            let _ = post::notify(weak.core(), const { &route::<A, M>() }, msg, true);
            false
        });
        self.own_timer(timer)
    }

    /// Sends a message to this actor every `period`, for the first time when one has passed.
    ///
    #[doc = include_str!("docs/interval.md")]
    #[track_caller]
    pub fn interval<M: Message>(&mut self, period: Duration, make: impl FnMut() -> M + Send + 'static) -> Timer
    where
        A: Handler<M>,
    {
        assert!(!period.is_zero(), "the `period` of an interval must not be zero");
        let mut make = make;
        let weak = self.core().weak();
        let queued = Arc::new(AtomicU32::new(0));
        let timer = timer::start(period, Some(period), move || {
            // ORDERING: Acquire pairs with the Release of the handling run.
            let queues = queued.load(Ordering::Acquire) != 0;
            queues || post::beat(weak.core(), const { &route::<A, M>() }, make(), &queued)
        });
        self.own_timer(timer)
    }

    /// Has the timer end with the actor.
    fn own_timer(&mut self, timer: Timer) -> Timer {
        // Without the lock: senders do not wait while a long list is looked through, or what is over is dropped.
        let mut timers = std::mem::take(&mut self.core().mail.lock().extras().timers);
        drop(timers.add(timer.clone(), |timer| timer.is_over()));
        self.core().mail.lock().extras().timers = timers;
        timer
    }

    /// Spawns a helper: a green thread that is cancelled when the actor ends.
    ///
    #[doc = include_str!("docs/spawn.md")]
    pub fn spawn(&mut self, f: impl FnOnce() + Send + 'static) {
        let me = self.core().weak();
        let handle = crate::rt::thread::spawn(move || me.core().help(f));
        let mut helpers = std::mem::take(&mut self.core().mail.lock().extras().helpers);
        drop(helpers.add(handle, |helper| helper.is_finished()));
        self.core().mail.lock().extras().helpers = helpers;
    }

    /// Takes what `source` gives, a channel's receiver or any iterator, as messages of this actor.
    ///
    #[doc = include_str!("docs/attach.md")]
    pub fn attach<S, M: Message>(&mut self, source: S)
    where
        S: IntoIterator<Item = M> + Send + 'static,
        A: Handler<M>,
    {
        let me = self.addr().downgrade();
        let core = self.core().weak();
        self.spawn(move || {
            for msg in source {
                let Some(me) = me.upgrade() else { return };
                if me.tell(msg).is_err() {
                    break;
                }
            }
            post::stream_ended::<A, M>(core.core());
        });
    }
}

impl<A: Actor> Context<A> {
    /// Lends `&mut self` for one ask, so that messages that come back because of this ask are handled meanwhile.
    ///
    #[doc = include_str!("docs/reenter.md")]
    pub fn reenter<'a>(&'a mut self, me: &'a mut A) -> Reenter<'a, A> {
        Reenter { ctx: self, me }
    }
}

/// Sends messages while the actor is lent: what [`Context::reenter`] returns, where the example is.
pub struct Reenter<'a, A: Actor> {
    ctx: &'a mut Context<A>,
    me: &'a mut A,
}

impl<A: Actor> Reenter<'_, A> {
    /// Sends a message to `to` and waits for the reply; messages of this call chain that come back here are handled
    /// meanwhile.
    ///
    /// Deadline, order and cancellation are those of [`Addr::send`].
    ///
    /// # Errors
    ///
    /// Those of [`Addr::send`]; `Deadlock` also if the chain has come back here too often ([`Context::reenter`]).
    pub fn send<B: Handler<M>, M: Message>(&mut self, to: &Addr<B>, msg: M) -> Result<M::Reply, SendError<M>> {
        let (core, route) = (to.core(), const { &route::<B, M>() });
        match self.origin(core, route.ask_timeout) {
            Ok(origin) => self.ask(core, Posted::new(route.call, core, msg, origin), origin),
            Err(cycle) => Err(SendError::Deadlock { msg: Some(msg), cycle }),
        }
    }

    /// Sends a message to a [`Recipient`] and waits for the reply; messages of this call chain that come back here are
    /// handled meanwhile.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub fn send_to<M: Message>(&mut self, to: &Recipient<M>, msg: M) -> Result<M::Reply, SendError<M>> {
        let (core, route) = to.parts();
        match self.origin(core, route.ask_timeout) {
            Ok(origin) => self.ask(core, Posted::new(route.call, core, msg, origin), origin),
            Err(cycle) => Err(SendError::Deadlock { msg: Some(msg), cycle }),
        }
    }

    /// Half of the stack: what runs on top of this handler needs some, and nobody knows how much. Where the run began, there the
    /// context is.
    fn has_stack_left(&self) -> bool {
        let here = 0_u8;
        let used = std::ptr::from_ref(&*self.ctx).addr().abs_diff(std::ptr::from_ref(&here).addr());
        cfg!(green_backend = "threads") || used < self.ctx.core().stack_bytes() / 2
    }

    /// Makes this the head of a chain, if it is in none. An error: the chain has come back here too often.
    #[inline(never)]
    fn origin(&mut self, to: &Core, ask_timeout: Duration) -> Result<Origin, Vec<ActorId>> {
        let frame = self.ctx.inner.frame();
        // This handler was let in itself: the chain has come back here before.
        if !self.has_stack_left() && self.ctx.core().mail.lock().admits(frame.chain.get()) {
            return Err(vec![self.ctx.id(), to.id()]);
        }
        if frame.chain.get() == 0 {
            frame.chain.set(crate::park::os::fresh_ids(1));
        }
        Ok(Origin::here(ask_timeout))
    }

    #[inline(never)]
    fn ask<M: Message>(
        &mut self,
        to: &Core,
        (posted, parcel): (Arc<Posted<M>>, Parcel),
        origin: Origin,
    ) -> Result<M::Reply, SendError<M>> {
        let chain = self.ctx.inner.frame().chain.get();
        let let_in = LetIn::new(self.ctx.core(), chain);
        let asking = Asking::new(posted);
        let posted = asking.posted();
        if let Err(why) = post::begin(to, posted, parcel, origin) {
            return posted.unpack(Err(why));
        }
        let_in.announce_to(Arc::clone(posted) as _);
        loop {
            let core = self.ctx.core();
            let admitted = || core.mail.lock().has_admitted();
            match posted.promise().wait_nested(posted.promise().deadline_ns(), chain, admitted) {
                Nested::Answer(answer) => return posted.unpack(answer),
                Nested::Admitted => while run_admitted(self.me, self.ctx) {},
            }
        }
    }
}

/// While this lives, an actor lets messages of a chain in; also if the wait is left by unwinding, what was before is put back.
struct LetIn {
    core: Weak,
    chain: u64,
    before: (u64, Option<Arc<dyn Nudge>>),
}

impl LetIn {
    fn new(core: &Core, chain: u64) -> Self {
        let before = core.mail.lock().let_in(chain, None);
        Self { core: core.weak(), chain, before }
    }

    fn announce_to(&self, nested: Arc<dyn Nudge>) {
        let _ = self.core.core().mail.lock().let_in(self.chain, Some(nested));
    }
}

impl Drop for LetIn {
    fn drop(&mut self) {
        let (chain, nested) = std::mem::take(&mut self.before);
        let over = self.core.core().mail.lock().let_in(chain, nested);
        // Without the lock: a reply that came too late may be in it.
        drop(over);
    }
}

impl<A: Actor> fmt::Debug for Reenter<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reenter").field(self.ctx.core()).finish()
    }
}

impl<A: Actor> fmt::Debug for Context<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Context").field(self.core()).finish()
    }
}
