//! Models of the lock by which threads are listed, and of the roster of actors: loom tries every interleaving, and every value that a weak memory may return. The
//! very source files are included here.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports)]

mod model;

mod base {
    pub(crate) use crate::model::prelude::atomic;
    pub(crate) use crate::spin;

    /// loom's mutex.
    pub(crate) mod lock {
        use loom::sync::{Mutex, MutexGuard};

        pub(crate) type LockGuard<'a, T> = MutexGuard<'a, T>;

        #[derive(Debug)]
        pub(crate) struct Lock<T>(Mutex<T>);

        impl<T> Lock<T> {
            pub(crate) fn new(value: T) -> Self {
                Self(Mutex::new(value))
            }

            pub(crate) fn lock(&self) -> LockGuard<'_, T> {
                self.0.lock().unwrap()
            }
        }
    }
}

/// Two fences, as where there is no membarrier(2).
mod sys {
    pub(crate) mod membarrier {
        use loom::sync::atomic::{Ordering, fence};

        pub(crate) fn light() {
            fence(Ordering::SeqCst);
        }

        pub(crate) fn heavy() -> std::io::Result<()> {
            fence(Ordering::SeqCst);
            Ok(())
        }
    }
}

#[path = "../src/actor/engine/alone.rs"]
mod alone;
#[path = "../src/sched/biased.rs"]
mod biased;
#[path = "../src/sched/roster.rs"]
mod roster;
#[path = "../src/base/spin.rs"]
mod spin;

mod sched {
    pub(crate) use crate::{biased, roster};

    pub(crate) mod live {
        /// Nobody lists threads here.
        #[derive(Debug)]
        pub(crate) struct ListPlaces;
    }
}

mod task {
    use std::ptr::NonNull;

    use crate::base::atomic::{AtomicU32, Ordering};
    use crate::base::spin::SpinLock;
    use crate::model::Watched;

    pub(crate) mod state {
        use crate::base::atomic::{AtomicU32, Ordering};

        /// The count of references alone.
        #[derive(Debug)]
        pub(crate) struct State(pub(crate) AtomicU32);

        impl State {
            pub(crate) fn is_sole(&self) -> bool {
                self.0.load(Ordering::Acquire) == 1
            }
        }
    }

    #[derive(Debug)]
    pub(crate) struct Header {
        pub(crate) state: state::State,
        /// What the last to have it does with it.
        pub(crate) block: Watched,
        /// No address, and the mailbox.
        pub(crate) addrs: AtomicU32,
        pub(crate) mailbox: SpinLock<Watched>,
    }

    /// A counted reference.
    pub(crate) struct Task(pub(crate) NonNull<Header>);

    // SAFETY: it is counted.
    unsafe impl Send for Task {}

    impl Task {
        /// Its memory stays, so that loom sees who comes too late.
        pub(crate) fn new() -> Self {
            let (state, addrs) = (state::State(AtomicU32::new(1)), AtomicU32::new(0));
            let mailbox = SpinLock::new(Watched::new(0));
            Self(NonNull::from(Box::leak(Box::new(Header { state, block: Watched::new(0), addrs, mailbox }))))
        }

        pub(crate) unsafe fn counted(header: NonNull<Header>) -> Self {
            let task = Self(header);
            assert_eq!(task.header().block.get(), 0, "it is alive");
            task.header().state.0.fetch_add(1, Ordering::Relaxed);
            task
        }

        pub(crate) fn header(&self) -> &Header {
            // SAFETY: it is never freed.
            unsafe { self.0.as_ref() }
        }
    }

    impl Drop for Task {
        fn drop(&mut self) {
            if self.header().state.0.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.header().block.add(1);
            }
        }
    }
}

use std::ptr;

use alone::lock_for;
use base::atomic::Ordering;
use loom::sync::Arc;
use model::{Watched, check, spawn_with};
use sched::biased::BiasedLock;
use sched::live::ListPlaces;
use sched::roster::{OwnedList, Roster, RosterShare, SlotStock};
use task::Task;

