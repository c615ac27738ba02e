//! The sending side of calls: sent now, answered later.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use super::call::{CallBlock, NewCall};
use super::cell::{Core, Strong};
use super::enqueue::{enqueue_async, enqueue_or_wait};
use super::envelope::Envelope;
use super::origin::SendOrigin;
use super::owed::Unanswered;
use super::payload::Route;
use super::promise::Promised;
use crate::actor::{Message, Pending, SendError};
use crate::park::checkpoint;

/// Sends now, and gives what the reply can be waited for with. `wait`: for room, if the mailbox is full and blocks.
// Inlined, as all that hands a message on: a large one is moved once more for each function that does.
#[inline(always)]
pub(crate) fn call<M: Message>(
    target: &Core,
    route: &Route<M>,
    msg: M,
    wait: bool,
) -> Result<Pending<M>, SendError<M>> {
    send(target, NewCall::new(route.call, target, msg, SendOrigin::here(route.ask_timeout)), wait)
}

/// Sends what [`NewCall::new`] has made.
pub(crate) fn send<M: Message>(target: &Core, new: NewCall<M>, wait: bool) -> Result<Pending<M>, SendError<M>> {
    match begin(target, &new.call, new.envelope, new.origin, wait) {
        Ok(()) => Ok(Pending(new.call)),
        Err(why) => new.call.error(why),
    }
}

/// As [`call`], for a future: waits for room without the thread. No deadline but that of the handler that this is called from.
#[inline(always)]
pub(crate) fn call_async<M: Message>(
    target: Strong,
    route: &Route<M>,
    msg: M,
) -> impl Future<Output = Result<Pending<M>, SendError<M>>> + Send + use<M> {
    let new = NewCall::new(route.call, target.core(), msg, SendOrigin::here(Duration::MAX));
    let NewCall { call, envelope, origin } = new;
    let chain = origin.terms.chain;
    // Dropped before it is ready, the future takes the message back.
    let asking = Asking::new(call);
    async move {
        match enqueue_async(target.core(), envelope, chain).await {
            Ok(sent) => {
                asking.call().is_in(&sent);
                Ok(Pending(asking.keep()))
            }
            Err((why, _)) => asking.call().error(Unanswered::Refused(why)),
        }
    }
}

/// Sends what [`NewCall::new`] has made, and waits for the reply as an ask does. What is too large for an asker's stack goes
/// this way.
pub(crate) fn ask_by_call<M: Message>(target: &Core, new: NewCall<M>) -> Result<M::Reply, SendError<M>> {
    let asking = Asking::new(new.call);
    let call = asking.call();
    let begun = begin(target, call, new.envelope, new.origin, true);
    call.unpack(begun.and_then(|()| call.promise().wait(call.promise().deadline_ns())))
}

/// The first half of that: the envelope is sent. An error leaves the message where it is.
pub(crate) fn begin<M: Message>(
    target: &Core,
    call: &CallBlock<M>,
    envelope: Envelope,
    origin: SendOrigin,
    wait: bool,
) -> Result<(), Unanswered> {
    if wait {
        checkpoint();
    }
    let sent = enqueue_or_wait(target, envelope, origin, wait).map_err(|(why, _)| why)?;
    call.is_in(&sent);
    Ok(())
}

/// The only waiter for the reply to a call. Dropped, it takes the message back.
pub(crate) struct Asking<M: Message>(Option<Arc<CallBlock<M>>>);

impl<M: Message> Asking<M> {
    pub(crate) fn new(call: Arc<CallBlock<M>>) -> Self {
        Self(Some(call))
    }

    pub(crate) fn call(&self) -> &Arc<CallBlock<M>> {
        self.0.as_ref().expect("it was not kept")
    }

    /// The message stays where it is.
    fn keep(mut self) -> Arc<CallBlock<M>> {
        self.0.take().expect("it is kept once")
    }
}

impl<M: Message> Drop for Asking<M> {
    fn drop(&mut self) {
        if let Some(call) = &self.0 {
            call.take_back();
        }
    }
}
