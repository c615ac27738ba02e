//! The sending handle.

#![forbid(unsafe_code)]

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{SendError, SendTimeoutError, TrySendError};

use crate::base::debug::debug;
use crate::channel::buffer::{Blocks, Ring};
use crate::channel::queue::Queue;
use crate::channel::shared::{SharedChannel, each_flavor};
use crate::channel::zero::ZeroChannel;
use crate::sys::clock::{NEVER, after_ns, at_ns};

/// Sends messages into a channel: what [`bounded`](crate::channel::bounded) and
/// [`unbounded`](crate::channel::unbounded) return.
///
/// Clones send into the same channel, from any number of threads. When the last one is dropped, the channel is closed:
/// receivers get what is left in it, and then an error.
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
    /// Sends a message if that needs no waiting.
    ///
    /// With capacity 0, a receiver must be waiting. Not a cancellation point; a call that fails spends from the
    /// thread's budget, so a loop of them lets others run.
    ///
    /// ```
    /// use green::channel::{TrySendError, bounded};
    /// let (s, r) = bounded(1);
    /// assert_eq!(s.try_send(1), Ok(()));
    /// assert_eq!(s.try_send(2), Err(TrySendError::Full(2)));
    /// drop(r);
    /// assert_eq!(s.try_send(3), Err(TrySendError::Disconnected(3)));
    /// ```
    ///
    /// # Errors
    ///
    /// Each gives the message back. `Full`: there is no room, or with capacity 0 no receiver; `Disconnected`: all
    /// receivers are gone.
    #[inline]
    pub fn try_send(&self, msg: T) -> Result<(), TrySendError<T>> {
        let result = each_flavor!(self: SenderFlavor, shared => shared.channel.try_send(msg));
        if matches!(result, Err(TrySendError::Full(_))) {
            crate::park::spend();
        }
        result
    }

    /// Sends a message; waits while the channel is full. With capacity 0, waits until a receiver has the message.
    ///
    /// `Ok` does not say that the message has been received (except with capacity 0), only that it is in the channel:
    /// if all receivers are dropped later, it is dropped with the channel.
    ///
    /// Senders that wait are served in the order in which they came. A cancellation point: a sender that is cancelled
    /// drops its message, which no receiver has got.
    ///
    /// ```
    /// let (s, r) = green::channel::bounded(1);
    /// assert_eq!(s.send(1), Ok(()));
    /// drop(r);
    /// assert_eq!(s.send(2).unwrap_err().into_inner(), 2);
    /// ```
    ///
    /// # Errors
    ///
    /// All receivers are gone; the error gives the message back.
    #[inline]
    pub fn send(&self, msg: T) -> Result<(), SendError<T>> {
        // One call for each flavour: a small frame.
        let result = each_flavor!(self: SenderFlavor, shared => shared.channel.send(msg, NEVER));
        match result {
            Ok(()) => Ok(()),
            Err(error) => Err(SendError(error.into_inner())),
        }
    }

    /// Sends a message; waits for at most `timeout` while the channel is full.
    ///
    /// Everything else is as for [`send`](Self::send).
    ///
    /// ```
    /// use green::channel::{SendTimeoutError, bounded};
    /// let (s, _r) = bounded(0);
    /// let timeout = std::time::Duration::from_millis(1);
    /// assert_eq!(s.send_timeout(1, timeout), Err(SendTimeoutError::Timeout(1)));
    /// ```
    ///
    /// # Errors
    ///
    /// Each gives the message back. `Timeout`: the time is over; `Disconnected`: all receivers are gone.
    pub fn send_timeout(&self, msg: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_until(msg, after_ns(timeout))
    }

    /// Sends a message; waits until `deadline` at most while the channel is full.
    ///
    /// If the deadline has passed, a message that needs no waiting is still sent. Several calls can share one deadline.
    ///
    /// ```
    /// use green::channel::bounded;
    /// use std::time::{Duration, Instant};
    /// let (s, _r) = bounded(1);
    /// let deadline = Instant::now() + Duration::from_millis(5);
    /// assert!(s.send_deadline(1, deadline).is_ok());
    /// assert!(s.send_deadline(2, deadline).unwrap_err().is_timeout());
    /// ```
    ///
    /// # Errors
    ///
    /// Each gives the message back. `Timeout`: the deadline has passed; `Disconnected`: all receivers are gone.
    pub fn send_deadline(&self, msg: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_until(msg, at_ns(deadline))
    }

    fn send_until(&self, msg: T, deadline_ns: u64) -> Result<(), SendTimeoutError<T>> {
        each_flavor!(self: SenderFlavor, shared => shared.channel.send(msg, deadline_ns))
    }

    /// Returns whether there is no message in the channel; with capacity 0, always true.
    ///
    /// ```
    /// let (s, _r) = green::channel::unbounded();
    /// assert!(s.is_empty());
    /// s.send(0).unwrap();
    /// assert!(!s.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether the channel is full; with capacity 0, always true.
    ///
    /// ```
    /// let (s, _r) = green::channel::bounded(1);
    /// assert!(!s.is_full());
    /// s.send(0).unwrap();
    /// assert!(s.is_full());
    /// ```
    pub fn is_full(&self) -> bool {
        self.capacity() == Some(self.len())
    }

    /// Returns how many messages are in the channel.
    ///
    /// ```
    /// let (s, r) = green::channel::bounded(2);
    /// s.send(1).unwrap();
    /// assert_eq!((s.len(), r.len()), (1, 1));
    /// ```
    pub fn len(&self) -> usize {
        each_flavor!(self: SenderFlavor, shared => shared.channel.len())
    }

    /// Returns how many messages the channel can hold; `None`: any number.
    ///
    /// ```
    /// use green::channel::{bounded, unbounded};
    /// assert_eq!(bounded::<()>(3).0.capacity(), Some(3));
    /// assert_eq!(unbounded::<()>().0.capacity(), None);
    /// ```
    pub fn capacity(&self) -> Option<usize> {
        match &self.flavor {
            SenderFlavor::Bounded(shared) => Some(shared.channel.capacity()),
            SenderFlavor::Unbounded(_) => None,
            SenderFlavor::Zero(_) => Some(0),
        }
    }

    /// Returns whether both send into the same channel.
    ///
    /// ```
    /// let (s, r) = green::channel::unbounded::<()>();
    /// assert!(s.same_channel(&s.clone()));
    /// assert!(!s.same_channel(&green::channel::unbounded().0));
    /// # drop(r);
    /// ```
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        self.address() == other.address()
    }

    /// Where the channel is: the same for all handles of the channel.
    pub(super) fn address(&self) -> *const () {
        each_flavor!(self: SenderFlavor, shared => Arc::as_ptr(shared).cast())
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

debug! { Sender<T>; }
