#![doc = include_str!("README.md")]

mod block_on;
mod blocking;
mod recv;
#[cfg(test)]
mod tests_waker;

#[doc = include_str!("PROTOCOL.md")]
mod protocol {}

pub use block_on::block_on;
pub use blocking::{Blocking, blocking};
pub use recv::RecvFuture;
