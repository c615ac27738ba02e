//! Floor 10: the public face of the runtime.
//!
//! * [`runtime`]: `Runtime`, its builder, [`runtime_end`]: its drop; [`default`]: the default runtime, `run`.
//! * [`thread`]: `spawn` and what std's `thread` module has besides; [`builder`]: `thread::Builder`; [`spawn`]: how a thread is
//!   made; [`workers`]: their OS threads; [`handle`], [`join`]: handles.
//! * [`metrics`]: what a runtime has counted. [`scope`]: threads that borrow ([`members`] counts them). [`blocking`]: closures that block an OS thread. [`local`]: green-thread-locals.
//! * `spans` (feature `tracing`): spans that follow a thread.
//! * [`at_exit`]: what is said when the process ends.

mod at_exit;
pub(crate) mod blocking;
pub(crate) mod builder;
pub(crate) mod default;
mod first;
pub(crate) mod handle;
pub(crate) mod hook;
pub(crate) mod join;
pub(crate) mod lent;
pub(crate) mod local;
pub(crate) mod members;
pub(crate) mod metrics;
pub(crate) mod runtime;
mod runtime_end;
pub(crate) mod scope;
#[cfg(feature = "tracing")]
pub(crate) mod spans;
pub(crate) mod spawn;
pub(crate) mod thread;
mod workers;
