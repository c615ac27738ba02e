//! The life of an actor: how it ends, and what addresses and other actors can do about that. It all happens under the lock of the mailbox.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::cell::Core;
use super::edge::How;
use super::ends_on_top::{cycle_below, ends_another};
use super::envelope::Envelope;
use super::held_name::HeldName;
use super::launch::{end_on_top, end_own_by, end_queued, in_time, last_words, leave_queued_by, take_left};
use super::mailbox_state::{EndQueue, MailboxState, Phase, Stage};
use super::monitor;
use super::owed::Refusal;
use super::waiting::WaitingEnvelope;
use super::walk::EdgeGuard;
use super::warden::Brood;
use crate::actor::{Exit, JoinError, Signal};
use crate::park::current::with_header;
use crate::park::queue::WaitQueue;
use crate::park::{Wait, checkpoint};
use crate::rt::join::JoinHandle;
use crate::sched::{Worker, remote};
use crate::sys::clock::{NEVER, after_ns, now_ns};
use crate::task::header::Reason;

/// A stopped actor handles what is queued for so long.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);

/// One that was killed is waited for so long: a handler that computes does not end.
pub(crate) const LAST_WAIT: Duration = Duration::from_secs(5);

/// One that leaves is looked at again so often.
const MOMENT: Duration = Duration::from_millis(1);

/// As long as a cycle stands that another member was told of, a joiner looks again so often.
const LOOKS: Duration = Duration::from_millis(10);

/// Waits for the actor's end. An actor that joins has its edge in the wait-for graph (see [`edge`](super::edge)).
pub(crate) fn join(core: &Core, deadline_ns: u64) -> Result<Exit, JoinError> {
    join_by(core, deadline_ns, end_others)
}

/// The same, for one that itself ends what is queued for a runtime that is over.
pub(super) fn join_only(core: &Core, deadline_ns: u64) -> Result<Exit, JoinError> {
    join_by(core, deadline_ns, |_, _| true)
}

fn join_by(core: &Core, deadline_ns: u64, ends: fn(&Core, u64) -> bool) -> Result<Exit, JoinError> {
    checkpoint();
    let ended: EndQueue = {
        let fresh = Arc::new(WaitQueue::new(None));
        let mut mailbox = core.mailbox.lock();
        if let Some(exit) = mailbox.ended() {
            return Ok(exit);
        }
        core.assert_runs_here();
        Arc::clone(mailbox.extras().ended.get_or_insert(fresh))
    };
    await_by(core, &ended, deadline_ns, |end| end.clone(), ends)
}

/// The end of one incarnation; that of an actor between two has come.
pub(crate) struct LifeEnd(Result<EndQueue, Exit>);

impl LifeEnd {
    /// Of the present one.
    pub(crate) fn of(core: &Core) -> Self {
        let fresh = Arc::new(WaitQueue::new(None));
        let mut mailbox = core.mailbox.lock();
        let has_ended = mailbox.is_dead() || matches!(mailbox.stage(), Stage::Leaves | Stage::Vacant);
        if has_ended {
            Self(Err(mailbox.exit()))
        } else {
            Self(Ok(Arc::clone(mailbox.extras().left.get_or_insert(fresh))))
        }
    }

    /// Had it not ended when it was looked at?
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_ok()
    }

    /// Is it the present one of the actor with that mailbox?
    fn is_present(&self, mailbox: &mut MailboxState) -> bool {
        let left = mailbox.has_extras().and_then(|extras| extras.left.as_ref());
        left.zip(self.0.as_ref().ok()).is_some_and(|(present, own)| Arc::ptr_eq(present, own))
    }

    /// Waits for it, as [`join`].
    pub(crate) fn join(&self, core: &Core, deadline_ns: u64) -> Result<Exit, JoinError> {
        checkpoint();
        match &self.0 {
            Ok(queue) => await_in(core, queue, deadline_ns, |end| end.clone()),
            Err(exit) => Ok(exit.clone()),
        }
    }
}

