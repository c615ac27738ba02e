//! The one function by which every green thread is made.
//!
//! A runtime whose threads have thread-locals of their own gives [`StackSize::NONE`] for the size of a stack. Of that none is to be had, so
//! such a spawn goes on where one that is refused does, and a spawn without them has nothing to ask. The same goes for threads with calls at their switches.

use std::ffi::CString;
use std::io;
use std::mem;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::flight::{EventKind, records_all};
use crate::park::on_switch::{SwitchCalls, WithCalls};
use crate::park::os;
use crate::rt::join::JoinHandle;
use crate::sched::entry::PerWorker;
use crate::sched::own::PerThread;
use crate::sched::recording::record_all;
use crate::sched::switched::{Begins, Switched, needs_no_calls};
use crate::sched::{Shared, Worker};
use crate::stack::{self, StackSize};
use crate::sys::fork;
use crate::task::block::{self, TaskOwner};
use crate::task::header::{Main, Spec};
use crate::task::{Header, Task};
use crate::thread_locals::ThreadLocals;

/// What a thread has of its own, if anything, and the call that makes it.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) name: Option<String>,
    /// A box, so that the settings of most threads are short.
    pub(crate) custom: Option<Box<Custom>>,
    pub(crate) spawned_at: &'static Location<'static>,
}

impl Settings {
    /// Nothing of its own; made by the caller's caller.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn here() -> Self {
        Self { name: None, custom: None, spawned_at: Location::caller() }
    }
}

/// What a thread has not as its runtime's threads have it.
#[derive(Debug, Default)]
pub(crate) struct Custom {
    pub(crate) stack_size: Option<usize>,
    pub(crate) thread_locals: Option<ThreadLocals>,
    pub(crate) on_switch: Option<SwitchCalls>,
}

impl Custom {
    /// The size of the stack, and how the thread begins.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: a bad size; calls, and thread-locals of its own. `Unsupported`: those are not to be had.
    pub(crate) fn begins(self, shared: &Shared) -> io::Result<(StackSize, Begins)> {
        let (size, thread_locals) = self.resolve(shared)?;
        Ok((size, Begins::apart(shared, thread_locals, self.on_switch)))
    }

    /// The size of the stack, and whose thread-locals the thread has.
    #[cold]
    fn resolve(&self, shared: &Shared) -> io::Result<(StackSize, ThreadLocals)> {
        let size = self.stack_size.map_or(Ok(shared.stack_size), StackSize::new)?;
        if self.thread_locals == Some(ThreadLocals::PerThread) && self.on_switch.is_some() {
            return Err(needs_no_calls());
        }
        let thread_locals = self.thread_locals.unwrap_or(shared.thread_locals);
        if thread_locals == ThreadLocals::PerThread {
            ThreadLocals::supported()?;
        }
        Ok((size, thread_locals))
    }

    /// All that there was to it was the size of the stack.
    #[cold]
    #[inline(never)]
    fn discard(custom: Option<Box<Self>>) {
        drop(custom);
    }

    #[cold]
    fn spawn_size(&self, shared: &Shared) -> io::Result<StackSize> {
        let (size, thread_locals) = self.resolve(shared)?;
        let has_calls = self.on_switch.is_some() || shared.on_switch.is_some();
        Ok(size.for_spawn(thread_locals == ThreadLocals::PerThread || has_calls))
    }
}

/// Where a thread may start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Placement {
    /// On any worker of the runtime.
    Anywhere,
    /// On the calling worker, which is of that runtime.
    Here,
}

/// The name of a thread, if it is one that std would take. Panics as std does.
#[cold]
fn checked_name(name: String) -> Box<str> {
    let name = CString::new(name).expect("thread name may not contain interior null bytes");
    name.into_string().expect("it came from a string").into_boxed_str()
}

/// A stack's promise, and an id, for a thread that is not spawned on a worker.
fn promise_outside(shared: &Shared, size: StackSize) -> io::Result<u64> {
    if shared.is_the_parents() {
        return Err(fork::error());
    }
    stack::reserve(size)?;
    Ok(os::fresh_ids(1))
}

