//! One run of an actor: a batch of messages, and its end, if there is a reason for it.

#![forbid(unsafe_code)]

use super::cell::Core;
use super::mail::Take;
use super::residents::leave;
use crate::actor::{Actor, Context, Exit, watch};
use crate::rt::join::JoinHandle;

/// Messages of one run; then others have their turn.
const BATCH: u32 = 64;

/// Handles what is in the mail, up to a batch. `Some`: the actor has to end.
#[inline]
pub(super) fn batch<A: Actor>(core: &Core, me: &mut A, ctx: &mut Context<A>) -> Option<Exit> {
    for _ in 0..BATCH {
        let mut mail = core.mail.lock();
        mail.runs = true;
        let mut hands_back = false;
        let result = match mail.pop_plain() {
            Some(parcel) => {
                // An asker goes on as soon as this run is over: what comes meanwhile is found at its end.
                hands_back = mail.is_empty() && parcel.is_ask();
                parcel.run(mail, None, me, ctx)
            }
            None => {
                let (take, room) = mail.take(core.is_addressed());
                match take {
                    Take::Nothing => return None,
                    Take::End(exit) => return Some(exit),
                    Take::Message(parcel) => parcel.run(mail, room, me, ctx),
                    Take::Start | Take::Signal(_) => {
                        drop(mail);
                        hook(core, take, me, ctx)
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
fn hook<A: Actor>(core: &Core, take: Take, me: &mut A, ctx: &mut Context<A>) -> Result<(), Box<Exit>> {
    ctx.inner.frame().clear();
    match take {
        Take::Signal(signal) => core.guarded(|| me.signal(signal, ctx)),
        _ => {
            core.guarded(|| me.started(ctx)).and_then(|result| result.map_err(Box::new))?;
            core.mail.lock().fresh = false;
            Ok(())
        }
    }
}

/// The first part of an actor's end, on whatever stack: gives back what is queued, calls `stopping`. The state is dropped next.
#[cold]
pub(super) fn say_stopping<A: Actor>(core: &Core, me: &mut A, ctx: &mut Context<A>, exit: &Exit) {
    core.header.refuse_cancels();
    let started = {
        let mut mail = core.mail.lock();
        mail.ends(exit);
        !mail.fresh
    };
    core.give_back_all();
    ctx.inner.frame().clear();
    if started {
        let _ = core.guarded(|| me.stopping(exit, ctx));
    }
}

/// The last part: ends timers and helpers, tells those who watch.
#[cold]
pub(super) fn end(core: &Core, exit: Exit) {
    // Timers end before the actor is dead: none of theirs is a dead letter.
    let ((timers, helpers), list) = {
        let mut mail = core.mail.lock();
        (mail.take_companions(), mail.list)
    };
    leave(core, list);
    // What a timer would have sent, and what a helper has left, may have destructors that panic.
    timers.iter().for_each(|timer| _ = core.guarded(|| timer.cancel()));
    helpers.iter().for_each(JoinHandle::cancel);
    helpers.into_iter().for_each(|helper| _ = core.guarded(|| drop(helper)));
    let (ties, ended) = core.mail.lock().set_dead(&exit);
    watch::tell(core.id(), ties, &exit);
    if let Some(ended) = ended {
        ended.notify_all(|end| {
            *end = Some(exit);
            true
        });
    }
}
