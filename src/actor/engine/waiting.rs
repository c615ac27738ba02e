//! Waiting for room in a full mailbox.
//!
//! # Protocol
//!
//! Under the lock of the mailbox, a sender that finds no room puts its envelope behind those that wait. The thread that takes a
//! message out puts the envelope that has waited longest in its place, and clears the edge of that envelope's sender; then,
//! without the lock, it opens the sender's [`CapacityWaiter`]. An ask needs none: its asker waits for the answer.
//!
//! A sender whose wait ends otherwise (its deadline, a cancel, a cycle that a joiner has closed) takes the lock and looks for
//! its envelope. If it is there, the sender takes it back. If not, another thread has taken it out and owes the verdict, for which
//! the sender waits.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::task::{Poll, Waker};

use super::guard::contained;
use super::weak::Weak;
use crate::park::Wait;
use crate::park::owed_answer::OwedAnswer;
use crate::park::queue::WaitQueue;

/// What became of an envelope that waited for room. `Err`: the mailbox has closed, and the envelope is the sender's again.
pub(super) type Verdict<P> = Result<(), P>;

/// Where a sender waits for the verdict: its thread, or its future.
pub(crate) struct CapacityWaiter<P> {
    state: WaitQueue<WaiterState<P>>,
    /// For the report of a deadlock: the room, by the actor whose mailbox that is, until the envelope has left the line.
    owed: OwedAnswer,
}

struct WaiterState<P> {
    verdict: Option<Verdict<P>>,
    waker: Option<Waker>,
}

impl<P> CapacityWaiter<P> {
    pub(super) fn new() -> Arc<Self> {
        let state = WaitQueue::new(WaiterState { verdict: None, waker: None });
        Arc::new(Self { state, owed: OwedAnswer::new() })
    }

    pub(super) fn owed(&self) -> &OwedAnswer {
        &self.owed
    }

    fn settle(&self, verdict: Verdict<P>) {
        let mut waker = None;
        self.state.notify_all(|state| {
            state.verdict = Some(verdict); // KEY: capacity-verdict
            waker = state.waker.take();
            true
        });
        contained(|| waker.into_iter().for_each(Waker::wake));
    }

    /// The envelope is in. Without the lock of the mailbox.
    pub(super) fn open(&self) {
        self.settle(Ok(()));
    }

    /// The mailbox has closed. Without the lock of the mailbox.
    pub(super) fn close(&self, envelope: P) {
        self.settle(Err(envelope));
    }

    /// `None`: the deadline has passed, or the sender is to look for a cycle again.
    pub(super) fn wait(&self, wait: Wait, is_told: impl Fn() -> bool) -> Option<Verdict<P>> {
        let verdict = |state: &mut WaiterState<P>| state.verdict.take().map(Some).or_else(|| is_told().then_some(None));
        self.state.wait_until(wait, verdict).flatten()
    }

    /// The verdict; if it is not there, `waker` is woken when it is.
    pub(super) fn poll(&self, waker: &Waker) -> Poll<Verdict<P>> {
        let mut waker = Some(waker.clone());
        self.state.with(|state| {
            std::mem::swap(&mut state.waker, &mut waker); // The old one is dropped outside.
            state.verdict.take().map_or(Poll::Pending, Poll::Ready)
        })
    }
}

/// An envelope that waits for room.
pub(super) struct WaitingEnvelope<P> {
    pub(super) envelope: P,
    /// `None`: it is an ask.
    pub(super) sender: Option<WaitingSender<P>>,
}

/// Whose envelope it is.
pub(crate) struct WaitingSender<P> {
    pub(super) waiter: Arc<CapacityWaiter<P>>,
    /// The actor that sends, if it is one: its edge goes when it has its place.
    pub(super) actor: Option<Weak>,
}
