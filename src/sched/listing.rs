//! Lists the threads of a runtime, for an OS thread that is none of its workers, while these go on. It needs no help from them: so it also
//! works when they are stuck.
//!
//! # Those that live on a worker
//!
//! They stand in the list of [`live`](super::live), under a [`BiasedLock`](super::biased). They are met in chunks, each in one visit to that worker's list alone: so no thread of
//! the chunk ends meanwhile, nor moves to another worker, and a thread that is met is whole. Between visits the worker may start threads and end any. What has come
//! behind the place is met later; what has come when the last was met is not. Several may list at one time.
//!
//! # Stacks that may be resumed while they are read
//!
//! ```text
//!  the thread and its worker                      the lister, in a visit
//!  T0  current := this thread; turn + 1           L1  looks at the wait word, the turn; heavy fence; at `current`
//!  T1  wait word := WAITING, epoch e
//!  T2  saves its context, leaves its stack        L2  heavy fence
//!  T3  current := another, or none                L3  not current: copies context and stack
//!  T4  the wait ends: wait word := NOTIFIED       L4  heavy fence
//!  T5  = T0; it runs                              L5  WAITING before: the wait word is the same? Then the copy is good
//!                                                     else: turn and `current` are the same?  Then the copy is good
//! ```
//!
//! **A thread that waits.** *At L3 it has left its stack.* It becomes the `current` of the worker where it lives before T1, and L1 saw T1 first; from then until T3 it is that, and L1 did not see
//! that. So T3 came before the end of L1, and L2 brings what came before T3 on that processor. *At L3 it has not come back.* It writes to its stack after T4, on whatever processor. If L3 has read any of
//! that, L4 brings T4, and L5 sees another word: no later wait has the same epoch.
//!
//! **A thread that is ready** goes on without another change of its wait word. *At L3 it is not in a turn that began before L1 read the turn*: it would be `current` from T0 on, as the fence in L1 brings
//! the first half of T0 with the second, until it has left its stack; or have another thread on top of it, see below. *If it is in a later one*, and L3 has read what it wrote there, L4 brings the turn, and
//! L5 sees another number. So of a worker that is stuck all ready threads are shown with their stacks, and of one that goes through them quickly few.
//!
//! **A thread that lets another run on top of itself** stands where it has resumed that: its side of the switch is in the other's fiber ([`Fiber::peek_beneath`]), beginning with the `current` one. It goes on
//! when that has left: then `current` is another. Where it stands is read again at L5, and must be the same: between T0 and the switch that side is an old one. (It is shown at an old
//! place if its worker loses its processor in these few instructions for as long as the look takes.)
//!
//! **A run of an actor whose stack is [handed on](Worker::hand_on)** to the next one leaves the list while it is `current`, and the next one is `current` (T0) before it is in the list. Its
//! fiber is in neither's header in between. So of neither a stack is read that the other runs on. It leaves the list and stops being `current` in one step for a visitor, as it may be freed after that.
//!
//! A copy that is not good is thrown away, nothing was
//! resumed or freed by looking, and a stack stays mapped for ever.
//!
//! What such a thread waits for is read at L3, too: see [`waits_on`](crate::park::waits_on).
//!
//! # Stacks of threads that run
//!
//! Before all else each worker that is in a turn is asked for it ([`sample`](super::sample)), by a signal. If that turn is still the present one when its
//! thread is met, the thread has stood there a moment ago.
//!
//! # Those that have not started, and live nowhere yet
//!
//! They stand in queues that others can only take from. So each is taken out, as by a thief, looked at, and queued again where any worker takes it: in
//! the injector, in the same order. For a thread that has not started that is the same as being stolen. They come first: so one that starts meanwhile is met
//! in a list after that, and not counted again. Then come those that are under way to a worker ([`given`](super::given)). In between, for the moment from being taken out of
//! a queue until it has its stack, a thread is in none of them, and may be missed.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::mem;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use crate::base::atomic::Ordering;
use crate::fiber::{Fiber, SavedContext};
use crate::park::current::WorkerContext;
use crate::park::on_switch;
use crate::park::waits_on::{WaitNote, WaitsOn};
use crate::sched::biased::Visitor;
use crate::sched::live::{ListPlaces, Live};
use crate::sched::queues::is_stale;
use crate::sched::remote::Remote;
use crate::sched::sample::{Sample, sample};
use crate::sched::tidy;
use crate::sched::watched::{self, LongTurn};
use crate::sched::{Shared, Worker};
use crate::sys::clock::real_ns;
use crate::sys::membarrier;
use crate::sys::peek::Peek;
use crate::sys::stack_walk::StackCopy;
use crate::task::id::ThreadId;
use crate::task::wait::WaitLook;
use crate::task::{Header, Task};

