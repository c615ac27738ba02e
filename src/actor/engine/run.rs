//! One run of an actor: a batch of messages, and its end, if there is a reason for it.

#![forbid(unsafe_code)]

use super::cell::{Core, hold};
use super::envelope::{Envelope, Held};
use super::mailbox_state::Take;
use super::monitor;
use super::residents::leave;
use crate::actor::{Exit, Signal};
use crate::rt::join::JoinHandle;

/// Messages of one run; then others have their turn.
const BATCH: u32 = 64;

/// What a run has of its actor: the context, which calls the actor's own code. `Err`: the actor has to end. Nothing of it unwinds.
pub(crate) trait Hooks {
    type Actor;

    fn handle<'a>(
        &mut self,
        me: &mut Self::Actor,
        envelope: Envelope,
        held: impl FnOnce() -> Held<'a>,
    ) -> Result<(), Box<Exit>>;

    fn started(&mut self, me: &mut Self::Actor) -> Result<(), Box<Exit>>;

    fn signal(&mut self, me: &mut Self::Actor, signal: Signal) -> Result<(), Box<Exit>>;

    fn stopping(&mut self, me: &mut Self::Actor, exit: &Exit);

    /// Why the actor has said that it ends.
    fn take_end(&mut self) -> Option<Box<Exit>>;
}

/// Handles what is in the mailbox, up to a batch. `Some`: the actor has to end.
#[inline]
pub(crate) fn batch<C: Hooks>(core: &Core, me: &mut C::Actor, ctx: &mut C) -> Option<Exit> {
    for _ in 0..BATCH {
        let mut mailbox = core.mailbox.lock();
        mailbox.runs = true;
        let mut hands_back = false;
        let result = match mailbox.pop_plain() {
            Some(envelope) => {
                // An asker goes on as soon as this run is over: what comes meanwhile is found at its end.
                hands_back = mailbox.is_empty() && envelope.is_ask();
                ctx.handle(me, envelope, || hold(mailbox, None))
            }
            None => {
                let (take, sender) = mailbox.take(core.is_addressed());
                let held = hold(mailbox, sender);
                match take {
                    Take::Nothing => return None,
                    Take::End(exit) => return Some(exit),
                    Take::Message(envelope) => ctx.handle(me, envelope, || held),
                    Take::Signal(signal) => {
                        held.release();
                        ctx.signal(me, signal)
                    }
                    Take::Start => {
                        held.release();
                        start(core, me, ctx)
                    }
                }
            }
        };
        if let Some(exit) = result.err().or_else(|| ctx.take_end()) {
            return Some(*exit);
        }
        if hands_back {
            break;
        }
    }
    None
}

#[cold]
fn start<C: Hooks>(core: &Core, me: &mut C::Actor, ctx: &mut C) -> Result<(), Box<Exit>> {
    ctx.started(me)?;
    core.mailbox.lock().fresh = false;
    Ok(())
}

/// Takes a message out that a `reenter` lets in.
pub(crate) fn take_admitted(core: &Core) -> Option<(Envelope, Held<'_>)> {
    let mut mailbox = core.mailbox.lock();
    let envelope = mailbox.take_admitted()?;
    Some((envelope, hold(mailbox, None)))
}

/// The first part of an actor's end, on whatever stack: gives back what is queued, calls `stopping`. The state is dropped next.
#[cold]
pub(crate) fn say_stopping<C: Hooks>(core: &Core, me: &mut C::Actor, ctx: &mut C, exit: &Exit) {
    core.header.refuse_cancels();
    let started = {
        let mut mailbox = core.mailbox.lock();
        mailbox.ends(exit);
        !mailbox.fresh
    };
    core.give_back_all();
    if started {
        ctx.stopping(me, exit);
    }
}

/// The last part: ends timers and helpers, tells tied actors and joiners.
#[cold]
pub(crate) fn end(core: &Core, exit: Exit) {
    // Timers end before the actor is dead: none of theirs is a dead letter.
    let ((timers, helpers), list) = {
        let mut mailbox = core.mailbox.lock();
        (mailbox.take_companions(), mailbox.list)
    };
    leave(core, list);
    // What a timer would have sent, and what a helper has left, may have destructors that panic.
    timers.iter().for_each(|timer| _ = core.guarded(|| timer.cancel()));
    helpers.iter().for_each(JoinHandle::cancel);
    helpers.into_iter().for_each(|helper| _ = core.guarded(|| drop(helper)));
    let (ties, ended) = core.mailbox.lock().set_dead(&exit);
    monitor::tell(core.id(), ties, &exit);
    if let Some(ended) = ended {
        ended.notify_all(|end| {
            *end = Some(exit);
            true
        });
    }
}
