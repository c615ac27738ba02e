//! Pools: an actor in front of several workers of one type.
//!
//! The pool's mailbox is the queue. Its handler waits until a worker can take the message ([`Crew`]), and passes the message on with the right
//! to reply, so an asker waits for the worker from then on. The workers are children of a supervisor of the pool's own.

#![forbid(unsafe_code)]

use std::any::type_name;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::actor::address::Addressed;
use crate::actor::engine::crew::{Crew, Place, Seat};
use crate::actor::engine::envelope::Boxed;
use crate::actor::engine::lifecycle::DRAIN;
use crate::actor::engine::lost::lost;
use crate::actor::engine::owed::Failure;
use crate::actor::engine::payload::Passed;
use crate::actor::engine::tell;
use crate::actor::engine::warden::Brood;
use crate::actor::engine::weak::Weak;
use crate::actor::handling::route;
use crate::actor::supervisor::{Table, TableSlot};
use crate::actor::{
    Actor, ActorId, Addr, Backoff, Child, Context, Exit, Handler, Made, Mailbox, Message, Receives, Signal, Supervisor,
    SupervisorAddr,
};

/// Marks a [`Pool`] with one queue for all workers: [`Pool::shared`].
///
/// ```
/// use green::actor::{Actor, Addr, OneQueue, Pool};
/// # struct Resizer;
/// # impl Actor for Resizer {}
/// let resizers: Addr<Pool<Resizer, OneQueue>> = Pool::shared(2, || Resizer).start(); // or simply Addr<Pool<Resizer>>
/// # resizers.stop();
/// ```
#[derive(Clone, Copy, Debug)]
pub enum OneQueue {}

/// Marks a [`Pool`] whose messages go to the worker of their key: [`Pool::by_key`].
///
/// ```
/// use green::actor::{Actor, Addr, ByKey, Pool};
/// # struct Accounts;
/// # impl Actor for Accounts {}
/// let accounts: Addr<Pool<Accounts, ByKey>> = Pool::by_key(2, || Accounts).start();
/// # accounts.stop();
/// ```
#[derive(Clone, Copy, Debug)]
pub enum ByKey {}

#[diagnostic::on_unimplemented(
    message = "messages of type `{Self}` have no key, by which a pool finds their worker",
    label = "`{Self}` is not `Keyed`",
    note = "write `impl Keyed for {Self}`, or take a pool with one queue: `Pool::shared`"
)]
/// Says which messages belong together: those of one key are handled by one worker, in order. For pools [by key](Pool::by_key).
///
/// ```
/// use green::actor::{Keyed, Message};
/// struct Deposit { account: u64, amount: i64 }
/// impl Message for Deposit { type Reply = (); }
/// impl Keyed for Deposit {
///     type Key = u64;
///     fn key(&self) -> u64 { self.account }
/// }
/// # assert_eq!(Deposit { account: 7, amount: 1 }.key(), 7);
/// ```
pub trait Keyed: Message {
    /// What the messages are told apart by.
    type Key: Hash;

    /// Returns the message's key. Called by the pool, so it should neither wait nor panic: that would be the pool's end.
    fn key(&self) -> Self::Key;
}

/// Hands messages to several workers: an actor that takes all that its workers take.
///
#[doc = include_str!("docs/pool.md")]
pub struct Pool<A, R = OneQueue> {
    len: usize,
    make: Arc<dyn Fn() -> Result<A, Exit> + Send + Sync>,
    intensity: (u32, Duration),
    backoff: Backoff,
    table: Arc<Table>,
    staff: Option<Staff<A>>,
    _routing: PhantomData<fn() -> R>,
}

/// The workers, once they have started.
struct Staff<A> {
    supervisor: SupervisorAddr,
    crew: Arc<Crew>,
    /// In the order of their places. Nobody ends a worker for good before the pool ends, so its address stays.
    workers: Vec<Addr<A>>,
}

