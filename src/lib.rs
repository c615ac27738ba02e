//! [guide]: guide
//! [thread]: thread
//! [sync]: sync
//! [channel]: channel
//! [net]: net
//! [unix]: os::unix::net
//! [io]: io
//! [fs]: fs
//! [process]: process
//! [signal]: signal
//! [time]: time
//! [future]: future
//! [actor]: actor
//! [dump]: dump
//! [recorder]: recorder
//! [metrics]: mod@metrics
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![debugger_visualizer(gdb_script_file = "sched/debug.py")]

pub mod actor;
#[cfg(green_backend = "asm")]
mod arch;
mod base;
mod blocking;
pub mod channel;
mod driver;
pub mod dump;
mod fiber;
mod flight;
pub mod fs;
pub mod future;
pub mod guide;
#[cfg(green_thread_locals)]
mod interposed;
pub mod io;
pub mod net;
mod park;
pub mod process;
pub mod recorder;
mod rt;
mod sched;
pub mod signal;
mod stack;
pub mod stall;
pub mod sync;
mod sys;
mod task;
mod thread_locals;
pub mod time;
#[cfg(doctest)]
mod variance;

pub use actor::shutdown::shutdown;
pub use future::block_on;
pub use park::interrupt::{Elapsed, timeout};
pub use park::no_park::no_park;
pub use rt::blocking::{blocking, unblock};
pub use rt::default::run;
pub use rt::metrics::metrics;
pub use rt::runtime::{Runtime, RuntimeBuilder};
pub use rt::scope::scope;
pub use rt::thread::{spawn, spawn_local, yield_now};
pub use task::cancel::Cancelled;
#[cfg(green_thread_locals)]
#[doc(hidden)]
pub use thread_locals::blocks_made_new as __blocks_made_new;
#[cfg(green_thread_locals)]
#[doc(hidden)]
pub use thread_locals::getattr::pthread_getattr_np as __pthread_getattr_np;
pub use thread_locals::{ThreadLocals, Unsupported};
pub use time::sleep;

/// For the crate `green-std` alone.
#[cfg(green_thread_locals)]
#[doc(hidden)]
pub mod __interposed {
    pub use crate::interposed::{
        Caller, ClaimedFile, DescriptorWait, FutexEnd, FutexWoken, NEVER, PendingWrite, WaitEnd, address_wait, after,
        blocking, caller, claim, futex_wait, futex_waits, futex_wake, hand_over, hand_over_unless_in_handler,
        has_passed, has_pending_write, is_in_handler, let_signals_in, look_up, note_blocked_signals, sleep_until,
        spend,
    };
}

/// What a runtime has counted: threads, wake-ups, events, delays, stacks.
///
/// [`Runtime::metrics`] and [`metrics()`](crate::metrics()) read the counters of a runtime, at any time and from any thread, in a release build as in
/// any other. `examples/metrics.rs` serves them to Prometheus.
pub mod metrics {
    pub use crate::rt::metrics::{BlockingMetrics, Histogram, Metrics, StackMetrics, ThreadMetrics, WorkerMetrics};
}

/// The crate `tracing` and green threads (feature `tracing`).
#[cfg(feature = "tracing")]
pub mod tracing {
    pub use crate::rt::spans::Spans;
}

#[doc = include_str!("rt/README.md")]
pub mod thread {
    pub use crate::local;
    pub use crate::park::on_switch::OnSwitch;
    pub use crate::rt::builder::Builder;
    pub use crate::rt::handle::Thread;
    pub use crate::rt::join::JoinHandle;
    pub use crate::rt::local::{AccessError, LocalKey};
    pub use crate::rt::scope::{Scope, ScopedJoinHandle, scope};
    pub use crate::rt::thread::{
        available_parallelism, current, panicking, park, park_timeout, spawn, spawn_local, yield_now,
    };
    pub use crate::task::id::ThreadId;
    pub use crate::time::{sleep, sleep_until};
    pub use std::thread::Result;
}

/// Holds what belongs to one operating system: sockets of Unix, as [`std::os`] does.
pub mod os {
    /// Holds what only Unix has: [`std::os::unix`].
    pub mod unix {
        /// Unix sockets that park: [`std::os::unix::net`], with the same names and meanings.
        ///
        /// They connect processes of one machine; their addresses are paths. How they block, what a cancel does and what
        /// differs from std is as with [`green::net`](crate::net).
        ///
        /// ```
        /// use std::io::{Read, Write};
        /// let (mut a, mut b) = green::os::unix::net::UnixStream::pair().unwrap();
        /// let reads = green::spawn(move || {
        ///     let mut text = String::new();
        ///     b.read_to_string(&mut text).map(|_| text)
        /// });
        /// a.write_all(b"hello").unwrap();
        /// drop(a);
        /// assert_eq!(reads.join().unwrap().unwrap(), "hello");
        /// ```
        pub mod net {
            pub use crate::net::unix::{Incoming, UnixDatagram, UnixListener, UnixStream};
            pub use std::os::unix::net::SocketAddr;
        }
    }
}
