//! The supervisor as an actor: starts its children in order, learns of their ends, starts them again, and ends them in reverse.
//!
//! Everything that changes the children is done by this actor, one after the other, and it waits for what it does: for `started` of a
//! child, and for a child's end. Only the delay before a restart is a timer. While it waits it is in the graph of waits
//! ([`await_in`]), so a child that asks its supervisor meanwhile gets `Deadlock`.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::actor::engine::cell::{Core, Strong};
use crate::actor::engine::lifecycle::{LAST_WAIT, await_in, join};
use crate::actor::engine::tell;
use crate::actor::handling::notice;
use crate::actor::supervisor::backoff::{Backoff, Intensity};
use crate::actor::supervisor::error::{ChildError, StartError};
use crate::actor::supervisor::post::{ChildSpec, Post, PostState, Restart};
use crate::actor::supervisor::table::{BroodOf, ChildEntry, Table};
use crate::actor::supervisor::watch::{Life, LifeStage, Watch};
use crate::actor::{Actor, Context, Exit, Handler, Mailbox, Message, Shutdown};
use crate::sys::clock::{NEVER, after_ns, now_ns};

const LAST_WAIT_NS: u64 = LAST_WAIT.as_nanos() as u64;

/// Which children a child's death concerns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Strategy {
    OneForOne,
    OneForAll,
    RestForOne,
    /// As `OneForOne`; its children end all at once, and are forgotten when they have ended.
    Dynamic,
}

/// Says when a supervisor ends because children that matter to it have ended by themselves.
///
/// ```
/// use green::actor::{Actor, AutoShutdown, Child, Restart, Supervisor};
/// struct Job;
/// impl Actor for Job {}
/// let batch = Supervisor::one_for_one()
///     .auto_shutdown(AutoShutdown::All)
///     .child(Child::new("job", || Job).restart(Restart::Transient).significant());
/// # let _ = batch;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AutoShutdown {
    /// Not for that reason.
    #[default]
    Never,
    /// When one significant child has ended by itself.
    Any,
    /// When the last significant child has.
    All,
}

impl AutoShutdown {
    /// As in OTP: a significant child is one that can end by itself, and that matters then.
    pub(super) fn takes(self, child: &ChildSpec) -> bool {
        !child.is_significant || (self != AutoShutdown::Never && child.restart != Restart::Permanent)
    }
}

/// The actor behind a [`SupervisorAddr`](crate::actor::SupervisorAddr): what its address is of. Nothing else can be done with it.
///
/// ```
/// use green::actor::{Addr, Supervisor, Team};
/// let sup = Supervisor::dynamic().start()?;
/// let addr: &Addr<Team> = sup.addr(); // to monitor it, or to link it
/// # let _ = addr;
/// # Ok::<(), green::actor::StartError>(())
/// ```
pub struct Team {
    pub(super) table: Arc<Table>,
    /// The number of this life there.
    pub(super) life: u64,
    pub(super) strategy: Strategy,
    pub(super) auto_shutdown: AutoShutdown,
    pub(super) intensity: Intensity,
    pub(super) backoff: Backoff,
    /// Those that `started` starts.
    pub(super) first: Vec<ChildSpec>,
    /// By the order of their starts.
    pub(super) posts: BTreeMap<u64, Post>,
    /// The last key, and the last delay, that was given.
    pub(super) last: u64,
    /// For the jitter.
    pub(super) random: u64,
}

/// A child has ended, in which of its lives.
pub(super) struct Ended {
    key: u64,
    count: u32,
}

/// A delay is over.
struct Due {
    key: u64,
    delay: u64,
}

/// What a supervisor can be asked for.
pub(super) enum Order {
    Start(ChildSpec),
    Terminate(Box<str>),
    Restart(Box<str>),
    Remove(Box<str>),
}

fn tell_ended(team: &Core, key: u64, count: u32) -> bool {
    tell::notice(team, const { &notice::<Team, Ended>() }, Ended { key, count })
}

/// Until when what was killed is waited for: not for long, and not for each of a tree that has a deadline.
fn last_wait_ns(table: &Table) -> u64 {
    after_ns(LAST_WAIT).min(table.by_ns().saturating_add(LAST_WAIT_NS))
}

impl Message for Ended {
    type Reply = ();
}

