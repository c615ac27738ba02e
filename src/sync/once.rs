//! `Once`: one closure of many is run.
//!
//! | state        | meaning                                       | left by                                                 |
//! | ------------ | --------------------------------------------- | ------------------------------------------------------- |
//! | `INCOMPLETE` | no thread has begun, or one was cancelled     | a thread that begins: to `RUNNING`                      |
//! | `RUNNING`    | one thread runs its closure                   | it: to `COMPLETE`; to `POISONED` by a panic; to `INCOMPLETE` by a cancel or time-out |
//! | `POISONED`   | a closure has panicked                        | a thread that begins with force: to `RUNNING`           |
//! | `COMPLETE`   | done                                          | never                                                   |
//!
//! `QUEUED` beside the first three says that threads may be in the queue: a waiter sets it under the queue's lock, and
//! enters. The thread that leaves `RUNNING` swaps the bit out, then takes the queue's lock and wakes all waiters, which look
//! again. So a waiter whose bit is swapped out is in the queue by the time that lock is had.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::offset_of;
use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::base::atomic::{AtomicU32, Ordering};
use crate::base::debug::debug;
use crate::base::lock::Lock;
use crate::park::unwind::PanicMark;
use crate::park::waiters::{WaitNode, Waiters, WakeList};
use crate::park::{Wait, WaitResult, checkpoint, wait_in};
use crate::sync::holder::LockHolder;
use crate::task::header::Reason;

const INCOMPLETE: u32 = 0;
const RUNNING: u32 = 1;
const POISONED: u32 = 2;
const COMPLETE: u32 = 3;
const STATE: u32 = 3;
const QUEUED: u32 = 1 << 2;

/// Runs one closure once, and has all other threads wait for it: [`std::sync::Once`].
///
/// A thread that comes while the closure runs waits, green threads parked; that wait is a cancellation point. A closure
/// that panics poisons the `Once`. A thread that is cancelled in its closure leaves it as if it had not begun: the next
/// one runs its own.
///
/// ```
/// use green::sync::Once;
///
/// static START: Once = Once::new();
/// let mut times = 0;
/// START.call_once(|| times += 1);
/// START.call_once(|| times += 1);
/// assert_eq!(times, 1);
/// ```
#[repr(C)]
pub struct Once {
    word: AtomicU32,
    holder: LockHolder,
    queue: Lock<Waiters<()>>,
}

impl Once {
    /// Where the word and the holder are.
    pub(super) const PLACES: [usize; 2] = [offset_of!(Self, word), offset_of!(Self, holder)];
}

impl UnwindSafe for Once {}
impl RefUnwindSafe for Once {}

/// Tells the closure of [`Once::call_once_force`] what came before: [`std::sync::OnceState`], which only std can make.
///
/// ```
/// let once = green::sync::Once::new();
/// once.call_once_force(|state: &green::sync::OnceState| assert!(!state.is_poisoned()));
/// ```
pub struct OnceState {
    poisoned: bool,
    _not_sync: PhantomData<Cell<()>>,
}

impl Once {
    /// Makes a `Once` that has run nothing.
    ///
    /// ```
    /// static START: green::sync::Once = green::sync::Once::new();
    /// assert!(!START.is_completed());
    /// ```
    #[inline]
    #[must_use]
    #[expect(clippy::new_without_default, reason = "std's has none")]
    pub const fn new() -> Self {
        Self { word: AtomicU32::new(INCOMPLETE), holder: LockHolder::new(), queue: Lock::new(Waiters::new()) }
    }

    /// Runs `f` if no closure has been run to its end; when it returns, one has.
    ///
    /// Of many threads that call this, one runs its closure, and the others wait for it; what the closure did is
    /// visible to all of them afterwards. The closure may park. A cancellation point, except when the `Once` is
    /// complete. If the thread is cancelled, or a [`timeout`](crate::timeout) ends, in `f`, the `Once` is as if nothing
    /// had begun, and a thread that waits runs its own closure.
    ///
    /// ```
    /// use green::sync::Once;
    ///
    /// static SET_UP: Once = Once::new();
    /// green::scope(|s| {
    ///     for _ in 0..3 {
    ///         s.spawn(|| {
    ///             SET_UP.call_once(|| println!("once, by the first thread"));
    ///             assert!(SET_UP.is_completed());
    ///         });
    ///     }
    /// });
    /// ```
    ///
    /// # Panics
    ///
    /// With the panic of `f`, which poisons the `Once`; if it is poisoned already. In debug builds, if `f` calls this
    /// for the same `Once`, or if the thread that runs the closure waits for this one: it would wait for ever, as it does in release builds.
    #[inline]
    #[track_caller]
    pub fn call_once<F: FnOnce()>(&self, f: F) {
        if !self.is_completed() {
            let mut f = Some(f);
            self.call(false, &mut |_| f.take().expect("it is called once")());
        }
    }

    /// Runs `f` if no closure has been run to its end, even if one has panicked; `f` is told of that.
    ///
    /// If `f` returns, the poison is gone. Everything else is as for [`call_once`](Self::call_once).
    ///
    /// ```
    /// use green::sync::Once;
    ///
    /// static TRIES: Once = Once::new();
    /// assert!(green::spawn(|| TRIES.call_once(|| panic!("the first try"))).join().is_err());
    /// TRIES.call_once_force(|state| assert!(state.is_poisoned()));
    /// assert!(TRIES.is_completed());
    /// ```
    ///
    /// # Panics
    ///
    /// With the panic of `f`. In debug builds, if `f` calls this for the same `Once`.
    #[inline]
    #[track_caller]
    pub fn call_once_force<F: FnOnce(&OnceState)>(&self, f: F) {
        if !self.is_completed() {
            let mut f = Some(f);
            self.call(true, &mut |state| f.take().expect("it is called once")(state));
        }
    }

