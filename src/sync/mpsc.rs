//! Channels with many senders and one receiver, with the names, signatures and error types of [`std::sync::mpsc`].
//!
//! For green threads and OS threads, in any mix. [`channel()`] never makes a sender wait; [`sync_channel`] has room for a fixed number of
//! messages, and none with a bound of 0.
//!
//! ```
//! use green::sync::mpsc;
//!
//! let (tx, rx) = mpsc::sync_channel(4);
//! for part in 0..3 {
//!     let tx = tx.clone();
//!     green::spawn(move || (0..10).for_each(|n| tx.send(part * 10 + n).unwrap()));
//! }
//! drop(tx); // the loop ends when all senders are gone
//! assert_eq!(rx.iter().sum::<i32>(), 435);
//! ```
//!
//! A green thread that has to wait, for a message or for room, is parked, and its worker runs others; an OS thread sleeps. Every call
//! that may wait is a cancellation point: a thread that is cancelled in it has received nothing, or sent nothing.
//!
//! What differs from std: senders that wait are served in the order in which they came. For many receivers, time-outs of sends, and
//! `select!`, use [`green::channel`](crate::channel), on which these are built.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::marker::PhantomData;
use std::time::Duration;

use crate::base::debug::debug;
use crate::channel::{self, Receiver as Inner, bounded, unbounded};

pub use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

/// Makes a channel that grows as it must: [`std::sync::mpsc::channel`].
///
/// A send never waits. Many senders may be cloned; there is one receiver.
///
/// ```
/// let (tx, rx) = green::sync::mpsc::channel();
/// green::spawn(move || tx.send(10).unwrap());
/// assert_eq!(rx.recv(), Ok(10));
/// ```
#[must_use]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = unbounded();
    (Sender { inner: sender }, Receiver::new(receiver))
}

/// Makes a channel with room for `bound` messages: [`std::sync::mpsc::sync_channel`].
///
/// A send waits while it is full. With a bound of 0, a send waits until the message has been received.
///
/// ```
/// let (tx, rx) = green::sync::mpsc::sync_channel(1);
/// tx.send(1).unwrap();
/// assert!(tx.try_send(2).is_err());
/// assert_eq!(rx.recv(), Ok(1));
/// ```
#[must_use]
pub fn sync_channel<T>(bound: usize) -> (SyncSender<T>, Receiver<T>) {
    let (sender, receiver) = bounded(bound);
    (SyncSender { inner: sender }, Receiver::new(receiver))
}

/// Sends messages into a [`channel()`]: [`std::sync::mpsc::Sender`].
///
/// Clones send into the same channel. When the last one is dropped, the receiver gets what is left, and then an error.
///
/// ```
/// let (tx, rx) = green::sync::mpsc::channel();
/// for n in 0..3 {
///     let tx = tx.clone();
///     green::spawn(move || tx.send(n).unwrap());
/// }
/// drop(tx);
/// assert_eq!(rx.iter().sum::<i32>(), 3);
/// ```
pub struct Sender<T> {
    inner: channel::Sender<T>,
}