/// What the lock guards, which loom watches, and the lock; a visitor keeps how often it came.
struct Guarded {
    number: Watched,
    lock: BiasedLock<u32>,
}

impl Guarded {
    fn new() -> Arc<Self> {
        Arc::new(Self { number: Watched::new(0), lock: BiasedLock::new(0) })
    }

    /// By the owner.
    fn change(&self) {
        self.lock.own(|_| self.number.add(1));
    }
}

#[test]
fn the_owner_and_a_visitor_never_meet_and_see_what_the_other_has_done() {
    check(3, || {
        let guarded = Guarded::new();
        let visitor = spawn_with(&guarded, |guarded| {
            let visitor = guarded.lock.open().unwrap();
            let first = {
                let mut visits = visitor.visit();
                *visits += 1;
                guarded.number.add(10)
            };
            let visits = visitor.visit();
            assert_eq!(*visits, 1);
            assert!(guarded.number.get() >= first);
        });
        guarded.change();
        guarded.change();
        visitor.join().unwrap();
        guarded.change();
        assert_eq!(guarded.number.get(), 13);
    });
}

#[test]
fn the_owner_gets_what_the_visitors_keep_as_long_as_there_may_be_one() {
    check(2, || {
        let guarded = Guarded::new();
        let visitor = guarded.lock.open().unwrap();
        let owner = spawn_with(&guarded, |guarded| {
            guarded.lock.own(|kept| {
                guarded.number.add(1);
                kept.map(|kept| *kept += 1).is_some()
            })
        });
        let seen = *visitor.visit();
        drop(visitor);
        let was_given = owner.join().unwrap();
        assert!(was_given || seen == 0);
        assert_eq!(guarded.number.get(), 1);
    });
}

#[test]
fn two_visitors_and_the_owner_never_meet_though_one_of_them_leaves_before_the_other() {
    check(1, || {
        let guarded = Guarded::new();
        let visits = |guarded: &Guarded| {
            let visitor = guarded.lock.open().unwrap();
            let mut visits = visitor.visit();
            *visits += 1;
            guarded.number.add(1);
        };
        let other = spawn_with(&guarded, visits);
        let owner = spawn_with(&guarded, Guarded::change);
        visits(&guarded);
        other.join().unwrap();
        owner.join().unwrap();
        guarded.change();
        assert_eq!(guarded.number.get(), 4);
    });
}

#[test]
fn a_visitor_that_comes_while_another_is_there_sees_what_the_owner_has_done() {
    check(2, || {
        let guarded = Guarded::new();
        let owner = spawn_with(&guarded, |guarded| {
            guarded.change();
            guarded.change();
        });
        let first = guarded.lock.open().unwrap();
        let second = guarded.lock.open().unwrap();
        drop(first);
        let seen = {
            let _visit = second.visit();
            guarded.number.add(10)
        };
        drop(second);
        owner.join().unwrap();
        assert!(guarded.number.get() == 12 && seen >= 10);
    });
}

/// An actor's block, in a roster as it is; loom watches `block`.
struct World {
    roster: &'static Roster,
    owned: &'static BiasedLock<ListPlaces>,
}

// SAFETY: the tasks are counted.
unsafe impl Send for World {}
// SAFETY: as above.
unsafe impl Sync for World {}

impl World {
    fn new() -> Arc<Self> {
        let (roster, owned) = (Box::leak(Box::new(Roster::new())), Box::leak(Box::new(BiasedLock::new(ListPlaces))));
        Arc::new(Self { roster, owned })
    }

    /// A new actor, with the reference of its run, in its slot.
    fn enter(&self, worker: Option<RosterShare<'_>>) -> (Task, u32) {
        let (task, number) = (Task::new(), self.roster.reserve(worker));
        // SAFETY: it leaves in `ends`.
        unsafe { self.roster.enter(number, task.0) };
        (task, number)
    }

