//! An envelope: what queues carry when they carry many types, as one thin pointer that owns what it leads to.
//!
//! A block begins with a [`Node`], which links it into a list without another allocation, and says by its vtable what the rest
//! is. Mostly the block is a box ([`TypedBox`], when its content is still known); it may also lie elsewhere, pinned, and the
//! envelope is the right to it.
//!
//! # Invariants
//!
//! 1. A node is the first field of a `repr(C)` block, whose type its vtable was made for, and every pointer to it was made from
//!    one to the whole.
//! 2. There is one envelope of a block at a time. Its holder owns the block, or may use it as the block's owner has promised.
//!    An [`OwningList`](crate::base::list::OwningList) holds the envelopes that are linked in it.

#![allow(unsafe_code)]

use std::alloc::{Layout, handle_alloc_error};
use std::any::TypeId;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use crate::base::list::{Linked, Links, Owner};
use crate::task::pool;

/// What every block begins with. `V`: what its users can do with an envelope whose type they do not know.
pub(crate) struct Node<V: 'static> {
    links: Links<Node<V>>,
    vtable: &'static VTable<V>,
}

struct VTable<V: 'static> {
    discard: unsafe fn(NonNull<Node<V>>),
    content: fn() -> TypeId,
    ops: V,
}

/// The vtable of blocks with an `E`.
pub(crate) struct Kind<V: 'static, E> {
    vtable: VTable<V>,
    _content: PhantomData<fn(E) -> E>,
}

impl<V, E: 'static> Kind<V, E> {
    /// Of boxes.
    pub(crate) const fn boxed(ops: V) -> Self {
        let vtable = VTable { discard: discard::<V, E>, content: TypeId::of::<E>, ops };
        Self { vtable, _content: PhantomData }
    }

    /// Of blocks that others have a share of: `discard` gives the envelope's up.
    pub(crate) const fn shared(ops: V, discard: unsafe fn(NonNull<Node<V>>)) -> Self {
        Self { vtable: VTable { discard, content: TypeId::of::<E>, ops }, _content: PhantomData }
    }

    /// Of blocks that are pinned elsewhere: dropping their envelope does nothing.
    pub(crate) const fn pinned(ops: V) -> Self {
        Self { vtable: VTable { discard: |_| {}, content: TypeId::of::<E>, ops }, _content: PhantomData }
    }
}

impl<V> Node<V> {
    #[inline]
    pub(crate) fn new<E>(kind: &'static Kind<V, E>) -> Self {
        Self { links: Links::new(), vtable: &kind.vtable }
    }

    pub(crate) fn is_linked(&self) -> bool {
        self.links.is_linked()
    }

    pub(crate) fn ops(&self) -> &'static V {
        &self.vtable.ops
    }
}

// SAFETY: the links are a field of the node, and only lists change them.
unsafe impl<V> Linked for Node<V> {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

/// See the module's text. Dropped, it drops its box.
#[must_use]
pub(crate) struct Erased<V: 'static>(NonNull<Node<V>>);

// SAFETY: what is in a box is `Send`, and the caller that makes an envelope of a pinned block promises as much.
unsafe impl<V> Send for Erased<V> {}

// SAFETY: boxes stay where they are, and what is pinned does, too.
unsafe impl<V> Owner for Erased<V> {
    type Node = Node<V>;

    #[inline]
    fn into_node(self) -> NonNull<Node<V>> {
        ManuallyDrop::new(self).0
    }

    #[inline]
    unsafe fn from_node(node: NonNull<Node<V>>) -> Self {
        Self(node)
    }
}

impl<V> Erased<V> {
    /// The envelope of a pinned block.
    ///
    /// # Safety
    ///
    /// Invariants 1 and 2; the block may be used from any thread, and stays where it is as long as there is the envelope.
    #[inline]
    pub(crate) unsafe fn pinned(node: NonNull<Node<V>>) -> Self {
        Self(node)
    }

    #[inline]
    fn vtable(&self) -> &'static VTable<V> {
        // SAFETY: invariant 2.
        unsafe { self.0.as_ref() }.vtable
    }

