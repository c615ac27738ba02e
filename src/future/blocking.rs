//! Closures that block an OS thread, awaited.
#![forbid(unsafe_code)]

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::rt;
use crate::rt::join::JoinHandle;

/// Runs `f` on an OS thread that may block, and gives its value to whoever awaits it: what
/// [`green::unblock`](crate::unblock) is for blocking code, and `spawn_blocking` is in tokio.
///
/// Async code cannot lend its stack to another thread, as the caller of [`green::blocking`](crate::blocking) does, so `f`
/// may not borrow. It starts at once, awaited or not. If what is awaited is dropped before `f` has an OS thread, `f` is taken out of
/// the queue and dropped; if `f` runs already, it runs to its end, and its value is dropped there.
///
/// # Panics
///
/// As [`spawn`](crate::spawn). A panic of `f` is in the result.
///
/// ```
/// let text = green::block_on(async {
///     let text = green::future::blocking(|| std::fs::read_to_string("Cargo.toml")).await.unwrap();
///     text.unwrap()
/// });
/// assert!(text.contains("green"));
/// ```
#[doc(alias = "spawn_blocking")]
#[doc(alias = "unblock")]
pub fn blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Blocking<T> {
    Blocking(Some(rt::thread::spawn(|| rt::blocking::unblock(f))))
}

/// The value of a closure that runs on an OS thread that may block: what [`blocking`] gives.
#[must_use = "dropped, it takes the closure back"]
pub struct Blocking<T>(Option<JoinHandle<T>>);

impl<T> Blocking<T> {
    /// Waits for the value in blocking code, as [`JoinHandle::join`]. A cancellation point.
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

    /// Is the value there?
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
