//! Iterators over received messages.

#![forbid(unsafe_code)]

use std::fmt;
use std::iter::FusedIterator;

use crate::channel::receiver::Receiver;

/// Waits for each message of a channel: what [`Receiver::iter`] returns. It ends when the channel is empty and disconnected.
///
/// ```
/// let (sender, receiver) = green::channel::bounded(1);
/// green::spawn(move || (1..4).for_each(|n| sender.send(n).unwrap()));
/// let messages: green::channel::Iter<'_, i32> = receiver.iter();
/// assert_eq!(messages.sum::<i32>(), 6);
/// ```
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
}

impl<'a, T> Iter<'a, T> {
    pub(super) fn new(receiver: &'a Receiver<T>) -> Self {
        Self { receiver }
    }
}

impl<T> FusedIterator for Iter<'_, T> {}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Iter { .. }")
    }
}

/// Takes the messages that are in a channel, without waiting: what [`Receiver::try_iter`] returns.
///
/// ```
/// let (sender, receiver) = green::channel::unbounded();
/// sender.send(1).unwrap();
/// let mut there: green::channel::TryIter<'_, i32> = receiver.try_iter();
/// assert_eq!((there.next(), there.next()), (Some(1), None));
/// ```
pub struct TryIter<'a, T> {
    receiver: &'a Receiver<T>,
}

impl<'a, T> TryIter<'a, T> {
    pub(super) fn new(receiver: &'a Receiver<T>) -> Self {
        Self { receiver }
    }
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}

impl<T> fmt::Debug for TryIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("TryIter { .. }")
    }
}

/// Waits for each message of a channel, and owns the receiver.
///
/// ```
/// let (s, r) = green::channel::unbounded();
/// green::spawn(move || (1..=3).for_each(|i| s.send(i).unwrap()));
/// let mut sum = 0;
/// for message in r {
///     sum += message;
/// }
/// assert_eq!(sum, 6);
/// ```
pub struct IntoIter<T> {
    receiver: Receiver<T>,
}

impl<T> IntoIter<T> {
    pub(super) fn new(receiver: Receiver<T>) -> Self {
        Self { receiver }
    }
}

impl<T> FusedIterator for IntoIter<T> {}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T> fmt::Debug for IntoIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("IntoIter { .. }")
    }
}
