//! What the models put in the place of the crate's lowest floors: `base`, `sys::clock`, `sys::fork`, `fiber`, `stack`, and what
//! guards a lock of `sync` against its own holder. A model takes what its source files ask for, under the name by which they ask:
//!
//! ```text
//! use model::prelude::{base, fiber, stack};
//! ```
//!
//! Of `base` there are two more, in `late.rs` and `fresh.rs`, for files with atomics in statics. `sys.rs` and `task.rs` beside this
//! file are modules of the same names in a model whose threads have the real parker and the real header.

#[path = "../../src/base/debug.rs"]
pub(crate) mod debug;
#[path = "../../src/base/list.rs"]
pub(crate) mod list;
#[path = "../../src/base/shown.rs"]
pub(crate) mod shown;

pub(crate) mod base {
    pub(crate) use super::{abort, atomic, debug, list, shown};
}

pub(crate) mod abort {
    pub(crate) fn fatal(message: std::fmt::Arguments<'_>) -> ! {
        panic!("{message}")
    }
}

/// loom's atomics, cells and threads.
pub(crate) mod atomic {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
    pub(crate) use loom::thread::{Builder as OsThread, yield_now};

    pub(crate) const MODELLED: bool = true;

    /// Lets the other threads go on.
    pub(crate) struct Backoff;

    impl Backoff {
        pub(crate) fn new() -> Self {
            Self
        }

        pub(crate) fn snooze(&self) {
            yield_now();
        }
    }
}

/// The models have no clock: a deadline other than "never" passes when its thread waits, and then all of that thread's have.
pub(crate) mod clock {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    pub(crate) const NEVER: u64 = u64::MAX;

    loom::thread_local! {
        static NOW_NS: Cell<u64> = Cell::new(0);
    }

    /// A wait of the calling thread ends by its deadline.
    pub(crate) fn time_out() {
        NOW_NS.with(|now_ns| now_ns.set(1));
    }

    pub(crate) fn now() -> Instant {
        Instant::now()
    }

    pub(crate) fn now_ns() -> u64 {
        NOW_NS.with(Cell::get)
    }

    pub(crate) fn has_passed(deadline_ns: u64) -> bool {
        deadline_ns <= now_ns()
    }

    /// No time-out but that of zero passes.
    pub(crate) fn after_ns(d: Duration) -> u64 {
        if d.is_zero() { 1 } else { NEVER }
    }

    pub(crate) fn coarse_after_ns(d: Duration) -> u64 {
        after_ns(d)
    }

    pub(crate) fn at_ns(_: Instant) -> u64 {
        1
    }
}

pub(crate) mod fork {
    pub(crate) use std::sync::OnceLock as ForkSafeOnce;

    pub(crate) const MESSAGE: &str = "no model forks";

    pub(crate) fn generation() -> u32 {
        0
    }

    pub(crate) fn install() {}

    pub(crate) struct PerProcess<T>(std::sync::OnceLock<T>, fn() -> T);

    impl<T> PerProcess<T> {
        pub(crate) const fn new(new: fn() -> T) -> Self {
            Self(std::sync::OnceLock::new(), new)
        }

        pub(crate) fn made(&self) -> Option<&T> {
            Some(self.get())
        }

        pub(crate) fn get(&self) -> &T {
            self.0.get_or_init(self.1)
        }
    }

    pub(crate) fn is_orphan() -> bool {
        false
    }

    pub(crate) fn error() -> std::io::Error {
        std::io::Error::other(MESSAGE)
    }
}

/// No thread of a model runs on a stack of ours.
pub(crate) mod fiber {
    pub(crate) type Entry = unsafe fn(*mut ());

    #[derive(Debug)]
    pub(crate) struct Fiber;

    #[derive(Debug)]
    pub(crate) struct Border;
}

pub(crate) mod stack {
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct StackSize;

    impl StackSize {
        pub(crate) const BOUNDS: std::ops::RangeInclusive<usize> = 1 << 14..=1 << 14;

        pub(crate) fn bytes(self) -> usize {
            1
        }
    }
}

pub(crate) mod holder {
    #[derive(Debug)]
    pub(crate) struct LockHolder;

    impl LockHolder {
        pub(crate) const fn new() -> Self {
            Self
        }

        pub(crate) fn set(&self) {}

        pub(crate) fn set_to(&self, _: u64) {}

        pub(crate) fn set_if(&self, taken: bool) -> bool {
            taken
        }

        pub(crate) fn clear(&self) {}

        pub(crate) fn is_on_this_worker(&self) -> bool {
            true
        }

        pub(crate) fn refuse_own(&self, _: &str) {}

        pub(crate) fn refuse_nested(&self) {}

        pub(crate) fn about_to_wait<W>(&self, _: &str, _: &W) -> impl Sized + use<W> {}
    }
}

pub(crate) mod readers {
    pub(crate) const READERS_ARE_KNOWN: bool = false;

    #[derive(Debug)]
    pub(crate) struct Readers;

    impl Readers {
        pub(crate) const fn new() -> Self {
            Self
        }
    }

    pub(crate) struct SharedClaim;

    impl SharedClaim {
        pub(crate) fn new<L, C>(_: L, _: &C, _: bool) -> Self {
            Self
        }

        pub(crate) fn about_to_wait<W>(&self, _: &W) -> impl Sized + use<W> {}
    }
}