impl<T> Sender<T> {
    /// Sends a message. Never waits for room; it lets others run after many calls, and is a cancellation point.
    ///
    /// `Ok` does not say that the message will be received: the receiver may be dropped later, and the message with it.
    ///
    /// ```
    /// let (tx, rx) = green::sync::mpsc::channel();
    /// assert!(tx.send(1).is_ok());
    /// drop(rx);
    /// assert_eq!(tx.send(2).unwrap_err().0, 2);
    /// ```
    ///
    /// # Errors
    ///
    /// The receiver is gone; the error holds the message.
    #[inline]
    pub fn send(&self, t: T) -> Result<(), SendError<T>> {
        self.inner.send(t).map_err(|error| SendError(error.into_inner()))
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

/// Sends messages into a [`sync_channel`]: [`std::sync::mpsc::SyncSender`].
///
/// ```
/// let (tx, rx) = green::sync::mpsc::sync_channel(2);
/// let other = tx.clone();
/// green::spawn(move || tx.send(1).unwrap());
/// green::spawn(move || other.send(2).unwrap());
/// assert_eq!(rx.iter().sum::<i32>(), 3);
/// ```
pub struct SyncSender<T> {
    inner: channel::Sender<T>,
}

impl<T> SyncSender<T> {
    /// Sends a message; waits while the channel is full. With a bound of 0, waits until the message has been received.
    ///
    /// Senders that wait are served in the order in which they came. A cancellation point: a sender that is cancelled
    /// has sent nothing.
    ///
    /// ```
    /// let (tx, rx) = green::sync::mpsc::sync_channel(0);
    /// let sender = green::spawn(move || tx.send(1)); // waits for the receiver
    /// assert_eq!(rx.recv(), Ok(1));
    /// assert!(sender.join().unwrap().is_ok());
    /// ```
    ///
    /// # Errors
    ///
    /// The receiver is gone; the error holds the message.
    #[inline]
    pub fn send(&self, t: T) -> Result<(), SendError<T>> {
        self.inner.send(t).map_err(|error| SendError(error.into_inner()))
    }

    /// Sends a message if that needs no waiting.
    ///
    /// ```
    /// use green::sync::mpsc::{TrySendError, sync_channel};
    /// let (tx, rx) = sync_channel(1);
    /// assert_eq!(tx.try_send(1), Ok(()));
    /// assert_eq!(tx.try_send(2), Err(TrySendError::Full(2)));
    /// drop(rx);
    /// assert_eq!(tx.try_send(3), Err(TrySendError::Disconnected(3)));
    /// ```
    ///
    /// # Errors
    ///
    /// Each holds the message. `Full`: it would have to wait; `Disconnected`: the receiver is gone.
    pub fn try_send(&self, t: T) -> Result<(), TrySendError<T>> {
        self.inner.try_send(t).map_err(|error| match error {
            channel::TrySendError::Full(t) => TrySendError::Full(t),
            channel::TrySendError::Disconnected(t) => TrySendError::Disconnected(t),
        })
    }
}

impl<T> Clone for SyncSender<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

/// Receives the messages of a [`channel()`] or a [`sync_channel`]: [`std::sync::mpsc::Receiver`].
///
/// There is one, and it may move between threads:
///
/// ```
/// let (tx, rx) = green::sync::mpsc::channel();
/// green::spawn(move || drop(rx)).join().unwrap();
/// assert!(tx.send(1).is_err());
/// ```
///
/// But no two can use it at once:
///
/// ```compile_fail
/// fn is_sync<T: Sync>(_: T) {}
/// is_sync(green::sync::mpsc::channel::<()>().1);
/// ```
pub struct Receiver<T> {
    inner: Inner<T>,
    _not_sync: PhantomData<Cell<()>>,
}

impl<T> std::panic::RefUnwindSafe for Receiver<T> {}

impl<T> Receiver<T> {
    fn new(inner: Inner<T>) -> Self {
        Self { inner, _not_sync: PhantomData }
    }

    /// Receives a message if that needs no waiting.
    ///
    /// ```
    /// use green::sync::mpsc::{TryRecvError, channel};
    /// let (tx, rx) = channel::<u32>();
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    /// drop(tx);
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
    /// ```
    ///
    /// # Errors
    ///
    /// `Empty`: there is no message; `Disconnected`: there is none, and all senders are gone.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.inner.try_recv().map_err(|error| match error {
            channel::TryRecvError::Empty => TryRecvError::Empty,
            channel::TryRecvError::Disconnected => TryRecvError::Disconnected,
        })
    }

    /// Receives a message; waits while there is none.
    ///
    /// Messages that were sent before the senders went are received first. A cancellation point: a receiver that is
    /// cancelled has taken nothing.
    ///
    /// ```
    /// let (tx, rx) = green::sync::mpsc::channel();
    /// green::spawn(move || tx.send(1).unwrap());
    /// assert_eq!(rx.recv(), Ok(1));
    /// assert!(rx.recv().is_err()); // the sender is gone
    /// ```
    ///
    /// # Errors
    ///
    /// There is no message, and all senders are gone.
    #[inline(always)]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.inner.recv().map_err(|_| RecvError)
    }

    /// Receives a message; waits for at most `timeout` while there is none.
    ///
    /// ```
    /// use green::sync::mpsc::{RecvTimeoutError, channel};
    /// use std::time::Duration;
    /// let (_tx, rx) = channel::<u32>();
    /// assert_eq!(rx.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    /// ```
    ///
    /// # Errors
    ///
    /// `Timeout`: the time is over; `Disconnected`: there is no message, and all senders are gone.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.inner.recv_timeout(timeout).map_err(|error| match error {
            channel::RecvTimeoutError::Timeout => RecvTimeoutError::Timeout,
            channel::RecvTimeoutError::Disconnected => RecvTimeoutError::Disconnected,
        })
    }

    /// Returns an iterator that waits for each message, and ends when the channel is empty and all senders are gone.
    ///
    /// ```
    /// let (tx, rx) = green::sync::mpsc::channel();
    /// green::spawn(move || (1..=3).for_each(|n| tx.send(n).unwrap()));
    /// assert_eq!(rx.iter().collect::<Vec<_>>(), [1, 2, 3]);
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { rx: self }
    }

    /// Returns an iterator over the messages that are there now; it does not wait.
    ///
    /// ```
    /// let (tx, rx) = green::sync::mpsc::channel();
    /// tx.send(1).unwrap();
    /// assert_eq!(rx.try_iter().collect::<Vec<_>>(), [1]);
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { rx: self }
    }
}

debug! { Sender<T>; SyncSender<T>; Receiver<T>; }

/// Waits for each message: what [`Receiver::iter`] returns. It ends when the channel is empty and disconnected.
///
/// ```
/// let (sender, receiver) = green::sync::mpsc::channel();
/// green::spawn(move || (1..4).for_each(|n| sender.send(n).unwrap()));
/// let messages: green::sync::mpsc::Iter<'_, i32> = receiver.iter();
/// assert_eq!(messages.sum::<i32>(), 6);
/// ```
#[derive(Debug)]
pub struct Iter<'a, T: 'a> {
    rx: &'a Receiver<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.rx.recv().ok()
    }
}

/// Takes the messages that are there, without waiting: what [`Receiver::try_iter`] returns.
///
/// ```
/// let (sender, receiver) = green::sync::mpsc::channel();
/// sender.send(1).unwrap();
/// let mut there: green::sync::mpsc::TryIter<'_, i32> = receiver.try_iter();
/// assert_eq!((there.next(), there.next()), (Some(1), None));
/// ```
#[derive(Debug)]
pub struct TryIter<'a, T: 'a> {
    rx: &'a Receiver<T>,
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.rx.try_recv().ok()
    }
}

/// Waits for each message, and owns the receiver: what a `for` loop over a [`Receiver`] uses.
///
/// ```
/// let (sender, receiver) = green::sync::mpsc::channel();
/// green::spawn(move || (1..4).for_each(|n| sender.send(n).unwrap()));
/// let messages: green::sync::mpsc::IntoIter<i32> = receiver.into_iter();
/// assert_eq!(messages.sum::<i32>(), 6);
/// ```
#[derive(Debug)]
pub struct IntoIter<T> {
    rx: Receiver<T>,
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.rx.recv().ok()
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { rx: self }
    }
}
