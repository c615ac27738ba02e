//! What a worker does at this moment, seen from outside though it goes on: a signal interrupts it ([`ask`]), and its handler notes where it stands.

use std::panic::Location;
use std::ptr;

use crate::base::lock::Lock;
use crate::park::current::WorkerContext;
use crate::sched::remote::{Remote, WatchedWorker};
use crate::sched::worker::Worker;
use crate::stack;
use crate::sys::ask::{Interrupted, ask};
use crate::sys::clock::NEVER;
use crate::sys::fork::PerProcess;
use crate::sys::stack_walk::StackCopy;
use crate::task::Header;
use crate::task::id::ThreadId;

/// Of a stack, so much is copied: its innermost frames.
const STACK: usize = 64 << 10;
/// Of a name, so many bytes.
const NAME: usize = 64;

/// A worker in a turn, at one moment.
#[derive(Debug)]
pub(crate) struct Sample {
    /// The number of the turn.
    pub(crate) turn: u32,
    /// Only compared.
    pub(crate) header: *const Header,
    pub(crate) thread: ThreadIdentity,
    /// Where the thread stands. `None`: elsewhere than on its own stack.
    pub(crate) stack: Option<StackCopy>,
    /// Other threads of the worker are ready.
    pub(crate) has_ready: bool,
    /// When its next timer is due.
    pub(crate) timer_ns: u64,
}

/// Which thread it is.
#[derive(Clone, Debug)]
pub(crate) struct ThreadIdentity {
    pub(crate) id: ThreadId,
    /// Its beginning, if it is long.
    pub(crate) name: Option<Box<str>>,
    pub(crate) spawned_at: &'static Location<'static>,
}

/// What the handler writes.
struct Notes {
    worker: *const Worker,
    turn: u32,
    header: *const Header,
    id: Option<(ThreadId, &'static Location<'static>)>,
    name: [u8; NAME],
    /// `None`: it has no name.
    name_len: Option<usize>,
    at: Interrupted,
    /// In a block of their own: a green stack has no room for them.
    words: Box<[usize]>,
    /// How many of them there are.
    len: usize,
    has_ready: bool,
    timer_ns: u64,
}

// SAFETY: the pointers are followed in the handler only, on the worker's own OS thread, while the worker does not end.
unsafe impl Send for Notes {}

/// One asks at a time.
static NOTES: PerProcess<Lock<Notes>> = PerProcess::new(|| {
    Lock::new(Notes {
        worker: ptr::null(),
        turn: 0,
        header: ptr::null(),
        id: None,
        name: [0; NAME],
        name_len: None,
        at: Interrupted { place: 0, registers: [0; 4] },
        words: vec![0; STACK / size_of::<usize>()].into(),
        len: 0,
        has_ready: false,
        timer_ns: NEVER,
    })
});

/// The turn that a worker is in. `None`: it runs no thread, or does not answer within `patience_ns`.
pub(crate) fn sample(remote: &Remote, patience_ns: u64) -> Option<Sample> {
    let watched = remote.watched.lock();
    sample_of(watched.as_ref()?, patience_ns)
}

/// The number of the present turn of a worker, or of its last one.
pub(crate) fn turn(watched: &WatchedWorker) -> u32 {
    // SAFETY: invariant 2 of the worker; who has `watched` has the lock, so the worker has not ended. Of it only atomics are touched.
    unsafe { (*watched.here.cast::<Worker>()).clock.turns() }
}

/// As [`sample`], for one that has the lock.
pub(crate) fn sample_of(watched: &WatchedWorker, patience_ns: u64) -> Option<Sample> {
    // SAFETY: as in `turn`.
    if unsafe { WorkerContext::current_of(watched.here) }.is_null() {
        return None;
    }
    let mut notes = NOTES.get().lock();
    notes.worker = watched.here.cast();
    notes.id = None;
    // SAFETY: the worker does not end while the caller has the lock; it is that OS thread's; the notes are this function's until `ask` returns.
    let answered = unsafe { ask(&watched.os, patience_ns, note, (&raw mut *notes).cast()) };
    let (id, spawned_at) = notes.id.filter(|_| answered)?;
    let name = notes.name_len.map(|len| String::from_utf8_lossy(&notes.name[..len]).into());
    let Interrupted { place, registers } = notes.at;
    let stack = (notes.len > 0).then(|| StackCopy { place, registers, words: notes.words[..notes.len].to_vec() });
    Some(Sample {
        turn: notes.turn,
        header: notes.header,
        thread: ThreadIdentity { id, name, spawned_at },
        stack,
        has_ready: notes.has_ready,
        timer_ns: notes.timer_ns,
    })
}

/// In the handler, on the worker's own OS thread, which may stand anywhere. What it reads may be half changed by the code that was interrupted, but for the
/// thread that runs: that is alive as long as it is the current one.
fn note(notes: *mut (), at: &Interrupted) {
    // SAFETY: `sample_of` passes it, and waits.
    let notes = unsafe { &mut *notes.cast::<Notes>() };
    // SAFETY: the worker has not ended, and this is its OS thread.
    let worker = unsafe { &*notes.worker };
    notes.turn = worker.clock.turns();
    let Some(thread) = worker.here().current() else { return };
    notes.header = thread;
    notes.id = Some((ThreadId::of(thread), thread.spawned_at));
    notes.name_len = thread.name().map(|name| {
        let len = name.len().min(NAME);
        notes.name[..len].copy_from_slice(&name.as_bytes()[..len]);
        len
    });
    // In a runtime whose threads move, others may change what is ready and the timers at this very moment; and they see to them.
    let is_own = !worker.shared.moves;
    notes.has_ready = is_own && (worker.queues.has_ready() || !worker.here().woken.get().is_null());
    // Of the wheel a few words are read; one that is half changed gives a wrong time.
    notes.timer_ns =
        if is_own { worker.here().wheel.try_borrow().map_or(NEVER, |wheel| wheel.next_ns()) } else { NEVER };
    notes.at = *at;
    let [sp, ..] = at.registers;
    let top = stack::top_above(sp).filter(|_| sp.is_multiple_of(size_of::<usize>()));
    notes.len = top.map_or(0, |top| (top - sp).min(STACK) / size_of::<usize>());
    let from = ptr::with_exposed_provenance::<usize>(sp);
    for (at, word) in notes.words[..notes.len].iter_mut().enumerate() {
        // SAFETY: from a stack pointer into a stack up to its top all is mapped. Volatile: it is others' memory.
        *word = unsafe { from.add(at).read_volatile() };
    }
}