    #[inline]
    pub(crate) fn ops(&self) -> &'static V {
        &self.vtable().ops
    }

    /// Is it the envelope of that block?
    pub(crate) fn is(&self, node: NonNull<Node<V>>) -> bool {
        self.0 == node
    }

    /// # Safety
    ///
    /// It is a box with an `E`.
    #[inline]
    pub(crate) unsafe fn boxed<E>(self) -> TypedBox<V, E> {
        TypedBox { envelope: self, _content: PhantomData }
    }

    /// # Safety
    ///
    /// It is a box with an `E`.
    #[inline]
    pub(crate) unsafe fn open<E>(self) -> E {
        // SAFETY: as the caller promises; invariant 1.
        unsafe {
            let block = self.into_node().cast::<Block<V, E>>();
            let content = (&raw const (*block.as_ptr()).content).read();
            pool::free(block);
            content
        }
    }
}

impl<V> Drop for Erased<V> {
    fn drop(&mut self) {
        // SAFETY: invariants 1 and 2.
        unsafe { (self.vtable().discard)(self.0) }
    }
}

impl<V> AsRef<Erased<V>> for Erased<V> {
    fn as_ref(&self) -> &Self {
        self
    }
}

#[repr(C)]
struct Block<V: 'static, E> {
    node: Node<V>,
    content: E,
}

/// # Safety
///
/// As [`Erased::open`].
unsafe fn discard<V, E>(node: NonNull<Node<V>>) {
    // SAFETY: as the caller promises.
    drop(unsafe { Erased(node).open::<E>() });
}

/// The envelope of a box whose content is known.
#[must_use]
pub(crate) struct TypedBox<V: 'static, E> {
    envelope: Erased<V>,
    _content: PhantomData<E>,
}

impl<V, E: Send + 'static> TypedBox<V, E> {
    #[inline]
    pub(crate) fn new(kind: &'static Kind<V, E>, content: E) -> Self {
        let block = pool::allocate::<Block<V, E>>().unwrap_or_else(|| handle_alloc_error(Layout::new::<Block<V, E>>()));
        let place = block.as_ptr();
        // SAFETY: fresh memory for this type. Field by field: a large content is moved straight into it.
        unsafe {
            (&raw mut (*place).content).write(content);
            (&raw mut (*place).node).write(Node::new(kind));
        }
        Self { envelope: Erased(block.cast()), _content: PhantomData }
    }

    /// What is in the box, where it is.
    #[inline]
    pub(crate) fn content(&mut self) -> &mut E {
        // SAFETY: `new` and `of` have made it of such a box; invariants 1 and 2, and `self` is borrowed as long.
        unsafe { &mut (*self.envelope.0.cast::<Block<V, E>>().as_ptr()).content }
    }

    #[inline]
    pub(crate) fn open(self) -> E {
        // SAFETY: `new` and `of` have made it of such a box.
        unsafe { self.envelope.open() }
    }

    /// # Panics
    ///
    /// If it is no box with an `E`.
    pub(crate) fn of(envelope: Erased<V>) -> Self {
        assert_eq!((envelope.vtable().content)(), TypeId::of::<E>(), "an envelope with another content");
        Self { envelope, _content: PhantomData }
    }
}

impl<V, E> AsRef<Erased<V>> for TypedBox<V, E> {
    fn as_ref(&self) -> &Erased<V> {
        &self.envelope
    }
}

impl<V, E> From<TypedBox<V, E>> for Erased<V> {
    #[inline]
    fn from(boxed: TypedBox<V, E>) -> Self {
        boxed.envelope
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::list::OwningList;

    static ARC: Kind<u8, Arc<u32>> = Kind::boxed(1);
    static TEXT: Kind<u8, String> = Kind::boxed(2);

    #[test]
    fn boxes_of_several_types_queue_together_and_what_is_left_is_dropped() {
        let shared = Arc::new(7);
        let mut queue = OwningList::<Erased<u8>>::new();
        queue.push_back(TypedBox::new(&ARC, Arc::clone(&shared)).into());
        queue.push_back(TypedBox::new(&TEXT, "x".to_owned()).into());
        queue.push_back(TypedBox::new(&ARC, Arc::clone(&shared)).into());
        let first = queue.pop_front().expect("three are in");
        assert_eq!((*first.ops(), *TypedBox::<_, Arc<u32>>::of(first).open()), (1, 7));
        let second = queue.pop_front().expect("two are in");
        assert_eq!(TypedBox::<_, String>::of(second).open(), "x");
        assert_eq!(Arc::strong_count(&shared), 2);
        drop(queue);
        assert_eq!(Arc::strong_count(&shared), 1);
    }

    #[test]
    #[should_panic(expected = "another content")]
    fn a_box_is_not_taken_for_another() {
        let _ = TypedBox::<_, String>::of(TypedBox::new(&ARC, Arc::new(7)).into());
    }
}
