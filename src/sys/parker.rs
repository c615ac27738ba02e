//! An OS thread's own sleep: a one-token parker, on a futex where there is one.
//!
//! The word has four values. `EMPTY`: nobody sleeps, no token. `ASLEEP`: the owner sleeps or is about to. `ELSEWHERE`:
//! the same, but it sleeps in something else than the futex, from which the waker has to fetch it.
//! `TOKEN`: an `unpark` came; the next `park` takes it and returns at once.
//!
//! The owner goes EMPTY → ASLEEP, or TOKEN → EMPTY and returns, in one subtraction: were it a swap and a store, a token that
//! comes between the two would be overwritten, and what its waker did not be visible. A waker swaps TOKEN in and makes the
//! system call only if it took ASLEEP out. A token that comes between the owner's subtraction and its system call changes
//! the word, and the kernel compares the word before it sleeps: so no wake-up is lost. (std's `thread_parking/futex.rs` is
//! the source.)
//!
//! `ELSEWHERE` is how a worker sleeps in its poller. The waker that takes it out calls `fetch`, which leaves something
//! there that ends the present sleep, or the next one (a write to an eventfd): so again it does not matter whether it
//! comes before or after the sleep begins. If the owner gets up for another reason meanwhile, its next sleep there is
//! cut short once.

use crate::base::atomic::{AtomicU32, Ordering};
use crate::sys::clock::NEVER;
use crate::sys::futex::Futex;

const EMPTY: u32 = 0;
const ASLEEP: u32 = EMPTY.wrapping_sub(1);
const ELSEWHERE: u32 = ASLEEP - 1;
const TOKEN: u32 = 1;

const _: () = assert!(TOKEN - 1 == EMPTY, "one subtraction makes both transitions of `park`");

/// One token and a place to sleep for it. One thread parks; any thread unparks.
#[derive(Debug)]
pub(crate) struct Parker {
    word: AtomicU32,
    sleep: Futex,
}

impl Parker {
    pub(crate) fn new() -> Self {
        Self { word: AtomicU32::new(EMPTY), sleep: Futex::new() }
    }

    /// Sleeps until there is a token and takes it, or until `deadline_ns`. Says whether it took one.
    pub(crate) fn park(&self, deadline_ns: u64) -> bool {
        // ORDERING: Acquire pairs with the Release in `unpark`: what the waker did before it is visible after.
        if self.word.fetch_sub(1, Ordering::Acquire) == TOKEN {
            return true;
        }
        loop {
            let timed_out = !self.sleep.wait(&self.word, ASLEEP, deadline_ns);
            // ORDERING: Acquire as above. Relaxed on failure: nothing was handed over.
            if self.word.compare_exchange(TOKEN, EMPTY, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return true;
            }
            if timed_out && deadline_ns != NEVER {
                // ORDERING: Acquire as above; a token that came at the last moment is taken.
                return self.word.swap(EMPTY, Ordering::Acquire) == TOKEN;
            }
        }
    }

    /// Is there a token now? For the owner, which then takes it with [`park`](Self::park).
    pub(crate) fn has_token(&self) -> bool {
        // ORDERING: Relaxed: `park` acquires.
        self.word.load(Ordering::Relaxed) == TOKEN
    }

    /// Unless there is a token, calls `sleep`, which comes back when it wants to or when it is fetched. Takes the token;
    /// says whether there was one.
    pub(crate) fn park_elsewhere(&self, sleep: impl FnOnce()) -> bool {
        // ORDERING: Release: a waker that takes this out sees where the owner sleeps. The exchange below acquires, a token that
        // is taken here, too: both exchanges continue its waker's release sequence.
        let token = self.word.swap(ELSEWHERE, Ordering::Release) == TOKEN;
        if !token {
            sleep();
        }
        // ORDERING: Acquire as in `park`.
        self.word.swap(EMPTY, Ordering::Acquire) == TOKEN || token
    }

    /// Leaves a token and wakes the owner if it sleeps. Makes no system call if it does not.
    pub(crate) fn unpark(&self) {
        self.unpark_or(|| {});
    }

    /// As [`unpark`](Self::unpark), for an owner that may sleep elsewhere: `fetch` ends that sleep.
    pub(crate) fn unpark_or(&self, fetch: impl FnOnce()) {
        // ORDERING: Release pairs with the Acquire in `park`; Acquire with the Release in `park_elsewhere`.
        match self.word.swap(TOKEN, Ordering::AcqRel) {
            ASLEEP => self.sleep.wake(&self.word),
            ELSEWHERE => fetch(), // KEY: fetch
            _ => {}
        }
    }
}
