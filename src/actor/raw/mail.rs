//! What waits for one actor, and whether it rests, runs or has ended. Everything here happens under the lock of the mail.
//!
//! # Protocol: nothing waits for an actor that rests
//!
//! ```text
//!  a sender                                    the actor, at the end of a run (in its worker's loop)
//!  S1  locks                                   R1  its header is re-armed: not started
//!  S2  pushes the node                         R2  locks
//!  S3  busy := true; was it false?             R3  something to take? then `Again` (queued, stays busy)
//!  S4  unlocks                                 R4  busy := false
//!  S5  it was: queues the actor                R5  unlocks; touches the actor no more
//! ```
//!
//! If S2 comes before R2, R3 sees the node. If it comes after R5, S3 finds `busy = false`, and this sender, alone, has the
//! entry. The header is whole at that moment: R1 comes before R5, and R5 before S1.
//!
//! # Life
//!
//! | phase    | entered                                  | takes messages | a send gets |
//! | -------- | ---------------------------------------- | -------------- | ----------- |
//! | `Open`   | at the start; `started` comes first      | yes            | queued      |
//! | `Drains` | `stop`                                   | no             | `Closed`    |
//! | `Ends`   | the run has found a reason to end        | no             | `Closed`    |
//! | `Dead`   | the state is dropped, all are told       | no             | `Closed`    |
//!
//! What is queued when it `Ends` goes back to its senders.

#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::Arc;

use super::busy::Busy;
use super::cell::Core;
use super::envelope::Evicted;
use super::{Frame, Refusal, ReplyTo, Running, Waiting};
use crate::actor::timer::Timer;
use crate::actor::watch::Watcher;
use crate::actor::{Exit, Mailbox, Overflow, Signal};
use crate::base::list::{Linked, Links, List};
use crate::base::spin::Locked;
use crate::park::queue::WaitQueue;
use crate::rt::join::JoinHandle;
use crate::sys::clock::now_ns;
use crate::task::header::Wake;
use crate::task::pool;
use crate::task::wait::End;

/// What every envelope begins with.
pub(crate) struct Node {
    links: Links<Node>,
    pub(super) vtable: &'static NodeVTable,
}

// SAFETY: the links are a field of the node, and only lists change them.
unsafe impl Linked for Node {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

pub(super) type Run = unsafe fn(NonNull<Node>, Locked<'_, Mail>, Option<Wake>, Running) -> Result<(), Box<Exit>>;
pub(super) type Refuse = unsafe fn(NonNull<Node>, &Core, Refusal) -> Option<Wake>;

/// What one kind of envelope can do.
pub(crate) struct NodeVTable {
    /// Takes the message out, lets go of the lock, handles the message and answers. The node was just taken out of the mail
    /// that is locked, and is gone afterwards. `Err`: the actor has to end. Does not unwind.
    pub(super) run: Run,
    /// Gives the message back, or counts it as a dead letter. The node was taken out of its list and is gone afterwards. Of an
    /// `Asked` under the lock; of a box outside of it.
    pub(super) refuse: Refuse,
    /// The envelope is an [`Asked`].
    pub(super) asked: bool,
    /// It counts against the mailbox's capacity.
    pub(super) counted: bool,
}

impl Node {
    #[inline(always)]
    pub(super) fn new(vtable: &'static NodeVTable) -> Self {
        Self { links: Links::new(), vtable }
    }
}

/// See the module's text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Phase {
    Open,
    Drains,
    Ends,
    Dead,
}

/// Set once the actor's end is known to those who asked for it.
pub(crate) type Ended = Arc<WaitQueue<Option<Exit>>>;

/// See the module's text.
pub(crate) struct Mail {
    queue: List<Node>,
    /// Nodes in `queue` that count.
    len: u32,
    capacity: u32,
    pub(crate) overflow: Overflow,
    pub(crate) phase: Phase,
    busy: Busy,
    /// A run has begun, and is not over.
    pub(super) runs: bool,
    /// Something has to be looked at that is not the next message: it is fresh, or closed; a system message, a kill, a sender
    /// that waits for room is in `extras`.
    urgent: bool,
    /// `started` has not been called, or has failed.
    pub(crate) fresh: bool,
    extras: Option<Box<Extras>>,
}

/// What most actors never need.
#[derive(Default)]
pub(crate) struct Extras {
    system: VecDeque<System>,
    waiting: List<Waiting>,
    stash: List<Node>,
    /// Messages of the call chain that a `reenter` lets in.
    admitted: List<Node>,
    /// The chain that is let in, while the actor waits in a `reenter`; 0: none.
    chain: u64,
    /// Tells the thread that waits there.
    nested: Option<Arc<dyn Nudge>>,
    killed: bool,
    /// Why the actor is to end, or has ended.
    pub(crate) end: Option<Exit>,
    /// A stopped actor drains no longer than this.
    pub(crate) drain_until_ns: Option<u64>,
    pub(crate) watchers: Vec<Watcher>,
    pub(crate) ended: Option<Ended>,
    pub(crate) helpers: Vec<JoinHandle<()>>,
    pub(crate) timers: Vec<Timer>,
}

/// Tells the thread that waits in a `reenter` to look for admitted messages.
pub(crate) trait Nudge: Send + Sync {
    fn nudge(&self);
}

enum System {
    Signal(Signal),
    Node(NonNull<Node>),
}

// SAFETY: the nodes carry messages, which are `Send`; their links are touched under the lock only.
unsafe impl Send for Mail {}

/// A box that is in no list: whoever has it owns it. The envelope in it begins with a [`Node`].
#[must_use]
pub(super) struct Letter<E>(NonNull<E>);

impl<E> Letter<E> {
    /// # Safety
    ///
    /// `E` is `repr(C)`, a `Node` is its first field, and what the vtable of that does is for an `E` in a box.
    #[inline]
    pub(super) unsafe fn new(envelope: E) -> Self {
        Self(pool::put(envelope))
    }