    /// Returns whether a closure has been run to its end; if so, what it did is visible. Never waits.
    ///
    /// ```
    /// static START: green::sync::Once = green::sync::Once::new();
    /// assert!(!START.is_completed());
    /// START.call_once(|| ());
    /// assert!(START.is_completed());
    /// ```
    #[inline]
    #[must_use]
    pub fn is_completed(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `Running::drop`.
        self.word.load(Ordering::Acquire) == COMPLETE
    }

    /// Waits until a closure has been run to its end. A cancellation point where it has to wait.
    ///
    /// ```
    /// static READY: green::sync::Once = green::sync::Once::new();
    /// let waits = green::spawn(|| READY.wait());
    /// READY.call_once(|| ());
    /// waits.join().unwrap();
    /// ```
    ///
    /// # Panics
    ///
    /// If the `Once` is or gets poisoned.
    #[inline]
    #[track_caller]
    pub fn wait(&self) {
        if !self.is_completed() {
            self.wait_completed(false);
        }
    }

    /// Waits until a closure has been run to its end, also if one has panicked before. A cancellation point where it
    /// has to wait.
    ///
    /// ```
    /// static READY: green::sync::Once = green::sync::Once::new();
    /// let waits = green::spawn(|| READY.wait_force());
    /// assert!(green::spawn(|| READY.call_once(|| panic!("not yet"))).join().is_err());
    /// READY.call_once_force(|_| ());
    /// waits.join().unwrap();
    /// ```
    #[inline]
    #[track_caller]
    pub fn wait_force(&self) {
        if !self.is_completed() {
            self.wait_completed(true);
        }
    }

    #[cold]
    #[track_caller]
    fn wait_completed(&self, force: bool) {
        checkpoint();
        loop {
            // ORDERING: Acquire pairs with the Release in `Running::drop`.
            match self.word.load(Ordering::Acquire) & STATE {
                COMPLETE => return,
                POISONED if !force => panic!("Once instance has previously been poisoned"),
                RUNNING => self.holder.refuse_nested(),
                _ => {}
            }
            self.wait_while(|state| state != COMPLETE && (force || state != POISONED));
        }
    }

    #[cold]
    #[track_caller]
    fn call(&self, force: bool, f: &mut dyn FnMut(&OnceState)) {
        checkpoint();
        // ORDERING: Acquire pairs with the Release in `Running::drop`, here and below.
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            match word & STATE {
                COMPLETE => return,
                POISONED if !force => panic!("Once instance has previously been poisoned"),
                RUNNING => {
                    self.holder.refuse_nested();
                    self.wait_while(|state| state == RUNNING);
                    // ORDERING: as above.
                    word = self.word.load(Ordering::Acquire);
                }
                state => {
                    let next = RUNNING | word & QUEUED;
                    // ORDERING: as above.
                    match self.word.compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Acquire) {
                        Ok(_) => return self.run(f, state == POISONED),
                        Err(now) => word = now,
                    }
                }
            }
        }
    }

    #[track_caller]
    fn run(&self, f: &mut dyn FnMut(&OnceState), poisoned: bool) {
        self.holder.set();
        let mut running = Running { once: self, mark: PanicMark::now(), done: false };
        f(&OnceState { poisoned, _not_sync: PhantomData });
        running.done = true;
    }

    /// Waits until the state has changed; looks once. May return for no reason.
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    fn wait_while(&self, waits: impl Fn(u32) -> bool) {
        let mut wait = Wait::new(Reason::Once).on(self);
        let _waits = self.holder.about_to_wait("an initialiser", &wait);
        loop {
            let node = WaitNode::with(());
            let enter = |ticket| {
                let waiters = self.queue.lock();
                let mut word = self.word.load(Ordering::Relaxed);
                loop {
                    if !waits(word & STATE) {
                        return false;
                    }
                    let next = word | QUEUED;
                    // ORDERING: Relaxed: the swap in `Running::drop` sees the bit in the same word, and then takes the
                    // queue's lock, which is held here.
                    match self.word.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                        Ok(_) => break,
                        Err(now) => word = now,
                    }
                }
                // SAFETY: the node is fresh, and `leave` is called below if anything but a waker ends the wait.
                unsafe { waiters.push_back(&node, ticket) };
                true
            };
            let leave = || {
                // SAFETY: it is in this queue or in none. Nothing is passed on: everybody is woken at once.
                unsafe { self.queue.lock().remove(&node) };
            };
            if wait_in(&mut wait, enter, leave) != WaitResult::Interrupted {
                return;
            }
        }
    }
}

/// The state while a closure runs; says how it ended.
struct Running<'a> {
    once: &'a Once,
    mark: PanicMark,
    done: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.once.holder.clear();
        let state = match self.done {
            true => COMPLETE,
            false if self.mark.is_left_by_interrupt() => INCOMPLETE,
            false => POISONED,
        };
        // ORDERING: Release pairs with the Acquires of the threads that see the state.
        if self.once.word.swap(state, Ordering::Release) & QUEUED != 0 {
            let mut wakes = WakeList::new();
            self.once.queue.lock().claim_all(&mut wakes);
        }
    }
}

debug! { Once; }

impl OnceState {
    /// Returns whether an earlier closure of the [`Once`] has panicked.
    ///
    /// ```
    /// let once = green::sync::Once::new();
    /// once.call_once_force(|state| assert!(!state.is_poisoned()));
    /// ```
    #[inline]
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

impl fmt::Debug for OnceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceState").field("poisoned", &self.is_poisoned()).finish()
    }
}
