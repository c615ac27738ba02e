//! What a handler can do besides handling.

#![forbid(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::actor::engine::ask::defer;
use crate::actor::engine::cell::{Core, RunState};
use crate::actor::engine::ties::Tie;
use crate::actor::engine::{lifecycle, monitor, tell};
use crate::actor::glue::{end_of_stream, route};
use crate::actor::timer::{self, Timer};
use crate::actor::{Actor, ActorId, Addr, Deferred, Exit, Handler, Message, MonitorRef, Recipient, SendError, Signal};
use crate::base::atomic::{AtomicU32, Ordering};
use crate::sys::clock::{NEVER, instant_at};

/// The actor itself, as its handlers and hooks see it. It is there for the call only.
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

    /// The actor's own address. Kept, it keeps the actor alive.
    #[must_use]
    pub fn addr(&self) -> Addr<A> {
        Addr::new(self.core().strong())
    }

    /// The actor's number.
    #[must_use]
    pub fn id(&self) -> ActorId {
        self.core().id()
    }

    /// Closes the mailbox now. What is queued is still handled, as with [`Addr::stop`], then the actor ends with
    /// [`Exit::Normal`].
    pub fn stop(&mut self) {
        lifecycle::stop(self.core(), Exit::Normal, lifecycle::DRAIN);
    }

    /// Ends the actor after this handler, with that cause. What is queued goes back to its senders. This handler's own reply
    /// is still sent.
    pub fn fail(&mut self, cause: impl Into<Exit>) {
        self.inner.end.get_or_insert(Box::new(cause.into()));
    }

    /// When the reply to this message is due, if anybody waits for one. Everything that is sent from here inherits it.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let deadline_ns = self.inner.frame().terms().deadline_ns;
        (deadline_ns != NEVER).then(|| instant_at(deadline_ns))
    }

    /// Has [`Actor::signal`] called with a [`Signal::Down`] when `other` ends, also if it has ended already: once for each
    /// call, each with a number of its own. A monitor ends with either of the two, and leaves nothing behind. Does not wait.
    pub fn monitor<B: Actor>(&mut self, other: &Addr<B>) -> MonitorRef {
        monitor::monitor(self.core(), other.core())
    }

    /// Takes a [`monitor`](Self::monitor) of this actor back: its [`Down`](crate::actor::Down) is not handled any more, not even
    /// if it is queued already. Of a monitor that is over, or another actor's, nothing happens. Does not wait.
    pub fn demonitor(&mut self, monitor: MonitorRef) {
        monitor::untie(self.core(), Tie::Watches(monitor.0));
    }

    /// Links this actor and `other`: when one ends, the other gets a [`Signal::LinkExit`], which by default ends it for the
    /// same reason, unless that was normal. If `other` has ended already, the signal comes at once.
    ///
    /// There is one link between two actors, however often and from whichever side it is made: one `LinkExit`, and one
    /// [`unlink`](Self::unlink) takes it away. Does not wait.
    pub fn link<B: Actor>(&mut self, other: &Addr<B>) {
        monitor::link(self.core(), other.core());
    }

    /// Takes the [`link`](Self::link) with `other` back, in both directions. A `LinkExit` that is queued here already is not
    /// handled any more. Does not wait.
    pub fn unlink<B: Actor>(&mut self, other: &Addr<B>) {
        monitor::untie(self.core(), Tie::Linked(other.id().0));
    }

    /// What [`Actor::signal`] does by default: the abnormal end of a linked actor, or a panic of a helper thread, ends this one
    /// for the same reason, and the rest is ignored.
    pub fn default_signal(&mut self, signal: Signal) {
        match signal {
            Signal::LinkExit { reason, .. } if !reason.is_normal() => self.fail(reason),
            Signal::HelperPanicked { reason } => self.fail(reason),
            _ => {}
        }
    }

    /// Sends a message to this actor itself. It queues as every other, but beyond the mailbox's capacity: it never waits.
    ///
    /// # Errors
    ///
    /// `Closed`: the actor is stopping.
    pub fn notify<M: Message>(&mut self, msg: M) -> Result<(), SendError<M>>
    where
        A: Handler<M>,
    {
        tell::notify(self.core(), const { &route::<A, M>() }, msg, false)
    }

    /// Puts the reply to the message that is being handled off: it is given later, from anywhere, by [`Deferred::reply`]. What
    /// the handler returns is dropped then. For a message that nobody waits for, the reply goes nowhere.
    ///
    /// The asker's deadline goes on. While its reply is put off, an asker is not seen to wait for any actor (see
    /// [`SendError::Deadlock`]).
    ///
    /// # Panics
    ///
    /// If `M` is not the message that is being handled, and its reply is of another type.
    #[track_caller]
    pub fn defer<M: Message>(&mut self) -> Deferred<M::Reply> {
        match defer(self.core(), self.inner.frame()) {
            Some(deferred) => deferred,
            None => panic!("the message that is being handled has a reply of another type"),
        }
    }

    /// Has another actor answer in this one's place: the reply to `msg` goes to whoever asked for this one's. What the handler
    /// returns is dropped then. Does not wait, and does not count against `to`'s capacity.
    ///
    /// If `to` ends before it has handled the message, the asker gets [`SendError::Died`] with the cause. It waits for `to` from
    /// now on: if that closes a cycle, the asker gets [`SendError::Deadlock`].
    ///
    /// # Errors
    ///
    /// `Closed`: `to` has ended or is stopping; the asker gets `Died`.
    ///
    /// # Panics
    ///
    /// If the message that is being handled has a reply of another type.
    #[track_caller]
    pub fn forward<M: Message>(&mut self, to: &Recipient<M>, msg: M) -> Result<(), SendError<M>> {
        let terms = self.inner.frame().terms();
        let reply = self.defer::<M>();
        to.forward(msg, reply, terms)
    }

    /// Puts the message that is being handled aside until [`unstash`](Self::unstash), its asker with it. What the handler
    /// returns is dropped. It does not count against the capacity meanwhile.
    ///
    /// # Panics
    ///
    /// If the message that is being handled has a reply of another type.
    #[track_caller]
    pub fn stash<M: Message>(&mut self, msg: M)
    where
        A: Handler<M>,
    {
        let terms = self.inner.frame().terms();
        let reply = self.defer::<M>();
        let reply = reply.is_awaited().then_some(reply);
        tell::stash(self.core(), const { &route::<A, M>() }, msg, reply, terms);
    }

    /// What was put aside comes next, in its old order, before what is queued.
    pub fn unstash(&mut self) {
        self.core().mailbox.lock().unstash();
    }

    /// When `d` has passed, sends `msg` to this actor, ahead of what is queued, and beyond the capacity. After each message of a
    /// timer one of the others has its turn, so a handler that sets its timer again keeps nobody waiting. It dies with the actor,
    /// and does not keep it alive; what becomes due when the actor was stopped is dropped.
    pub fn send_after<M: Message>(&mut self, d: Duration, msg: M) -> Timer
    where
        A: Handler<M>,
    {
        let mut msg = Some(msg);
        let weak = self.core().weak();
        let timer = timer::start(d, None, move || {
            let Some(msg) = msg.take() else { return false };
            let _ = tell::notify(weak.core(), const { &route::<A, M>() }, msg, true);
            false
        });
        self.own_timer(timer)
    }

    /// Every `period` from now on, sends what `make` gives to this actor, as [`send_after`](Self::send_after). A beat is left out
    /// while the one before is still queued. `make` runs on a thread of the timers and must not wait.
    ///
    /// # Panics
    ///
    /// If `period` is zero.
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
            queues || tell::beat(weak.core(), const { &route::<A, M>() }, make(), &queued)
        });
        self.own_timer(timer)
    }

    /// Has the timer end with the actor.
    fn own_timer(&mut self, timer: Timer) -> Timer {
        // Without the lock: senders do not wait while a long list is looked through, or what is over is dropped.
        let mut timers = std::mem::take(&mut self.core().mailbox.lock().extras().timers);
        drop(timers.add(timer.clone(), |timer| timer.is_over()));
        self.core().mailbox.lock().extras().timers = timers;
        timer
    }

    /// Spawns a green thread that is cancelled when the actor ends. Does not wait; costs the same however many there are.
    ///
    /// The two are as linked actors: if the helper panics, the actor gets a [`Signal::HelperPanicked`], which by default ends it
    /// with that panic. (What should go on without its helper says so in [`Actor::signal`]; what should go on without
    /// being told is a [`spawn`](crate::spawn) of its own.)
    ///
    /// ```
    /// use green::actor::{Actor, Context, Exit, Signal};
    ///
    /// struct Feeds { lost: u32 }
    /// impl Actor for Feeds {
    ///     fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
    ///         ctx.spawn(|| panic!("the feed is broken"));
    ///         Ok(())
    ///     }
    ///     fn signal(&mut self, signal: Signal, ctx: &mut Context<Self>) {
    ///         match signal {
    ///             Signal::HelperPanicked { .. } if self.lost < 3 => self.lost += 1, // It goes on.
    ///             other => ctx.default_signal(other),
    ///         }
    ///     }
    /// }
    /// # let feeds = Feeds { lost: 3 }.start();
    /// # assert_eq!(feeds.join(), Exit::Panic("the feed is broken".into()));
    /// ```
    ///
    /// # Panics
    ///
    /// If there is no memory for it.
    pub fn spawn(&mut self, f: impl FnOnce() + Send + 'static) {
        let me = self.core().weak();
        let handle = crate::rt::thread::spawn(move || me.core().help(f));
        let mut helpers = std::mem::take(&mut self.core().mailbox.lock().extras().helpers);
        drop(helpers.add(handle, |helper| helper.is_finished()));
        self.core().mailbox.lock().extras().helpers = helpers;
    }

    /// Takes what `source` gives (a channel's receiver, an iterator) as messages, from a helper thread ([`spawn`](Self::spawn))
    /// that waits for room in the mailbox, and ends when the source or the actor does. It does not keep the actor alive.
    ///
    /// After the last message comes a [`Signal::StreamEnded`]. A mailbox that refuses ([`Overflow::Reject`](crate::actor::Overflow::Reject)) ends the
    /// stream so at the first message that finds it full. If the source panics, a [`Signal::HelperPanicked`] comes instead, ahead of the messages.
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
            tell::stream_ended::<M>(core.core(), const { &end_of_stream::<A>() });
        });
    }
}

impl<A: Actor> fmt::Debug for Context<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Context").field(self.core()).finish()
    }
}
