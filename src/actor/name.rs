//! Names: a registry that cannot give an actor of another type.
//!
//! # Protocol: a name costs nothing once it is free
//!
//! A name is in two places: the registry has its holder, and the holder has the name among what ends with it ([`HeldName`]).
//!
//! ```text
//!  to register                                         to end
//!  N1  the registry's lock: taken? else its holder     E1  the mailbox's lock: dead, and takes its names out
//!  N2  the mailbox's lock: is it dead? then N3,        E2  drops them: for each the registry's lock, and the name is
//!      else it has the name, too                           taken away, if it is still this actor's
//!  N3  takes it away again, as E2 does
//! ```
//!
//! If N2 comes before E1, E2 takes the name away; else N2 finds the actor dead, and N3 does. No lock is held while another is
//! taken. An actor that gets the name in between is another one, so neither E2 nor N3 touches what it has.

#![forbid(unsafe_code)]

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::actor::address::Addressed;
use crate::actor::engine::held_name::HeldName;
use crate::actor::engine::weak::Weak;
use crate::actor::{Actor, ActorId, Addr};
use crate::base::lock::lock;
use crate::sys::fork::PerProcess;

/// The holders of the names of one type.
type Holders = HashMap<Arc<str>, Weak>;

static NAMES: PerProcess<Mutex<HashMap<TypeId, Holders>>> = PerProcess::new(Mutex::default);

fn names() -> MutexGuard<'static, HashMap<TypeId, Holders>> {
    lock(NAMES.get())
}

/// Takes a name away, if `actor` has it. The holder is dropped without the lock: it may be the last that has the actor's block.
fn take_away(of: TypeId, text: &str, actor: ActorId) -> Option<Weak> {
    let mut names = names();
    let holders = names.get_mut(&of)?;
    if holders.get(text)?.core().id() != actor {
        return None;
    }
    let holder = holders.remove(text);
    if holders.is_empty() {
        names.remove(&of);
    } else if holders.capacity() > 4 * holders.len().max(16) {
        holders.shrink_to_fit();
    }
    holder
}

/// The holder of that name has ended.
fn free(name: &HeldName) {
    drop(take_away(name.of, &name.text, name.actor));
}

/// Finds an actor of type `A` by a name that is known in the whole process.
///
/// Two types may use the same text; they do not meet. The text is a literal in a `static`, or made at run time: a `String`, or a
/// `&str`, by which one can look up without an allocation.
///
/// The registry holds actors weakly: a name is free again when its actor has ended or has no address left, and costs nothing from
/// then on. One actor has a name at a time, and only a call with that actor's address takes the name away; an actor may have several
/// names. An actor that is stopping keeps its name until it has ended. If an actor that has ended already is
/// registered, [`lookup`](Self::lookup) never finds it, and the next one may have the name.
/// ([`Builder::name`](crate::actor::Builder::name) is for reports, and registers nothing.)
///
/// ```
/// use green::actor::{Actor, Addr, Name};
/// struct Db;
/// impl Actor for Db {}
/// static DB: Name<Db> = Name::new("db");
///
/// let db = Db.start();
/// DB.register(&db).unwrap();
/// assert_eq!(DB.lookup(), Some(db.clone()));
///
/// Name::new(format!("shard {}", 3)).register(&db).unwrap();
/// let shard: Option<Addr<Db>> = Name::new("shard 3").lookup();
/// assert_eq!(shard, Some(db));
/// ```
pub struct Name<A, T = &'static str> {
    text: T,
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
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameTaken {
    name: Arc<str>,
}

impl fmt::Display for NameTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name {:?} is taken by another actor", self.name)
    }
}

impl std::error::Error for NameTaken {}

impl<A, T> Name<A, T> {
    /// Makes a name. Registers nothing.
    ///
    /// ```
    /// # use green::actor::{Actor, Name};
    /// # struct Db;
    /// # impl Actor for Db {}
    /// static DB: Name<Db> = Name::new("a db");
    /// assert_eq!(DB.lookup(), None);
    /// let user: Name<Db, String> = Name::new(format!("db of user {}", 4711));
    /// assert_eq!(user.lookup(), None);
    /// ```
    #[must_use]
    pub const fn new(text: T) -> Self {
        Self { text, _actor: PhantomData }
    }
}