    pub(super) fn open(self) -> E {
        // SAFETY: the box came from `new`, and nobody else has it.
        unsafe { pool::take(self.0) }
    }

    pub(super) fn node(&self) -> NonNull<Node> {
        self.0.cast()
    }
}

/// What a push found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Pushed {
    /// It is in.
    Queued,
    /// It is in, and the caller has to queue the actor.
    Launch,
    Full,
    Closed,
}

/// What the actor does next.
pub(crate) enum Take {
    /// Calls `started`.
    Start,
    Signal(Signal),
    /// Runs this node, which is out of the list.
    Message(NonNull<Node>),
    End(Exit),
    Nothing,
}

impl Mail {
    pub(crate) fn new(mailbox: Mailbox) -> Self {
        Self {
            queue: List::new(),
            len: 0,
            capacity: mailbox.capacity,
            overflow: mailbox.overflow,
            phase: Phase::Open,
            busy: Busy::new(),
            runs: false,
            urgent: true,
            fresh: true,
            extras: None,
        }
    }

    pub(crate) fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// The extras, if there are any.
    pub(crate) fn has_extras(&mut self) -> Option<&mut Extras> {
        self.extras.as_deref_mut()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.phase >= Phase::Drains
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// Step S3. True: the caller has to queue the actor.
    #[inline]
    #[must_use]
    pub(crate) fn rouse(&mut self) -> bool {
        self.busy.rouse()
    }

    /// It neither runs nor is queued.
    #[inline]
    pub(super) fn rests(&self) -> bool {
        !self.busy.is_set()
    }

    #[inline]
    fn pushed(&mut self) -> Pushed {
        if self.rouse() { Pushed::Launch } else { Pushed::Queued }
    }

    /// Queues a message, if there is room.
    ///
    /// # Safety
    ///
    /// The node is in no list, and lives until it is taken out (invariants 2 and 3); `counted` is what its kind says.
    #[inline]
    pub(crate) unsafe fn push(&mut self, node: NonNull<Node>, counted: bool) -> Pushed {
        if self.is_closed() {
            return Pushed::Closed;
        }
        if counted {
            if self.len >= self.capacity {
                return Pushed::Full;
            }
            self.len += 1;
        }
        // SAFETY: the caller vouches for the node.
        unsafe { self.queue.push_back(node) };
        self.pushed()
    }

    /// Queues a box, if there is room. True: the caller has to queue the actor.
    #[inline]
    pub(super) fn post<E>(&mut self, letter: Letter<E>, counted: bool) -> Result<bool, Letter<E>> {
        // SAFETY: a letter is in no list, and a box that is in one belongs to it.
        match unsafe { self.push(letter.node(), counted) } {
            Pushed::Queued => Ok(false),
            Pushed::Launch => Ok(true),
            Pushed::Full | Pushed::Closed => Err(letter),
        }
    }

    /// Takes a message of the chain that a `reenter` of the actor lets in (else: `None`). The caller nudges the actor when it
    /// has let go of the lock.
    ///
    /// # Safety
    ///
    /// The node is in no list, and lives until it is taken out.
    #[cold]
    pub(super) unsafe fn admit(&mut self, node: NonNull<Node>, chain: u64) -> Option<Option<Arc<dyn Nudge>>> {
        if !self.admits(chain) || self.phase > Phase::Drains {
            return None;
        }
        let extras = self.extras();
        // SAFETY: the caller vouches for the node.
        unsafe { extras.admitted.push_back(node) };
        Some(extras.nested.clone())
    }

    /// From now on messages of `chain` are let in (0: none), and announced to `nested`. What was before is given back. Those
    /// that were let in and not handled queue in front.
    pub(crate) fn let_in(&mut self, chain: u64, nested: Option<Arc<dyn Nudge>>) -> (u64, Option<Arc<dyn Nudge>>) {
        let extras = self.extras();
        let before = (std::mem::replace(&mut extras.chain, chain), std::mem::replace(&mut extras.nested, nested));
        while chain == 0
            && let Some(node) = self.extras().admitted.back()
        {
            // SAFETY: it is in this list, and goes from it into the other.
            unsafe {
                self.extras().admitted.remove(node);
                self.queue.push_front(node);
                self.len += u32::from(node.as_ref().vtable.counted);
            }
        }
        before
    }

    pub(crate) fn has_admitted(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| !extras.admitted.is_empty())
    }

