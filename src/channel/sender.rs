//! The sending handle.

#![forbid(unsafe_code)]

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{SendError, SendTimeoutError, TrySendError};

use crate::channel::SharedChannel;
use crate::channel::buffer::{Blocks, Ring};
use crate::channel::queue::Queue;
use crate::channel::zero::ZeroChannel;
use crate::sys::clock::{NEVER, after_ns, at_ns};

/// Sends messages into a channel. Clones send into the same one; when the last is dropped, the channel is closed, and
/// receivers get what is left in it and then an error.
///
/// ```
/// let (s, r) = green::channel::unbounded();
/// let s2 = s.clone();
/// green::spawn(move || s.send(1).unwrap());
/// green::spawn(move || s2.send(2).unwrap());
/// let mut got: Vec<i32> = r.iter().collect();
/// got.sort_unstable();
/// assert_eq!(got, [1, 2]);
/// ```
///
/// It is `Send` and `Sync` if the message is `Send`:
///
/// ```compile_fail
/// let (s, r) = green::channel::unbounded::<std::rc::Rc<()>>();
/// green::spawn(move || drop(s));
/// ```
pub struct Sender<T> {
    pub(super) flavor: SenderFlavor<T>,
}

pub(super) enum SenderFlavor<T> {
    Bounded(Arc<SharedChannel<Queue<T, Ring<T>>>>),
    Unbounded(Arc<SharedChannel<Queue<T, Blocks<T>>>>),
    Zero(Arc<SharedChannel<ZeroChannel<T>>>),
}

impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}

impl<T> Sender<T> {
    pub(super) fn bounded(channel: Arc<SharedChannel<Queue<T, Ring<T>>>>) -> Self {
        Self { flavor: SenderFlavor::Bounded(channel) }
    }

    pub(super) fn unbounded(channel: Arc<SharedChannel<Queue<T, Blocks<T>>>>) -> Self {
        Self { flavor: SenderFlavor::Unbounded(channel) }
    }

    pub(super) fn zero(channel: Arc<SharedChannel<ZeroChannel<T>>>) -> Self {
        Self { flavor: SenderFlavor::Zero(channel) }
    }

    /// Sends a message if that needs no waiting: if there is room, or a receiver waits.
    ///
    /// Not a cancellation point.
    ///
    /// # Errors
    ///
    /// Each gives the message back. `Full`: it would have to wait; `Disconnected`: all receivers are gone.
    ///
    /// ```
    /// use green::channel::{TrySendError, bounded};
    /// let (s, r) = bounded(1);
    /// assert_eq!(s.try_send(1), Ok(()));
    /// assert_eq!(s.try_send(2), Err(TrySendError::Full(2)));
    /// drop(r);
    /// assert_eq!(s.try_send(3), Err(TrySendError::Disconnected(3)));
    /// ```
    #[inline]
    pub fn try_send(&self, msg: T) -> Result<(), TrySendError<T>> {
        let result = match &self.flavor {
            SenderFlavor::Bounded(shared) => shared.channel.try_send(msg),
            SenderFlavor::Unbounded(shared) => shared.channel.try_send(msg),
            SenderFlavor::Zero(shared) => shared.channel.try_send(msg),
        };
        if matches!(result, Err(TrySendError::Full(_))) {
            crate::park::spend();
        }
        result
    }

    /// Sends a message; waits while the channel is full. With capacity 0, waits until a receiver has it.
    ///
    /// Senders that wait are served in the order in which they came. A cancellation point: a sender that is cancelled
    /// drops its message, which nobody has received.
    ///
    /// # Errors
    ///
    /// All receivers are gone; the error gives the message back.
    ///
    /// ```
    /// let (s, r) = green::channel::bounded(1);
    /// assert_eq!(s.send(1), Ok(()));
    /// drop(r);
    /// assert_eq!(s.send(2).unwrap_err().into_inner(), 2);
    /// ```
    #[inline]
    pub fn send(&self, msg: T) -> Result<(), SendError<T>> {
        // One call for each flavour: a small frame.
        let result = match &self.flavor {
            SenderFlavor::Bounded(shared) => shared.channel.send(msg, NEVER),
            SenderFlavor::Unbounded(shared) => shared.channel.send(msg, NEVER),
            SenderFlavor::Zero(shared) => shared.channel.send(msg, NEVER),
        };
        match result {
            Ok(()) => Ok(()),
            Err(error) => Err(SendError(error.into_inner())),
        }
    }

