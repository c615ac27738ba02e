//! On which worker does a thread start? A thread that has started stays where it is, so this is decided once for its whole life.
//! The steps, and why they lose nothing, are in `sched/PROTOCOL.md`, *Placement*.
//!
//! # What it buys
//!
//! Without it (`green_without = "balance"`) a thread starts where it is taken from a queue. Of a pool of eight that waits for its first
//! job, on two workers of a machine that has other things to do, how many are on either worker, in how many of 20 runs:
//!
//! | spawned | with | without |
//! | --- | --- | --- |
//! | by a green thread, in a loop | 4 and 4: 20 | 8 and 0: 20 |
//! | the same, and joined at once | 4 and 4: 20 | 8 and 0: 20 |
//! | by a green thread that sleeps for 2 ms in between | 4 and 4: 20 | 8 and 0: 20 |
//! | by an OS thread, in a loop | 4 and 4: 20 | 8 and 0: 20 |
//! | by an OS thread, 2 ms apart | 5 and 3: 20 | 8 and 0: 20 |
//! | by a green thread that computes for 2 ms in between: these on its worker | 1: 7; 3: 13 | 0: 3; 1: 17 |
//! | by a server that accepts 8 connections | 4 and 4: 19; 3 and 5: 1 | |
//!
//! `benches/without balance echo -- --connections 8,64 --servers green`, three rounds, on the same machine: 41 000 requests/s and 18 000 with 8
//! connections, CPU 8.2 µs and 6.9 µs each; 32 000 and 23 000 with 64, CPU 7.1 and 6.7 µs. (With few connections one worker would do.)
//!
//! What a tree of threads that are joined costs (`benches/skynet.rs`) is the same with and without: none of them is given away.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::ptr;

use crate::sched::policy::busy_share;
use crate::sched::remote::Remote;
use crate::sys::clock::now_ns;
use crate::task::header::VTable;

/// A worker that has fewer than so many threads gives none away.
const FEW: usize = 4;
/// One that has so many more than the one that has fewest gives some of them away; or an eighth of its own, if that is more.
const SLACK: usize = 3;
const SLACK_SHARE: usize = 8;
/// A sibling that is busier than the worker by more than a quarter gets none.
const BUSIER: u32 = busy_share::ALL / 4;
/// One that is less busy by a half gets the next one if it has about as many.
const FREER: u32 = busy_share::ALL / 2;
/// For how long a worker remembers that threads of a kind talk and end soon.
const REMEMBERS_NS: u64 = 1_000_000_000;
/// Kinds of threads that a worker remembers.
const KINDS: usize = 8;

const ON: bool = cfg!(not(green_without = "balance"));

/// What one worker knows, for step D2, and what it owes, for D3 and D4.
#[derive(Debug)]
pub(crate) struct Balance {
    /// Each kind at its place, or instead of another.
    kinds: [Kind; KINDS],
    creditor: Cell<usize>,
    owed: Cell<usize>,
    runs: Cell<u32>,
    #[cfg(test)]
    pub(crate) given: Cell<u32>,
}

/// Which siblings may get a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Siblings {
    All,
    /// Those that run nothing now.
    Idle,
}

impl Siblings {
    fn have(self, remote: &Remote) -> bool {
        self == Self::All || !remote.busy.is_now()
    }
}

/// What a worker remembers of one kind of threads.
#[derive(Debug)]
struct Kind {
    of: Cell<*const VTable>,
    /// 0: it waits. Otherwise its threads talk to each other and end soon: that much is known until then.
    short_until_ns: Cell<u64>,
}

impl Kind {
    fn waits(&self) -> bool {
        !self.of.get().is_null() && self.short_until_ns.get() == 0
    }

    fn set(&self, of: *const VTable, short_until_ns: u64) {
        self.of.set(of);
        self.short_until_ns.set(short_until_ns);
    }
}

impl Balance {
    pub(crate) fn new() -> Self {
        Self {
            kinds: [const { Kind { of: Cell::new(ptr::null()), short_until_ns: Cell::new(0) } }; KINDS],
            creditor: Cell::new(0),
            owed: Cell::new(0),
            runs: Cell::new(0),
            #[cfg(test)]
            given: Cell::new(0),
        }
    }

    fn place(&self, of: *const VTable) -> &Kind {
        // A table is some 50 bytes long.
        &self.kinds[(of.addr() >> 4) % KINDS]
    }

