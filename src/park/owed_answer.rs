//! The answer that an actor owes to one that asks it: an edge as that of a lock's waiter to the holder, where [`deadlock`](super::PROTOCOL.md)s are named; elsewhere nothing.
#![forbid(unsafe_code)]

#[cfg(any(debug_assertions, green_deadlocks))]
use crate::park::deadlock::{about_to_ask, refused_to_wait};
#[cfg(any(debug_assertions, green_deadlocks))]
use crate::park::possession::Debt;

/// Are deadlocks named?
pub(crate) const NAMED: bool = cfg!(any(debug_assertions, green_deadlocks));

/// Has somebody chosen a time for a deadline, and so expects that there may be no answer by then? Where deadlocks are not named it says no.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ChosenTime(#[cfg(any(debug_assertions, green_deadlocks))] bool);

impl ChosenTime {
    #[inline(always)]
    pub(crate) const fn new(chosen: bool) -> Self {
        let _ = chosen;
        Self(
            #[cfg(any(debug_assertions, green_deadlocks))]
            chosen,
        )
    }

    #[inline(always)]
    pub(crate) fn is_chosen(self) -> bool {
        self != Self::new(false)
    }
}

/// What an actor is refused, for the report.
pub(crate) mod refusal {
    pub(crate) const REPLY: &str = "a reply of";
    pub(crate) const ROOM: &str = "room in the mailbox of";
}

/// An actor would wait for what `wanted` says, and is refused, as these actors would wait for one another, the first for the next and so on: standard error is told, with the place of the call. Not
/// within a time that somebody has chosen.
#[inline(always)]
#[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
pub(crate) fn refused<'a>(
    actors: impl ExactSizeIterator<Item = (u64, Option<&'a str>)> + Clone,
    wanted: &'static str,
    chosen: ChosenTime,
) {
    #[cfg(any(debug_assertions, green_deadlocks))]
    if !chosen.is_chosen() {
        refused_to_wait(actors, wanted);
    }
    #[cfg(not(any(debug_assertions, green_deadlocks)))]
    let _ = (actors, wanted, chosen);
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct OwedAnswer {
    #[cfg(any(debug_assertions, green_deadlocks))]
    debt: Debt,
}

impl OwedAnswer {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self {
            #[cfg(any(debug_assertions, green_deadlocks))]
            debt: Debt::new(),
        }
    }

    /// The actor with this number owes it as soon as it has the message, which is of that chain (0: of none).
    #[inline(always)]
    pub(crate) fn begin(&self, actor: u64, chain: u64) {
        #[cfg(any(debug_assertions, green_deadlocks))]
        self.debt.begin(actor, chain);
        let _ = (actor, chain);
    }

    /// The message is queued behind others, or handled: nobody lets it in any more.
    #[inline(always)]
    pub(crate) fn harden(&self) {
        #[cfg(any(debug_assertions, green_deadlocks))]
        self.debt.harden();
    }

    /// The actor has the message, and the calling thread waits for the answer until the result is dropped. Meanwhile it lets messages of that chain in (0: none).
    ///
    /// # Errors
    ///
    /// That would close a cycle of waits: those in it that are actors, by numbers and names, beginning with the caller. Standard error has been told.
    #[inline(always)]
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    pub(crate) fn awaited(&self, lets_in: u64) -> Result<impl Sized + use<>, Vec<(u64, Option<Box<str>>)>> {
        #[cfg(any(debug_assertions, green_deadlocks))]
        return about_to_ask(&self.debt, lets_in);
        #[cfg(not(any(debug_assertions, green_deadlocks)))]
        {
            let _ = lets_in;
            Ok(())
        }
    }

    /// The asker does not wait for the actor any more, although it does not know yet: it has the answer, or another owes that.
    #[inline(always)]
    pub(crate) fn end(&self) {
        #[cfg(any(debug_assertions, green_deadlocks))]
        self.debt.end();
    }
}