/// Threads met in one visit, while which the worker may have to wait: some 100 µs.
const CHUNK: usize = 64;
/// Of a stack, so much is copied: its innermost frames.
const STACK: usize = 64 << 10;
/// So long the workers may take, all together, to say what they run; each has its share.
const PATIENCE_NS: u64 = 50_000_000;
/// Is it known whether a thread has a fiber, and where that is suspended?
const KNOWS_FIBERS: bool = cfg!(green_backend = "asm");

/// What a thread does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Doing {
    /// It has not started.
    Unstarted,
    /// It wants to run. (Or another runs on top of it: a thread that it joins, an actor that it asks.)
    Ready,
    /// It runs, on the worker with this number.
    Runs(usize),
    /// It waits, for this.
    Waits(&'static str),
}

/// One thread, as it was at one moment.
#[derive(Debug)]
pub(crate) struct ThreadRecord {
    pub(crate) id: ThreadId,
    pub(crate) name: Option<Box<str>>,
    pub(crate) spawned_at: &'static Location<'static>,
    pub(crate) doing: Doing,
    /// The wait that it is in, of one that waits.
    pub(crate) wait: WaitLook,
    /// Of one that waits, as far as they are known: for what and whose that is; until when, in real time; how long at least.
    pub(crate) waits_on: Option<WaitsOn>,
    pub(crate) deadline_ns: Option<u64>,
    pub(crate) waited_ns: Option<u64>,
    /// Where it waits, or runs.
    pub(crate) stack: Option<StackCopy>,
}

impl ThreadRecord {
    fn new(thread: &Header, doing: Doing) -> Self {
        let name = thread.name().map(Into::into);
        Self {
            id: ThreadId::of(thread),
            name,
            spawned_at: thread.spawned_at,
            doing,
            wait: thread.look().0,
            waits_on: None,
            deadline_ns: None,
            waited_ns: None,
            stack: None,
        }
    }
}

/// Calls `each` with every thread of the runtime.
///
/// # Errors
///
/// Those of [`membarrier`], and of `each`, which ends it.
pub(crate) fn list(shared: &Arc<Shared>, mut each: impl FnMut(ThreadRecord) -> io::Result<()>) -> io::Result<()> {
    let mut samples = samples(shared);
    let peek = Peek::new();
    let walks = shared.every_remote().enumerate().map(|(number, remote)| Walk::open(shared, number, remote));
    let walks = walks.collect::<io::Result<Vec<_>>>()?;
    let mut unstarted = Unstarted { shared, met: IdSet::default(), found: Vec::new() };
    unstarted.look();
    for task in mem::take(&mut unstarted.found) {
        each(ThreadRecord::new(&task, Doing::Unstarted))?;
    }
    for walk in &walks {
        let given = walk.remote.given.map(|thread| ThreadRecord::new(thread, Doing::Unstarted));
        given.into_iter().filter(|record| unstarted.met.insert(record.id)).try_for_each(&mut each)?;
    }
    for (walk, sample) in walks.iter().zip(&mut samples) {
        loop {
            let records = walk.chunk(sample, &peek)?;
            if records.is_empty() {
                break;
            }
            // Threads that move may be in another list by now, and so may an actor that ran there and runs again, or behind the place in this one.
            let again = shared.moves || shared.has_had_actors();
            let mut met = |id| if again { !unstarted.met.insert(id) } else { unstarted.met.contains(id) };
            records.into_iter().filter(|record| !met(record.id)).try_for_each(&mut each)?;
        }
    }
    Ok(())
}

/// What the workers run.
fn samples(shared: &Shared) -> Vec<Option<Sample>> {
    let until_ns = real_ns() + PATIENCE_NS;
    let left = (1..=shared.every_remote().count() as u64).rev();
    shared.every_remote().zip(left).map(|(remote, left)| sample(remote, share_ns(until_ns, real_ns(), left))).collect()
}

