//! Intrusive doubly linked list: nodes live elsewhere (on a parked stack, in a task), the list only links them.
//!
//! # Invariants
//!
//! 1. A linked node is in exactly one list and its address does not change until it is unlinked.
//! 2. The caller of a list's method holds what guards that list (one owner thread, or a lock).
//! 3. `Links` is reached only through the list that holds the node, or, while unlinked, by the node's owner.
//! 4. `next` of an unlinked node is `UNLINKED`; of a linked one it is the next node, or null.
//!
//! The list allocates nothing and runs no code of its users.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::offset_of;
use std::ptr::{self, NonNull};

/// The two links a node carries for each list that it can be in.
pub(crate) struct Links<T> {
    next: Cell<*const T>,
    prev: Cell<*const T>,
}

impl<T> Links<T> {
    /// Where a debugger finds the next node.
    pub(crate) const NEXT: usize = offset_of!(Self, next);
    /// Not null, and no node's address. A word in each header and message less than a flag of its own.
    const UNLINKED: *const T = ptr::dangling();

    pub(crate) const fn new() -> Self {
        Self { next: Cell::new(Self::UNLINKED), prev: Cell::new(ptr::null()) }
    }

    /// Is the node in a list now?
    #[inline]
    pub(crate) fn is_linked(&self) -> bool {
        !ptr::eq(self.next.get(), Self::UNLINKED)
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
    /// Where a debugger finds the first node.
    pub(crate) const HEAD: usize = offset_of!(Self, head);

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
        let links = unsafe { node.as_ref() }.links();
        debug_assert!(links.is_linked());
        NonNull::new(links.next.get().cast_mut())
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
        debug_assert!(!links.is_linked());
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
        debug_assert!(!links.is_linked());
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

    /// Makes `last` the last node: it and those before it, in their order, go behind the others.
    ///
    /// # Safety
    ///
    /// `last` is linked in this very list.
    pub(crate) unsafe fn rotate_past(&self, last: NonNull<T>) {
        let Some(first) = self.next_of(last) else { return };
        let last = last.as_ptr().cast_const();
        // SAFETY: all four are linked here (`first` has one before it, so there are a head and a tail), so they are valid by
        // invariant 1. They may be the same in pairs: each link that changes is written once.
        unsafe {
            (*self.tail.get()).links().next.set(self.head.get());
            (*self.head.get()).links().prev.set(self.tail.get());
            first.as_ref().links().prev.set(ptr::null());
            (*last).links().next.set(ptr::null());
        }
        self.head.set(first.as_ptr());
        self.tail.set(last);
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
        debug_assert!(links.is_linked());
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
        links.next.set(Links::UNLINKED);
    }
}

/// A pointer that owns its node, for lists that own theirs.
///
/// # Safety
///
/// The node that `into_node` gives is valid, in no list, and stays where it is until `from_node` has made the pointer of it
/// again.
pub(crate) unsafe trait Owner: Sized {
    type Node: Linked;

    fn into_node(self) -> NonNull<Self::Node>;

    /// # Safety
    ///
    /// The node came from [`into_node`](Self::into_node), and no other pointer was made of it since.
    unsafe fn from_node(node: NonNull<Self::Node>) -> Self;
}

/// A [`List`] that owns its nodes: what is still in it when it is dropped is dropped.
pub(crate) struct OwningList<P: Owner>(List<P::Node>);

// SAFETY: the owner of the list has the pointers in it, and only through the list.
unsafe impl<P: Owner + Send> Send for OwningList<P> {}

impl<P: Owner> OwningList<P> {
    pub(crate) const fn new() -> Self {
        Self(List::new())
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, node: NonNull<P::Node>) -> bool {
        self.0.contains(node)
    }

    /// How many there are: it goes through all of them.
    pub(crate) fn count(&self) -> usize {
        std::iter::successors(self.0.front(), |node| self.0.next_of(*node)).count()
    }

    /// The same, but no more than `most`, of which it goes through so many.
    pub(crate) fn count_to(&self, most: usize) -> usize {
        std::iter::successors(self.0.front(), |node| self.0.next_of(*node)).take(most).count()
    }

