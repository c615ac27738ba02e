//! On which worker does a thread start? A thread that has started stays where it is, so this is decided once for its whole life. The steps,
//! and why they lose nothing, are in `sched/PROTOCOL.md`, *Placement*.
//!
//! # What it buys
//!
//! Without it (`green_without = "balance"`) a thread starts on the worker that takes it from its queue. `benches/without balance` …, two CPUs, three rounds:
//!
//! | load | with | without |
//! | --- | --- | --- |
//! | `examples/why_move.rs`, a pool of eight that stay, with 400 ms of jobs | 201 to 217 ms | 400 ms |
//! | `savina -- --workers 2`, concurrent dictionary | 11.6 ms | 28 to 37 ms |
//! | the fourteen others of them | the same within noise | |
//! | `spawn`, 100 000 and join all, two workers | 17.1 to 19.5 ms | 16.6 to 19.4 ms |
//! | `echo -- --connections 64 --servers green`, the client on the same two | 191 000 requests/s, CPU 5.1 µs each, half within 167 µs, 99 % within 0.95 ms | 198 000, 5.0 µs, 318 µs, 0.38 ms: one worker has all, the client the other CPU |
//! | `echo -- --connections 1000 --servers green` | 149 000 requests/s, 6.5 µs, 6.3 ms, 16.8 ms | 165 000, 5.9 µs, 6.0 ms, 13.3 ms |
//!
//! The tail of the echo is what three that compute on two CPUs cost: two workers and the client. A worker that lets its sibling have its CPU sleeps for 600 µs
//! ([`cpu_yield`](super::cpu_yield)). A server with its own CPUs has no third.
//!
//! *Tried, and not kept:* a worker that has time to spare (is busy for less than 90 %) gives none away. The echo's connections then stay on one worker; so do pools. What is spawned waits at first, and its
//! worker is idle then: nothing tells a connection from a thread of a pool. All of a pool of eight, spawned in a loop, 2 ms apart or from outside, were on one of two
//! workers, in ten of ten tries (`tests/placement.rs`), and of 500 turns that a pool of ten computed one worker had all.

#![forbid(unsafe_code)]

use std::cell::Cell;

use crate::sched::policy::busy_share::ALL;
use crate::sched::remote::Remote;
use crate::sys::clock::real_ns;

/// A worker that has fewer threads gives none away: a pair that talks stays together. One less, if its threads compute.
const FEW: u32 = 3;
/// One that has so many more than the sibling that has fewest gives some of them away; or an eighth of its own, if that is more.
const SLACK: u32 = 2;
const SLACK_SHARE: u32 = 8;
/// How many at a time: threads that are spawned one after the other stay together.
const PAIR: u32 = 2;
const BATCH: u32 = 16;
/// A sibling that is busier than the worker by more than a quarter gets none.
const BUSIER: u32 = ALL / 4;

const ON: bool = cfg!(not(green_without = "balance"));

/// What one worker owes to a sibling: so many of the threads that it takes from its queues next.
#[derive(Debug)]
pub(crate) struct Balance {
    /// The sibling, by its number.
    creditor: Cell<usize>,
    owed: Cell<u32>,
    #[cfg(test)]
    pub(crate) given: Cell<u32>,
}

impl Balance {
    pub(crate) fn new() -> Self {
        Self {
            creditor: Cell::new(0),
            owed: Cell::new(0),
            #[cfg(test)]
            given: Cell::new(0),
        }
    }

    /// For a thread that the worker, that `number` of `remotes`, is about to start: `None`, it starts here. Otherwise there, where it is
    /// expected. Do the worker's threads compute?
    #[inline]
    pub(crate) fn elsewhere(
        &self,
        remotes: &[&'static Remote],
        number: usize,
        computes: impl FnOnce() -> bool,
    ) -> Option<&'static Remote> {
        if remotes.len() == 1 || !ON {
            return None;
        }
        // A spare worker is none of them.
        let load = remotes.get(number)?.load()?;
        (load >= FEW || load == FEW - 1 && computes()).then(|| self.give(remotes, number, load))?
    }

