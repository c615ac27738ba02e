//! `blocking`: closures that block an OS thread, run where that does no harm.
//!
//! # Invariants
//!
//! 1. A `Call` lies on the caller's stack; the caller waits, uninterruptibly, until the pool's thread has ended its
//!    ticket, which is that thread's last touch of it.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::park::{Wait, interrupt, park};
use crate::rt::runtime;
use crate::sched::pool::Job;
use crate::sched::{Shared, Worker};
use crate::task::Ticket;
use crate::task::block::Output;
use crate::task::header::Reason;
use crate::task::wait::End;

struct Call<'a, F, T> {
    f: Cell<Option<F>>,
    /// The caller's.
    runtime: &'a Arc<Shared>,
    output: Cell<Option<Output<T>>>,
    ticket: Cell<Option<Ticket>>,
}

/// Runs `f` on an OS thread that may block, and waits for its value: for file reads, DNS look-ups, foreign code.
///
/// The caller's worker goes on with other threads meanwhile. As the caller waits, `f` may borrow from its stack. Each
/// runtime has a bounded pool of such OS threads, and a bounded queue in front of it
/// ([`RuntimeBuilder::blocking_threads`](crate::RuntimeBuilder::blocking_threads),
/// [`blocking_queue`](crate::RuntimeBuilder::blocking_queue)); beyond both the caller waits for a place. A cancel takes effect
/// before `f` has a place, not after: once there it runs to its end. What `f` spawns goes to the caller's runtime. On a
/// plain OS thread, or when the system refuses the pool its first OS thread, `f` runs where it is.
///
/// # Panics
///
/// With what `f` panics with.
///
/// ```
/// let path = String::from("Cargo.toml");
/// let text = green::run(|| green::blocking(|| std::fs::read_to_string(&path)));
/// assert!(text.unwrap().contains("green"));
/// ```
pub fn blocking<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    let Some(worker) = Worker::current() else { return f() };
    let Ok(place) = worker.shared.pool.place() else { return f() };
    let call =
        Call { f: Cell::new(Some(f)), runtime: &worker.shared, output: Cell::new(None), ticket: Cell::new(None) };
    let job = job(&call);
    let _ = park(Wait::new(Reason::Blocking).uninterruptible(), |ticket| {
        call.ticket.set(Some(ticket));
        // SAFETY: invariant 1: the call stays until its ticket is ended, and `f` and its value are `Send`.
        unsafe { place.submit(job) };
        true
    });
    match call.output.take() {
        Some(Ok(value)) => value,
        Some(Err(payload)) => interrupt::resume(payload),
        None => unreachable!("the caller of a blocking closure was woken before its end"),
    }
}

fn job<F: FnOnce() -> T, T>(call: &Call<'_, F, T>) -> Job {
    Job { run: run::<F, T>, data: std::ptr::from_ref(call).cast_mut().cast() }
}

unsafe fn run<F: FnOnce() -> T, T>(call: *mut ()) {
    // SAFETY: invariant 1, and the caller does not touch its cells while it waits.
    let call = unsafe { &*call.cast::<Call<'_, F, T>>() };
    let f = call.f.take();
    let output = f.map(|f| runtime::inside(call.runtime, || catch_unwind(AssertUnwindSafe(f))));
    call.output.set(output);
    let ticket = call.ticket.get();
    // SAFETY: the caller waits until this ends its wait.
    if let Some(wake) = ticket.and_then(|ticket| unsafe { ticket.end(End::Notified) }) {
        wake.schedule();
    }
}
