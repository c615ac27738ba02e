//! Lists the threads of a runtime, for an OS thread that is none of its workers, while these go on. It needs no help from them: so it also
//! works when they are stuck.
//!
//! # Those that live on a worker
//!
//! They stand in the list of [`live`](super::live), under a [`BiasedLock`](super::biased). They are met in chunks, each in one visit: so no thread of
//! the chunk ends meanwhile, and a thread that is met is whole. Between visits the worker may start threads and end any. What has come
//! behind the place is met later; what has come when the last was met is not.
//!
//! # Stacks that may be resumed while they are read
//!
//! ```text
//!  the thread and its worker                      the lister, in a visit
//!  T1  wait word := WAITING, epoch e              L1  looks at the wait word; heavy fence; at all `current`s
//!  T2  saves its context, leaves its stack        L2  heavy fence
//!  T3  current := another, or none                L3  if WAITING and not current: copies context and stack
//!  T4  the wait ends: wait word := NOTIFIED       L4  heavy fence
//!  T5  current := this thread; it runs            L5  the wait word is the same? Then the copy is good
//! ```
//!
//! *At L3 the thread has left its stack.* It becomes some worker's `current` before T1, and L1 saw T1 first; from then until T3 it is one, and L1 did not see
//! that. So T3 came before the end of L1, and L2 brings what came before T3 on that processor. *At L3 it has not come back.* It writes to its stack after T4, on whatever processor. If L3 has read any of
//! that, L4 brings T4, and L5 sees another word: no later wait has the same epoch. A copy that is not good is thrown away, nothing was
//! resumed or freed by looking, and a stack stays mapped for ever.
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
//! in a list after that, and not counted again. In between, for the moment from being taken out of a queue until it has its stack, or in
//! the inbox of a worker that it is sent to, a thread is in neither, and may be missed.

use std::collections::HashSet;
use std::io;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use crossbeam_deque::{Steal, Stealer};

use crate::base::atomic::Ordering;
use crate::base::lock::LockGuard;
use crate::fiber::Fiber;
use crate::park::current::WorkerContext;
use crate::sched::biased::Visitor;
use crate::sched::live::{ListPlace, Live};
use crate::sched::remote::Remote;
use crate::sched::sample::{Sample, sample};
use crate::sched::{Shared, Worker};
use crate::sys::clock::real_ns;
use crate::sys::membarrier;
use crate::sys::stack_walk::StackCopy;
use crate::task::id::ThreadId;
use crate::task::wait::WaitLook;
use crate::task::{Header, Task};

/// Threads met in one visit, while which the worker may have to wait: some 100 µs.
const CHUNK: usize = 64;
/// Of a stack, so much is copied: its innermost frames.
const STACK: usize = 64 << 10;
/// So long the workers may take, all together, to say what they run.
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
    /// Where it waits, or runs.
    pub(crate) stack: Option<StackCopy>,
}

impl ThreadRecord {
    fn new(thread: &Header, doing: Doing) -> Self {
        let name = thread.name().map(Into::into);
        Self { id: ThreadId::of(thread), name, spawned_at: thread.spawned_at, doing, stack: None }
    }
}

/// Calls `each` with every thread of the runtime.
///
/// # Errors
///
/// Those of [`membarrier`], and of `each`, which ends it.
pub(crate) fn list(shared: &Arc<Shared>, mut each: impl FnMut(ThreadRecord) -> io::Result<()>) -> io::Result<()> {
    let mut samples = samples(shared);
    let visitors = shared.every_remote().map(|remote| remote.listed.open()).collect::<io::Result<Vec<_>>>()?;
    let mut unstarted = Unstarted { shared, met: HashSet::new() };
    unstarted.list(shared.injector.len(), || shared.take_injected(), &mut each)?;
    for stealer in &shared.stealers {
        unstarted.list(stealer.len(), || steal(stealer), &mut each)?;
    }
    for number in 0..visitors.len() {
        let mut begun = false;
        loop {
            let records = Visit::new(shared, &visitors).chunk(number, !begun, &mut samples)?;
            begun = true;
            if records.is_empty() {
                break;
            }
            // Threads that move may be in another list by now.
            let mut met = |id| if shared.moves { !unstarted.met.insert(id) } else { unstarted.met.contains(&id) };
            records.into_iter().filter(|record| !met(record.id)).try_for_each(&mut each)?;
        }
    }
    Ok(())
}

/// What the workers run.
fn samples(shared: &Shared) -> Vec<Option<Sample>> {
    let until_ns = real_ns() + PATIENCE_NS;
    shared.every_remote().map(|remote| sample(remote, until_ns.saturating_sub(real_ns()))).collect()
}

/// As long as there is one, no worker of a runtime ends, nor any thread that lives there.
struct Visit<'a> {
    shared: &'a Shared,
    places: Vec<LockGuard<'a, ListPlace>>,
}

