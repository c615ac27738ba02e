//! How the rest of the program reaches a supervisor and its children.

#![forbid(unsafe_code)]

use std::any::TypeId;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::actor::address::Addressed;
use crate::actor::engine::lifecycle::{DRAIN, LAST_WAIT, LifeEnd, await_in};
use crate::actor::supervisor::child::Child;
use crate::actor::supervisor::error::{ChildError, StartError};
use crate::actor::supervisor::table::Table;
use crate::actor::supervisor::team::{Order, Team};
use crate::actor::supervisor::tree::{Tree, tree};
use crate::actor::{Actor, Addr, Exit, JoinError, SendError, Shutdown};
use crate::sys::clock::{NEVER, after_ns};

/// A supervisor has so long, beyond what it waits for a child that computes, to say so.
const GRACE: Duration = Duration::from_secs(1);

/// Reaches a supervisor: what [`Supervisor::start`](crate::actor::Supervisor::start) returns.
///
/// The supervisor, and with it its children, ends by itself when the last address of it is gone. A child that keeps one keeps its
/// supervisor alive.
///
/// ```
/// use green::actor::{Actor, Child, Supervisor, SupervisorAddr};
/// # struct Idle;
/// # impl Actor for Idle {}
/// let sup: SupervisorAddr = Supervisor::one_for_one().child(Child::new("idle", || Idle)).start()?;
/// let idle = sup.get::<Idle>("idle").unwrap();
/// idle.kill(); // and it is started again
/// # Ok::<(), green::actor::StartError>(())
/// ```
#[derive(Clone)]
pub struct SupervisorAddr {
    addr: Addr<Team>,
    table: Arc<Table>,
}

impl SupervisorAddr {
    pub(super) fn new(addr: Addr<Team>, table: Arc<Table>) -> Self {
        Self { addr, table }
    }

    /// Waits for the children of the first start, with an edge, as a join: a child that asks the caller meanwhile is told. To be asked once.
    pub(in crate::actor) fn has_started(&self) -> Result<(), StartError> {
        match await_in(self.addr.core(), &self.table.outcome, NEVER, Option::take) {
            Ok(outcome) => outcome,
            Err(JoinError::Deadlock { cycle }) => {
                self.addr.kill();
                Err(StartError::Deadlock { cycle })
            }
            Err(JoinError::Timeout) => unreachable!("a wait without a deadline"),
        }
    }

