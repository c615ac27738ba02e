//! The actors of each runtime that have not ended, so that they can be listed, and that it can end those that rest when it ends.
//!
//! They are in the [`roster`](crate::sched::roster) of their runtime, which keeps none of them: an actor enters before its first
//! run is queued, and leaves when its state is dropped, also when its runtime is gone by then.

#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::io;
use std::time::Duration;

use super::cell::Core;
use super::launch::{end_all_by, in_time, leave_queued_by};
use super::lifecycle::join_only;
use super::lost::take_lost_at_end;
use super::weak::Weak;
use crate::base::atomic::Ordering;
use crate::base::report::report;
use crate::sched::remote::roster_of;
use crate::sched::shared::LAST_WORDS;
use crate::sched::{Shared, Worker};
use crate::sys::clock::{after_ns, now_ns};

/// `actor` ends: of its run.
pub(crate) fn leave(actor: &Core) {
    // ORDERING: Relaxed: written before anybody knew the actor.
    let slot = actor.slot.load(Ordering::Relaxed);
    match Worker::current().filter(|worker| worker.shared.identity() == actor.header.runtime) {
        Some(worker) => worker.roster().roster().leave(slot, Some(worker.roster())),
        None => {
            // Also an actor whose runtime is about to end, or has ended, has its slot until now.
            let runtime = actor.mailbox.lock().runtime();
            roster_of(runtime).leave(slot, None);
        }
    }
}

/// The actors of a runtime that have not ended.
///
/// # Errors
///
/// Those of [`Shared::rostered`].
pub(crate) fn all(shared: &Shared) -> io::Result<Vec<Weak>> {
    Ok(shared.rostered()?.into_iter().map(Weak::resident).collect())
}

/// The same, for those that can tell nobody: if they cannot be listed it is reported, and none are there.
pub(crate) fn all_or_none(shared: &Shared) -> Vec<Weak> {
    all(shared).unwrap_or_else(|error| {
        report(format_args!("the actors of a runtime cannot be listed: {error}"));
        Vec::new()
    })
}

/// How many messages wait for the actors of a runtime, and for how many of them. For the end of the process.
pub(crate) fn waiting(shared: &Shared) -> (usize, usize) {
    let waiting = all_or_none(shared).into_iter().map(|actor| actor.core().mailbox.lock().unhandled());
    waiting.filter(|count| *count != 0).fold((0, 0), |(messages, actors), count| (messages + count, actors + 1))
}

/// How often is looked whether somebody has queued an actor after all.
const SLICE: Duration = Duration::from_millis(1);

/// Ends all actors of a runtime whose workers are gone, those that are queued and then the others, the youngest first, and waits for those that
/// other threads end, by what they send. A `stopping` that waits when all have had their time is unwound where it waits; no other thread's
/// is. Gives how many messages that were told they have dropped since their runtime began to end.
pub(crate) fn end_all(shared: &Shared) -> u64 {
    end_all_queued(shared, after_ns(shared.last_words));
    let until_ns = after_ns(shared.last_words);
    let mut elsewhere = Vec::new();
    loop {
        let mut actors: Vec<_> = shared.roster.take_all().into_iter().map(Weak::resident).collect();
        if actors.is_empty() {
            break;
        }
        actors.sort_by_key(|actor| Reverse(actor.core().id()));
        for actor in actors {
            in_time(until_ns, || actor.core().end_orphan());
            if !actor.core().is_ended() {
                elsewhere.push(actor);
            }
        }
    }
    // However short the time of last words is: those threads, too, have to have it.
    let elsewhere_ns = until_ns.max(after_ns(LAST_WORDS));
    for actor in elsewhere {
        while !actor.core().is_ended() && now_ns() < elsewhere_ns {
            end_all_queued(shared, until_ns);
            in_time(elsewhere_ns, || _ = join_only(actor.core(), after_ns(SLICE)));
        }
    }
    // What was queued by those that ended.
    end_all_queued(shared, until_ns);
    take_lost_at_end(shared.remotes[0].index)
}

/// Ends what is queued, and what is told of that.
fn end_all_queued(shared: &Shared, until_ns: u64) {
    leave_queued_by(shared, until_ns);
    end_all_by(shared.identity(), until_ns);
}