    /// The first turn of a thread has ended because it waits; `outside`: for what no thread does.
    pub(crate) fn waits(&self, of: &'static VTable, outside: bool, now_ns: u64) {
        let kind = self.place(of);
        if outside || !ptr::eq(kind.of.get(), of) || kind.short_until_ns.get() <= now_ns {
            kind.set(of, 0);
        }
    }

    /// A thread that waited for others has ended soon.
    pub(crate) fn is_short_lived(&self, of: &'static VTable, now_ns: u64) {
        self.place(of).set(of, now_ns + REMEMBERS_NS);
    }

    /// The first turn of a thread was its last.
    pub(crate) fn ended(&self, of: &'static VTable) {
        if self.may_stay_long(of) {
            self.place(of).set(ptr::null(), 0);
        }
    }

    /// May what stands in the worker's deque be counted as threads? Not if it has started runs of actors (so many by now) since the question
    /// was last asked.
    pub(crate) fn counts_unstarted(&self, runs: u32) -> bool {
        self.runs.replace(runs) == runs
    }

    /// Does any kind wait?
    pub(crate) fn any_waits(&self) -> bool {
        ON && self.kinds.iter().any(Kind::waits)
    }

    /// Step D2.
    #[inline]
    fn may_stay_long(&self, of: &'static VTable) -> bool {
        let kind = self.place(of);
        ptr::eq(kind.of.get(), of) && kind.waits()
    }

    /// Steps D2 to D4, for a thread of that `kind` which the worker, that `number` of `remotes`, has taken; with it the worker has `load`
    /// threads. `None`: it starts here. Otherwise there, where it is expected.
    #[inline]
    pub(crate) fn elsewhere(
        &self,
        remotes: &[&'static Remote],
        number: usize,
        kind: &'static VTable,
        load: impl FnOnce() -> usize,
        to: Siblings,
    ) -> Option<&'static Remote> {
        if !self.may_stay_long(kind) || remotes.len() == 1 || !ON {
            return None;
        }
        self.give(remotes, number, load(), to)
    }

