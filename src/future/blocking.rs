//! Closures that block an OS thread, awaited.
#![forbid(unsafe_code)]

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::rt;
use crate::rt::join::JoinHandle;

/// Runs `f` on an OS thread that may block, and returns a future of its value: `spawn_blocking` of tokio.
///
/// It is for async code what [`green::unblock`](crate::unblock) is for blocking code. Async code cannot lend its stack
/// to another thread, as the caller of [`green::blocking`](crate::blocking) does, so `f` may not borrow. It starts at
/// once, awaited or not. If what is awaited is dropped before `f` has an OS thread, `f` is taken out of the queue and
/// dropped; if `f` runs already, it runs to its end, and its value is dropped there.
///
/// ```
/// let text = green::block_on(async {
///     let text = green::future::blocking(|| std::fs::read_to_string("Cargo.toml")).await.unwrap();
///     text.unwrap()
/// });
/// assert!(text.contains("green"));
/// ```
///
/// # Panics
///
/// If there is no memory for it, or the default runtime cannot start. A panic of `f` is in the result.
#[doc(alias = "spawn_blocking")]
#[doc(alias = "unblock")]
pub fn blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Blocking<T> {
    Blocking(Some(rt::thread::spawn(|| rt::blocking::unblock(f))))
}

/// Waits for the value of a closure that runs on an OS thread that may block: what [`blocking`] returns.
///
/// It is a future of the closure's value, or of the payload of its panic. Dropped, it takes the closure back if that
/// has not started.
///
/// ```
/// let sum: green::future::Blocking<i32> = green::future::blocking(|| (1..4).sum());
/// assert_eq!(futures::executor::block_on(sum).unwrap(), 6);
/// ```
#[must_use = "dropped, it takes the closure back"]
pub struct Blocking<T>(Option<JoinHandle<T>>);

impl<T> Blocking<T> {
    /// Waits for the value in blocking code, like [`JoinHandle::join`]. A cancellation point.
    ///
    /// ```
    /// let number = green::future::blocking(|| 6 * 7);
    /// assert_eq!(number.join().unwrap(), 42);
    /// ```
    ///
    /// # Errors
    ///
    /// The payload with which the closure panicked.
    ///
    /// # Panics
    ///
    /// If the value has been given by `await` already.
    pub fn join(mut self) -> Result<T, Box<dyn Any + Send + 'static>> {
        self.0.take().expect("only `join` and drop take the handle, and they are the last").join()
    }

    /// Returns whether the value is there; then neither [`join`](Self::join) nor `await` waits.
    ///
    /// ```
    /// let number = green::future::blocking(|| 6 * 7);
    /// while !number.is_finished() {
    ///     green::yield_now();
    /// }
    /// assert_eq!(number.join().unwrap(), 42);
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.as_ref().is_some_and(JoinHandle::is_finished)
    }
}

impl<T> Future for Blocking<T> {
    type Output = Result<T, Box<dyn Any + Send + 'static>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let handle = self.0.as_mut().expect("only `join` and drop take the handle, and they are the last");
        Pin::new(handle).poll(context)
    }
}

impl<T> Drop for Blocking<T> {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            handle.cancel();
        }
    }
}

impl<T> fmt::Debug for Blocking<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking").field("is_finished", &self.is_finished()).finish()
    }
}
