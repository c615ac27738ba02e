//! `task/`, the very files, for the models in which threads have the real header.

use std::ptr::NonNull;

pub(crate) use header::{Header, Task, Ticket};

#[path = "../../src/task/awaiter.rs"]
pub(crate) mod awaiter;
#[path = "../../src/task/end_row.rs"]
pub(crate) mod end_row;
#[path = "../../src/task/header.rs"]
pub(crate) mod header;
#[path = "../../src/task/last_words.rs"]
pub(crate) mod last_words;
#[path = "../../src/task/limit.rs"]
pub(crate) mod limit;
#[path = "../../src/task/state.rs"]
pub(crate) mod state;
#[path = "../../src/task/unwound.rs"]
pub(crate) mod unwound;
#[path = "../../src/task/wait.rs"]
pub(crate) mod wait;

/// Of a thread that no worker runs.
pub(crate) const fn vtable(free: unsafe fn(NonNull<Header>)) -> header::VTable {
    header::VTable {
        main: |_| unreachable!("it runs by itself"),
        border: None,
        run: |_, _| unreachable!("it runs by itself"),
        take_output: |_, _| unreachable!("it has no result"),
        drop_output: |_| unreachable!("it has no result"),
        done: |_| unreachable!("it runs by itself"),
        free,
        after_run: None,
        type_name: None,
        calls_at: None,
    }
}

pub(crate) struct Cancelled;

pub(crate) mod block {
    pub(crate) type Output<T> = std::thread::Result<T>;
}

pub(crate) mod local {
    use crate::model::Watched;

    /// Stands for whatever lies in the part that is made late.
    #[derive(Debug)]
    pub(crate) struct Locals(pub(crate) Watched);

    impl Default for Locals {
        fn default() -> Self {
            let made = Watched::new(0);
            made.add(7);
            Self(made)
        }
    }

    impl Locals {
        pub(crate) fn reset(&mut self) {}
    }
}

pub(crate) mod pool {
    use std::mem::MaybeUninit;
    use std::ptr::NonNull;

    pub(crate) fn allocate<T>() -> Option<NonNull<T>> {
        Some(NonNull::from(Box::leak(Box::<MaybeUninit<T>>::new(MaybeUninit::uninit()))).cast())
    }

    pub(crate) unsafe fn free<T>(block: NonNull<T>) {
        // SAFETY: it came from `allocate`.
        drop(unsafe { Box::from_raw(block.cast::<MaybeUninit<T>>().as_ptr()) });
    }
}
