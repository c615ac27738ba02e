//! What addresses can do about an actor's life. Without `unsafe`: it all happens under the lock of the mail.

use std::sync::Arc;
use std::time::Duration;

use super::cell::Core;
use super::mail::{Ended, Phase};
use crate::actor::Exit;
use crate::park::queue::WaitQueue;
use crate::park::{Wait, checkpoint};
use crate::sys::clock::{NEVER, after_ns};
use crate::task::header::Reason;

/// A stopped actor handles what is queued for so long.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);

pub(crate) fn stop(core: &Core, why: Exit, drain: Duration) {
    core.stop(why, after_ns(drain));
}

pub(crate) fn is_ended(core: &Core) -> bool {
    core.mail.lock().phase == Phase::Dead
}

pub(crate) fn queued(core: &Core) -> usize {
    core.mail.lock().len()
}

pub(crate) fn join(core: &Core) -> Exit {
    checkpoint();
    assert!(
        !Core::current().is_some_and(|actor| std::ptr::eq(actor, core)),
        "an actor cannot join itself: it would wait for ever"
    );
    core.end_if_orphaned();
    let ended: Ended = {
        let fresh = Arc::new(WaitQueue::new(None));
        let mut mail = core.mail.lock();
        let dead = mail.phase == Phase::Dead;
        let extras = mail.extras();
        match (dead, &extras.end) {
            (true, Some(exit)) => return exit.clone(),
            _ => Arc::clone(extras.ended.get_or_insert(fresh)),
        }
    };
    let wait = Wait::new(Reason::Join).until(NEVER);
    ended.wait_until(wait, |exit: &mut Option<Exit>| exit.clone()).expect("a wait without a deadline")
}
