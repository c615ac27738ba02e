//! The channel with a buffer, bounded or not: two sides with a lock each. The protocol is in the folder's PROTOCOL.md.
//!
//! # Invariants
//!
//! 1. `tail.position - head.position` is the number of messages in the buffer; with the permits it never exceeds `cap`.
//! 2. While somebody waits to receive, the buffer is empty: a sender that finds a receiver waiting gives it its message.
//! 3. While somebody waits to send, buffer and permits fill `cap`: the thread that makes room gives it to the sender that
//!    has waited longest ([`settle`](Queue::settle)), before it unlocks.
//! 4. Locks are taken in the order head, tail.

use std::mem::offset_of;
use std::ptr;

use crossbeam_channel::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};
use crossbeam_utils::CachePadded;

use crate::base::atomic::{AtomicU64, Ordering};
use crate::channel::buffer::Buffer;
use crate::channel::selected::Selected;
use crate::channel::waiter::{ChannelWaiter, Handover, Outcome, Role, accept, offer};
use crate::channel::word::{EndLock, Guard};
use crate::park::waiters::{Waiters, WakeList};
use crate::park::{Wait, checkpoint, interrupt};
use crate::sys::clock::{NEVER, has_passed};
use crate::task::Ticket;
use crate::task::header::Reason;

/// What the lock of the sending side guards.
pub(crate) struct Tail<W> {
    at: W,
    /// The receiving side's position when it was last looked at; it may have moved on.
    head_seen: u64,
    /// Places kept for sends that a select has chosen and not completed.
    permits: u64,
    receivers: Waiters<Handover>,
}

/// What the lock of the receiving side guards.
pub(crate) struct Head<R> {
    at: R,
    senders: Waiters<Handover>,
}

/// See the module's text.
#[repr(C)]
pub(crate) struct Queue<T, B: Buffer<T>> {
    tail: CachePadded<EndLock<Tail<B::Write>>>,
    head: CachePadded<Receiving<B::Read>>,
    cap: u64,
    buffer: B,
    _message: std::marker::PhantomData<T>,
}

#[repr(C)]
struct Receiving<R> {
    side: EndLock<Head<R>>,
    /// The sending side's position when it was last looked at. Changed under the lock; a hint without it.
    tail_seen: AtomicU64,
}

// SAFETY: a queue hands values of `T` from thread to thread, never a reference; all else is guarded by the locks.
unsafe impl<T: Send, B: Buffer<T>> Send for Queue<T, B> {}
// SAFETY: as above.
unsafe impl<T: Send, B: Buffer<T>> Sync for Queue<T, B> {}

type TailGuard<'a, T, B> = Guard<'a, Tail<<B as Buffer<T>>::Write>>;
type HeadGuard<'a, T, B> = Guard<'a, Head<<B as Buffer<T>>::Read>>;

impl<T, B: Buffer<T>> Queue<T, B> {
    /// Where the sides are.
    pub(super) const PLACES: [usize; 2] = [offset_of!(Self, tail), offset_of!(Self, head)];

    pub(crate) fn new(buffer: B, cap: u64) -> Self {
        let (write, read) = buffer.start();
        let tail = Tail { at: write, head_seen: 0, permits: 0, receivers: Waiters::new() };
        let head = Head { at: read, senders: Waiters::new() };
        Self {
            tail: CachePadded::new(EndLock::new(tail)),
            head: CachePadded::new(Receiving { side: EndLock::new(head), tail_seen: AtomicU64::new(0) }),
            cap,
            buffer,
            _message: std::marker::PhantomData,
        }
    }

    /// Is there room for one more message? Looks at the other side only if it has to.
    #[inline(always)]
    fn has_room(&self, tail: &mut TailGuard<'_, T, B>) -> bool {
        let ahead = tail.bits().position() + tail.permits;
        if ahead - tail.head_seen < self.cap {
            return true;
        }
        tail.head_seen = self.head.side.peek().position();
        ahead - tail.head_seen < self.cap
    }

    #[inline(always)]
    fn push(&self, tail: &mut TailGuard<'_, T, B>, message: T) {
        // SAFETY: the lock of the sending side is held, and the callers have seen that there is room.
        unsafe { self.buffer.push(&mut tail.at, message) };
        tail.advance();
    }

