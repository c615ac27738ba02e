//! The receiving handle.

#![forbid(unsafe_code)]

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvError, RecvTimeoutError, TryRecvError};

use crate::channel::SharedChannel;
use crate::channel::buffer::{Blocks, Ring};
use crate::channel::iter::{IntoIter, Iter, TryIter};
use crate::channel::queue::Queue;
use crate::channel::timer::TimerChannel;
use crate::channel::zero::ZeroChannel;
use crate::sys::clock::{NEVER, after_ns, at_ns};

/// Receives messages from a channel. Clones receive from the same one, each message going to one of them; when the last
/// is dropped, the channel is closed, what lies in it is dropped, and sends fail.
///
/// ```
/// let (s, r) = green::channel::bounded(8);
/// green::spawn(move || (0..100).for_each(|i| s.send(i).unwrap()));
/// assert_eq!(r.iter().sum::<i32>(), 4950);
/// ```
pub struct Receiver<T> {
    pub(super) flavor: ReceiverFlavor<T>,
}

pub(super) enum ReceiverFlavor<T> {
    Bounded(Arc<SharedChannel<Queue<T, Ring<T>>>>),
    Unbounded(Arc<SharedChannel<Queue<T, Blocks<T>>>>),
    Zero(Arc<SharedChannel<ZeroChannel<T>>>),
    Timer(Arc<TimerChannel<T>>),
    Never,
}

impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> Receiver<T> {
    pub(super) fn bounded(channel: Arc<SharedChannel<Queue<T, Ring<T>>>>) -> Self {
        Self { flavor: ReceiverFlavor::Bounded(channel) }
    }

    pub(super) fn unbounded(channel: Arc<SharedChannel<Queue<T, Blocks<T>>>>) -> Self {
        Self { flavor: ReceiverFlavor::Unbounded(channel) }
    }

    pub(super) fn zero(channel: Arc<SharedChannel<ZeroChannel<T>>>) -> Self {
        Self { flavor: ReceiverFlavor::Zero(channel) }
    }

    pub(super) fn timer(timer: TimerChannel<T>) -> Self {
        Self { flavor: ReceiverFlavor::Timer(Arc::new(timer)) }
    }

    pub(super) const fn never() -> Self {
        Self { flavor: ReceiverFlavor::Never }
    }

    /// Receives a message if that needs no waiting.
    ///
    /// With capacity 0, a sender must be waiting. If that sender is a `select`, this waits for the moment that the
    /// selected thread needs to make its message. Not a cancellation point.
    ///
    /// # Errors
    ///
    /// `Empty`: there is none; `Disconnected`: there is none, and all senders are gone.
    ///
    /// ```
    /// use green::channel::{TryRecvError, unbounded};
    /// let (s, r) = unbounded();
    /// assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
    /// s.send(1).unwrap();
    /// drop(s);
    /// assert_eq!(r.try_recv(), Ok(1));
    /// assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));
    /// ```
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let result = match &self.flavor {
            ReceiverFlavor::Bounded(shared) => shared.channel.try_recv(),
            ReceiverFlavor::Unbounded(shared) => shared.channel.try_recv(),
            ReceiverFlavor::Zero(shared) => shared.channel.try_recv(),
            ReceiverFlavor::Timer(timer) => timer.try_recv(),
            ReceiverFlavor::Never => Err(TryRecvError::Empty),
        };
        if matches!(result, Err(TryRecvError::Empty)) {
            crate::park::spend();
        }
        result
    }

    /// Receives a message; waits while there is none.
    ///
    /// Receivers that wait are served in the order in which they came. A cancellation point: a receiver that is
    /// cancelled has taken nothing.
    ///
    /// # Errors
    ///
    /// There is no message, and all senders are gone.
    ///
    /// ```
    /// let (s, r) = green::channel::bounded(1);
    /// green::spawn(move || s.send(7).unwrap());
    /// assert_eq!(r.recv(), Ok(7));
    /// assert!(r.recv().is_err());
    /// ```
    #[inline(always)]
    pub fn recv(&self) -> Result<T, RecvError> {
        // Inline down to the switch: a call that is left by a switch costs a mispredicted return.
        let result = match &self.flavor {
            ReceiverFlavor::Bounded(shared) => shared.channel.recv(NEVER),
            ReceiverFlavor::Unbounded(shared) => shared.channel.recv(NEVER),
            _ => self.recv_until(NEVER),
        };
        match result {
            Ok(message) => Ok(message),
            Err(_) => Err(RecvError),
        }
    }

    /// As [`recv`](Self::recv), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// `Timeout`: the time is over; `Disconnected`: there is no message, and all senders are gone.
    ///
    /// ```
    /// use green::channel::{RecvTimeoutError, unbounded};
    /// let (s, r) = unbounded::<i32>();
    /// let timeout = std::time::Duration::from_millis(1);
    /// assert_eq!(r.recv_timeout(timeout), Err(RecvTimeoutError::Timeout));
    /// # drop(s);
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(after_ns(timeout))
    }

    /// As [`recv`](Self::recv), until `deadline`. If that has passed, it still receives what needs no waiting.
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_until(at_ns(deadline))
    }

    #[inline(never)]
    fn recv_until(&self, deadline_ns: u64) -> Result<T, RecvTimeoutError> {
        match &self.flavor {
            ReceiverFlavor::Bounded(shared) => shared.channel.recv(deadline_ns),
            ReceiverFlavor::Unbounded(shared) => shared.channel.recv(deadline_ns),
            ReceiverFlavor::Zero(shared) => shared.channel.recv(deadline_ns),
            ReceiverFlavor::Timer(timer) => timer.recv(deadline_ns),
            ReceiverFlavor::Never => crate::channel::timer::wait_in_vain(deadline_ns),
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
    pub fn len(&self) -> usize {
        match &self.flavor {
            ReceiverFlavor::Bounded(shared) => shared.channel.len(),
            ReceiverFlavor::Unbounded(shared) => shared.channel.len(),
            ReceiverFlavor::Timer(timer) => usize::from(timer.is_due()),
            ReceiverFlavor::Zero(_) | ReceiverFlavor::Never => 0,
        }
    }

    /// How many messages the channel can hold; `None`: any number.
    pub fn capacity(&self) -> Option<usize> {
        match &self.flavor {
            ReceiverFlavor::Bounded(shared) => Some(shared.channel.capacity()),
            ReceiverFlavor::Unbounded(_) => None,
            ReceiverFlavor::Timer(_) => Some(1),
            ReceiverFlavor::Zero(_) | ReceiverFlavor::Never => Some(0),
        }
    }

    /// An iterator that waits for each message, and ends when the channel is empty and all senders are gone.
    ///
    /// ```
    /// let (s, r) = green::channel::unbounded();
    /// green::spawn(move || (0..3).for_each(|i| s.send(i).unwrap()));
    /// assert_eq!(r.iter().collect::<Vec<_>>(), [0, 1, 2]);
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self)
    }

    /// An iterator over the messages that are there now; it does not wait.
    ///
    /// ```
    /// let (s, r) = green::channel::unbounded();
    /// s.send(1).unwrap();
    /// assert_eq!(r.try_iter().collect::<Vec<_>>(), [1]);
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter::new(self)
    }

    /// Do both receive from the same channel?
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        match (&self.flavor, &other.flavor) {
            (ReceiverFlavor::Bounded(one), ReceiverFlavor::Bounded(other)) => Arc::ptr_eq(one, other),
            (ReceiverFlavor::Unbounded(one), ReceiverFlavor::Unbounded(other)) => Arc::ptr_eq(one, other),
            (ReceiverFlavor::Zero(one), ReceiverFlavor::Zero(other)) => Arc::ptr_eq(one, other),
            (ReceiverFlavor::Timer(one), ReceiverFlavor::Timer(other)) => Arc::ptr_eq(one, other),
            (ReceiverFlavor::Never, ReceiverFlavor::Never) => true,
            _ => false,
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        let flavor = match &self.flavor {
            ReceiverFlavor::Bounded(shared) => ReceiverFlavor::Bounded(shared.add_receiver()),
            ReceiverFlavor::Unbounded(shared) => ReceiverFlavor::Unbounded(shared.add_receiver()),
            ReceiverFlavor::Zero(shared) => ReceiverFlavor::Zero(shared.add_receiver()),
            ReceiverFlavor::Timer(timer) => ReceiverFlavor::Timer(Arc::clone(timer)),
            ReceiverFlavor::Never => ReceiverFlavor::Never,
        };
        Self { flavor }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        match &self.flavor {
            ReceiverFlavor::Bounded(shared) if shared.drop_receiver() => shared.channel.close_receivers(),
            ReceiverFlavor::Unbounded(shared) if shared.drop_receiver() => shared.channel.close_receivers(),
            ReceiverFlavor::Zero(shared) if shared.drop_receiver() => shared.channel.close(),
            _ => {}
        }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Receiver { .. }")
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
        IntoIter::new(self)
    }
}