impl<A: Actor, T: AsRef<str>> Name<A, T> {
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
        let (of, text): (_, Arc<str>) = (TypeId::of::<A>(), self.text.as_ref().into());
        let fresh = actor.core().weak();
        let (mut holder, mut before) = (None, None);
        let (taken, has_it) = {
            let mut names = names();
            let holders = names.entry(of).or_default();
            holder = holder.or_else(|| holders.get(&*text).and_then(Weak::upgrade).map(Addr::<A>::new));
            let has_it = holder.as_ref() == Some(actor);
            let taken = !has_it && holder.as_ref().is_some_and(|holder| !holder.is_ended());
            if !taken && !has_it {
                before = holders.insert(Arc::clone(&text), fresh);
            }
            (taken, has_it)
        };
        // Addresses are dropped without the lock: the last one may end its actor.
        drop((holder, before));
        if taken {
            return Err(NameTaken { name: text });
        }
        if !has_it {
            let held = HeldName { of, text, actor: actor.id(), free };
            let has_ended = actor.core().mailbox.lock().hold_name(held).err();
            has_ended.iter().for_each(HeldName::free);
        }
        Ok(())
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
    #[doc(alias = "unregister_if")]
    pub fn unregister(&self, actor: &Addr<A>) -> bool {
        let (of, text) = (TypeId::of::<A>(), self.text.as_ref());
        // In this order: who registers it for this actor again meanwhile may find that the actor has it still.
        let held = HeldName { of, text: text.into(), actor: actor.id(), free };
        actor.core().mailbox.lock().give_name_up(&held);
        take_away(of, text, actor.id()).is_some()
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
        let weak = names().get(&TypeId::of::<A>())?.get(self.text.as_ref())?.clone();
        weak.upgrade().map(Addr::new).filter(|actor| !actor.is_ended())
    }
}

impl<A: Actor> Name<A> {
    /// Returns all names of actors of type `A`, with their actors, in the order of the names. Does not wait.
    ///
    /// ```
    /// # use green::actor::{Actor, Name};
    /// # struct Shard;
    /// # impl Actor for Shard {}
    /// let shards = [Shard.start(), Shard.start()];
    /// for (number, shard) in shards.iter().enumerate() {
    ///     Name::new(format!("shard {number}")).register(shard).unwrap();
    /// }
    /// let all = Name::<Shard>::list();
    /// assert_eq!(all.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["shard 0", "shard 1"]);
    /// assert_eq!(all[1].1, shards[1]);
    /// ```
    #[must_use]
    pub fn list() -> Vec<(Arc<str>, Addr<A>)> {
        let holders = names().get(&TypeId::of::<A>()).cloned().unwrap_or_default();
        let addr = |(text, weak): (Arc<str>, Weak)| Some((text, Addr::new(weak.upgrade()?)));
        let mut all: Vec<_> = holders.into_iter().filter_map(addr).filter(|(_, actor)| !actor.is_ended()).collect();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all
    }
}

impl<A, T: AsRef<str>> fmt::Debug for Name<A, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Name").field(&self.text.as_ref()).finish()
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    struct Short;
    impl Actor for Short {}

    fn held() -> usize {
        names().get(&TypeId::of::<Short>()).map_or(0, HashMap::len)
    }

    #[test]
    fn a_name_costs_nothing_once_it_is_free() {
        static STAYS: Name<Short> = Name::new("stays");
        let stays = Short.start();
        STAYS.register(&stays).unwrap();
        for number in 0..2000 {
            let name = Name::new(format!("short {number}"));
            let actor = Short.start();
            name.register(&actor).unwrap();
            assert_eq!(name.lookup().as_ref(), Some(&actor));
            assert_eq!(held(), 2);
            if number % 2 == 0 {
                assert!(name.unregister(&actor));
            }
            actor.kill();
            actor.join();
            assert_eq!(held(), 1, "it is gone before the join returns");
            name.register(&actor).unwrap();
            assert_eq!(held(), 1, "one that has ended gets none");
        }
        for number in 0..1000 {
            Name::new(format!("short {number}")).register(&stays).unwrap();
        }
        assert_eq!((held(), Name::<Short>::list().len()), (1001, 1001));
        stays.kill();
        stays.join();
        assert!(!names().contains_key(&TypeId::of::<Short>()));
        assert_eq!(STAYS.lookup(), None);
    }
}
