//! Threads that borrow from the stack of the thread that made them: [`std::thread::scope`].
//!
//! # Invariants
//!
//! 1. `members` counts the threads of the scope that may still touch what they borrow. [`scope`] does not return, nor unwind,
//!    before the count is zero. What follows from that for the count itself is in [`members`](super::members).

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll};

use crate::base::debug::debug;
#[cfg(any(debug_assertions, green_deadlocks))]
use crate::park::Wait;
#[cfg(any(debug_assertions, green_deadlocks))]
use crate::park::deadlock::{self, WaitTarget};
use crate::park::interrupt;
use crate::park::no_park::assert_may_park;
use crate::rt::builder::Builder;
use crate::rt::handle::Thread;
use crate::rt::join::JoinHandle;
use crate::rt::members::Members;
use crate::task::block::TaskOwner;
#[cfg(any(debug_assertions, green_deadlocks))]
use crate::task::header::Reason;

/// Spawns the threads of one [`scope`] call: [`std::thread::Scope`].
///
/// It can be handed on, also to the threads, which then spawn further ones:
///
/// ```
/// use green::thread::Scope;
/// fn tree<'s>(scope: &'s Scope<'s, '_>, depth: u32, leaves: &'s std::sync::atomic::AtomicU32) {
///     if depth == 0 {
///         leaves.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
///         return;
///     }
///     for _ in 0..2 {
///         scope.spawn(move || tree(scope, depth - 1, leaves));
///     }
/// }
/// let leaves = std::sync::atomic::AtomicU32::new(0);
/// green::scope(|s| tree(s, 3, &leaves));
/// assert_eq!(leaves.into_inner(), 8);
/// ```
pub struct Scope<'scope, 'env: 'scope> {
    members: Members,
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// Waits for a thread of a scope and takes its value: [`std::thread::ScopedJoinHandle`]; a future, as [`JoinHandle`]
/// is.
///
/// It need not be joined: the scope waits for the thread.
///
/// ```
/// let numbers = [1, 2, 3];
/// let sum = green::scope(|s| {
///     let handle: green::thread::ScopedJoinHandle<'_, i32> = s.spawn(|| numbers.iter().sum());
///     handle.join().unwrap()
/// });
/// assert_eq!(sum, 6);
/// ```
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<T>,
    _scope: PhantomData<&'scope ()>,
}

/// Tells the scope how its thread ends.
struct Member(*const Members);

// SAFETY: the scope outlives the thread's last call (invariant 1), and its count may be used from any thread.
unsafe impl Send for Member {}

impl TaskOwner for Member {
    fn unhandled_panic(&self) {
        // SAFETY: the scope lives: a thread calls this before `done`, a handle while it is borrowed from the scope.
        unsafe { (*self.0).note_panic() };
    }

    fn done(&self) {
        // SAFETY: the member was counted, once, and `done` is called once.
        unsafe { Members::done(self.0) };
    }
}

/// A thread that is counted and does not come to be: dropped, it is not counted any more.
struct NotSpawned(Member);

impl Drop for NotSpawned {
    fn drop(&mut self) {
        self.0.done();
    }
}

/// Runs `f`, which may spawn threads that borrow from the caller's stack, and waits for all of them:
/// [`std::thread::scope`].
///
/// Threads that were not joined in `f` are joined when it returns, so they may borrow what lives longer than the call:
/// shared, or one thread exclusively. They can spawn further ones through the same scope.
///
/// Works from a plain OS thread, too (the threads then run in the default runtime). The wait is not interrupted by a
/// cancel: a cancelled scope waits for its threads, then the cancel goes on. To end the threads early,
/// [`cancel`](ScopedJoinHandle::cancel) them.
///
/// ```
/// let mut numbers = vec![1, 2, 3];
/// let mut largest = 0;
/// let sum = green::scope(|s| {
///     s.spawn(|| largest = *numbers.iter().max().unwrap());
///     let sum = s.spawn(|| numbers.iter().sum::<i32>());
///     sum.join().unwrap()
/// }); // waits for the first thread, too
/// numbers.push(sum + largest);
/// assert_eq!(numbers, [1, 2, 3, 9]);
/// ```
///
/// # Panics
///
/// With what `f` panics with, after the wait; if a thread that was not joined has panicked; inside
/// [`no_park`](crate::no_park), before `f` is called.
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    assert_may_park("green::scope");
    let scope = Scope { members: Members::new(), scope: PhantomData, env: PhantomData };
    let result = interrupt::catch(|| f(&scope));
    {
        #[cfg(any(debug_assertions, green_deadlocks))]
        let _waits = (scope.members.count() != 0).then(|| {
            deadlock::about_to_wait(WaitTarget::Scope(scope.address()), &Wait::new(Reason::Scope).uninterruptible())
        });
        scope.members.wait();
    }
    match result {
        Err(payload) => interrupt::resume(payload),
        Ok(_) if scope.members.has_panicked() => panic!("a scoped thread panicked"),
        Ok(value) => value,
    }
}

