//! [`Pending`]: a reply that is on its way.

#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use crate::actor::engine::call::CallBlock;
use crate::actor::engine::promise::Promised;
use crate::actor::{Message, SendError};
use crate::park::checkpoint;
use crate::sys::clock::{after_ns, at_ns};

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
pub struct Pending<M: Message>(pub(crate) Arc<CallBlock<M>>);

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
    #[doc = include_str!("docs/pending_wait_deadline.md")]
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
        let answer = promise.try_take().unwrap_or_else(|| {
            self.0.assert_comes();
            promise.wait(deadline_ns)
        });
        self.0.unpack(answer)
    }
}

impl<M: Message> Future for Pending<M> {
    type Output = Result<M::Reply, SendError<M>>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        match self.0.promise().poll(cx.waker()) {
            Some(answer) => Poll::Ready(self.0.unpack(answer)),
            None => {
                self.0.assert_comes();
                Poll::Pending
            }
        }
    }
}

impl<M: Message> fmt::Debug for Pending<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owed_by = self.0.promise().debtor();
        f.debug_struct("Pending").field("owed_by", &owed_by.map(|actor| actor.core().id())).finish_non_exhaustive()
    }
}