/// Tells those that have asked.
pub(super) fn say_ended(queue: &EndQueue, exit: &Exit) {
    queue.notify_all(|end| {
        *end = Some(exit.clone());
        true
    });
}

/// Steps J1 to J3, if the runtime of `core` is over. A wait in one that ends here is unwound after [`last_words`], or when the caller's own wait
/// is to end. True: the runtime is over.
fn end_others(core: &Core, deadline_ns: u64) -> bool {
    // Its worker runs the caller. The counts of the runtime are many joiners'.
    if Worker::current().is_some_and(|worker| worker.shared.identity() == core.header.runtime) {
        return false;
    }
    let shared = core.shared();
    if shared.as_ref().is_some_and(|shared| !shared.is_over()) {
        return false;
    }
    let own_ns = with_header(|thread| thread.limits.earliest_ns()).min(deadline_ns);
    let until_ns = own_ns.min(after_ns(last_words(shared.as_deref())));
    shared.iter().for_each(|shared| leave_queued_by(shared, until_ns));
    in_time(until_ns, || core.end_orphan());
    end_own_by(until_ns);
    if !ends_another() {
        // Who comes too late ends one, so that who asks again and again comes to the end.
        let end_one = || in_time(until_ns, || end_queued(core.header.runtime)).unwrap_or(true);
        while !core.is_ended() && end_one() && now_ns() < own_ns {}
        end_own_by(until_ns);
    }
    true
}

/// Waits for something that `core` owes, as its end, until `ready` finds that in `queue`. With an edge, as [`join`]. What is queued for a runtime that is
/// over, `core` perhaps, nobody runs: so who waits ends it first. One that ends on this very stack already is not waited for.
pub(crate) fn await_in<S, R>(
    core: &Core,
    queue: &WaitQueue<S>,
    deadline_ns: u64,
    ready: impl FnMut(&mut S) -> Option<R>,
) -> Result<R, JoinError> {
    await_by(core, queue, deadline_ns, ready, end_others)
}

fn await_by<S, R>(
    core: &Core,
    queue: &WaitQueue<S>,
    deadline_ns: u64,
    ready: impl FnMut(&mut S) -> Option<R>,
    ends: fn(&Core, u64) -> bool,
) -> Result<R, JoinError> {
    let mut ready = ready;
    if let Some(cycle) = cycle_below(core.id()) {
        return queue.with(|state| ready(state)).ok_or(JoinError::Deadlock { cycle });
    }
    loop {
        // Before there is an edge: what ends waits in the caller's name, and has that edge meanwhile.
        let is_over = ends(core, deadline_ns);
        let waits = EdgeGuard::set(Core::current(), core, How::JOIN);
        let in_cycle = waits.check_join(core).map_err(|cycle| JoinError::Deadlock { cycle })?;
        let look_ns = if in_cycle || is_over { after_ns(LOOKS) } else { NEVER };
        let wait = Wait::new(Reason::End).on(&raw const core.header).until(deadline_ns.min(look_ns));
        let found = |state: &mut S| ready(state).map(Some).or_else(|| waits.is_told().then_some(None));
        match queue.wait_until(wait, found) {
            Some(Some(found)) => return Ok(found),
            // The edge that it was told of goes.
            Some(None) => {}
            None if deadline_ns <= look_ns => return Err(JoinError::Timeout),
            None => {}
        }
    }
}

/// What an actor without extras does next, in two registers; else as [`Take`](super::mailbox_state::Take).
pub(crate) enum PlainTake {
    Start,
    Message(Envelope),
    /// Nobody has an address, and nothing is queued: it ends normally. The mailbox is closed already. Of what others have done to the actor there is
    /// nothing to undo, so far.
    Over,
    Nothing,
    /// It is to be looked at closely: [`MailboxState::take`].
    Look,
}

impl MailboxState {
    /// How it has ended, if it has.
    pub(super) fn ended(&mut self) -> Option<Exit> {
        (self.phase == Phase::Dead).then(|| self.exit())
    }

