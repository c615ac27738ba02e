//! Monitors and links: ties between two actors, by which one is told when the other ends.
//!
//! A tie has two halves, one in the mailbox of each of the two, under a key of its own. So there is no search: an actor that
//! ends, or that takes a tie back, finds the half that belongs to the other by the key.
//!
//! | half          | is with                     | its other half         | when the actor that has it ends      |
//! | ------------- | --------------------------- | ---------------------- | ------------------------------------ |
//! | `Watches(m)`  | the maker of the monitor    | `Watched(m)`           | the other half goes                  |
//! | `Watched(m)`  | the one that is monitored   | `Watches(m)`           | the other is told: `Down`            |
//! | `Linked(you)` | each of two that are linked | `Linked(me)`           | the other is told: `LinkExit`        |
//!
//! The key of a link is the other actor, so there is one link between two, however often and from whichever side it is made.
//!
//! # Protocol
//!
//! A half *holds* the other actor's block, until it is *over*: the other has ended, and the signal that says so is queued.
//!
//! ```text
//!  to tie       T1  both locks, the lower number first        to end      E1  own lock: dead; takes all its halves out
//!               T2  puts both halves in, unless they are           for each  E2  the other's lock; is its half there,
//!                   there; if the other is dead: its own,            half         and does it hold?
//!                   over, and has the signal queued                          E3  then: over, and the signal is queued
//!  to untie     U1  both locks, the lower number first                           (of a `Watched`: gone, and nothing)
//!               U2  takes both halves out                     to be told  H1  own lock: takes the signal out of the queue
//!                                                                         H2  takes the half out; is there none? then
//!                                                                             the signal is dropped
//! ```
//!
//! *Told once.* A half becomes over once, by T2 or by E3, and that queues one signal. H2 takes the half out, so a second
//! signal of an earlier tie of the same two (tied, untied, tied again to the dead) finds none.
//!
//! *Not told after U2.* The half is gone: E2 finds none, and so does H2 for a signal that is queued already. Nothing in the queue
//! has to be looked for.
//!
//! *Nothing is left behind.* By T and U halves come and go in pairs. A half alone belongs to a tie whose other actor is
//! between its E1 and its E2, which ends that; or it is over, holds nothing, and goes when its signal is handled, or with its
//! actor. Both ends at once: each finds the other's halves taken out already.
//!
//! *No deadlock.* Two locks are held by T and U only, in one order; E has one at a time. Nothing else takes the lock of a mailbox
//! while it has one.
//!
//! `tests/loom_ties.rs` checks it on this file.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ops::DerefMut;

/// A half's key. The numbers are those of a monitor or of an actor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Tie {
    Watches(u64),
    Watched(u64),
    Linked(u64),
}

impl Tie {
    /// The key of the other half of what is `me`'s.
    pub(crate) fn other_half(self, me: u64) -> Tie {
        match self {
            Tie::Watches(monitor) => Tie::Watched(monitor),
            Tie::Watched(monitor) => Tie::Watches(monitor),
            Tie::Linked(_) => Tie::Linked(me),
        }
    }
}

/// The halves of one actor. `None`: it is over.
#[derive(Debug)]
pub(crate) struct Ties<P>(BTreeMap<Tie, Option<P>>);

/// One of the two, by a counted pointer.
pub(crate) trait Party: Clone {
    type Mailbox: Tied<Self>;

    fn number(&self) -> u64;

    fn lock(&self) -> impl DerefMut<Target = Self::Mailbox>;
}

/// Where an actor has its halves.
pub(crate) trait Tied<P> {
    /// `None`: it is dead.
    fn ties(&mut self) -> Option<&mut Ties<P>>;
}

impl<P> Default for Ties<P> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<P> Ties<P> {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Step H2. False: the signal is to be dropped.
    pub(crate) fn is_told(&mut self, tie: Tie) -> bool {
        let mut is_told = true;
        is_told &= self.0.remove(&tie).is_some(); // KEY: told-once
        is_told
    }

    /// Those that hold somebody, after step E1.
    pub(crate) fn into_held(self) -> impl Iterator<Item = (Tie, P)> {
        self.0.into_iter().filter_map(|(tie, other)| Some((tie, other?)))
    }

    /// Steps E2 and E3. Gives back what is not held any more; true: the signal is to be queued.
    fn end(&mut self, tie: Tie) -> Option<(P, bool)> {
        if let Tie::Watched(_) = tie {
            return Some((self.0.remove(&tie)??, false));
        }
        Some((self.0.get_mut(&tie)?.take()?, true))
    }
}

/// Step T1, or U1.
fn lock_both<'a, P: Party>(
    me: &'a P,
    other: &'a P,
) -> (impl DerefMut<Target = P::Mailbox> + use<'a, P>, impl DerefMut<Target = P::Mailbox> + use<'a, P>) {
    let mut mine = None;
    mine = mine.or_else(|| (me.number() < other.number()).then(|| me.lock())); // KEY: tie-order
    let theirs = other.lock();
    (mine.unwrap_or_else(|| me.lock()), theirs)
}

/// Ties `me`, which runs, to another actor. True: that has ended, and the caller queues the signal.
#[must_use]
pub(crate) fn tie<P: Party>(me: &P, other: &P, tie: Tie) -> bool {
    // What is not needed is dropped without the locks.
    let (mut mine, mut theirs) = (Some(other.clone()), Some(me.clone()));
    let (mut my_mailbox, mut other_mailbox) = lock_both(me, other);
    let Some(my_ties) = my_mailbox.ties() else { return false };
    if my_ties.0.contains_key(&tie) {
        return false;
    }
    match other_mailbox.ties() {
        Some(ties) => {
            my_ties.0.insert(tie, mine.take());
            ties.0.insert(tie.other_half(me.number()), theirs.take());
            false
        }
        None => {
            my_ties.0.insert(tie, None);
            true
        }
    }
}

/// Takes a tie of `me` back, which runs: no signal of it will be handled.
pub(crate) fn untie<P: Party>(me: &P, tie: Tie) {
    let held = me.lock().ties().and_then(|ties| ties.0.get(&tie).cloned());
    match held {
        Some(Some(other)) => {
            let (mut my_mailbox, mut other_mailbox) = lock_both(me, &other);
            let mine = my_mailbox.ties().and_then(|ties| ties.0.remove(&tie));
            let theirs = other_mailbox.ties().and_then(|ties| ties.0.remove(&tie.other_half(me.number())));
            drop((my_mailbox, other_mailbox));
            drop((mine, theirs));
        }
        Some(None) => _ = me.lock().ties().map(|ties| ties.0.remove(&tie)),
        None => {}
    }
}

/// Steps E2 and E3 for one half of `me`, which is dead: `tell` queues the signal, under the lock of the other's mailbox.
pub(crate) fn end<P: Party, R>(me: u64, tie: Tie, other: &P, tell: impl FnOnce(&mut P::Mailbox) -> R) -> Option<R> {
    let mut mailbox = other.lock();
    let (held, is_told) = mailbox.ties()?.end(tie.other_half(me))?;
    let told = is_told.then(|| tell(&mut mailbox));
    drop(mailbox);
    drop(held);
    told
}
