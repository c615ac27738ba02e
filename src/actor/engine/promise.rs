//! The promise of a reply that comes later, and the edge of the actor that waits for it; and what becomes of the reply when a handler has
//! returned, has panicked, or puts the reply off.

#![forbid(unsafe_code)]

use std::any::Any;
use std::ptr;
use std::sync::Arc;
use std::task::Waker;

use super::cell::{Core, RunState};
use super::edge::How;
use super::envelope::GoesOn;
use super::frame::ReplyTo;
use super::guard::contained;
use super::owed::{Answer, Failure, Owed, Refusal, Unanswered};
use super::walk::{closes_cycle, look_again, set_edge};
use super::weak::Weak;
use crate::actor::deferred::give;
use crate::actor::{ActorId, Cycle, Deferred, Exit, Message, Overflow};
use crate::park::Wait;
use crate::park::owed_answer::{ChosenTime, NAMED, OwedAnswer, refusal, refused};
use crate::park::queue::WaitQueue;
use crate::park::waits_on::debt_note;
use crate::task::header::Reason;

struct PromiseState<R> {
    /// Boxed: a large reply would be moved through every frame between its handler and its asker.
    result: Option<Result<Box<R>, Unanswered>>,
    /// Of the one that owns the asking side, and awaits it.
    waker: Option<Waker>,
    /// Of those that have a reference to it, and wait for it among others: there may be several.
    watchers: Vec<Waker>,
    /// The actor that is known to owe the answer: the waiter's edge leads to it, and this keeps it alive.
    owed_by: Option<Weak>,
    /// How often that has changed.
    hands: u32,
    /// The waiter's edge, as far as the message makes it.
    how: How,
    /// The actor that waits. Its edge is changed under this lock only, as long as this is there.
    waiter: Option<Waiter>,
}

#[derive(Clone)]
struct Waiter {
    actor: Weak,
    /// The chain whose messages it lets in meanwhile.
    lets_in: u64,
}

/// What a reply that comes later leaves between the two sides.
///
/// While an actor waits for the reply, its edge of the wait-for graph leads to the actor that owes the reply. The debt may
/// change hands: `forward` passes it on, `stash` keeps it, after `defer` no debtor is known. Both sides, an actor that begins
/// to wait and one that passes the debt on, change the edge under the lock, and look for a cycle then: so the side that closes
/// one by the last edge finds it (see `edge.rs`).
pub(crate) struct Promise<R> {
    state: WaitQueue<PromiseState<R>>,
    deadline_ns: u64,
    /// For the report of a deadlock: by the actor that the message was sent to, until the debt changes hands. Changed under the lock.
    owed: OwedAnswer,
}

impl<R> Promise<R> {
    /// Of a message that is sent to `owed_by`. `None`: of a reply that is put off.
    #[inline(always)]
    pub(crate) fn new(owed_by: Option<Weak>, deadline_ns: u64, how: How) -> Self {
        let owed = OwedAnswer::new();
        if let Some(debtor) = &owed_by {
            owed.begin(debtor.core().id().0, how.chain_on_its_way());
        }
        let state = WaitQueue::new(PromiseState {
            result: None,
            waker: None,
            watchers: Vec::new(),
            owed_by,
            hands: 0,
            how,
            waiter: None,
        });
        Self { state, deadline_ns, owed }
    }

    /// The actor that is known to owe the answer.
    pub(crate) fn debtor(&self) -> Option<Weak> {
        self.state.with(|state| state.owed_by.clone())
    }

    /// For a dump, of one that waits for this among others: what [`debt_note`] says of the debtor.
    pub(crate) fn note(&self) -> usize {
        self.state.with(|state| debt_note(&raw const state.owed_by))
    }

    /// The answer, if it is there.
    pub(crate) fn try_take(&self) -> Option<Result<Box<R>, Unanswered>> {
        self.state.with(|state| state.result.take())
    }