impl Message for Due {
    type Reply = ();
}

impl Message for Order {
    type Reply = Result<(), ChildError>;
}

impl Actor for Team {
    const MAILBOX: Mailbox = Mailbox::unbounded();
    // A child may take its time to start.
    const ASK_TIMEOUT: Duration = Duration::from_secs(86_400);

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
        let brood = Arc::new(BroodOf { table: Arc::clone(&self.table), life: self.life });
        ctx.core().mailbox.lock().extras().brood = Some(brood);
        for spec in std::mem::take(&mut self.first) {
            let name = Arc::clone(&spec.name);
            let error = match self.add(spec, ctx) {
                Ok(()) => continue,
                Err(ChildError::Start { name, exit }) => StartError::Child { name, exit },
                Err(_) => StartError::Duplicate((&*name).into()),
            };
            let exit = error.exit();
            self.end_all();
            self.table.say(Err(error));
            return Err(exit);
        }
        self.table.say(Ok(()));
        Ok(())
    }

    fn stopping(&mut self, why: &Exit, _: &mut Context<Self>) {
        if *why == Exit::Killed {
            self.table.kill_all(self.life);
        }
        self.end_all();
    }
}

impl Drop for Team {
    /// Where there is no `stopping`: the start was not over.
    fn drop(&mut self) {
        let _says = SaysEnded(&Arc::clone(&self.table));
        if !self.posts.is_empty() {
            self.table.kill_all(self.life);
            CountsLeft(self).0.end_all();
        }
    }
}

/// Counts the children whose ends are not waited for any more, as a wait was unwound: each as far as is known.
struct CountsLeft<'a>(&'a mut Team);

impl Drop for CountsLeft<'_> {
    fn drop(&mut self) {
        for post in self.0.posts.values().filter(|post| post.state != PostState::Over) {
            let exit = post.watch.life.with(|life| life.exit());
            let nested = post.spec.body.nested();
            post.strong
                .iter()
                .for_each(|strong| post.count(&self.0.table, strong.core(), exit.as_ref(), nested.as_deref()));
        }
    }
}

/// Says that a start has ended, also when a wait before that is unwound: who has begun it waits for that.
struct SaysEnded<'a>(&'a Table);

impl Drop for SaysEnded<'_> {
    fn drop(&mut self) {
        self.0.say(Err(StartError::Ended));
    }
}

impl Handler<Ended> for Team {
    fn handle(&mut self, Ended { key, count }: Ended, ctx: &mut Context<Self>) {
        let Some(post) = self.posts.get_mut(&key) else { return };
        let (now, exit) = post.watch.life.with(|life| (life.count, life.exit()));
        let Some(exit) = exit.filter(|_| now == count && post.state == PostState::Runs) else { return };
        if post.spec.restart.is_due(&exit) {
            return self.died(key, exit, ctx);
        }
        post.state = PostState::Over;
        post.bury();
        if self.ends_without(key) {
            ctx.stop();
        }
    }
}

impl Handler<Due> for Team {
    fn handle(&mut self, Due { key, delay }: Due, ctx: &mut Context<Self>) {
        if self.posts.get(&key).is_some_and(|post| post.state == PostState::Pending && post.delay == delay) {
            self.restart(key, ctx);
        }
    }
}

impl Handler<Order> for Team {
    fn handle(&mut self, order: Order, ctx: &mut Context<Self>) -> Result<(), ChildError> {
        let (Order::Terminate(name) | Order::Restart(name) | Order::Remove(name)) = &order else {
            let Order::Start(spec) = order else { return Err(ChildError::Closed) };
            return self.add(spec, ctx);
        };
        let key = self.table.key(name).ok_or_else(|| ChildError::Unknown(name.clone()))?;
        let Some(post) = self.posts.get_mut(&key) else { return Err(ChildError::Unknown(name.clone())) };
        match order {
            Order::Terminate(_) => {
                self.end(&[key], true);
                let post = self.posts.get(&key);
                if post.is_some_and(|post| post.is_forgotten(self.strategy)) {
                    self.forget(key);
                }
                Ok(())
            }
            Order::Restart(name) if post.state == PostState::Runs => Err(ChildError::Running(name)),
            // As in OTP: a child that waits for its restart is being restarted.
            Order::Restart(name) if post.state == PostState::Pending => Err(ChildError::Running(name)),
            Order::Restart(name) => {
                let started = post.start(&self.table, key);
                started.map_err(|exit| ChildError::Start { name, exit })
            }
            Order::Remove(name) if post.state != PostState::Over => Err(ChildError::Running(name)),
            _ => {
                self.forget(key);
                Ok(())
            }
        }
    }
}