    /// Returns the address of a child, which stays the same when the child is started again. Does not wait.
    ///
    /// ```
    /// # use green::actor::{Actor, Child, Supervisor};
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// let sup = Supervisor::one_for_one().child(Child::new("idle", || Idle)).start()?;
    /// let idle = sup.get::<Idle>("idle").unwrap();
    /// assert_eq!(sup.get("idle"), Ok(idle));
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Unknown`; `WrongType`: the child is no `A`; `Ended`: it has ended and is not started again.
    pub fn get<A: Actor>(&self, name: &str) -> Result<Addr<A>, ChildError> {
        self.table.address(name, TypeId::of::<A>()).map(Addr::new)
    }

    /// Returns a child that is itself a supervisor: [`Child::supervisor`]. Does not wait.
    ///
    /// ```
    /// # use green::actor::{Child, Supervisor};
    /// let sup = Supervisor::one_for_one().child(Child::supervisor("inner", Supervisor::dynamic)).start()?;
    /// assert!(sup.supervisor("inner").unwrap().is_empty());
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get).
    pub fn supervisor(&self, name: &str) -> Result<SupervisorAddr, ChildError> {
        // Both from one look: between two the child could become another one.
        let entry = self.table.entry(name)?;
        let table = entry.nested.clone();
        let addr = entry.address(TypeId::of::<Team>()).map(Addr::new)?;
        Ok(Self { addr, table: table.ok_or_else(|| ChildError::Unknown(name.into()))? })
    }

    /// Starts another child, waits until it has started, and returns its address. It is the last in the order of starts.
    ///
    /// ```
    /// # use green::actor::{Actor, Child, ChildError, Supervisor};
    /// # struct Session(u32);
    /// # impl Actor for Session {}
    /// let sup = Supervisor::dynamic().start()?;
    /// let seven = sup.start_child(Child::new("7", || Session(7))).unwrap();
    /// let again = sup.start_child(Child::new("7", || Session(7)));
    /// assert_eq!(again, Err(ChildError::Duplicate("7".into())));
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Duplicate`: there is a child of that name. `Significant`: it cannot be. `Start`: the factory or `started` has failed or panicked; the child is forgotten.
    /// `Ended`: it has started, and has ended since, or its factory has made nothing. `Closed`: the supervisor ends. `Unanswered`: the deadline
    /// of the handler that calls this has passed, or that is a child which the supervisor waits for.
    pub fn start_child<A: Actor>(&self, child: Child<A>) -> Result<Addr<A>, ChildError> {
        let name = child.name();
        self.order(Order::Start(child.into_spec()))?;
        // One that has ended may be forgotten already.
        self.get(&name).map_err(|_| ChildError::Ended((&*name).into()))
    }

    /// Ends a child: stops it, waits for its [deadline](Child::shutdown), kills it. It is not started again by itself, unless a sibling's
    /// death does so; a temporary one, and any of a dynamic supervisor, is forgotten.
    ///
    /// Its mailbox is closed, and [`restart`](Self::restart) starts another actor, with an address of its own.
    ///
    /// ```
    /// # use green::actor::{Actor, Child, ChildError, Supervisor};
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// let sup = Supervisor::one_for_one().child(Child::new("idle", || Idle)).start()?;
    /// sup.terminate("idle").unwrap();
    /// assert_eq!(sup.get::<Idle>("idle"), Err(ChildError::Ended("idle".into())));
    /// sup.restart("idle").unwrap();
    /// assert!(sup.get::<Idle>("idle").is_ok());
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Unknown`, `Closed`, `Unanswered`.
    pub fn terminate(&self, name: &str) -> Result<(), ChildError> {
        self.order(Order::Terminate(name.into()))
    }

    /// Starts a child again that has ended and was not started again: a transient one, or one that was
    /// [terminated](Self::terminate). Waits until it has started.
    ///
    /// ```
    /// # use green::actor::{Actor, Child, ChildError, Supervisor};
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// let sup = Supervisor::one_for_one().child(Child::new("idle", || Idle)).start()?;
    /// assert_eq!(sup.restart("idle"), Err(ChildError::Running("idle".into())));
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Unknown`; `Running`: it has not ended, or waits for its restart; `Start`: it has not started, and may be tried again; `Closed`,
    /// `Unanswered`.
    pub fn restart(&self, name: &str) -> Result<(), ChildError> {
        self.order(Order::Restart(name.into()))
    }

    /// Forgets a child that has ended. Its name is free then.
    ///
    /// ```
    /// # use green::actor::{Actor, Child, ChildError, Supervisor};
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// let sup = Supervisor::one_for_one().child(Child::new("idle", || Idle)).start()?;
    /// assert_eq!(sup.remove("idle"), Err(ChildError::Running("idle".into())));
    /// sup.terminate("idle").unwrap();
    /// sup.remove("idle").unwrap();
    /// assert!(sup.is_empty());
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Unknown`; `Running`: [terminate](Self::terminate) it first; `Closed`, `Unanswered`.
    pub fn remove(&self, name: &str) -> Result<(), ChildError> {
        self.order(Order::Remove(name.into()))
    }

    fn order(&self, order: Order) -> Result<(), ChildError> {
        self.addr.send(order).unwrap_or_else(|error| {
            Err(match error {
                SendError::Closed(_) | SendError::Died(_) => ChildError::Closed,
                _ => ChildError::Unanswered,
            })
        })
    }

    /// Returns how many children there are, those that have ended and are not forgotten among them.
    ///
    /// ```
    /// # use green::actor::{Actor, Child, Supervisor};
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// let sup = Supervisor::one_for_one().child(Child::new("idle", || Idle)).start()?;
    /// assert_eq!(sup.len(), 1);
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns whether there is no child.
    ///
    /// ```
    /// assert!(green::actor::Supervisor::dynamic().start()?.is_empty());
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the tree as it is now: the supervisor and its children, with what they do. Does not wait.
    ///
    #[doc = include_str!("docs/tree.md")]
    #[must_use]
    pub fn tree(&self) -> Tree {
        tree(self.addr.core(), &self.table)
    }

    /// Returns the address of the supervisor as an actor: for [monitors](crate::actor::Context::monitor) and
    /// [links](crate::actor::Context::link).
    ///
    /// ```
    /// let sup = green::actor::Supervisor::dynamic().start()?;
    /// println!("{:?}", sup.addr().id());
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    #[must_use]
    pub fn addr(&self) -> &Addr<Team> {
        &self.addr
    }

    /// Stops the supervisor: it ends its children in the reverse order of their starts, each with its own deadline, and then
    /// itself. Does not wait.
    ///
    /// ```
    /// use green::actor::{Exit, Supervisor};
    /// let sup = Supervisor::dynamic().start()?;
    /// sup.stop();
    /// assert_eq!(sup.join(), Exit::Shutdown);
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    pub fn stop(&self) {
        self.addr.stop();
    }

    /// Kills the supervisor, and with it its whole tree. Does not wait.
    ///
    /// ```
    /// use green::actor::{Exit, Supervisor};
    /// let sup = Supervisor::dynamic().start()?;
    /// sup.kill();
    /// assert_eq!(sup.join(), Exit::Killed);
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    pub fn kill(&self) {
        // If it ends its children already, it goes on with that, and has less to wait for.
        self.addr.kill();
    }

    /// Waits until the supervisor has ended, and returns why: [`Addr::join`]. Its children have ended by then.
    ///
    /// ```
    /// use green::actor::{Actor, Backoff, Child, Context, Exit, Supervisor};
    /// struct Short;
    /// impl Actor for Short {
    ///     fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
    ///         ctx.fail(Exit::Error("no luck".to_owned()));
    ///         Ok(())
    ///     }
    /// }
    /// let sup = Supervisor::one_for_one().backoff(Backoff::none()).child(Child::new("short", || Short)).start()?;
    /// assert_eq!(sup.join().to_string(), "gave up its child \"short\", which failed: no luck");
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// As [`Addr::join`].
    #[track_caller]
    pub fn join(&self) -> Exit {
        self.addr.join()
    }

    /// Returns whether the supervisor has ended.
    ///
    /// ```
    /// assert!(!green::actor::Supervisor::dynamic().start()?.is_ended());
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.addr.is_ended()
    }

    /// Ends the whole tree within `deadline`: stops it and waits, and then kills what has not ended, and waits for six seconds at
    /// most.
    ///
    /// The supervisor ends its children in the reverse order of their starts, each within its own [deadline](Child::shutdown) and this one.
    /// The answer counts the tree's actors without the supervisor that this is called on. Called by an actor that is itself a part of the
    /// tree, it waits for nobody: the tree ends when its handler has returned, and the answer says that it is left. A cancellation point.
    ///
    /// ```
    /// # use green::actor::{Actor, Child, Supervisor};
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// let sup = Supervisor::one_for_one().child(Child::new("idle", || Idle)).start()?;
    /// let end = sup.shutdown(std::time::Duration::from_secs(10));
    /// assert_eq!((end.stopped, end.killed, end.lost), (1, 0, 0));
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    pub fn shutdown(&self, deadline: Duration) -> Shutdown {
        let by_ns = after_ns(deadline);
        let core = self.addr.core();
        // The number of that very life: none begins between the two looks at it.
        let (number, life) = loop {
            let (number, life) = (self.table.life(), LifeEnd::of(core));
            if self.table.life() == number {
                break (number, life);
            }
        };
        if life.is_on() {
            self.table.end_by(number, by_ns);
        }
        core.stop_life(&life, Exit::Shutdown, DRAIN.min(deadline));
        let mut ended = life.join(core, by_ns);
        if let Err(JoinError::Timeout) = ended {
            core.kill_life(&life);
            ended = life.join(core, after_ns(LAST_WAIT + GRACE));
        }
        match ended {
            Err(_) if self.table.life() == number => self.table.tally_so_far(),
            _ => self.table.tally_of(number),
        }
    }
}

impl PartialEq for SupervisorAddr {
    fn eq(&self, other: &Self) -> bool {
        self.addr == other.addr
    }
}

impl Eq for SupervisorAddr {}

impl fmt::Debug for SupervisorAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SupervisorAddr").field(&self.addr).finish()
    }
}
