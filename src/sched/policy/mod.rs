//! What a worker decides by experience.
//!
//! | question | file |
//! | --- | --- |
//! | how long does an idle worker search before it sleeps? | [`search_budget`] |
//! | is it worth helping a worker with its actors? | [`run_rate`] |
//! | on which worker does a thread start? | [`balance`], by the workers' [`busy_share`] |
//! | should a worker let a sibling have its CPU? | [`cpu_yield`], by the sibling's [`heartbeat`] |
//!
//! All of it is a hint. The idle protocol (`sched/PROTOCOL.md`) is right whatever the answers are, and asks only through [`Policy`] and
//! a worker's [`RunRate`](run_rate::RunRate). Each file says what its answer buys, and how to measure that: a build with
//! `--cfg green_without="NAME"` does without, and `benches/without` compares the two.

pub(crate) mod balance;
pub(crate) mod busy_share;
pub(crate) mod cpu_yield;
pub(crate) mod heartbeat;
pub(crate) mod run_rate;
pub(crate) mod search_budget;

use crate::sched::policy::balance::Balance;
use crate::sched::policy::cpu_yield::SiblingProbe;
use crate::sched::policy::search_budget::SearchBudget;
use crate::sched::remote::Remote;

/// What one worker has learned.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) search: SearchBudget,
    pub(crate) balance: Balance,
    probe: SiblingProbe,
}

impl Policy {
    pub(crate) fn new() -> Self {
        Self { search: SearchBudget::new(), balance: Balance::new(), probe: SiblingProbe::default() }
    }

    /// In step S4, before the worker, which is that `number` of `remotes`, waits for events until `deadline_ns`. True: it was
    /// unparked meanwhile.
    #[inline]
    pub(crate) fn before_poll(&self, remotes: &[&'static Remote], number: usize, deadline_ns: u64) -> bool {
        self.probe.yield_cpu(remotes, number, deadline_ns)
    }
}
