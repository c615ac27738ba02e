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
//! seat has the number of the life in which it was taken: what a worker's last life has found out changes nothing in the next.

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
        self.take(|desks| (desks[index].presence != Presence::Shut && desks[index].taken < limit).then_some(index))
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

    /// It has ended.
    pub(crate) fn ended(&self) {
        self.change(|desk| desk.presence = Presence::Down);
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

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn what_a_last_life_has_found_out_changes_nothing_in_the_next() {
        let crew = Crew::new(1);
        let place = Place::new(&crew, 0);
        place.started();
        let old = crew.take_free().unwrap();
        place.ended();
        place.started();
        old.finds_shut();
        assert_eq!(crew.take_free().unwrap().index(), 0);
    }

    #[test]
    fn a_seat_that_is_dropped_is_free_and_one_of_a_dying_worker_is_not() {
        let crew = Crew::new(2);
        (0..2).for_each(|index| Place::new(&crew, index).started());
        let (one, two) = (crew.take_free().unwrap(), crew.take_free().unwrap());
        assert_eq!((one.index(), two.index()), (0, 1));
        one.goes_down();
        drop(two);
        assert_eq!(crew.take_free().unwrap().index(), 1);
        crew.ended(&Exit::Killed);
        assert_eq!(crew.take_free().err(), Some(Exit::Killed));
    }

    #[test]
    fn messages_may_be_queued_for_a_worker_that_is_down_and_not_for_one_that_is_shut() {
        let crew = Crew::new(1);
        let (one, two) = (crew.take_at(0, 2).unwrap(), crew.take_at(0, 2).unwrap());
        drop(one);
        let three = crew.take_at(0, 2).unwrap();
        two.finds_shut();
        Place::new(&crew, 0).started();
        assert_eq!(crew.take_at(0, 2).unwrap().index(), 0);
        drop(three);
    }
}
