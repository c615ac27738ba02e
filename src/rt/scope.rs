//! Threads that borrow from the stack of the thread that made them: [`std::thread::scope`].
//!
//! # Invariants
//!
//! 1. `running` counts the threads of the scope that may still touch what they borrow, and in its top bit whether the
//!    scope's own thread waits. [`scope`] does not return, nor unwind, before the count is zero.
//! 2. `waiter` is written by the scope's thread before it sets that bit, and read by the thread that takes the count to
//!    zero after it has seen the bit; that thread touches nothing of the scope afterwards.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll};

use crate::base::abort::fatal;
use crate::base::atomic::{AtomicUsize, Ordering};
use crate::park::current::assert_may_park;
use crate::park::{Wait, interrupt, park};
use crate::rt::builder::Builder;
use crate::rt::join::JoinHandle;
use crate::rt::thread::Thread;
use crate::sys::fork;
use crate::task::Ticket;
use crate::task::block::Owner;
use crate::task::header::Reason;
use crate::task::wait::End;

const WAITING: usize = 1 << (usize::BITS - 1);
const PANICKED: usize = 1 << (usize::BITS - 2);
const COUNT: usize = PANICKED - 1;

#[derive(Debug)]
struct Data {
    running: AtomicUsize,
    waiter: Cell<Option<Ticket>>,
    /// [`fork::generation`] of the process that made it.
    made_in: u32,
}

/// What the threads of one [`scope`] call are spawned by: [`std::thread::Scope`].
pub struct Scope<'scope, 'env: 'scope> {
    data: Data,
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

// SAFETY: `running` is atomic, and `waiter` is handed over by it (invariant 2).
unsafe impl Sync for Scope<'_, '_> {}

/// The right to wait for a thread of a scope: [`std::thread::ScopedJoinHandle`]; a future, as [`JoinHandle`] is.
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<T>,
    _scope: PhantomData<&'scope ()>,
}

/// Tells the scope how its thread ends.
struct Member(*const Data);

// SAFETY: the scope outlives the thread's last call (invariant 1), and its data may be used from any thread.
unsafe impl Send for Member {}

impl Owner for Member {
    fn unhandled_panic(&self) {
        // SAFETY: the scope lives: a thread calls this before `done`, a handle while it is borrowed from the scope.
        // ORDERING: Relaxed: whoever takes the count to zero publishes it.
        unsafe { (*self.0).running.fetch_or(PANICKED, Ordering::Relaxed) };
    }

    fn done(&self) {
        // SAFETY: the scope lives until the count is zero (invariant 1).
        // ORDERING: Release: what the thread did comes before the scope's end; Acquire: the waiter is visible.
        let before = unsafe { (*self.0).running.fetch_sub(1, Ordering::AcqRel) };
        if before & COUNT == 1 && before & WAITING != 0 {
            // SAFETY: invariant 2: the scope's thread waits until it is woken here.
            let wake = unsafe { (*self.0).waiter.get().and_then(|ticket| ticket.end(End::Notified)) };
            if let Some(wake) = wake {
                wake.schedule();
            }
        }
    }
}

/// A thread that is counted and does not come to be: dropped, it is not counted any more.
struct NotSpawned(Member);

impl Drop for NotSpawned {
    fn drop(&mut self) {
        self.0.done();
    }
}

/// Runs `f`, which may spawn threads that borrow from the caller's stack, and waits for all of them.
///
/// [`std::thread::scope`] for green threads; works from a plain OS thread too (the threads then run in the default
/// runtime). The wait is not interrupted by a cancel: a cancelled scope waits for its threads, then the cancel goes on.
///
/// # Panics
///
/// With what `f` panics with, after the wait; if a thread that was not joined has panicked; inside
/// [`no_park`](crate::no_park), before `f` is called.
///
/// ```
/// let mut numbers = vec![1, 2, 3];
/// let sum = green::scope(|s| {
///     let sum = s.spawn(|| numbers.iter().sum::<i32>());
///     sum.join().unwrap()
/// });
/// numbers.push(sum);
/// assert_eq!(numbers, [1, 2, 3, 6]);
/// ```
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    assert_may_park("green::scope");
    let scope = Scope {
        data: Data { running: AtomicUsize::new(0), waiter: Cell::new(None), made_in: fork::generation() },
        scope: PhantomData,
        env: PhantomData,
    };
    let result = interrupt::catch(|| f(&scope));
    scope.data.wait();
    // ORDERING: Relaxed: `wait` has acquired what the threads did.
    let panicked = scope.data.running.load(Ordering::Relaxed) & PANICKED != 0;
    match result {
        Err(payload) => interrupt::resume(payload),
        Ok(_) if panicked => panic!("a scoped thread panicked"),
        Ok(value) => value,
    }
}

