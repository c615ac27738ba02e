//! The workers of a pool, as the pool sees them: which of them can take a message.
//!
//! A worker has a *place*. The pool takes a *seat* there for each message that it hands over, and the seat is given back when the
//! handler has returned, or when the message is dropped. So a seat is a count of the messages that a worker has and has not handled.
//!
//! | presence | entered                                     | a message                                              |
//! | -------- | ------------------------------------------- | ------------------------------------------------------ |
//! | `Down`   | at first; the worker is dying, or has died  | may be queued for the worker's next life, not handled  |
//! | `Up`     | `started` has succeeded: a life begins      | is handled                                             |
//! | `Shut`   | the worker's mailbox has refused a message  | is refused until the next life                         |
//!
//! All of it is under the lock of one [`WaitQueue`], in which the pool waits: what changes a place wakes the pool, so no change is missed. A
//! seat has the number of the life in which it was taken, and that changes with the life's beginning and with its end: what a worker's last life
//! has found out changes nothing in the next, nor before that.

#![forbid(unsafe_code)]

use std::sync::Arc;

use super::warden::Warden;
use crate::actor::Exit;
use crate::park::Wait;
use crate::park::queue::WaitQueue;
use crate::task::header::Reason;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Presence {
    Down,
    Up,
    Shut,
}

#[derive(Clone, Copy, Debug)]
struct Desk {
    presence: Presence,
    life: u32,
    taken: u32,
}

/// May a message be queued for the worker there, that has fewer than `limit`?
fn is_free_at(desk: &Desk, limit: u32) -> bool {
    desk.presence != Presence::Shut && desk.taken < limit
}

struct Desks {
    desks: Box<[Desk]>,
    /// The workers' supervisor has ended so.
    over: Option<Exit>,
}

/// See the module's text.
pub(crate) struct Crew(WaitQueue<Desks>);

impl Crew {
    pub(crate) fn new(len: usize) -> Arc<Self> {
        let desk = Desk { presence: Presence::Down, life: 0, taken: 0 };
        Arc::new(Self(WaitQueue::new(Desks { desks: vec![desk; len].into(), over: None })))
    }

    /// Waits for a worker that has nothing to do.
    ///
    /// # Errors
    ///
    /// Why there are no workers any more.
    pub(crate) fn take_free(self: &Arc<Self>) -> Result<Seat, Exit> {
        self.take(|desks| desks.iter().position(|desk| desk.presence == Presence::Up && desk.taken == 0))
    }

    /// Waits until that worker has fewer than `limit` messages.
    ///
    /// # Errors
    ///
    /// Why there are no workers any more.
    pub(crate) fn take_at(self: &Arc<Self>, index: usize, limit: u32) -> Result<Seat, Exit> {
        self.take(|desks| is_free_at(&desks[index], limit).then_some(index))
    }

    /// Would [`take_at`](Self::take_at) take at once?
    #[cfg(test)]
    pub(crate) fn can_take_at(&self, index: usize, limit: u32) -> bool {
        self.0.with(|state| is_free_at(&state.desks[index], limit))
    }

    fn take(self: &Arc<Self>, find: impl Fn(&[Desk]) -> Option<usize>) -> Result<Seat, Exit> {
        let found = self.0.wait_until(Wait::new(Reason::Worker), |state| {
            if let Some(exit) = &state.over {
                return Some(Err(exit.clone()));
            }
            let index = find(&state.desks)?;
            state.desks[index].taken += 1;
            Some(Ok((index, state.desks[index].life)))
        });
        let (index, life) = found.expect("a wait without a deadline")?;
        Ok(Seat { place: Place { crew: Arc::clone(self), index }, life })
    }
}

/// That of the workers' supervisor, which lives once.
impl Warden for Crew {
    fn keeps(&self) -> bool {
        false
    }

    fn started(&self) {}

    fn ended(&self, exit: &Exit) -> bool {
        self.0.notify_all(|state| {
            state.over.get_or_insert_with(|| exit.clone());
            true
        });
        false
    }
}

/// A worker's place in its crew.
#[derive(Clone)]
pub(crate) struct Place {
    crew: Arc<Crew>,
    index: usize,
}

impl Place {
    pub(crate) fn new(crew: &Arc<Crew>, index: usize) -> Self {
        Self { crew: Arc::clone(crew), index }
    }

    /// A life of the worker has begun.
    pub(crate) fn started(&self) {
        self.change(|desk| {
            desk.presence = Presence::Up;
            desk.life = desk.life.wrapping_add(1);
        });
    }

    /// It has ended: what is found out about it from now on is no matter of the next.
    pub(crate) fn ended(&self) {
        self.change(|desk| {
            desk.presence = Presence::Down;
            desk.life = desk.life.wrapping_add(1);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Desk)) {
        self.crew.0.notify_all(|state| {
            change(&mut state.desks[self.index]);
            true
        });
    }
}

/// The right to hand one message to a worker. Dropped, it is given back.
pub(crate) struct Seat {
    place: Place,
    life: u32,
}

impl Seat {
    pub(crate) fn index(&self) -> usize {
        self.place.index
    }

    /// The worker ends after the message that it had.
    pub(crate) fn goes_down(self) {
        self.leave(Presence::Down);
    }

    /// The worker takes no messages.
    pub(crate) fn finds_shut(self) {
        self.leave(Presence::Shut);
    }

    fn leave(self, presence: Presence) {
        self.place.change(|desk| {
            if desk.life == self.life {
                desk.presence = presence;
            }
        });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.place.change(|desk| desk.taken -= 1);
    }
}
