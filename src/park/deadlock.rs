//! Deadlocks are named: a thread that is about to wait for a lock, an initialiser, a thread's end or a scope's, or an actor's answer, and would close a cycle of such waits, panics, or, if it
//! asks, gets an error, and all are told who waits for whom. In debug builds, and others that are told to by `cfg(green_deadlocks)`; the rest do nothing here. The rule and its proof are in the folder's PROTOCOL.md, "Deadlocks".
//!
//! # Invariants
//!
//! 1. An edge is in the table from before its thread waits until after, and removed by that thread, before it leaves the borrow of what it waits for. So what an
//!    edge in the table points to is there, under the table's lock.

use std::collections::{HashMap, HashSet};
use std::fmt::{Debug, Write};
use std::mem;
use std::panic::Location;
use std::ptr;

use crate::base::atomic::{AtomicU32, Ordering};
use crate::base::lock::Lock;
use crate::base::report::report;
use crate::park::current::{current_task, with_header};
use crate::park::possession::{Debt, Possession, may_have_given_guards};
use crate::park::wait::Wait;
use crate::sys::clock::NEVER;
use crate::sys::fork::PerProcess;
use crate::task::Task;

/// What `sync::once` calls what a thread runs for the others.
const INITIALISER: &str = "an initialiser";

/// So many cycles that asks would close are told on standard error.
const MOST_TOLD: u32 = 10;
static TOLD: AtomicU32 = AtomicU32::new(0);

/// What a thread waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WaitTarget<'a> {
    /// That who has this lets it go; what that is, in words.
    Release(&'a Possession, &'static str),
    /// The end of the thread with this id.
    End(u64),
    /// The end of all threads of the scope with this address.
    Scope(usize),
    /// That those who keep this wait from a lock let it go.
    Shared(&'a dyn SharedWait),
}

/// A wait for a lock that many may have at once, as those see it that follow edges, under the table's lock.
pub(crate) trait SharedWait: Debug {
    /// The address of the lock, by which others that wait for it are known.
    fn lock(&self) -> usize;

    /// The threads that have the lock, and so keep this one out.
    fn holders(&self) -> Vec<u64>;

    /// Since when one of them has it, in words.
    fn since(&self, holder: u64) -> Option<String>;

    /// Does it wait to read?
    fn reads(&self) -> bool;

    /// Of one that waits to write: its turn, while it keeps out those that come to read after it.
    fn writers_turn(&self) -> Option<u64>;

    /// Of one that waits to read, while it does: it stands behind the writers with lower turns.
    fn readers_turn(&self) -> Option<u64>;
}

