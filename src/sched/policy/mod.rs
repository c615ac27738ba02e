//! What a worker decides by experience.
//!
//! | question | file |
//! | --- | --- |
//! | how long does an idle worker search before it sleeps? | [`search_budget`] |
//! | is it worth helping a worker with its actors? | [`run_rate`] |
//! | where does the thread that serves a new connection start? | [`balance`] |
//! | should a worker let a sibling have its CPU? | [`cpu_yield`], by the sibling's [`heartbeat`] |
//!
//! All of it is a hint. The idle protocol (`sched/PROTOCOL.md`) is right whatever the answers are, and asks only through [`Policy`] and
//! a worker's [`RunRate`](run_rate::RunRate). Each file says what its answer buys, and how to measure that: a build with
//! `--cfg green_without="NAME"` does without, and `benches/without` compares the two.

pub(crate) mod balance;
pub(crate) mod cpu_yield;
pub(crate) mod heartbeat;
pub(crate) mod run_rate;
pub(crate) mod search_budget;

use crate::sched::policy::cpu_yield::SiblingProbe;
use crate::sched::policy::search_budget::SearchBudget;
use crate::sched::remote::Remote;

/// What one worker has learned.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) search: SearchBudget,
    probe: SiblingProbe,
}

impl Policy {
    pub(crate) fn new() -> Self {
        Self { search: SearchBudget::new(), probe: SiblingProbe::default() }
    }

    /// In step S4, before the worker, which is that `number` of `remotes`, waits for events until `deadline_ns`. True: it was
    /// unparked meanwhile.
    #[inline]
    pub(crate) fn before_poll(&self, remotes: &[&'static Remote], number: usize, deadline_ns: u64) -> bool {
        self.probe.yield_cpu(remotes, number, deadline_ns)
    }

    /// The worker that should serve the next connection, if it is another one than `own`, which has `load` threads; it expects the
    /// thread.
    pub(crate) fn server(remotes: &[&'static Remote], own: &Remote, load: usize) -> Option<&'static Remote> {
        balance::less_loaded(remotes, own, load as u32)
    }
}
