//! Closures that block an OS thread, awaited.
#![forbid(unsafe_code)]

use crate::rt;
use crate::rt::join::JoinHandle;

/// Runs `f` on an OS thread that may block, and gives its value to whoever awaits the handle: what
/// [`green::blocking`](crate::blocking) is for blocking code, and `spawn_blocking` is in tokio.
///
/// Async code cannot lend its stack to another thread, as the caller of [`green::blocking`](crate::blocking) does, so `f`
/// may not borrow. It starts at once, awaited or not, and runs to its end although the handle is dropped. The handle
/// belongs to a green thread that waits for `f`; a cancel takes effect as long as `f` has no OS thread yet.
///
/// # Panics
///
/// As [`spawn`](crate::spawn). A panic of `f` is in the handle's result.
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
pub fn blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    rt::thread::spawn(|| rt::blocking::blocking(f))
}