impl<'a> Visit<'a> {
    fn new(shared: &'a Shared, visitors: &'a [Visitor<'_, ListPlace>]) -> Self {
        Self { shared, places: visitors.iter().map(Visitor::visit).collect() }
    }

    /// Some of the threads of one worker: the first, or the next. None: that was all.
    fn chunk(mut self, number: usize, first: bool, samples: &mut [Option<Sample>]) -> io::Result<Vec<ThreadRecord>> {
        // SAFETY: `self` is there, and goes last.
        let Some(live) = (unsafe { live_of(self.shared.remote(number)) }) else { return Ok(Vec::new()) };
        let place = &mut self.places[number];
        if first {
            place.begin(live);
        }
        let chunk: Vec<_> = std::iter::from_fn(|| place.next(live)).take(CHUNK).collect();
        // SAFETY: they are in the list; as above.
        unsafe { look_at(self.shared, &chunk, samples) }
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

/// Steps L1 to L5.
///
/// # Safety
///
/// No worker ends meanwhile, and none of the threads.
unsafe fn look_at(
    shared: &Shared,
    threads: &[NonNull<Header>],
    samples: &mut [Option<Sample>],
) -> io::Result<Vec<ThreadRecord>> {
    // SAFETY: as the caller promises.
    let waits: Vec<WaitLook> = threads.iter().map(|thread| unsafe { thread.as_ref() }.look().0).collect();
    membarrier::heavy()?;
    // SAFETY: as the caller promises.
    let running: Vec<_> = shared.every_remote().map(|remote| unsafe { current_of(remote) }).collect();
    let look = |(thread, wait): (&NonNull<Header>, WaitLook)| {
        // SAFETY: as the caller promises.
        let thread = unsafe { thread.as_ref() };
        let reason = thread.look().1;
        let doing = match running.iter().position(|running| ptr::eq(*running, thread)) {
            Some(worker) => Doing::Runs(worker),
            None if wait.is_waiting() => Doing::Waits(reason),
            // SAFETY: the slot is the thread's.
            None if KNOWS_FIBERS
                && thread.vtable.border.is_none()
                && unsafe { Fiber::peek(thread.fiber.get()) }.is_none() =>
            {
                Doing::Unstarted
            }
            None => Doing::Ready,
        };
        (wait, ThreadRecord::new(thread, doing))
    };
    let mut records: Vec<(WaitLook, ThreadRecord)> = threads.iter().zip(waits).map(look).collect();
    // A sanitizer would report what is read there.
    if cfg!(green_sanitized) || !cfg!(target_os = "linux") {
        return Ok(records.into_iter().map(|(_, record)| record).collect());
    }
    membarrier::heavy()?;
    for (thread, (_, record)) in threads.iter().zip(&mut records) {
        match record.doing {
            // SAFETY: as the caller promises.
            Doing::Waits(_) => record.stack = unsafe { copy(thread.as_ref()) },
            Doing::Runs(worker) => {
                // SAFETY: as the caller promises.
                let turn = unsafe { turn_of(shared.remote(worker)) };
                let is_this = |sample: &Sample| Some(sample.turn) == turn && ptr::eq(sample.header, thread.as_ptr());
                record.stack = samples[worker].take_if(|sample| is_this(sample)).and_then(|sample| sample.stack);
            }
            _ => {}
        }
    }
    membarrier::heavy()?;
    let checked = threads.iter().zip(records).map(|(thread, (wait, mut record))| {
        // SAFETY: as the caller promises.
        if unsafe { thread.as_ref() }.look().0 != wait {
            record.stack = None;
            record.doing = if let Doing::Waits(_) = record.doing { Doing::Ready } else { record.doing };
        }
        record
    });
    Ok(checked.collect())
}

/// The thread that runs on a worker.
///
/// # Safety
///
/// The worker does not end meanwhile.
unsafe fn current_of(remote: &Remote) -> *const Header {
    // ORDERING: Acquire pairs with the store in `Worker::run`.
    let here = remote.here.load(Ordering::Acquire);
    // SAFETY: as the caller promises.
    if here.is_null() { ptr::null() } else { unsafe { WorkerContext::current_of(here) } }
}

/// The number of a worker's present turn.
///
/// # Safety
///
/// The worker does not end meanwhile.
unsafe fn turn_of(remote: &Remote) -> Option<u32> {
    // ORDERING: Acquire pairs with the store in `Worker::run`.
    let here = remote.here.load(Ordering::Acquire);
    // SAFETY: as the caller promises: null, or a worker, of which one atomic is read.
    (!here.is_null()).then(|| unsafe { (*here.cast::<Worker>()).clock.turns() })
}

/// Step L3.
///
/// # Safety
///
/// The thread does not end meanwhile.
unsafe fn copy(thread: &Header) -> Option<StackCopy> {
    // SAFETY: the slot is the thread's.
    let suspended = unsafe { Fiber::peek(thread.fiber.get()) }?;
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

/// The unstarted threads of a runtime.
struct Unstarted<'a> {
    shared: &'a Arc<Shared>,
    /// They are met once, also if they start meanwhile.
    met: HashSet<ThreadId>,
}

impl Unstarted<'_> {
    /// Lists as many of a queue as there are now.
    fn list(
        &mut self,
        count: usize,
        take: impl Fn() -> Option<Task>,
        each: &mut impl FnMut(ThreadRecord) -> io::Result<()>,
    ) -> io::Result<()> {
        for _ in 0..count {
            let Some(task) = take() else { break };
            // A joiner may have started it.
            let is_new = !task.state.is_started() && self.met.insert(ThreadId::of(&task));
            let record = is_new.then(|| ThreadRecord::new(&task, Doing::Unstarted));
            self.put_back(task);
            record.map_or(Ok(()), &mut *each)?;
        }
        Ok(())
    }

    fn put_back(&self, task: Task) {
        self.shared.inject(task);
        if self.shared.is_over() {
            self.shared.discard_injected();
        }
    }
}

fn steal(stealer: &Stealer<Task>) -> Option<Task> {
    loop {
        match stealer.steal() {
            Steal::Success(task) => return Some(task),
            Steal::Empty => return None,
            Steal::Retry => {}
        }
    }
}
