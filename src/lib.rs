#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod actor;
#[cfg(green_backend = "asm")]
mod arch;
mod base;
pub mod channel;
mod driver;
mod fiber;
pub mod fs;
pub mod future;
pub mod guide;
pub mod io;
pub mod net;
mod park;
pub mod process;
mod rt;
mod sched;
pub mod signal;
mod stack;
pub mod sync;
mod sys;
mod task;
pub mod time;
#[cfg(doctest)]
mod variance;

pub use future::block_on;
pub use park::interrupt::{Elapsed, timeout};
pub use park::no_park::no_park;
pub use rt::blocking::{blocking, unblock};
pub use rt::runtime::{Runtime, RuntimeBuilder, run};
pub use rt::scope::scope;
pub use rt::thread::{spawn, spawn_local, yield_now};
pub use task::cancel::Cancelled;
pub use time::sleep;

/// [`std::thread`] for green threads: the same names, signatures and meanings.
///
/// One thing is different: green threads of one worker share an OS thread, so a lock or channel of std, a thread-local that is
/// being initialised, and a few more things must not be held [across a park](crate#what-not-to-do-across-a-park).
pub mod thread {
    pub use crate::local;
    pub use crate::rt::builder::Builder;
    pub use crate::rt::join::JoinHandle;
    pub use crate::rt::local::{AccessError, LocalKey};
    pub use crate::rt::scope::{Scope, ScopedJoinHandle, scope};
    pub use crate::rt::thread::{
        Thread, ThreadId, available_parallelism, current, panicking, park, park_timeout, spawn, spawn_local, yield_now,
    };
    pub use crate::time::{sleep, sleep_until};
    pub use std::thread::Result;
}

/// What [`std::os`] has for sockets.
pub mod os {
    /// As [`std::os::unix`].
    pub mod unix {
        /// [`std::os::unix::net`] whose sockets park: see [`green::net`](crate::net).
        pub mod net {
            pub use crate::net::unix::{Incoming, UnixDatagram, UnixListener, UnixStream};
            pub use std::os::unix::net::SocketAddr;
        }
    }
}
