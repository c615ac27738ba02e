//! Intrusive doubly linked list: nodes live elsewhere (on a parked stack, in a task), the list only links them.
//!
//! # Invariants
//!
//! 1. A linked node is in exactly one list and its address does not change until it is unlinked.
//! 2. Whoever calls a method of a list holds whatever guards that list (one owner thread, or a lock).
//! 3. `Links` is reached only through the list that holds the node, or, while unlinked, by the node's owner.
//!
//! The list allocates nothing and runs no code of its users.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

/// The two links a node carries for each list that it can be in.
pub(crate) struct Links<T> {
    next: Cell<*const T>,
    prev: Cell<*const T>,
    linked: Cell<bool>,
}

impl<T> Links<T> {
    pub(crate) const fn new() -> Self {
        Self { next: Cell::new(ptr::null()), prev: Cell::new(ptr::null()), linked: Cell::new(false) }
    }

    /// Is the node in a list now?
    #[inline]
    pub(crate) fn is_linked(&self) -> bool {
        self.linked.get()
    }
}

impl<T> fmt::Debug for Links<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("linked", &self.linked.get()).finish_non_exhaustive()
    }
}

/// A type with [`Links`] inside; `K` tells apart the lists that one node can be in.
///
/// # Safety
///
/// `links` returns the same `Links` for the same node every time, and nothing but a [`List`] changes it.
pub(crate) unsafe trait Linked<K = ()>: Sized {
    /// The links of this node for lists of kind `K`.
    fn links(&self) -> &Links<Self>;
}

/// A doubly linked list of nodes that it does not own. FIFO by `push_back` and `pop_front`.
pub(crate) struct List<T: Linked<K>, K = ()> {
    head: Cell<*const T>,
    tail: Cell<*const T>,
    _kind: PhantomData<K>,
}

impl<T: Linked<K>, K> List<T, K> {
    pub(crate) const fn new() -> Self {
        Self { head: Cell::new(ptr::null()), tail: Cell::new(ptr::null()), _kind: PhantomData }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.get().is_null()
    }

    /// The first node, still linked.
    #[inline]
    pub(crate) fn front(&self) -> Option<NonNull<T>> {
        NonNull::new(self.head.get().cast_mut())
    }

    /// The last node, still linked.
    #[inline]
    pub(crate) fn back(&self) -> Option<NonNull<T>> {
        NonNull::new(self.tail.get().cast_mut())
    }

    /// Is `node`, linked or not, in this list? Walks through it.
    pub(crate) fn contains(&self, node: NonNull<T>) -> bool {
        let mut next = self.front();
        while let Some(linked) = next {
            if linked == node {
                return true;
            }
            next = self.next_of(linked);
        }
        false
    }

    /// The node after `node`, which is linked in this list.
    pub(crate) fn next_of(&self, node: NonNull<T>) -> Option<NonNull<T>> {
        // SAFETY: linked nodes are valid by invariant 1.
        NonNull::new(unsafe { node.as_ref() }.links().next.get().cast_mut())
    }

    /// Links `node` at the end.
    ///
    /// # Safety
    ///
    /// `node` is valid and in no list, and stays where it is until it is unlinked.
    #[inline]
    pub(crate) unsafe fn push_back(&self, node: NonNull<T>) {
        // SAFETY: the caller vouches for `node`.
        let links = unsafe { node.as_ref() }.links();
        debug_assert!(!links.linked.get());
        links.linked.set(true);
        links.next.set(ptr::null());
        links.prev.set(self.tail.get());
        let node = node.as_ptr().cast_const();
        if self.tail.get().is_null() {
            self.head.set(node);
        } else {
            // SAFETY: the tail is linked here, so it is valid by invariant 1.
            unsafe { &*self.tail.get() }.links().next.set(node);
        }
        self.tail.set(node);
    }

    /// Links `node` at the front.
    ///
    /// # Safety
    ///
    /// As [`push_back`](Self::push_back).
    pub(crate) unsafe fn push_front(&self, node: NonNull<T>) {
        // SAFETY: the caller vouches for `node`.
        let links = unsafe { node.as_ref() }.links();
        debug_assert!(!links.linked.get());
        links.linked.set(true);
        links.prev.set(ptr::null());
        links.next.set(self.head.get());
        let node = node.as_ptr().cast_const();
        if self.head.get().is_null() {
            self.tail.set(node);
        } else {
            // SAFETY: the head is linked here, so it is valid by invariant 1.
            unsafe { &*self.head.get() }.links().prev.set(node);
        }
        self.head.set(node);
    }

    /// Unlinks and returns the first node.
    #[inline]
    pub(crate) fn pop_front(&self) -> Option<NonNull<T>> {
        let node = self.front()?;
        // SAFETY: `node` is the head of this list.
        unsafe { self.remove(node) };
        Some(node)
    }

    /// Unlinks `node`.
    ///
    /// # Safety
    ///
    /// `node` is linked in this very list.
    #[inline]
    pub(crate) unsafe fn remove(&self, node: NonNull<T>) {
        // SAFETY: linked nodes are valid by invariant 1.
        let links = unsafe { node.as_ref() }.links();
        debug_assert!(links.linked.get());
        let (next, prev) = (links.next.get(), links.prev.get());
        if prev.is_null() {
            self.head.set(next);
        } else {
            // SAFETY: a neighbour is linked here too, so it is valid by invariant 1.
            unsafe { &*prev }.links().next.set(next);
        }
        if next.is_null() {
            self.tail.set(prev);
        } else {
            // SAFETY: as above.
            unsafe { &*next }.links().prev.set(prev);
        }
        links.linked.set(false);
    }
}

impl<T: Linked<K>, K> Default for List<T, K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Linked<K>, K> fmt::Debug for List<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("is_empty", &self.is_empty()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Node(u32, Links<Node>);

    // SAFETY: the links are a field of the node.
    unsafe impl Linked for Node {
        fn links(&self) -> &Links<Self> {
            &self.1
        }
    }

    fn drain(list: &List<Node>) -> Vec<u32> {
        // SAFETY: the nodes outlive the list in these tests.
        std::iter::from_fn(|| list.pop_front().map(|n| unsafe { n.as_ref() }.0)).collect()
    }

    #[test]
    fn nodes_come_out_in_the_order_they_went_in_and_any_can_leave_from_the_middle() {
        let nodes: Vec<Node> = (0..5).map(|i| Node(i, Links::new())).collect();
        for gone in 0..5 {
            let list = List::new();
            for node in &nodes {
                // SAFETY: the nodes live in a vector that is not touched, and are unlinked each time round.
                unsafe { list.push_back(NonNull::from(node)) };
            }
            // SAFETY: it was just linked here.
            unsafe { list.remove(NonNull::from(&nodes[gone])) };
            assert!(!nodes[gone].1.is_linked());
            // SAFETY: as above; it is in no list.
            unsafe { list.push_front(NonNull::from(&nodes[gone])) };
            let others = (0..5).filter(|i| *i != gone as u32);
            let expected: Vec<u32> = std::iter::once(gone as u32).chain(others).collect();
            assert_eq!(drain(&list), expected);
            assert!(list.is_empty());
        }
    }
}