    /// The actor has a reason to end. It is noted before what is queued goes back, so that the senders can be told.
    pub(super) fn ends(&mut self, exit: &Exit) {
        self.close(Phase::Ends);
        // Most end normally: their extras would be made for this alone.
        if self.extras.is_some() || !matches!(exit, Exit::Normal) {
            self.extras().end = Some(exit.clone());
        }
    }

    /// That of an actor that has not ended.
    fn brood(&mut self) -> Option<Arc<dyn Brood>> {
        if self.is_dead() { None } else { self.has_extras()?.brood.clone() }
    }

    /// What the actor does next, if it has no extras.
    #[inline]
    pub(crate) fn take_plain(&mut self, addressed: bool) -> PlainTake {
        match (self.stage(), self.phase) {
            _ if self.extras.is_some() => return PlainTake::Look,
            (Stage::Fresh, _) => return PlainTake::Start,
            (Stage::Started, Phase::Open) => self.urgent = false,
            _ => return PlainTake::Look,
        }
        if let Some(envelope) = self.pop_plain() {
            return PlainTake::Message(envelope);
        }
        if addressed {
            return PlainTake::Nothing;
        }
        if self.is_kept() {
            return PlainTake::Look;
        }
        self.close(Phase::Ends);
        PlainTake::Over
    }

    /// The actor has a name from now on. `Err`: it has ended.
    pub(crate) fn hold_name(&mut self, held: HeldName) -> Result<(), HeldName> {
        if self.is_dead() {
            return Err(held);
        }
        self.extras().names.insert(held);
        Ok(())
    }

    /// The actor does not have that name any more.
    pub(crate) fn give_name_up(&mut self, held: &HeldName) {
        if let Some(extras) = self.has_extras() {
            extras.names.remove(held);
        }
    }

    /// The names of an actor that ends, to be freed without the lock.
    pub(super) fn take_names(&mut self) -> BTreeSet<HeldName> {
        self.has_extras().map(|extras| std::mem::take(&mut extras.names)).unwrap_or_default()
    }

    /// Has it no warden, and has nobody done more to it than to send messages?
    pub(super) fn is_plain(&self) -> bool {
        self.extras.is_none() && !self.is_kept()
    }

    /// Why it ends, if it has a reason to.
    pub(super) fn ending(&self) -> Option<Exit> {
        (self.phase >= Phase::Ends).then(|| self.exit())
    }
}

impl Core {
    /// What others do for the actor, its helper threads and timers: if that panics, the actor is told.
    pub(crate) fn help<R>(&self, f: impl FnOnce() -> R) -> Option<R> {
        let reason = match self.guarded(f) {
            Ok(result) => return Some(result),
            Err(reason) => *reason,
        };
        if let Exit::Panic(_) = reason {
            self.signal(Signal::HelperPanicked { reason });
        }
        None
    }

    /// Ends an actor whose runtime is over, on the caller's stack, if it rests or is left: nobody else will.
    pub(super) fn end_orphan(&self) {
        let duty = {
            let mut mailbox = self.mailbox.lock();
            if mailbox.is_dead() {
                return;
            }
            mailbox.bury().or_else(|| mailbox.mark_busy())
        };
        if let Some(task) = duty.map(|duty| self.entry(duty)).or_else(|| take_left(self)) {
            end_on_top(task);
        }
    }

    /// It was told to end. If its runtime is over, and it is left, it does so now: what waits for that may be no join.
    fn end_if_left(&self) {
        if ends_another() && self.shared().is_none_or(|shared| shared.is_over()) {
            self.end_orphan();
        }
    }

    /// Has it found a reason to end, and not for one incarnation only?
    pub(crate) fn is_ending(&self) -> bool {
        self.mailbox.lock().phase >= Phase::Ends
    }

    /// How many messages have been handled since the actor was stopped, and how many were given back.
    pub(crate) fn settled(&self) -> (u64, u64) {
        self.mailbox.lock().settled()
    }

