//! The operations of the handles, as a select sees them: without the type of the message.

use crossbeam_channel::{RecvError, SendError};

use crate::channel::receiver::{Receiver, ReceiverFlavor as Receiving};
use crate::channel::selected::Selected;
use crate::channel::sender::{Sender, SenderFlavor as Sending};
use crate::channel::shared::each_flavor;
use crate::channel::waiter::ChannelWaiter;
use crate::sys::clock::NEVER;
use crate::task::Ticket;

/// Which side of which channel, by the channel's address: the same for all clones of a handle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Sends(*const ()),
    Receives(*const ()),
}

/// A send or a receive that a select can choose.
pub(crate) trait Operation {
    fn side(&self) -> Side;

    /// Chooses the operation, if it need not wait: what it has got.
    fn try_select(&self) -> Option<Selected>;

    /// Would it not wait?
    fn is_ready(&self) -> bool;

    /// A number that grows whenever the operation may have stopped to need waiting.
    fn version(&self) -> u64;

    /// When to try again although nobody has woken the select; and what a dump reads of a wait for it (`park::waits_on`), 0: nothing.
    fn deadline_and_note(&self) -> (u64, usize);

    /// Links the node; false: the operation would not wait.
    ///
    /// # Safety
    ///
    /// Invariant 1 of `waiter`; the node names where the selection goes, or only watches.
    unsafe fn register(&self, node: &ChannelWaiter, ticket: Ticket) -> bool;

    /// # Safety
    ///
    /// The node was registered with this operation, or nowhere.
    unsafe fn unregister(&self, node: &ChannelWaiter);

    /// The operation was chosen and will not be completed.
    fn abandon(&self, selected: Selected);
}

impl<T> Operation for Sender<T> {
    fn side(&self) -> Side {
        Side::Sends(self.address())
    }

    fn try_select(&self) -> Option<Selected> {
        each_flavor!(self: Sending, shared => shared.channel.try_select_send())
    }

    fn is_ready(&self) -> bool {
        each_flavor!(self: Sending, shared => shared.channel.can_send())
    }

    fn version(&self) -> u64 {
        each_flavor!(self: Sending, shared => shared.channel.version())
    }

    fn deadline_and_note(&self) -> (u64, usize) {
        (NEVER, each_flavor!(self: Sending, shared => shared.channel.note()))
    }

    unsafe fn register(&self, node: &ChannelWaiter, ticket: Ticket) -> bool {
        // SAFETY: as the caller promises.
        unsafe { each_flavor!(self: Sending, shared => shared.channel.register_sender(node, ticket)) }
    }

    unsafe fn unregister(&self, node: &ChannelWaiter) {
        // SAFETY: as the caller promises.
        unsafe { each_flavor!(self: Sending, shared => shared.channel.unregister_sender(node)) }
    }

    fn abandon(&self, selected: Selected) {
        match (&self.flavor, selected) {
            (Sending::Bounded(shared), Selected::Permit) => shared.channel.drop_permit(),
            (Sending::Unbounded(shared), Selected::Permit) => shared.channel.drop_permit(),
            // A peer is let go empty-handed by its drop.
            (_, selected) => drop(selected),
        }
    }
}

impl<T> Sender<T> {
    /// Completes a send that was chosen.
    pub(super) fn complete(&self, selected: Selected, message: T) -> Result<(), SendError<T>> {
        match (&self.flavor, selected) {
            (Sending::Bounded(shared), Selected::Permit) => shared.channel.use_permit(message).map_err(SendError),
            (Sending::Unbounded(shared), Selected::Permit) => shared.channel.use_permit(message).map_err(SendError),
            (Sending::Zero(_), Selected::Peer(receiver)) => {
                // SAFETY: it waited in the list of receivers of this channel, or gave itself to its sender.
                unsafe { receiver.give(message) };
                receiver.schedule();
                Ok(())
            }
            _ => Err(SendError(message)),
        }
    }
}

impl<T> Operation for Receiver<T> {
    fn side(&self) -> Side {
        Side::Receives(self.address())
    }

    fn try_select(&self) -> Option<Selected> {
        use crossbeam_channel::TryRecvError::{Disconnected, Empty};
        match self.try_take() {
            Ok(message) => Some(Selected::message(message)),
            Err(Disconnected) => Some(Selected::Closed),
            Err(Empty) => None,
        }
    }

    fn is_ready(&self) -> bool {
        each_flavor!(self: Receiving, shared => shared.channel.can_recv(),
            Receiving::Timer(timer) => timer.is_due(),
            Receiving::Never => false)
    }

    fn version(&self) -> u64 {
        each_flavor!(self: Receiving, shared => shared.channel.version(), Receiving::Timer(_) | Receiving::Never => 0)
    }

    fn deadline_and_note(&self) -> (u64, usize) {
        each_flavor!(self: Receiving, shared => (NEVER, shared.channel.note()),
            Receiving::Timer(timer) => (timer.deadline_ns(), 0),
            Receiving::Never => (NEVER, 0))
    }

    unsafe fn register(&self, node: &ChannelWaiter, ticket: Ticket) -> bool {
        // SAFETY: as the caller promises.
        unsafe {
            each_flavor!(self: Receiving, shared => shared.channel.register_receiver(node, ticket),
                // The deadline wakes the waiters for these.
                Receiving::Timer(timer) => !timer.is_due(),
                Receiving::Never => true)
        }
    }

    unsafe fn unregister(&self, node: &ChannelWaiter) {
        // SAFETY: as the caller promises.
        unsafe {
            each_flavor!(self: Receiving, shared => shared.channel.unregister_receiver(node),
                Receiving::Timer(_) | Receiving::Never => {})
        }
    }

    fn abandon(&self, selected: Selected) {
        // A message is not dropped: a `Select` may be on another thread than one that may drop it.
        drop(selected);
    }
}

impl<T> Receiver<T> {
    /// Completes a receive that was chosen.
    pub(super) fn complete(&self, selected: Selected) -> Result<T, RecvError> {
        // SAFETY: it came from this channel, which makes messages of its own `T` only.
        unsafe { selected.into_message() }.ok_or(RecvError)
    }
}
