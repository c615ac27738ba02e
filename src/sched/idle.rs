//! Which of a runtime's workers sleep, which search, which is the lookout: one word, and the idle protocol on it.
//!
//! `word = lookout (1 bit) | searching (15 bits) | asleep (16 bits)`. The protocol and its proof are in
//! `sched/PROTOCOL.md`; the steps there have the names of the methods here.
//!
//! The operations on the word are Relaxed: each is atomic, and they have one order. Where a worker goes on to look at the
//! queues, a fence stands between, and the publisher's partner is the fence in [`publish_more`](Idle::publish_more): if that
//! read the word as it was before the worker's operation, its fence comes first, and the look sees what it had published.

use crate::base::atomic::{AtomicU32, Ordering, fence, spin_loop};

const ASLEEP_ONE: u32 = 1;
const ASLEEP: u32 = 0xffff;
const SEARCHING_ONE: u32 = 1 << 16;
const SEARCHING: u32 = 0x7fff << 16;
const LOOKOUT: u32 = 1 << 31;

/// How a worker that has found nothing goes to sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Duty {
    /// It is the lookout: it sleeps for a bounded time, looks round, and sleeps again.
    Lookout,
    /// It sleeps until it is woken.
    None,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Idle {
    word: AtomicU32,
}

impl Idle {
    pub(crate) fn new() -> Self {
        Self { word: AtomicU32::new(0) }
    }

    fn asleep(word: u32) -> u32 {
        word & ASLEEP
    }