    /// Of one that was stopped: how long it may go on with what is queued.
    pub(crate) fn drain_left(&self) -> Option<Duration> {
        let until_ns = self.mailbox.lock().has_extras()?.drain_until_ns?;
        Some(Duration::from_nanos(until_ns.saturating_sub(now_ns())))
    }

    /// For one that was refused: waits until the present life of the actor is over. False: the actor has no other, or waits for the caller.
    pub(crate) fn has_another_life(&self) -> bool {
        {
            let mailbox = self.mailbox.lock();
            if mailbox.is_dead() || !mailbox.is_kept() {
                return false;
            }
        }
        let life = LifeEnd::of(self);
        // Between two it is closed for a moment only.
        let over = if life.is_on() { life.join(self, NEVER) } else { join(self, after_ns(MOMENT)) };
        !matches!(over, Err(JoinError::Deadlock { .. }))
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.mailbox.lock().is_dead()
    }

    /// Closes the mailbox; what is queued is still handled, for at most `drain`. Where an incarnation is over nothing is to be stopped: the warden is told of
    /// the end that it has had.
    pub(crate) fn stop(&self, why: Exit, drain: Duration) {
        self.stop_if(|_| true, why, drain);
    }

    /// The same, if its present life is that one: not the next, when it has ended just now.
    pub(crate) fn stop_life(&self, life: &LifeEnd, why: Exit, drain: Duration) {
        self.stop_if(|mailbox| life.is_present(mailbox), why, drain);
    }

    fn stop_if(&self, is_due: impl FnOnce(&mut MailboxState) -> bool, why: Exit, drain: Duration) {
        let mut mailbox = self.mailbox.lock();
        let is_over = mailbox.is_closed() || matches!(mailbox.stage(), Stage::Leaves | Stage::Vacant);
        if is_over || !is_due(&mut mailbox) {
            drop(mailbox);
            return self.end_if_left();
        }
        self.assert_runs_here();
        let extras = mailbox.extras();
        (extras.end, extras.drained) = (Some(why), 0);
        extras.drain_until_ns = Some(after_ns(drain));
        mailbox.close(Phase::Drains);
        let launch = mailbox.mark_busy();
        drop(mailbox);
        self.give_back_waiting();
        self.launch(launch);
        self.end_if_left();
    }

    /// Ends the actor as soon as it can be: a parked handler is unwound. Its brood comes after it: it takes none of their ends for one of
    /// its own accord.
    pub(crate) fn kill(&self) {
        self.kill_if(|_| true);
    }

    /// The same, if its present life is that one: not the next, when it has ended just now.
    pub(crate) fn kill_life(&self, life: &LifeEnd) {
        self.kill_if(|mailbox| life.is_present(mailbox));
    }

    fn kill_if(&self, is_due: impl FnOnce(&mut MailboxState) -> bool) {
        // Under one lock: it is the brood of the very life that is killed.
        let (brood, killed) = {
            let mut mailbox = self.mailbox.lock();
            if !is_due(&mut mailbox) {
                return;
            }
            let brood = mailbox.brood();
            let killed = if mailbox.phase >= Phase::Ends || mailbox.is_killed() {
                None
            } else {
                self.assert_runs_here();
                mailbox.kill();
                Some((mailbox.mark_busy(), mailbox.runs.then(|| self.header.state.cancel())))
            };
            (brood, killed)
        };
        if let Some((launch, cancelled)) = killed {
            if let (None, Some(found)) = (&launch, cancelled) {
                remote::interrupt(self.weak().task(), found);
            }
            self.launch(launch);
        }
        self.end_if_left();
        brood.iter().for_each(|brood| brood.kill_all());
    }

    /// Tells the actor something. False: it has ended.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        let pushed = self.mailbox.lock().push_signal(signal);
        pushed.map(|launch| self.launch(launch)).is_some()
    }
}

impl Core {
    /// Refuses everything that is queued.
    pub(super) fn give_back_all(&self) {
        while self.give_back_one(MailboxState::give_back) {}
    }

