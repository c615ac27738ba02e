#![doc = include_str!("README.md")]

mod block_on;
mod blocking;
mod recv;
mod waker;

pub use block_on::block_on;
pub use blocking::blocking;
pub use recv::RecvFuture;
