//! What the workers of one runtime share.

use std::ptr::NonNull;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use crossbeam_deque::{Injector, Steal};

use crate::base::atomic::{AtomicU64, Ordering};
use crate::base::lock::{Lock, waiting};
use crate::base::report::report;
use crate::base::spin;
use crate::blocking::pool::BlockingPool;
use crate::flight::Recording;
use crate::park::interrupt::{shielded, timeout};
use crate::park::on_switch::{self, MakeSwitchCalls};
use crate::sched::deque::Stealer;
use crate::sched::idle::Idle;
use crate::sched::remote::{self, Remote, RemoteGroup};
use crate::sched::roster::Roster;
use crate::sched::runtime_name::RuntimeName;
use crate::sched::spare::SpareSlot;
use crate::sched::stop_word::StopWord;
use crate::sched::watched;
use crate::stack::{self, StackSize};
use crate::sys::clock::{after_ns, now_ns};
use crate::sys::fork::{self, PerProcess};
use crate::task::Task;
use crate::task::header::{Header, Next, Schedule};
use crate::thread_locals::ThreadLocals;

/// One runtime, as its workers and its users see it.
pub(crate) struct Shared {
    pub(crate) name: RuntimeName,
    pub(crate) remotes: Box<[&'static Remote]>,
    idle: &'static Idle,
    /// Of the spare workers ([`spare`](super::spare)), which are none of `remotes`.
    pub(crate) spares: Box<[SpareSlot]>,
    pub(crate) spares_started: AtomicU64,
    pub(crate) stealers: Box<[Stealer<Task>]>,
    /// Threads that OS threads have spawned, oldest first.
    pub(crate) injector: Injector<Task>,
    /// Had by the one that lists unstarted threads ([`listing`](super::listing)).
    pub(crate) listing: Lock<()>,
    pub(crate) stack_size: StackSize,
    /// What a spawn asks for: `stack_size`, or [`StackSize::NONE`] if threads have thread-locals of their own, or calls at their switches.
    pub(crate) spawn_size: StackSize,
    pub(crate) thread_locals: ThreadLocals,
    /// How a thread of this runtime is handed to its worker.
    pub(crate) schedule: Schedule,
    /// Threads that are ready may be taken over by another worker.
    pub(crate) moves: bool,
    pub(crate) pool: BlockingPool,
    /// Its only worker goes by virtual time.
    pub(crate) virtual_time: bool,
    /// Makes what is called at each switch of a thread.
    pub(crate) on_switch: Option<MakeSwitchCalls>,
    /// After so long in one turn a worker is reported, if somebody waits for it; 0: never.
    pub(crate) stall_limit_ns: u64,
    pub(crate) recording: Recording,
    /// The actors of a runtime that ends have so long for their `stopping`: those that end before its workers do; then, all together, those that are queued; and
    /// then those that rest.
    pub(crate) last_words: Duration,
    /// How many workers may search at one time; 0 when there is no second CPU for them to search on.
    pub(crate) searchers: u32,
    /// Threads that were spawned by others than its own.
    spawned_outside: AtomicU64,
    /// Once there was an actor.
    actors: OnceLock<ActorCalls>,
    pub(crate) roster: &'static Roster,
    stop: StopWord,
    /// [`fork::generation`] of the process that made it.
    made_in: u32,
}

/// What holds for all threads of a runtime: see the fields of [`Shared`].
pub(crate) struct Rules {
    pub(crate) stack_size: StackSize,
    pub(crate) thread_locals: ThreadLocals,
    pub(crate) moves: bool,
    pub(crate) schedule: Schedule,
    pub(crate) virtual_time: bool,
    pub(crate) on_switch: Option<MakeSwitchCalls>,
    pub(crate) stall_limit_ns: u64,
    pub(crate) recording: Recording,
    pub(crate) stopping_timeout: Duration,
}

/// What [`Shared::last_words`] is where nobody says, or the runtime is no more to be asked.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(5);

/// What a runtime asks the actors' module for.
#[derive(Clone, Copy)]
pub(crate) struct ActorCalls {
    /// Ends the actors that rest or are queued, when the runtime has ended. Gives how many messages that were told its actors have dropped since
    /// it began to end.
    pub(crate) end: fn(&Shared) -> u64,
    /// How many messages wait, and for how many actors.
    pub(crate) waiting: fn(&Shared) -> (usize, usize),
}

/// Those that may not have ended.
static RUNTIMES: PerProcess<Lock<Vec<Weak<Shared>>>> = PerProcess::new(|| Lock::new(Vec::new()));

impl Shared {
    pub(crate) fn new(
        RemoteGroup { remotes, idle, .. }: RemoteGroup,
        spares: usize,
        stealers: Box<[Stealer<Task>]>,
        rules: Rules,
        pool: BlockingPool,
        thread_name: &str,
    ) -> Arc<Self> {
        let Rules { stack_size, thread_locals, moves, schedule, virtual_time, .. } = rules;
        let Rules { on_switch, stall_limit_ns, recording, stopping_timeout: last_words, .. } = rules;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        spin::note_cpus(cpus);
        let searchers = if cpus == 1 { 0 } else { (stealers.len() / 2).min(cpus / 2) as u32 };
        let roster = remote::roster_of(remotes[0].index);
        let shared = Arc::new(Self {
            name: RuntimeName::next(thread_name),
            remotes,
            idle,
            spares: (0..spares).map(|_| SpareSlot::new()).collect(),
            spares_started: AtomicU64::new(0),
            stealers,
            injector: Injector::new(),
            listing: Lock::new(()),
            stack_size,
            spawn_size: stack_size.for_spawn(thread_locals == ThreadLocals::PerThread || on_switch.is_some()),
            thread_locals,
            schedule,
            moves,
            pool,
            virtual_time,
            on_switch,
            stall_limit_ns,
            recording,
            last_words,
            searchers,
            spawned_outside: AtomicU64::new(0),
            actors: OnceLock::new(),
            roster,
            stop: StopWord::new(),
            made_in: fork::generation(),
        });
        if stall_limit_ns != 0 {
            // SAFETY: it stays where it is until the drop, which forgets it.
            unsafe { watched::watch(NonNull::from(&*shared), &shared.name, shared.remotes.len(), stall_limit_ns) };
        }
        let mut runtimes = RUNTIMES.get().lock();
        runtimes.retain(|runtime| runtime.strong_count() > 0);
        runtimes.push(Arc::downgrade(&shared));
        drop(runtimes);
        shared
    }

