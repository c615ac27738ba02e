//! The executor: one future, polled by the thread that waits for it.
#![forbid(unsafe_code)]

use std::pin::pin;
use std::task::{Context, Poll};

use crate::park::current::with_task;
use crate::park::{Wait, checkpoint, give_way, wait_for_token};
use crate::sched::Worker;
use crate::task::header::{Extra, Reason};
use crate::task::waker::with_waker;

/// Runs a future to its end in the calling thread, and returns its value.
///
/// Works in a green thread and on a plain OS thread. While the future is pending a green thread is parked and the
/// others of its worker run. The future need not be `Send`, nor `'static`: it stays on this stack, and what it calls
/// may use the blocking calls of this crate, another `block_on` included. Any waker-based library runs in it; one that
/// needs its own reactor (tokio's sockets and timers do) needs that reactor running somewhere, as on every foreign
/// executor.
///
/// A future that wakes itself and is pending wants others to run: in a green thread those that are ready do, before it
/// is polled again; and timers and threads from outside have their turn after 128 polls at the latest.
///
/// A cancellation point, before each `poll` and while it waits: the thread unwinds from here, and the future is dropped
/// on the way, as async code is cancelled everywhere. [`timeout`](crate::timeout) works in the same way. Allocates
/// nothing, but for one small block at a thread's first call.
///
/// ```
/// let (sender, receiver) = async_channel::bounded(1);
/// let squares = green::spawn(move || {
///     green::block_on(async move {
///         let mut squares = vec![];
///         while let Ok(n) = receiver.recv().await {
///             squares.push(n * n);
///         }
///         squares
///     })
/// });
/// green::block_on(async move {
///     for n in 1..4 {
///         sender.send(n).await.unwrap();
///     }
/// });
/// assert_eq!(squares.join().unwrap(), [1, 4, 9]);
/// ```
///
/// # Panics
///
/// With what the future panics with; in [`no_park`](crate::no_park), if the future has to be waited for.
#[inline]
pub fn block_on<F: IntoFuture>(future: F) -> F::Output {
    let mut future = pin!(future.into_future());
    with_task(|thread| {
        let extra = thread.extra_or_new();
        let _inside = Inside::enter(extra);
        with_waker(thread, |waker| {
            let mut context = Context::from_waker(waker);
            loop {
                checkpoint();
                if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                    return output;
                }
                if !extra.woken.take() {
                    // A wake that comes together with a cancel: the checkpoint raises that.
                    wait_for_token(&extra.woken, Wait::new(Reason::Future));
                } else if Worker::current().is_some_and(|worker| worker.here().inside(|| worker.has_own_work())) {
                    give_way();
                }
            }
        })
    })
}

/// The thread is in `block_on`, perhaps called by the `poll` of another one.
struct Inside<'a> {
    extra: &'a Extra,
    nested: bool,
}

impl<'a> Inside<'a> {
    #[inline]
    fn enter(extra: &'a Extra) -> Self {
        Self { extra, nested: extra.polling.replace(true) }
    }
}

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.nested {
            // This thread runs, so there is no wait to end.
            let _ = self.extra.woken.put();
        } else {
            self.extra.polling.set(false);
        }
    }
}
