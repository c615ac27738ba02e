//! Replies that come later: [`Pending`] on the asking side, [`Deferred`] on the answering side.

#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant};

use crate::actor::raw::Refusal;
use crate::actor::raw::cell::{Core, Weak};
use crate::actor::raw::mail::Nudge;
use crate::actor::raw::walk::waiting_for;
use crate::actor::{Exit, Message, SendError};
use crate::park::queue::WaitQueue;
use crate::park::{Wait, checkpoint};
use crate::sys::clock::{after_ns, at_ns};
use crate::task::header::Reason;

/// Why there is no reply.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    Died(Exit),
    NoReply,
}

impl Failure {
    pub(crate) fn into_error<M>(self) -> SendError<M> {
        match self {
            Failure::Died(exit) => SendError::Died(exit),
            Failure::NoReply => SendError::NoReply,
        }
    }
}

/// Where a reply of type `R` goes, whatever the message was.
pub(crate) trait Answer<R>: Send {
    fn answer(self: Box<Self>, answer: Result<R, Failure>);
}

/// The right, and the duty, to answer a message later: [`Context::defer`](crate::actor::Context::defer).
///
/// It may go to any thread. Dropped without an answer, the asker gets [`SendError::NoReply`]. A reply that comes when nobody
/// waits any more is dropped. Does not wait.
pub struct Deferred<R>(Option<Box<dyn Answer<R>>>);

impl<R: Send + 'static> Deferred<R> {
    pub(crate) fn new(to: impl Answer<R> + 'static) -> Self {
        Self(Some(Box::new(to)))
    }

    /// For a message that nobody waits for.
    pub(crate) fn nobody() -> Self {
        Self(None)
    }

    pub(crate) fn is_awaited(&self) -> bool {
        self.0.is_some()
    }

    /// Answers.
    pub fn reply(mut self, reply: R) {
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
            to.answer(Err(Failure::NoReply));
        }
    }
}

impl<R> fmt::Debug for Deferred<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").field("awaited", &self.0.is_some()).finish_non_exhaustive()
    }
}

struct State<M: Message> {
    /// Until the handler has it, or the asker has taken it back.
    msg: Option<M>,
    result: Option<Result<M::Reply, SendError<M>>>,
    waker: Option<Waker>,
    /// The actor that waits for it: its edge goes when the answer is there, before it is woken.
    waiter: Option<Weak>,
}

/// What `call` leaves between the two sides.
pub(crate) struct Promise<M: Message> {
    state: WaitQueue<State<M>>,
    target: Weak,
    deadline_ns: u64,
}

impl<M: Message> Promise<M> {
    pub(crate) fn new(target: Weak, msg: M, deadline_ns: u64) -> Arc<Self> {
        let state = WaitQueue::new(State { msg: Some(msg), result: None, waker: None, waiter: None });
        Arc::new(Self { state, target, deadline_ns })
    }

    /// The message, for whoever is first: its handler, or the asker that takes it back.
    pub(crate) fn take_message(&self) -> Option<M> {
        self.state.with(|state| state.msg.take())
    }

    pub(crate) fn deadline_ns(&self) -> u64 {
        self.deadline_ns
    }

    pub(crate) fn refuse(&self, why: Refusal) {
        self.settle(|state| {
            let msg = state.msg.take()?;
            Some(Err(match why {
                Refusal::Closed => SendError::Closed(msg),
                Refusal::Full => SendError::Full(msg),
            }))
        });
    }

    fn settle(&self, result: impl FnOnce(&mut State<M>) -> Option<Result<M::Reply, SendError<M>>>) {
        let (mut waker, mut waiter) = (None, None);
        self.state.notify(|state| {
            if let Some(result) = result(state) {
                state.result = Some(result);
                waiter = state.waiter.take();
                if let Some(waiter) = &waiter {
                    waiter.core().edge.clear();
                }
                waker = state.waker.take();
            }
            usize::MAX
        });
        if let Some(waker) = waker {
            // A panic of foreign code is not that of whoever answers; the panic hook has reported it.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake())).map_err(std::mem::forget);
        }
    }
}

/// While this lives, whoever settles the promise takes the waiting actor's edge away.
struct Watched<'a, M: Message>(&'a Promise<M>);

impl<'a, M: Message> Watched<'a, M> {
    fn new(promise: &'a Promise<M>) -> Self {
        let waiter = Core::current().map(Core::weak);
        promise.state.with(|state| {
            if let (Some(waiter), Some(_)) = (&waiter, &state.result) {
                waiter.core().edge.clear();
            }
            state.waiter = waiter;
        });
        Self(promise)
    }
}