    /// As [`send`](Self::send), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Each gives the message back. `Timeout`: the time is over; `Disconnected`: all receivers are gone.
    ///
    /// ```
    /// use green::channel::{SendTimeoutError, bounded};
    /// let (s, _r) = bounded(0);
    /// let timeout = std::time::Duration::from_millis(1);
    /// assert_eq!(s.send_timeout(1, timeout), Err(SendTimeoutError::Timeout(1)));
    /// ```
    pub fn send_timeout(&self, msg: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_until(msg, after_ns(timeout))
    }

    /// As [`send`](Self::send), until `deadline`. If that has passed, it still sends what needs no waiting.
    ///
    /// # Errors
    ///
    /// As [`send_timeout`](Self::send_timeout).
    pub fn send_deadline(&self, msg: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_until(msg, at_ns(deadline))
    }

    fn send_until(&self, msg: T, deadline_ns: u64) -> Result<(), SendTimeoutError<T>> {
        match &self.flavor {
            SenderFlavor::Bounded(shared) => shared.channel.send(msg, deadline_ns),
            SenderFlavor::Unbounded(shared) => shared.channel.send(msg, deadline_ns),
            SenderFlavor::Zero(shared) => shared.channel.send(msg, deadline_ns),
        }
    }

    /// Is there no message in the channel? Always true with capacity 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Is the channel full? Always true with capacity 0.
    pub fn is_full(&self) -> bool {
        self.capacity() == Some(self.len())
    }

    /// How many messages are in the channel.
    ///
    /// ```
    /// let (s, r) = green::channel::bounded(2);
    /// s.send(1).unwrap();
    /// assert_eq!((s.len(), r.len(), s.capacity(), s.is_full()), (1, 1, Some(2), false));
    /// ```
    pub fn len(&self) -> usize {
        match &self.flavor {
            SenderFlavor::Bounded(shared) => shared.channel.len(),
            SenderFlavor::Unbounded(shared) => shared.channel.len(),
            SenderFlavor::Zero(_) => 0,
        }
    }

    /// How many messages the channel can hold; `None`: any number.
    pub fn capacity(&self) -> Option<usize> {
        match &self.flavor {
            SenderFlavor::Bounded(shared) => Some(shared.channel.capacity()),
            SenderFlavor::Unbounded(_) => None,
            SenderFlavor::Zero(_) => Some(0),
        }
    }

    /// Do both send into the same channel?
    ///
    /// ```
    /// let (s, r) = green::channel::unbounded::<()>();
    /// assert!(s.same_channel(&s.clone()));
    /// assert!(!s.same_channel(&green::channel::unbounded().0));
    /// # drop(r);
    /// ```
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        match (&self.flavor, &other.flavor) {
            (SenderFlavor::Bounded(one), SenderFlavor::Bounded(other)) => Arc::ptr_eq(one, other),
            (SenderFlavor::Unbounded(one), SenderFlavor::Unbounded(other)) => Arc::ptr_eq(one, other),
            (SenderFlavor::Zero(one), SenderFlavor::Zero(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        let flavor = match &self.flavor {
            SenderFlavor::Bounded(shared) => SenderFlavor::Bounded(shared.add_sender()),
            SenderFlavor::Unbounded(shared) => SenderFlavor::Unbounded(shared.add_sender()),
            SenderFlavor::Zero(shared) => SenderFlavor::Zero(shared.add_sender()),
        };
        Self { flavor }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        match &self.flavor {
            SenderFlavor::Bounded(shared) if shared.drop_sender() => shared.channel.close_senders(),
            SenderFlavor::Unbounded(shared) if shared.drop_sender() => shared.channel.close_senders(),
            SenderFlavor::Zero(shared) if shared.drop_sender() => shared.channel.close(),
            _ => {}
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Sender { .. }")
    }
}
