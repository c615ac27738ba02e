//! What can be wrong with a supervisor or a child.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;
use std::io;

use crate::actor::{Cycle, Exit};

/// Says why a supervisor has not started: the error of [`Supervisor::start`](crate::actor::Supervisor::start).
///
/// The children that were started before have ended by then, the last one first.
///
/// ```
/// use green::actor::{Actor, Child, Exit, StartError, Supervisor};
/// # #[derive(Debug)]
/// struct Db;
/// impl Actor for Db {}
/// let failed = Supervisor::one_for_one()
///     .child(Child::new("db", || Err::<Db, _>(Exit::Error("no disk".to_owned()))))
///     .start();
/// match failed {
///     Err(StartError::Child { name, exit }) => {
///         assert_eq!((&*name, exit), ("db", Exit::Error("no disk".to_owned())));
///     }
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A child has not started: its factory has failed or panicked, or its `started` has.
    Child {
        /// The child's name.
        name: Box<str>,
        /// Why it has not started.
        exit: Exit,
    },
    /// Two children have this name.
    Duplicate(Box<str>),
    /// This child cannot be [significant](crate::actor::Child::significant): it is permanent, so it never ends by itself; or the supervisor never
    /// [shuts down](crate::actor::Supervisor::auto_shutdown) because of one.
    Significant(Box<str>),
    /// The window of the intensity is zero, so nothing would ever be too often.
    ZeroWindow,
    /// The supervisor was ended while it started.
    Ended,
    /// A child, or who it waits for, [joins](crate::actor::Addr::join) the actor that waits for this start. The supervisor is killed.
    Deadlock {
        /// The actors of the circle, each of which waits for the next, and the last for the first.
        cycle: Cycle,
    },
    /// There is no actor: no memory, or the default runtime cannot start.
    Io(io::Error),
}

impl StartError {
    /// What the supervisor ends with.
    pub(in crate::actor) fn exit(&self) -> Exit {
        match self {
            StartError::Child { name, exit } => Exit::Escalated { child: name.clone(), last: Box::new(exit.clone()) },
            error => Exit::Error(error.to_string()),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Child { name, exit } => write!(f, "the child {name:?} has not started: it {exit}"),
            StartError::Duplicate(name) => write!(f, "two children have the name {name:?}"),
            StartError::Significant(name) => write_significant(f, name),
            StartError::ZeroWindow => f.write_str("the window of a supervisor's intensity is zero"),
            StartError::Ended => f.write_str("the supervisor was ended while it started"),
            StartError::Deadlock { cycle } => write!(f, "the start of a supervisor waits for its caller: {cycle}"),
            StartError::Io(error) => write!(f, "the supervisor has not started: {error}"),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let StartError::Io(error) = self { Some(error) } else { None }
    }
}

fn write_significant(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    write!(
        f,
        "the child {name:?} cannot be significant: it is permanent, or its supervisor does not shut down by itself"
    )
}

/// Says why a supervisor has not done what it was asked for with a child.
///
/// ```
/// use green::actor::{Actor, Child, ChildError, Supervisor};
/// struct Db;
/// impl Actor for Db {}
/// struct Cache;
/// impl Actor for Cache {}
/// let sup = Supervisor::one_for_one().child(Child::new("db", || Db)).start()?;
/// assert!(matches!(sup.get::<Db>("dbase"), Err(ChildError::Unknown(name)) if &*name == "dbase"));
/// assert!(matches!(sup.get::<Cache>("db"), Err(ChildError::WrongType { .. })));
/// # Ok::<(), green::actor::StartError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ChildError {
    /// There is no child of this name.
    Unknown(Box<str>),
    /// There is one already.
    Duplicate(Box<str>),
    /// The child cannot be [significant](crate::actor::Child::significant): [`StartError::Significant`].
    Significant(Box<str>),
    /// The child is an actor of another type.
    WrongType {
        /// Its name.
        name: Box<str>,
        /// The type that it is of.
        actor: &'static str,
    },
    /// The child has ended, and is not started again by itself.
    Ended(Box<str>),
    /// The child has not ended, so it is not started again, or removed.
    Running(Box<str>),
    /// The child has not started: its factory has failed or panicked, or its `started` has.
    Start {
        /// Its name.
        name: Box<str>,
        /// Why it has not started.
        exit: Exit,
    },
    /// The supervisor has ended or is stopping.
    Closed,
    /// The supervisor has not answered in time, or would wait for the caller, which is one of its children.
    Unanswered,
}

impl fmt::Display for ChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChildError::Unknown(name) => write!(f, "there is no child {name:?}"),
            ChildError::Duplicate(name) => write!(f, "there is a child {name:?} already"),
            ChildError::Significant(name) => write_significant(f, name),
            ChildError::WrongType { name, actor } => write!(f, "the child {name:?} is of the type {actor}"),
            ChildError::Ended(name) => write!(f, "the child {name:?} has ended"),
            ChildError::Running(name) => write!(f, "the child {name:?} has not ended"),
            ChildError::Start { name, exit } => write!(f, "the child {name:?} has not started: it {exit}"),
            ChildError::Closed => f.write_str("the supervisor has ended or is stopping"),
            ChildError::Unanswered => f.write_str("the supervisor has not answered"),
        }
    }
}

impl Error for ChildError {}
