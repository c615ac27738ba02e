//! The answer that an actor owes to one that asks it: an edge as that of a lock's waiter to the holder, where [`deadlock`](super::PROTOCOL.md)s are named; elsewhere nothing.
#![forbid(unsafe_code)]

#[cfg(any(debug_assertions, green_deadlocks))]
use crate::park::deadlock::{about_to_ask, would_ask};
#[cfg(any(debug_assertions, green_deadlocks))]
use crate::park::possession::Possession;

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

/// See the module's text.
#[derive(Debug)]
pub(crate) struct OwedAnswer {
    #[cfg(any(debug_assertions, green_deadlocks))]
    by: Possession,
}

impl OwedAnswer {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self {
            #[cfg(any(debug_assertions, green_deadlocks))]
            by: Possession::new(),
        }
    }

    /// The actor with this number owes it as soon as it has the message.
    #[inline(always)]
    pub(crate) fn begin(&self, actor: u64) {
        #[cfg(any(debug_assertions, green_deadlocks))]
        self.by.begin(actor);
        let _ = actor;
    }

    /// The actor has the message, and the calling thread waits for the answer until the result is dropped.
    ///
    /// # Errors
    ///
    /// That would close a cycle of waits: those in it that are actors, by numbers and names, beginning with the caller. Standard error has been told.
    #[inline(always)]
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    pub(crate) fn awaited(&self) -> Result<impl Sized + use<>, Vec<(u64, Option<Box<str>>)>> {
        #[cfg(any(debug_assertions, green_deadlocks))]
        return about_to_ask(&self.by);
        #[cfg(not(any(debug_assertions, green_deadlocks)))]
        Ok(())
    }

    /// The calling thread does not wait for the answer, as that would close a cycle: standard error is told who waits in it.
    #[inline(always)]
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    pub(crate) fn refused(&self) {
        #[cfg(any(debug_assertions, green_deadlocks))]
        would_ask(&self.by);
    }

    /// The asker does not wait for the actor any more, although it does not know yet: it has the answer, or another owes that.
    #[inline(always)]
    pub(crate) fn end(&self) {
        #[cfg(any(debug_assertions, green_deadlocks))]
        self.by.end();
    }
}
