//! A kept actor between two states: how it leaves, and how the vacancy ends. The states are in
//! [`mailbox_state`](super::mailbox_state), "Vacancy".

#![forbid(unsafe_code)]

use std::sync::Arc;

use super::busy::Launch;
use super::cell::Core;
use super::envelope::Envelope;
use super::lifecycle::say_ended;
use super::mailbox_state::{EndQueue, Extras, MailboxState, Phase, Stage};
use super::monitor;
use super::ties::Ties;
use super::waiting::WaitingEnvelope;
use super::warden::{Brood, Warden};
use super::weak::Weak;
use crate::actor::Exit;
use crate::base::spin::Locked;
use crate::task::header::Next;

/// So many messages are counted one by one: some microseconds.
const FEW: usize = 1000;

impl MailboxState {
    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.stage == Stage::Fresh
    }

    /// `started` has succeeded.
    pub(crate) fn has_started(&mut self) {
        self.stage = Stage::Started;
    }

    pub(super) fn settled(&self) -> (u64, u64) {
        self.extras.as_ref().map_or((0, 0), |extras| (extras.drained, extras.given_back))
    }

    /// How many messages are queued, whether they count or not; of more than [`FEW`] perhaps those only that count, as those who send wait meanwhile. Those of timers are not
    /// among them.
    pub(crate) fn queued(&self) -> usize {
        let passed = self.extras.as_ref().map_or(0, |extras| extras.passed.count_to(FEW));
        self.len().max(self.queue.count_to(FEW) + passed)
    }

    /// How many messages nobody has handled: those that were put aside, or wait for room, too. It goes through all of them.
    pub(super) fn unhandled(&self) -> usize {
        let aside = |extras: &Extras| extras.passed.count() + extras.stash.count() + extras.waiting.len();
        self.queue.count() + self.extras.as_deref().map_or(0, aside)
    }

    /// The state is dropped, and the actor has not ended. What is to be told of that, and dropped, without the lock.
    pub(super) fn leaves(&mut self, exit: Exit) -> (Ties<Weak>, Option<EndQueue>, Option<Arc<dyn Brood>>) {
        self.stage = Stage::Leaves;
        self.urgent = true;
        let extras = self.extras();
        extras.end = Some(exit);
        (std::mem::take(&mut extras.ties), extras.left.take(), extras.brood.take())
    }

    /// Step R3 of a run that was to leave. One that was stopped takes messages again: they are for the next state.
    fn vacate(&mut self) {
        self.stage = Stage::Vacant; // KEY: vacancy
        self.phase = Phase::Open; // KEY: vacancy-open
    }

    /// A vacant actor has a new state: what is queued is for that. `None`: it is not vacant.
    pub(crate) fn revive(&mut self) -> Option<Launch> {
        let launch = self.occupy(Stage::Fresh, Phase::Open)?;
        let extras = self.extras();
        (extras.killed, extras.end, extras.drain_until_ns) = (false, None, None);
        (extras.signalled, extras.ceded) = (false, false);
        extras.signals.retain(|signal| signal.tie().is_some());
        self.unstash();
        Some(launch)
    }

    /// A vacant actor ends with its next run. `None`: it is not vacant.
    pub(super) fn bury(&mut self) -> Option<Launch> {
        self.occupy(Stage::Buried, Phase::Ends)
    }

    fn occupy(&mut self, stage: Stage, phase: Phase) -> Option<Launch> {
        if self.stage != Stage::Vacant {
            return None;
        }
        self.stage = stage;
        self.close(phase);
        self.busy.relaunch()
    }

    /// Counts a message that was taken out and will not be handled.
    pub(super) fn given_back(&mut self, envelope: Envelope) -> WaitingEnvelope<Envelope> {
        if let Some(extras) = self.extras.as_deref_mut() {
            extras.given_back += 1;
        }
        WaitingEnvelope { envelope, sender: None }
    }

    /// Takes one message of a timer out that will not be handled.
    pub(super) fn give_back_due(&mut self) -> Option<WaitingEnvelope<Envelope>> {
        let envelope = self.extras.as_deref_mut()?.due.pop_front()?;
        Some(WaitingEnvelope { envelope, sender: None })
    }
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
        let (ties, left, _brood) = self.mailbox.lock().leaves(exit.clone());
        monitor::tell(self, ties, &exit);
        left.iter().for_each(|left| say_ended(left, &exit));
    }

    /// The actor becomes vacant, under the lock of its mailbox: tells the warden. Apart: no run but the last of a state comes here.
    #[cold]
    #[inline(never)]
    pub(super) fn vacate(
        &self,
        mailbox: Locked<'_, MailboxState>,
        warden: impl FnOnce() -> Option<Arc<dyn Warden>>,
    ) -> Next {
        let mut mailbox = mailbox;
        let Some(warden) = warden() else { return Next::Again };
        mailbox.vacate();
        let me = self.weak();
        let exit = mailbox.exit();
        drop(mailbox);
        if !warden.ended(&exit) && me.core().mailbox.lock().bury().is_some() { Next::Again } else { Next::Rests }
    }

    /// Ends the actor, if it is vacant. False: it is not.
    pub(crate) fn bury(&self) -> bool {
        let duty = self.mailbox.lock().bury();
        let buries = duty.is_some();
        self.launch(duty);
        buries
    }
}
