//! Timers by key: a new one replaces the old one of that key.

#![forbid(unsafe_code)]

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;

use crate::actor::Timer;

/// The shortest list that is looked through.
const SHORT: usize = 16;

/// Keeps an actor's timers by keys, one a key: a new timer replaces the old one of its key, of which no message comes any more.
///
/// It is a field of the actor. Dropped, it cancels nothing: the timers end with the actor.
///
/// ```
/// use green::actor::{Actor, Context, Timers, messages};
/// use std::time::Duration;
///
/// #[derive(Default)]
/// struct Retries { timers: Timers<u32>, tried: Vec<u32> }
/// impl Actor for Retries {}
///
/// messages! {
///     impl Retries {
///         fn Fail(&mut self, ctx: &mut Context<Self>, job: u32) {
///             // However often it fails meanwhile, it is tried again once.
///             self.timers.set(job, ctx.send_after(Duration::from_millis(1), Retry(job)));
///         }
///         fn Finish(&mut self, job: u32) { self.timers.cancel(&job) }
///         fn Retry(&mut self, job: u32) { self.tried.push(job) }
///         fn Tried(&self) -> Vec<u32> { self.tried.clone() }
///     }
/// }
///
/// let retries = Retries::default().start();
/// for job in [7, 7, 8, 7] {
///     retries.send(Fail(job)).unwrap();
/// }
/// retries.send(Finish(8)).unwrap();
/// # while retries.send(Tried).unwrap().is_empty() { green::yield_now() }
/// # assert!(retries.send(Tried).unwrap().contains(&7));
/// ```
pub struct Timers<K> {
    timers: HashMap<K, Timer>,
    /// When there are so many, those that are over are struck: twice as many as were left the last time.
    look_at: usize,
}

impl<K: Hash + Eq> Timers<K> {
    /// Makes an empty set.
    ///
    /// ```
    /// let timers = green::actor::Timers::<&str>::new();
    /// assert!(!timers.is_set("retry"));
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self { timers: HashMap::new(), look_at: SHORT }
    }

    /// Puts a timer under its key, and cancels the one that was there ([`Timer::cancel`]).
    ///
    /// ```
    /// # use green::actor::{Actor, Context, Exit, Timers, messages};
    /// # use std::time::Duration;
    /// struct Watchdog { timers: Timers<&'static str> }
    /// messages! {
    ///     impl Watchdog {
    ///         fn Feed(&mut self, ctx: &mut Context<Self>) {
    ///             self.timers.set("bite", ctx.send_after(Duration::from_secs(60), Bite));
    ///         }
    ///         fn Bite(&mut self, ctx: &mut Context<Self>) { ctx.fail("starved") }
    ///     }
    /// }
    /// # impl Actor for Watchdog {}
    /// # Watchdog { timers: Timers::new() }.start().send(Feed).unwrap();
    /// ```
    pub fn set(&mut self, key: K, timer: Timer) {
        if let Some(before) = self.timers.insert(key, timer) {
            before.cancel();
        }
        if self.timers.len() >= self.look_at {
            self.timers.retain(|_, timer| !timer.is_done());
            self.look_at = (2 * self.timers.len()).max(SHORT);
        }
    }

    /// Cancels the timer under a key, if there is one ([`Timer::cancel`]).
    ///
    /// ```
    /// green::actor::Timers::<String>::new().cancel("retry"); // nothing to cancel
    /// ```
    pub fn cancel<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        if let Some(timer) = self.timers.remove(key) {
            timer.cancel();
        }
    }

    /// Cancels all.
    ///
    /// ```
    /// green::actor::Timers::<u32>::new().cancel_all();
    /// ```
    pub fn cancel_all(&mut self) {
        self.timers.drain().for_each(|(_, timer)| timer.cancel());
    }

    /// Returns whether the timer under a key will send, or has sent, what is not handled yet.
    ///
    /// ```
    /// assert!(!green::actor::Timers::<u32>::new().is_set(&7));
    /// ```
    #[must_use]
    pub fn is_set<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.timers.get(key).is_some_and(|timer| !timer.is_done())
    }
}

impl<K: Hash + Eq> Default for Timers<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> fmt::Debug for Timers<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers").field("len", &self.timers.len()).finish_non_exhaustive()
    }
}
