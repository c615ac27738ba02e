//! Names: a registry that cannot give an actor of another type.

#![forbid(unsafe_code)]

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::actor::address::Addressed;
use crate::actor::engine::weak::Weak;
use crate::actor::{Actor, Addr};

type NameKey = (TypeId, &'static str);

#[derive(Default)]
struct Names {
    /// Actors of the type in their key.
    holders: HashMap<NameKey, Weak>,
    /// When there are so many, those that have ended are struck: twice as many as were left the last time.
    look_at: usize,
}

impl Names {
    /// Those that have ended, if it is time to look: to add a name costs the same however many there are.
    fn strike(&mut self) -> Vec<(NameKey, Weak)> {
        if self.holders.len() < self.look_at.max(SHORT) {
            return Vec::new();
        }
        let struck = self.holders.extract_if(|_, holder| holder.core().is_ended()).collect();
        self.look_at = 2 * self.holders.len();
        struck
    }
}

/// The shortest list of names that is looked through.
const SHORT: usize = 64;

static NAMES: LazyLock<Mutex<Names>> = LazyLock::new(Mutex::default);

fn names() -> MutexGuard<'static, Names> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Finds an actor of type `A` by a name that is known in the whole process.
///
/// Two types may use the same text; they do not meet.
///
/// The registry holds actors weakly: a name is free again when its actor has ended or has no address left. One actor
/// has a name at a time, and only a call with that actor's address takes the name away; an actor may have several
/// names. An actor that is stopping keeps its name until it has ended. If an actor that has ended already is
/// registered, [`lookup`](Self::lookup) never finds it, and the next one may have the name.
/// ([`Builder::name`](crate::actor::Builder::name) is for reports, and registers nothing.)
///
/// ```
/// use green::actor::{Actor, Name};
/// struct Db;
/// impl Actor for Db {}
/// static DB: Name<Db> = Name::new("db");
///
/// let db = Db.start();
/// DB.register(&db).unwrap();
/// assert_eq!(DB.lookup(), Some(db));
/// ```
pub struct Name<A> {
    text: &'static str,
    _actor: PhantomData<fn(A) -> A>,
}

/// Says that another actor has the name: the error of [`Name::register`].
///
/// ```
/// # use green::actor::{Actor, Name};
/// # struct Db;
/// # impl Actor for Db {}
/// # static DB: Name<Db> = Name::new("taken");
/// let (one, other) = (Db.start(), Db.start());
/// DB.register(&one).unwrap();
/// let error = DB.register(&other).unwrap_err();
/// assert_eq!(error.to_string(), "the name \"taken\" is taken by another actor");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NameTaken {
    name: &'static str,
}

impl fmt::Display for NameTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name {:?} is taken by another actor", self.name)
    }
}

impl std::error::Error for NameTaken {}

impl<A: Actor> Name<A> {
    /// Makes a name. Registers nothing.
    ///
    /// ```
    /// # use green::actor::{Actor, Name};
    /// # struct Db;
    /// # impl Actor for Db {}
    /// static DB: Name<Db> = Name::new("a db");
    /// assert_eq!(DB.lookup(), None);
    /// ```
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        Self { text, _actor: PhantomData }
    }

    fn key(&self) -> NameKey {
        (TypeId::of::<A>(), self.text)
    }

    /// Gives the name to `actor`. Does not wait. An actor that has the name already keeps it.
    ///
    /// ```
    /// # use green::actor::{Actor, Name};
    /// # struct Db;
    /// # impl Actor for Db {}
    /// # static DB: Name<Db> = Name::new("the db");
    /// let (one, other) = (Db.start(), Db.start());
    /// DB.register(&one).unwrap();
    /// assert!(DB.register(&other).is_err());
    /// one.kill();
    /// one.join();
    /// DB.register(&other).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`NameTaken`]: another actor, which has not ended, has the name.
    pub fn register(&self, actor: &Addr<A>) -> Result<(), NameTaken> {
        let fresh = actor.core().weak();
        let holder;
        let old;
        let taken = {
            let mut names = names();
            holder = names.holders.get(&self.key()).and_then(Weak::upgrade).map(Addr::new);
            let taken = holder.as_ref().is_some_and(|holder| holder != actor && !holder.is_ended());
            old = if taken { (None, Vec::new()) } else { (names.holders.insert(self.key(), fresh), names.strike()) };
            taken
        };
        // Addresses are dropped without the lock: the last one may end its actor.
        drop((holder, old));
        if taken { Err(NameTaken { name: self.text }) } else { Ok(()) }
    }

    /// Takes the name from `actor`, and returns whether it had the name. Does not wait.
    ///
    /// If another actor has the name by now, that one keeps it: so a clean-up that comes late changes nothing. An actor
    /// that has ended need not give its name back.
    ///
    /// ```
    /// # use green::actor::{Actor, Name};
    /// # struct Db;
    /// # impl Actor for Db {}
    /// # static MAIN: Name<Db> = Name::new("main db");
    /// let (old, new) = (Db.start(), Db.start());
    /// MAIN.register(&old).unwrap();
    /// assert!(MAIN.unregister(&old));
    /// MAIN.register(&new).unwrap();
    /// assert!(!MAIN.unregister(&old));
    /// assert_eq!(MAIN.lookup(), Some(new));
    /// ```
    pub fn unregister(&self, actor: &Addr<A>) -> bool {
        let old = {
            let mut names = names();
            let has_it = names.holders.get(&self.key()).is_some_and(|holder| holder.core().id() == actor.id());
            if has_it { names.holders.remove(&self.key()) } else { None }
        };
        // Dropped without the lock: it may free the actor's block.
        old.is_some()
    }

    /// Returns the address of the actor that has the name now, if that has not ended. Does not wait.
    ///
    /// The address keeps the actor alive, so look up again rather than keep it, if the actor may be replaced.
    ///
    /// ```
    /// # use green::actor::{Actor, Name};
    /// # struct Db;
    /// # impl Actor for Db {}
    /// # static DB: Name<Db> = Name::new("looked up");
    /// assert_eq!(DB.lookup(), None);
    /// let db = Db.start();
    /// DB.register(&db).unwrap();
    /// assert_eq!(DB.lookup(), Some(db.clone()));
    /// db.kill();
    /// db.join();
    /// assert_eq!(DB.lookup(), None);
    /// ```
    #[must_use]
    pub fn lookup(&self) -> Option<Addr<A>> {
        let weak = names().holders.get(&self.key())?.clone();
        weak.upgrade().map(Addr::new).filter(|actor| !actor.is_ended())
    }
}

impl<A> fmt::Debug for Name<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Name").field(&self.text).finish()
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    struct Short;
    impl Actor for Short {}

    #[test]
    fn names_of_actors_that_have_ended_are_forgotten_after_a_while() {
        static STAYS: Name<Short> = Name::new("stays");
        let stays = Short.start();
        STAYS.register(&stays).unwrap();
        for number in 0..2000 {
            let name = Name::<Short>::new(Box::leak(format!("short {number}").into_boxed_str()));
            let actor = Short.start();
            name.register(&actor).unwrap();
            assert!(name.lookup().is_some());
            actor.kill();
            actor.join();
        }
        assert!(names().holders.len() <= 2 * SHORT);
        assert_eq!(STAYS.lookup(), Some(stays));
    }
}