    #[inline]
    pub(crate) fn push_back(&mut self, owner: P) {
        // SAFETY: as `Owner` promises.
        unsafe { self.0.push_back(owner.into_node()) };
    }

    pub(crate) fn push_front(&mut self, owner: P) {
        // SAFETY: as `Owner` promises.
        unsafe { self.0.push_front(owner.into_node()) };
    }

    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<P> {
        // SAFETY: it came from `push_back` or `push_front`, and is out of the list now.
        self.0.pop_front().map(|node| unsafe { P::from_node(node) })
    }

    pub(crate) fn pop_back(&mut self) -> Option<P> {
        let node = self.0.back()?;
        // SAFETY: it is linked here.
        Some(unsafe { self.remove(node) })
    }

    /// Takes `node` out.
    ///
    /// # Safety
    ///
    /// It is linked in this very list.
    pub(crate) unsafe fn remove(&mut self, node: NonNull<P::Node>) -> P {
        // SAFETY: as the caller promises; it came from `push_back` or `push_front`.
        unsafe {
            self.0.remove(node);
            P::from_node(node)
        }
    }
}

impl<P: Owner> Default for OwningList<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Owner> Drop for OwningList<P> {
    fn drop(&mut self) {
        while let Some(owner) = self.pop_front() {
            drop(owner);
        }
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

    #[test]
    fn links_take_two_words_and_say_whether_a_node_is_linked_alone_too() {
        assert_eq!(size_of::<Links<Node>>(), 2 * size_of::<usize>());
        let (node, list) = (Node(0, Links::new()), List::new());
        assert!(!node.1.is_linked());
        // SAFETY: the node outlives the list, in which it is not.
        unsafe { list.push_back(NonNull::from(&node)) };
        assert!(node.1.is_linked() && list.next_of(NonNull::from(&node)).is_none());
        list.pop_front();
        assert!(!node.1.is_linked());
    }

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

    #[test]
    fn a_list_rotates_past_any_of_its_nodes_and_is_whole_afterwards() {
        let nodes: Vec<Node> = (0..5).map(|i| Node(i, Links::new())).collect();
        for count in 1..=5 {
            for last in 0..count {
                let list = List::new();
                for node in &nodes[..count] {
                    // SAFETY: the nodes live in a vector that is not touched, and are unlinked each time round.
                    unsafe { list.push_back(NonNull::from(node)) };
                }
                // SAFETY: it was just linked here.
                unsafe { list.rotate_past(NonNull::from(&nodes[last])) };
                let (moved, rest): (Vec<u32>, Vec<u32>) = (0..count as u32).partition(|i| *i <= last as u32);
                let mut expected = [rest, moved].concat();
                assert_eq!(list.back(), expected.last().map(|i| NonNull::from(&nodes[*i as usize])));
                // The links backwards, too: one that is taken out of the middle closes the gap.
                let gone = expected.remove(expected.len() / 2);
                // SAFETY: it is linked here.
                unsafe { list.remove(NonNull::from(&nodes[gone as usize])) };
                assert_eq!(drain(&list), expected);
            }
        }
    }

    // SAFETY: a box stays where it is.
    unsafe impl Owner for Box<Node> {
        type Node = Node;

        fn into_node(self) -> NonNull<Node> {
            NonNull::from(Box::leak(self))
        }

        unsafe fn from_node(node: NonNull<Node>) -> Self {
            // SAFETY: it is a leaked box.
            unsafe { Box::from_raw(node.as_ptr()) }
        }
    }

    #[test]
    fn an_owning_list_gives_its_nodes_back_and_drops_the_rest() {
        let mut list = OwningList::<Box<Node>>::new();
        (1..5).for_each(|i| list.push_back(Box::new(Node(i, Links::new()))));
        list.push_front(Box::new(Node(0, Links::new())));
        assert_eq!(list.pop_front().map(|node| node.0), Some(0));
        assert_eq!(list.pop_back().map(|node| node.0), Some(4));
        let front = list.0.front().expect("three are left");
        let second = list.0.next_of(front).expect("three are left");
        assert!(list.contains(second));
        // SAFETY: it is linked here.
        assert_eq!(unsafe { list.remove(second) }.0, 2);
        assert!(!list.is_empty(), "two are left, which Miri and the leak checker expect to be freed");
    }
}
