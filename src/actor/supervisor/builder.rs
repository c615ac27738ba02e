//! How a supervisor is described and started.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::actor::engine::cell::Plan;
use crate::actor::engine::warden::Warden;
use crate::actor::glue::start_kept;
use crate::actor::supervisor::address::SupervisorAddr;
use crate::actor::supervisor::backoff::{Backoff, Intensity};
use crate::actor::supervisor::child::Child;
use crate::actor::supervisor::error::StartError;
use crate::actor::supervisor::post::ChildSpec;
use crate::actor::supervisor::table::{Table, TableSlot};
use crate::actor::supervisor::team::{AutoShutdown, Strategy, Team};
use crate::actor::{Actor, Addr, Builder, Exit};
use crate::rt::default::with_shared;
use crate::sched::Shared;
use crate::sched::switched::Begins;
use crate::sys::clock::now_ns;

/// Describes a supervisor: an actor that starts other actors, and starts them again when they die.
///
#[doc = include_str!("docs/supervisor.md")]
#[must_use = "a supervisor supervises once it is started"]
pub struct Supervisor {
    strategy: Strategy,
    name: Option<String>,
    auto_shutdown: AutoShutdown,
    intensity: (u32, Duration),
    backoff: Backoff,
    children: Vec<ChildSpec>,
}

impl Supervisor {
    /// How many restarts are borne, in which window, unless `intensity` says otherwise.
    pub(in crate::actor) const INTENSITY: (u32, Duration) = (3, Duration::from_secs(5));

    fn new(strategy: Strategy) -> Self {
        let (auto_shutdown, backoff) = (AutoShutdown::default(), Backoff::default());
        Self { strategy, name: None, auto_shutdown, intensity: Self::INTENSITY, backoff, children: Vec::new() }
    }

    /// Makes a supervisor that starts a child which has died again, and leaves the others alone.
    ///
    /// ```
    /// # use green::actor::{Actor, Child, Supervisor};
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// let sup = Supervisor::one_for_one().child(Child::new("one", || Idle)).start()?;
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    pub fn one_for_one() -> Self {
        Self::new(Strategy::OneForOne)
    }

    /// Makes a supervisor that ends all other children when one has died, in the reverse order, and starts them all again.
    ///
    /// ```
    /// # use green::actor::{Actor, Child, Supervisor};
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// let sup = Supervisor::one_for_all().child(Child::new("one", || Idle)).start()?;
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    pub fn one_for_all() -> Self {
        Self::new(Strategy::OneForAll)
    }

    /// Makes a supervisor that ends the children which were started after the one that has died, in the reverse order, and
    /// starts that one and them again.
    ///
    /// ```
    /// # use green::actor::{Actor, Child, Supervisor};
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// let sup = Supervisor::rest_for_one().child(Child::new("one", || Idle)).start()?;
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    pub fn rest_for_one() -> Self {
        Self::new(Strategy::RestForOne)
    }

    /// Makes a supervisor for many children that come and go: [`SupervisorAddr::start_child`].
    ///
    /// It is as [`one_for_one`](Self::one_for_one), but a child that has ended and is not to be started again is forgotten, and at the end
    /// all children are stopped at once, in no order.
    ///
    /// ```
    /// # use green::actor::{Actor, Child, Supervisor};
    /// # struct Session(u32);
    /// # impl Actor for Session {}
    /// let sessions = Supervisor::dynamic().start()?;
    /// let seven = sessions.start_child(Child::new("session 7", || Session(7))).unwrap();
    /// assert_eq!(sessions.get("session 7"), Ok(seven));
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    pub fn dynamic() -> Self {
        Self::new(Strategy::Dynamic)
    }

    /// Names the supervisor, for reports: [`Builder::name`].
    ///
    /// ```
    /// use green::actor::Supervisor;
    /// let sup = Supervisor::dynamic().name("sessions").start()?;
    /// assert_eq!(sup.addr().name(), Some("sessions"));
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Sets how many restarts are borne within a window that slides: by default three in five seconds. One more ends the supervisor
    /// with [`Exit::Escalated`], after it has ended its children.
    ///
    /// A death that ends siblings, too, counts once. `u32::MAX` restarts are borne always, practically.
    ///
    /// ```
    /// # use green::actor::Supervisor;
    /// let patient = Supervisor::one_for_one().intensity(100, std::time::Duration::from_secs(60));
    /// # let _ = patient;
    /// ```
    pub fn intensity(self, restarts: u32, window: Duration) -> Self {
        Self { intensity: (restarts, window), ..self }
    }

    /// Sets how long a child that has died waits before it is started again; without this call, [`Backoff::default`].
    ///
    /// ```
    /// # use green::actor::{Backoff, Supervisor};
    /// let eager = Supervisor::one_for_one().backoff(Backoff::none());
    /// # let _ = eager;
    /// ```
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// Has the supervisor end by itself when [significant](Child::significant) children have: by default never.
    ///
    /// A child ends by itself if it is not started again; one that the supervisor ends does not.
    ///
    /// ```
    /// # use green::actor::{Actor, AutoShutdown, Child, Context, Exit, Restart, Supervisor};
    /// struct Import;
    /// impl Actor for Import {
    ///     fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
    ///         ctx.stop(); // when its work is done
    ///         Ok(())
    ///     }
    /// }
    /// let once = Child::new("import", || Import).restart(Restart::Transient).significant();
    /// let sup = Supervisor::one_for_one().auto_shutdown(AutoShutdown::Any).child(once).start()?;
    /// assert_eq!(sup.join(), Exit::Normal);
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    pub fn auto_shutdown(self, auto_shutdown: AutoShutdown) -> Self {
        Self { auto_shutdown, ..self }
    }

