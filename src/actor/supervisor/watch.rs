//! What a supervisor knows of one child's life: the child's warden.
//!
//! The child's run sets the status, and the supervisor waits for it while it starts or ends the child. A child that ends when nobody
//! waits for that tells the supervisor by a message.

#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::actor::Exit;
use crate::actor::engine::cell::Core;
use crate::actor::engine::crew::Place;
use crate::actor::engine::warden::Warden;
use crate::actor::engine::weak::Weak;
use crate::park::queue::WaitQueue;
use crate::sys::clock::now_ns;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum LifeStage {
    Starts,
    Runs,
    Down(Exit),
}

/// Why nobody is told when the child ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    No,
    /// The supervisor ends it, and will give it another state.
    Restarts,
    /// The supervisor ends it for good, or has given it up.
    Ends,
}

pub(super) struct Life {
    pub(super) status: LifeStage,
    /// How many states the child has had.
    pub(super) count: u32,
    /// When the last of them began.
    pub(super) born_ns: u64,
    /// `started` has succeeded in that one, however it has ended since.
    pub(super) has_started: bool,
    expected: Expected,
}

impl Life {
    pub(super) fn exit(&self) -> Option<Exit> {
        if let LifeStage::Down(exit) = &self.status { Some(exit.clone()) } else { None }
    }
}

pub(super) struct Watch {
    pub(super) life: WaitQueue<Life>,
    team: Weak,
    key: u64,
    /// Tells the supervisor that the child of that key has ended, in which of its lives. False: there is no supervisor.
    tell: fn(&Core, u64, u32) -> bool,
    /// Of a worker of a pool.
    place: Option<Place>,
}

impl Watch {
    pub(super) fn new(team: Weak, key: u64, tell: fn(&Core, u64, u32) -> bool, place: Option<Place>) -> Arc<Self> {
        let status = LifeStage::Down(Exit::Normal);
        let life = Life { status, count: 0, born_ns: now_ns(), has_started: false, expected: Expected::No };
        Arc::new(Self { life: WaitQueue::new(life), team, key, tell, place })
    }

    /// For another actor in the place of one that was given up: that one has this still.
    pub(super) fn another(&self) -> Arc<Self> {
        Self::new(self.team.clone(), self.key, self.tell, self.place.clone())
    }

    /// A new life begins.
    pub(super) fn begin(&self) {
        self.life.with(|life| {
            (life.status, life.born_ns) = (LifeStage::Starts, now_ns());
            life.count += 1;
            life.has_started = false;
            life.expected = Expected::No;
        });
    }

    /// The child has not come to life.
    pub(super) fn fail(&self, exit: Exit) {
        self.life.with(|life| life.status = LifeStage::Down(exit));
    }

    /// A factory is about to make the next state. If it is unwound instead, the child has not come to life.
    pub(super) fn guard(self: &Arc<Self>) -> FactoryGuard {
        FactoryGuard(Some(Arc::clone(self)))
    }

    /// The supervisor ends the child: nobody is to be told. True: it is down already.
    pub(super) fn expect(&self, for_good: bool) -> bool {
        self.life.with(|life| {
            life.expected = if for_good { Expected::Ends } else { Expected::Restarts };
            matches!(life.status, LifeStage::Down(_))
        })
    }
}

/// See [`Watch::guard`].
pub(super) struct FactoryGuard(Option<Arc<Watch>>);

impl FactoryGuard {
    /// The factory has returned.
    pub(super) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for FactoryGuard {
    fn drop(&mut self) {
        self.0.iter().for_each(|watch| watch.fail(Exit::Killed));
    }
}

impl Warden for Watch {
    fn keeps(&self) -> bool {
        self.life.with(|life| life.expected != Expected::Ends)
    }

    fn started(&self) {
        self.life.notify_all(|life| {
            life.status = LifeStage::Runs;
            life.has_started = true;
            true
        });
        self.place.iter().for_each(Place::started);
    }

    fn ended(&self, exit: &Exit) -> bool {
        self.place.iter().for_each(Place::ended);
        let mut tells = None;
        let mut keeps = true;
        self.life.notify_all(|life| {
            let is_new = !matches!(life.status, LifeStage::Down(_));
            if is_new {
                tells = (life.status == LifeStage::Runs && life.expected == Expected::No).then_some(life.count);
                keeps = life.expected != Expected::Ends;
                life.status = LifeStage::Down(exit.clone());
            }
            is_new
        });
        tells.map_or(keeps, |count| (self.tell)(self.team.core(), self.key, count))
    }
}
