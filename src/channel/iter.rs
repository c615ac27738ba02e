//! Iterators over received messages.

#![forbid(unsafe_code)]

use std::iter::FusedIterator;

use crate::base::debug::debug;
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

/// Takes the messages that are in a channel, without waiting: what [`Receiver::try_iter`] returns.
///
/// ```
/// let (sender, receiver) = green::channel::unbounded();
/// sender.send(1).unwrap();
/// let mut there: green::channel::TryIter<'_, i32> = receiver.try_iter();
/// assert_eq!((there.next(), there.next()), (Some(1), None));
/// ```
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
