//! The receiving handle.

#![forbid(unsafe_code)]

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvError, RecvTimeoutError, TryRecvError};

use crate::base::debug::debug;
use crate::channel::buffer::{Blocks, Ring};
use crate::channel::iter::{IntoIter, Iter, TryIter};
use crate::channel::queue::Queue;
use crate::channel::shared::{SharedChannel, each_flavor};
use crate::channel::timer::TimerChannel;
use crate::channel::zero::ZeroChannel;
use crate::sys::clock::{NEVER, after_ns, at_ns};

/// Receives messages from a channel: what [`bounded`](crate::channel::bounded) and the like return.
///
/// Clones receive from the same channel, and each message goes to one of them. When the last one is dropped, the
/// channel is closed: what lies in it is dropped, and sends fail. A `for` loop over a receiver waits for each message,
/// and ends when all senders are gone.
///
/// ```
/// let (s, r) = green::channel::bounded(8);
/// let workers: Vec<_> = (0..3)
///     .map(|_| {
///         let r = r.clone();
///         green::spawn(move || r.iter().sum::<i32>())
///     })
///     .collect();
/// (0..100).for_each(|i| s.send(i).unwrap());
/// drop(s);
/// assert_eq!(workers.into_iter().map(|w| w.join().unwrap()).sum::<i32>(), 4950);
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
    /// Receives a message if that needs no waiting.
    ///
    /// With capacity 0, a sender must be waiting. If that sender is a `select`, this waits for the moment that the
    /// selected thread needs to make its message. Not a cancellation point; a call that fails spends from the thread's
    /// budget, so a loop of them lets others run.
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
    ///
    /// # Errors
    ///
    /// `Empty`: there is no message; `Disconnected`: there is none, and all senders are gone.
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let result = self.try_take();
        if matches!(result, Err(TryRecvError::Empty)) {
            crate::park::spend();
        }
        result
    }

    /// Receives a message; waits while there is none.
    ///
    /// Messages that were sent before the senders went are received first. Receivers that wait are served in the order
    /// in which they came. A cancellation point: a receiver that is cancelled has taken nothing.
    ///
    /// ```
    /// let (s, r) = green::channel::bounded(1);
    /// green::spawn(move || s.send(7).unwrap());
    /// assert_eq!(r.recv(), Ok(7));
    /// assert!(r.recv().is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// There is no message, and all senders are gone.
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

    /// Receives a message; waits for at most `timeout` while there is none.
    ///
    /// Everything else is as for [`recv`](Self::recv).
    ///
    /// ```
    /// use green::channel::{RecvTimeoutError, unbounded};
    /// let (s, r) = unbounded::<i32>();
    /// let timeout = std::time::Duration::from_millis(1);
    /// assert_eq!(r.recv_timeout(timeout), Err(RecvTimeoutError::Timeout));
    /// # drop(s);
    /// ```
    ///
    /// # Errors
    ///
    /// `Timeout`: the time is over; `Disconnected`: there is no message, and all senders are gone.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(after_ns(timeout))
    }

    /// Receives a message; waits until `deadline` at most while there is none.
    ///
    /// If the deadline has passed, a message that is there is still received. Several calls can share one deadline.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// let (s, r) = green::channel::unbounded();
    /// let deadline = Instant::now() + Duration::from_millis(5);
    /// s.send(1).unwrap();
    /// assert_eq!(r.recv_deadline(deadline), Ok(1));
    /// assert!(r.recv_deadline(deadline).unwrap_err().is_timeout());
    /// ```
    ///
    /// # Errors
    ///
    /// `Timeout`: the deadline has passed; `Disconnected`: there is no message, and all senders are gone.
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_until(at_ns(deadline))
    }

    #[inline(never)]
    fn recv_until(&self, deadline_ns: u64) -> Result<T, RecvTimeoutError> {
        each_flavor!(self: ReceiverFlavor, shared => shared.channel.recv(deadline_ns),
            ReceiverFlavor::Timer(timer) => timer.recv(deadline_ns),
            ReceiverFlavor::Never => crate::channel::timer::wait_in_vain(deadline_ns))
    }

    /// Returns whether there is no message in the channel; with capacity 0, always true.
    ///
    /// ```
    /// let (s, r) = green::channel::unbounded();
    /// assert!(r.is_empty());
    /// s.send(0).unwrap();
    /// assert!(!r.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether the channel is full; with capacity 0, always true.
    ///
    /// ```
    /// let (s, r) = green::channel::bounded(1);
    /// s.send(0).unwrap();
    /// assert!(r.is_full());
    /// ```
    pub fn is_full(&self) -> bool {
        self.capacity() == Some(self.len())
    }

    /// Returns how many messages are in the channel.
    ///
    /// ```
    /// let (s, r) = green::channel::unbounded();
    /// s.send(1).unwrap();
    /// s.send(2).unwrap();
    /// assert_eq!(r.len(), 2);
    /// ```
    pub fn len(&self) -> usize {
        each_flavor!(self: ReceiverFlavor, shared => shared.channel.len(),
            ReceiverFlavor::Timer(timer) => usize::from(timer.is_due()),
            ReceiverFlavor::Never => 0)
    }

    /// Returns how many messages the channel can hold; `None`: any number.
    ///
    /// ```
    /// use green::channel::{bounded, unbounded};
    /// assert_eq!(bounded::<()>(0).1.capacity(), Some(0));
    /// assert_eq!(unbounded::<()>().1.capacity(), None);
    /// ```
    pub fn capacity(&self) -> Option<usize> {
        match &self.flavor {
            ReceiverFlavor::Bounded(shared) => Some(shared.channel.capacity()),
            ReceiverFlavor::Unbounded(_) => None,
            ReceiverFlavor::Timer(_) => Some(1),
            ReceiverFlavor::Zero(_) | ReceiverFlavor::Never => Some(0),
        }
    }

    /// Returns an iterator that waits for each message, and ends when the channel is empty and all senders are gone.
    ///
    /// Each step is a [`recv`](Self::recv), and so a cancellation point.
    ///
    /// ```
    /// let (s, r) = green::channel::unbounded();
    /// green::spawn(move || (0..3).for_each(|i| s.send(i).unwrap()));
    /// assert_eq!(r.iter().collect::<Vec<_>>(), [0, 1, 2]);
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// Returns an iterator over the messages that are there now; it does not wait.
    ///
    /// ```
    /// let (s, r) = green::channel::unbounded();
    /// s.send(1).unwrap();
    /// assert_eq!(r.try_iter().collect::<Vec<_>>(), [1]);
    /// assert_eq!(r.try_iter().next(), None); // though `s` is still there
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { receiver: self }
    }

    /// Returns whether both receive from the same channel.
    ///
    /// ```
    /// let (_s, r) = green::channel::unbounded::<()>();
    /// assert!(r.same_channel(&r.clone()));
    /// ```
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        self.address() == other.address()
    }

    /// Where the channel is: the same for all handles of the channel, and for all that are never ready.
    pub(super) fn address(&self) -> *const () {
        each_flavor!(self: ReceiverFlavor, shared => Arc::as_ptr(shared).cast(),
            ReceiverFlavor::Timer(timer) => Arc::as_ptr(timer).cast(),
            ReceiverFlavor::Never => ptr::null())
    }

    /// Receives a message without a wait, and without its price.
    #[inline]
    pub(super) fn try_take(&self) -> Result<T, TryRecvError> {
        each_flavor!(self: ReceiverFlavor, shared => shared.channel.try_recv(),
            ReceiverFlavor::Timer(timer) => timer.try_recv(),
            ReceiverFlavor::Never => Err(TryRecvError::Empty))
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

debug! { Receiver<T>; }

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
        IntoIter { receiver: self }
    }
}
