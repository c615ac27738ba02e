//! What waits for one actor, and whether it rests, runs or has ended. Everything here happens under the lock of the mailbox.
//!
//! # Protocol: nothing waits for an actor that rests
//!
//! ```text
//!  a sender                                    the actor, at the end of a run (in its worker's loop)
//!  S1  locks                                   R1  its header is re-armed
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
//! | `Drains` | `stop`; left for `Open` by a vacancy      | no             | `Closed`    |
//! | `Ends`   | the run has found a reason to end        | no             | `Closed`    |
//! | `Dead`   | the state is dropped, all are told       | no             | `Closed`    |
//!
//! What is queued when it `Ends` goes back to its senders.
//!
//! # Turns
//!
//! A kill comes first, then the deadline of a drain, then `started`. The rest take turns. A signal goes ahead of timers and
//! messages, and after each signal one of those has its turn, if there is one. A timer that is due goes ahead of the messages,
//! and after each timer one message has its turn. So neither a supervisor whose child fails at once, nor an interval that is
//! slower than its period, nor a flood of messages keeps the others waiting for more than a few handlers. A timer that becomes due
//! while the actor `Drains` is not taken, as no message is.
//!
//! # Vacancy
//!
//! The incarnation of a kept actor ([`warden`](super::warden)) may end, and the actor does not: it is `Open` from step R3 on, also if it
//! was stopped, so what is sent meanwhile queues, and it stays busy, so nobody queues the actor. A stop of an actor that leaves or is vacant
//! does nothing: there is no incarnation to end, and the exit that the warden is told of is that of the one that has ended. Who ends the vacancy has the entry.
//!
//! | stage      | entered                                        | left                                                 |
//! | ---------- | ---------------------------------------------- | ---------------------------------------------------- |
//! | `Fresh`    | at the start                                   | when `started` has succeeded: `Started`              |
//! | `Leaves`   | by the run that has dropped the state          | when that run is over, in step R3                    |
//! | `Vacant`   | in step R3, `Open`; then the warden is told    | `revive`: `Fresh`; or `bury`                         |
//! | `Buried`   | `bury`: the phase is `Ends`; the actor queues  | the next run is the end                              |
//!
//! When its last run is over, the actor is `Over`, and what is left of it belongs to its addresses, or to nobody.

#![forbid(unsafe_code)]

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::busy::{Busy, Launch};
use super::envelope::Envelope;
use super::held_name::HeldName;
use super::owed::{Owed, Refusal};
use super::roll::Roll;
use super::ties::Ties;
use super::waiting::{WaitingEnvelope, WaitingSender};
use super::warden::Brood;
use super::weak::Weak;
use crate::actor::timer::Timer;
use crate::actor::{Exit, Mailbox, Overflow, Signal};
use crate::base::list::OwningList;
use crate::park::queue::WaitQueue;
use crate::rt::join::JoinHandle;
use crate::sched::remote::MAX_WORKERS;
use crate::sys::clock::now_ns;

/// See the module's text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Phase {
    Open,
    Drains,
    Ends,
    Dead,
}

/// How far the incarnation is. See the module's text, "Vacancy".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// `started` has not been called, or has failed.
    Fresh,
    Started,
    Leaves,
    Vacant,
    Buried,
    Over,
}

/// The actor's end, for those that asked for it: set once it is known.
pub(crate) type EndQueue = Arc<WaitQueue<Option<Exit>>>;

/// See the module's text.
pub(crate) struct MailboxState {
    pub(super) queue: OwningList<Envelope>,
    /// Those in `queue` that count.
    len: u32,
    capacity: u32,
    pub(crate) overflow: Overflow,
    pub(crate) phase: Phase,
    pub(super) busy: Busy,
    /// The first remote of the actor's runtime, and the bit `KEPT`.
    runtime: u16,
    /// A run has begun, and is not over.
    pub(crate) runs: bool,
    /// Something has to be looked at that is not the next message of `queue`: it is fresh, or closed; a system message, a kill, a
    /// sender that waits for room, a message that was passed is in `extras`.
    pub(super) urgent: bool,
    pub(super) stage: Stage,
    pub(super) extras: Option<Box<Extras>>,
}