    /// A worker without work wants to search. False: `limit` workers do so already.
    #[must_use]
    pub(crate) fn try_search(&self, limit: u32) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if (word & SEARCHING) >= limit * SEARCHING_ONE {
                return false;
            }
            // ORDERING: Relaxed: a publisher that sees this searcher leaves its work to it; the searcher's look after `found`
            // or `announce` comes after that.
            match self.word.compare_exchange_weak(word, word + SEARCHING_ONE, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// A searcher has found something. True: it was the last one while others sleep, so it has to look whether there is
    /// more, on behalf of the publishers that relied on it.
    #[must_use]
    pub(crate) fn found(&self) -> bool {
        let old = self.word.fetch_sub(SEARCHING_ONE, Ordering::Relaxed);
        let looks = (old & SEARCHING) == SEARCHING_ONE && Self::asleep(old) > 0;
        if looks {
            // ORDERING: comes before that look; the partner is the fence in `publish_more`.
            fence(Ordering::SeqCst); // KEY: found-fence
        }
        looks
    }

    /// A worker counts itself as asleep, before it dozes and has its last look. `workers` is how many there are.
    pub(crate) fn announce(&self, searching: bool, workers: u32) -> Duty {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let mut next = word + ASLEEP_ONE;
            if searching {
                next -= SEARCHING_ONE;
            }
            let lookout = word & LOOKOUT == 0 && Self::asleep(next) < workers;
            if lookout {
                next |= LOOKOUT;
            }
            // ORDERING: Relaxed: `before_last_look` comes before the last look; a publisher whose work that misses sees this
            // count.
            match self.word.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return if lookout { Duty::Lookout } else { Duty::None },
                Err(now) => word = now,
            }
        }
    }

    /// Between `announce` (and the mark in the inbox) and the last look for work.
    pub(crate) fn before_last_look(&self) {
        // ORDERING: the partner of the fence in `publish_more`: at least one of the two sides sees the other.
        fence(Ordering::SeqCst); // KEY: look-fence
    }

    /// Somebody has cleared a worker's `ASLEEP` mark (the worker itself, or a thread that left something for it): it is counted as
    /// awake from now on.
    pub(crate) fn count_awake(&self) {
        // A worker that runs has left the count before it publishes anything: it did so itself, or the unpark that followed brought
        // it the new count.
        // ORDERING(argued): Release pairs with the Acquire in `nobody_asleep`: what led here (`counted`, step L2) was read before the
        // remote has changed hands. A model reads nothing from the future, so none can show that.
        let old = self.word.fetch_sub(ASLEEP_ONE, Ordering::Release);
        debug_assert!(Self::asleep(old) > 0);
    }

    /// The lookout has slept its time. True: all workers sleep, nobody can publish but OS threads (which always wake
    /// somebody), so it gives the office up and sleeps soundly.
    #[must_use]
    pub(crate) fn resign_if_all_asleep(&self, workers: u32) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while Self::asleep(word) == workers {
            // One word holds the count and the office, so a worker that has left the count since then makes this fail.
            // ORDERING(argued): Acquire as in `resign`.
            match self.word.compare_exchange_weak(word, word & !LOOKOUT, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// A spare worker has got up, which is not counted here; before it looks for a lookout.
    pub(crate) fn spare_is_up(&self) {
        // ORDERING: SeqCst pairs with the fence in `before_last_look`: a sleeper that is not the lookout sees the spare worker, or that sees
        // the sleeper.
        fence(Ordering::SeqCst); // KEY: spare-fence
    }

    /// Is there a lookout?
    pub(crate) fn has_lookout(&self) -> bool {
        // ORDERING: Relaxed: comes after the exchange in `found`, on the same word.
        self.word.load(Ordering::Relaxed) & LOOKOUT != 0
    }

    /// The lookout gets up. True: others still sleep, so it looks whether somebody relied on it.
    #[must_use]
    pub(crate) fn resign(&self) -> bool {
        // ORDERING(argued): Acquire keeps the look behind the resignation. `publish_one` has no fence, so a thread that is pushed in
        // these nanoseconds may be missed all the same (sched/PROTOCOL.md), and no model can demand that it is not.
        Self::asleep(self.word.fetch_and(!LOOKOUT, Ordering::Acquire)) > 0
    }

    /// A worker has published its first stealable thread. True: nobody would find it, so wake a thief.
    #[inline]
    #[must_use]
    pub(crate) fn publish_one(&self) -> bool {
        // ORDERING: Relaxed: whether a lookout stays is decided in this one word against the count of sleepers, which
        // the calling worker has left: see `resign_if_all_asleep`.
        let word = self.word.load(Ordering::Relaxed);
        Self::asleep(word) > 0 && word & (LOOKOUT | SEARCHING) == 0
    }

    /// Does any worker sleep or search? A hint.
    #[inline]
    pub(crate) fn is_anybody_idle(&self) -> bool {
        self.word.load(Ordering::Relaxed) & (ASLEEP | SEARCHING) != 0
    }

    /// Does any worker sleep, and none search? As [`publish_more`](Self::publish_more) without its fence, for what the lookout finds if this misses it.
    #[inline]
    pub(crate) fn lacks_searcher(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        Self::asleep(word) > 0 && word & SEARCHING == 0
    }

    /// Somebody has published work that others should help with. True: nobody searches and somebody sleeps, so wake a
    /// thief.
    #[inline]
    #[must_use]
    pub(crate) fn publish_more(&self) -> bool {
        // ORDERING: orders the publication before the load; the partner is the fence in `before_last_look`. At least one
        // of the two sides sees the other.
        fence(Ordering::SeqCst); // KEY: publish-fence
        let word = self.word.load(Ordering::Relaxed);
        Self::asleep(word) > 0 && word & SEARCHING == 0
    }

    /// Steps P4 to P6', after a `publish_…` that said so. `notify_one` wakes one sleeping worker to search, if it finds one;
    /// `work` says whether there is work to share.
    pub(crate) fn notify_thief(&self, mut notify_one: impl FnMut() -> bool, work: impl Fn() -> bool) {
        while self.reserve_search() {
            if notify_one() || !(self.cancel_search() && work()) {
                return;
            }
            // Somebody stands between S1 and S2, or between losing its mark and being counted awake: a few instructions.
            spin_loop();
        }
    }

    /// A publisher reserves the one place of a searcher that is being woken. False: there is a searcher by now.
    fn reserve_search(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        let wanted = Self::asleep(word) > 0 && word & SEARCHING == 0;
        // ORDERING: Relaxed: publishers that see the reservation are looked after by `cancel_search`, or by the woken searcher.
        let swap = |next| self.word.compare_exchange(word, next, Ordering::Relaxed, Ordering::Relaxed);
        wanted && swap(word + SEARCHING_ONE).is_ok()
    }

    /// The publisher found nobody to wake. True: somebody is counted as asleep, so if there is work it has to try again,
    /// on behalf of publishers that saw the reservation and left it at that.
    fn cancel_search(&self) -> bool {
        let old = self.word.fetch_sub(SEARCHING_ONE, Ordering::Relaxed);
        // ORDERING: comes before that look at the work; the partner is the fence in `publish_more`.
        fence(Ordering::SeqCst); // KEY: cancel-fence
        Self::asleep(old) > 0
    }

    /// Is everybody awake? A runtime that shuts down waits for the last `count_awake`.
    pub(crate) fn nobody_asleep(&self) -> bool {
        // ORDERING(argued): Acquire pairs with the Release in `count_awake`, see there.
        Self::asleep(self.word.load(Ordering::Acquire)) == 0
    }
}
