//! The pool of OS threads that run closures which block: bounded in threads and in jobs that wait.
//!
//! All is under one lock: the jobs that wait, each under a number that grows, the `threads`, and how many of those are
//! `idle`. A thread counts as idle from the moment it is started until it has taken a job.
//!
//! ```text
//!  a caller (submit)                                  a thread (next_job)
//!  waits until fewer than `max_jobs` wait             waits, under the lock of `idle`, until there is a job: takes the
//!  under the lock: more jobs than idle threads?         oldest, idle - 1
//!    then adds threads; the job joins the queue       frees a place; runs the job
//!  wakes one that waits in `idle`                     under the lock: idle + 1
//!                                                     no job for ten seconds, a last look: idle - 1, threads - 1
//! ```
//!
//! * No job waits behind a thread that blocks while another could be started: there are never more jobs than idle threads,
//!   unless there are `max_threads`.
//! * No job is forgotten: a thread ends under the lock and finds no job there; a job joins the queue under the same lock, so
//!   it finds the thread gone and adds another.
//! * No wake-up is lost: a thread looks for a job under the lock of `idle`, and stands in its queue before it lets go of that;
//!   a caller takes that lock after its job has joined the queue. (The order of the two locks: `idle`, then the other.)
//! * A job that still waits is its caller's to take back ([`BlockingPool::withdraw`]): a thread of the pool or the caller, never both,
//!   takes its number out of the queue, and so has the job.
//!
//! A thread may run a job that nobody waits for any more ([`BlockingPool::leave`]). Nobody waits for that thread either: [`BlockingPool::stop`]
//! returns without it. It is still one of the `max_threads`.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::base::atomic::OsThread;
use crate::park::queue::WaitQueue;
use crate::park::{Wait, checkpoint};
use crate::sys::clock::after_ns;
use crate::sys::fork;
use crate::task::header::Reason;

/// How long a thread of the pool waits for a job before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// A closure, and the place for its value.
pub(crate) trait Runnable: Send + Sync {
    /// Runs the closure, if it is still there. Does not unwind. True: its caller has left ([`BlockingPool::leave`]).
    fn run(&self) -> bool;
}

/// What the pool and the caller share.
pub(crate) type Job = Arc<dyn Runnable>;

#[derive(Default)]
struct Jobs {
    queue: BTreeMap<u64, Job>,
    /// Jobs that ever were.
    jobs: u64,
    threads: usize,
    idle: usize,
    /// Threads that ever were.
    named: usize,
    /// Threads that run what nobody waits for.
    left: usize,
    closed: bool,
}

struct Threads {
    state: WaitQueue<Jobs>,
    /// Where threads wait for jobs.
    idle: WaitQueue<()>,
    max_threads: usize,
    max_jobs: usize,
    name: String,
    /// [`fork::generation`] of the process that made it.
    made_in: u32,
}

/// See the module's text.
pub(crate) struct BlockingPool(Arc<Threads>);

/// What a thread finds when it looks for a job.
enum Found {
    Job(Job),
    Closed,
}

impl BlockingPool {
    pub(crate) fn new(max_threads: usize, max_jobs: usize, name: String) -> Self {
        let state = WaitQueue::new(Jobs::default());
        Self(Arc::new(Threads {
            state,
            idle: WaitQueue::new(()),
            max_threads,
            max_jobs,
            name,
            made_in: fork::generation(),
        }))
    }

    /// Are its threads those of a parent of this process?
    pub(crate) fn is_the_parents(&self) -> bool {
        self.0.made_in != fork::generation()
    }

    /// Queues `job`, and sees to it that there is a thread for it; its number. Waits for a place in the queue, as `wait` says.
    ///
    /// # Errors
    ///
    /// There is no thread, and none can be made.
    pub(crate) fn submit(&self, wait: Wait, job: &Job) -> io::Result<u64> {
        if wait.is_interruptible() {
            checkpoint();
        }
        let inner = &self.0;
        let admitted = inner.state.wait_until(wait, |state| {
            (state.queue.len() < inner.max_jobs).then(|| inner.admit(state, Arc::clone(job)))
        });
        let number = admitted.expect("a wait without a deadline of its own")?;
        inner.idle.notify_one(|()| true); // KEY: pool-notify
        Ok(number)
    }

