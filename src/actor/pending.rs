//! [`Pending`]: a reply that is on its way.

#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use crate::actor::engine::call::CallBlock;
use crate::actor::engine::owed::Unanswered;
use crate::actor::engine::promise::Promised;
use crate::actor::timer::{self, Fired, Timer};
use crate::actor::{Message, SendError};
use crate::park::checkpoint;
use crate::park::owed_answer::ChosenTime;
use crate::sys::clock::{NEVER, after_ns, at_ns, now_ns};

/// Waits for a reply that is on its way: what [`Addr::call`](crate::actor::Addr::call) returns.
///
/// It is a [`Future`], too, which any executor can await, until the same deadline as [`wait`](Self::wait). Of several the first is
/// found by [`wait_any`](crate::actor::wait_any). Dropped, it leaves the message where it is: the message is handled, and the reply is
/// dropped.
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
pub struct Pending<M: Message> {
    call: Arc<CallBlock<M>>,
    deadline_ns: u64,
    /// Of the deadline.
    chosen: ChosenTime,
    /// Wakes the task that awaits it when the deadline has passed.
    alarm: Option<Alarm>,
}

/// A timer that goes with its owner.
struct Alarm(Timer);

impl Drop for Alarm {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl<M: Message> Pending<M> {
    pub(crate) fn new(call: Arc<CallBlock<M>>) -> Self {
        let (deadline_ns, chosen) = (call.promise().deadline_ns(), call.chosen());
        Self { call, deadline_ns, chosen, alarm: None }
    }

    pub(crate) fn call(&self) -> &CallBlock<M> {
        &self.call
    }

    pub(crate) fn deadline_ns(&self) -> u64 {
        self.deadline_ns
    }

    /// Has a wait for the reply, or the future, end when `d` has passed from now, which may be later than the call's own deadline.
    ///
    #[doc = include_str!("docs/pending_within.md")]
    pub fn within(self, d: Duration) -> Self {
        Self { deadline_ns: after_ns(d), chosen: ChosenTime::new(true), alarm: None, ..self }
    }

    /// Returns whether a wait would end at once: the reply is there, or the error that there will be none. Does not wait.
    ///
    #[doc = include_str!("docs/pending_is_ready.md")]
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.call.promise().is_settled()
    }

    /// Waits for the reply, until the deadline of the call.
    ///
    /// That is the one that [`within`](Self::within) has set, or else the target's [`Actor::ASK_TIMEOUT`](crate::actor::Actor::ASK_TIMEOUT), counted from the call, or an
    /// earlier deadline that the caller inherited. A cancellation point; a caller that is cancelled drops the reply.
    ///
    #[doc = include_str!("docs/pending_wait.md")]
    ///
    /// # Errors
    ///
    /// Those of [`Addr::send`](crate::actor::Addr::send).
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    pub fn wait(self) -> Result<M::Reply, SendError<M>> {
        let (deadline_ns, chosen) = (self.deadline_ns, self.chosen);
        self.wait_until(deadline_ns, chosen)
    }

    /// Waits for the reply for at most `d` from now, which may be longer than the call's own time-out.
    ///
    #[doc = include_str!("docs/pending_wait_timeout.md")]
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    pub fn wait_timeout(self, d: Duration) -> Result<M::Reply, SendError<M>> {
        self.wait_until(after_ns(d), ChosenTime::new(true))
    }

    /// Waits for the reply until `deadline`, which may be later than the call's own.
    ///
    #[doc = include_str!("docs/pending_wait_deadline.md")]
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    pub fn wait_deadline(self, deadline: Instant) -> Result<M::Reply, SendError<M>> {
        self.wait_until(at_ns(deadline), ChosenTime::new(true))
    }

    /// Returns the reply if it is there. Does not wait.
    ///
    #[doc = include_str!("docs/pending_try_take.md")]
    ///
    /// # Errors
    ///
    /// `Err(self)`: there is no reply yet. The inner result has the errors of [`wait`](Self::wait).
    pub fn try_take(self) -> Result<Result<M::Reply, SendError<M>>, Self> {
        match self.call.promise().try_take() {
            Some(answer) => Ok(self.call.unpack(answer)),
            None => Err(self),
        }
    }

    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    fn wait_until(self, deadline_ns: u64, chosen: ChosenTime) -> Result<M::Reply, SendError<M>> {
        checkpoint();
        let promise = self.call.promise();
        let answer = match promise.try_take() {
            Some(answer) => answer,
            None => {
                self.call.assert_comes();
                promise.wait(deadline_ns, chosen)
            }
        };
        self.call.unpack(answer)
    }
}

impl<M: Message> Future for Pending<M> {
    type Output = Result<M::Reply, SendError<M>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        if let Some(answer) = self.call.promise().poll(cx.waker()) {
            return Poll::Ready(self.call.unpack(answer));
        }
        self.call.assert_comes();
        if self.deadline_ns != NEVER {
            let left = Duration::from_nanos(self.deadline_ns.saturating_sub(now_ns()));
            if left.is_zero() {
                return Poll::Ready(self.call.error(Unanswered::TimedOut));
            }
            if self.alarm.is_none() {
                // Weak: a share says that somebody may want the message back.
                let call = Arc::downgrade(&self.call);
                self.alarm = Some(Alarm(timer::start(left, move |_, _| {
                    call.upgrade().iter().for_each(|call| call.promise().wake());
                    Fired::Over
                })));
            }
        }
        Poll::Pending
    }
}

impl<M: Message> fmt::Debug for Pending<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owed_by = self.call.promise().debtor();
        f.debug_struct("Pending").field("owed_by", &owed_by.map(|actor| actor.core().id())).finish_non_exhaustive()
    }
}
