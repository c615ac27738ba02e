//! Names: a registry that cannot give an actor of another type.

#![forbid(unsafe_code)]

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::actor::{Actor, Addr, WeakAddr};

type Names = HashMap<(TypeId, &'static str), Box<dyn Any + Send>>;

static NAMES: Mutex<Option<Names>> = Mutex::new(None);

fn names() -> MutexGuard<'static, Option<Names>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name of an actor of type `A` in this process. Two types may use the same text; they do not meet.
///
/// The registry holds actors weakly: a name is free again when its actor has ended or has no address. One actor has a name at a
/// time, and nobody but that actor's address takes it away; an actor may have several. An actor that stops keeps its name
/// until it has ended. Registering what has ended already gives it nothing: [`lookup`](Self::lookup) never finds it, and the
/// next one may have the name. ([`Builder::name`](crate::actor::Builder::name) is for reports, and registers nothing.)
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
    _actor: PhantomData<fn(A)>,
}

/// [`Name::register`]: another actor has the name.
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
    /// A name. Registers nothing.
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        Self { text, _actor: PhantomData }
    }

    fn key(&self) -> (TypeId, &'static str) {
        (TypeId::of::<A>(), self.text)
    }

    /// Gives the name to `actor`. Does not wait.
    ///
    /// # Errors
    ///
    /// Another actor, which has not ended, has it.
    pub fn register(&self, actor: &Addr<A>) -> Result<(), NameTaken> {
        let fresh = Box::new(actor.downgrade());
        let holder;
        let old;
        let taken = {
            let mut names = names();
            let names = names.get_or_insert_default();
            holder = names.get(&self.key()).and_then(|old| old.downcast_ref::<WeakAddr<A>>()?.upgrade());
            let taken = holder.as_ref().is_some_and(|holder| holder != actor && !holder.is_ended());
            old = if taken { None } else { names.insert(self.key(), fresh) };
            taken
        };
        // Addresses are dropped without the lock: the last one may end its actor.
        drop((holder, old));
        if taken { Err(NameTaken { name: self.text }) } else { Ok(()) }
    }

    /// Takes the name from `actor`. False: it does not have it (any more), and whoever has it now keeps it. Does not wait.
    ///
    /// So a clean-up that comes late, after the name has gone to a successor, changes nothing. An actor that has ended need not
    /// give its name back.
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
            let names = names.get_or_insert_default();
            let holder = names.get(&self.key()).and_then(|old| old.downcast_ref::<WeakAddr<A>>());
            if holder.is_some_and(|holder| holder.id() == actor.id()) { names.remove(&self.key()) } else { None }
        };
        // Dropped without the lock: it may free the actor's block.
        old.is_some()
    }

    /// Who has the name now: an actor that has not ended. Does not wait.
    #[must_use]
    pub fn lookup(&self) -> Option<Addr<A>> {
        let weak = names().as_ref()?.get(&self.key())?.downcast_ref::<WeakAddr<A>>()?.clone();
        weak.upgrade().filter(|actor| !actor.is_ended())
    }
}

impl<A> fmt::Debug for Name<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Name").field(&self.text).finish()
    }
}
