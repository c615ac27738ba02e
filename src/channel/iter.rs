//! Iterators over received messages.

#![forbid(unsafe_code)]

use std::iter::FusedIterator;

use crate::base::debug::debug;
use crate::channel::receiver::Receiver;

/// Waits for each message of a channel: what [`Receiver::iter`] returns, where the example is.
pub struct Iter<'a, T> {
    pub(super) receiver: &'a Receiver<T>,
}

impl<T> FusedIterator for Iter<'_, T> {}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

/// Takes the messages that are in a channel, without waiting: what [`Receiver::try_iter`] returns, where the example
/// is.
pub struct TryIter<'a, T> {
    pub(super) receiver: &'a Receiver<T>,
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
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
    pub(super) receiver: Receiver<T>,
}

impl<T> FusedIterator for IntoIter<T> {}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

debug! { Iter<'a, T>; TryIter<'a, T>; IntoIter<T>; }
