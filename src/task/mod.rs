//! Floor 4: what the scheduler knows of a thread.
//!
//! A *task* is one heap block: [`Header`], then the closure, later in the same place its result. A million of them that
//! have not started cost a million small blocks and no stack. Plain OS threads that park get a header too, so that one
//! kind of handle wakes everybody.
//!
//! * [`state`]: the life of a thread in one word: who may run it, is it done, who joins, who cancels, how many refer.
//! * [`wait`]: the park word: is the thread waiting, and who ended the wait.
//! * [`header`]: the header itself, the counted pointer [`Task`] and the wake handle [`Ticket`].
//! * [`block`]: the allocation, generic over closure and result; above it everything is untyped.
//! * [`awaiter`]: the waker of async code that waits for the thread's end.
//! * [`local`]: the green-thread-local values of one thread.

pub(crate) mod awaiter;
pub(crate) mod block;
pub(crate) mod cancel;
pub(crate) mod header;
pub(crate) mod local;
pub(crate) mod state;
pub(crate) mod wait;

pub(crate) use cancel::Cancelled;
pub(crate) use header::{Header, Task, Ticket};