impl Post {
    /// Starts the child and waits for `started`. If that fails, the child is vacant; if there is nothing to start, it has ended.
    fn start(&mut self, table: &Table, key: u64) -> Result<(), Exit> {
        if self.core().is_some_and(Core::is_ending) {
            self.spec.body.renew();
        }
        self.state = PostState::Runs;
        self.watch.begin();
        let guard = self.watch.guard();
        let made = self.spec.body.start(&self.watch);
        guard.disarm();
        let started = made.and_then(|made| {
            let Some(strong) = made else {
                self.watch.fail(Exit::Normal);
                self.state = PostState::Over;
                self.bury();
                return Ok(());
            };
            self.strong = Some(strong.clone());
            table.moved_in(key, strong.clone(), self.spec.body.nested());
            let came_to = |life: &mut Life| match &life.status {
                LifeStage::Starts => None,
                // It may have ended since: that is not the start's concern.
                _ if life.has_started => Some(Ok(())),
                LifeStage::Runs => None,
                LifeStage::Down(exit) => Some(Err(exit.clone())),
            };
            await_in(strong.core(), &self.watch.life, NEVER, came_to).unwrap_or_else(|error| {
                strong.core().kill();
                self.give_up(table, key);
                Err(Exit::Error(format!("its start waits for its supervisor: {error}")))
            })
        });
        if let Err(exit) = &started {
            self.watch.fail(exit.clone());
            self.state = PostState::Over;
        }
        started
    }

    /// The child does not end. When it does after all, nobody is told. Another one may be started in its place.
    fn give_up(&mut self, table: &Table, key: u64) {
        self.watch.expect(true);
        self.bury();
        self.strong = None;
        self.watch = self.watch.another();
        self.spec.body.renew();
        table.change(key, |entry| entry.watch = Arc::clone(&self.watch));
    }

    /// The child is down, and has no other life: waits, for so long, until it has ended, with its names and what was queued.
    fn end_vacant(&self, last_ns: u64) {
        if let Some(core) = self.core().filter(|core| !core.is_ended()) {
            core.bury();
            let _ = join(core, last_ns);
        }
    }

    fn core(&self) -> Option<&Core> {
        self.strong.as_ref().map(Strong::core)
    }

    /// The child has ended, and does not begin another life in this cell.
    fn bury(&self) {
        self.core().map(Core::bury);
    }

    /// Is there nothing to start again?
    fn is_forgotten(&self, strategy: Strategy) -> bool {
        let is_dynamic = strategy == Strategy::Dynamic;
        self.state == PostState::Over && (is_dynamic || self.spec.restart == Restart::Temporary)
    }

    /// Waits until the child is down.
    fn is_down_by(&self, by_ns: u64) -> bool {
        let is_down = |life: &mut Life| life.exit();
        self.core().is_none_or(|core| await_in(core, &self.watch.life, by_ns, is_down).is_ok())
    }

    /// Counts what has become of the child, and of those below it, which are in `nested`.
    fn count(&self, table: &Table, core: &Core, exit: Option<&Exit>, nested: Option<&Table>) {
        let mut tally = Shutdown::default();
        tally.count(core, exit);
        if let Some(nested) = nested {
            tally.add(if exit.is_some() { nested.tally() } else { nested.tally_so_far() });
        }
        if self.state == PostState::Pending {
            // It was down before, and nothing but its queue ends now.
            tally = Shutdown { drained: tally.drained, lost: tally.lost, ..Shutdown::default() };
        }
        table.count(tally);
    }
}

