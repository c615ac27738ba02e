//! The one function by which every green thread is made.

use std::ffi::CString;
use std::io;
use std::sync::Arc;

use crate::park::os;
use crate::rt::join::JoinHandle;
use crate::sched::worker::schedule;
use crate::sched::{Shared, Worker};
use crate::stack::{self, StackSize};
use crate::sys::fork;
use crate::task::Task;
use crate::task::block::{self, TaskOwner};
use crate::task::header::Spec;

/// What a thread has of its own, if anything.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) name: Option<String>,
    pub(crate) stack_size: Option<usize>,
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
    let name = settings.name.map(checked_name);
    let size = match settings.stack_size {
        None => shared.stack_size,
        Some(bytes) => StackSize::new(bytes)?,
    };
    let worker = Worker::current().filter(|worker| Arc::ptr_eq(&worker.shared, shared));
    let id = match worker {
        Some(worker) => {
            worker.stacks().reserve(size)?;
            worker.fresh_id()
        }
        None if shared.is_the_parents() => return Err(fork::error()),
        None => {
            stack::reserve(size)?;
            os::fresh_ids(1)
        }
    };
    let spec = Spec { name, size, id, runtime: shared.identity(), schedule, refs: 2, handle: true };
    let header = block::new(spec, owner, f).inspect_err(|_| match worker {
        Some(worker) => worker.stacks().unreserve(size),
        None => stack::unreserve(size),
    })?;
    // SAFETY: one of the two references is the handle's, the other the queue's.
    let (handle, task) = unsafe { (JoinHandle::new(Task::from_raw(header)), Task::from_raw(header)) };
    match (worker, placement) {
        (Some(worker), Placement::Anywhere) => worker.spawn(task),
        (Some(worker), Placement::Here) => {
            task.state.claim_unshared(worker.remote.index);
            worker.make_ready(task.into_raw());
        }
        (None, _) => shared.inject(task),
    }
    Ok(handle)
}
