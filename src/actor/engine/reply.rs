//! What becomes of the reply when a handler has returned, has panicked, or puts the reply off.

#![forbid(unsafe_code)]

use std::any::Any;
use std::sync::Arc;

use super::cell::{Core, RunState};
use super::frame::ReplyTo;
use super::owed::{Failure, Owed};
use crate::actor::{Deferred, Exit, Message};

/// The handler has panicked, or was unwound. Why the actor ends.
#[cold]
pub(crate) fn died(run: &RunState, payload: Box<dyn Any + Send>) -> Box<Exit> {
    let exit = run.core().exit_of(payload);
    if let Some(orphans) = run.frame().take_orphans() {
        let died = Failure::Died((*exit).clone());
        let _ = run.core().guarded(|| orphans.fail(&died));
    }
    exit
}

/// Gives what the handler has returned to the promise that waits for it, or drops it. Passes a reason to end on.
pub(crate) fn settle<M: Message>(
    core: &Core,
    reply_to: ReplyTo,
    result: Result<Box<M::Reply>, Box<Exit>>,
) -> Result<(), Box<Exit>> {
    let owed = match reply_to {
        ReplyTo::Owed(owed) => deferred(owed).ok(),
        ReplyTo::Nobody | ReplyTo::Asked(_) => None,
    };
    match (owed, result) {
        (Some(owed), Ok(reply)) => core.guarded(|| owed.reply_boxed(reply)),
        (None, Ok(reply)) => core.guarded(|| drop(reply)),
        (owed, Err(exit)) => {
            let died = Failure::Died((*exit).clone());
            let _ = core.guarded(|| owed.map(|owed| owed.fail(died)));
            Err(exit)
        }
    }
}

/// `Err`: it is a promise of another type.
pub(super) fn deferred<R: Send + 'static>(owed: Arc<dyn Owed>) -> Result<Deferred<R>, Arc<dyn Owed>> {
    let mut deferred = Deferred::<R>::nobody();
    owed.give(&mut deferred)?;
    Ok(deferred)
}
