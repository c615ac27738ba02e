//! A child, as a user describes it: a name, a factory, and what happens when it ends.

#![forbid(unsafe_code)]

use std::any::{TypeId, type_name};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::actor::engine::cell::{Plan, Strong};
use crate::actor::engine::crew::Place;
use crate::actor::engine::guard::contained;
use crate::actor::glue::{Kept, start_kept};
use crate::actor::supervisor::backoff::Backoff;
use crate::actor::supervisor::post::{Body, ChildSpec, Restart};
use crate::actor::supervisor::table::{Table, TableSlot};
use crate::actor::supervisor::watch::Watch;
use crate::actor::{Actor, Exit, Mailbox};
use crate::park::on_switch::{MakeSwitchCalls, OnSwitch};
use crate::rt::default::with_shared;
use crate::rt::spawn::Custom;
use crate::sched::Shared;
use crate::sched::switched::Begins;
use crate::stack::StackSize;
use crate::thread_locals::ThreadLocals;

/// A child has so long to end, unless [`Child::shutdown`] says otherwise.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// What a factory may return: an actor, or a `Result` of one with an [`Exit`], into which `?` turns any error; or an `Option` of one, or a `Result` of
/// that.
///
/// `None` is OTP's `ignore`: there is nothing to start now, which is no error. The supervisor goes on with the next child, and this one has ended
/// ([`ChildState::Ended`](crate::actor::ChildState::Ended)); it can be started by [`SupervisorAddr::restart`](crate::actor::SupervisorAddr::restart).
///
/// It is implemented for those four, and for nothing else.
///
/// ```
/// use green::actor::{Actor, Child, ChildError, Supervisor};
/// struct Port(u16);
/// impl Actor for Port {}
/// let plain = Child::new("plain", || Port(80));
/// let parsed = Child::new("parsed", || Ok(Port("8080".parse()?)));
/// let only_if_set = Child::new("only if set", || std::env::var("NO_SUCH_PORT").ok().map(|_| Port(0)));
/// let sup = Supervisor::one_for_one().child(plain).child(parsed).child(only_if_set).start()?;
/// assert_eq!(sup.get::<Port>("only if set"), Err(ChildError::Ended("only if set".into())));
/// # Ok::<(), green::actor::StartError>(())
/// ```
pub trait Made<A> {
    #[doc(hidden)]
    fn made(self) -> Result<Option<A>, Exit>;
}

impl<A: Actor> Made<A> for A {
    fn made(self) -> Result<Option<A>, Exit> {
        Ok(Some(self))
    }
}

impl<A: Actor> Made<A> for Option<A> {
    fn made(self) -> Result<Option<A>, Exit> {
        Ok(self)
    }
}

impl<A: Actor> Made<A> for Result<A, Exit> {
    fn made(self) -> Result<Option<A>, Exit> {
        self.map(Some)
    }
}

impl<A: Actor> Made<A> for Result<Option<A>, Exit> {
    fn made(self) -> Result<Option<A>, Exit> {
        self
    }
}

type Make<A> = Box<dyn FnMut() -> Result<Option<A>, Exit> + Send>;

/// Describes an actor that a [`Supervisor`](crate::actor::Supervisor) starts, and starts again when it has died.
///
/// The factory makes the actor's value, for the first time and for each restart. The address is the same one after a restart, and so is
/// the mailbox: what was queued is handled by the new value.
///
/// ```
/// use green::actor::{Actor, Backoff, Child, Restart};
/// use std::time::Duration;
///
/// struct Db { url: &'static str }
/// impl Actor for Db {}
///
/// let db = Child::new("db", || Db { url: "localhost" })
///     .restart(Restart::Transient)
///     .shutdown(Duration::from_secs(30))
///     .backoff(Backoff::exponential(Duration::from_secs(1)..=Duration::from_secs(60)));
/// # let _ = db;
/// ```
#[must_use = "a child is started by its supervisor"]
pub struct Child<A> {
    name: Arc<str>,
    restart: Restart,
    shutdown: Duration,
    backoff: Option<Backoff>,
    is_significant: bool,
    mailbox: Option<Mailbox>,
    custom: ChildCustom,
    make: Make<A>,
    made_at: &'static Location<'static>,
    nested: Option<TableSlot>,
    place: Option<Place>,
}

