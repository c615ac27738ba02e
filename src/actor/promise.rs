//! Replies that come later: [`Pending`] on the asking side, [`Deferred`] on the answering side.

#![forbid(unsafe_code)]

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant};

use crate::actor::raw::Refusal;
use crate::actor::raw::cell::{Core, Weak};
use crate::actor::raw::edge::How;
use crate::actor::raw::frame::abandon;
use crate::actor::raw::posted::Posted;
use crate::actor::raw::walk::{closes_cycle, look_again};
use crate::actor::{ActorId, Exit, Message, SendError};
use crate::park::queue::WaitQueue;
use crate::park::{Wait, checkpoint};
use crate::sys::clock::{NEVER, after_ns, at_ns};
use crate::task::header::Reason;

/// Why there is no reply.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    Died(Exit),
    NoReply,
}

/// Why there is no answer. The message is told apart: who reads this has it, if nobody else does.
pub(crate) enum Unanswered {
    Refused(Refusal),
    TimedOut,
    Deadlock(Vec<ActorId>),
    Failed(Failure),
}

impl Unanswered {
    /// Of a message whose handler has started. Each error is made where the caller wants it (it has room for a message).
    #[cold]
    pub(crate) fn without_message<T, M>(self) -> Result<T, SendError<M>> {
        match self {
            Unanswered::TimedOut => Err(SendError::Timeout(None)),
            Unanswered::Deadlock(cycle) => Err(SendError::Deadlock { msg: None, cycle }),
            Unanswered::Failed(Failure::Died(exit)) => Err(SendError::Died(exit)),
            Unanswered::Failed(Failure::NoReply) => Err(SendError::NoReply),
            Unanswered::Refused(_) => unreachable!("a message that is handled was not refused"),
        }
    }
}

/// Wakes a foreign future. A panic of foreign code is not that of whoever answers; the panic hook has reported it.
pub(crate) fn wake_guarded(waker: Waker) {
    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake())).map_err(std::mem::forget);
}

/// Makes a [`Deferred`] of a promise in `to`. `Err`: that is one of another type.
pub(crate) fn give<R: Send + 'static, P: Answer<R> + 'static>(
    from: Arc<P>,
    to: &mut dyn Any,
) -> Result<(), Arc<dyn Owed>> {
    match to.downcast_mut::<Deferred<R>>() {
        Some(to) => {
            *to = Deferred::new(from);
            Ok(())
        }
        None => Err(from),
    }
}

/// Where a reply of type `R` goes, whatever the message was.
pub(crate) trait Answer<R>: Owed {
    fn answer(&self, answer: Result<Box<R>, Failure>);
}

/// The same, without its type.
pub(crate) trait Owed: Send + Sync {
    /// Makes a [`Deferred`] of it in `to`. `Err`: that is one of another type.
    fn give(self: Arc<Self>, to: &mut dyn Any) -> Result<(), Arc<dyn Owed>>;

    fn fail(&self, failure: Failure);

    /// From now on it is that actor who owes the answer, as far as is known: who waits for it waits for that actor, so. Says how
    /// often it has changed hands.
    fn owed_by(&self, actor: Option<&Core>, how: How) -> u32;

    /// The message was not let in where it was sent: unless it has changed hands since, it waits behind others, or is handled.
    fn is_queued(&self, hands: u32);

    /// The message is handled now: nobody will let it in any more.
    fn harden(&self);
}

/// Gives the reply to a message later: what [`Context::defer`](crate::actor::Context::defer) returns, where the example
/// is.
///
/// A `Deferred` may go to any thread. Dropped without an answer, it fails the ask: the sender gets
/// [`SendError::NoReply`], or [`SendError::Died`] with the cause if it is dropped because an actor ends (with its
/// state, by the panic or kill that unwinds the handler, or with a message that was queued there). A reply that comes
/// when no sender waits any more is dropped.
pub struct Deferred<R>(Option<Arc<dyn Answer<R>>>);

impl<R: Send + 'static> Deferred<R> {
    pub(crate) fn new(to: Arc<dyn Answer<R>>) -> Self {
        Self(Some(to))
    }

    /// For a message that nobody waits for.
    pub(crate) fn nobody() -> Self {
        Self(None)
    }

    pub(crate) fn is_awaited(&self) -> bool {
        self.0.is_some()
    }

    /// See [`Owed::owed_by`]. Says to whom it was said, too.
    pub(crate) fn owed_by(&self, actor: Option<&Core>, how: How) -> Option<(&Arc<dyn Answer<R>>, u32)> {
        self.0.as_ref().map(|to| (to, to.owed_by(actor, how)))
    }

    pub(crate) fn into_owed(mut self) -> Option<Arc<dyn Owed>> {
        self.0.take().map(|to| to as _)
    }

    /// Answers. Does not wait.
    ///
    #[doc = include_str!("docs/deferred_reply.md")]
    pub fn reply(mut self, reply: R) {
        if let Some(to) = self.0.take() {
            to.answer(Ok(Box::new(reply)));
        }
    }

    pub(crate) fn reply_boxed(mut self, reply: Box<R>) {
        if let Some(to) = self.0.take() {
            to.answer(Ok(reply));
        }
    }

    pub(crate) fn fail(mut self, failure: Failure) {
        if let Some(to) = self.0.take() {
            to.answer(Err(failure));
        }
    }
}