impl Team {
    fn add(&mut self, spec: ChildSpec, ctx: &Context<Self>) -> Result<(), ChildError> {
        if !self.auto_shutdown.takes(&spec) {
            return Err(ChildError::Significant((&*spec.name).into()));
        }
        self.last += 1;
        let key = self.last;
        let watch = Watch::new(ctx.core().weak(), key, tell_ended, spec.place.clone());
        let (actor, type_name) = spec.body.actor();
        let (nested, name) = (spec.body.nested(), Arc::clone(&spec.name));
        let entry = ChildEntry {
            name: Arc::clone(&name),
            actor,
            type_name,
            strong: None,
            watch: Arc::clone(&watch),
            nested,
            is_pending: false,
            restarts: 0,
        };
        if !self.table.add(key, entry) {
            return Err(ChildError::Duplicate((&*name).into()));
        }
        let post = Post { spec, watch, strong: None, state: PostState::Over, deaths: 0, delay: 0 };
        let post = self.posts.entry(key).or_insert(post);
        let started = post.start(&self.table, key);
        if started.is_err() || post.is_forgotten(self.strategy) {
            self.forget(key);
        }
        started.map_err(|exit| ChildError::Start { name: (&*name).into(), exit })
    }

    /// A child is over for good.
    fn forget(&mut self, key: u64) {
        self.table.remove(key);
        if let Some(post) = self.posts.remove(&key) {
            post.watch.expect(true);
            post.bury();
        }
    }

    /// A child has ended by itself, and is not started again. True: it mattered, and the supervisor ends, too.
    fn ends_without(&mut self, key: u64) -> bool {
        let Some(post) = self.posts.get(&key) else { return false };
        let is_significant = post.spec.is_significant;
        if post.is_forgotten(self.strategy) {
            self.forget(key);
        }
        let matters = |post: &Post| post.spec.is_significant && post.state != PostState::Over;
        match self.auto_shutdown {
            AutoShutdown::Any => is_significant,
            AutoShutdown::All => is_significant && !self.posts.values().any(matters),
            AutoShutdown::Never => false,
        }
    }

    /// A child that is to be started again has died, or could not be started.
    fn died(&mut self, key: u64, exit: Exit, ctx: &mut Context<Self>) {
        let now = now_ns();
        let is_borne = self.intensity.bears(now);
        let Some(post) = self.posts.get_mut(&key) else { return };
        post.state = PostState::Pending;
        if !is_borne {
            return ctx.fail(Exit::Escalated { child: (&*post.spec.name).into(), last: Box::new(exit) });
        }
        let backoff = post.spec.backoff.unwrap_or(self.backoff);
        let calm = u64::try_from(backoff.max().max(self.intensity.window).as_nanos()).unwrap_or(NEVER);
        // A start that fails is no life, however long it takes.
        let lived = |life: &mut Life| if life.has_started { now.saturating_sub(life.born_ns) } else { 0 };
        if post.watch.life.with(lived) > calm {
            post.deaths = 0;
        }
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let delay = backoff.delay(post.deaths, (self.random >> 11) as f64 / (1_u64 << 53) as f64);
        post.deaths = post.deaths.saturating_add(1);
        self.last += 1;
        post.delay = self.last;
        self.end_siblings(key);
        self.table.change(key, |entry| {
            entry.is_pending = true;
            entry.restarts = entry.restarts.saturating_add(1);
        });
        let due = Due { key, delay: self.last };
        if delay.is_zero() {
            // By way of the mailbox: a child that dies at once for ever does not keep the others waiting.
            tell::notice(ctx.core(), const { &notice::<Team, Due>() }, due);
        } else {
            ctx.send_after(delay, due);
        }
    }

    /// The first of those that the end of a child concerns; `None`: it concerns that child alone.
    fn first_of_group(&self, key: u64) -> Option<u64> {
        match self.strategy {
            Strategy::OneForOne | Strategy::Dynamic => None,
            Strategy::OneForAll => Some(0),
            Strategy::RestForOne => Some(key),
        }
    }

    /// Ends those that a death concerns besides the dead one.
    fn end_siblings(&mut self, key: u64) {
        let Some(first) = self.first_of_group(key) else { return };
        let others: Vec<u64> =
            self.posts.range(first..).map(|(other, _)| *other).filter(|other| *other != key).collect();
        self.end(&others, false);
        for other in others {
            let Some(post) = self.posts.get_mut(&other) else { continue };
            if post.is_forgotten(self.strategy) {
                self.forget(other);
            } else {
                // As in OTP, also one that had ended before. They wait with the dead one.
                (post.state, post.delay) = (PostState::Pending, 0);
                self.table.change(other, |entry| entry.is_pending = true);
            }
        }
    }