/// How long the next of so many workers may take: one that does not answer takes nothing from those after it.
fn share_ns(until_ns: u64, now_ns: u64, left: u64) -> u64 {
    until_ns.saturating_sub(now_ns) / left
}

/// The list of one worker, open, and how far it has been gone through.
struct Walk<'a> {
    shared: &'a Shared,
    number: usize,
    remote: &'static Remote,
    visitor: Visitor<'static, ListPlaces>,
    /// The number of the place there, when it has begun.
    place: Cell<Option<usize>>,
}

impl<'a> Walk<'a> {
    fn open(shared: &'a Shared, number: usize, remote: &'static Remote) -> io::Result<Self> {
        Ok(Self { shared, number, remote, visitor: remote.listed.open()?, place: Cell::new(None) })
    }

    /// Some of the threads: the first, or the next. None: that was all.
    fn chunk(&self, sample: &mut Option<Sample>, peek: &Peek) -> io::Result<Vec<ThreadRecord>> {
        let long = watched::long_turn(self.shared.identity(), self.number);
        // As long as this is there, the worker does not end, nor any thread that lives there.
        let mut places = self.visitor.visit();
        // SAFETY: as above; the reference goes first.
        let Some(live) = (unsafe { live_of(self.remote) }) else { return Ok(Vec::new()) };
        let number = self.place.get().unwrap_or_else(|| places.begin(live));
        self.place.set(Some(number));
        let place = places.at(number);
        let chunk: Vec<_> = std::iter::from_fn(|| place.next(live)).take(CHUNK).collect();
        // SAFETY: they are in the list; as above.
        unsafe { self.look_at(&chunk, long, sample, peek) }
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.place.get() {
            self.visitor.visit().leave(number);
        }
    }
}

/// The threads of a worker. `None`: it has not begun, or has ended.
///
/// # Safety
///
/// The caller has a visit there, and keeps the reference no longer.
unsafe fn live_of<'a>(remote: &Remote) -> Option<&'a Live> {
    // ORDERING: Acquire pairs with the store in `Worker::run`.
    let here = remote.here.load(Ordering::Acquire);
    // SAFETY: invariant 2 of `worker`; the worker ends when it has been inside once more.
    (!here.is_null()).then(|| unsafe { &(*here.cast::<Worker>()).live })
}

/// A worker, by what it runs.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Present {
    turn: u32,
    current: *const Header,
}

impl Present {
    /// `between` is called after the first look, before the second.
    ///
    /// # Safety
    ///
    /// The worker has begun, and does not end meanwhile.
    unsafe fn of(remote: &Remote, between: impl FnOnce() -> io::Result<()>) -> io::Result<Self> {
        // ORDERING: Acquire pairs with the store in `Worker::run`.
        let here = remote.here.load(Ordering::Acquire);
        // SAFETY: invariant 2 of `worker`, and as the caller promises; of it two atomics are read.
        unsafe {
            let turn = (*here.cast::<Worker>()).clock.turns();
            between()?;
            Ok(Self { turn, current: WorkerContext::current_of(here) })
        }
    }
}

/// What is known of a thread while it is looked at.
struct ThreadLook<'a> {
    thread: &'a Header,
    wait: WaitLook,
    record: ThreadRecord,
    note: Option<WaitNote>,
    /// What was found holds if the worker has begun no turn meanwhile.
    rests_on_turn: bool,
}