/// A stack's promise, and an id.
#[inline]
fn promise(shared: &Shared, worker: Option<&Worker>, size: StackSize) -> io::Result<u64> {
    let Some(worker) = worker else { return promise_outside(shared, size) };
    worker.stacks().reserve(size)?;
    Ok(worker.fresh_id())
}

/// Makes a green thread of `f` in the runtime `shared`.
///
/// The thread has two references: the handle, and the queue that it goes into, later the turn that runs it.
///
/// # Safety
///
/// What `f` borrows outlives the thread, and what its result borrows outlives the handle. With `Placement::Anywhere`, `f` may
/// move to another OS thread (is `Send`).
#[inline]
pub(crate) unsafe fn spawn_in<F: FnOnce() -> T, T, O: TaskOwner>(
    shared: &Arc<Shared>,
    settings: Settings,
    placement: Placement,
    owner: O,
    f: F,
) -> io::Result<JoinHandle<T>> {
    let Settings { name, custom, spawned_at } = settings;
    let name = name.map(checked_name);
    let size = match &custom {
        None => shared.spawn_size,
        Some(custom) => custom.spawn_size(shared)?,
    };
    let worker = Worker::current().filter(|worker| Arc::ptr_eq(&worker.shared, shared));
    let id = 'promised: {
        let refused = match worker {
            Some(worker) => match worker.stacks().reserve(size) {
                Ok(()) => break 'promised worker.fresh_id(),
                Err(error) => error,
            },
            None => match promise_outside(shared, size) {
                Ok(id) => break 'promised id,
                Err(error) => error,
            },
        };
        if size != StackSize::NONE {
            return Err(refused);
        }
        if custom.is_none() && shared.thread_locals == ThreadLocals::PerThread {
            mem::forget(custom);
            // SAFETY: as the caller promises.
            return unsafe { spawn_own(shared, worker, name, spawned_at, placement, owner, f) };
        }
        // SAFETY: as the caller promises.
        return unsafe {
            spawn_apart(shared, worker, Settings { name: None, custom, spawned_at }, name, placement, owner, f)
        };
    };
    // So that where there are none nothing is called that drops them.
    if custom.is_some() {
        Custom::discard(custom)
    } else {
        mem::forget(custom)
    }
    let spec = PromisedStack { name, size, id, spawned_at }.spec::<PerWorker>(shared);
    let made = block::new::<PerWorker, _, _, _>(spec, owner, f);
    // SAFETY: as above; it was just made.
    unsafe { admit(shared, worker, size, placement, false, made).map(|task| JoinHandle::new(task)) }
}

/// As [`spawn_in`], of a thread that has thread-locals of its own, as all of its runtime have them, and nothing else that they have not.
///
/// # Safety
///
/// As there.
#[inline(never)]
unsafe fn spawn_own<F: FnOnce() -> T, T, O: TaskOwner>(
    shared: &Arc<Shared>,
    worker: Option<&Worker>,
    name: Option<Box<str>>,
    spawned_at: &'static Location<'static>,
    placement: Placement,
    owner: O,
    f: F,
) -> io::Result<JoinHandle<T>> {
    let size = shared.stack_size;
    let id = promise(shared, worker, size)?;
    let spec = PromisedStack { name, size, id, spawned_at }.spec::<PerThread>(shared);
    let made = block::new::<PerThread, _, _, _>(spec, owner, f);
    let moves = shared.moves && placement == Placement::Anywhere;
    // SAFETY: as the caller promises; it was just made.
    unsafe { admit_apart(shared, worker, size, placement, moves, made).map(|task| JoinHandle::new(task)) }
}