    /// The runtimes of this process that have not ended.
    pub(crate) fn all() -> Vec<Arc<Self>> {
        let runtimes: Vec<_> = RUNTIMES.get().lock().iter().filter_map(Weak::upgrade).collect();
        runtimes.into_iter().filter(|runtime| !runtime.is_the_parents() && !runtime.is_over()).collect()
    }

    /// Of the workers, then of the spare ones that there have been so far.
    pub(crate) fn every_remote(&self) -> impl Iterator<Item = &'static Remote> {
        self.remotes.iter().copied().chain(self.spares.iter().map_while(SpareSlot::remote))
    }

    /// The worker's with this number.
    pub(crate) fn remote(&self, number: usize) -> &'static Remote {
        let spare = || self.spares[number - self.remotes.len()].remote().expect("it has been started");
        self.remotes.get(number).copied().unwrap_or_else(spare)
    }

    pub(crate) fn workers(&self) -> u32 {
        self.remotes.len() as u32
    }

    pub(crate) fn idle(&self) -> &'static Idle {
        self.idle
    }

    /// Are its workers those of a parent of this process?
    pub(crate) fn is_the_parents(&self) -> bool {
        self.made_in != fork::generation()
    }

    /// Identifies the runtime in the headers of its threads.
    pub(crate) fn identity(&self) -> *const () {
        std::ptr::from_ref(self).cast()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.stops()
    }

    /// From now on every thread of the runtime is cancelled, and its workers end when all are gone.
    pub(crate) fn stop(&self) {
        self.stop.stop(|| self.every_remote().for_each(Remote::notify_control));
    }

    /// It has stopped for [`last_words`](Self::last_words).
    pub(crate) fn hurry(&self) {
        self.stop.hurry(|| self.every_remote().for_each(Remote::notify_control));
    }

    /// Is the time for last words over, though there are workers?
    pub(crate) fn is_late(&self) -> bool {
        self.stop.is_late()
    }

    /// Are the workers gone? Then nobody takes what is queued.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.is_over()
    }

    /// There is an actor: `calls.end` is called when the workers are gone, and what was queued is discarded.
    #[inline]
    pub(crate) fn has_actors(&self, calls: ActorCalls) {
        self.actors.get_or_init(|| calls);
    }

    /// Has there been an actor?
    pub(crate) fn has_had_actors(&self) -> bool {
        self.actors.get().is_some()
    }

    /// How many messages wait for actors, and for how many of them.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        self.actors.get().map_or((0, 0), |actors| (actors.waiting)(self))
    }

    /// The workers have ended, or never began: discards what nobody will run, and ends what rests.
    pub(crate) fn end(&self) {
        self.stop.end();
        let lost = self.actors.get().map_or(0, |actors| (actors.end)(self));
        if lost != 0 {
            report(format_args!(
                "messages that nobody has handled when a runtime was dropped: {lost} (Runtime::shutdown has them handled)"
            ));
        }
        self.discard_injected();
    }

    /// Discards what was queued and nobody will run.
    pub(crate) fn discard_injected(&self) {
        // An actor among them has its last words here.
        let until_ns = after_ns(self.last_words);
        while let Some(task) = self.take_injected() {
            let left = Duration::from_nanos(until_ns.saturating_sub(now_ns()));
            let _ = shielded(|| timeout(left, || discard(task)));
        }
    }

    /// A thread was spawned, by one of its own threads on `worker` or by another.
    #[inline]
    pub(crate) fn count_spawn(&self, worker: Option<&Remote>) {
        match worker {
            Some(worker) => worker.counters.spawned.add(1),
            None => _ = self.spawned_outside.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// How many threads were ever spawned.
    pub(crate) fn spawned(&self) -> u64 {
        let inside: u64 = self.every_remote().map(|remote| remote.counters.spawned.get()).sum();
        inside + self.spawned_outside.load(Ordering::Relaxed)
    }

    /// Queues a thread that an OS thread has spawned, and wakes a worker for it if all that could take it sleep.
    ///
    /// # Panics
    ///
    /// In a child of fork, if the runtime is the parent's.
    pub(crate) fn inject(&self, task: Task) {
        if self.is_the_parents() {
            refused(task);
        }
        // Both may yield while another OS thread is in there.
        waiting(|| self.injector.push(task));
        if self.idle().publish_more() {
            self.notify_thief(None);
        }
    }

    /// The oldest of the threads that OS threads have spawned.
    pub(crate) fn take_injected(&self) -> Option<Task> {
        while !self.injector.is_empty() {
            match waiting(|| self.injector.steal()) {
                Steal::Success(task) => return Some(task),
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
        None
    }

    /// Is there work that a worker without any should help with?
    pub(crate) fn has_work_to_share(&self) -> bool {
        let all = || self.stealers.iter().zip(&self.remotes);
        let unstarted = || all().any(|(stealer, remote)| stealer.len() >= 2 && !remote.run_rate.is_quick());
        !self.injector.is_empty() || unstarted() || self.has_ready(2)
    }

    /// Is there an unstarted thread anywhere, or one that may be taken over, or a worker that others have to look after? The lookout's question.
    pub(crate) fn has_unstarted(&self) -> bool {
        let unstarted = !self.injector.is_empty() || self.stealers.iter().any(|stealer| !stealer.is_empty());
        unstarted || self.has_ready(1) || self.has_turns()
    }

    /// Is some worker in a turn in which others may stand in for it, and has it other threads? For one that is in none.
    fn has_turns(&self) -> bool {
        let has_others = |remote: &Remote| remote.live.load(Ordering::Relaxed) >= 2;
        self.moves
            && !self.is_stopping()
            && self.every_remote().any(|remote| remote.latch.turn().is_some() && has_others(remote))
    }

    /// Has some worker so many threads (one or two) that may be taken over?
    fn has_ready(&self, count: u32) -> bool {
        self.moves && !self.is_stopping() && self.every_remote().any(|remote| remote.latch.ready() >= count)
    }

    /// Wakes one sleeping worker, other than the caller (by its number), to search. Called after a `publish_…` that said so.
    pub(crate) fn notify_thief(&self, caller: Option<usize>) {
        self.notify_thief_for(caller, || self.has_work_to_share());
    }

    /// The same, as long as there is `work`.
    #[cold]
    #[inline(never)]
    pub(crate) fn notify_thief_for(&self, caller: Option<usize>, work: impl Fn() -> bool) {
        let (idle, count) = (self.idle(), self.remotes.len());
        let start = caller.map_or(0, |number| number + 1);
        let notify_one = || (start..start + count).map(|at| self.remotes[at % count]).any(Remote::notify_search);
        idle.notify_thief(notify_one, work);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.stall_limit_ns != 0 {
            watched::forget(self.identity());
        }
        self.end();
        // Already closed, unless the runtime was dropped by one of its own threads.
        self.pool.close();
        let spares = self.spares.iter().filter_map(SpareSlot::remote).collect();
        remote::release(RemoteGroup { remotes: std::mem::take(&mut self.remotes), idle: self.idle, spares });
    }
}

/// There are no workers in this process. The thread's reference stays: an actor's mail counts on it.
#[cold]
#[inline(never)]
fn refused(task: Task) -> ! {
    let _ = task.into_raw();
    panic!("nobody would run it: {}", fork::MESSAGE)
}

/// Drops a thread that nobody will start; its closure runs no more.
pub(crate) fn discard(task: Task) {
    let header: NonNull<Header> = task.as_ptr();
    if let Some(after_run) = task.vtable.after_run {
        // SAFETY: a re-armable task has one entry in all queues, and this is it: nobody else will touch it.
        let next = unsafe {
            on_switch::around_last(header, || (task.vtable.run)(header, false));
            after_run(header)
        };
        debug_assert_ne!(next, Next::Again, "a re-armable task that is told to end does");
        if next == Next::Rests {
            // It has ended, and is its handles' now.
            let _ = task.into_raw();
        }
    } else if task.state.claim(0) {
        stack::unreserve(task.size);
        // SAFETY: the claim was won, so the closure is there and nobody else will touch it; then the result is stored
        // and published as by a thread that was cancelled before it started.
        unsafe {
            (task.vtable.run)(header, false);
            if Header::complete(header, false, || {}) {
                (task.vtable.drop_output)(header);
            }
            (task.vtable.done)(header);
        }
    }
}
