//! What is queued goes back to its senders when an actor ends.

#![forbid(unsafe_code)]

use super::cell::Core;
use super::mail::Mail;
use super::owed::Refusal;
use super::parcel::Waiting;

impl Core {
    /// Refuses everything that is queued.
    pub(super) fn give_back_all(&self) {
        while self.give_back_one(Mail::give_back) {}
    }

    /// Refuses everything that waits for room.
    pub(super) fn give_back_waiting(&self) {
        while self.give_back_one(Mail::give_back_waiting) {}
    }

    /// Refuses one message. False: there was none.
    fn give_back_one(&self, take: fn(&mut Mail) -> Option<Waiting>) -> bool {
        let mut mail = self.mail.lock();
        let Some(Waiting { parcel, sender }) = take(&mut mail) else { return false };
        if let Some(sender) = sender {
            let room = sender.let_go();
            drop(mail);
            // A future that has gone leaves its box to the room.
            let _ = self.guarded(move || room.close(parcel));
            return true;
        }
        let refused = parcel.refuse_ask(Refusal::Closed);
        drop(mail);
        match refused {
            Ok(None) => {}
            Ok(Some(wake)) => wake.schedule(),
            Err(parcel) => self.refuse_box(parcel, Refusal::Closed),
        }
        true
    }

    /// Closes the mailbox of an actor that its runtime ends, before its run does; it is busy.
    #[cold]
    pub(super) fn refuse_all(&self) {
        let exit = self.not_started();
        self.mail.lock().ends(&exit);
        self.give_back_all();
    }
}