    /// Does a message of this chain get in at once?
    pub(crate) fn admits(&self, chain: u64) -> bool {
        chain != 0 && self.extras.as_ref().is_some_and(|extras| extras.chain == chain)
    }

    /// Queues a box as a system message, which never counts and goes first. True: the caller has to queue the actor.
    pub(super) fn post_system<E>(&mut self, letter: Letter<E>) -> Result<bool, Letter<E>> {
        match self.push_system_item(System::Node(letter.node())) {
            Pushed::Queued => Ok(false),
            Pushed::Launch => Ok(true),
            Pushed::Full | Pushed::Closed => Err(letter),
        }
    }

    pub(crate) fn push_signal(&mut self, signal: Signal) -> Pushed {
        self.push_system_item(System::Signal(signal))
    }

    fn push_system_item(&mut self, item: System) -> Pushed {
        if self.phase >= Phase::Ends {
            return Pushed::Closed;
        }
        self.extras().system.push_back(item);
        self.urgent = true;
        self.pushed()
    }

    /// Puts a sender that found no room behind the others.
    ///
    /// # Safety
    ///
    /// `waiting` stays where it is until it is taken out (invariant 3, as for an ask).
    pub(super) unsafe fn wait_for_room(&mut self, waiting: NonNull<Waiting>) {
        self.urgent = true;
        // SAFETY: the caller vouches for it.
        unsafe { self.extras().waiting.push_back(waiting) };
    }

    /// A sender gives up. True: it still waited for room.
    ///
    /// # Safety
    ///
    /// It was put into this mail by [`wait_for_room`](Self::wait_for_room).
    pub(super) unsafe fn leave_room(&mut self, waiting: &Waiting) -> bool {
        let linked = waiting.links.is_linked();
        if linked {
            // SAFETY: it is linked, hence in this list, the only one it is ever put into.
            unsafe { self.extras().waiting.remove(NonNull::from(waiting)) };
        }
        linked
    }

