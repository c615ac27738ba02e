//! The first function on the stack of a thread that has something called at each switch: [`on_switch`]. And how a thread begins at all.

use std::io;
use std::ptr::NonNull;

use crate::fiber::Entry;
use crate::park::on_switch::{self, MakeSwitchCalls, SwitchCalls};
use crate::sched::{Shared, entry};
use crate::stack::StackSize;
use crate::task::Header;
use crate::task::header::Main;
use crate::task::unwound::EndsBy;
use crate::thread_locals::ThreadLocals;

/// Whose thread-locals a thread has, or what it has called at its switches, which goes with those of its worker only.
#[derive(Debug)]
pub(crate) enum Begins {
    PerWorker,
    PerThread,
    Switched(SwitchCalls),
}

impl Begins {
    /// As the threads of the runtime do, with a stack as theirs.
    #[inline(always)]
    pub(crate) fn plainly(shared: &Shared) -> (StackSize, Self) {
        match shared.spawn_size {
            StackSize::NONE => (shared.stack_size, Self::rarely(shared)),
            size => (size, Self::PerWorker),
        }
    }

    #[cold]
    #[inline(never)]
    fn rarely(shared: &Shared) -> Self {
        match shared.thread_locals {
            ThreadLocals::PerThread => Self::PerThread,
            ThreadLocals::PerWorker => Self::with(shared.on_switch.as_ref().map(MakeSwitchCalls::make)),
        }
    }

    fn with(calls: Option<SwitchCalls>) -> Self {
        calls.map_or(Self::PerWorker, Self::Switched)
    }

    /// As the settings of its own say; `calls` goes before what its runtime makes. With thread-locals of its own it has none of either.
    pub(crate) fn apart(shared: &Shared, thread_locals: ThreadLocals, calls: Option<SwitchCalls>) -> Self {
        match thread_locals {
            ThreadLocals::PerThread => Self::PerThread,
            ThreadLocals::PerWorker => {
                Self::with(calls.or_else(|| shared.on_switch.as_ref().map(MakeSwitchCalls::make)))
            }
        }
    }
}

#[cold]
pub(crate) fn needs_no_calls() -> io::Error {
    let message =
        "on_switch is for threads that use their worker's thread-locals; what has its own needs no calls at a switch";
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// Threads that have something called at each switch. None of them runs on top of another thread, nor another on top of it: that would be no switch.
pub(crate) struct Switched;

impl Main for Switched {
    const MAIN: Entry = thread_main;

    fn unwound(thread: &Header, how: EndsBy) {
        entry::count_end(thread, how);
    }

    fn mark(_: *const ()) -> *const () {
        on_switch::mark()
    }
}

unsafe fn thread_main(thread: *mut ()) {
    // SAFETY: as the caller promises.
    unsafe { main_with_calls(thread, |_| true) };
}

/// As [`entry::thread_main`]. `is_over`: was that the thread's last run?
///
/// # Safety
///
/// As there.
pub(crate) unsafe fn main_with_calls(thread: *mut (), is_over: impl FnOnce(NonNull<Header>) -> bool) {
    // SAFETY: `start` passes the header, and it is alive until the thread has ended.
    unsafe {
        let header = NonNull::new_unchecked(thread.cast::<Header>());
        entry::enter_worker(header.as_ref());
        on_switch::begin(header);
        entry::thread_main(thread);
        on_switch::end(header, is_over(header));
    }
}