    /// The answer; if it is not there, `waker` is woken when it is.
    pub(crate) fn poll(&self, waker: &Waker) -> Option<Result<Box<R>, Unanswered>> {
        let mut waker = Some(waker.clone());
        self.state.with(|state| {
            let answer = state.result.take();
            if answer.is_none() {
                std::mem::swap(&mut state.waker, &mut waker); // The old one is dropped outside.
            }
            answer
        })
    }

    /// Is the answer there? If not, `waker` is woken when it is, and so are the others that were given here, until
    /// [`forget`](Self::forget).
    pub(crate) fn poll_settled(&self, waker: &Waker) -> bool {
        self.state.with(|state| {
            let is_settled = state.result.is_some();
            if !is_settled && !state.watchers.iter().any(|other| other.data() == waker.data()) {
                state.watchers.push(waker.clone());
            }
            is_settled
        })
    }

    /// Whoever has given `waker` to [`poll_settled`](Self::poll_settled) waits no more.
    pub(crate) fn forget(&self, waker: &Waker) {
        let mut gone = None;
        self.state.with(|state| {
            let place = state.watchers.iter().position(|other| other.data() == waker.data());
            gone = place.map(|place| state.watchers.swap_remove(place));
        });
        drop(gone); // Without the lock.
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.state.with(|state| state.result.is_some())
    }

    /// Wakes the task that awaits the answer, without one.
    pub(crate) fn wake(&self) {
        let waker = self.state.with(|state| state.waker.take());
        contained(|| waker.into_iter().for_each(Waker::wake));
    }

    pub(crate) fn deadline_ns(&self) -> u64 {
        self.deadline_ns
    }

    pub(crate) fn refuse(&self, why: Refusal) {
        self.settle(|_| Some(Err(Unanswered::Refused(why))));
    }

    /// See [`Owed::harden`]. Also under the lock of a mailbox, by its own actor when no handler is on: who looks into a mailbox with this lock ([`wait_nested`](Self::wait_nested)) waits in a
    /// handler of that one's actor.
    pub(super) fn harden(&self) {
        self.state.with(|state| {
            state.harden();
            self.owed.harden();
        });
    }

    /// The first result is the one that holds.
    fn settle(&self, result: impl FnOnce(&mut PromiseState<R>) -> Option<Result<Box<R>, Unanswered>>) {
        let (mut waker, mut watchers) = (None, Vec::new());
        self.state.notify_all(|state| {
            if state.result.is_none()
                && let Some(result) = result(state)
            {
                state.result = Some(result);
                if let Some(waiter) = &state.waiter {
                    waiter.actor.core().edge.clear();
                }
                self.owed.end();
                (waker, watchers) = (state.waker.take(), std::mem::take(&mut state.watchers));
            }
            true
        });
        // One that panics is no matter of the next.
        waker.into_iter().chain(watchers).for_each(|waker| contained(|| waker.wake()));
    }
}

/// An actor that waits for the promise. Its edge goes when this does.
struct PromiseWait<'a, R> {
    promise: &'a Promise<R>,
    waiter: Option<Waiter>,
    /// Where the debtor stands, for a dump.
    debtor: *const Option<Weak>,
}

impl<'a, R> PromiseWait<'a, R> {
    /// `Err`: to wait would close a cycle.
    fn begin(promise: &'a Promise<R>, lets_in: u64) -> Result<Self, Cycle> {
        let waiter = Core::current().map(|actor| Waiter { actor: actor.weak(), lets_in });
        let mut watched = Self { promise, waiter, debtor: ptr::null() };
        let edge = promise.state.with(|state| {
            state.waiter.clone_from(&watched.waiter);
            watched.debtor = &raw const state.owed_by;
            state.set_edge()
        });
        if let Some(cycle) = edge.and_then(|(waiter, owed_by)| closes_cycle(waiter.actor.core(), owed_by.core())) {
            return Err(cycle);
        }
        Ok(watched)
    }
}

