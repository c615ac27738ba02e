//! Which actors are told when one ends: what [`ties`] are to actors.

#![forbid(unsafe_code)]

use std::ops::DerefMut;
use std::sync::Arc;

use super::cell::Core;
use super::mailbox_state::MailboxState;
use super::ties::{self, Party, Tie, Tied, Ties};
use super::weak::Weak;
use crate::actor::{ActorId, Down, Exit, MonitorRef, Signal};

impl Party for Weak {
    type Mailbox = MailboxState;

    fn number(&self) -> u64 {
        self.core().id().0
    }

    fn lock(&self) -> impl DerefMut<Target = MailboxState> {
        self.core().mailbox.lock()
    }
}

impl Tied<Weak> for MailboxState {
    fn ties(&mut self) -> Option<&mut Ties<Weak>> {
        (!self.is_dead()).then(|| &mut self.extras().ties)
    }
}

/// What the actor that has this half is told when `actor` ends.
fn signal(half: Tie, actor: ActorId, name: Option<Arc<str>>, reason: Exit) -> Signal {
    match half {
        Tie::Watches(monitor) | Tie::Watched(monitor) => {
            Signal::Down(Down { monitor: MonitorRef(monitor), actor, name, reason })
        }
        Tie::Linked(_) => Signal::LinkExit { actor, name, reason },
    }
}

fn name_of(actor: &Core) -> Option<Arc<str>> {
    actor.header.name().map(Arc::from)
}

/// Has `me`, which runs, monitor `other`.
pub(crate) fn monitor(me: &Core, other: &Core) -> MonitorRef {
    let monitor = MonitorRef(crate::park::os::fresh_ids(1));
    tie(me, other, Tie::Watches(monitor.0));
    monitor
}

/// Links `me`, which runs, and `other`.
pub(crate) fn link(me: &Core, other: &Core) {
    tie(me, other, Tie::Linked(other.id().0));
}

fn tie(me: &Core, other: &Core, half: Tie) {
    // Nobody is there to be told of its own end.
    if me.id() == other.id() {
        return;
    }
    me.assert_runs_here();
    other.assert_runs_here();
    if ties::tie(&me.weak(), &other.weak(), half) {
        me.signal(signal(half, other.id(), name_of(other), other.why_closed()));
    }
}

pub(crate) fn untie(me: &Core, half: Tie) {
    ties::untie(&me.weak(), half);
}

/// Tells the actors that are to be told that `me` has ended.
pub(crate) fn tell(me: &Core, ties: Ties<Weak>, reason: &Exit) {
    let mut name = None;
    for (half, other) in ties.into_held() {
        let name = name.get_or_insert_with(|| name_of(me)).clone();
        let signal = signal(half, me.id(), name, reason.clone());
        let told = ties::end(me.id().0, half, &other, |mailbox| mailbox.push_signal(signal));
        if let Some(duty) = told.flatten().flatten() {
            Core::queue(other.core().entry(duty));
        }
    }
}
