//! A trace as data.

use std::collections::HashMap;
use std::time::Duration;

use crate::flight::{EventKind, FlightEntry, JournalCopy, RingOwner, TickScale, journals};
use crate::task::header::NAMES;
use crate::task::id::ThreadId;

/// What has happened. A thread is a green thread, or an actor.
///
/// ```
/// use green::recorder::Happening;
/// let reader = green::thread::Builder::new().name("reader".to_owned()).spawn(|| ())?;
/// let id = reader.thread().id();
/// reader.join().unwrap();
/// let trace = green::recorder::snapshot();
/// assert!(trace.events().iter().any(|event| event.what == Happening::Starts(id)));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Happening {
    /// The thread has got a stack, and runs.
    Starts(ThreadId),
    /// It is over.
    Ends(ThreadId),
    /// It goes on after a wait, or is first mentioned while it runs.
    Runs(ThreadId),
    /// It waits, for this as [`Thread::waits_for`](crate::thread::Thread::waits_for) calls it; `None`: that is not known.
    Parks(ThreadId, Option<&'static str>),
    /// What runs on the worker has ended its wait: a thread, or the worker's loop.
    Wakes(ThreadId),
    /// The thread that runs on the worker has spawned it.
    Spawns(ThreadId),
    /// Another OS thread has woken it, or sent it here: the worker has found it in its inbox.
    Arrives(ThreadId),
    /// The worker has taken it from another one, not started.
    Stolen(ThreadId),
    /// The worker has given it to another one, not started.
    Given(ThreadId),
    /// Its timer was due.
    TimerFires(ThreadId),
    /// The actor begins to handle a message.
    MessageBegins(ThreadId),
    /// It is through with it.
    MessageEnds(ThreadId),
    /// The actor has left its stack: it has handled what there was, or lets others run.
    Rests(ThreadId),
    /// No thread runs: the worker's loop does.
    LoopRuns,
    /// The worker has nothing to run.
    Sleeps,
    /// It goes on.
    GetsUp,
    /// The worker has got so many events of descriptors.
    Polls(u64),
    /// So many threads live on the worker.
    Lives(u64),
    /// So many threads were ready on the worker.
    Ready(u64),
    /// The worker with this number, of some runtime, had not come round for so long.
    Stalls(usize, Duration),
}

/// One event of a [`Trace`].
///
/// ```
/// green::run(|| ());
/// for event in green::recorder::snapshot().events() {
///     println!("{:?} worker {:?}: {:?}", event.at, event.worker, event.what);
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TraceEvent {
    /// When: since the process first used this crate.
    pub at: Duration,
    /// In which runtime, by a number of this trace.
    pub runtime: usize,
    /// The worker whose ring it was in; `None`: it was noticed from outside.
    pub worker: Option<usize>,
    /// What has happened.
    pub what: Happening,
}

/// What the workers have recorded of late: what [`snapshot`] returns.
///
/// ```
/// let trace = green::run(green::recorder::snapshot);
/// assert!(trace.events().is_sorted_by_key(|event| event.at));
/// ```
#[derive(Clone, Debug)]
pub struct Trace {
    events: Vec<TraceEvent>,
    names: HashMap<ThreadId, String>,
    lost: u64,
    /// The workers of which every event is there, by runtime and number.
    pub(super) full: Vec<(usize, usize)>,
    /// How many others there are, of which only what is rare is.
    pub(super) rare: usize,
}

/// Returns what the workers of the process have recorded: the last events of each that has not ended. It copies the rings, and
/// stops nobody.
///
/// ```
/// let trace = green::run(green::recorder::snapshot);
/// assert!(trace.events().iter().all(|event| event.worker.is_some() || event.runtime == 0));
/// ```
#[must_use]
pub fn snapshot() -> Trace {
    Trace::new(&journals(), &TickScale::now())
}