    #[inline(always)]
    pub(crate) fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        let mut tail = self.tail.lock();
        if !tail.bits().is_plain() {
            if let Some(receiver) = tail.receivers.claim_direct() {
                let more = !tail.receivers.is_empty();
                tail.set_waiting(more);
                drop(tail);
                // SAFETY: it waited in this channel's list of receivers.
                unsafe { receiver.give(message) };
                receiver.schedule();
                return Ok(());
            }
            return self.hand_over(tail, message);
        }
        if !self.has_room(&mut tail) {
            return Err(TrySendError::Full(message));
        }
        self.push(&mut tail, message);
        Ok(())
    }

    /// The receivers are gone, or some wait: then the first one gets the message.
    #[inline(never)]
    fn hand_over(&self, mut tail: TailGuard<'_, T, B>, message: T) -> Result<(), TrySendError<T>> {
        if tail.bits().is_closed() {
            return Err(TrySendError::Disconnected(message));
        }
        let mut wakes = WakeList::new();
        let receiver = tail.receivers.claim(&mut wakes);
        let more = !tail.receivers.is_empty();
        tail.set_waiting(more);
        if let Some(receiver) = receiver {
            drop(tail);
            // SAFETY: it waited in this channel's list of receivers.
            unsafe { receiver.give(message) };
            receiver.schedule();
            return Ok(());
        }
        let result = if self.has_room(&mut tail) {
            self.push(&mut tail, message);
            Ok(())
        } else {
            Err(TrySendError::Full(message))
        };
        drop(tail);
        result
    }

    #[inline(always)]
    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut head = self.head.side.lock();
        let position = head.bits().position();
        // ORDERING: Relaxed: only the holder of the lock changes it.
        if self.head.tail_seen.load(Ordering::Relaxed) == position {
            let tail = self.tail.peek();
            if tail.position() == position {
                return Err(if tail.is_closed() { TryRecvError::Disconnected } else { TryRecvError::Empty });
            }
            self.head.tail_seen.store(tail.position(), Ordering::Relaxed);
        }
        // SAFETY: the lock of the receiving side is held, and the sending side's position is beyond this one.
        let message = unsafe { self.buffer.pop(&mut head.at) };
        head.advance();
        if head.bits().is_waiting() {
            self.settle_after_pop(head);
        }
        Ok(message)
    }

    #[inline(never)]
    fn settle_after_pop(&self, mut head: HeadGuard<'_, T, B>) {
        let mut wakes = WakeList::new();
        let mut tail = self.tail.lock();
        self.settle(&mut head, &mut tail, &mut wakes);
        drop(tail);
        drop(head);
    }

    /// Gives room in the buffer to the senders that wait, first come first served.
    fn settle(&self, head: &mut HeadGuard<'_, T, B>, tail: &mut TailGuard<'_, T, B>, wakes: &mut WakeList<Handover>) {
        while tail.bits().position() + tail.permits - head.bits().position() < self.cap {
            let Some(sender) = head.senders.claim(wakes) else { break };
            if sender.role() == Role::Select {
                tail.permits += 1;
                sender.select(Selected::Permit);
            } else {
                // SAFETY: it waited in this channel's list of senders, and is direct.
                let message = unsafe { sender.take() };
                self.pass_on(tail, message, wakes);
            }
            wakes.push(sender);
        }
        let more = !head.senders.is_empty();
        head.set_waiting(more);
    }

    /// Gives a message to the first receiver that waits; else to the buffer, which has room.
    fn pass_on(&self, tail: &mut TailGuard<'_, T, B>, message: T, wakes: &mut WakeList<Handover>) {
        if let Some(receiver) = tail.receivers.claim(wakes) {
            // SAFETY: it waited in this channel's list of receivers.
            unsafe { receiver.give(message) };
            wakes.push(receiver);
        } else {
            self.push(tail, message);
        }
        let more = !tail.receivers.is_empty();
        tail.set_waiting(more);
    }

    #[inline(never)]
    pub(crate) fn send(&self, message: T, deadline_ns: u64) -> Result<(), SendTimeoutError<T>> {
        checkpoint();
        match self.try_send(message) {
            Ok(()) => Ok(()),
            Err(TrySendError::Disconnected(message)) => Err(SendTimeoutError::Disconnected(message)),
            Err(TrySendError::Full(message)) => self.send_waiting(message, deadline_ns),
        }
    }

    #[inline(never)]
    fn send_waiting(&self, mut message: T, deadline_ns: u64) -> Result<(), SendTimeoutError<T>> {
        let mut wait = Wait::new(Reason::Send).on(self).until(deadline_ns);
        loop {
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
                Err((Outcome::Closed, message)) => return Err(SendTimeoutError::Disconnected(message)),
                Err((_, back)) => message = back,
            }
            match self.try_send(message) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(message)) => return Err(SendTimeoutError::Disconnected(message)),
                Err(TrySendError::Full(back)) => message = back,
            }
        }
    }

    /// Receives a message, inline down to the switch.
    #[inline(always)]
    pub(crate) fn recv(&self, deadline_ns: u64) -> Result<T, RecvTimeoutError> {
        if deadline_ns == NEVER && self.looks_empty() {
            // No checkpoint: `park` is one.
            let mut wait = Wait::new(Reason::Receive).on(self);
            return self.wait_for_message(&mut wait).map_or_else(|| self.recv_waiting(wait), Ok);
        }
        checkpoint();
        match self.try_recv() {
            Ok(message) => Ok(message),
            Err(_) => self.recv_waiting(Wait::new(Reason::Receive).on(self).until(deadline_ns)),
        }
    }

    #[inline(never)]
    fn recv_waiting(&self, mut wait: Wait) -> Result<T, RecvTimeoutError> {
        loop {
            match self.try_recv() {
                Ok(message) => return Ok(message),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) if has_passed(wait.deadline_ns) => return Err(RecvTimeoutError::Timeout),
                Err(TryRecvError::Empty) => {}
            }
            if let Some(message) = self.wait_for_message(&mut wait) {
                return Ok(message);
            }
        }
    }

    /// Waits once. `None`: look whether there is something to receive, or something else to learn.
    #[inline(always)]
    fn wait_for_message(&self, wait: &mut Wait) -> Option<T> {
        // SAFETY: `accept` keeps invariant 1 of `waiter` if the two do as they say.
        unsafe {
            let register = |node: &ChannelWaiter, ticket| self.register_receiver(node, ticket);
            accept(wait, register, |node| self.unregister_receiver(node))
        }
    }

    /// Without the lock: is there, most likely, nothing to receive and nothing else to learn?
    #[inline(always)]
    fn looks_empty(&self) -> bool {
        let position = self.head.side.hint().position();
        // ORDERING: Relaxed: a hint.
        if self.head.tail_seen.load(Ordering::Relaxed) != position {
            return false;
        }
        let tail = self.tail.peek();
        tail.position() == position && !tail.is_closed()
    }

    /// Links `node` among those that wait to receive; false: there is no need to wait.
    ///
    /// # Safety
    ///
    /// Invariant 1 of `waiter`; it is the node of a receiver of this channel.
    #[inline(always)]
    pub(crate) unsafe fn register_receiver(&self, node: &ChannelWaiter, ticket: Ticket) -> bool {
        let mut tail = self.tail.lock();
        let mut waits = !tail.bits().is_closed();
        waits &= self.head.side.peek().position() == tail.bits().position(); // KEY: queue-look-again
        if !waits {
            return false;
        }
        // SAFETY: as the caller promises.
        unsafe { tail.receivers.push_back(node, ticket) };
        tail.set_waiting(true); // KEY: queue-receiver-waits
        true
    }

    /// # Safety
    ///
    /// The node was registered here, or nowhere.
    pub(crate) unsafe fn unregister_receiver(&self, node: &ChannelWaiter) {
        let mut tail = self.tail.lock();
        // SAFETY: as the caller promises.
        unsafe { tail.receivers.remove(node) };
        let more = !tail.receivers.is_empty();
        tail.set_waiting(more);
    }

    /// Links `node` among those that wait to send; false: there is no need to wait.
    ///
    /// # Safety
    ///
    /// Invariant 1 of `waiter`; it is the node of a sender of this channel.
    pub(crate) unsafe fn register_sender(&self, node: &ChannelWaiter, ticket: Ticket) -> bool {
        let mut head = self.head.side.lock();
        let tail = self.tail.lock();
        let has_room = tail.bits().position() + tail.permits - head.bits().position() < self.cap;
        // With a permit out, receivers may wait although there is no room: a message goes to them directly.
        let has_receiver = tail.bits().is_waiting() && node.role() == Role::Direct;
        if tail.bits().is_closed() || has_room || has_receiver {
            return false;
        }
        // SAFETY: as the caller promises.
        unsafe { head.senders.push_back(node, ticket) };
        head.set_waiting(true); // KEY: queue-sender-waits
        true
    }

    /// # Safety
    ///
    /// The node was registered here, or nowhere.
    pub(crate) unsafe fn unregister_sender(&self, node: &ChannelWaiter) {
        let mut head = self.head.side.lock();
        // SAFETY: as the caller promises.
        unsafe { head.senders.remove(node) };
        let more = !head.senders.is_empty();
        head.set_waiting(more);
    }

    /// A select tries to send: a place is kept for its message.
    pub(crate) fn try_select_send(&self) -> Option<Selected> {
        let mut tail = self.tail.lock();
        if tail.bits().is_closed() {
            return Some(Selected::Closed);
        }
        let has_room = self.has_room(&mut tail);
        tail.permits += u64::from(has_room);
        has_room.then_some(Selected::Permit)
    }

    /// Sends the message that the permit was for. The receivers may be gone meanwhile.
    pub(crate) fn use_permit(&self, message: T) -> Result<(), T> {
        let mut wakes = WakeList::new();
        let mut head = self.head.side.lock();
        let mut tail = self.tail.lock();
        tail.permits -= 1;
        if tail.bits().is_closed() {
            drop(tail);
            drop(head);
            return Err(message);
        }
        self.pass_on(&mut tail, message, &mut wakes);
        self.settle(&mut head, &mut tail, &mut wakes);
        drop(tail);
        drop(head);
        Ok(())
    }

    /// Gives the permit to another sender that waits.
    pub(crate) fn drop_permit(&self) {
        let mut wakes = WakeList::<Handover>::new();
        let mut head = self.head.side.lock();
        let mut tail = self.tail.lock();
        tail.permits -= 1;
        self.settle(&mut head, &mut tail, &mut wakes); // KEY: queue-permit
        drop(tail);
        drop(head);
    }

    /// Would a send not wait?
    pub(crate) fn can_send(&self) -> bool {
        let mut tail = self.tail.lock();
        tail.bits().is_closed() || self.has_room(&mut tail)
    }

    /// Would a receive not wait?
    pub(crate) fn can_recv(&self) -> bool {
        self.len() > 0 || self.tail.peek().is_closed()
    }

    /// What a thread notes that waits here: `park::waits_on`.
    pub(crate) fn note(&self) -> usize {
        ptr::from_ref(self).expose_provenance()
    }

    /// Grows whenever something comes to be sent or received.
    pub(crate) fn version(&self) -> u64 {
        self.head.side.peek().version().wrapping_add(self.tail.peek().version())
    }

    pub(crate) fn capacity(&self) -> usize {
        self.cap as usize
    }

    pub(crate) fn len(&self) -> usize {
        let head = self.head.side.peek().position();
        let tail = self.tail.peek().position();
        (tail.saturating_sub(head)).min(self.cap) as usize
    }

    /// The last sender is gone: the receivers that wait are told.
    pub(crate) fn close_senders(&self) {
        let mut wakes = WakeList::<Handover>::new();
        let mut tail = self.tail.lock();
        tail.close();
        tail.receivers.close(&mut wakes); // KEY: queue-close
        tail.set_waiting(false);
        drop(tail);
    }

    /// The last receiver is gone: the senders that wait are told, and what lies in the buffer is dropped.
    pub(crate) fn close_receivers(&self) {
        let mut wakes = WakeList::new();
        let mut head = self.head.side.lock();
        let mut tail = self.tail.lock();
        tail.close();
        head.senders.close(&mut wakes);
        head.set_waiting(false);
        drop(tail);
        drop(head);
        drop(wakes);
        self.drain();
    }

    /// Drops all messages, also if one is left by unwinding: a panic in its drop, or a cancel that finds it waiting there.
    /// The first of those goes on at the end.
    fn drain(&self) {
        let mut unwinds = None;
        while let Ok(message) = self.try_recv() {
            if let Err(payload) = interrupt::catch(|| drop(message)) {
                unwinds.get_or_insert(payload);
            }
        }
        if let Some(payload) = unwinds {
            interrupt::resume(payload);
        }
    }
}

impl<T, B: Buffer<T>> Drop for Queue<T, B> {
    fn drop(&mut self) {
        // The last receiver has dropped the messages.
        // SAFETY: nobody else has the queue.
        unsafe { self.buffer.free(&mut self.head.side.lock().at) };
    }
}
