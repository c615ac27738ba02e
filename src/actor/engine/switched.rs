//! The first function on the stack of an actor that has something called at each switch: [`on_switch`](crate::park::on_switch).

#![allow(unsafe_code)]

use std::ptr::NonNull;

use super::cell::Core;
use crate::fiber::Entry;
use crate::sched::entry::PerWorker;
use crate::sched::switched::main_with_calls;
use crate::task::Header;
use crate::task::header::Main;
use crate::task::unwound::EndsBy;

/// Actors that have something called at each switch.
pub(crate) struct SwitchedActor;

impl Main for SwitchedActor {
    const MAIN: Entry = actor_main;

    fn unwound(actor: &Header, how: EndsBy) {
        PerWorker::unwound(actor, how);
    }
}

/// As [`thread_main`](crate::sched::entry::thread_main), for one run.
///
/// # Safety
///
/// As there, of an actor.
unsafe fn actor_main(actor: *mut ()) {
    // SAFETY: invariants 1 and 7 of `cell`.
    let is_over = |header: NonNull<Header>| unsafe { header.cast::<Core>().as_ref() }.runs_last();
    // SAFETY: as the caller promises.
    unsafe { main_with_calls(actor, is_over) };
}