impl Trace {
    fn new(journals: &[JournalCopy], scale: &TickScale) -> Self {
        let mut runtimes: Vec<usize> = Vec::new();
        let mut trace = Self { events: Vec::new(), names: HashMap::new(), lost: 0, full: Vec::new(), rare: 0 };
        for JournalCopy { owner, lost, events, names } in journals {
            let RingOwner { runtime, worker, all } = *owner;
            let known = runtimes.iter().position(|known| *known == runtime);
            let runtime = match (worker, known) {
                (None, _) => 0,
                (_, Some(at)) => at,
                (_, None) => {
                    runtimes.push(runtime);
                    runtimes.len() - 1
                }
            };
            trace.lost += lost;
            trace.rare += usize::from(worker.is_some() && !all && !events.is_empty());
            trace.full.extend(worker.filter(|_| all).map(|worker| (runtime, worker)));
            trace.names.extend(names.iter().filter_map(|(id, name)| Some((ThreadId::new(*id)?, name.clone()))));
            let mut last_ns = 0;
            for entry in events {
                // On one worker the order counts.
                last_ns = scale.ns_at(entry.ticks).max(last_ns);
                let at = Duration::from_nanos(last_ns);
                trace.events.extend(happening(entry).map(|what| TraceEvent { at, runtime, worker, what }));
            }
        }
        trace.events.sort_by_key(|event| event.at);
        trace
    }

    /// Returns the events, by time.
    ///
    /// ```
    /// let trace = green::run(green::recorder::snapshot);
    /// assert!(!trace.events().is_empty());
    /// ```
    #[must_use]
    pub fn events(&self) -> &[TraceEvent] {
        &self.events
    }

    /// Returns the name of a thread, if it has one and that is still known: each worker keeps those of the last hundred or more named threads that have started there, up to
    /// 56 bytes of each.
    ///
    /// ```
    /// let runtime = green::Runtime::builder().workers(1).build()?;
    /// let named = green::thread::Builder::new().name("reader".into());
    /// let (trace, id) = runtime.run(|| {
    ///     let thread = named.spawn(|| ()).unwrap();
    ///     let id = thread.thread().id();
    ///     thread.join().unwrap();
    ///     (green::recorder::snapshot(), id)
    /// });
    /// assert_eq!(trace.name_of(id), Some("reader"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn name_of(&self, thread: ThreadId) -> Option<&str> {
        self.names.get(&thread).map(String::as_str)
    }

    /// Returns how many events there were before these, which are gone: a larger ring keeps more.
    ///
    /// ```
    /// let trace = green::run(green::recorder::snapshot);
    /// println!("{} events, {} before them", trace.events().len(), trace.lost());
    /// ```
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

/// What an entry says; `None`: nothing that belongs here.
fn happening(entry: &FlightEntry) -> Option<Happening> {
    let thread = ThreadId::new(entry.number);
    let of = |make: fn(ThreadId) -> Happening| thread.map(make);
    match entry.kind {
        EventKind::Starts => of(Happening::Starts),
        EventKind::Ends => of(Happening::Ends),
        EventKind::Runs => Some(thread.map_or(Happening::LoopRuns, Happening::Runs)),
        EventKind::Parks => {
            thread.map(|thread| Happening::Parks(thread, NAMES.get(usize::from(entry.detail)).copied().flatten()))
        }
        EventKind::Wakes => of(Happening::Wakes),
        EventKind::Spawns => of(Happening::Spawns),
        EventKind::Arrives => of(Happening::Arrives),
        EventKind::Stolen => of(Happening::Stolen),
        EventKind::Given => of(Happening::Given),
        EventKind::Timer => of(Happening::TimerFires),
        EventKind::MessageBegins => of(Happening::MessageBegins),
        EventKind::MessageEnds => of(Happening::MessageEnds),
        EventKind::Rests => of(Happening::Rests),
        EventKind::Sleeps => Some(Happening::Sleeps),
        EventKind::GetsUp => Some(Happening::GetsUp),
        EventKind::Polls => Some(Happening::Polls(entry.number)),
        EventKind::Lives => Some(Happening::Lives(entry.number)),
        EventKind::Ready => Some(Happening::Ready(entry.number)),
        EventKind::Stalls => {
            let (worker, us) = entry.stall();
            Some(Happening::Stalls(worker, Duration::from_micros(us)))
        }
        EventKind::IsNamed | EventKind::NamePart => None,
    }
}
