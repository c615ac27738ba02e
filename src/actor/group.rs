//! Groups: sets of recipients by a name that is known in the whole process.
//!
//! A membership is in two places, as a [name](super::name) is: the registry has the member, and the member has the membership among
//! what ends with it. The protocol is that of names, with "is a member" for "has the name".

#![forbid(unsafe_code)]

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::actor::address::Addressed;
use crate::actor::engine::held_name::HeldName;
use crate::actor::member_list::MemberList;
use crate::actor::{ActorId, Message, Recipient, WeakRecipient};
use crate::base::lock::lock;
use crate::sys::fork::PerProcess;

/// For each text the members: a [`GroupMembers`] of the type's messages.
type Groups = HashMap<Arc<str>, Box<dyn Any + Send>>;
type GroupMembers<M> = MemberList<WeakRecipient<M>>;

static GROUPS: PerProcess<Mutex<HashMap<TypeId, Groups>>> = PerProcess::new(Mutex::default);

fn groups() -> MutexGuard<'static, HashMap<TypeId, Groups>> {
    lock(GROUPS.get())
}

/// Looks at a group, or changes it. `None`: it has no members.
fn with<M: Message, R>(text: &str, f: impl FnOnce(&mut GroupMembers<M>) -> R) -> Option<R> {
    let (mut groups, of) = (groups(), TypeId::of::<Group<M>>());
    let of_type = groups.get_mut(&of)?;
    let members = of_type.get_mut(text)?.downcast_mut::<GroupMembers<M>>()?;
    let result = f(members);
    if members.is_empty() {
        of_type.remove(text);
    }
    if of_type.is_empty() {
        groups.remove(&of);
    }
    Some(result)
}

/// Takes a member out. It is dropped without the lock: it may be the last that has the actor's block.
fn take_out<M: Message>(text: &str, actor: ActorId) -> Option<WeakRecipient<M>> {
    with(text, |members: &mut GroupMembers<M>| members.take_out(actor)).flatten()
}

/// The member has ended.
fn free<M: Message>(held: &HeldName) {
    drop(take_out::<M>(&held.text, held.actor));
}

/// Sends a message to all actors of a group: a set of recipients of `M` with a name that is known in the whole process.
///
/// A group is there as soon as it is named, and costs nothing while it has no members. Groups of two types of messages may use the same text;
/// they do not meet. An actor joins itself, or somebody who has its address has it join, and it leaves by itself when it ends: over
/// a [restart](crate::actor::Supervisor) it stays. Being a member keeps no actor alive. None of the methods waits, but [`tell_all`](Self::tell_all).
///
/// ```
/// use green::actor::{Actor, Group, messages};
///
/// #[derive(Default)]
/// struct Session { seen: Vec<String> }
/// impl Actor for Session {}
/// messages! {
///     impl Session {
///         #[derive(Clone)]
///         fn Line(&mut self, text: String) { self.seen.push(text) }
///         fn Seen(&self) -> usize { self.seen.len() }
///     }
/// }
/// static LOBBY: Group<Line> = Group::new("lobby");
///
/// let sessions = [Session::default().start(), Session::default().start()];
/// sessions.iter().for_each(|session| _ = LOBBY.join(&session.recipient()));
/// assert_eq!(LOBBY.tell_all(Line("welcome".to_owned())), 2);
/// assert_eq!(sessions[1].send(Seen).unwrap(), 1);
///
/// sessions[0].kill();
/// sessions[0].join();
/// assert_eq!(LOBBY.members(), [sessions[1].recipient()]);
/// ```
///
/// Prior art: process groups, `pg` of OTP. For subscribers that must not hold up the publisher there is [`Topic`](crate::actor::Topic).
pub struct Group<M, T = &'static str> {
    text: T,
    _message: PhantomData<fn(M) -> M>,
}

impl<M, T> Group<M, T> {
    /// Names a group: by a literal, in a `static`, or by a text that is made at run time.
    ///
    /// ```
    /// # use green::actor::{Group, messages};
    /// # messages! { struct Line(String); }
    /// static LOBBY: Group<Line> = Group::new("the lobby");
    /// let room: Group<Line, String> = Group::new(format!("room {}", 7));
    /// assert!(LOBBY.members().is_empty() && room.members().is_empty());
    /// ```
    #[must_use]
    pub const fn new(text: T) -> Self {
        Self { text, _message: PhantomData }
    }
}