impl Data {
    /// Waits until no thread of the scope runs.
    fn wait(&self) {
        // ORDERING: Acquire pairs with the Release in `done`.
        while self.running.load(Ordering::Acquire) & COUNT != 0 {
            if self.made_in != fork::generation() {
                threads_of_a_parent();
            }
            let _ = park(Wait::new(Reason::Scope).uninterruptible(), |ticket| {
                self.waiter.set(Some(ticket));
                // ORDERING: Release publishes the waiter to `done`; Acquire pairs with its Release.
                let waits = self.running.fetch_or(WAITING, Ordering::AcqRel) & COUNT != 0;
                if !waits {
                    self.running.fetch_and(!WAITING, Ordering::Relaxed);
                }
                waits
            });
        }
    }
}

/// It must not unwind: there may be threads in the scope that this process has spawned.
#[cold]
#[inline(never)]
fn threads_of_a_parent() -> ! {
    fatal(format_args!("a scope cannot wait for its threads: {}", fork::MESSAGE))
}

impl<'scope> Scope<'scope, '_> {
    /// Spawns a thread in the scope, as [`spawn`](crate::spawn).
    ///
    /// # Panics
    ///
    /// If there is no memory for it.
    #[inline]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.spawn_with(Builder::new(), f).unwrap_or_else(|error| panic!("failed to spawn a green thread: {error}"))
    }

    fn spawn_with<F, T>(&'scope self, builder: Builder, f: F) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        // ORDERING: Relaxed: the caller is the scope's thread, or one that is counted itself.
        let before = self.data.running.fetch_add(1, Ordering::Relaxed);
        assert!(before & COUNT < COUNT, "too many threads in one scope");
        let member = Member(ptr::from_ref(&self.data));
        // Also if the closure, which an error drops, panics then.
        let not_spawned = NotSpawned(Member(ptr::from_ref(&self.data)));
        // SAFETY: what `f` and its result borrow outlives 'scope, and the scope does not end before the thread has
        // called `done`, its last touch of both; `f` is `Send`.
        let handle = unsafe { builder.spawn_owned(member, f) }?;
        std::mem::forget(not_spawned);
        Ok(ScopedJoinHandle { handle, _scope: PhantomData })
    }
}

impl Builder {
    /// Spawns the thread in a scope: [`std::thread::Builder::spawn_scoped`].
    ///
    /// # Errors
    ///
    /// As [`spawn`](Builder::spawn).
    ///
    /// # Panics
    ///
    /// As [`spawn`](Builder::spawn).
    pub fn spawn_scoped<'scope, F, T>(
        self,
        scope: &'scope Scope<'scope, '_>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        scope.spawn_with(self, f)
    }
}

impl<T> ScopedJoinHandle<'_, T> {
    /// The thread.
    #[must_use]
    pub fn thread(&self) -> &Thread {
        self.handle.thread()
    }

    /// Has the thread ended?
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Asks the thread to end; see [`JoinHandle::cancel`].
    pub fn cancel(&self) {
        self.handle.cancel();
    }

    /// Waits for the thread; see [`JoinHandle::join`].
    ///
    /// # Errors
    ///
    /// The payload of its panic, or [`Cancelled`](crate::Cancelled).
    ///
    /// # Panics
    ///
    /// If a thread joins itself.
    #[inline]
    #[track_caller]
    pub fn join(self) -> Result<T, Box<dyn std::any::Any + Send + 'static>> {
        self.handle.join()
    }
}

impl<T> Future for ScopedJoinHandle<'_, T> {
    type Output = Result<T, Box<dyn std::any::Any + Send + 'static>>;

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.handle).poll(context)
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = self.data.running.load(Ordering::Relaxed) & COUNT;
        f.debug_struct("Scope").field("running", &running).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle").field("thread", self.thread()).finish_non_exhaustive()
    }
}