    #[inline(never)]
    fn give(&self, remotes: &[&'static Remote], number: usize, load: u32) -> Option<&'static Remote> {
        let owes = self.owed.get() > 0 && remotes[self.creditor.get()].load().is_some_and(|has| has < load);
        if !owes {
            self.owed.set(self.owe(remotes, number, load));
        }
        let left = self.owed.get().checked_sub(1)?;
        let remote = remotes[self.creditor.get()];
        remote.arriving.expect().then(|| {
            self.owed.set(left);
            #[cfg(test)]
            self.given.set(self.given.get() + 1);
            remote
        })
    }

    /// Chooses a creditor: how many threads it is owed.
    fn owe(&self, remotes: &[&'static Remote], number: usize, load: u32) -> u32 {
        let most = load - SLACK.max(load / SLACK_SHARE);
        // In turn, beginning behind the last one.
        let others =
            (1..=remotes.len()).map(|after| (self.creditor.get() + after) % remotes.len()).filter(|at| *at != number);
        let fewer = |at: &usize| remotes[*at].load().is_some_and(|has| has <= most);
        if !others.clone().any(|at| fewer(&at)) {
            return 0;
        }
        let now_ns = real_ns();
        let busiest = remotes[number].busy.at(now_ns).saturating_add(BUSIER);
        let free = others.filter(|at| fewer(at) && remotes[*at].busy.at(now_ns) <= busiest);
        let Some((has, at)) = free.filter_map(|at| Some((remotes[at].load()?, at))).min_by_key(|(has, _)| *has) else {
            return 0;
        };
        self.creditor.set(at);
        // Where few compute, the next one has a worker of its own, too.
        let least = if load < FEW { 1 } else { PAIR };
        (load.saturating_sub(has) / 2).clamp(least, BATCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::atomic::Ordering;
    use crate::sched::remote::{self, RemoteGroup};

    /// Workers that have these numbers of threads, and what the first one owes.
    struct Workers {
        group: Option<RemoteGroup>,
        balance: Balance,
        computes: bool,
    }

    impl Workers {
        fn with(loads: &[u32]) -> Self {
            let group = remote::acquire(loads.len()).expect("so few workers");
            for (remote, load) in group.remotes.iter().zip(loads) {
                remote.live.store(*load, Ordering::Relaxed);
            }
            Self { group: Some(group), balance: Balance::new(), computes: false }
        }

        fn remotes(&self) -> &[&'static Remote] {
            &self.group.as_ref().expect("until the end").remotes
        }

        /// One more thread starts, on the first worker or on the one that gets it.
        fn start(&self) -> usize {
            let there = self.balance.elsewhere(self.remotes(), 0, || self.computes);
            let is_there = |remote: &&'static Remote| there.is_some_and(|there| remote.index == there.index);
            let at = self.remotes().iter().position(is_there).unwrap_or(0);
            if at == 0 {
                self.remotes()[0].live.fetch_add(1, Ordering::Relaxed);
            }
            at
        }

        fn loads(&self) -> Vec<u32> {
            self.remotes().iter().map(|remote| remote.load().expect("it has not ended")).collect()
        }
    }

    impl Drop for Workers {
        fn drop(&mut self) {
            let group = self.group.take().expect("once");
            for remote in &group.remotes {
                remote.live.store(0, Ordering::Relaxed);
                remote.arriving.reopen();
            }
            remote::release(group);
        }
    }

    #[test]
    fn eight_threads_are_shared_out_and_the_first_few_stay() {
        let workers = Workers::with(&[1, 0]);
        assert_eq!([workers.start(), workers.start()], [0, 0], "a pair");
        (0..6).for_each(|_| _ = workers.start());
        assert_eq!(workers.loads(), [5, 4]);
        let workers = Workers::with(&[1, 0, 0, 0]);
        (0..8).for_each(|_| _ = workers.start());
        assert!(workers.loads().iter().all(|load| (2..=3).contains(load)), "{:?}", workers.loads());
    }

    #[test]
    fn each_of_a_few_that_compute_has_a_worker_of_its_own_while_there_is_one() {
        let mut workers = Workers::with(&[2, 0, 0, 0]);
        workers.computes = true;
        (0..3).for_each(|_| _ = workers.start());
        assert_eq!(workers.loads(), [2, 1, 1, 1]);
        assert_eq!(workers.start(), 0, "all have one");
        let mut workers = Workers::with(&[1, 0]);
        workers.computes = true;
        assert_eq!(workers.start(), 0, "beside one that waits");
    }

    #[test]
    fn a_great_many_are_within_an_eighth_and_come_in_batches() {
        let workers = Workers::with(&[1, 0]);
        let places: Vec<_> = (0..1000).map(|_| workers.start()).collect();
        let loads = workers.loads();
        assert!(loads[0] >= loads[1] && (loads[0] - loads[1]) * SLACK_SHARE <= loads[0] + SLACK_SHARE, "{loads:?}");
        let changes = places.windows(2).filter(|two| two[0] != two[1]).count();
        assert!(changes < 200, "{changes}");
    }

    #[test]
    fn a_busy_sibling_gets_none_unless_the_worker_is_as_busy() {
        let workers = Workers::with(&[9, 0]);
        workers.remotes()[1].busy.set_all();
        assert_eq!(workers.start(), 0);
        workers.remotes()[0].busy.set_all();
        assert_eq!(workers.start(), 1, "both are");
        let workers = Workers::with(&[9, 0, 4]);
        workers.remotes()[1].busy.set_all();
        assert_eq!(workers.start(), 2, "the free one, although it has more");
    }

    #[test]
    fn siblings_that_have_equally_few_get_theirs_in_turn_behind_the_last_one() {
        for last in 0..4 {
            let workers = Workers::with(&[9, 0, 0, 0]);
            workers.balance.creditor.set(last);
            let mut places: Vec<_> = (0..12).map(|_| workers.start()).filter(|at| *at != 0).collect();
            let given = places.len();
            places.dedup();
            let in_turn: Vec<_> = (1..=4).map(|after| (last + after) % 4).filter(|at| *at != 0).collect();
            assert_eq!(places, in_turn, "behind {last}, {given} of them: {:?}", workers.loads());
        }
    }

    #[test]
    fn a_sibling_that_has_ended_gets_none() {
        let workers = Workers::with(&[9, 0]);
        assert!(workers.remotes()[1].arriving.close());
        assert_eq!(workers.start(), 0);
        workers.remotes()[1].arriving.reopen();
        assert_eq!(workers.start(), 1);
    }
}
