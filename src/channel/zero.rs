//! The channel without a buffer: a sender and a receiver meet, and the message goes from hand to hand.
//!
//! # Invariants
//!
//! 1. No thread waits to send while another waits to receive: the one that comes second serves the one that came first.
//!    (Two selects that stand on both sides of the channel may; each has seen only itself.)
//! 2. A select that sends has no message before it is completed. The receiver that it serves sleeps meanwhile, in its
//!    hands ([`Selected::Peer`]), and is let go with the message, or with the word that there is none.

use std::mem::MaybeUninit;
use std::ptr;

use crossbeam_channel::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};

use crate::channel::selected::Selected;
use crate::channel::waiter::{ChannelWaiter, Handover, Outcome, Role, accept, offer, place};
use crate::channel::word::{EndLock, Guard};
use crate::park::waiters::{Claimed, Waiters, WakeList};
use crate::park::waits_on::EMPTY;
use crate::park::{Wait, checkpoint, park};
use crate::sys::clock::has_passed;
use crate::task::Ticket;
use crate::task::header::Reason;

struct Lists {
    senders: Waiters<Handover>,
    receivers: Waiters<Handover>,
}

/// See the module's text.
pub(crate) struct ZeroChannel<T> {
    side: EndLock<Lists>,
    _message: std::marker::PhantomData<T>,
}

// SAFETY: values of `T` go from thread to thread, never a reference; all else is guarded by the lock.
unsafe impl<T: Send> Send for ZeroChannel<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for ZeroChannel<T> {}

impl<T> ZeroChannel<T> {
    pub(crate) fn new() -> Self {
        let lists = Lists { senders: Waiters::new(), receivers: Waiters::new() };
        Self { side: EndLock::new(lists), _message: std::marker::PhantomData }
    }

    /// The first receiver that waits.
    #[inline]
    fn claim_receiver(&self) -> Result<Option<Claimed<Handover>>, Closed> {
        let mut wakes = WakeList::new();
        let lists: Guard<'_, Lists> = self.side.lock();
        if lists.bits().is_closed() { Err(Closed) } else { Ok(lists.receivers.claim(&mut wakes)) }
    }