impl<R> Drop for Deferred<R> {
    fn drop(&mut self) {
        if let Some(to) = self.0.take() {
            abandon(to);
        }
    }
}

impl<R> fmt::Debug for Deferred<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").field("awaited", &self.0.is_some()).finish_non_exhaustive()
    }
}

struct State<R> {
    /// Boxed: a large reply would be moved through every frame between its handler and its asker.
    result: Option<Result<Box<R>, Unanswered>>,
    waker: Option<Waker>,
    /// Who is known to owe the answer: then the waiter's edge leads there, and this keeps it alive.
    owed_by: Option<Weak>,
    /// How often that has changed.
    hands: u32,
    /// The edge of who waits for it, as far as the message makes it.
    how: How,
    /// The actor that waits. Its edge is changed under this lock only, as long as this is there.
    waiter: Option<Waiter>,
}

#[derive(Clone)]
struct Waiter {
    actor: Weak,
    /// The chain whose messages it lets in meanwhile.
    lets_in: u64,
}

/// What a reply that comes later leaves between the two sides.
///
/// While an actor waits for it, its edge of the wait-for graph leads to the one who owes the answer. That may change
/// hands: `forward` passes it on, `stash` keeps it, `defer` gives it to nobody who is known. Both sides, an actor that begins
/// to wait and one that passes the debt on, change the edge under the lock, and look for a cycle then: so whoever closes one by
/// the last edge finds it (see `raw/edge.rs`).
pub(crate) struct Promise<R> {
    state: WaitQueue<State<R>>,
    deadline_ns: u64,
}

impl<R> Promise<R> {
    /// Of a message that is sent to `target`.
    #[inline(always)]
    pub(crate) fn new(target: Weak, deadline_ns: u64, how: How) -> Self {
        Self::of(Some(target), deadline_ns, how)
    }

    /// Of a reply that is put off.
    pub(crate) fn put_off() -> Arc<Self> {
        Arc::new(Self::of(None, NEVER, How::PLAIN))
    }

    #[inline(always)]
    fn of(owed_by: Option<Weak>, deadline_ns: u64, how: How) -> Self {
        let state = WaitQueue::new(State { result: None, waker: None, owed_by, hands: 0, how, waiter: None });
        Self { state, deadline_ns }
    }

    /// Who is known to owe the answer.
    pub(crate) fn debtor(&self) -> Option<Weak> {
        self.state.with(|state| state.owed_by.clone())
    }

    /// The answer, if it is there.
    fn try_take(&self) -> Option<Result<Box<R>, Unanswered>> {
        self.state.with(|state| state.result.take())
    }

    pub(crate) fn deadline_ns(&self) -> u64 {
        self.deadline_ns
    }

    pub(crate) fn refuse(&self, why: Refusal) {
        self.settle(|_| Some(Err(Unanswered::Refused(why))));
    }

    /// The first result is the one that holds.
    fn settle(&self, result: impl FnOnce(&mut State<R>) -> Option<Result<Box<R>, Unanswered>>) {
        let mut waker = None;
        self.state.notify_all(|state| {
            if state.result.is_none()
                && let Some(result) = result(state)
            {
                state.result = Some(result);
                if let Some(waiter) = &state.waiter {
                    waiter.actor.core().edge.clear();
                }
                waker = state.waker.take();
            }
            true
        });
        waker.into_iter().for_each(wake_guarded);
    }
}

/// An actor that waits for the promise. Its edge goes when this does.
struct Watched<'a, R> {
    promise: &'a Promise<R>,
    waiter: Option<Waiter>,
}

impl<'a, R> Watched<'a, R> {
    /// `Err`: to wait would close a cycle.
    fn begin(promise: &'a Promise<R>, lets_in: u64) -> Result<Self, Vec<ActorId>> {
        let waiter = Core::current().map(|actor| Waiter { actor: actor.weak(), lets_in });
        let watched = Self { promise, waiter };
        if let Some(waiter) = &watched.waiter {
            let owed_by = promise.state.with(|state| {
                state.waiter = Some(waiter.clone());
                let owed_by = state.owed_by.clone().filter(|_| state.result.is_none());
                if let Some(owed_by) = &owed_by {
                    waiter.actor.core().edge.set(owed_by.core(), state.how.letting_in(lets_in));
                }
                owed_by
            });
            if let Some(cycle) = owed_by.and_then(|owed_by| waiter.closes_cycle(owed_by.core())) {
                return Err(cycle);
            }
        }
        Ok(watched)
    }
}

