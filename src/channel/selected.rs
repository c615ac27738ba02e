//! What a selected operation has got, until it is completed.

use std::mem::{MaybeUninit, align_of, size_of};

use crate::channel::waiter::Handover;
use crate::park::waiters::Claimed;

/// Messages up to this many words lie in the value itself; bigger ones in a box, made by the thread that hands over.
const WORDS: usize = 4;

type Words = MaybeUninit<[usize; WORDS]>;

/// See the module's text.
pub(crate) enum Selected {
    /// Nothing yet.
    Empty,
    /// The other side is gone: the operation will fail.
    Closed,
    /// A send: a place in the buffer is kept for it.
    Permit,
    /// A receive: the message. Only the channel knows its type.
    Message(Words),
    /// A send through a channel without a buffer: the receiver, which sleeps until it is served.
    Peer(Claimed<Handover>),
}

fn fits<T>() -> bool {
    size_of::<T>() <= size_of::<Words>() && align_of::<T>() <= align_of::<Words>()
}

impl Selected {
    /// What holds `message`.
    pub(crate) fn message<T>(message: T) -> Self {
        let mut room = Words::uninit();
        if fits::<T>() {
            // SAFETY: `fits`: size and alignment suffice.
            unsafe { room.as_mut_ptr().cast::<T>().write(message) };
        } else {
            // SAFETY: a thin pointer fits.
            unsafe { room.as_mut_ptr().cast::<*mut T>().write(Box::into_raw(Box::new(message))) };
        }
        Selected::Message(room)
    }

    /// The message, if there is one.
    ///
    /// # Safety
    ///
    /// A message in it was put there by [`message`](Self::message) of the same `T`.
    pub(crate) unsafe fn into_message<T>(self) -> Option<T> {
        let Selected::Message(room) = self else { return None };
        // SAFETY: as the caller says; it is consumed, so the message is moved out once.
        unsafe {
            if fits::<T>() {
                Some(room.as_ptr().cast::<T>().read())
            } else {
                Some(*Box::from_raw(room.as_ptr().cast::<*mut T>().read()))
            }
        }
    }
}
