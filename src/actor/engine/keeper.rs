//! What decides, when the state of an actor has ended, whether the actor goes on with another one: the side of the supervisor that the
//! engine knows. The states of that are in [`mailbox_state`](super::mailbox_state), "Vacancy".
//!
//! A kept actor whose incarnation ends drops its state, timers and helpers, tells the actors tied to it, and keeps its queue. When its
//! run is over, the keeper is told ([`Keeper::ended`]), and the actor waits for a new state (`glue.rs`, `Kept::revive`) or for its
//! end ([`Core::bury`]), whichever comes first. The end of its runtime buries it, too.

#![forbid(unsafe_code)]

use super::cell::Core;
use super::mailbox_state::{MailboxState, Stage};
use super::monitor;
use crate::actor::Exit;
use crate::base::spin::Locked;
use crate::task::header::Next;

/// See the module's text. Neither waits, nor runs code of the users.
pub(crate) trait Keeper: Send + Sync {
    /// May the actor outlive its state? Asked when that ends.
    fn keeps(&self) -> bool;

    /// `started` has succeeded.
    fn started(&self);

    /// The incarnation has ended, and the actor is vacant, or has ended with it. False: nobody will fill the vacancy. Called in the
    /// worker's loop.
    fn ended(&self, exit: &Exit) -> bool;
}

impl Core {
    pub(crate) fn is_buried(&self) -> bool {
        self.mailbox.lock().stage() == Stage::Buried
    }


    /// The run has found a reason for the incarnation to end. True: `stopping` is to be called.
    pub(crate) fn begin_leave(&self) -> bool {
        self.header.refuse_cancels();
        !self.mailbox.lock().is_fresh()
    }

    /// The state is dropped: ends timers and helpers, tells tied actors.
    pub(crate) fn leave(&self, exit: Exit) {
        self.end_companions();
        while self.give_back_one(MailboxState::give_back_due) {}
        let ties = self.mailbox.lock().leaves(exit.clone());
        monitor::tell(self.id(), ties, &exit);
    }

    /// The actor has become vacant, under the lock of its mailbox: tells the keeper.
    #[cold]
    pub(super) fn tell_keeper(&self, mailbox: Locked<'_, MailboxState>, keeper: &dyn Keeper) -> Next {
        let me = self.weak();
        let exit = mailbox.exit();
        drop(mailbox);
        if !keeper.ended(&exit) && me.core().mailbox.lock().bury().is_some() { Next::Again } else { Next::Rests }
    }

    /// Ends the actor, if it is vacant. False: it is not.
    pub(crate) fn bury(&self) -> bool {
        let duty = self.mailbox.lock().bury();
        let buries = duty.is_some();
        self.launch(duty);
        buries
    }
}
