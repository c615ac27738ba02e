//! `Semaphore`.
//!
//! One word, `permits << 1 | QUEUED`. `QUEUED` is set by a thread that enters the queue, and cleared by the thread that
//! takes the last one out, both under the queue's lock. While it is set, no thread takes permits past the queue: they go to
//! the first in it, as soon as there are enough ([`Semaphore::serve`]), and with them the thread is woken. So the order is
//! first come, first served. A release adds its permits and then, if it saw the bit, serves; a thread that enters the queue
//! after that has seen the permits: its exchange from a word with too few of them would have failed.

use std::fmt;
use std::time::Duration;

use crate::base::atomic::{AtomicUsize, Ordering};
use crate::base::debug::debug;
use crate::base::lock::Lock;
use crate::park::waiters::{WaitNode, Waiters, WakeList};
use crate::park::{Wait, WaitResult, checkpoint, quick_checkpoint, wait_in};
use crate::sys::clock::after_ns;
use crate::task::header::Reason;

const QUEUED: usize = 1;
const PERMIT: usize = 2;

/// Limits how many threads do something at once: a number of permits, of which a thread takes some and gives them back.
///
/// For green threads and OS threads alike. Threads that wait are served in the order in which they came, each as soon
/// as there are as many permits as it wants; none goes past another. A thread that is cancelled or times out takes no
/// permit with it. std has no semaphore; the names are tokio's.
///
/// ```
/// use green::sync::Semaphore;
///
/// let downloads = Semaphore::new(2);
/// let (one, two) = (downloads.acquire(), downloads.acquire());
/// assert!(downloads.try_acquire().is_none());
/// drop(one);
/// assert_eq!(downloads.available_permits(), 1);
/// # drop(two);
/// ```
pub struct Semaphore {
    word: AtomicUsize,
    /// Each with the number of permits that it wants.
    queue: Lock<Waiters<u32>>,
}

/// Holds permits of a [`Semaphore`], and gives them back when it is dropped. It may go to another thread.
///
/// ```
/// let limit = green::sync::Semaphore::new(1);
/// let permit = limit.acquire();
/// green::scope(|s| {
///     s.spawn(move || drop(permit));
/// });
/// assert_eq!(limit.available_permits(), 1);
/// ```
#[must_use = "if unused the permits are given back at once"]
pub struct SemaphoreGuard<'a> {
    semaphore: &'a Semaphore,
    permits: u32,
}

impl Semaphore {
    /// The greatest number of permits that one semaphore can have.
    pub const MAX_PERMITS: usize = usize::MAX >> 3;

    /// Makes a semaphore with `permits` permits; 0 is fine.
    ///
    /// ```
    /// use green::sync::Semaphore;
    /// static LIMIT: Semaphore = Semaphore::new(16);
    /// assert_eq!(LIMIT.available_permits(), 16);
    /// ```
    ///
    /// # Panics
    ///
    /// If that is more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    #[must_use]
    pub const fn new(permits: usize) -> Self {
        assert!(permits <= Self::MAX_PERMITS, "more permits than Semaphore::MAX_PERMITS");
        Self { word: AtomicUsize::new(permits * PERMIT), queue: Lock::new(Waiters::new()) }
    }