#[cfg(any(debug_assertions, green_deadlocks))]
impl Scope<'_, '_> {
    /// Names the scope.
    fn address(&self) -> usize {
        ptr::from_ref(&self.members).addr()
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Spawns a thread in the scope, which may borrow what outlives the [`scope`] call.
    ///
    /// Where the thread starts is said at [`spawn`](crate::spawn). Does not wait. For a name or a stack size:
    /// [`Builder::spawn_scoped`](crate::thread::Builder::spawn_scoped).
    ///
    /// ```
    /// let words = ["one", "three"];
    /// let lengths: Vec<usize> = green::scope(|s| {
    ///     let threads: Vec<_> = words.iter().map(|word| s.spawn(|| word.len())).collect();
    ///     threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    /// });
    /// assert_eq!(lengths, [3, 5]);
    /// ```
    ///
    /// # Panics
    ///
    /// If there is no memory for it.
    #[inline]
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        match self.spawn_with(Builder::new(), f) {
            Ok(handle) => handle,
            Err(error) => panic!("failed to spawn a green thread: {error}"),
        }
    }

    #[track_caller]
    fn spawn_with<F, T>(&'scope self, builder: Builder, f: F) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        #[cfg(any(debug_assertions, green_deadlocks))]
        let f = {
            let address = self.address();
            move || {
                let _member = deadlock::member_of(address);
                f()
            }
        };
        self.members.add();
        let member = Member(ptr::from_ref(&self.members));
        // Also if the closure, which an error drops, panics then.
        let not_spawned = NotSpawned(Member(ptr::from_ref(&self.members)));
        // SAFETY: what `f` and its result borrow outlives 'scope, and the scope does not end before the thread has
        // called `done`, its last touch of both; `f` is `Send`.
        let handle = unsafe { builder.spawn_owned(member, f) }?;
        std::mem::forget(not_spawned);
        Ok(ScopedJoinHandle { handle, _scope: PhantomData })
    }
}

impl Builder {
    /// Spawns the thread in a scope, so that it may borrow: [`std::thread::Builder::spawn_scoped`].
    ///
    /// ```
    /// let text = String::from("borrowed");
    /// green::scope(|s| {
    ///     let counter = green::thread::Builder::new().name("counter".into());
    ///     let thread = counter.spawn_scoped(s, || text.len())?;
    ///     assert_eq!(thread.join().unwrap(), 8);
    ///     Ok::<(), std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Builder::spawn).
    ///
    /// # Panics
    ///
    /// If the name has a NUL byte.
    #[track_caller]
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
    /// Returns a handle to the thread, for its name, its number and [`unpark`](crate::thread::Thread::unpark).
    ///
    /// ```
    /// green::scope(|s| {
    ///     let thread = s.spawn(|| green::thread::park());
    ///     thread.thread().unpark();
    /// });
    /// ```
    #[must_use]
    pub fn thread(&self) -> &Thread {
        self.handle.thread()
    }

    /// Returns whether the thread has ended; then [`join`](Self::join) does not wait.
    ///
    /// ```
    /// green::scope(|s| {
    ///     let thread = s.spawn(|| green::thread::park());
    ///     assert!(!thread.is_finished());
    ///     thread.thread().unpark();
    /// });
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Asks the thread to end: it unwinds out of the blocking call that it waits in, or out of its next one.
    ///
    /// What that means is said at [`JoinHandle::cancel`]. A cancelled thread is no panicked one: the scope does not
    /// panic for it.
    ///
    /// ```
    /// green::scope(|s| {
    ///     let thread = s.spawn(|| green::thread::park());
    ///     thread.cancel();
    /// });
    /// ```
    pub fn cancel(&self) {
        self.handle.cancel();
    }

    /// Waits for the thread to end, and returns its value, or the payload of its panic. A cancellation point.
    ///
    /// Everything else is as for [`JoinHandle::join`]. A panic that is returned here is handled: the scope does not
    /// panic for it.
    ///
    /// ```
    /// let sum = green::scope(|s| s.spawn(|| 1 + 2).join().unwrap());
    /// assert_eq!(sum, 3);
    /// ```
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

debug! {
    Scope<'scope, 'env> (this) running: this.members.count();
    ScopedJoinHandle<'scope, T> (this) thread: this.thread();
}