/// What most actors never need.
#[derive(Default)]
pub(crate) struct Extras {
    pub(super) signals: VecDeque<Signal>,
    /// A signal was the last to go ahead: a timer or a message has its turn.
    pub(super) signalled: bool,
    /// What timers have sent.
    pub(super) due: OwningList<Envelope>,
    /// A timer was the last to go ahead: a message has its turn.
    pub(super) ceded: bool,
    pub(super) waiting: VecDeque<WaitingEnvelope<Envelope>>,
    /// Messages that do not count, and come before all in `queue`: an eviction has gone past them.
    pub(super) passed: OwningList<Envelope>,
    pub(super) stash: OwningList<Envelope>,
    stashed: usize,
    /// Messages of the call chain that a `reenter` lets in.
    admitted: OwningList<Envelope>,
    /// The chain that is let in, while the actor waits in a `reenter`; 0: none.
    chain: u64,
    /// Tells the thread that waits there.
    nested: Option<Arc<dyn Owed>>,
    pub(super) killed: bool,
    /// How many messages have been taken since the actor was stopped, and not put aside. Those that do not count are not among them.
    pub(super) drained: u64,
    /// How many have been given back unhandled. Those of timers are not among them.
    pub(super) given_back: u64,
    /// Of actors that were a part of this one: how many were stopped, have failed, were killed, are left; and how many of their messages were drained,
    /// were lost.
    pub(crate) parts: ([usize; 4], [u64; 2]),
    /// Why the actor is to end, or has ended.
    pub(crate) end: Option<Exit>,
    /// When the last message was handled, for an actor that has a receive time-out.
    pub(super) heard_ns: u64,
    /// A stopped actor drains no longer than this.
    pub(crate) drain_until_ns: Option<u64>,
    /// Monitors and links.
    pub(crate) ties: Ties<Weak>,
    pub(crate) ended: Option<EndQueue>,
    /// The end of the present incarnation, likewise.
    pub(super) left: Option<EndQueue>,
    /// Touched by the actor's own thread only.
    pub(crate) helpers: Roll<JoinHandle<()>>,
    /// As well.
    pub(crate) timers: Roll<Timer>,
    pub(super) names: BTreeSet<HeldName>,
    /// They are killed when this one is, however far it is with its end.
    pub(crate) brood: Option<Arc<dyn Brood>>,
    /// Of a relay, see [`relay`](super::relay).
    pub(super) distance: u8,
    pub(super) counts_losses: bool,
}

impl Extras {
    /// The next signal: one of a tie that was taken back is left out.
    fn next_signal(&mut self) -> Option<Signal> {
        loop {
            let signal = self.signals.pop_front()?;
            if signal.tie().is_none_or(|half| self.ties.is_told(half)) {
                return Some(signal);
            }
        }
    }
}

/// Beside the number of a remote: the actor has a warden.
pub(crate) const KEPT: u16 = 1 << 15;
const _: () = assert!(MAX_WORKERS <= KEPT as usize);

/// What the actor does next.
pub(crate) enum Take {
    /// Calls `started`.
    Start,
    Signal(Signal),
    Message(Envelope),
    End(Exit),
    Nothing,
}

impl MailboxState {
    /// Of a new actor of the runtime whose first remote that is; with `KEPT`, of one that has a warden.
    #[inline]
    pub(crate) fn new(mailbox: Mailbox, runtime: u16) -> Self {
        Self {
            queue: OwningList::new(),
            len: 0,
            capacity: mailbox.capacity,
            overflow: mailbox.overflow,
            phase: Phase::Open,
            busy: Busy::new(),
            runtime,
            runs: false,
            urgent: true,
            stage: Stage::Fresh,
            extras: None,
        }
    }

    /// The first remote of the actor's runtime.
    pub(super) fn runtime(&self) -> u16 {
        self.runtime & !KEPT
    }

    /// The last run is over.
    pub(super) fn is_over(&mut self) {
        self.stage = Stage::Over;
    }