    #[cold]
    fn give(&self, remotes: &[&'static Remote], number: usize, load: usize, to: Siblings) -> Option<&'static Remote> {
        let mut owed = self.owed.replace(0);
        let creditor = remotes[self.creditor.get()];
        if !to.have(creditor) || creditor.load().is_none_or(|least| least as usize + 2 > load) {
            owed = 0;
        }
        if owed == 0 {
            owed = self.owe(remotes, number, load, to);
        }
        let owed = owed.checked_sub(1)?;
        let remote = remotes[self.creditor.get()];
        remote.arriving.expect().then(|| {
            self.owed.set(owed);
            #[cfg(test)]
            self.given.set(self.given.get() + 1);
            remote
        })
    }

    /// Step D3: how many threads are owed to `creditor`.
    fn owe(&self, remotes: &[&'static Remote], number: usize, load: usize, to: Siblings) -> usize {
        let now_ns = now_ns();
        let own = remotes[number].busy.at(now_ns);
        let (mut all, mut least) = (load, None);
        for at in (1..=remotes.len()).map(|after| (self.creditor.get() + after) % remotes.len()) {
            let Some(other) = remotes[at].load().filter(|_| at != number) else { continue };
            let (other, share) = (other as usize, remotes[at].busy.at(now_ns));
            all += other;
            let before = (other, share / BUSIER);
            let fits = to.have(remotes[at]) && share <= own.saturating_add(BUSIER);
            if fits && least.is_none_or(|(least, _)| before < least) {
                least = Some((before, at));
            }
        }
        let Some(((least, _), at)) = least.filter(|_| load >= FEW) else { return 0 };
        self.creditor.set(at);
        let gap = load.saturating_sub(least);
        if gap >= SLACK.max(load / SLACK_SHARE) {
            return (all / remotes.len()).saturating_sub(least).clamp(1, gap / 2);
        }
        let free = own >= remotes[at].busy.at(now_ns).saturating_add(FREER);
        usize::from(free && load >= least - least / SLACK_SHARE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::atomic::Ordering;
    use crate::sched::remote::{self, Group};

    const fn kind(_: u8) -> VTable {
        VTable {
            main: |_| unreachable!("nothing runs"),
            choose_next: None,
            run: |_, _| unreachable!("nothing runs"),
            take_output: |_, _| unreachable!("nothing runs"),
            drop_output: |_| unreachable!("nothing runs"),
            done: |_| unreachable!("nothing runs"),
            free: |_| unreachable!("nothing runs"),
            after_run: None,
        }
    }
    static KIND: VTable = kind(0);
    static OTHER: VTable = kind(1);

    /// Workers that have these numbers of threads, and what the first one knows.
    struct Workers {
        group: Option<Group>,
        balance: Balance,
    }

    impl Workers {
        fn with(loads: &[u32]) -> Self {
            let group = remote::acquire(loads.len()).expect("so few workers");
            for (remote, load) in group.remotes.iter().zip(loads) {
                remote.live.store(*load, Ordering::Relaxed);
            }
            let balance = Balance::new();
            balance.waits(&KIND, true, 0);
            Self { group: Some(group), balance }
        }

        fn remotes(&self) -> &[&'static Remote] {
            &self.group.as_ref().expect("until the end").remotes
        }

        fn load(&self, at: usize) -> u32 {
            self.remotes()[at].load().expect("it has not ended")
        }

        /// One more thread starts, on the first worker or on the one that gets it; `unstarted` others could start on the first.
        fn start(&self, unstarted: usize) -> usize {
            let load = || self.load(0) as usize + unstarted + 1;
            let there = self.balance.elsewhere(self.remotes(), 0, &KIND, load, Siblings::All);
            let at = there.map_or(0, |there| {
                self.remotes().iter().position(|remote| remote.index == there.index).expect("one of them")
            });
            if at == 0 {
                self.remotes()[0].live.fetch_add(1, Ordering::Relaxed);
            }
            at
        }

        fn loads(&self) -> Vec<u32> {
            (0..self.remotes().len()).map(|at| self.load(at)).collect()
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
    fn eight_threads_that_come_one_by_one_or_together_are_shared_out_and_the_first_few_stay() {
        for together in [false, true] {
            let workers = Workers::with(&[1, 0]);
            let places: Vec<_> = (0..8).map(|n| workers.start(if together && n > 0 { 7 - n } else { 0 })).collect();
            assert_eq!(workers.loads(), [5, 4], "{places:?}");
            assert_eq!(places[0], 0);
        }
        let workers = Workers::with(&[1, 0, 0, 0]);
        (0..8).for_each(|_| _ = workers.start(0));
        assert_eq!(workers.loads(), [3, 2, 2, 2]);
        let workers = Workers::with(&[1, 0]);
        assert_eq!([workers.start(0), workers.start(0)], [0, 0], "a pair");
    }

    #[test]
    fn a_great_many_are_within_an_eighth_and_come_in_batches() {
        let workers = Workers::with(&[1, 0]);
        let places: Vec<_> = (0..1000).map(|_| workers.start(0)).collect();
        let loads = workers.loads();
        assert!(loads[0] >= loads[1] && (loads[0] - loads[1]) * 8 <= loads[0] + 8, "{loads:?}");
        let changes = places.windows(2).filter(|two| two[0] != two[1]).count();
        assert!(changes < 200, "{changes}");
    }

    #[test]
    fn only_a_kind_that_waits_is_given_away() {
        let workers = Workers::with(&[9, 0]);
        assert_eq!(workers.start(0), 1);
        let balance = &workers.balance;
        balance.ended(&OTHER);
        assert!(balance.any_waits(), "another kind");
        balance.ended(&KIND);
        assert!(!balance.any_waits());
        assert_eq!(workers.start(0), 0);
        balance.waits(&KIND, false, 5);
        assert_eq!(workers.start(0), 1);
        balance.is_short_lived(&KIND, 10);
        balance.waits(&KIND, false, 20);
        assert_eq!(workers.start(0), 0, "such threads end soon, it is known for a while");
        balance.waits(&KIND, false, 11 + REMEMBERS_NS);
        assert_eq!(workers.start(0), 1);
    }

    #[test]
    fn a_busy_sibling_gets_none_and_a_free_one_gets_the_next_if_it_has_about_as_many() {
        let workers = Workers::with(&[9, 0]);
        workers.remotes()[1].busy.set_all();
        assert_eq!(workers.start(0), 0);
        workers.remotes()[0].busy.set_all();
        assert_eq!(workers.start(0), 1, "both are");
        let workers = Workers::with(&[8, 8]);
        assert_eq!(workers.start(0), 0);
        workers.remotes()[0].busy.set_all();
        assert_eq!(workers.start(0), 1);
        let workers = Workers::with(&[8, 11]);
        workers.remotes()[0].busy.set_all();
        assert_eq!(workers.start(0), 0, "it has too many already");
    }

    #[test]
    fn a_sibling_that_has_ended_gets_none() {
        let workers = Workers::with(&[9, 0]);
        assert!(workers.remotes()[1].arriving.close());
        assert_eq!(workers.start(0), 0);
        workers.remotes()[1].arriving.reopen();
        assert_eq!(workers.start(0), 1);
    }
}