impl<A: Actor> Child<A> {
    /// Makes a child that is permanent, has five seconds to end, and its supervisor's back-off.
    ///
    /// The factory runs on the supervisor's own green thread: while it waits, the supervisor waits. Its error, or its panic, is that of
    /// a child that has died: at the first start the supervisor does not start; at a restart it is tried again, and counts.
    ///
    /// ```
    /// use green::actor::{Actor, Child, Supervisor};
    /// struct Counter { from: u32 }
    /// impl Actor for Counter {}
    /// let sup = Supervisor::one_for_one().child(Child::new("counter", || Counter { from: 7 })).start()?;
    /// let counter = sup.get::<Counter>("counter").unwrap();
    /// assert_eq!(counter.name(), Some("counter"));
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    #[track_caller]
    pub fn new<R: Made<A>>(name: impl AsRef<str>, factory: impl FnMut() -> R + Send + 'static) -> Self {
        let mut factory = factory;
        Self {
            name: name.as_ref().into(),
            restart: Restart::default(),
            shutdown: SHUTDOWN,
            backoff: None,
            is_significant: false,
            mailbox: None,
            custom: ChildCustom::default(),
            make: Box::new(move || factory().made()),
            made_at: Location::caller(),
            nested: None,
            place: None,
        }
    }

    /// The child has children of its own.
    pub(in crate::actor) fn with_children(self, nested: TableSlot) -> Self {
        Self { nested: Some(nested), ..self }
    }

    /// The child is a worker of a pool.
    pub(in crate::actor) fn at(self, place: Place) -> Self {
        Self { place: Some(place), ..self }
    }

    /// Says whether the child is started again when it has ended: by default always.
    ///
    /// ```
    /// # use green::actor::{Actor, Child, Restart};
    /// # struct Job;
    /// # impl Actor for Job {}
    /// let job = Child::new("job", || Job).restart(Restart::Temporary);
    /// # let _ = job;
    /// ```
    pub fn restart(self, restart: Restart) -> Self {
        Self { restart, ..self }
    }

    /// Sets how long the child has to end when its supervisor stops it, before it is killed: by default five seconds, and a
    /// supervisor as long as it takes.
    ///
    /// Within that time the child handles what is queued. Zero: it is killed at once. `Duration::MAX`: never.
    ///
    /// ```
    /// # use green::actor::{Actor, Child};
    /// # struct Job;
    /// # impl Actor for Job {}
    /// let job = Child::new("job", || Job).shutdown(std::time::Duration::ZERO);
    /// # let _ = job;
    /// ```
    pub fn shutdown(self, deadline: Duration) -> Self {
        Self { shutdown: deadline, ..self }
    }

    /// Gives the child another back-off than its supervisor's.
    ///
    /// ```
    /// # use green::actor::{Actor, Backoff, Child};
    /// # struct Job;
    /// # impl Actor for Job {}
    /// let job = Child::new("job", || Job).backoff(Backoff::none());
    /// # let _ = job;
    /// ```
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff: Some(backoff), ..self }
    }

    /// Has the child count for [`Supervisor::auto_shutdown`](crate::actor::Supervisor::auto_shutdown), which that must not have left at its
    /// default; nor may the child be permanent.
    ///
    /// ```
    /// # use green::actor::{Actor, Child, Restart};
    /// # struct Job;
    /// # impl Actor for Job {}
    /// let job = Child::new("job", || Job).restart(Restart::Transient).significant();
    /// # let _ = job;
    /// ```
    pub fn significant(self) -> Self {
        Self { is_significant: true, ..self }
    }

    /// Gives the child another mailbox than [`Actor::MAILBOX`].
    ///
    /// ```
    /// # use green::actor::{Actor, Child, Mailbox};
    /// # struct Log;
    /// # impl Actor for Log {}
    /// let log = Child::new("log", || Log).mailbox(Mailbox::unbounded());
    /// # let _ = log;
    /// ```
    pub fn mailbox(self, mailbox: Mailbox) -> Self {
        Self { mailbox: Some(mailbox), ..self }
    }

    /// Sets the size of the stack that the handlers run on: [`Builder::stack_size`](crate::actor::Builder::stack_size). A bad one
    /// is an error when the child starts.
    ///
    /// ```
    /// # use green::actor::{Actor, Child};
    /// # struct Deep;
    /// # impl Actor for Deep {}
    /// let deep = Child::new("deep", || Deep).stack_size(1 << 20);
    /// # let _ = deep;
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.custom.stack_size = Some(bytes);
        self
    }

    /// Sets whose thread-locals the handlers use: [`Builder::thread_locals`](crate::actor::Builder::thread_locals). If those of its own are not to be had,
    /// that is an error when the child starts.
    ///
    /// ```
    /// # use green::actor::{Actor, Child};
    /// # struct Job;
    /// # impl Actor for Job {}
    /// let job = Child::new("job", || Job).thread_locals(green::ThreadLocals::PerWorker);
    /// # let _ = job;
    /// ```
    pub fn thread_locals(mut self, thread_locals: ThreadLocals) -> Self {
        self.custom.thread_locals = Some(thread_locals);
        self
    }

    /// Sets what is called whenever the child gets to run and lets go of its worker: [`Builder::on_switch`](crate::actor::Builder::on_switch).
    ///
    /// `make` is called before the child's first life, on the supervisor's green thread, and what it makes is kept over the restarts. With
    /// [`thread_locals`](Self::thread_locals) of its own, the child has an error when it starts.
    ///
    /// ```
    /// # use green::actor::{Actor, Child};
    /// # struct Job;
    /// # impl Actor for Job {}
    /// # let (enter, leave) = (|| (), || ());
    /// let job = Child::new("job", || Job).on_switch(move || (enter, leave));
    /// # let _ = job;
    /// ```
    pub fn on_switch<C: OnSwitch + 'static>(mut self, make: impl Fn() -> C + Send + Sync + 'static) -> Self {
        self.custom.on_switch = Some(MakeSwitchCalls::new(make));
        self
    }

    pub(super) fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    pub(super) fn into_spec(self) -> ChildSpec {
        let Self { name, restart, shutdown, backoff, is_significant, mailbox, custom, make, made_at, nested, place } =
            self;
        let mailbox = mailbox.unwrap_or(A::MAILBOX);
        let make = Some(make);
        let body = Typed { name: Arc::clone(&name), make, made_at, mailbox, custom, nested, kept: None };
        ChildSpec { name, restart, shutdown, backoff, is_significant, place, body: Box::new(body) }
    }
}