impl<M: Message> Drop for Watched<'_, M> {
    fn drop(&mut self) {
        let waiter = self.0.state.with(|state| state.waiter.take());
        drop(waiter);
    }
}

/// What ended one wait of a `reenter`.
pub(crate) enum Nested<M: Message> {
    Answer(Result<M::Reply, SendError<M>>),
    /// A message of the chain was let in.
    Admitted,
}

impl<M: Message> Promise<M> {
    /// Waits for the answer, or for a message that `admitted` finds.
    pub(crate) fn wait_nested(&self, deadline_ns: u64, lets_in: u64, admitted: impl Fn() -> bool) -> Nested<M> {
        let waits = match waiting_for(self.target.core(), lets_in) {
            Ok(waits) => waits,
            Err(cycle) => return Nested::Answer(Err(SendError::Deadlock { msg: self.take_message(), cycle })),
        };
        let watched = Watched::new(self);
        let wait = Wait::new(Reason::Ask).until(deadline_ns);
        let nested = self.state.wait_until(wait, |state| match state.result.take() {
            Some(result) => Some(Nested::Answer(result)),
            None => admitted().then_some(Nested::Admitted),
        });
        drop(watched);
        drop(waits);
        // A reply that came with the deadline, or the message, if its handler has not started.
        let late =
            |state: &mut State<M>| state.result.take().unwrap_or_else(|| Err(SendError::Timeout(state.msg.take())));
        nested.unwrap_or_else(|| Nested::Answer(self.state.with(late)))
    }
}

impl<M: Message> Nudge for Promise<M> {
    fn nudge(&self) {
        self.state.notify(|_| usize::MAX);
    }
}

impl<M: Message> Answer<M::Reply> for Arc<Promise<M>> {
    fn answer(self: Box<Self>, answer: Result<M::Reply, Failure>) {
        let mut answer = Some(answer);
        self.settle(|_| answer.take().map(|answer| answer.map_err(Failure::into_error)));
    }
}

/// A reply that is on its way: [`Addr::call`](crate::actor::Addr::call).
///
/// Dropped, it leaves the message where it is: it is handled, and the reply is dropped. It is a [`Future`], too; that
/// knows no deadline of its own.
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
pub struct Pending<M: Message>(pub(crate) Arc<Promise<M>>);

impl<M: Message> Pending<M> {
    /// Waits for the reply, until the deadline that held for the call: the actor's own time-out for asks, or an earlier
    /// inherited one. A cancellation point; a cancelled caller drops the reply.
    ///
    /// # Errors
    ///
    /// As [`Addr::send`](crate::actor::Addr::send).
    pub fn wait(self) -> Result<M::Reply, SendError<M>> {
        let deadline_ns = self.0.deadline_ns;
        self.wait_until(deadline_ns)
    }

    /// As [`wait`](Self::wait), for at most `d` from now, which may be longer than the call's own time-out.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(self, d: Duration) -> Result<M::Reply, SendError<M>> {
        self.wait_until(after_ns(d))
    }

    /// As [`wait`](Self::wait), until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_deadline(self, deadline: Instant) -> Result<M::Reply, SendError<M>> {
        self.wait_until(at_ns(deadline))
    }

    /// The reply, if it is there. Does not wait.
    ///
    /// # Errors
    ///
    /// `Err(self)`: not yet.
    pub fn try_take(self) -> Result<Result<M::Reply, SendError<M>>, Self> {
        match self.0.state.with(|state| state.result.take()) {
            Some(result) => Ok(result),
            None => Err(self),
        }
    }

    fn wait_until(self, deadline_ns: u64) -> Result<M::Reply, SendError<M>> {
        checkpoint();
        let promise = &*self.0;
        if let Some(result) = promise.state.with(|state| state.result.take()) {
            return result;
        }
        match promise.wait_nested(deadline_ns, 0, || false) {
            Nested::Answer(answer) => answer,
            Nested::Admitted => unreachable!("nothing is admitted here"),
        }
    }
}

impl<M: Message> Future for Pending<M> {
    type Output = Result<M::Reply, SendError<M>>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let mut waker = Some(cx.waker().clone());
        self.0.state.with(|state| match state.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                std::mem::swap(&mut state.waker, &mut waker); // The old one is dropped outside.
                Poll::Pending
            }
        })
    }
}

impl<M: Message> fmt::Debug for Pending<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("actor", &self.0.target.core().id()).finish_non_exhaustive()
    }
}