    /// The delay of a child is over: starts it, and those that wait with it. One that was added since it died comes after it again.
    fn restart(&mut self, key: u64, ctx: &mut Context<Self>) {
        self.end_siblings(key);
        let keys: Vec<u64> = match self.first_of_group(key) {
            None => vec![key],
            Some(first) => self.posts.range(first..).map(|(other, _)| *other).collect(),
        };
        for key in keys {
            let Some(post) = self.posts.get_mut(&key) else { continue };
            let started = post.start(&self.table, key);
            self.table.change(key, |entry| entry.is_pending = false);
            if let Err(exit) = started {
                return self.died(key, exit, ctx);
            }
            // Over: there was nothing to start.
            if post.state == PostState::Over && self.ends_without(key) {
                return ctx.stop();
            }
        }
    }

    /// Ends children in the reverse order, one after the other: stops each, gives it its time, kills it. `for_good`: they will
    /// not be started again by themselves.
    fn end(&mut self, keys: &[u64], for_good: bool) {
        for key in keys.iter().rev() {
            let stopped = self.stop_child(*key, for_good);
            self.await_child(*key, stopped, for_good);
        }
    }

    /// Stops a child, or kills it if there is no time. Gives the moment until which it has time.
    fn stop_child(&mut self, key: u64, for_good: bool) -> u64 {
        let Some(post) = self.posts.get_mut(&key) else { return 0 };
        let is_down = post.watch.expect(for_good || post.spec.restart == Restart::Temporary);
        let by_ns = after_ns(post.spec.shutdown).min(self.table.by_ns());
        let left = by_ns.saturating_sub(now_ns());
        if let Some(nested) = post.spec.body.nested() {
            nested.end_by(nested.life(), by_ns);
        }
        if let Some(core) = post.core().filter(|_| !is_down) {
            if left == 0 {
                post.kill();
            } else {
                core.stop(Exit::Shutdown, Duration::from_nanos(left));
            }
        }
        by_ns
    }

    fn await_child(&mut self, key: u64, by_ns: u64, for_good: bool) {
        let Some(post) = self.posts.get_mut(&key) else { return };
        if post.state == PostState::Over {
            return;
        }
        if !post.is_down_by(by_ns) {
            post.kill();
        }
        // Those that compute are waited for together: whoever waits for this supervisor does not wait once for each.
        let is_down = post.is_down_by(last_wait_ns(&self.table));
        let exit = post.watch.life.with(|life| life.exit());
        // One that is given up has others after that.
        let (strong, nested) = (post.strong.clone(), post.spec.body.nested());
        if !is_down {
            post.give_up(&self.table, key); // It computes.
        }
        let goes_on = !for_good && post.spec.restart != Restart::Temporary;
        self.table.change(key, |entry| entry.is_pending = goes_on);
        if !goes_on {
            post.end_vacant(last_wait_ns(&self.table));
        }
        if for_good && let Some(strong) = strong {
            post.count(&self.table, strong.core(), exit.as_ref(), nested.as_deref());
        }
        // Not before: a wait may be unwound until here.
        post.state = if goes_on { PostState::Pending } else { PostState::Over };
    }

    /// Ends all children, for good. Each is forgotten as soon as it is counted.
    fn end_all(&mut self) {
        let keys: Vec<u64> = self.posts.keys().rev().copied().collect();
        // Those of a dynamic supervisor end all at once.
        let is_dynamic = self.strategy == Strategy::Dynamic;
        let stopped: Vec<u64> = keys.iter().filter(|_| is_dynamic).map(|key| self.stop_child(*key, true)).collect();
        for (index, key) in keys.into_iter().enumerate() {
            let by_ns = stopped.get(index).copied().unwrap_or_else(|| self.stop_child(key, true));
            self.await_child(key, by_ns, true);
            self.forget(key);
        }
    }
}

impl Post {
    fn kill(&self) {
        self.core().map(Core::kill);
    }
}

impl std::fmt::Debug for Team {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Team").field("strategy", &self.strategy).field("children", &self.posts.len()).finish()
    }
}