impl<A: Actor> Pool<A> {
    /// Describes a pool of `workers` with one queue: a message is handled by whichever worker is free first, so none waits behind a slow
    /// one while another worker is free.
    ///
    /// The factory makes each worker's value, for the first time and for each restart; it may return what that of a
    /// [`Child`] may.
    ///
    /// ```
    /// use green::actor::{Actor, Pool, messages};
    ///
    /// struct Hasher;
    /// impl Actor for Hasher {}
    /// messages! { impl Hasher { fn Sum(&self, bytes: Vec<u8>) -> u64 { bytes.iter().map(|byte| u64::from(*byte)).sum() } } }
    ///
    /// let pool = Pool::shared(4, || Hasher).start();
    /// let sums: Vec<_> = (0..8).map(|n| pool.call(Sum(vec![n; 10])).unwrap()).collect();
    /// assert_eq!(sums.into_iter().map(|sum| sum.wait().unwrap()).sum::<u64>(), 280);
    /// ```
    ///
    /// # Panics
    ///
    /// If `workers` is zero.
    #[track_caller]
    pub fn shared<M: Made<A>>(workers: usize, factory: impl Fn() -> M + Send + Sync + 'static) -> Self {
        Self::new(workers, factory)
    }
}

impl<A: Actor> Pool<A, ByKey> {
    /// Describes a pool in which each of the `workers` has a queue of its own, and the messages of one [key](Keyed) go to one worker, in
    /// order, also over a restart of that worker.
    ///
    /// A worker's queue is as long as [`Actor::MAILBOX`] of the worker says. When the next message is for a worker whose queue is full, the
    /// pool waits for that worker, and the other messages with it. For the factory see [`shared`](Pool::shared).
    ///
    /// ```
    /// use green::actor::{Actor, Keyed, Pool, messages};
    /// use std::collections::HashMap;
    ///
    /// #[derive(Default)]
    /// struct Accounts { balances: HashMap<u64, i64> }
    /// impl Actor for Accounts {}
    /// messages! {
    ///     impl Accounts {
    ///         fn Deposit(&mut self, account: u64, amount: i64) { *self.balances.entry(account).or_default() += amount }
    ///         fn Balance(&self, account: u64) -> i64 { self.balances.get(&account).copied().unwrap_or(0) }
    ///     }
    /// }
    /// impl Keyed for Deposit { type Key = u64; fn key(&self) -> u64 { self.0 } }
    /// impl Keyed for Balance { type Key = u64; fn key(&self) -> u64 { self.0 } }
    ///
    /// let accounts = Pool::by_key(4, Accounts::default).start();
    /// accounts.tell(Deposit(7, 100)).unwrap();
    /// accounts.tell(Deposit(8, 1)).unwrap();
    /// assert_eq!(accounts.send(Balance(7)).unwrap(), 100);
    /// ```
    ///
    /// # Panics
    ///
    /// If `workers` is zero.
    #[track_caller]
    pub fn by_key<M: Made<A>>(workers: usize, factory: impl Fn() -> M + Send + Sync + 'static) -> Self {
        Self::new(workers, factory)
    }
}