impl Walk<'_> {
    /// Steps L1 to L5.
    ///
    /// # Safety
    ///
    /// The worker does not end meanwhile, and none of the threads, which live there.
    unsafe fn look_at(
        &self,
        threads: &[NonNull<Header>],
        long: Option<LongTurn>,
        sample: &mut Option<Sample>,
        peek: &Peek,
    ) -> io::Result<Vec<ThreadRecord>> {
        // SAFETY: as the caller promises.
        let threads = threads.iter().map(|thread| unsafe { thread.as_ref() });
        let waits: Vec<(&Header, WaitLook)> = threads.map(|thread| (thread, thread.look().0)).collect();
        // SAFETY: as the caller promises.
        let present = unsafe { Present::of(self.remote, membarrier::heavy)? };
        // SAFETY: the slot of the thread that runs there; the same.
        let runs = unsafe { present.current.as_ref() };
        let beneath_of = |runs: Option<&Header>| {
            // SAFETY: the same.
            let beneath = runs.map(|thread| unsafe { Fiber::peek_beneath(thread.fiber.get()) }.collect::<Vec<_>>());
            beneath.unwrap_or_default()
        };
        let beneath = beneath_of(runs);
        // SAFETY: as the caller promises.
        let look = |(thread, wait)| unsafe { self.first_look(thread, wait, present) };
        let mut looks: Vec<ThreadLook<'_>> = waits.into_iter().map(look).collect();
        membarrier::heavy()?;
        // A sanitizer would report what is read there.
        if !cfg!(green_sanitized) && cfg!(target_os = "linux") {
            for look in &mut looks {
                // SAFETY: as the caller promises.
                unsafe { look.take_copies(present, &beneath, sample, peek) };
            }
            membarrier::heavy()?;
        }
        // SAFETY: as the caller promises.
        let is_present = unsafe { Present::of(self.remote, || Ok(()))? } == present;
        // Between `current` and the switch a thread's side of it is still that of an earlier one.
        let is_present = is_present && beneath_of(runs) == beneath;
        // Of a worker that is stuck: since then nothing there has begun to wait.
        let is_it = |long: &LongTurn| is_present && (long.turn, long.runs) == (present.turn, present.current.addr());
        let stuck_ns = long.filter(is_it).map(|long| real_ns().saturating_sub(long.since_ns));
        // SAFETY: the looks are over.
        let confirm = |look: ThreadLook<'_>| unsafe { look.confirm(is_present, stuck_ns, self.shared.virtual_time) };
        Ok(looks.into_iter().map(confirm).collect())
    }

    /// What the thread does, as it seems.
    ///
    /// # Safety
    ///
    /// As [`look_at`](Self::look_at).
    unsafe fn first_look<'t>(&self, thread: &'t Header, wait: WaitLook, present: Present) -> ThreadLook<'t> {
        // SAFETY: the slot is the thread's.
        let has_no_stack = || KNOWS_FIBERS && unsafe { Fiber::peek(thread.fiber.get()) }.is_none();
        // Those have their fibers elsewhere while they run; one with thread-locals of its own also while another such runs on top of it.
        let (is_own, has_calls) = (thread.vtable.border.is_some(), on_switch::is_marked(thread));
        // SAFETY: null, or one that lives there, as those of which the caller says so.
        let runs_own = || unsafe { present.current.as_ref() }.is_some_and(|runs| runs.vtable.border.is_some());
        let (doing, rests_on_turn) = match () {
            () if ptr::eq(present.current, thread) => (Doing::Runs(self.number), false),
            () if wait.is_waiting() => (Doing::Waits(thread.look().1), false),
            () if has_no_stack() && !(is_own && runs_own()) => (Doing::Unstarted, is_own || has_calls),
            () => (Doing::Ready, true),
        };
        ThreadLook { thread, wait, record: ThreadRecord::new(thread, doing), note: None, rests_on_turn }
    }
}

impl ThreadLook<'_> {
    /// Step L3. `beneath`: where the threads stand on top of which the present one runs.
    ///
    /// # Safety
    ///
    /// The thread does not end meanwhile.
    unsafe fn take_copies(
        &mut self,
        present: Present,
        beneath: &[SavedContext],
        sample: &mut Option<Sample>,
        peek: &Peek,
    ) {
        let thread = self.thread;
        // SAFETY: the slot is the thread's.
        let suspended = unsafe { Fiber::peek(thread.fiber.get()) };
        match self.record.doing {
            Doing::Waits(_) => {
                // SAFETY: it is mapped, see `copy`.
                self.record.stack = suspended.and_then(|suspended| unsafe { copy(&suspended, thread) });
                self.note = Some(WaitNote::read(thread, peek));
                self.record.waited_ns = suspended.and_then(|suspended| tidy::waited_ns(self.wait, suspended.note));
            }
            Doing::Ready => {
                let stands =
                    |own: SavedContext| beneath.iter().find(|other| other.top == own.top).copied().unwrap_or(own);
                // SAFETY: it is mapped, see `copy`.
                self.record.stack = suspended.map(stands).and_then(|stands| unsafe { copy(&stands, thread) });
            }
            Doing::Runs(_) => {
                let is_this = |sample: &Sample| sample.turn == present.turn && ptr::eq(sample.header, thread);
                self.record.stack = sample.take_if(|sample| is_this(sample)).and_then(|sample| sample.stack);
            }
            Doing::Unstarted => {}
        }
    }

    /// Step L5. `is_present`: the worker is in the same turn, and that has the same thread at its top; `stuck_ns`: for so long at least.
    ///
    /// # Safety
    ///
    /// As above.
    unsafe fn confirm(self, is_present: bool, stuck_ns: Option<u64>, virtual_time: bool) -> ThreadRecord {
        let mut record = self.record;
        record.wait = self.wait;
        if self.rests_on_turn && !is_present {
            (record.doing, record.stack) = (Doing::Ready, None);
        }
        if self.thread.look().0 != self.wait {
            (record.stack, record.waited_ns) = (None, None);
            record.doing = if let Doing::Waits(_) = record.doing { Doing::Ready } else { record.doing };
        } else if let Some(note) = self.note {
            // SAFETY: the two looks agree.
            (record.waits_on, record.deadline_ns) = unsafe { note.confirm() };
            record.deadline_ns = record.deadline_ns.filter(|_| !virtual_time);
            // The longer of what two have seen.
            record.waited_ns = record.waited_ns.max(stuck_ns);
        }
        record
    }
}

