//! Gives back what threads that wait for long do not use of their stacks.
//!
//! A thread that has called deep once keeps the pages, and may wait for hours then. So each worker looks through its live
//! threads: a *pass* in steps, at most once a second. A thread that is met in the same wait as a pass before has waited for a
//! second at least; then its stack is looked at, once in that wait, and what lies well below its stack pointer goes back
//! to the system.
//!
//! * **Nothing is noted when a thread waits or is resumed**: the number of its wait, which the park word has anyway, tells
//!   two waits apart.
//! * It is noted when a thread was first met in its wait: so a dump can say how long it has waited at least ([`waited_ns`]).
//! * **The owner does it**, in its loop: so all its threads are suspended, and nobody else touches their stacks.
//! * A thread that calls deep more than once a second keeps its pages. One that wakes more seldom pays a fault for each page
//!   that it needs again: some 0.3 µs.
//! * A step is short, as it delays threads that wake meanwhile. A pass over a million threads takes 40 s. To look at a stack costs 1 µs
//!   with all that belongs to it, once in a wait; to give 160 KiB back 25 µs.
//! * A worker that sleeps gets up for it while some thread may have waited for less than a pass tells; then no more.
//! * A worker that never sleeps does it when it looks at the clock; if it has no other reason to, at every 1024th turn.

use std::cell::Cell;

use crate::sched::live::Live;
use crate::stack::unused::{self, Unused};
use crate::sys::clock::{NEVER, real_ns};
use crate::task::Header;
use crate::task::wait::WaitLook;

/// From the end of a pass to the next one.
const PAUSE_NS: u64 = 1_000_000_000;
/// From one step of a pass to the next one.
const STEP_NS: u64 = 10_000_000;
/// Threads that one step meets, and stacks that are looked at together.
const THREADS: usize = 256;
const STACKS: usize = 32;
/// So many deep stacks end a step: to free the pages of one takes some 10 µs.
const DEEP: usize = 16;

/// Where a worker's passes stand.
#[derive(Debug)]
pub(crate) struct Tidy {
    /// When the next step is due.
    due_ns: Cell<u64>,
    /// Threads that the present pass has still to look at; 0: there is none.
    left: Cell<usize>,
    /// A pass may find something: threads have run since the last one began, or it has met threads in a new wait.
    news: Cell<bool>,
    /// Tells a pass from the one before: 0 or [`ODD`].
    pass: Cell<u32>,
    /// Ticks of a worker that has no reason to look at the clock.
    timeless: Cell<u8>,
}

impl Tidy {
    pub(crate) fn new(now_ns: u64) -> Self {
        Self {
            due_ns: Cell::new(now_ns + PAUSE_NS),
            left: Cell::new(0),
            news: Cell::new(true),
            pass: Cell::new(0),
            timeless: Cell::new(0),
        }
    }
}

/// The number of a wait is a multiple of eight. What is remembered of it has these bits in addition: it was met in an odd
/// pass; its stack has been looked at.
const ODD: u32 = 1;
const DONE: u32 = 2;
/// The note on a stack is the wait, and above its 32 bits the time at which it was first met, in units of 2 to this power: milliseconds.
const TICK: u32 = 20;

/// How a pass meets a thread.
enum Met {
    /// It runs, or has been met in this pass (others have ended, so the pass comes round again), or is done with in this wait.
    Before,
    InNewWait,
    /// For the second time in one wait.
    Again,
}

fn meet(thread: &Header, pass: u32, now_ns: u64) -> Met {
    let Some(wait) = thread.wait.waiting() else { return Met::Before };
    let wait = wait.bits() as u32;
    let seen = thread.seen.get();
    if seen & !(ODD | DONE) != wait {
        thread.seen.set(wait | pass);
        // SAFETY: invariant 3 of the header: this is its home worker, in whose loop it does not run.
        if let Some(fiber) = unsafe { &*thread.fiber.get() } {
            fiber.leave_note(u64::from(wait) | now_ns >> TICK << 32);
        }
        return Met::InNewWait;
    }
    if seen & DONE != 0 || seen & ODD == pass {
        return Met::Before;
    }
    thread.seen.set(wait | DONE);
    Met::Again
}

