//! The first function on the stack of a thread with thread-locals of its own: steps U1 and U3 of [`thread_locals`](crate::thread_locals).

use std::ptr::{self, NonNull};

use crate::fiber::{Border, Entry, own};
use crate::park::current::WorkerContext;
use crate::park::no_park::{OnTop, set_on_top};
use crate::sched::entry::{count_end, live};
use crate::sched::worker::Worker;
use crate::task::Header;
use crate::task::header::Main;
use crate::task::unwound::EndsBy;
use crate::thread_locals::block::{self, Block};

/// Threads with thread-locals of their own.
pub(crate) struct PerThread;

impl Main for PerThread {
    const MAIN: Entry = thread_main;
    const BORDER: Option<&'static Border> = Some(&Border { leaves, arrives });

    fn unwound(thread: &Header, how: EndsBy) {
        count_end(thread, how);
    }

    fn mark(runtime: *const ()) -> *const () {
        runtime.wrapping_byte_add(1)
    }
}

/// See [`Border::leaves`].
fn leaves(into_loop: bool) -> bool {
    Worker::current().is_some_and(|worker| {
        worker.end_own_turn(); // KEY: own-enter
        into_loop && worker.choose_next()
    })
}

/// See [`Border::arrives`].
///
/// # Safety
///
/// The word is the address of the worker on which the thread goes on.
unsafe fn arrives(word: usize) {
    // SAFETY: a worker lives longer than the turns on it.
    unsafe { WorkerContext::enter(ptr::with_exposed_provenance(word)) }; // KEY: own-worker
    if let Some(worker) = Worker::current() {
        worker.begin_own_turn(); // KEY: own-leave
    }
}

impl Worker {
    /// Chooses what runs next. The loop finds the thread where one stands that starts next, so it runs this one, whatever comes meanwhile.
    fn choose_next(&self) -> bool {
        let this = self.here().current_ptr();
        if self.here().take_yields()
            && let Some(this) = this
        {
            self.make_ready(this); // KEY: own-yields
        }
        let Some(next) = self.next_at_hand() else { return false };
        self.queues.set_next_start(next); // KEY: own-next
        // SAFETY: invariant 3 of the worker: the queue's reference keeps it alive; invariant 3 of the header: this is its home worker.
        let (header, fiber) = unsafe { (next.as_ref(), &*next.as_ref().fiber.get()) };
        header.vtable.border.is_some() && (fiber.is_some() || Some(next) == this)
    }
}

/// What the thread gets to know before it has thread-locals.
struct Beginning {
    header: NonNull<Header>,
    here: *const WorkerContext,
}

/// As [`entry::thread_main`](super::entry::thread_main), of a thread with thread-locals of its own.
///
/// # Safety
///
/// As there.
unsafe fn thread_main(thread: *mut ()) {
    let (here, block) = take_block();
    // SAFETY: `start` passes the header, and it is alive until the thread has ended.
    let header = unsafe { NonNull::new_unchecked(thread.cast::<Header>()) };
    let start = Beginning { header, here };
    // SAFETY: `start` has put the fiber that runs here into the header, and nobody looks for it there while it runs. The block is from
    // the worker's pool. What follows uses no thread-local but in `give_block`.
    unsafe { own::run(&header.as_ref().fiber, &block, on_block, (&raw const start).cast_mut().cast()) };
    give_block(block);
}

fn current<'a>() -> &'a Worker {
    Worker::current().expect("a thread runs on a worker")
}

#[inline(never)]
fn take_block() -> (*const WorkerContext, Block) {
    let worker = current();
    (ptr::from_ref(worker).cast(), worker.blocks().take())
}

/// To the worker on which the thread has ended.
#[inline(never)]
fn give_block(block: Block) {
    current().blocks().give(block);
}

/// Begins on thread-locals that have their first values.
///
/// # Safety
///
/// The worker that `here` is part of lives longer than the turns on it.
#[inline(never)]
unsafe fn begin(here: *const WorkerContext, others: OnTop) {
    block::begin();
    // SAFETY: as the caller promises.
    unsafe { WorkerContext::enter(here) }; // KEY: own-first-worker
    set_on_top(others);
}

#[inline(never)]
fn begin_first_turn() {
    current().begin_own_turn(); // KEY: own-first-leave
}

#[inline(never)]
fn end_last_turn() {
    // None: a child of fork.
    if let Some(worker) = Worker::current() {
        worker.end_own_turn(); // KEY: own-last-enter
    }
}

/// A second life.
///
/// # Safety
///
/// As [`block::renew`].
#[inline(never)]
unsafe fn renew(others: OnTop) {
    let here = WorkerContext::entered().map_or(ptr::null(), |here| here.as_ptr().cast_const());
    // SAFETY: as the caller promises; this one uses thread-locals only before. The worker goes on with this turn.
    unsafe {
        block::renew();
        begin(here, others);
    }
}

/// The life of the thread on its block. In a library that was loaded late, the crate's own thread-locals are dynamic, and [`renew`] may free them: this
/// uses none, but in functions that are not inlined. (The compiler keeps a thread-local's address over calls.)
unsafe fn on_block(start: *mut ()) {
    // SAFETY: `thread_main` passes it, and waits for the end of this.
    let Beginning { header, here } = unsafe { start.cast::<Beginning>().read() };
    // SAFETY: as `thread_main`'s caller promises; the worker lives longer than the turns on it. When `renew` is called they have been destroyed, this thread is on the
    // block, and neither this nor `live` uses thread-locals.
    unsafe {
        let others = OnTop::of_apart(header.as_ref());
        begin(here, others);
        begin_first_turn();
        live::<true>(header, block::destroy, || renew(others));
    }
    end_last_turn();
}