/// What is on a thread's stack.
///
/// # Safety
///
/// The context is the thread's own, or that of one beneath another: as they stand in blocks.
unsafe fn copy(suspended: &SavedContext, thread: &Header) -> Option<StackCopy> {
    let [sp, place, ..] = suspended.registers;
    if sp >= suspended.top || suspended.top - sp > thread.size.bytes() || !sp.is_multiple_of(size_of::<usize>()) {
        return None;
    }
    let len = (suspended.top - sp).min(STACK) / size_of::<usize>();
    let from = ptr::with_exposed_provenance::<usize>(sp);
    // SAFETY: what stands in a block is always a stack pointer into the very stack that has the block at its top, or zero; so all of it is
    // mapped. Volatile: the words may change meanwhile, and mean nothing then.
    let words = (0..len).map(|at| unsafe { from.add(at).read_volatile() }).collect();
    Some(StackCopy { place, registers: suspended.registers, words })
}

/// Numbers of threads, a bit each: those that were given out together share a word. So of a million it takes half a megabyte.
#[derive(Default)]
struct IdSet(HashMap<u64, u64>);

impl IdSet {
    fn place(id: ThreadId) -> (u64, u64) {
        (id.number() / 64, 1 << (id.number() % 64))
    }

    /// False: it was there.
    fn insert(&mut self, id: ThreadId) -> bool {
        let (place, bit) = Self::place(id);
        let word = self.0.entry(place).or_default();
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn contains(&self, id: ThreadId) -> bool {
        let (place, bit) = Self::place(id);
        self.0.get(&place).is_some_and(|word| word & bit != 0)
    }
}

/// The unstarted threads of a runtime.
struct Unstarted<'a> {
    shared: &'a Arc<Shared>,
    /// They are met once, also if they start meanwhile.
    met: IdSet,
    found: Vec<Task>,
}

impl Unstarted<'_> {
    /// Finds those that are queued now. One lister at a time: each takes out what it looks at, which another would miss.
    fn look(&mut self) {
        let turn = self.shared.listing.lock();
        self.look_at(self.shared.injector.len(), || self.shared.take_injected());
        for stealer in &self.shared.stealers {
            self.look_at(stealer.len(), || stealer.steal());
        }
        // What closures have captured may make a dump when it goes, or wait.
        drop(turn);
        // Who ends the runtime may have looked before they were back.
        if self.shared.is_over() {
            self.shared.discard_injected();
        }
    }

    fn look_at(&mut self, count: usize, take: impl Fn() -> Option<Task>) {
        for _ in 0..count {
            let Some(task) = take() else { break };
            // A joiner may have started it.
            if !is_stale(&task) && self.met.insert(ThreadId::of(&task)) {
                self.found.push(task.clone());
            }
            self.shared.inject(task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::share_ns;

    #[test]
    fn workers_that_do_not_answer_leave_time_for_those_after_them() {
        let mut now_ns = 100;
        for left in (1..=4).rev() {
            let share_ns = share_ns(140, now_ns, left);
            assert_eq!(share_ns, 10);
            now_ns += share_ns;
        }
        // One that comes late leaves less.
        assert_eq!([share_ns(140, 110, 2), share_ns(140, 150, 1)], [15, 0]);
    }
}
