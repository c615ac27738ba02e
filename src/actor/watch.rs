//! Who is told when an actor ends: what [`ties`] are to actors.

#![forbid(unsafe_code)]

use std::ops::DerefMut;

use crate::actor::raw::cell::{Core, Weak};
use crate::actor::raw::mail::Mail;
use crate::actor::raw::ties::{self, Party, Tie, Tied, Ties};
use crate::actor::{ActorId, Down, Exit, MonitorRef, Signal};

impl Party for Weak {
    type Mail = Mail;

    fn number(&self) -> u64 {
        self.core().id().0
    }

    fn lock(&self) -> impl DerefMut<Target = Mail> {
        self.core().mail.lock()
    }
}

impl Tied<Weak> for Mail {
    fn ties(&mut self) -> Option<&mut Ties<Weak>> {
        (!self.is_dead()).then(|| &mut self.extras().ties)
    }
}

/// What the actor that has this half is told when `actor` ends.
fn signal(half: Tie, actor: ActorId, reason: Exit) -> Signal {
    match half {
        Tie::Watches(monitor) | Tie::Watched(monitor) => {
            Signal::Down(Down { monitor: MonitorRef(monitor), actor, reason })
        }
        Tie::Linked(_) => Signal::LinkExit { actor, reason },
    }
}

/// The half that a signal is about.
pub(crate) fn half_of(signal: &Signal) -> Option<Tie> {
    match signal {
        Signal::Down(down) => Some(Tie::Watches(down.monitor.0)),
        Signal::LinkExit { actor, .. } => Some(Tie::Linked(actor.0)),
        Signal::HelperPanicked { .. } | Signal::StreamEnded { .. } => None,
    }
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
    if ties::tie(&me.weak(), &other.weak(), half) {
        me.signal(signal(half, other.id(), other.why_closed()));
    }
}

pub(crate) fn untie(me: &Core, half: Tie) {
    ties::untie(&me.weak(), half);
}

/// Tells whoever is to be told that `me` has ended.
pub(crate) fn tell(me: ActorId, ties: Ties<Weak>, reason: &Exit) {
    for (half, other) in ties.into_held() {
        let signal = signal(half, me, reason.clone());
        let told = ties::end(me.0, half, &other, |mail| mail.push_signal(signal));
        other.core().launch(told.flatten().flatten());
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::actor::{Actor, Addr, Context};

    struct Hub;
    impl Actor for Hub {}

    /// Watches, as told, and ends.
    struct Client {
        hub: Addr<Hub>,
        links: bool,
    }

    impl Actor for Client {
        fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
            if self.links {
                ctx.link(&self.hub);
            } else {
                let _ = ctx.monitor(&self.hub);
            }
            Ok(())
        }
    }

    fn halves(actor: &Addr<impl Actor>) -> usize {
        actor.core().mail.lock().extras().ties.len()
    }

    fn wait(what: &dyn Fn() -> bool) {
        let start = std::time::Instant::now();
        while !what() {
            assert!(start.elapsed().as_secs() < 20);
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_dead_actors_have_watched_keeps_nothing_of_them() {
        let hub = Hub.start();
        let mut at_rest = 0;
        for round in 0..2000 {
            let client = Client { hub: hub.clone(), links: round % 2 == 0 }.start();
            client.stop();
            client.join();
            wait(&|| halves(&hub) == 0);
            assert_eq!(client.core().mail.lock().extras().ties.len(), 0);
            drop(client);
            if round == 0 {
                at_rest = hub.core().header.state.refs();
            }
        }
        // Nobody holds the hub any more: so nothing is left of whoever held it, either.
        wait(&|| hub.core().header.state.refs() <= at_rest);
        assert!(!hub.is_ended());
    }

    #[test]
    fn what_a_dead_one_was_tied_to_keeps_nothing_once_its_signal_is_handled() {
        let hub = Hub.start();
        let clients: Vec<_> = (0..100).map(|n| Client { hub: hub.clone(), links: n % 2 == 0 }.start()).collect();
        wait(&|| halves(&hub) == clients.len());
        hub.stop();
        hub.join();
        wait(&|| clients.iter().all(|client| halves(client) == 0));
        // A link to a dead one, too.
        let late = Client { hub: hub.clone(), links: true }.start();
        wait(&|| late.core().mail.lock().extras().ties.len() == 0 && !late.core().mail.lock().fresh);
    }
}