impl<R> PromiseState<R> {
    /// Has the waiter's edge lead to the actor that owes the answer: both, for a look whether that closes a cycle.
    fn set_edge(&self) -> Option<(Waiter, Weak)> {
        let waiter = self.waiter.clone().filter(|_| self.result.is_none())?;
        let edge = &waiter.actor.core().edge;
        let Some(owed_by) = self.owed_by.clone() else {
            edge.clear();
            return None;
        };
        set_edge(waiter.actor.core(), owed_by.core(), self.how.letting_in(waiter.lets_in));
        Some((waiter, owed_by))
    }

    /// Nobody lets the message in any more.
    fn harden(&mut self) {
        self.how = How::PLAIN;
        if let Some(waiter) = &self.waiter {
            waiter.actor.core().edge.harden();
        }
    }
}

impl<R> Drop for PromiseWait<'_, R> {
    fn drop(&mut self) {
        if let Some(waiter) = &self.waiter {
            let registered = self.promise.state.with(|state| {
                waiter.actor.core().edge.clear();
                state.waiter.take()
            });
            drop(registered);
        }
    }
}

/// What ended one wait of a `reenter`.
pub(crate) enum Nested<R> {
    Answer(Result<Box<R>, Unanswered>),
    /// A message of the chain was let in.
    Admitted,
}

impl<R> Promise<R> {
    /// Is a wait, for what was sent to the debtor, an edge in the report of a deadlock? Not until a time that somebody has chosen, nor for a message that may be sent away for a newer
    /// one.
    fn is_reported(&self, chosen: ChosenTime) -> bool {
        let keeps = |debtor: Weak| debtor.core().mailbox.lock().overflow != Overflow::DropOldest;
        NAMED && !chosen.is_chosen() && self.debtor().is_some_and(keeps)
    }

    /// Waits for the answer. `chosen`: the deadline.
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    pub(crate) fn wait(&self, deadline_ns: u64, chosen: ChosenTime) -> Result<Box<R>, Unanswered> {
        match self.wait_nested(deadline_ns, chosen, 0, || false) {
            Nested::Answer(answer) => answer,
            Nested::Admitted => unreachable!("nothing is admitted here"),
        }
    }

    /// Waits for the answer, or for a message that `admitted` finds.
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    pub(crate) fn wait_nested(
        &self,
        deadline_ns: u64,
        chosen: ChosenTime,
        lets_in: u64,
        admitted: impl Fn() -> bool,
    ) -> Nested<R> {
        let is_reported = self.is_reported(chosen);
        let watched = match PromiseWait::begin(self, lets_in) {
            Ok(watched) => watched,
            Err(cycle) => {
                refused(cycle.members(), refusal::REPLY, chosen);
                return Nested::Answer(Err(Unanswered::Deadlock(cycle)));
            }
        };
        let awaited = if is_reported { Some(self.owed.awaited(lets_in)) } else { None };
        if let Some(Err(cycle)) = awaited {
            drop(watched);
            return Nested::Answer(self.try_take().unwrap_or_else(|| Err(Unanswered::deadlock(cycle))));
        }
        let asker = watched.waiter.as_ref().map(|waiter| waiter.actor.core());
        let wait = Wait::new(Reason::Ask).on_owed(watched.debtor).until(deadline_ns);
        let ready = |state: &mut PromiseState<R>| match state.result.take() {
            Some(result) => Some(Some(Nested::Answer(result))),
            None if admitted() => Some(Some(Nested::Admitted)),
            None => asker.is_some_and(|asker| asker.edge.is_told()).then_some(None),
        };
        let why = loop {
            match self.state.wait_until(wait, ready) {
                Some(Some(nested)) => {
                    // By one that has passed the debt on.
                    if let Nested::Answer(Err(Unanswered::Deadlock(cycle))) = &nested {
                        refused(cycle.members(), refusal::REPLY, chosen);
                    }
                    return nested;
                }
                Some(None) => match asker.map_or(Ok(()), look_again) {
                    Ok(()) => {}
                    Err(cycle) => break Unanswered::Deadlock(cycle),
                },
                None => break Unanswered::TimedOut,
            }
        };
        drop((awaited, watched));
        // Or what came with the deadline: a reply, or a cycle that one has closed that has passed the debt on.
        let answer = self.try_take().unwrap_or(Err(why));
        if let Err(Unanswered::Deadlock(cycle)) = &answer {
            refused(cycle.members(), refusal::REPLY, chosen);
        }
        Nested::Answer(answer)
    }
}

