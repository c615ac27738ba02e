//! The actors of each runtime that have not ended, so that it can end those that rest when it ends.
//!
//! A list for each worker's mailbox, of the actors that were started on it, under a lock of its own; an actor keeps its place
//! there, and the list a reference to it. An actor that leaves gives its place to the last one. An actor enters before its first
//! run is queued, and leaves when its state is dropped, or when the end of its runtime takes it out.
//!
//! Lists of a runtime are empty when its mailboxes are given to another one: the thread that ends it comes here first.

#![forbid(unsafe_code)]

use std::ops::DerefMut;
use std::time::Duration;

use super::cell::{Core, NOWHERE};
use super::launch::end_left;
use super::lifecycle::join;
use super::lost::take_lost_at_end;
use super::weak::Weak;
use crate::base::atomic::Ordering;
use crate::base::lock::Lock;
use crate::park::interrupt::{shielded, timeout};
use crate::sched::Shared;
use crate::sched::remote::MAX_WORKERS;
use crate::sys::clock::{after_ns, now_ns};

type Residents = Lock<Vec<Weak>>;

static LISTS: [Residents; MAX_WORKERS] = [const { Lock::new(Vec::new()) }; MAX_WORKERS];

/// The actors that rest when their runtime ends have so long for their `stopping`, all together.
const LAST_WORDS: Duration = Duration::from_secs(5);

fn lock(list: u16) -> impl DerefMut<Target = Vec<Weak>> {
    LISTS[usize::from(list)].lock()
}

/// `actor` is started.
pub(crate) fn enter(actor: Weak, list: u16) {
    let mut list = lock(list);
    // Beyond 2^32 actors of one worker the last ones are not known.
    if list.len() < NOWHERE as usize {
        actor.core().place.store(list.len() as u32, Ordering::Relaxed);
        list.push(actor);
    }
}

/// `actor` ends.
pub(crate) fn leave(actor: &Core) {
    let list = actor.mailbox.lock().list();
    let mut list = lock(list);
    let place = actor.place.swap(NOWHERE, Ordering::Relaxed);
    if place == NOWHERE {
        return;
    }
    let left = list.swap_remove(place as usize);
    if let Some(moved) = list.get(place as usize) {
        moved.core().place.store(place, Ordering::Relaxed);
    }
    drop(list);
    drop(left);
}

/// The actors of a runtime that have not ended.
pub(crate) fn all(shared: &Shared) -> Vec<Weak> {
    shared.remotes.iter().flat_map(|mailbox| lock(mailbox.index).clone()).collect()
}

/// How many messages wait for the actors of a runtime, and for how many of them. For the end of the process: under the locks.
pub(crate) fn waiting(shared: &Shared) -> (usize, usize) {
    let (mut messages, mut actors) = (0, 0);
    for mailbox in &shared.remotes {
        for actor in lock(mailbox.index).iter() {
            let waiting = actor.core().mailbox.lock().unhandled();
            messages += waiting;
            actors += usize::from(waiting != 0);
        }
    }
    (messages, actors)
}

/// How often is looked whether somebody has queued an actor after all.
const SLICE: Duration = Duration::from_millis(1);

/// Ends all actors of a runtime whose workers are gone, the youngest of each worker first, and waits for those that other threads
/// end, by what they send. A `stopping` that waits when all have had their time is unwound where it waits; no other thread's is. Gives
/// how many messages that were told they have dropped since their runtime began to end.
pub(crate) fn end_all(shared: &Shared) -> u64 {
    let until_ns = after_ns(LAST_WORDS);
    let mut elsewhere = Vec::new();
    for mailbox in &shared.remotes {
        loop {
            let mut list = lock(mailbox.index);
            let Some(actor) = list.pop() else {
                *list = Vec::new();
                break;
            };
            actor.core().place.store(NOWHERE, Ordering::Relaxed); // KEY: resident-out
            drop(list);
            let left = Duration::from_nanos(until_ns.saturating_sub(now_ns()));
            let _ = shielded(|| timeout(left, || actor.core().end_orphan()));
            if !actor.core().is_ended() {
                elsewhere.push(actor);
            }
        }
    }
    for actor in elsewhere {
        while !actor.core().is_ended() && now_ns() < until_ns {
            end_left();
            shared.discard_injected();
            let _ = shielded(|| join(actor.core(), after_ns(SLICE)));
        }
    }
    shared.remotes.iter().map(|mailbox| take_lost_at_end(mailbox.index)).sum()
}