    /// Refuses everything that waits for room.
    pub(super) fn give_back_waiting(&self) {
        while self.give_back_one(MailboxState::give_back_waiting) {}
    }

    /// Refuses one message. False: there was none.
    pub(super) fn give_back_one(&self, take: fn(&mut MailboxState) -> Option<WaitingEnvelope<Envelope>>) -> bool {
        let mut mailbox = self.mailbox.lock();
        let Some(WaitingEnvelope { envelope, sender }) = take(&mut mailbox) else { return false };
        if let Some(sender) = sender {
            let waiter = sender.let_go();
            drop(mailbox);
            // A future that has gone leaves its envelope to the waiter.
            let _ = self.guarded(move || waiter.close(envelope));
            return true;
        }
        let refused = envelope.refuse_ask(Refusal::Closed);
        drop(mailbox);
        match refused {
            Ok(None) => {}
            Ok(Some(wake)) => wake.schedule(),
            Err(envelope) => self.refuse_box(envelope, Refusal::Closed),
        }
        true
    }

    /// What follows is called or dropped at the actor's end, and may wait as [`last_words`](crate::task::last_words) has it.
    pub(crate) fn begin_last_words(&self) {
        self.header.begin_last_words(Worker::current().is_some_and(Worker::is_late));
    }

    /// The run has found a reason to end: gives back what is queued. True: `stopping` is to be called.
    pub(crate) fn begin_end(&self, exit: &Exit) -> bool {
        self.begin_last_words();
        let started = {
            let mut mailbox = self.mailbox.lock();
            mailbox.ends(exit);
            !mailbox.is_fresh()
        };
        self.give_back_all();
        self.header.refuse_cancels();
        started
    }

    /// The state is dropped: ends timers and helpers, tells tied actors and joiners.
    #[cold]
    pub(crate) fn end(&self, exit: Exit) {
        self.end_companions();
        // The names are free before anybody can see that the actor has ended.
        let (ties, ended) = loop {
            let mut mailbox = self.mailbox.lock();
            let names = mailbox.take_names();
            if names.is_empty() {
                break mailbox.set_dead();
            }
            drop(mailbox);
            names.iter().for_each(HeldName::free);
        };
        monitor::tell(self, ties, &exit);
        ended.iter().flatten().for_each(|ended| say_ended(ended, &exit));
        self.is_over(false);
    }

    /// The same, of one whose mailbox closed when there was nothing in it, by [`PlainTake::Over`]: mostly there is nobody to tell.
    pub(crate) fn end_over(&self) {
        let forgotten = self.is_forgotten();
        if !forgotten {
            let mut mailbox = self.mailbox.lock();
            if !mailbox.is_plain() {
                drop(mailbox);
                return self.end(Exit::Normal);
            }
            mailbox.phase = Phase::Dead;
        }
        self.is_over(forgotten);
    }

    /// Ends timers and helpers.
    #[inline]
    pub(super) fn end_companions(&self) {
        // Timers end before the actor is dead: none of theirs is a dead letter.
        let (timers, helpers) = self.mailbox.lock().take_companions();
        // What a timer would have sent, and what a helper has left, may have destructors that panic.
        timers.iter().for_each(|timer| _ = self.guarded(|| timer.cancel()));
        helpers.iter().for_each(JoinHandle::cancel);
        helpers.into_iter().for_each(|helper| _ = self.guarded(|| drop(helper)));
    }

    /// Closes the mailbox of an actor that its runtime ends, before its run does; it is busy. One that is buried has its exit.
    /// What it has put aside is for the run: it may be without end what is dropped by that, and each would be dropped in the one before.
    #[cold]
    pub(super) fn refuse_all(&self) {
        let exit = self.not_started();
        {
            let mut mailbox = self.mailbox.lock();
            if mailbox.ending().is_none() {
                mailbox.ends(&exit);
            }
        }
        while self.give_back_one(MailboxState::give_back_sent) {}
    }
}
