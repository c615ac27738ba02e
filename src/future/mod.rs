#![doc = include_str!("README.md")]

#[cfg(feature = "hyper")]
mod adapters;
mod block_on;
mod blocking;
mod recv;
#[cfg(test)]
mod tests_waker;

#[doc = include_str!("PROTOCOL.md")]
mod protocol {}

#[cfg(feature = "hyper")]
pub use adapters::{GreenExecutor, GreenTimer};
pub use block_on::block_on;
pub use blocking::{Blocking, blocking};
pub use recv::RecvFuture;
