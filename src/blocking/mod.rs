//! Floor 8: OS threads for closures that block. [`pool`] has the threads and the jobs that wait for one; [`call`] is a closure with
//! its caller, which waits for the value. Neither knows a scheduler: a runtime lends the pool, and what the closures find around them.

pub(crate) mod call;
pub(crate) mod pool;