/// What a promise is in.
pub(crate) trait Promised: Send + Sync + 'static {
    type Reply: Send + 'static;

    fn promise(&self) -> &Promise<Self::Reply>;

    /// See [`Owed::note_lost`]; an asker that waits looks.
    fn note_lost(&self, _: ActorId) {}
}

impl<R: Send + 'static> Promised for Promise<R> {
    type Reply = R;

    fn promise(&self) -> &Self {
        self
    }
}

impl<P: Promised> Answer<P::Reply> for P {
    fn answer(&self, answer: Result<Box<P::Reply>, Failure>) {
        self.promise().settle(|_| Some(answer.map_err(Unanswered::Failed)));
    }
}

impl<P: Promised> Owed for P {
    fn fail(&self, failure: Failure) {
        self.answer(Err(failure));
    }

    fn note_lost(&self, by: ActorId) {
        Promised::note_lost(self, by);
    }

    fn give(self: Arc<Self>, to: &mut dyn Any) -> Result<(), Arc<dyn Owed>> {
        give(self, to)
    }

    fn nudge(&self) {
        self.promise().state.notify_all(|_| true);
    }

    fn harden(&self) {
        self.promise().harden();
    }

    fn is_queued(&self, hands: u32) {
        let promise = self.promise();
        promise.state.with(|state| {
            if state.hands == hands {
                state.harden();
                promise.owed.harden();
            }
        });
    }

    fn owed_by(&self, mut actor: Option<Weak>, how: How) -> u32 {
        let promise = self.promise();
        let (hands, edge) = promise.state.with(|state| {
            // The old one is dropped outside, when no edge leads to it any more.
            std::mem::swap(&mut state.owed_by, &mut actor);
            // Whether the other takes the message is not known yet.
            promise.owed.end();
            (state.hands, state.how) = (state.hands.wrapping_add(1), how);
            (state.hands, state.set_edge())
        });
        if let Some(cycle) = edge.and_then(|(waiter, owed_by)| closes_cycle(waiter.actor.core(), owed_by.core())) {
            // Unless it has left meanwhile: then the cycle was one of another wait.
            promise.settle(|state| state.waiter.is_some().then_some(Err(Unanswered::Deadlock(cycle))));
        }
        hands
    }
}

/// The handler has panicked, or was unwound. Why the actor ends.
#[cold]
pub(crate) fn died(run: &RunState, payload: Box<dyn Any + Send>) -> Box<Exit> {
    let exit = run.core().exit_of(payload);
    if let Some(orphans) = run.frame().take_orphans() {
        let died = Failure::Died((*exit).clone());
        let _ = run.core().guarded(|| orphans.fail(&died));
    }
    exit
}

/// Gives what the handler has returned to the promise that waits for it, or drops it. Passes a reason to end on.
pub(crate) fn settle<M: Message>(core: &Core, reply_to: ReplyTo, result: Result<Box<M::Reply>, Box<Exit>>) -> GoesOn {
    let owed = match reply_to {
        ReplyTo::Owed(owed) => deferred(owed).ok(),
        ReplyTo::Nobody | ReplyTo::Asked(_) => None,
    };
    let (answer, end) = match result {
        Ok(reply) => (Ok(reply), Ok(())),
        Err(exit) => (Err(Failure::Died((*exit).clone())), Err(exit)),
    };
    let given = core.guarded(|| owed.unwrap_or_else(Deferred::nobody).answer(answer));
    end.and(given)
}

/// `Err`: it is a promise of another type.
pub(super) fn deferred<R: Send + 'static>(owed: Arc<dyn Owed>) -> Result<Deferred<R>, Arc<dyn Owed>> {
    let mut deferred = Deferred::<R>::nobody();
    owed.give(&mut deferred)?;
    Ok(deferred)
}