impl<A: Actor, R: 'static> Pool<A, R> {
    #[track_caller]
    fn new<M: Made<A>>(len: usize, factory: impl Fn() -> M + Send + Sync + 'static) -> Self {
        assert_ne!(len, 0, "a pool needs one worker at least");
        Self {
            len,
            make: Arc::new(move || factory().made()?.ok_or_else(|| "the factory of a pool has made no worker".into())),
            intensity: Supervisor::INTENSITY,
            backoff: Backoff::default(),
            table: Table::new(),
            staff: None,
            _routing: PhantomData,
        }
    }

    /// Sets how many restarts of workers, all together, are borne within a window that slides: by default three in five seconds. One more
    /// ends the pool, with [`Exit::Escalated`].
    ///
    /// ```
    /// # use green::actor::{Actor, Pool};
    /// # struct Resizer;
    /// # impl Actor for Resizer {}
    /// let resizers = Pool::shared(8, || Resizer).intensity(100, std::time::Duration::from_secs(60)).start();
    /// # resizers.stop();
    /// ```
    #[must_use]
    pub fn intensity(self, restarts: u32, window: Duration) -> Self {
        Self { intensity: (restarts, window), ..self }
    }

    /// Sets how long a worker that has died waits before it is started again; without this call, [`Backoff::default`].
    ///
    /// ```
    /// # use green::actor::{Actor, Backoff, Pool};
    /// # struct Resizer;
    /// # impl Actor for Resizer {}
    /// let resizers = Pool::shared(8, || Resizer).backoff(Backoff::none()).start();
    /// # resizers.stop();
    /// ```
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    fn hire(&mut self, ctx: &Context<Self>) -> Result<(), Exit> {
        let name = ctx.core().header.name().unwrap_or("worker");
        let crew = Crew::new(self.len);
        let names: Vec<String> = (1..=self.len).map(|number| format!("{name} {number}")).collect();
        let worker = |(index, name): (usize, &String)| {
            let make = Arc::clone(&self.make);
            // As long as the pool has.
            Child::new(name, move || make()).shutdown(Duration::MAX).at(Place::new(&crew, index))
        };
        let (borne, window) = self.intensity;
        let workers = Supervisor::dynamic().name(format!("{name} (workers)")).intensity(borne, window);
        let workers = names.iter().enumerate().map(worker).fold(workers.backoff(self.backoff), Supervisor::child);
        let supervisor = workers.start_part(&self.table, Arc::<Crew>::clone(&crew))?;
        // From here on it ends with the pool's state, and is killed with the pool.
        ctx.core().mailbox.lock().extras().brood = Some(Arc::new(WorkersOf(supervisor.addr().core().weak())));
        let staff = self.staff.insert(Staff { supervisor, crew, workers: Vec::new() });
        staff.supervisor.has_started().map_err(|error| error.exit())?;
        for name in &names {
            staff.workers.push(staff.supervisor.get(name)?);
        }
        Ok(())
    }

    /// Has a worker handle the message, and reply.
    fn pass_on<M: Message>(&mut self, msg: M, ctx: &mut Context<Self>, seat: impl Fn(&Arc<Crew>) -> Result<Seat, Exit>)
    where
        A: Receives<M>,
    {
        let Some(staff) = &self.staff else { unreachable!("a pool takes messages when its workers have started") };
        let (owed, terms) = (ctx.defer::<M>(), ctx.inner.frame().terms());
        let mut held = HeldMessage { passed: Some(Passed { msg, owed, terms, seat: None }), pool: ctx.id() };
        loop {
            let taken = match seat(&staff.crew) {
                Ok(taken) => taken,
                Err(exit) => {
                    held.fail(&exit);
                    return ctx.fail(exit);
                }
            };
            let worker = &staff.workers[taken.index()];
            let Some(passed) = held.passed.take() else { return };
            let passed = Passed { seat: Some(taken), ..passed };
            match tell::pass(worker.core(), Boxed::new(const { route::<A, M>() }.passed, passed)) {
                Ok(()) => return,
                Err(boxed) => {
                    let mut passed = boxed.open();
                    passed.seat.take().into_iter().for_each(Seat::finds_shut);
                    held.passed = Some(passed);
                }
            }
        }
    }
}

/// A message that the pool has and no worker. If the pool is killed, its asker learns that; what was told is a dead letter.
struct HeldMessage<M: Message> {
    passed: Option<Passed<M>>,
    pool: ActorId,
}

impl<M: Message> HeldMessage<M> {
    fn fail(&mut self, exit: &Exit) {
        if let Some(passed) = self.passed.take_if(|passed| passed.owed.is_awaited()) {
            passed.owed.note_lost(self.pool);
            passed.owed.answer(Err(Failure::Died(exit.clone())));
        }
    }
}

impl<M: Message> Drop for HeldMessage<M> {
    fn drop(&mut self) {
        match &self.passed {
            Some(passed) if passed.owed.is_awaited() => passed.owed.note_lost(self.pool),
            Some(_) => lost(self.pool, type_name::<M>()),
            None => {}
        }
    }
}