/// The same, for the table.
#[derive(Clone, Copy)]
enum Target {
    Release(*const Possession, &'static str),
    End(u64),
    Scope(usize),
    /// An answer. Meanwhile messages of this chain are let in; 0: none.
    Answer(*const Debt, u64),
    Shared(*const dyn SharedWait),
}

/// A wait that is on.
struct WaitEdge {
    waiter: Task,
    /// Where it has begun.
    place: &'static Location<'static>,
    target: Target,
}

#[derive(Default)]
struct WaitTable {
    /// By the waiters' ids.
    edges: HashMap<u64, WaitEdge>,
    /// The threads that run in scopes, and the addresses of these.
    members: HashMap<u64, usize>,
}

// SAFETY: what the pointers in edges point to is shared, and followed under the lock (invariant 1).
unsafe impl Send for WaitTable {}

static TABLE: PerProcess<Lock<WaitTable>> = PerProcess::new(|| Lock::new(WaitTable::default()));

/// A thread's entry in the table, as long as this is there.
#[derive(Debug)]
pub(crate) struct EnteredWait {
    id: u64,
    in_scope: bool,
}

impl Drop for EnteredWait {
    fn drop(&mut self) {
        let mut table = TABLE.get().lock();
        if self.in_scope {
            table.members.remove(&self.id);
        } else {
            table.edges.remove(&self.id);
        }
    }
}

/// The calling thread is one of the scope with this address, until the result is dropped.
#[must_use]
pub(crate) fn member_of(scope: usize) -> EnteredWait {
    let id = with_header(|thread| thread.id);
    TABLE.get().lock().members.insert(id, scope);
    EnteredWait { id, in_scope: true }
}

/// The calling thread is about to wait, until the result is dropped. `None`: for a bounded time at most.
///
/// # Panics
///
/// If that would close a cycle, and the wait may be left by a panic. If not, standard error says so.
#[must_use]
#[track_caller]
pub(crate) fn about_to_wait(awaited: WaitTarget<'_>, wait: &Wait) -> Option<EnteredWait> {
    if wait.deadline_ns != NEVER || with_header(|thread| thread.limits.earliest_ns()) != NEVER {
        return None;
    }
    let target = match awaited {
        WaitTarget::Release(possession, what) => Target::Release(ptr::from_ref(possession), what),
        WaitTarget::End(thread) => Target::End(thread),
        WaitTarget::Scope(scope) => Target::Scope(scope),
        WaitTarget::Shared(shared) => {
            // SAFETY: only the lifetime is another; invariant 1 sees to it.
            Target::Shared(unsafe { mem::transmute::<&dyn SharedWait, *const (dyn SharedWait + 'static)>(shared) })
        }
    };
    let panics = wait.is_interruptible() && !std::thread::panicking();
    let (entered, closed) = enter(target, if panics { Waits::Unclosed } else { Waits::Anyway });
    if let Some(ClosedCycle { message, .. }) = closed {
        if panics {
            panic!("{message}");
        }
        report(format_args!("{message}"));
    }
    entered
}

/// The calling thread has asked an actor, and is about to wait for what that owes, until the result is dropped; it lets messages of the chain `lets_in` in meanwhile (0: none).
/// `Ok(None)`: within a `timeout`.
///
/// # Errors
///
/// That would close a cycle, of which standard error is told, the first few times: the actors in it, beginning with the caller, if it is one.
#[track_caller]
pub(crate) fn about_to_ask(owed: &Debt, lets_in: u64) -> Result<Option<EnteredWait>, Vec<NamedActor>> {
    if with_header(|thread| thread.limits.earliest_ns()) != NEVER {
        return Ok(None);
    }
    let (entered, closed) = enter(Target::Answer(ptr::from_ref(owed), lets_in), Waits::Unclosed);
    closed.map_or(Ok(entered), |closed| Err(closed.tell()))
}

/// An actor that waits, or is about to, for what `wanted` says, is refused: these actors wait for one another, as they have found out themselves. Standard error is told of that, as by
/// [`about_to_ask`]; not within a `timeout`. Where each waits, and for what, is known of the calling thread, and of those that have entered an edge by now.
#[track_caller]
pub(crate) fn refused_to_wait<'a>(
    actors: impl ExactSizeIterator<Item = (u64, Option<&'a str>)> + Clone,
    wanted: &'static str,
) {
    if with_header(|thread| thread.limits.earliest_ns()) != NEVER {
        return;
    }
    let mut text = headline(actors.len());
    let (own, here) = (with_header(|thread| thread.id), Location::caller());
    let named = |(id, name): (u64, Option<&str>)| match name {
        Some(name) => format!("actor {id} {name:?}"),
        None => format!("actor {id}"),
    };
    let table = TABLE.get().lock();
    for (actor, next) in actors.clone().zip(actors.cycle().skip(1)) {
        let entered = table.edges.get(&actor.0).map(|edge| (edge.place, edge.target));
        let waits = match entered {
            _ if actor.0 == own => format!(" at {here} for {wanted}"),
            Some((place, Target::Answer(..))) => format!(" at {place} for a reply of"),
            Some((place, _)) => format!(" at {place} for"),
            None => " for".to_owned(),
        };
        let _ = write!(text, "\n  {} waits{waits} {}", named(actor), named(next));
    }
    drop(table);
    tell(&text);
}

/// An actor's number, and its name if it has one.
pub(crate) type NamedActor = (u64, Option<Box<str>>);

/// What is told of a cycle.
struct ClosedCycle {
    message: String,
    actors: Vec<NamedActor>,
}

impl ClosedCycle {
    /// For one that asks: the program is told by the error, and may expect it.
    fn tell(self) -> Vec<NamedActor> {
        tell(&self.message);
        self.actors
    }
}

fn tell(message: &str) {
    match TOLD.fetch_add(1, Ordering::Relaxed) {
        told if told < MOST_TOLD => report(format_args!("{message}")),
        MOST_TOLD => report(format_args!("deadlock: and others, of which each asker is told")),
        _ => {}
    }
}

fn headline(threads: usize) -> String {
    match threads {
        1 => "deadlock: a thread waits for itself".to_owned(),
        count => format!("deadlock: {count} threads wait for one another"),
    }
}

/// Does a thread wait that has entered its edge?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    Anyway,
    /// If it closes no cycle.
    Unclosed,
}

/// Steps D1 and D2, of the calling thread. The cycle that it closes, if it does. Who does not wait then, is out of the table before another can look.
#[track_caller]
fn enter(target: Target, waits: Waits) -> (Option<EnteredWait>, Option<ClosedCycle>) {
    let waiter = current_task();
    let id = waiter.id;
    let mut table = TABLE.get().lock();
    table.edges.insert(id, WaitEdge { waiter, place: Location::caller(), target });
    let cycle = table.cycle_of(id);
    let closed = cycle.map(|cycle| ClosedCycle { message: table.describe(&cycle), actors: table.actors(&cycle) });
    if waits == Waits::Unclosed && closed.is_some() {
        table.edges.remove(&id);
        return (None, closed);
    }
    (Some(EnteredWait { id, in_scope: false }), closed)
}

impl WaitTable {
    /// What the thread waits for: the others that it would have to wait for. None: it does not wait, or is about to go on.
    fn awaited_by(&self, id: u64) -> Vec<u64> {
        let Some(edge) = self.edges.get(&id).filter(|edge| !edge.waiter.state.is_cancelled()) else {
            return Vec::new();
        };
        match edge.target {
            // SAFETY: invariant 1.
            Target::Release(possession, what) => match unsafe { (*possession).holder() } {
                0 => Vec::new(),
                holder if what != INITIALISER && self.may_have_given(holder) => Vec::new(),
                holder => vec![holder],
            },
            // SAFETY: invariant 1.
            Target::Answer(owed, _) => match unsafe { (*owed).debtor() } {
                0 => Vec::new(),
                debtor => vec![debtor],
            },
            Target::End(thread) => vec![thread],
            Target::Scope(scope) => self.members.iter().filter(|(_, of)| **of == scope).map(|(id, _)| *id).collect(),
            // SAFETY: invariant 1.
            Target::Shared(shared) => self.in_the_way_of(unsafe { &*shared }),
        }
    }

    fn in_the_way_of(&self, wait: &dyn SharedWait) -> Vec<u64> {
        let mut awaited = wait.holders();
        awaited.retain(|holder| !self.may_have_given(*holder));
        if !wait.reads() {
            return awaited;
        }
        let turns = self.edges.iter().filter_map(|(id, edge)| match edge.target {
            Target::Shared(other) => {
                // SAFETY: invariant 1.
                let other = unsafe { &*other };
                let same = other.lock() == wait.lock();
                Some((*id, same.then(|| other.writers_turn())??))
            }
            _ => None,
        });
        // Before that of the reader: what is behind it now was so then.
        let turns: Vec<(u64, u64)> = turns.collect();
        if let Some(own) = wait.readers_turn() {
            awaited.extend(turns.into_iter().filter(|(_, turn)| *turn < own).map(|(id, _)| id));
        }
        awaited
    }

    /// May the thread, if it waits, have given its guards to another?
    fn may_have_given(&self, holder: u64) -> bool {
        self.edges.get(&holder).is_some_and(|edge| may_have_given_guards(&edge.waiter))
    }

    /// Does `target`, if it waits, handle meanwhile what `asker` waits for?
    fn lets_in(&self, target: u64, asker: u64) -> bool {
        match (self.edges.get(&asker).map(|edge| edge.target), self.edges.get(&target).map(|edge| edge.target)) {
            // SAFETY: invariant 1.
            (Some(Target::Answer(owed, _)), Some(Target::Answer(_, chain))) => unsafe { (*owed).is_let_in(chain) },
            _ => false,
        }
    }

    /// Does the wait of the thread end only if it ends itself? The cycle then, the last first. (Not by recursion: it may be long, and a thread's stack is small.)
    fn cycle_of(&self, id: u64) -> Option<Vec<u64>> {
        let mut met = HashSet::from([id]);
        let mut path = vec![(id, self.awaited_by(id))];
        while let Some((at, left)) = path.last_mut() {
            match left.pop() {
                Some(next) if self.lets_in(next, *at) => {}
                Some(next) if next == id => return Some(path.iter().rev().map(|(id, _)| *id).collect()),
                Some(next) if met.insert(next) => path.push((next, self.awaited_by(next))),
                Some(_) => {}
                None => _ = path.pop(),
            }
        }
        None
    }

    fn describe(&self, cycle: &[u64]) -> String {
        let mut text = headline(cycle.len());
        let edges = cycle.iter().rev().filter_map(|id| self.edges.get(id));
        for (WaitEdge { waiter, place, target }, next) in edges.zip(cycle.iter().rev().cycle().skip(1)) {
            let _ = write!(text, "\n  {} waits at {place} for ", self.name(waiter.id));
            let next_name = self.name(*next);
            let _ = match target {
                Target::Answer(..) => write!(text, "a reply of {next_name}"),
                Target::Release(possession, what) => {
                    // SAFETY: invariant 1.
                    let since = unsafe { (**possession).place() };
                    let has = if *what == INITIALISER { "runs" } else { "has" };
                    write!(text, "{what}, which {next_name} {has} since {since}")
                }
                Target::End(_) => write!(text, "the end of {next_name}"),
                Target::Scope(_) => write!(text, "the end of a scope, in which {next_name} runs"),
                // SAFETY: invariant 1.
                Target::Shared(shared) => match unsafe { (**shared).since(*next) } {
                    Some(since) => write!(text, "a readers-writer lock, which {next_name} {since}"),
                    None => {
                        write!(text, "a readers-writer lock, for which {next_name} waits before it, to write")
                    }
                },
            };
        }
        text
    }

    fn name(&self, id: u64) -> String {
        let waiter = self.edges.get(&id).map(|edge| &edge.waiter);
        let what = if waiter.is_some_and(is_actor) { "actor" } else { "thread" };
        match waiter.and_then(|waiter| waiter.name()) {
            Some(name) => format!("{what} {id} {name:?}"),
            None => format!("{what} {id}"),
        }
    }

    fn actors(&self, cycle: &[u64]) -> Vec<NamedActor> {
        let waiters = cycle.iter().rev().filter_map(|id| Some((*id, &self.edges.get(id)?.waiter)));
        waiters.filter(|(_, waiter)| is_actor(waiter)).map(|(id, waiter)| (id, waiter.name().map(Box::from))).collect()
    }
}

/// Actors are the only tasks that run again.
fn is_actor(task: &Task) -> bool {
    task.vtable.after_run.is_some()
}