/// As [`spawn_in`], of a thread with thread-locals of its own, or with calls at its switches. There are as many of this as of closures, so what does not
/// depend on the closure is apart.
///
/// # Safety
///
/// As there.
#[inline(never)]
unsafe fn spawn_apart<F: FnOnce() -> T, T, O: TaskOwner>(
    shared: &Arc<Shared>,
    worker: Option<&Worker>,
    settings: Settings,
    name: Option<Box<str>>,
    placement: Placement,
    owner: O,
    f: F,
) -> io::Result<JoinHandle<T>> {
    let Apart { begins, stack } = promise_apart(shared, worker, settings, name)?;
    let size = stack.size;
    let moves = matches!(begins, Begins::PerThread) && shared.moves && placement == Placement::Anywhere;
    // Those with calls have the owner for it.
    let made = match begins {
        Begins::Switched(calls) => {
            block::new_apart::<Switched, _, _, _>(stack.spec::<Switched>(shared), WithCalls::new(calls, owner), f)
        }
        Begins::PerThread => block::new_apart::<PerThread, _, _, _>(stack.spec::<PerThread>(shared), owner, f),
        Begins::PerWorker => block::new_apart::<PerWorker, _, _, _>(stack.spec::<PerWorker>(shared), owner, f),
    };
    // SAFETY: as the caller promises; it was just made.
    unsafe { admit_apart(shared, worker, size, placement, moves, made).map(|task| JoinHandle::new(task)) }
}

/// What [`spawn_apart`] makes its thread of.
struct Apart {
    begins: Begins,
    stack: PromisedStack,
}

#[cold]
#[inline(never)]
fn promise_apart(
    shared: &Shared,
    worker: Option<&Worker>,
    settings: Settings,
    name: Option<Box<str>>,
) -> io::Result<Apart> {
    let spawned_at = settings.spawned_at;
    let (size, begins) = match settings.custom {
        Some(custom) => custom.begins(shared)?,
        None => Begins::plainly(shared),
    };
    let id = promise(shared, worker, size)?;
    Ok(Apart { begins, stack: PromisedStack { name, size, id, spawned_at } })
}

/// # Safety
///
/// As of [`admit`].
#[inline(never)]
unsafe fn admit_apart(
    shared: &Arc<Shared>,
    worker: Option<&Worker>,
    size: StackSize,
    placement: Placement,
    moves: bool,
    made: io::Result<NonNull<Header>>,
) -> io::Result<Task> {
    // SAFETY: as the caller promises.
    unsafe { admit(shared, worker, size, placement, moves, made) }
}

struct PromisedStack {
    name: Option<Box<str>>,
    size: StackSize,
    id: u64,
    spawned_at: &'static Location<'static>,
}

impl PromisedStack {
    /// Of a thread that begins with `M`.
    #[inline(always)]
    fn spec<M: Main>(self, shared: &Shared) -> Spec {
        let Self { name, size, id, spawned_at } = self;
        let runtime = M::mark(shared.identity());
        Spec { name, size, id, runtime, schedule: shared.schedule, refs: 2, handle: true, spawned_at }
    }
}

/// The second half of [`spawn_in`]: the block was made, or not. The thread is counted and queued; the result is the handle's reference. `moves`: other workers may
/// take it over.
///
/// # Safety
///
/// As there; nobody else has seen the header, and it has two references.
#[inline(always)]
unsafe fn admit(
    shared: &Arc<Shared>,
    worker: Option<&Worker>,
    size: StackSize,
    placement: Placement,
    moves: bool,
    made: io::Result<NonNull<Header>>,
) -> io::Result<Task> {
    let header = made.inspect_err(|_| match worker {
        Some(worker) => worker.stacks().unreserve(size),
        None => stack::unreserve(size),
    })?;
    shared.count_spawn(worker.map(|worker| worker.remote));
    // SAFETY: it was just made.
    let thread = unsafe { header.as_ref() };
    let recorded = match worker {
        Some(worker) => worker.scribe.writes_all(),
        None => records_all(),
    };
    if recorded {
        record_all(EventKind::Spawns, thread.id);
    }
    if moves {
        thread.state.set_movable();
    }
    // SAFETY: one of the two references is the handle's, the other the queue's.
    let (handle, task) = unsafe { (Task::from_raw(header), Task::from_raw(header)) };
    match (worker, placement) {
        (Some(worker), Placement::Anywhere) => worker.spawn(task),
        (Some(worker), Placement::Here) => worker.spawn_here(task),
        (None, _) => shared.inject(task),
    }
    Ok(handle)
}