impl<M: Message, T: AsRef<str>> Group<M, T> {
    /// Makes `member` a member. False: it was one already, or has ended.
    ///
    /// ```
    /// # use green::actor::{Group, Recipient, messages};
    /// # messages! { struct Line(String); }
    /// # static LOBBY: Group<Line> = Group::new("lobby to join");
    /// let member = Recipient::from_fn(|line: Line| println!("{}", line.0));
    /// assert!(LOBBY.join(&member));
    /// assert!(!LOBBY.join(&member));
    /// ```
    pub fn join(&self, member: &Recipient<M>) -> bool {
        let (of, text): (_, Arc<str>) = (TypeId::of::<Group<M>>(), self.text.as_ref().into());
        let is_new = {
            let mut groups = groups();
            let members = groups.entry(of).or_default().entry(Arc::clone(&text));
            let members =
                members.or_insert_with(|| Box::new(GroupMembers::<M>::new())).downcast_mut::<GroupMembers<M>>();
            let members = members.expect("the type of its key");
            // The weak one that is too much is of an actor that has an address: nothing ends with it.
            members.add(member.id(), member.downgrade()).is_ok()
        };
        if !is_new {
            return false;
        }
        let held = HeldName { of, text, actor: member.id(), free: free::<M> };
        let has_ended = member.core().mailbox.lock().hold_name(held).err();
        has_ended.iter().for_each(HeldName::free);
        has_ended.is_none()
    }

    /// Takes `member` out. False: it was none.
    ///
    /// ```
    /// # use green::actor::{Group, Recipient, messages};
    /// # messages! { struct Line(String); }
    /// # static LOBBY: Group<Line> = Group::new("lobby to leave");
    /// let member = Recipient::from_fn(|line: Line| println!("{}", line.0));
    /// LOBBY.join(&member);
    /// assert!(LOBBY.leave(&member));
    /// assert!(LOBBY.members().is_empty());
    /// ```
    pub fn leave(&self, member: &Recipient<M>) -> bool {
        let (of, text) = (TypeId::of::<Group<M>>(), self.text.as_ref());
        // In this order: as of a name.
        let held = HeldName { of, text: text.into(), actor: member.id(), free: free::<M> };
        member.core().mailbox.lock().give_name_up(&held);
        take_out::<M>(text, member.id()).is_some()
    }

    /// Returns the members that have not ended, in the order in which they joined.
    ///
    /// ```
    /// # use green::actor::{Group, Recipient, messages};
    /// # messages! { struct Line(String); }
    /// # static LOBBY: Group<Line> = Group::new("lobby to look at");
    /// let member = Recipient::from_fn(|line: Line| println!("{}", line.0));
    /// LOBBY.join(&member);
    /// assert_eq!(LOBBY.members(), [member]);
    /// ```
    #[must_use]
    pub fn members(&self) -> Vec<Recipient<M>> {
        let all = |members: &mut GroupMembers<M>| members.iter().cloned().collect::<Vec<_>>();
        let members = with(self.text.as_ref(), all).unwrap_or_default();
        members.iter().filter_map(WeakRecipient::upgrade).filter(|member| !member.is_ended()).collect()
    }

    /// Tells all members, one after the other, and returns how many have the message now.
    ///
    /// Each is told as by [`Recipient::tell`]: while a mailbox is full, this waits, and the members behind it wait, too. A member to which the
    /// message could not be told, because it ends or has no room in time, is left out.
    ///
    /// ```
    /// # use green::actor::{Group, Recipient, messages};
    /// messages! {
    ///     #[derive(Clone)]
    ///     struct Line(&'static str);
    /// }
    /// static ROOM: Group<Line> = Group::new("room to tell");
    /// let members: Vec<_> = (0..3).map(|_| Recipient::from_fn(|line: Line| println!("{}", line.0))).collect();
    /// members.iter().for_each(|member| _ = ROOM.join(member));
    /// assert_eq!(ROOM.tell_all(Line("hello")), 3);
    /// ```
    #[doc(alias = "broadcast")]
    #[expect(clippy::needless_pass_by_value, reason = "a message is sent by value")]
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    pub fn tell_all(&self, msg: M) -> usize
    where
        M: Clone,
    {
        let mut told = 0;
        // No closure: the place of the call would end there.
        for member in self.members().iter() {
            told += usize::from(member.tell(msg.clone()).is_ok());
        }
        told
    }
}

impl<M: Message> Group<M> {
    /// Returns the names of all groups of this type of messages that have members, in order.
    ///
    /// ```
    /// # use green::actor::{Group, Recipient, messages};
    /// messages! { struct Line(&'static str); }
    /// let member = Recipient::from_fn(|line: Line| println!("{}", line.0));
    /// Group::new("b").join(&member);
    /// Group::new("a").join(&member);
    /// assert_eq!(Group::<Line>::list().iter().map(|name| &**name).collect::<Vec<_>>(), ["a", "b"]);
    /// ```
    #[must_use]
    pub fn list() -> Vec<Arc<str>> {
        let groups = groups();
        let of_type = groups.get(&TypeId::of::<Group<M>>());
        let mut names: Vec<_> = of_type.into_iter().flat_map(HashMap::keys).cloned().collect();
        names.sort();
        names
    }
}

impl<M, T: AsRef<str>> fmt::Debug for Group<M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Group").field(&self.text.as_ref()).finish()
    }
}
