//! The pool of OS threads that run closures which block: bounded in threads and in jobs that wait.
//!
//! A job lies on the stack of the thread that waits for it, so the queue holds pointers only. The counts are under one
//! lock: `pending` jobs are promised a place in the channel, `idle` threads wait for one, and a thread is added while
//! `pending > idle` and the bound allows it: so no job waits behind a thread that blocks while another could be started.
//!
//! # Invariants
//!
//! 1. `pending` never exceeds the channel's capacity, so a job with a place can always be sent.
//! 2. While a job is pending there is a thread: one is added before the job gets its place, and a thread that ends leaves no
//!    more jobs than idle threads.
//! 3. A job's data stay where they are until its `run` has been called; whoever submitted it waits for that, whatever
//!    happens.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::park::queue::WaitQueue;
use crate::park::{Wait, checkpoint};
use crate::task::header::Reason;

/// How long a thread of the pool waits for a job before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// A closure on a waiting thread's stack.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) run: unsafe fn(*mut ()),
    pub(crate) data: *mut (),
}

// SAFETY: whoever makes a job sees to it that its closure may run on another thread.
unsafe impl Send for Job {}

#[derive(Debug)]
struct Counts {
    threads: usize,
    idle: usize,
    pending: usize,
    named: usize,
    sender: Option<Sender<Job>>,
}

#[derive(Debug)]
struct Inner {
    counts: WaitQueue<Counts>,
    receiver: Receiver<Job>,
    max_threads: usize,
    max_jobs: usize,
    name: String,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Pool(Arc<Inner>);

/// A job's place in the queue, and a thread that will come to it.
#[derive(Debug)]
#[must_use]
pub(crate) struct Place<'a>(&'a Pool);

impl Pool {
    pub(crate) fn new(max_threads: usize, max_jobs: usize, name: String) -> Self {
        let (sender, receiver) = bounded(max_jobs);
        let counts = Counts { threads: 0, idle: 0, pending: 0, named: 0, sender: Some(sender) };
        Self(Arc::new(Inner { counts: WaitQueue::new(counts), receiver, max_threads, max_jobs, name }))
    }

    /// Waits for a place in the queue; sees to it that there is a thread. An error: there is none, and none can be made.
    pub(crate) fn place(&self) -> io::Result<Place<'_>> {
        checkpoint();
        let inner = &self.0;
        let admitted = inner.counts.wait_until(Wait::new(Reason::Blocking), |counts| {
            (counts.pending < inner.max_jobs).then(|| inner.admit(counts))
        });
        match admitted {
            Some(Err(error)) => Err(error),
            _ => Ok(Place(self)),
        }
    }

    /// No jobs come any more: the threads end when they have none.
    pub(crate) fn close(&self) {
        self.0.counts.with(|counts| counts.sender = None);
    }

    /// Ends the threads; returns when the last has. There are no jobs any more.
    pub(crate) fn stop(&self) {
        self.close();
        let wait = Wait::new(Reason::Blocking).uninterruptible();
        let _ = self.0.counts.wait_until(wait, |counts| (counts.threads == 0).then_some(()));
    }
}

impl Place<'_> {
    /// Queues `job`. Never waits.
    ///
    /// # Safety
    ///
    /// `job.run` may be called with `job.data` on another thread, once, until it has returned.
    pub(crate) unsafe fn submit(self, job: Job) {
        let sent = self.0.0.counts.with(|counts| counts.sender.as_ref().map(|sender| sender.try_send(job)));
        assert!(matches!(sent, Some(Ok(()))), "a job with a place was refused");
        std::mem::forget(self);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.0.counts.notify(|counts| {
            counts.pending -= 1;
            1
        });
    }
}

impl Inner {
    /// Gives a job its place, and adds a thread for it if need be.
    ///
    /// The thread is started under the lock: nobody may rely on one that is then refused.
    fn admit(self: &Arc<Self>, counts: &mut Counts) -> io::Result<()> {
        if counts.pending >= counts.idle && counts.threads < self.max_threads {
            let shared = Arc::clone(self);
            let name = format!("{}-blocking-{}", self.name, counts.named + 1);
            match std::thread::Builder::new().name(name).spawn(move || shared.run()) {
                Ok(_) => {
                    counts.threads += 1;
                    counts.named += 1;
                }
                // With fewer threads than allowed the job only waits longer; with none it would wait for ever.
                Err(error) if counts.threads == 0 => return Err(error),
                Err(_) => {}
            }
        }
        counts.pending += 1;
        Ok(())
    }

    fn run(&self) {
        loop {
            self.counts.with(|counts| counts.idle += 1);
            let job = self.receiver.recv_timeout(IDLE);
            let taken = job.is_ok();
            let mut ends = false;
            self.counts.notify(|counts| {
                counts.idle -= 1;
                if taken {
                    counts.pending -= 1;
                    return 1;
                }
                // A job may have been given a place on the strength of this thread being idle: then it stays.
                ends = counts.sender.is_none() || counts.pending <= counts.idle;
                counts.threads -= usize::from(ends);
                if ends && counts.sender.is_none() && counts.threads == 0 { usize::MAX } else { 0 }
            });
            match job {
                // SAFETY: invariant 3, and `submit`'s caller vouched for the job; a closure's panic is caught in `run`.
                Ok(job) => unsafe { (job.run)(job.data) },
                Err(_) if ends => return,
                Err(_) => {}
            }
        }
    }
}
