//! Floor 1: the operating system. The only module that names `libc`.

pub(crate) mod ask;
pub(crate) mod clock;
pub(crate) mod cpu_clock;
pub(crate) mod exit;
pub(crate) mod fault;
pub(crate) mod fifo;
pub(crate) mod fork;
pub(crate) mod frames;
pub(crate) mod futex;
#[cfg(green_thread_locals)]
pub(crate) mod glibc;
pub(crate) mod in_panic;
pub(crate) mod library;
pub(crate) mod limits;
pub(crate) mod mem;
pub(crate) mod membarrier;
pub(crate) mod net;
pub(crate) mod parker;
pub(crate) mod peek;
pub(crate) mod poll;
pub(crate) mod process;
#[cfg(not(miri))]
pub(crate) mod sanitizer;
pub(crate) mod signals;
pub(crate) mod stack_walk;
pub(crate) mod standard_error;
pub(crate) mod system_thread;
pub(crate) mod unwinder;