    /// Takes an ask out that nobody has taken yet. Another sender may have room now.
    ///
    /// # Safety
    ///
    /// The node is in this mail: in `queue`, or `admitted`, and in none if it is `Waiting` only.
    #[must_use]
    pub(super) unsafe fn withdraw(&mut self, node: NonNull<Node>, chain: u64) -> Option<Wake> {
        // SAFETY: the caller says that it is in one of the two lists, and the admitted ones are few.
        unsafe {
            if chain != 0 && self.extras.as_ref().is_some_and(|extras| extras.admitted.contains(node)) {
                self.extras().admitted.remove(node);
                return None;
            }
            self.queue.remove(node);
        }
        self.len -= 1;
        self.refill()
    }

    /// Lets the sender that has waited longest in, if there is room. Its wait may have to be ended by the caller.
    #[inline]
    #[must_use]
    fn refill(&mut self) -> Option<Wake> {
        match self.extras.as_deref_mut() {
            Some(extras) if !extras.waiting.is_empty() && self.len < self.capacity => {}
            _ => return None,
        }
        let waiting = self.extras().waiting.pop_front()?;
        // SAFETY: it was in the list, so its thread takes the lock before it leaves; the node is alive for the same reason.
        unsafe {
            let waiting = waiting.as_ref();
            self.queue.push_back(waiting.node);
            self.len += 1;
            waiting.let_go();
            waiting.ticket.take().and_then(|ticket| ticket.end(End::Notified))
        }
    }

    /// The oldest message, out of the list.
    #[inline]
    #[must_use]
    pub(crate) fn pop(&mut self) -> Option<(NonNull<Node>, Option<Wake>)> {
        let node = self.queue.pop_front()?;
        // SAFETY: it was in the list.
        if !unsafe { node.as_ref() }.vtable.counted {
            return Some((node, None));
        }
        self.len -= 1;
        Some((node, self.refill()))
    }

    /// Refuses the oldest message, to make room. For a mailbox where nobody waits for room.
    pub(super) fn evict(&mut self, core: &Core) -> Option<Result<Option<Wake>, Evicted>> {
        let (oldest, _) = self.pop()?;
        Some(refuse(oldest, core, Refusal::Full))
    }

    /// The next message, if there is one and nothing else to look at.
    #[inline]
    pub(crate) fn pop_plain(&mut self) -> Option<NonNull<Node>> {
        if self.urgent {
            return None;
        }
        let node = self.queue.pop_front()?;
        // SAFETY: it was in the list.
        self.len -= u32::from(unsafe { node.as_ref() }.vtable.counted);
        Some(node)
    }

    /// What the actor does next.
    #[cold]
    pub(crate) fn take(&mut self, addressed: bool) -> (Take, Option<Wake>) {
        if let Some(take) = self.take_urgent() {
            return (take, None);
        }
        match self.pop() {
            Some((node, wake)) => (Take::Message(node), wake),
            None if self.phase == Phase::Drains => (Take::End(self.end()), None),
            None if !addressed => (Take::End(Exit::Normal), None),
            None => (Take::Nothing, None),
        }
    }

    fn take_urgent(&mut self) -> Option<Take> {
        if self.extras.as_ref().is_some_and(|extras| extras.killed) {
            return Some(Take::End(Exit::Killed));
        }
        if self.fresh {
            return Some(Take::Start);
        }
        match self.extras.as_deref_mut().and_then(|extras| extras.system.pop_front()) {
            Some(System::Signal(signal)) => return Some(Take::Signal(signal)),
            Some(System::Node(node)) => return Some(Take::Message(node)),
            None => {
                let crowded = self.extras.as_ref().is_some_and(|extras| !extras.waiting.is_empty());
                self.urgent = crowded || self.phase != Phase::Open;
            }
        }
        let until = self.extras.as_ref().and_then(|extras| extras.drain_until_ns);
        let over = self.phase == Phase::Drains && until.is_some_and(|until| until <= now_ns());
        over.then(|| Take::End(self.end()))
    }