impl Waiter {
    fn closes_cycle(&self, owed_by: &Core) -> Option<Vec<ActorId>> {
        closes_cycle(self.actor.core(), owed_by)
    }
}

impl<R> State<R> {
    /// Nobody lets the message in any more.
    fn harden(&mut self) {
        self.how = How::PLAIN;
        if let Some(waiter) = &self.waiter {
            waiter.actor.core().edge.harden();
        }
    }
}

impl<R> Watched<'_, R> {
    fn is_told(&self) -> bool {
        self.waiter.as_ref().is_some_and(|waiter| waiter.actor.core().edge.is_told())
    }

    /// `Err`: the waiter is in a cycle.
    fn look_again(&self) -> Result<(), Vec<ActorId>> {
        self.waiter.as_ref().map_or(Ok(()), |waiter| look_again(waiter.actor.core()))
    }
}

impl<R> Drop for Watched<'_, R> {
    fn drop(&mut self) {
        if let Some(waiter) = &self.waiter {
            let registered = self.promise.state.with(|state| {
                waiter.actor.core().edge.clear();
                state.waiter.take()
            });
            drop(registered);
        }
    }
}

/// What ended one wait of a `reenter`.
pub(crate) enum Nested<R> {
    Answer(Result<Box<R>, Unanswered>),
    /// A message of the chain was let in.
    Admitted,
}

impl<R> Promise<R> {
    /// Waits for the answer.
    pub(crate) fn wait(&self, deadline_ns: u64) -> Result<Box<R>, Unanswered> {
        match self.wait_nested(deadline_ns, 0, || false) {
            Nested::Answer(answer) => answer,
            Nested::Admitted => unreachable!("nothing is admitted here"),
        }
    }

    /// Waits for the answer, or for a message that `admitted` finds.
    pub(crate) fn wait_nested(&self, deadline_ns: u64, lets_in: u64, admitted: impl Fn() -> bool) -> Nested<R> {
        let watched = match Watched::begin(self, lets_in) {
            Ok(watched) => watched,
            Err(cycle) => return Nested::Answer(Err(Unanswered::Deadlock(cycle))),
        };
        let wait = Wait::new(Reason::Ask).until(deadline_ns);
        let ready = |state: &mut State<R>| match state.result.take() {
            Some(result) => Some(Some(Nested::Answer(result))),
            None if admitted() => Some(Some(Nested::Admitted)),
            None => watched.is_told().then_some(None),
        };
        let (nested, cycle) = loop {
            match self.state.wait_until(wait, ready) {
                Some(None) => match watched.look_again() {
                    Ok(()) => {}
                    Err(cycle) => break (None, Some(cycle)),
                },
                nested => break (nested.flatten(), None),
            }
        };
        drop(watched);
        // Or a reply that came with the deadline.
        let late = || self.try_take().unwrap_or(Err(cycle.map_or(Unanswered::TimedOut, Unanswered::Deadlock)));
        nested.unwrap_or_else(|| Nested::Answer(late()))
    }

    /// Has a waiting thread look again for what else it waits for.
    pub(crate) fn nudge(&self) {
        self.state.notify_all(|_| true);
    }
}

impl<R: Send + 'static> Answer<R> for Promise<R> {
    fn answer(&self, answer: Result<Box<R>, Failure>) {
        self.settle(|_| Some(answer.map_err(Unanswered::Failed)));
    }
}

impl<R: Send + 'static> Owed for Promise<R> {
    fn fail(&self, failure: Failure) {
        self.answer(Err(failure));
    }

    fn give(self: Arc<Self>, to: &mut dyn Any) -> Result<(), Arc<dyn Owed>> {
        give(self, to)
    }

    fn harden(&self) {
        self.state.with(State::harden);
    }

    fn is_queued(&self, hands: u32) {
        self.state.with(|state| {
            if state.hands == hands {
                state.harden();
            }
        });
    }

    fn owed_by(&self, actor: Option<&Core>, how: How) -> u32 {
        let mut owed_by = actor.map(Core::weak);
        let (hands, waiter) = self.state.with(|state| {
            // The old one is dropped outside, when no edge leads to it any more.
            std::mem::swap(&mut state.owed_by, &mut owed_by);
            (state.hands, state.how) = (state.hands.wrapping_add(1), how);
            let waiter = state.waiter.clone().filter(|_| state.result.is_none());
            match (&waiter, actor) {
                (Some(waiter), Some(actor)) => waiter.actor.core().edge.set(actor, how.letting_in(waiter.lets_in)),
                (Some(waiter), None) => waiter.actor.core().edge.clear(),
                (None, _) => {}
            }
            (state.hands, waiter)
        });
        if let (Some(waiter), Some(actor)) = (waiter, actor)
            && let Some(cycle) = waiter.closes_cycle(actor)
        {
            // Unless it has left meanwhile: then the cycle was one of another wait.
            self.settle(|state| state.waiter.is_some().then_some(Err(Unanswered::Deadlock(cycle))));
        }
        hands
    }
}