/// How long a thread has been in the wait of `look` at least, by the note on its stack; `None`: no pass has met it there. It begins anew after 52
/// days.
pub(super) fn waited_ns(look: WaitLook, note: u64) -> Option<u64> {
    let ticks = ((real_ns() >> TICK) as u32).wrapping_sub((note >> 32) as u32);
    (note as u32 == look.epoch().bits() as u32).then(|| u64::from(ticks) << TICK)
}

impl Tidy {
    #[inline]
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        now_ns >= self.due_ns.get()
    }

    /// The worker is about to sleep, and threads may have run since it last did.
    pub(crate) fn later(&self) {
        if !self.news.replace(true) && self.left.get() == 0 {
            // It slept through the time that the next pass was due at.
            self.due_ns.set(real_ns() + PAUSE_NS);
        }
    }

    /// When a sleeping worker should get up for the next step.
    pub(crate) fn next_ns(&self, live: &Live) -> u64 {
        let pays = live.count() > 0 && (self.news.get() || self.left.get() > 0);
        if pays { self.due_ns.get() } else { NEVER }
    }

    /// Eight turns are over, in a worker without timers and descriptors.
    #[inline]
    pub(crate) fn without_time(&self, live: &Live) {
        let ticks = self.timeless.get().wrapping_add(2);
        self.timeless.set(ticks);
        if ticks == 0 {
            let now_ns = real_ns();
            if self.is_due(now_ns) {
                self.step(live, now_ns);
            }
        }
    }

    /// One step, in the worker's loop.
    #[cold]
    #[inline(never)]
    pub(crate) fn step(&self, live: &Live, now_ns: u64) {
        if self.left.get() == 0 {
            self.left.set(live.count());
            self.news.set(false);
            self.pass.set(self.pass.get() ^ ODD);
        }
        let until = self.left.get().saturating_sub(THREADS);
        let mut deep = 0;
        while self.left.get() > until && deep < DEEP {
            deep += self.meet_some(live, until, now_ns);
        }
        self.due_ns.set(now_ns + if self.left.get() == 0 { PAUSE_NS } else { STEP_NS });
    }

    /// Meets threads until `until` are left, or it has met enough whose stacks are worth a look. How many of these were deep?
    fn meet_some(&self, live: &Live, until: usize, now_ns: u64) -> usize {
        let (mut stacks, mut count) = ([Unused::NONE; STACKS], 0);
        let (mut last, mut next) = (None, live.next_to_tidy());
        while self.left.get() > until && count < STACKS {
            let Some(thread) = next else {
                // Some that the pass counted have ended; or it began in the middle, as others list the threads, and the next one has the rest.
                self.left.set(0);
                break;
            };
            self.left.set(self.left.get() - 1);
            (last, next) = (next, live.list.next_of(thread));
            // SAFETY: it is in the list of live threads, so it holds a reference.
            let thread = unsafe { thread.as_ref() };
            match meet(thread, self.pass.get(), now_ns) {
                Met::Before => {}
                Met::InNewWait => self.news.set(true),
                Met::Again => {
                    // SAFETY: invariant 3 of the header; in the loop all threads are suspended.
                    let unused = unsafe { (*thread.fiber.get()).as_ref().and_then(|fiber| fiber.unused()) };
                    if let Some(unused) = unused {
                        stacks[count] = unused;
                        count += 1;
                    }
                }
            }
        }
        if let Some(last) = last {
            // SAFETY: it was just met there. So the next one to be met is the one behind it.
            unsafe { live.has_tidied_up_to(last) };
        }
        // SAFETY: as above: the stacks' threads do not run before this returns.
        unsafe { unused::give_back(&mut stacks[..count]) }
    }
}