    /// The last run: D1, D2, and then the end, if nobody else has the actor without an exchange.
    fn ends(&self, (task, number): (Task, u32), worker: Option<RosterShare<'_>>) {
        self.roster.leave(number, worker);
        if task.header().state.is_sole() {
            task.header().block.add(1);
        }
    }

    /// What a lister does with those that it has found.
    fn lists(&self) -> usize {
        self.looks_at(self.roster.all(&[self.owned.open().unwrap()]))
    }

    fn looks_at(&self, found: Vec<Task>) -> usize {
        found.iter().for_each(|task| assert_eq!(task.header().block.get(), 0, "it has not ended"));
        found.len()
    }

    /// For the owner.
    fn with_share(&self, owner: impl FnOnce(RosterShare<'_>)) {
        let stock = SlotStock::new(self.roster);
        owner(RosterShare { stock: &stock, owned: Some(OwnedList::new(self.owned)) });
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // SAFETY: `new` has leaked them, and the last one drops them.
        unsafe {
            drop(Box::from_raw(ptr::from_ref(self.roster).cast_mut()));
            drop(Box::from_raw(ptr::from_ref(self.owned).cast_mut()));
        }
    }
}

#[test]
fn an_actor_that_its_owner_ends_and_one_that_gets_its_slot_meet_no_lister_after_that() {
    check(3, || {
        let world = World::new();
        let lister = spawn_with(&world, World::lists);
        world.with_share(|share| {
            let first = world.enter(Some(share));
            let slot = first.1;
            world.ends(first, Some(share));
            let second = world.enter(Some(share));
            assert_eq!(second.1, slot, "it is used again");
            world.ends(second, Some(share));
        });
        assert!(lister.join().unwrap() <= 1);
    });
}

#[test]
fn an_actor_that_an_outsider_ends_and_one_that_gets_its_slot_meet_no_lister_after_that() {
    check(3, || {
        let world = World::new();
        let first = world.enter(None);
        let lister = spawn_with(&world, World::lists);
        let slot = first.1;
        world.ends(first, None);
        let second = world.enter(None);
        assert_eq!(second.1, slot, "it is used again");
        world.ends(second, None);
        assert!(lister.join().unwrap() <= 1);
    });
}

#[test]
fn one_that_stays_is_listed_while_another_ends() {
    check(2, || {
        let world = World::new();
        let stays = world.enter(None);
        let ends = world.enter(None);
        let lister = spawn_with(&world, World::lists);
        world.ends(ends, None);
        assert!((1..=2).contains(&lister.join().unwrap()));
        world.ends(stays, None);
    });
}

#[test]
fn an_actor_that_ends_as_its_runtime_does_is_taken_out_alive_or_not_at_all() {
    check(3, || {
        let world = World::new();
        let end = spawn_with(&world, |world| world.looks_at(world.roster.take_all()));
        for _ in 0..2 {
            world.ends(world.enter(None), None);
        }
        assert!(end.join().unwrap() <= 1);
        assert!(world.roster.take_all().is_empty());
    });
}

/// One without an address, as it locks its mailbox in a run; the lister looks into that, as it does into all.
#[test]
fn an_actor_that_has_its_mailbox_to_itself_meets_no_lister_there() {
    check(3, || {
        let world = World::new();
        let lister = spawn_with(&world, |world| {
            let found = world.roster.all(&[world.owned.open().unwrap()]);
            found.iter().for_each(|task| _ = task.header().mailbox.lock().add(1));
            found.len()
        });
        world.with_share(|share| {
            let actor = world.enter(Some(share));
            let header = actor.0.header();
            let number = lock_for(&header.addrs, &header.state, &header.mailbox, share.owned).add(1);
            assert!((1..=2).contains(&number));
            world.ends(actor, Some(share));
        });
        assert!(lister.join().unwrap() <= 1);
    });
}
