//! What parking is in the models of the actors, beside `os.rs`: each sender is an OS thread, and no handler waits.

pub(crate) use crate::os_threads::*;
pub(crate) use crate::wait_queue as queue;

pub(crate) mod current {
    use std::ptr::NonNull;

    use crate::os_threads;
    use crate::task::{Header, Task};

    loom::thread_local! {
        static HERE: std::cell::Cell<Option<NonNull<Header>>> = std::cell::Cell::new(None);
        static ME: Task = os_threads::task(1, false);
    }

    /// For what is the calling thread's alone.
    pub(crate) fn with_header<R>(f: impl FnOnce(&Header) -> R) -> R {
        ME.with(|me| f(me))
    }

    /// The worker whose thread calls.
    pub(crate) struct WorkerContext;

    impl WorkerContext {
        pub(crate) fn get() -> Option<Self> {
            Some(Self)
        }

        pub(crate) fn home(&self) -> u16 {
            0
        }

        pub(crate) fn current_ptr(&self) -> Option<NonNull<Header>> {
            HERE.with(std::cell::Cell::get)
        }

        pub(crate) fn set(header: Option<NonNull<Header>>) {
            HERE.with(|here| here.set(header));
        }
    }
}

pub(crate) mod no_park {
    pub(crate) fn assert_may_park(_: &str) {}

    pub(crate) fn may_run_on_top() -> bool {
        true
    }
}

/// Nothing is called at a switch here.
pub(crate) mod on_switch {
    #[derive(Debug)]
    pub(crate) struct SwitchCalls;

    pub(crate) struct CallSlot;

    impl CallSlot {
        pub(crate) fn new(_: SwitchCalls) -> Self {
            Self
        }
    }
}

/// No deadlock is named here.
pub(crate) mod owed_answer {
    pub(crate) const NAMED: bool = false;

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct ChosenTime;

    impl ChosenTime {
        pub(crate) const fn new(_: bool) -> Self {
            Self
        }

        pub(crate) fn is_chosen(self) -> bool {
            false
        }
    }

    type Named = (u64, Option<Box<str>>);

    pub(crate) mod refusal {
        pub(crate) const REPLY: &str = "";
        pub(crate) const ROOM: &str = "";
    }

    pub(crate) fn refused<T>(_: T, _: &str, _: ChosenTime) {}

    pub(crate) struct OwedAnswer;

    impl OwedAnswer {
        pub(crate) const fn new() -> Self {
            Self
        }

        pub(crate) fn begin(&self, _: u64, _: u64) {}

        pub(crate) fn harden(&self) {}

        pub(crate) fn awaited(&self, _: u64) -> Result<(), Vec<Named>> {
            Ok(())
        }

        pub(crate) fn end(&self) {}
    }
}

pub(crate) mod os {
    pub(crate) fn fresh_ids(_: u64) -> u64 {
        crate::IDS.set(crate::IDS.get() + 1);
        crate::IDS.get()
    }

    pub(crate) fn is_the_parents(_: u64) -> bool {
        false
    }
}

pub(crate) mod interrupt {
    use std::time::Duration;

    pub(crate) use crate::os_threads::interrupt::*;

    pub(crate) fn shielded<R>(f: impl FnOnce() -> R) -> R {
        f()
    }

    pub(crate) fn unlimited<R>(f: impl FnOnce() -> R) -> R {
        f()
    }

    pub(crate) fn timeout<R>(_: Duration, f: impl FnOnce() -> R) -> Result<R, ()> {
        Ok(f())
    }
}