    /// Takes a job back. False: a thread has it.
    #[must_use]
    pub(crate) fn withdraw(&self, number: u64) -> bool {
        let mut job = None;
        self.0.state.notify_one(|state| {
            job = state.queue.remove(&number);
            job.is_some()
        });
        job.is_some()
    }

    /// The caller of a job that a thread runs goes its way: that job's [`Runnable::run`] will say so.
    pub(crate) fn leave(&self) {
        self.0.state.with(|state| state.left += 1);
    }

    /// How many threads there are, how many of them have nothing to do, and how many jobs wait.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        self.0.state.with(|state| (state.threads, state.idle, state.queue.len()))
    }

    /// Has every job whose caller waits for it been run, and its caller been woken?
    pub(crate) fn is_quiet(&self) -> bool {
        self.0.state.with(|state| {
            let mut quiet = true;
            quiet &= state.queue.is_empty(); // KEY: quiet-queue
            quiet &= state.threads - state.idle == state.left; // KEY: quiet-runs
            quiet
        })
    }

    /// No jobs come any more: the threads end when they have none.
    pub(crate) fn close(&self) {
        self.0.state.with(|state| state.closed = true);
        self.0.idle.notify_all(|()| true);
    }

    /// Ends the threads; returns when the last has whose job somebody waits for. There are no jobs any more.
    pub(crate) fn stop(&self) {
        self.close();
        let wait = Wait::new(Reason::Blocking).uninterruptible();
        let _ = self.0.state.wait_until(wait, |state| (state.threads == state.left).then_some(()));
    }
}

impl Threads {
    /// Puts a job into the queue, and adds a thread for it if need be.
    ///
    /// The thread is started under the lock: nobody may rely on one that is then refused.
    fn admit(self: &Arc<Self>, state: &mut Jobs, job: Job) -> io::Result<u64> {
        // More than one where the system has refused some, which jobs wait for.
        while state.queue.len() >= state.idle && state.threads < self.max_threads {
            let shared = Arc::clone(self);
            let name = format!("{}-{}", self.name, state.named + 1);
            match OsThread::new().name(name).spawn(move || shared.run()) {
                Ok(_) => {
                    state.threads += 1;
                    state.idle += 1;
                    state.named += 1;
                }
                // With fewer threads than allowed the job only waits longer; with none it would wait for ever.
                Err(error) if state.threads == 0 => return Err(error),
                Err(_) => break,
            }
        }
        state.jobs += 1;
        state.queue.insert(state.jobs, job);
        Ok(state.jobs)
    }

    fn run(&self) {
        while let Some(job) = self.next_job() {
            // A place is free.
            self.state.notify_one(|_| true); // KEY: pool-place
            let left = job.run();
            // What the caller has left in it must not outlive the count.
            drop(job);
            self.state.with(|state| {
                state.left -= usize::from(left);
                state.idle += 1;
            });
        }
    }

    /// Waits for a job. `None`: this thread is counted no more, and ends.
    fn next_job(&self) -> Option<Job> {
        let wait = Wait::new(Reason::Blocking).until(after_ns(IDLE));
        let mut next = self.idle.wait_until(wait, |()| self.state.with(Jobs::next));
        self.state.notify_all(|state| {
            if next.is_none() {
                next = state.next(); // KEY: pool-last-look
            }
            let ends = !matches!(next, Some(Found::Job(_)));
            state.idle -= usize::from(ends); // KEY: pool-ends
            state.threads -= usize::from(ends);
            ends && state.closed
        });
        match next {
            Some(Found::Job(job)) => Some(job),
            _ => None,
        }
    }
}

impl Jobs {
    fn next(&mut self) -> Option<Found> {
        match self.queue.pop_first() {
            Some((_, job)) => {
                self.idle -= 1;
                Some(Found::Job(job))
            }
            None => self.closed.then_some(Found::Closed),
        }
    }
}
