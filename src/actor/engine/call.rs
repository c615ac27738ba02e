//! The sending side of calls: sent now, answered later.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use super::cell::{Core, Strong};
use super::envelope::Route;
use super::origin::Origin;
use super::owed::Unanswered;
use super::parcel::Parcel;
use super::posted::Posted;
use super::room::{Entering, Unsent, enter};
use crate::actor::{Message, Pending, SendError};
use crate::park::checkpoint;

/// Sends what [`Posted::new`] has made. `wait`: for room, if the mailbox is full and blocks.
pub(crate) fn call<M: Message>(
    target: &Core,
    (posted, parcel): (Arc<Posted<M>>, Parcel),
    origin: Origin,
    wait: bool,
) -> Result<Pending<M>, SendError<M>> {
    if wait {
        checkpoint();
    }
    match enter(target, parcel, origin, wait) {
        Ok(sent) => {
            posted.is_in(&sent);
            Ok(Pending(posted))
        }
        Err((why, _)) => posted.error(why.into()),
    }
}

/// As [`call`], for a future: waits for room without the thread. No deadline but that of the handler that this is called from.
pub(crate) async fn call_async<M: Message>(
    target: Strong,
    route: &'static Route<M>,
    msg: M,
) -> Result<Pending<M>, SendError<M>> {
    let origin = Origin::here(Duration::MAX);
    let (posted, parcel) = Posted::new(route.call, target.core(), msg, origin);
    // Whoever drops this future before it is ready takes the message back.
    let asking = Asking::new(posted);
    match Entering::begin(target.core(), parcel, origin.terms.chain).await {
        Ok(sent) => {
            asking.posted().is_in(&sent);
            Ok(Pending(asking.keep()))
        }
        Err((why, _)) => asking.posted().error(Unsent::from(why).into()),
    }
}

/// Sends what [`Posted::new`] has made, and waits for the reply as an ask does. What is too large for an asker's stack goes
/// this way.
pub(crate) fn ask_by_call<M: Message>(
    target: &Core,
    (posted, parcel): (Arc<Posted<M>>, Parcel),
    origin: Origin,
) -> Result<M::Reply, SendError<M>> {
    let asking = Asking::new(posted);
    let posted = asking.posted();
    let begun = begin(target, posted, parcel, origin);
    posted.unpack(begun.and_then(|()| posted.promise().wait(origin.terms.deadline_ns)))
}

/// The first half of that: the parcel is sent. An error leaves the message where it is.
pub(crate) fn begin<M: Message>(
    target: &Core,
    posted: &Arc<Posted<M>>,
    parcel: Parcel,
    origin: Origin,
) -> Result<(), Unanswered> {
    checkpoint();
    match enter(target, parcel, origin, true) {
        Ok(sent) => {
            posted.is_in(&sent);
            Ok(())
        }
        Err((why, _)) => Err(why.into()),
    }
}

/// One who waits for the reply to a call, and nobody else will. Dropped, it takes the message back.
pub(crate) struct Asking<M: Message>(Option<Arc<Posted<M>>>);

impl<M: Message> Asking<M> {
    pub(crate) fn new(posted: Arc<Posted<M>>) -> Self {
        Self(Some(posted))
    }

    pub(crate) fn posted(&self) -> &Arc<Posted<M>> {
        self.0.as_ref().expect("it was not kept")
    }

    /// The message stays where it is.
    fn keep(mut self) -> Arc<Posted<M>> {
        self.0.take().expect("it is kept once")
    }
}

impl<M: Message> Drop for Asking<M> {
    fn drop(&mut self) {
        if let Some(posted) = &self.0 {
            posted.take_back();
        }
    }
}