    #[inline]
    pub(crate) fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        match self.claim_receiver() {
            Err(Closed) => Err(TrySendError::Disconnected(message)),
            Ok(None) => Err(TrySendError::Full(message)),
            Ok(Some(receiver)) => {
                // SAFETY: it waited in this channel's list of receivers.
                unsafe { receiver.give(message) };
                receiver.schedule();
                Ok(())
            }
        }
    }

    /// Receives from the first sender that waits. If that is a select, waits until it has made its message.
    ///
    /// # Panics
    ///
    /// Where the caller must not park, if it has to.
    #[inline]
    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        loop {
            let sender = {
                let mut wakes = WakeList::new();
                let lists = self.side.lock();
                match lists.senders.claim(&mut wakes) {
                    Some(sender) => sender,
                    None if lists.bits().is_closed() => return Err(TryRecvError::Disconnected),
                    None => return Err(TryRecvError::Empty),
                }
            };
            if sender.role() == Role::Direct {
                // SAFETY: it waited in this channel's list of senders, and is direct.
                let message = unsafe { sender.take() };
                sender.schedule();
                return Ok(message);
            }
            if let Some(message) = Self::recv_from_select(sender) {
                return Ok(message);
            }
        }
    }

    /// Gives the caller into the hands of a select that sends; `None`: it had no message after all.
    fn recv_from_select(sender: Claimed<Handover>) -> Option<T> {
        let mut message = MaybeUninit::<T>::uninit();
        let node = ChannelWaiter::new(Role::Direct, place(&mut message));
        let mut sender = Some(sender);
        // Not interruptible: the select holds a pointer to this frame.
        let wait = Wait::new(Reason::Receive).uninterruptible();
        let _ = park(wait, |ticket| {
            // SAFETY: this is the commit, and nobody else can end this wait.
            let own = unsafe { Claimed::own(&node, ticket) };
            if let (Some(own), Some(sender)) = (own, sender.take()) {
                sender.select(Selected::Peer(own));
                sender.schedule();
            }
            true
        });
        // SAFETY: `Done` says that a message was given.
        (node.outcome() == Outcome::Done).then(|| unsafe { message.assume_init() })
    }

    #[inline(never)]
    pub(crate) fn send(&self, mut message: T, deadline_ns: u64) -> Result<(), SendTimeoutError<T>> {
        checkpoint();
        let mut wait = Wait::new(Reason::Send).on_empty(self).until(deadline_ns);
        loop {
            match self.try_send(message) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(message)) => return Err(SendTimeoutError::Disconnected(message)),
                Err(TrySendError::Full(back)) => message = back,
            }
            if has_passed(deadline_ns) {
                return Err(SendTimeoutError::Timeout(message));
            }
            // SAFETY: `offer` keeps invariant 1 of `waiter` if the two do as they say.
            let sent = unsafe {
                let register = |node: &ChannelWaiter, ticket| self.register_sender(node, ticket);
                offer(&mut wait, message, register, |node| self.unregister_sender(node))
            };
            match sent {
                Ok(()) => return Ok(()),
                Err((_, back)) => message = back,
            }
        }
    }

    #[inline]
    pub(crate) fn recv(&self, deadline_ns: u64) -> Result<T, RecvTimeoutError> {
        checkpoint();
        let mut wait = Wait::new(Reason::Receive).on_empty(self).until(deadline_ns);
        loop {
            match self.try_recv() {
                Ok(message) => return Ok(message),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            if has_passed(deadline_ns) {
                return Err(RecvTimeoutError::Timeout);
            }
            // SAFETY: `accept` keeps invariant 1 of `waiter` if the two do as they say.
            let received = unsafe {
                let register = |node: &ChannelWaiter, ticket| self.register_receiver(node, ticket);
                accept(&mut wait, register, |node| self.unregister_receiver(node))
            };
            if let Some(message) = received {
                return Ok(message);
            }
        }
    }

    /// Links `node` among those that wait to receive; false: there is no need to wait.
    ///
    /// # Safety
    ///
    /// Invariant 1 of `waiter`; it is the node of a receiver of this channel.
    #[inline]
    pub(crate) unsafe fn register_receiver(&self, node: &ChannelWaiter, ticket: Ticket) -> bool {
        let mut wakes = WakeList::new();
        let mut lists = self.side.lock();
        // SAFETY: as the caller promises.
        unsafe { Self::register(&mut lists, Whose::Receivers, node, ticket, &mut wakes) }
    }

    /// Links `node` among those that wait to send; false: there is no need to wait.
    ///
    /// # Safety
    ///
    /// Invariant 1 of `waiter`; it is the node of a sender of this channel.
    #[inline]
    pub(crate) unsafe fn register_sender(&self, node: &ChannelWaiter, ticket: Ticket) -> bool {
        let mut wakes = WakeList::new();
        let mut lists = self.side.lock();
        // SAFETY: as the caller promises.
        unsafe { Self::register(&mut lists, Whose::Senders, node, ticket, &mut wakes) }
    }

    /// # Safety
    ///
    /// As its callers.
    #[inline]
    unsafe fn register(
        lists: &mut Guard<'_, Lists>,
        side: Whose,
        node: &ChannelWaiter,
        ticket: Ticket,
        wakes: &mut WakeList<Handover>,
    ) -> bool {
        let (own, others) = match side {
            Whose::Senders => (&lists.senders, &lists.receivers),
            Whose::Receivers => (&lists.receivers, &lists.senders),
        };
        let mut waits = !lists.bits().is_closed();
        waits &= !others.has_any(Some(ticket)); // KEY: zero-look-again
        if !waits {
            return false;
        }
        // SAFETY: as the caller promises.
        unsafe { own.push_back(node, ticket) };
        if node.role() != Role::Watch {
            // A thread that only watches the other side has something to see now.
            others.wake_watchers(ticket, wakes);
        }
        lists.advance();
        true
    }

    /// # Safety
    ///
    /// The node was registered here, or nowhere.
    pub(crate) unsafe fn unregister_receiver(&self, node: &ChannelWaiter) {
        // SAFETY: as the caller promises.
        unsafe { self.side.lock().receivers.remove(node) };
    }

    /// # Safety
    ///
    /// The node was registered here, or nowhere.
    pub(crate) unsafe fn unregister_sender(&self, node: &ChannelWaiter) {
        // SAFETY: as the caller promises.
        unsafe { self.side.lock().senders.remove(node) };
    }

    /// A select tries to send: the receiver that it will serve.
    pub(crate) fn try_select_send(&self) -> Option<Selected> {
        match self.claim_receiver() {
            Err(Closed) => Some(Selected::Closed),
            Ok(receiver) => receiver.map(Selected::Peer),
        }
    }

    /// What a thread notes that waits here: `park::waits_on`.
    pub(crate) fn note(&self) -> usize {
        ptr::from_ref(self).expose_provenance() | EMPTY
    }

    /// Grows whenever a thread comes that waits.
    pub(crate) fn version(&self) -> u64 {
        self.side.peek().version()
    }

    pub(crate) fn len(&self) -> usize {
        0
    }

    pub(crate) fn can_send(&self) -> bool {
        let lists = self.side.lock();
        lists.bits().is_closed() || lists.receivers.has_any(None)
    }

    pub(crate) fn can_recv(&self) -> bool {
        let lists = self.side.lock();
        lists.bits().is_closed() || lists.senders.has_any(None)
    }

    /// The handles of one side are all gone.
    pub(crate) fn close(&self) {
        let mut wakes = WakeList::<Handover>::new();
        let mut lists = self.side.lock();
        lists.close();
        lists.senders.close(&mut wakes);
        lists.receivers.close(&mut wakes); // KEY: zero-close
        drop(lists);
    }
}

/// The handles of the other side are all gone.
struct Closed;

#[derive(Clone, Copy)]
enum Whose {
    Senders,
    Receivers,
}