    /// Takes a permit, waits for one if there is none, and returns a guard that gives it back when it is dropped.
    ///
    /// Threads that wait are served first come, first served. A cancellation point: a thread that is cancelled has no
    /// permit.
    ///
    /// ```
    /// use green::sync::Semaphore;
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// let (limit, busy) = (Semaphore::new(2), AtomicU32::new(0));
    /// green::scope(|s| {
    ///     for _ in 0..10 {
    ///         s.spawn(|| {
    ///             let _permit = limit.acquire();
    ///             assert!(busy.fetch_add(1, Ordering::Relaxed) < 2);
    ///             green::yield_now();
    ///             busy.fetch_sub(1, Ordering::Relaxed);
    ///         });
    ///     }
    /// });
    /// ```
    #[inline]
    pub fn acquire(&self) -> SemaphoreGuard<'_> {
        self.acquire_many(1)
    }

    /// Takes `n` permits at once; waits until there are so many.
    ///
    /// A thread that waits for many keeps later ones out, also those that want few: so it is served. With an `n`
    /// greater than the semaphore will ever have, this waits for ever. A cancellation point.
    ///
    /// ```
    /// use green::sync::Semaphore;
    /// let memory = Semaphore::new(100);
    /// let large = memory.acquire_many(80);
    /// assert_eq!(memory.available_permits(), 20);
    /// drop(large);
    /// assert_eq!(memory.available_permits(), 100);
    /// ```
    #[inline]
    pub fn acquire_many(&self, n: u32) -> SemaphoreGuard<'_> {
        quick_checkpoint();
        if !self.try_take(n) {
            self.wait(n, Wait::new(Reason::Semaphore).on(self));
        }
        SemaphoreGuard { semaphore: self, permits: n }
    }

    /// Takes a permit if there is one and no thread waits; otherwise returns `None`. Never waits.
    ///
    /// ```
    /// let limit = green::sync::Semaphore::new(1);
    /// let permit = limit.try_acquire().unwrap();
    /// assert!(limit.try_acquire().is_none());
    /// # drop(permit);
    /// ```
    #[inline]
    pub fn try_acquire(&self) -> Option<SemaphoreGuard<'_>> {
        self.try_acquire_many(1)
    }

    /// Takes `n` permits if there are so many and no thread waits; otherwise returns `None`. Never waits.
    ///
    /// ```
    /// let limit = green::sync::Semaphore::new(3);
    /// assert!(limit.try_acquire_many(4).is_none());
    /// assert_eq!(limit.try_acquire_many(3).unwrap().permits(), 3);
    /// ```
    #[inline]
    pub fn try_acquire_many(&self, n: u32) -> Option<SemaphoreGuard<'_>> {
        self.try_take(n).then(|| SemaphoreGuard { semaphore: self, permits: n })
    }

    /// Takes a permit; waits for at most `d`, and returns `None` if there was none in that time. A cancellation point.
    ///
    /// ```
    /// use std::time::Duration;
    /// let limit = green::sync::Semaphore::new(0);
    /// assert!(limit.acquire_timeout(Duration::from_millis(1)).is_none());
    /// ```
    #[inline]
    pub fn acquire_timeout(&self, d: Duration) -> Option<SemaphoreGuard<'_>> {
        self.acquire_many_timeout(1, d)
    }

    /// Takes `n` permits at once; waits for at most `d`, and returns `None` if there were not so many in that time. A
    /// cancellation point.
    ///
    /// ```
    /// use std::time::Duration;
    /// let limit = green::sync::Semaphore::new(1);
    /// assert!(limit.acquire_many_timeout(2, Duration::from_millis(1)).is_none());
    /// assert_eq!(limit.available_permits(), 1);
    /// ```
    pub fn acquire_many_timeout(&self, n: u32, d: Duration) -> Option<SemaphoreGuard<'_>> {
        checkpoint();
        let taken = self.try_take(n) || self.wait(n, Wait::new(Reason::Semaphore).on(self).until(after_ns(d)));
        taken.then(|| SemaphoreGuard { semaphore: self, permits: n })
    }

    /// Returns the number of permits that no thread has. Another thread may change it at any time.
    ///
    /// ```
    /// assert_eq!(green::sync::Semaphore::new(4).available_permits(), 4);
    /// ```
    #[must_use]
    pub fn available_permits(&self) -> usize {
        self.word.load(Ordering::Relaxed) / PERMIT
    }

    /// Adds `n` permits, and wakes threads that can now have what they wait for. Never waits.
    ///
    /// ```
    /// use green::sync::Semaphore;
    /// let gate = Semaphore::new(0);
    /// green::scope(|s| {
    ///     let waits = s.spawn(|| gate.acquire().forget());
    ///     gate.add_permits(1);
    ///     waits.join().unwrap();
    /// });
    /// assert_eq!(gate.available_permits(), 0);
    /// ```
    ///
    /// # Panics
    ///
    /// If there would be more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    #[inline]
    pub fn add_permits(&self, n: usize) {
        let more = |word: usize| {
            let fits = n <= Self::MAX_PERMITS && word / PERMIT + n <= Self::MAX_PERMITS;
            fits.then(|| word + n * PERMIT)
        };
        // ORDERING: Release pairs with the Acquires of the threads that take the permits.
        let Ok(before) = self.word.fetch_update(Ordering::Release, Ordering::Relaxed, more) else {
            panic!("more permits than Semaphore::MAX_PERMITS");
        };
        if before & QUEUED != 0 {
            self.serve_all();
        }
    }

    #[inline(always)]
    fn try_take(&self, n: u32) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & QUEUED == 0 && word / PERMIT >= n as usize {
            let next = word - n as usize * PERMIT;
            // ORDERING: Acquire pairs with the Release in `add_permits`.
            match self.word.compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    #[cold]
    #[inline(never)]
    fn wait(&self, n: u32, mut wait: Wait) -> bool {
        let node = WaitNode::with(n);
        loop {
            let enter = |ticket| {
                let waiters = self.queue.lock();
                loop {
                    if self.try_take(n) {
                        return false;
                    }
                    let word = self.word.load(Ordering::Relaxed);
                    let waits = word & QUEUED != 0 || word / PERMIT < n as usize;
                    // ORDERING: Relaxed: permits that came before make the exchange fail; a thread that adds some after
                    // it sees the bit in the same word, and takes the queue's lock.
                    if waits
                        && self.word.compare_exchange(word, word | QUEUED, Ordering::Relaxed, Ordering::Relaxed).is_ok()
                    {
                        break;
                    }
                }
                // SAFETY: the node is in no queue; `leave` is called below if anything but a waker ends the wait.
                unsafe { waiters.push_back(&node, ticket) };
                true
            };
            match wait_in(&mut wait, enter, || self.leave(&node)) {
                WaitResult::Notified | WaitResult::Refused => return true,
                WaitResult::TimedOut => return self.try_take(n),
                WaitResult::Interrupted => {}
            }
        }
    }

    /// Takes a thread that no longer waits out of the queue; the next one may be served now.
    fn leave(&self, node: &WaitNode<u32>) {
        let mut wakes = WakeList::new();
        let waiters = self.queue.lock();
        // SAFETY: it is in this queue or in none.
        unsafe { waiters.remove(node) };
        self.serve(&waiters, &mut wakes);
    }

    #[cold]
    #[inline(never)]
    fn serve_all(&self) {
        let mut wakes = WakeList::new();
        self.serve(&self.queue.lock(), &mut wakes);
    }

    /// Gives permits to the first in the queue, as long as there are enough. Under the queue's lock.
    fn serve(&self, waiters: &Waiters<u32>, wakes: &mut WakeList<u32>) {
        while let Some(n) = waiters.first().map(|n| *n as usize) {
            let word = self.word.load(Ordering::Relaxed);
            if word / PERMIT < n {
                return;
            }
            // ORDERING: Acquire pairs with the Release in `add_permits`; it goes to the thread by way of its ticket. Only
            // permits that are added meanwhile make it fail.
            let next = word - n * PERMIT;
            if self.word.compare_exchange(word, next, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                match waiters.claim_next() {
                    Some(claimed) => wakes.push(claimed),
                    // It had left its wait otherwise.
                    None => _ = self.word.fetch_add(n * PERMIT, Ordering::Relaxed),
                }
            }
        }
        self.word.fetch_and(!QUEUED, Ordering::Relaxed);
    }
}

impl SemaphoreGuard<'_> {
    /// Returns the number of permits that the guard holds.
    ///
    /// ```
    /// assert_eq!(green::sync::Semaphore::new(3).acquire_many(2).permits(), 2);
    /// ```
    #[must_use]
    pub fn permits(&self) -> u32 {
        self.permits
    }

    /// Keeps the permits for ever: the semaphore has so many less.
    ///
    /// [`Semaphore::add_permits`] can add others later.
    ///
    /// ```
    /// let limit = green::sync::Semaphore::new(3);
    /// limit.acquire().forget();
    /// assert_eq!(limit.available_permits(), 2);
    /// ```
    pub fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for SemaphoreGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.semaphore.add_permits(self.permits as usize);
    }
}

debug! { Semaphore (this) permits: this.available_permits(); }

impl fmt::Debug for SemaphoreGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SemaphoreGuard").field("permits", &self.permits).finish()
    }
}