    /// The actor has to look at `killed` before its next message.
    pub(crate) fn kill(&mut self) {
        self.extras().killed = true;
        self.urgent = true;
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| extras.killed)
    }

    /// A message of the chain that a `reenter` waits for.
    pub(crate) fn take_admitted(&mut self) -> Option<NonNull<Node>> {
        self.extras.as_deref_mut()?.admitted.pop_front()
    }

    fn end(&mut self) -> Exit {
        self.extras().end.clone().unwrap_or(Exit::Normal)
    }

    /// From now on nothing gets in. What goes before messages is looked at again.
    pub(crate) fn close(&mut self, phase: Phase) {
        self.phase = phase;
        self.urgent = true;
    }

    /// Steps R3 and R4. True: there is something to do, and the actor stays busy.
    #[inline]
    #[must_use]
    pub(crate) fn rest(&mut self, addressed: bool) -> bool {
        self.runs = false;
        let more = self.urgent || !addressed || !self.queue.is_empty();
        self.busy.rest(more)
    }

    /// Puts a message aside; it does not count there, and its kind does not either.
    pub(super) fn stash<E>(&mut self, letter: Letter<E>) {
        // SAFETY: a letter is in no list, and a box that is in one belongs to it.
        unsafe { self.extras().stash.push_back(letter.node()) };
    }

    /// What was put aside comes next, in its old order.
    pub(crate) fn unstash(&mut self) {
        let Some(extras) = self.extras.as_deref_mut() else { return };
        while let Some(node) = extras.stash.back() {
            // SAFETY: it is in this list, and goes from it into the other.
            unsafe {
                extras.stash.remove(node);
                self.queue.push_front(node);
            }
        }
    }

    /// Takes one message out that will not be handled, in no order that matters: `Err` is a box, to be refused when the lock
    /// is free; an ask has been refused here.
    pub(super) fn give_back(&mut self, core: &Core) -> Option<Result<Option<Wake>, Evicted>> {
        let node = self.queue.pop_front().or_else(|| {
            let extras = self.extras.as_deref_mut()?;
            let node = extras.stash.pop_front().or_else(|| extras.admitted.pop_front());
            node.or_else(|| {
                let at = extras.system.iter().position(|item| matches!(item, System::Node(_)))?;
                match extras.system.remove(at) {
                    Some(System::Node(node)) => Some(node),
                    _ => None,
                }
            })
        });
        if let Some(node) = node {
            return Some(refuse(node, core, Refusal::Closed));
        }
        self.len = 0;
        self.give_back_waiting(core)
    }

    /// The same for a sender that waits for room.
    pub(super) fn give_back_waiting(&mut self, core: &Core) -> Option<Result<Option<Wake>, Evicted>> {
        let waiting = self.extras.as_deref_mut()?.waiting.pop_front()?;
        // SAFETY: it was in the list, so its thread takes the lock before it leaves; the node is alive for the same reason.
        let waiting = unsafe { waiting.as_ref() };
        waiting.refused.set(true);
        // SAFETY: as above.
        let asked = unsafe { waiting.node.as_ref() }.vtable.asked;
        if asked {
            return Some(refuse(waiting.node, core, Refusal::Closed));
        }
        waiting.let_go();
        // SAFETY: as above.
        Some(Ok(waiting.ticket.take().and_then(|ticket| unsafe { ticket.end(End::Notified) })))
    }
}

/// Refuses an ask at once; hands a box back, to be refused when the lock is free.
fn refuse(node: NonNull<Node>, core: &Core, why: Refusal) -> Result<Option<Wake>, Evicted> {
    // SAFETY: it was taken out of a list under the lock, which is still held.
    unsafe { Evicted::new(node, core, why) }
}

/// An ask that is being handled leaves: nobody waits for what the handler returns.
pub(super) fn forget_reply(frame: NonNull<Frame>) {
    // SAFETY: the ask is `Handled` in this frame, under the lock: the run has not answered it, so it has not left the frame.
    unsafe { frame.as_ref() }.reply_to.set(ReplyTo::Nobody);
}
