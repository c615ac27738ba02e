//! What is queued goes back to its senders when an actor ends.

#![forbid(unsafe_code)]

use super::cell::Core;
use super::envelope::Envelope;
use super::mailbox_state::MailboxState;
use super::owed::Refusal;
use super::waiting::WaitingEnvelope;

impl Core {
    /// Refuses everything that is queued.
    pub(super) fn give_back_all(&self) {
        while self.give_back_one(MailboxState::give_back) {}
    }

    /// Refuses everything that waits for room.
    pub(super) fn give_back_waiting(&self) {
        while self.give_back_one(MailboxState::give_back_waiting) {}
    }

    /// Refuses one message. False: there was none.
    fn give_back_one(&self, take: fn(&mut MailboxState) -> Option<WaitingEnvelope<Envelope>>) -> bool {
        let mut mailbox = self.mailbox.lock();
        let Some(WaitingEnvelope { envelope, sender }) = take(&mut mailbox) else { return false };
        if let Some(sender) = sender {
            let waiter = sender.let_go();
            drop(mailbox);
            // A future that has gone leaves its envelope to the waiter.
            let _ = self.guarded(move || waiter.close(envelope));
            return true;
        }
        let refused = envelope.refuse_ask(Refusal::Closed);
        drop(mailbox);
        match refused {
            Ok(None) => {}
            Ok(Some(wake)) => wake.schedule(),
            Err(envelope) => self.refuse_box(envelope, Refusal::Closed),
        }
        true
    }

    /// Closes the mailbox of an actor that its runtime ends, before its run does; it is busy.
    #[cold]
    pub(super) fn refuse_all(&self) {
        let exit = self.not_started();
        self.mailbox.lock().ends(&exit);
        self.give_back_all();
    }
}