    /// Adds a child. Children are started in the order in which they are added, and ended in the reverse order.
    ///
    /// ```
    /// # use green::actor::{Actor, Child, Supervisor};
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// let two = Supervisor::rest_for_one().child(Child::new("first", || Idle)).child(Child::new("second", || Idle));
    /// # let _ = two;
    /// ```
    pub fn child<A: Actor>(mut self, child: Child<A>) -> Self {
        self.children.push(child.into_spec());
        self
    }

    /// Starts the supervisor, in the caller's runtime or the default one, and waits until its children have started, one after
    /// the other.
    ///
    /// The supervisor, and with it its tree, ends when its last address is gone. A cancellation point: a caller that is cancelled leaves
    /// no address, so what was started ends.
    ///
    /// ```
    /// # use green::actor::{Actor, Child, Supervisor, StartError};
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// let twice = Supervisor::one_for_one().child(Child::new("one", || Idle)).child(Child::new("one", || Idle));
    /// assert!(matches!(twice.start(), Err(StartError::Duplicate(name)) if &*name == "one"));
    /// ```
    ///
    /// # Errors
    ///
    /// [`StartError`]: a child has not started, and those before it have ended; two have the same name; one cannot be significant; the window is
    /// zero; no memory.
    pub fn start(self) -> Result<SupervisorAddr, StartError> {
        let table = Table::new();
        let mut builder = Builder::new();
        if let Some(name) = &self.name {
            builder = builder.name(name.clone());
        }
        let addr = builder.start(self.into_team(&table)?).map_err(StartError::Io)?;
        let starting = Starting(Some(SupervisorAddr::new(addr, table)));
        starting.has_started()
    }

    /// Starts the supervisor as a part of the actor that calls this, which ends it; `warden` is told of its end. Does not wait.
    #[track_caller]
    pub(in crate::actor) fn start_part(
        self,
        table: &Arc<Table>,
        warden: Arc<dyn Warden>,
    ) -> io::Result<SupervisorAddr> {
        let started_at = Location::caller();
        let start = |shared: &Arc<Shared>| {
            let (size, begins) = Begins::plainly(shared);
            let plan = Plan {
                name: self.name.clone().map(String::into_boxed_str),
                size,
                mailbox: Team::MAILBOX,
                begins,
                started_at,
            };
            let team = self.into_team(table).map_err(io::Error::other)?;
            start_kept(shared, plan, warden, team)
        };
        let addr = Addr::new(with_shared(start)?.strong().clone());
        Ok(SupervisorAddr::new(addr, Arc::clone(table)))
    }

    fn into_team(self, table: &Arc<Table>) -> Result<Team, StartError> {
        let Self { strategy, auto_shutdown, intensity: (borne, window), backoff, children, name: _ } = self;
        if window.is_zero() {
            return Err(StartError::ZeroWindow);
        }
        let mut names = HashSet::new();
        if let Some(twice) = children.iter().find(|child| !names.insert(&child.name)) {
            return Err(StartError::Duplicate((&*twice.name).into()));
        }
        if let Some(child) = children.iter().find(|child| !auto_shutdown.takes(child)) {
            return Err(StartError::Significant((&*child.name).into()));
        }
        Ok(Team {
            table: Arc::clone(table),
            life: table.life(),
            strategy,
            auto_shutdown,
            intensity: Intensity::new(borne, window),
            backoff,
            first: children,
            posts: BTreeMap::new(),
            last: 0,
            random: now_ns() | 1,
        })
    }
}

/// A supervisor whose start somebody waits for. It waits itself, so the loss of its last address is nothing that it would look at: a caller
/// that is unwound kills it.
struct Starting(Option<SupervisorAddr>);

impl Starting {
    fn has_started(mut self) -> Result<SupervisorAddr, StartError> {
        let outcome = self.0.as_ref().map_or(Err(StartError::Ended), SupervisorAddr::has_started);
        let supervisor = self.0.take();
        outcome.and_then(|()| supervisor.ok_or(StartError::Ended))
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.iter().for_each(SupervisorAddr::kill);
    }
}

impl Child<Team> {
    /// Makes a child that is itself a supervisor, which the factory describes: for the first time and for each restart.
    ///
    /// It has as long as it takes to end, unless [`shutdown`](Self::shutdown) says otherwise. When it is started again, so are its
    /// children, as new actors: [`SupervisorAddr::supervisor`] and [`SupervisorAddr::get`] give their addresses.
    ///
    /// ```
    /// # use green::actor::{Actor, Child, Supervisor};
    /// # struct Worker;
    /// # impl Actor for Worker {}
    /// let workers = || Supervisor::one_for_one().child(Child::new("worker", || Worker));
    /// let sup = Supervisor::one_for_all().child(Child::supervisor("workers", workers)).start()?;
    /// let worker = sup.supervisor("workers").unwrap().get::<Worker>("worker").unwrap();
    /// # let _ = worker;
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    pub fn supervisor(name: impl AsRef<str>, factory: impl FnMut() -> Supervisor + Send + 'static) -> Self {
        let mut factory = factory;
        let nested = TableSlot::new();
        let of_team = nested.clone();
        let make = move || -> Result<Team, Exit> {
            let table = of_team.get();
            table.reset();
            Ok(factory().into_team(&table)?)
        };
        Child::new(name, make).shutdown(Duration::MAX).with_children(nested)
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.children.iter().map(|child| &child.name).collect();
        let mut debug = f.debug_struct("Supervisor");
        debug.field("strategy", &self.strategy).field("intensity", &self.intensity).field("backoff", &self.backoff);
        debug.field("children", &names).finish_non_exhaustive()
    }
}
