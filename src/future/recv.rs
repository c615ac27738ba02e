//! A channel's message, awaited.
//!
//! The channel knows threads only. So while there is no message a green thread watches for one, without taking it
//! (`Select::ready`), and its handle is what is awaited; the message is then taken by the `poll`. So a future that is
//! dropped loses none.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::channel::{Receiver, RecvError, Select, TryRecvError};
use crate::rt::join::JoinHandle;
use crate::rt::thread::spawn;

/// Waits for the next message of a channel: what [`Receiver::recv_async`] returns. Dropped, it loses no message.
///
/// ```
/// let (sender, receiver) = green::channel::bounded(1);
/// sender.send(1).unwrap();
/// let message: green::future::RecvFuture<'_, i32> = receiver.recv_async();
/// assert_eq!(futures::executor::block_on(message), Ok(1));
/// ```
#[must_use = "a future does nothing unless it is awaited"]
pub struct RecvFuture<'a, T: Send + 'static> {
    receiver: &'a Receiver<T>,
    watcher: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Receiver<T> {
    /// Receives a message in async code, on any executor: returns a future of what [`recv`](Receiver::recv) returns.
    ///
    /// A message that is there is taken at once. Otherwise a green thread watches the channel until there may be one,
    /// and holds a clone of the receiver meanwhile; that costs about what a spawn and a park cost. No message is lost
    /// when the future is dropped: the watcher takes none, and is cancelled.
    ///
    /// ```
    /// let (sender, receiver) = green::channel::bounded(0);
    /// green::spawn(move || sender.send("from a green thread"));
    /// let message = futures::executor::block_on(async { receiver.recv_async().await });
    /// assert_eq!(message, Ok("from a green thread"));
    /// ```
    ///
    /// # Errors
    ///
    /// The future gives [`RecvError`] when the channel is empty and all senders are gone.
    pub fn recv_async(&self) -> RecvFuture<'_, T> {
        RecvFuture { receiver: self, watcher: None }
    }
}

impl<T: Send + 'static> Future for RecvFuture<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.receiver.try_recv() {
                Ok(message) => return Poll::Ready(Ok(message)),
                Err(TryRecvError::Disconnected) => return Poll::Ready(Err(RecvError)),
                Err(TryRecvError::Empty) => {}
            }
            let receiver = self.receiver;
            let watcher = self.watcher.get_or_insert_with(|| watch(receiver.clone()));
            if Pin::new(watcher).poll(context).is_pending() {
                return Poll::Pending;
            }
            // There may be a message, or somebody else has had it: then watch again.
            self.watcher = None;
        }
    }
}

fn watch<T: Send + 'static>(receiver: Receiver<T>) -> JoinHandle<()> {
    spawn(move || {
        let mut select = Select::new();
        select.recv(&receiver);
        select.ready();
    })
}

impl<T: Send + 'static> Drop for RecvFuture<'_, T> {
    fn drop(&mut self) {
        if let Some(watcher) = self.watcher.take() {
            watcher.cancel();
        }
    }
}

impl<T: Send + 'static> fmt::Debug for RecvFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvFuture").field("watcher", &self.watcher).finish_non_exhaustive()
    }
}