    /// Does what is left of the actor belong to its addresses?
    pub(super) fn is_left(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Has it a warden?
    pub(crate) fn is_kept(&self) -> bool {
        self.runtime & KEPT != 0
    }

    pub(crate) fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// The extras, if there are any.
    pub(crate) fn has_extras(&mut self) -> Option<&mut Extras> {
        self.extras.as_deref_mut()
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.phase == Phase::Dead
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

    /// Step S3.
    #[inline]
    pub(super) fn mark_busy(&mut self) -> Option<Launch> {
        self.busy.mark_busy()
    }

    /// It neither runs nor is queued.
    #[inline]
    pub(crate) fn rests(&self) -> bool {
        !self.busy.is_set()
    }

    /// Queues a message, if there is room.
    #[inline]
    pub(super) fn push<P: Into<Envelope> + AsRef<Envelope>>(
        &mut self,
        envelope: P,
    ) -> Result<Option<Launch>, (Refusal, P)> {
        if self.is_closed() {
            return Err((Refusal::Closed, envelope));
        }
        if envelope.as_ref().is_counted() {
            if self.len >= self.capacity {
                return Err((Refusal::Full, envelope));
            }
            self.len += 1;
        }
        self.queue.push_back(envelope.into());
        Ok(self.mark_busy())
    }

    /// Takes a message of the chain that a `reenter` of the actor lets in (else: `Err`). The caller nudges the actor when it
    /// has let go of the lock.
    #[cold]
    pub(super) fn admit<P: Into<Envelope>>(&mut self, envelope: P, chain: u64) -> Result<Option<Arc<dyn Owed>>, P> {
        if !self.admits(chain) || self.phase > Phase::Drains {
            return Err(envelope);
        }
        let extras = self.extras();
        extras.admitted.push_back(envelope.into());
        Ok(extras.nested.clone())
    }

    /// From now on messages of `chain` are let in (0: none), and announced to `nested`. What was before is given back. Those
    /// that were let in and not handled are for the next `reenter` of the same handler, or else come after it.
    pub(crate) fn let_in(&mut self, chain: u64, nested: Option<Arc<dyn Owed>>) -> (u64, Option<Arc<dyn Owed>>) {
        let extras = self.extras.get_or_insert_default();
        self.urgent |= chain == 0 && !extras.admitted.is_empty();
        (std::mem::replace(&mut extras.chain, chain), std::mem::replace(&mut extras.nested, nested))
    }

    /// No handler is on that could let them in: they queue in front.
    fn queue_admitted(&mut self) {
        while let Some(envelope) = self.extras.as_deref_mut().and_then(|extras| extras.admitted.pop_back()) {
            // They may count: so what was passed goes back to the others first.
            while let Some(passed) = self.extras().passed.pop_back() {
                self.queue.push_front(passed);
            }
            self.len += u32::from(envelope.is_counted());
            envelope.harden();
            self.queue.push_front(envelope);
        }
    }

    pub(crate) fn has_admitted(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| !extras.admitted.is_empty())
    }

    /// The list of those, if there is one.
    pub(super) fn admitted(&mut self) -> Option<&mut OwningList<Envelope>> {
        self.extras.as_deref_mut().map(|extras| &mut extras.admitted)
    }

    /// Does a message of this chain get in at once?
    pub(crate) fn admits(&self, chain: u64) -> bool {
        chain != 0 && self.extras.as_ref().is_some_and(|extras| extras.chain == chain)
    }

    /// Queues what a timer sends: it never counts and goes ahead, see the module's text.
    pub(super) fn push_due<P: Into<Envelope>>(&mut self, envelope: P) -> Result<Option<Launch>, P> {
        if self.is_closed() {
            return Err(envelope);
        }
        self.extras().due.push_back(envelope.into());
        Ok(self.mark_busy_urgently())
    }

    /// `None`: the actor ends.
    pub(crate) fn push_signal(&mut self, signal: Signal) -> Option<Option<Launch>> {
        if self.phase >= Phase::Ends {
            return None;
        }
        self.extras().signals.push_back(signal);
        Some(self.mark_busy_urgently())
    }

    fn mark_busy_urgently(&mut self) -> Option<Launch> {
        self.urgent = true;
        self.mark_busy()
    }

    /// Puts a message that found no room behind the others that wait for it.
    pub(super) fn wait_for_capacity(&mut self, waiting: WaitingEnvelope<Envelope>) {
        self.urgent = true;
        self.extras().waiting.push_back(waiting);
    }

    /// Gives a message back that waits for room. The first that gives up is mostly the first that came.
    pub(super) fn withdraw(
        &mut self,
        is_it: impl Fn(&WaitingEnvelope<Envelope>) -> bool,
    ) -> Option<WaitingEnvelope<Envelope>> {
        let waiting = &mut self.extras.as_deref_mut()?.waiting;
        waiting.remove(waiting.iter().position(is_it)?)
    }

    /// A message that counts was taken out of the queue.
    pub(super) fn taken_out(&mut self) -> Option<WaitingSender<Envelope>> {
        self.len -= 1;
        self.refill()
    }

    /// Lets the message that has waited longest in, if there is room. Its sender may have to be let go.
    #[inline]
    #[must_use]
    fn refill(&mut self) -> Option<WaitingSender<Envelope>> {
        match self.extras.as_deref_mut() {
            Some(extras) if !extras.waiting.is_empty() && self.len < self.capacity => {}
            _ => return None,
        }
        let WaitingEnvelope { envelope, sender } = self.extras().waiting.pop_front()?;
        self.queue.push_back(envelope);
        self.len += 1; // KEY: capacity-place
        sender
    }

    /// The oldest message.
    #[inline]
    #[must_use]
    fn pop(&mut self) -> Option<(Envelope, Option<WaitingSender<Envelope>>)> {
        let passed = self.extras.as_deref_mut().and_then(|extras| extras.passed.pop_front());
        let envelope = passed.or_else(|| self.queue.pop_front())?;
        let sender = if envelope.is_counted() { self.taken_out() } else { None };
        Some((envelope, sender))
    }

    /// The oldest message that counts, which has to make room. For a mailbox where nobody waits for room.
    #[cold]
    pub(super) fn evict(&mut self) -> Option<Envelope> {
        loop {
            let envelope = self.queue.pop_front()?;
            if envelope.is_counted() {
                self.len -= 1;
                return Some(envelope);
            }
            // The next eviction does not go past it again.
            self.extras().passed.push_back(envelope);
            self.urgent = true;
        }
    }

    /// The next message, if there is one and nothing else to look at.
    #[inline]
    pub(crate) fn pop_plain(&mut self) -> Option<Envelope> {
        if self.urgent {
            return None;
        }
        let envelope = self.queue.pop_front()?;
        self.len -= u32::from(envelope.is_counted());
        Some(envelope)
    }

    /// What the actor does next.
    #[cold]
    pub(crate) fn take(&mut self, addressed: bool) -> (Take, Option<WaitingSender<Envelope>>) {
        self.queue_admitted();
        if let Some(take) = self.take_urgent() {
            return (take, None);
        }
        if let Some(envelope) = self.take_due() {
            return (Take::Message(envelope), None);
        }
        match self.pop() {
            Some((envelope, sender)) => {
                if self.phase == Phase::Drains {
                    self.extras().drained += u64::from(envelope.is_counted());
                }
                (Take::Message(envelope), sender)
            }
            None if self.phase == Phase::Drains => (Take::End(self.exit()), None),
            None if !addressed => (Take::End(Exit::Normal), None),
            None => (Take::Nothing, None),
        }
    }

    fn take_urgent(&mut self) -> Option<Take> {
        let extras = self.extras.as_deref_mut();
        if extras.as_ref().is_some_and(|extras| extras.killed) {
            return Some(Take::End(Exit::Killed));
        }
        let until = extras.as_ref().and_then(|extras| extras.drain_until_ns);
        let has_messages = !self.queue.is_empty();
        if self.stage != Stage::Started {
            let is_fresh = self.stage == Stage::Fresh;
            return Some(if is_fresh { Take::Start } else { Take::End(self.exit()) });
        }
        if self.phase == Phase::Drains && until.is_some_and(|until| until <= now_ns()) {
            return Some(Take::End(self.exit()));
        }
        let extras = extras?;
        let has_others = has_messages || !extras.passed.is_empty() || !extras.due.is_empty();
        let cedes = std::mem::take(&mut extras.signalled) && has_others;
        let signal = if cedes { None } else { extras.next_signal() };
        extras.signalled = signal.is_some();
        signal.map(Take::Signal)
    }

    /// What a timer has sent, unless it is a message's turn.
    fn take_due(&mut self) -> Option<Envelope> {
        let is_open = self.phase == Phase::Open;
        let Some(extras) = self.extras.as_deref_mut() else {
            self.urgent = !is_open;
            return None;
        };
        let cedes = std::mem::take(&mut extras.ceded) && !(self.queue.is_empty() && extras.passed.is_empty());
        let due = if cedes { None } else { extras.due.pop_front() };
        extras.ceded = due.is_some();
        let is_ahead = !extras.due.is_empty() || !extras.signals.is_empty();
        let is_behind = !extras.waiting.is_empty() || !extras.passed.is_empty();
        self.urgent = extras.ceded || is_ahead || is_behind || !is_open;
        due
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
    pub(crate) fn take_admitted(&mut self) -> Option<Envelope> {
        self.extras.as_deref_mut()?.admitted.pop_front()
    }

    /// Why it has ended, or is to.
    pub(super) fn exit(&self) -> Exit {
        self.extras.as_ref().and_then(|extras| extras.end.clone()).unwrap_or(Exit::Normal)
    }

    /// Timers and helper threads, which end with the actor.
    pub(super) fn take_companions(&mut self) -> (Vec<Timer>, Vec<JoinHandle<()>>) {
        let Some(extras) = self.has_extras() else { return (Vec::new(), Vec::new()) };
        (std::mem::take(&mut extras.timers).into_items(), std::mem::take(&mut extras.helpers).into_items())
    }

    /// The actor has ended. What is to be told, without the lock: the actors tied to it, and its joiners.
    pub(super) fn set_dead(&mut self) -> (Ties<Weak>, [Option<EndQueue>; 2]) {
        self.phase = Phase::Dead;
        let Some(extras) = self.has_extras() else { return (Ties::default(), [None, None]) };
        (std::mem::take(&mut extras.ties), [extras.left.take(), extras.ended.take()])
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

    /// Puts a message aside; it does not count there, and its kind does not either. `Err`: the actor ends.
    pub(super) fn stash(&mut self, envelope: Envelope) -> Result<(), Envelope> {
        if self.phase >= Phase::Ends {
            return Err(envelope);
        }
        let drains = self.phase == Phase::Drains;
        let extras = self.extras();
        extras.stash.push_back(envelope);
        extras.stashed += 1;
        extras.drained = extras.drained.saturating_sub(u64::from(drains));
        Ok(())
    }

    /// How many were put aside.
    pub(crate) fn stashed(&self) -> usize {
        self.extras.as_ref().map_or(0, |extras| extras.stashed)
    }

    /// What was put aside comes next, in its old order.
    pub(crate) fn unstash(&mut self) {
        let Some(extras) = self.extras.as_deref_mut() else { return };
        // What was put aside does not count, either.
        extras.stashed = 0;
        let front = if extras.passed.is_empty() { &mut self.queue } else { &mut extras.passed };
        while let Some(envelope) = extras.stash.pop_back() {
            front.push_front(envelope);
        }
    }

    /// Takes one message out that will not be handled, in no order that matters.
    pub(super) fn give_back(&mut self) -> Option<WaitingEnvelope<Envelope>> {
        let put_aside = self.extras.as_deref_mut().and_then(|extras| extras.stash.pop_front());
        put_aside.map(|envelope| self.given_back(envelope)).or_else(|| self.give_back_sent())
    }

    /// The same, of those that were not put aside.
    pub(super) fn give_back_sent(&mut self) -> Option<WaitingEnvelope<Envelope>> {
        let envelope = self.queue.pop_front().or_else(|| {
            let extras = self.extras.as_deref_mut()?;
            [&mut extras.passed, &mut extras.admitted].into_iter().find_map(OwningList::pop_front)
        });
        if let Some(envelope) = envelope {
            return Some(self.given_back(envelope));
        }
        self.len = 0;
        self.give_back_due().or_else(|| self.give_back_waiting())
    }

    /// The same for a message that waits for room.
    pub(super) fn give_back_waiting(&mut self) -> Option<WaitingEnvelope<Envelope>> {
        self.extras.as_deref_mut()?.waiting.pop_front()
    }
}
