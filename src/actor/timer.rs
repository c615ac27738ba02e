//! Timers of actors: one ordered map for the process, and one OS thread that sleeps until the first is due.
//!
//! A timer costs an entry, not a stack. What a timer does when it is due is to put a message into a mailbox, which waits for
//! nothing, so one thread serves all. It starts with the first timer. What the user has put in, and nobody takes, is dropped by another one, as a destructor may wait. A child of fork has not got that thread, and starts one of
//! its own, which knows none of the parent's timers.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc::{self, SendError, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::actor::engine::ends_on_top::leave_all;
use crate::actor::engine::guard::contained;
use crate::base::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::base::lock::lock;
use crate::park::os_threads::{self, LaterWake};
use crate::rt::join::JoinHandle;
use crate::rt::thread::spawn;
use crate::sys::clock::{after_ns, instant_at, now_ns, virtual_ns};
use crate::sys::fork::{ForkSafeOnce, PerProcess};
use crate::sys::signals;
use crate::time::sleep_until;

/// When it is due, and a number of its own.
type TimerKey = (u64, u64);
/// Is given the timer and when it was due.
type Fire = Box<dyn FnMut(&Timer, u64) -> Fired + Send>;

/// What has become of a timer that was due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fired {
    /// It is due again then.
    Again(u64),
    /// It was the last time.
    Over,
    /// The same, and something of the user's is left, whose destructor may wait.
    Leaves,
}

impl Fired {
    /// `None`: it was the last time.
    pub(crate) fn again(next_ns: Option<u64>) -> Self {
        next_ns.map_or(Fired::Over, Fired::Again)
    }
}

struct TimerEntry {
    shared: Arc<TimerShared>,
    fire: Fire,
    /// The last to be dropped.
    _later: LaterWake,
}

#[derive(Debug)]
struct TimerShared {
    due_ns: AtomicU64,
    number: u64,
    /// [`FIRED`], [`CANCELLED`], [`LAST`].
    over: AtomicU32,
    /// A message of it is in the mailbox.
    queued: AtomicU32,
    /// What waits for it under virtual time, in the place of the service.
    thread: OnceLock<JoinHandle<()>>,
}

/// It has fired for the last time.
const FIRED: u32 = 1;
/// It was cancelled: what is queued of it is not handled.
const CANCELLED: u32 = 2;
/// It sends its last message. It has fired when that is in the mailbox, or handled already.
const LAST: u32 = 4;

struct Service {
    timers: Mutex<BTreeMap<TimerKey, TimerEntry>>,
    changed: Condvar,
    /// To the OS thread that drops what may wait in a destructor.
    drops: OnceLock<Sender<TimerEntry>>,
}

impl Service {
    /// The service of this process; its thread runs.
    fn get() -> &'static Service {
        static SERVICE: PerProcess<ForkSafeOnce<&'static Service>> = PerProcess::new(ForkSafeOnce::new);
        SERVICE.get().get_or_init(Service::start)
    }

    fn start() -> &'static Service {
        let (timers, changed) = (Mutex::new(BTreeMap::new()), Condvar::new());
        let service: &'static Service = Box::leak(Box::new(Service { timers, changed, drops: OnceLock::new() }));
        let thread = std::thread::Builder::new().name("green-timers".to_owned());
        let started = signals::while_blocked(|| thread.spawn(|| service.run()));
        started.unwrap_or_else(|error| panic!("failed to start the thread of the actors' timers: {error}"));
        service
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TimerKey, TimerEntry>> {
        lock(&self.timers)
    }

    fn insert(&self, due_ns: u64, entry: TimerEntry) {
        entry.shared.due_ns.store(due_ns, Ordering::Relaxed);
        let key = (due_ns, entry.shared.number);
        let mut timers = self.lock();
        timers.insert(key, entry);
        if timers.first_key_value().is_some_and(|(first, _)| *first == key) {
            self.changed.notify_one();
        }
    }

    fn run(&self) {
        let _serves = os_threads::serves();
        // An actor that ended here would have all timers wait for its `stopping`.
        leave_all();
        let mut timers = self.lock();
        loop {
            let now = now_ns();
            timers = match timers.first_key_value() {
                None => self.changed.wait(timers).unwrap_or_else(PoisonError::into_inner),
                Some(((due_ns, _), _)) if *due_ns > now => {
                    let wait = Duration::from_nanos(due_ns - now);
                    self.changed.wait_timeout(timers, wait).unwrap_or_else(PoisonError::into_inner).0
                }
                Some(_) => {
                    let Some(((due_ns, _), entry)) = timers.pop_first() else { continue };
                    drop(timers);
                    self.fire(due_ns, entry);
                    self.lock()
                }
            };
        }
    }

    fn fire(&self, due_ns: u64, mut entry: TimerEntry) {
        match entry.fire(due_ns) {
            Fired::Again(next_ns) => {
                let shared = Arc::clone(&entry.shared);
                self.insert(next_ns, entry);
                if shared.is_over() {
                    // It was cancelled in between.
                    self.remove(&shared).into_iter().for_each(|entry| self.drop_elsewhere(entry));
                }
            }
            Fired::Over => contained(|| drop(entry)),
            Fired::Leaves => self.drop_elsewhere(entry),
        }
    }

    /// A destructor that waits keeps others from being called, but no timer from firing.
    #[cold]
    fn drop_elsewhere(&self, entry: TimerEntry) {
        let drops = self.drops.get_or_init(|| {
            let (drops, dropped) = mpsc::channel::<TimerEntry>();
            let thread = std::thread::Builder::new().name("green-timers-end".to_owned());
            let run = move || {
                let _serves = os_threads::serves();
                dropped.into_iter().for_each(|entry| contained(|| drop(entry)));
            };
            // Without the thread they are dropped here.
            let _ = signals::while_blocked(|| thread.spawn(run));
            drops
        });
        if let Err(SendError(entry)) = drops.send(entry) {
            contained(|| drop(entry));
        }
    }

    #[must_use]
    fn remove(&self, shared: &TimerShared) -> Option<TimerEntry> {
        self.lock().remove(&(shared.due_ns.load(Ordering::Relaxed), shared.number))
    }
}

