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
pub mod io;
mod lock;
pub mod net;
mod park;
pub mod process;
mod rt;
mod sched;
pub mod signal;
mod stack;
mod sys;
mod task;
pub mod time;
#[cfg(doctest)]
mod variance;

pub use future::block_on;
pub use park::current::no_park;
pub use park::interrupt::{Elapsed, timeout};
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

#[doc = include_str!("lock/README.md")]
pub mod sync {
    #[expect(deprecated, reason = "std has it")]
    pub use crate::lock::ONCE_INIT;
    pub use crate::lock::{
        Barrier, BarrierWaitResult, Condvar, LazyLock, Mutex, MutexGuard, Once, OnceLock, OnceState, RwLock,
        RwLockReadGuard, RwLockWriteGuard, Semaphore, SemaphoreGuard, WaitGroup,
    };
    pub use std::sync::{Arc, LockResult, PoisonError, TryLockError, TryLockResult, WaitTimeoutResult, Weak, atomic};

    /// [`std::sync::mpsc`] for green threads: the same names, errors and meanings.
    pub mod mpsc {
        pub use crate::channel::mpsc::{IntoIter, Iter, Receiver, Sender, SyncSender, TryIter, channel, sync_channel};
        pub use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};
    }
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
