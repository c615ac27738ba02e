//! The end of a [`Runtime`]: its drop.

#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::park::interrupt::shielded;
use crate::rt::blocking::blocking;
use crate::rt::lent::lent;
use crate::rt::runtime::Runtime;
use crate::rt::workers::WorkerThreads;
use crate::sched::{Shared, Worker};
use crate::sys::clock::virtual_ns;
use crate::sys::fork;

impl Drop for Runtime {
    fn drop(&mut self) {
        let Self { shared, threads } = &*self;
        if shared.is_the_parents() {
            // Those are no threads of this process.
            std::mem::forget(Arc::clone(threads));
            assert!(std::thread::panicking(), "a runtime cannot be dropped: {}", fork::MESSAGE);
            return;
        }
        shared.stop();
        let own =
            Worker::current().map(|worker| Arc::as_ptr(&worker.shared)).or_else(|| lent().map(|own| own.as_ptr()));
        if own == Some(Arc::as_ptr(shared)) {
            // This thread has to end, too.
            let (shared, ends) = (Arc::clone(shared), Arc::clone(threads));
            threads.start_ending(move || end(&shared, &ends));
        } else {
            end(shared, threads);
        }
    }
}

/// Everything that follows, for another thread than one of the runtime's.
fn end(shared: &Arc<Shared>, threads: &Arc<WorkerThreads>) {
    if virtual_ns().is_some() {
        // The time of last words would be over at once here, while it goes on for others. So a thread that goes by real time sees to it.
        let (shared, hurries) = (Arc::downgrade(shared), Arc::clone(threads));
        threads.start_ending(move || hurries.wait_or(|| shared.upgrade().map(|shared| shared.hurry())));
        threads.wait();
    } else {
        threads.wait_or(|| shared.hurry());
    }
    shared.pool.stop();
    join_workers(threads);
    shared.end();
}

/// Waits for the workers' OS threads, which have run everything: what is left is to drop their thread-locals.
fn join_workers(threads: &WorkerThreads) {
    let threads = threads.take();
    let this = std::thread::current().id();
    let join = move || {
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != this) {
            let _ = thread.join();
        }
    };
    // A thread of another runtime does not block its worker; no cancel gets in here.
    shielded(|| blocking(join));
}
