#![doc = include_str!("README.md")]

mod block_on;
mod waker;

pub use block_on::block_on;