impl TimerEntry {
    fn fire(&mut self, due_ns: u64) -> Fired {
        let timer = Timer(Arc::clone(&self.shared));
        // A panic of what makes the message ends this timer, not the others.
        let mut fired = Fired::Leaves;
        contained(|| fired = (self.fire)(&timer, due_ns));
        if let Fired::Again(_) = fired
            && timer.is_over()
        {
            fired = Fired::Leaves; // It was cancelled.
        }
        if !matches!(fired, Fired::Again(_)) {
            timer.0.end(FIRED);
        }
        fired
    }
}

impl TimerShared {
    fn is_over(&self) -> bool {
        // ORDERING: Acquire pairs with `end`.
        self.over.load(Ordering::Acquire) & (FIRED | CANCELLED) != 0
    }

    fn end(&self, how: u32) {
        // ORDERING: Release pairs with `is_over` and `is_cancelled`; between this and `insert` the map's lock decides.
        self.over.fetch_or(how, Ordering::Release);
    }
}

/// Takes a timer back: what [`Context::send_after`](crate::actor::Context::send_after) and
/// [`Context::interval`](crate::actor::Context::interval) return. Dropping it changes nothing.
///
/// ```
/// use green::actor::{Actor, Context, Exit, Timer};
/// use std::time::Duration;
///
/// struct Session { limit: Option<Timer> }
/// impl Actor for Session {
///     fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
///         self.limit = Some(ctx.send_after(Duration::from_secs(60), Expired));
///         Ok(())
///     }
/// }
/// struct Expired;
/// # impl green::actor::Message for Expired { type Reply = (); }
/// # impl green::actor::Handler<Expired> for Session {
/// #     fn handle(&mut self, _: Expired, ctx: &mut Context<Self>) { ctx.stop() }
/// # }
/// # Session { limit: None }.start().stop();
/// ```
#[derive(Clone)]
pub struct Timer(Arc<TimerShared>);

impl Timer {
    /// Cancels the timer: no message of it is handled from now on, also none that is queued already. Does not wait.
    ///
    /// If another thread cancels it, a handler of such a message may have begun. To replace one timer by another there are
    /// [`Timers`](crate::actor::Timers).
    ///
    #[doc = include_str!("docs/timer_cancel.md")]
    pub fn cancel(&self) {
        self.0.end(CANCELLED);
        match self.0.thread.get() {
            Some(thread) => thread.cancel(),
            None => drop(Service::get().remove(&self.0)),
        }
    }

    /// Returns whether the timer has sent its last message, or was cancelled.
    ///
    #[doc = include_str!("docs/timer_is_over.md")]
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.is_over()
    }

    /// Its last message is about to be sent.
    pub(crate) fn sends_last(&self) {
        self.0.end(LAST);
    }

    /// A message of it is taken up. If that is the last, the timer is over by then.
    pub(crate) fn is_taken_up(&self) {
        // ORDERING: Relaxed: it was set before the message went into the mailbox, whose lock has brought it here.
        if self.0.over.load(Ordering::Relaxed) & LAST != 0 {
            self.0.end(FIRED);
        }
        self.set_queued(false);
    }

    /// Is a message of it in the mailbox?
    pub(crate) fn is_queued(&self) -> bool {
        // ORDERING: Acquire pairs with `set_queued` of the run that has taken the last message up.
        self.0.queued.load(Ordering::Acquire) != 0
    }

    pub(crate) fn set_queued(&self, is_queued: bool) {
        // ORDERING: Release pairs with `is_queued`.
        self.0.queued.store(u32::from(is_queued), Ordering::Release);
    }

    /// Will no message of it be handled any more?
    pub(crate) fn is_done(&self) -> bool {
        self.is_over() && (self.is_cancelled() || !self.is_queued())
    }

    /// Is what is queued of it not to be handled?
    pub(crate) fn is_cancelled(&self) -> bool {
        // ORDERING: Acquire pairs with `end`.
        self.0.over.load(Ordering::Acquire) & CANCELLED != 0
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("is_over", &self.is_over()).finish_non_exhaustive()
    }
}

/// Calls `fire` after `first`, and then whenever it says. It must not wait, nor drop what is the user's.
pub(crate) fn start(first: Duration, fire: impl FnMut(&Timer, u64) -> Fired + Send + 'static) -> Timer {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let shared = Arc::new(TimerShared {
        due_ns: AtomicU64::new(0),
        number,
        over: AtomicU32::new(0),
        queued: AtomicU32::new(0),
        thread: OnceLock::new(),
    });
    let entry = TimerEntry { shared: Arc::clone(&shared), fire: Box::new(fire), _later: LaterWake::new() };
    let due_ns = after_ns(first);
    if virtual_ns().is_some() {
        shared.thread.get_or_init(|| spawn(move || wait_and_fire(due_ns, entry)));
    } else {
        Service::get().insert(due_ns, entry);
    }
    Timer(shared)
}

/// The life of a timer under virtual time, on a green thread of its own: no OS thread can wait for that time.
fn wait_and_fire(mut due_ns: u64, mut entry: TimerEntry) {
    loop {
        sleep_until(instant_at(due_ns));
        match entry.fire(due_ns) {
            Fired::Again(next_ns) => due_ns = next_ns,
            Fired::Over | Fired::Leaves => return contained(|| drop(entry)),
        }
    }
}
