//! The flight recorder: what the workers have done of late, as a trace that [Perfetto](https://ui.perfetto.dev) shows.
//!
//! Each worker keeps its last events in a ring of memory of its own ([`recorder_events`](crate::RuntimeBuilder::recorder_events); 4096 events, 64 KiB). It is
//! always on: when something was slow a moment ago, the trace of it is there. [`snapshot`] takes it, at any time and from any thread;
//! [`write_on`] has it written when a thread panics, when a worker [stalls](crate::stall), or when a signal comes.
//!
//! ```
//! let trace = green::run(|| {
//!     green::spawn(|| ()).join().unwrap();
//!     green::recorder::snapshot()
//! });
//! let mut file = Vec::new();
//! trace.write_perfetto(&mut file)?;
//! assert!(!trace.events().is_empty());
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! `cargo run --bin flags -- FILE`, in this crate's repository, reads such a file, and says what looks wrong in it.
//!
//! # What is recorded
//!
//! | [`Detail`] | events | what it costs |
//! | --- | --- | --- |
//! | `Rare`, the default | threads with names that start and end, steals, wake-ups from another OS thread, timers, polls, sleeps of workers, counts of threads, stalls | nothing for a switch, a yield, a lock, a wait or a wake on one worker; some ten instructions for a thread, two for a message; 2 % for a request and its answer over a socket, for which the worker sleeps twice |
//! | `All` | also each spawn, start and end; each wait with its reason, and each return from one; each wake, and by whom; each message of an actor | some 10 ns an event: in instructions a quarter more for a spawn with its join (and for one in a scope a fifth), half for a message to an actor, a quarter for a question to one, a third for a round trip over two channels, 6 % for a request over a socket; within 3 % for a yield, nothing for a lock |
//! | `Off` | none | nothing |
//!
//! So by default a thread without a name is hardly in it: that it was stolen or given to another worker, woken from another OS thread, or by its timer, but not that it starts, ends, runs or waits; and of one with a
//! name, not that it runs or waits. Who wants to see particular threads names them ([`Builder::name`](crate::thread::Builder::name)); who wants to see what they wait for takes `All`. The costs are instructions outside the system calls, as
//! `cargo bench -p green-benches --bench instructions` counts them, in this crate's repository; it fails if `Rare` takes 3 % more than `Off` anywhere.
//!
//! `GREEN_RECORDER` (`off`, `rare` or `all`) sets it for the default runtime, and `GREEN_RECORDER_EVENTS` how many events of each worker are kept; [`recorder`](crate::RuntimeBuilder::recorder) sets it for others. A thread that only yields, and
//! is not woken, is not said to go on each time.
//!
//! # Where it may be called
//!
//! [`snapshot`] on any thread, green or OS, also in a panic hook and while a runtime shuts down: the workers that have not ended are in it. It waits for nobody. In a child of
//! fork it has what the parent's workers had done until then. Not in a signal handler, as it allocates: for that there is [`write_on`], whose handler writes a byte, and an OS thread
//! does the rest.
#![forbid(unsafe_code)]

mod perfetto;
mod trace;
mod triggers;

use std::fmt;

pub use self::trace::{Happening, Trace, TraceEvent, snapshot};
pub use self::triggers::{Trigger, write_on};
pub(crate) use self::triggers::{panicked, stalled};

/// What a runtime records.
///
/// ```
/// use green::recorder::Detail;
/// let runtime = green::Runtime::builder().workers(1).recorder(Detail::All).build()?;
/// # drop(runtime);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Detail {
    /// Nothing.
    Off,
    /// What is rare, so that it costs next to nothing: of threads without a name, not that they start, end, run or wait.
    #[default]
    Rare,
    /// Every event. It costs, in instructions: a yield 2 %, a spawn with its join 25 %, a message to an actor 53 %, a question to one 27 %, a round trip over two channels 30 %, a request over a socket 6 % more; a lock nothing.
    All,
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Rare => "rare",
            Self::All => "all",
        })
    }
}