impl<A: Actor, R: 'static> Actor for Pool<A, R> {
    const MAILBOX: Mailbox = A::MAILBOX;
    const ASK_TIMEOUT: Duration = A::ASK_TIMEOUT;

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
        self.hire(ctx)?;
        self.staff.iter().for_each(|staff| _ = ctx.monitor(staff.supervisor.addr()));
        Ok(())
    }

    fn signal(&mut self, signal: Signal, ctx: &mut Context<Self>) {
        match signal {
            // That of the workers' supervisor.
            Signal::Down(down) => ctx.fail(down.reason),
            other => ctx.default_signal(other),
        }
    }

    fn stopping(&mut self, why: &Exit, ctx: &mut Context<Self>) {
        let Some(staff) = &self.staff else { return };
        let left = match why {
            Exit::Killed => Duration::ZERO,
            // Its last address is gone: what it has accepted is handled, however long that takes.
            Exit::Normal => ctx.core().drain_left().unwrap_or(Duration::MAX),
            _ => ctx.core().drain_left().unwrap_or(DRAIN),
        };
        let end = staff.supervisor.shutdown(left);
        let ends = [end.stopped, end.failed, end.killed, end.left];
        ctx.core().mailbox.lock().extras().parts = (ends, [end.drained, end.lost]);
    }
}

/// The workers' supervisor, whose own brood they are.
struct WorkersOf(Weak);

impl Brood for WorkersOf {
    fn kill_all(&self) {
        self.0.core().kill();
    }
}

impl<A> Drop for Staff<A> {
    /// Where there is no `stopping`: the start was not over.
    fn drop(&mut self) {
        if !self.supervisor.is_ended() {
            self.supervisor.shutdown(Duration::ZERO);
        }
    }
}

impl<A: Receives<M>, M: Message> Handler<M> for Pool<A, OneQueue> {
    fn handle(&mut self, _: M, _: &mut Context<Self>) -> M::Reply {
        unreachable!("a worker replies")
    }

    fn __handle<T>(
        &mut self,
        msg: impl FnOnce() -> M,
        ctx: &mut Context<Self>,
        _: impl FnOnce(M::Reply) -> T,
    ) -> Option<T> {
        self.pass_on(msg(), ctx, Crew::take_free);
        None
    }
}

impl<A: Receives<M>, M: Keyed> Handler<M> for Pool<A, ByKey> {
    fn handle(&mut self, _: M, _: &mut Context<Self>) -> M::Reply {
        unreachable!("a worker replies")
    }

    fn __handle<T>(
        &mut self,
        msg: impl FnOnce() -> M,
        ctx: &mut Context<Self>,
        _: impl FnOnce(M::Reply) -> T,
    ) -> Option<T> {
        let msg = msg();
        let mut hasher = DefaultHasher::new();
        msg.key().hash(&mut hasher);
        let index = (hasher.finish() % self.len as u64) as usize;
        self.pass_on(msg, ctx, |crew| crew.take_at(index, A::MAILBOX.capacity));
        None
    }
}

impl<A: Actor, R: 'static> Child<Pool<A, R>> {
    /// Makes a child that is a [`Pool`], which the factory describes: for the first time and for each restart.
    ///
    /// What is queued in the pool survives a restart of the pool, as any child's queue does; its workers are new actors then. A
    /// [`tree`](SupervisorAddr::tree) shows them below the pool.
    ///
    /// ```
    /// use green::actor::{Actor, Child, Pool, Supervisor};
    /// use std::time::Duration;
    /// # #[derive(Default)]
    /// # struct Resizer;
    /// # impl Actor for Resizer {}
    /// let pool = Child::pool("resize", || Pool::shared(8, Resizer::default)).shutdown(Duration::from_secs(5));
    /// let sup = Supervisor::one_for_one().child(pool).start()?;
    /// let resize = sup.get::<Pool<Resizer>>("resize").unwrap();
    /// assert_eq!(sup.tree().find("resize").unwrap().children.len(), 8);
    /// # let _ = resize;
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    pub fn pool(name: impl AsRef<str>, factory: impl FnMut() -> Pool<A, R> + Send + 'static) -> Self {
        let mut factory = factory;
        let nested = TableSlot::new();
        let of_pool = nested.clone();
        // The workers of each life have a supervisor of their own, and the last one may not have ended.
        let make = move || Pool { table: of_pool.renew(), ..factory() };
        Child::new(name, make).with_children(nested)
    }
}

impl<A, R> fmt::Debug for Pool<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("of", &type_name::<A>()).field("workers", &self.len).finish_non_exhaustive()
    }
}