impl<A> fmt::Debug for Child<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("name", &self.name).field("restart", &self.restart).finish_non_exhaustive()
    }
}

/// What a child has not as its runtime's actors have it, for each time that it is made.
#[derive(Default)]
struct ChildCustom {
    stack_size: Option<usize>,
    thread_locals: Option<ThreadLocals>,
    on_switch: Option<MakeSwitchCalls>,
}

impl ChildCustom {
    fn begins(&self, shared: &Shared) -> io::Result<(StackSize, Begins)> {
        let on_switch = self.on_switch.as_ref().map(MakeSwitchCalls::make);
        Custom { stack_size: self.stack_size, thread_locals: self.thread_locals, on_switch }.begins(shared)
    }
}

struct Typed<A> {
    name: Arc<str>,
    /// There until the end.
    make: Option<Make<A>>,
    made_at: &'static Location<'static>,
    mailbox: Mailbox,
    custom: ChildCustom,
    nested: Option<TableSlot>,
    kept: Option<Kept<A>>,
}

impl<A> Drop for Typed<A> {
    /// The supervisor forgets the child: what the factory has captured may panic when it is dropped, which is no matter of the others.
    fn drop(&mut self) {
        let (make, custom) = (self.make.take(), std::mem::take(&mut self.custom));
        contained(|| drop(make));
        contained(|| drop(custom));
    }
}

/// Calls `f`. A panic of it is how the child ends that it is called for; the supervisor's own end goes on.
fn caught<R>(f: impl FnOnce() -> R) -> Result<R, Exit> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let Some(exit) = Exit::of_payload(&*payload) else { resume_unwind(payload) };
        contained(|| drop(payload));
        exit
    })
}

impl<A: Actor> Body for Typed<A> {
    fn actor(&self) -> (TypeId, &'static str) {
        (TypeId::of::<A>(), type_name::<A>())
    }

    fn nested(&self) -> Option<Arc<Table>> {
        self.nested.as_ref().map(TableSlot::get)
    }

    fn renew(&mut self) {
        self.nested.iter().for_each(|nested| _ = nested.renew());
    }

    fn start(&mut self, watch: &Arc<Watch>) -> Result<Option<Strong>, Exit> {
        // Before there is a state, whose destructor may panic.
        if self.name.contains('\0') {
            return Err(Exit::Error("an actor's name must not contain a NUL byte".to_owned()));
        }
        let Some(make) = &mut self.make else { return Ok(None) };
        // What is made for the switches comes from user code, too.
        let begins = || with_shared(|shared| self.custom.begins(shared));
        let mut before = if self.kept.is_none() { Some(caught(begins)??) } else { None };
        let made = caught(make);
        if !matches!(made, Ok(Ok(Some(_)))) {
            contained(|| drop(before.take()));
        }
        let Some(mut state) = made?? else { return Ok(None) };
        if let Some(kept) = &self.kept {
            state = match kept.revive(state) {
                Ok(()) => return Ok(Some(kept.strong().clone())),
                Err(state) => state,
            };
        }
        let begins = match before {
            Some(begins) => Ok(begins),
            None => caught(begins).and_then(|begins| Ok(begins?)),
        };
        let (size, begins) = match begins {
            Ok(begins) => begins,
            Err(exit) => {
                contained(|| drop(state));
                return Err(exit);
            }
        };
        let kept = with_shared(|shared| {
            let plan = Plan {
                name: Some((&*self.name).into()),
                size,
                mailbox: self.mailbox,
                begins,
                started_at: self.made_at,
            };
            start_kept(shared, plan, Arc::<Watch>::clone(watch), state)
        })?;
        let strong = kept.strong().clone();
        self.kept = Some(kept);
        Ok(Some(strong))
    }
}
