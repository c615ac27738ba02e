//! Stackful green threads with std's own names.

#[cfg(green_backend = "asm")]
mod arch;
mod base;
mod driver;
mod fiber;
pub mod fs;
pub mod io;
pub mod net;
mod park;
pub mod process;
mod rt;
mod sched;
pub mod signal;
mod stack;
mod sys;
mod task;

pub use park::current::no_park;
pub use park::interrupt::{Elapsed, timeout};
pub use rt::blocking::blocking;
pub use rt::runtime::{Runtime, RuntimeBuilder, run};
pub use rt::scope::scope;
pub use rt::thread::{sleep, spawn, spawn_local, yield_now};
pub use task::cancel::Cancelled;

/// [`std::thread`] for green threads: the same names, signatures and meanings.
pub mod thread {
    pub use crate::local;
    pub use crate::rt::builder::Builder;
    pub use crate::rt::join::JoinHandle;
    pub use crate::rt::local::{AccessError, LocalKey};
    pub use crate::rt::scope::{Scope, ScopedJoinHandle, scope};
    pub use crate::rt::thread::{
        Thread, ThreadId, available_parallelism, current, park, park_timeout, sleep, sleep_until, spawn, spawn_local,
        yield_now,
    };
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