/// Waits for a reply that is on its way: what [`Addr::call`](crate::actor::Addr::call) returns.
///
/// It is a [`Future`], too, which any executor can await; as such it knows no deadline. Dropped, it leaves the message
/// where it is: the message is handled, and the reply is dropped.
///
/// ```
/// use green::actor::{Actor, Context, Handler, Message};
/// struct Square(u32);
/// impl Message for Square { type Reply = u32; }
/// struct Worker;
/// impl Actor for Worker {}
/// impl Handler<Square> for Worker {
///     fn handle(&mut self, m: Square, _: &mut Context<Self>) -> u32 { m.0 * m.0 }
/// }
/// let workers = [Worker.start(), Worker.start()];
/// let pending: Vec<_> = workers.iter().zip(3..).map(|(w, n)| w.call(Square(n)).unwrap()).collect();
/// let sum: u32 = pending.into_iter().map(|reply| reply.wait().unwrap()).sum();
/// assert_eq!(sum, 9 + 16);
/// ```
#[must_use = "a reply that nobody waits for is dropped; `tell` asks for none"]
pub struct Pending<M: Message>(pub(crate) Arc<Posted<M>>);

impl<M: Message> Pending<M> {
    /// Waits for the reply, until the deadline of the call.
    ///
    /// That is the target's [`Actor::ASK_TIMEOUT`](crate::actor::Actor::ASK_TIMEOUT), counted from the call, or an
    /// earlier deadline that the caller inherited. A cancellation point; a caller that is cancelled drops the reply.
    ///
    #[doc = include_str!("docs/pending_wait.md")]
    ///
    /// # Errors
    ///
    /// Those of [`Addr::send`](crate::actor::Addr::send).
    pub fn wait(self) -> Result<M::Reply, SendError<M>> {
        let deadline_ns = self.0.promise().deadline_ns();
        self.wait_until(deadline_ns)
    }

    /// Waits for the reply for at most `d` from now, which may be longer than the call's own time-out.
    ///
    #[doc = include_str!("docs/pending_wait_timeout.md")]
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    pub fn wait_timeout(self, d: Duration) -> Result<M::Reply, SendError<M>> {
        self.wait_until(after_ns(d))
    }

    /// Waits for the reply until `deadline`, which may be later than the call's own.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    pub fn wait_deadline(self, deadline: Instant) -> Result<M::Reply, SendError<M>> {
        self.wait_until(at_ns(deadline))
    }

    /// Returns the reply if it is there. Does not wait.
    ///
    #[doc = include_str!("docs/pending_try_take.md")]
    ///
    /// # Errors
    ///
    /// `Err(self)`: there is no reply yet. The inner result has the errors of [`wait`](Self::wait).
    pub fn try_take(self) -> Result<Result<M::Reply, SendError<M>>, Self> {
        match self.0.promise().try_take() {
            Some(answer) => Ok(self.0.unpack(answer)),
            None => Err(self),
        }
    }

    fn wait_until(self, deadline_ns: u64) -> Result<M::Reply, SendError<M>> {
        checkpoint();
        let promise = self.0.promise();
        self.0.unpack(promise.try_take().unwrap_or_else(|| promise.wait(deadline_ns)))
    }
}

impl<M: Message> Future for Pending<M> {
    type Output = Result<M::Reply, SendError<M>>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let mut waker = Some(cx.waker().clone());
        let answer = self.0.promise().state.with(|state| {
            let answer = state.result.take();
            if answer.is_none() {
                std::mem::swap(&mut state.waker, &mut waker); // The old one is dropped outside.
            }
            answer
        });
        match answer {
            Some(answer) => Poll::Ready(self.0.unpack(answer)),
            None => Poll::Pending,
        }
    }
}

impl<M: Message> fmt::Debug for Pending<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owed_by = self.0.promise().debtor();
        f.debug_struct("Pending").field("owed_by", &owed_by.map(|actor| actor.core().id())).finish_non_exhaustive()
    }
}
