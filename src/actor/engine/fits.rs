//! Does a message fit on the stack of the actor that it is sent to? One that does not would end the process there (`src/stack/overflow.rs`): so its sender
//! is told. That goes by the sizes of the types alone: one that would fit an empty stack may still be too much for what the handler leaves of it.

#![forbid(unsafe_code)]

use std::any::type_name;

use super::cell::Core;
use crate::actor::Message;
use crate::stack::StackSize;

/// # Panics
///
/// If the message or its reply is not smaller than the whole stack of `target`. What is smaller than every stack costs no instruction.
#[inline(always)]
#[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
pub(super) fn assert_fits<M: Message>(target: &Core) {
    if const { largest::<M>() >= *StackSize::BOUNDS.start() } {
        assert_smaller(target, largest::<M>(), type_name::<M>());
    }
}

/// The larger of the two: the reply is made when the message is gone, perhaps.
const fn largest<M: Message>() -> usize {
    let (message, reply) = (size_of::<M>(), size_of::<M::Reply>());
    if message > reply { message } else { reply }
}

#[inline(never)]
#[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
fn assert_smaller(target: &Core, bytes: usize, message: &str) {
    let stack = target.header.size.bytes();
    assert!(
        bytes < stack,
        "the message {message}, of which the larger of message and reply has {bytes} bytes, does not fit on the stack of {target:?}, which has {stack} bytes \
         (Builder::stack_size)"
    );
}
