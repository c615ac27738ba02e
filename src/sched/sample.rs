//! Where the thread that runs on a worker stands, seen from outside while it goes on.
//!
//! Of a worker that waits in a system call the system says it, and the stack is read as it lies there. Any other is interrupted by a signal, whose handler notes it
//! ([`ask`]). Who waits in a call is sent no signal: that would end some calls with EINTR. (One that enters a call
//! between the look and the signal may meet that; it is as with any signal.)

use std::ptr;

use crate::base::lock::Lock;
use crate::park::current::WorkerContext;
use crate::sched::remote::{Remote, WatchedWorker};
use crate::sched::worker::Worker;
use crate::stack;
use crate::sys::ask::{Interrupted, ask};
use crate::sys::fork::PerProcess;
use crate::sys::stack_walk::StackCopy;
use crate::sys::system_thread::{OsActivity, OsCall};
use crate::task::Header;

/// Of a stack, so much is copied: its innermost frames.
const STACK: usize = 64 << 10;

/// A worker in a turn, at one moment.
#[derive(Debug)]
pub(crate) struct Sample {
    /// The number of the turn.
    pub(crate) turn: u32,
    /// Only compared.
    pub(crate) header: *const Header,
    /// Where the thread stands. `None`: elsewhere than on its own stack.
    pub(crate) stack: Option<StackCopy>,
}

/// What the handler writes.
struct Notes {
    worker: *const Worker,
    turn: u32,
    header: *const Header,
    at: Interrupted,
    /// In a block of their own: a green stack has no room for them.
    words: Box<[usize]>,
    /// How many of them there are.
    len: usize,
}

// SAFETY: the pointers are followed in the handler only, on the worker's own OS thread, while the worker does not end.
unsafe impl Send for Notes {}

/// One asks at a time.
static NOTES: PerProcess<Lock<Notes>> = PerProcess::new(|| {
    Lock::new(Notes {
        worker: ptr::null(),
        turn: 0,
        header: ptr::null(),
        at: Interrupted { place: 0, registers: [0; 4] },
        words: vec![0; STACK / size_of::<usize>()].into(),
        len: 0,
    })
});

/// The turn that a worker is in. `None`: it runs no thread, or does not answer within `patience_ns`.
pub(crate) fn sample(remote: &Remote, patience_ns: u64) -> Option<Sample> {
    let watched = remote.watched.lock();
    let watched = watched.as_ref()?;
    sample_of(watched, watched.os.activity(), patience_ns)
}

/// The number of the present turn of a worker, or of its last one.
pub(crate) fn turn(watched: &WatchedWorker) -> u32 {
    // SAFETY: invariant 2 of the worker; who has `watched` has the lock, so the worker has not ended. Of it only atomics are touched.
    unsafe { (*watched.here.cast::<Worker>()).clock.turns() }
}

/// What a worker runs, as an address that is only compared; 0: nothing.
pub(super) fn runs(watched: &WatchedWorker) -> usize {
    // SAFETY: as above.
    unsafe { WorkerContext::current_of(watched.here) }.addr()
}

/// As [`sample`], for one that has the lock and has just seen what the OS thread does.
pub(crate) fn sample_of(watched: &WatchedWorker, activity: OsActivity, patience_ns: u64) -> Option<Sample> {
    match activity {
        OsActivity::Runs => sample_by_signal(watched, patience_ns),
        OsActivity::InCall(call) => sample_in_call(watched, call),
        OsActivity::Unknown => None,
    }
}

fn sample_by_signal(watched: &WatchedWorker, patience_ns: u64) -> Option<Sample> {
    // SAFETY: as in `turn`.
    if unsafe { WorkerContext::current_of(watched.here) }.is_null() {
        return None;
    }
    let mut notes = NOTES.get().lock();
    notes.worker = watched.here.cast();
    notes.header = ptr::null();
    // SAFETY: the worker does not end while the caller has the lock; it is that OS thread's; the notes are this function's until `ask` returns.
    let answered = unsafe { ask(&watched.os, patience_ns, note, (&raw mut *notes).cast()) };
    if !answered || notes.header.is_null() {
        return None;
    }
    let Interrupted { place, registers } = notes.at;
    let stack = (notes.len > 0).then(|| StackCopy { place, registers, words: notes.words[..notes.len].to_vec() });
    Some(Sample { turn: notes.turn, header: notes.header, stack })
}

/// The frame pointer and the base register are not known: so a walk may end early, where a function needs one that no callee has stored.
fn sample_in_call(watched: &WatchedWorker, call: OsCall) -> Option<Sample> {
    let turn_before = turn(watched);
    // SAFETY: as in `turn`.
    let header = unsafe { WorkerContext::current_of(watched.here) };
    // A sanitizer would report what is read there.
    let len = if cfg!(green_sanitized) { 0 } else { words_above(call.sp) };
    let mut words = vec![0; len];
    // SAFETY: `len` words above the stack pointer are on its stack.
    unsafe { copy_words(call.sp, &mut words) };
    // It has stood there all the time.
    let is_whole = watched.os.activity() == OsActivity::InCall(call) && turn(watched) == turn_before;
    let registers = [call.sp, call.place, 0, 0];
    let stack = (len > 0).then_some(StackCopy { place: call.place, registers, words });
    (is_whole && !header.is_null()).then_some(Sample { turn: turn_before, header, stack })
}

/// In the handler, on the worker's own OS thread, which may stand anywhere. What it reads may be half changed by the code that was interrupted, but for the
/// thread that runs: that is alive as long as it is the current one.
fn note(notes: *mut (), at: &Interrupted) {
    // SAFETY: `sample_by_signal` passes it, and waits.
    let notes = unsafe { &mut *notes.cast::<Notes>() };
    // SAFETY: the worker has not ended, and this is its OS thread.
    let worker = unsafe { &*notes.worker };
    notes.turn = worker.clock.turns();
    let Some(thread) = worker.here().current() else { return };
    notes.header = thread;
    notes.at = *at;
    let [sp, ..] = at.registers;
    notes.len = words_above(sp);
    // SAFETY: so many are on that stack.
    unsafe { copy_words(sp, &mut notes.words[..notes.len]) };
}

/// How many words of a green stack above this stack pointer are copied; 0: it is none, or overflows.
fn words_above(sp: usize) -> usize {
    let top = stack::top_above(sp).filter(|_| sp.is_multiple_of(size_of::<usize>()));
    top.map_or(0, |top| (top - sp).min(STACK) / size_of::<usize>())
}

/// # Safety
///
/// From `sp` upwards so many words are mapped: they are a green stack's, which stays mapped for ever.
unsafe fn copy_words(sp: usize, words: &mut [usize]) {
    let from = ptr::with_exposed_provenance::<usize>(sp);
    for (at, word) in words.iter_mut().enumerate() {
        // SAFETY: as the caller promises. Volatile: it is others' memory, and means nothing if it changes meanwhile.
        *word = unsafe { from.add(at).read_volatile() };
    }
}
