//! What hyper asks of a runtime besides sockets: an executor and a timer. Needs the feature `hyper`.

#![forbid(unsafe_code)]

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::base::debug::debug;
use crate::future::block_on;
use crate::park::current::WorkerContext;
use crate::rt::join::JoinHandle;
use crate::rt::thread::{park_timeout, spawn, spawn_local};
use crate::time::now;

/// Runs hyper's background tasks, each as a green thread of its own: a [`hyper::rt::Executor`].
///
/// hyper's HTTP/2 asks for one, on both sides; with HTTP/1 it serves to drive a client's connection. A task's thread is
/// not joined; it ends when the future does, or with the runtime. [`GreenTimer`] is the
/// clock that goes with it, [`green::net::Async`](crate::net::Async) the socket; [the guide](crate::guide::http)
/// shows all three.
///
/// # Panics
///
/// `execute` panics when there is no memory for another thread, as [`spawn`](crate::spawn) does.
///
/// ```
/// use green::future::GreenExecutor;
/// use hyper::rt::Executor;
///
/// let (sender, receiver) = green::channel::bounded(1);
/// GreenExecutor::new().execute(async move { sender.send(7).unwrap() });
/// assert_eq!(receiver.recv(), Ok(7));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct GreenExecutor(());

impl GreenExecutor {
    /// Makes an executor. It has no state: all of them are alike.
    ///
    /// ```
    /// use hyper::rt::Executor;
    /// green::future::GreenExecutor::new().execute(async { println!("in a green thread") });
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }
}

impl<F> hyper::rt::Executor<F> for GreenExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        spawn(move || block_on(future));
    }
}

/// Gives hyper its time-outs: a [`hyper::rt::Timer`].
///
/// Without one hyper waits for ever, whatever its settings say: for the rest of a request's head, for the answer to a ping.
/// A sleep that is waited for is a green thread of its own, on the waiter's worker; it ends when the sleep is dropped. One that
/// is over, or dropped, before it is first polled costs nothing.
///
/// ```
/// use std::time::{Duration, Instant};
/// use green::future::GreenTimer;
/// use hyper::rt::Timer;
///
/// let start = Instant::now();
/// green::block_on(GreenTimer::new().sleep(Duration::from_millis(2)));
/// assert!(start.elapsed() >= Duration::from_millis(2));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct GreenTimer(());

impl GreenTimer {
    /// Makes a timer. It has no state: all of them are alike.
    ///
    /// ```
    /// use hyper::rt::Timer;
    /// green::block_on(green::future::GreenTimer::new().sleep_until(std::time::Instant::now()));
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }
}

impl hyper::rt::Timer for GreenTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Sleep { deadline: now().checked_add(duration), thread: None })
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Sleep { deadline: Some(deadline), thread: None })
    }
}

/// A future that is ready at a point in time.
struct Sleep {
    /// None: beyond what the clock can count to.
    deadline: Option<Instant>,
    /// The thread that is awake at the deadline. It waits by `park`, so that a drop ends it without unwinding.
    thread: Option<JoinHandle<()>>,
}

impl hyper::rt::Sleep for Sleep {}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let rest = match self.deadline {
                Some(deadline) => deadline.saturating_duration_since(now()),
                None => Duration::MAX,
            };
            if rest.is_zero() {
                return Poll::Ready(());
            }
            let thread = self.thread.get_or_insert_with(|| {
                let wait = move || park_timeout(rest);
                if WorkerContext::get().is_some() { spawn_local(wait) } else { spawn(wait) }
            });
            let ended = ready!(Pin::new(thread).poll(context));
            self.thread = None;
            if ended.is_err() {
                // It was cancelled: its runtime ends, and nothing is to be waited for any more.
                return Poll::Ready(());
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
        }
    }
}

debug! { Sleep (this) deadline: this.deadline; }

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use hyper::rt::Timer;

    use super::*;
    use crate::rt::thread::yield_now;

    #[test]
    fn a_sleep_that_is_dropped_leaves_no_thread_behind() {
        crate::rt::default::run(|| {
            let waker = Waker::noop();
            for deadline in [None, Instant::now().checked_add(Duration::from_secs(1000))] {
                let mut sleep = Sleep { deadline, thread: None };
                assert!(Pin::new(&mut sleep).poll(&mut Context::from_waker(waker)).is_pending());
                let thread = sleep.thread.as_ref().map(|thread| thread.thread().clone()).unwrap();
                drop(sleep);
                while !thread.0.state.is_complete() {
                    yield_now();
                }
            }
        });
    }

    #[test]
    fn a_sleep_beyond_the_clock_is_no_overflow() {
        let mut sleep = GreenTimer::new().sleep(Duration::MAX);
        assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
}
