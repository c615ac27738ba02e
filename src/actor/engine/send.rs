//! The sending side of what is answered: asks, and calls, whose reply is waited for later.

#![forbid(unsafe_code)]

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use super::ask::{Ask, AskLeft, Done};
use super::call::{CallBlock, NewCall};
use super::cell::{Core, Strong};
use super::edge::How;
use super::enqueue::{NoRoom, Sent, enqueue, enqueue_async, enqueue_or_wait};
use super::envelope::Envelope;
use super::origin::SendOrigin;
use super::owed::Unanswered;
use super::payload::Route;
use super::promise::Promised;
use super::walk::EdgeGuard;
use crate::actor::{Message, Pending, SendError};
use crate::park::no_park::{assert_may_park, may_run_on_top};
use crate::park::owed_answer::{refusal, refused};
use crate::park::{Wait, WaitResult, checkpoint, interrupt};
use crate::sched::Worker;
use crate::task::header::Reason;

/// An ask lies on its asker's stack with its message and its reply, up to so many bytes of both; larger ones go as calls.
const ON_STACK: usize = 1024;

/// Sends and waits for the reply. `None`: for so long as the route says.
#[inline]
#[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
pub(crate) fn ask<M: Message>(
    target: &Core,
    route: &Route<M>,
    msg: M,
    timeout: Option<Duration>,
) -> Result<M::Reply, SendError<M>> {
    let origin = || timeout.map_or_else(|| SendOrigin::here(route.ask_timeout), SendOrigin::within);
    if const { size_of::<M>() + size_of::<M::Reply>() > ON_STACK } {
        return ask_by_call(target, NewCall::new(route.call, target, msg, origin()));
    }
    checkpoint();
    let origin = origin();
    let chain = origin.terms.chain;
    let ask = pin!(Ask::new(route.ask, target, msg, origin));
    let ask = ask.as_ref();
    ask.owed().begin(target.id().0, chain);
    let waits = EdgeGuard::set(origin.actor, target, How::message(chain));
    let worker =
        Worker::current().filter(|worker| worker.shared.identity() == target.header.runtime && may_run_on_top());
    let step = match (worker, chain) {
        (Some(worker), 0) => match ask_on_top(worker, target, ask) {
            // Its edge in the report of deadlocks comes between the sending and the wait, which are one step there.
            AskStep::NotSent if !ask.is_reported() => short_wait(target, ask, &waits),
            step => step,
        },
        // Messages of a chain may be let in by one that waits.
        _ => AskStep::NotSent,
    };
    match step {
        AskStep::Answered(done) => {
            drop(waits);
            ask.take_answer(done)
        }
        step => wait_on(target, ask, waits, step),
    }
}

/// How far an ask has come.
enum AskStep {
    Answered(Done),
    /// It is in no mailbox.
    NotSent,
    /// It is in the mailbox, or is being handled, and its asker has not waited yet.
    Sent,
    /// It is there, and a first wait has ended so.
    Waited(WaitResult),
}

/// The way of nearly every ask: the actor rests, and handles the message at once, on top of the asker.
#[inline(always)]
#[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
fn ask_on_top<M: Message>(worker: &Worker, target: &Core, ask: Pin<&Ask<'_, M>>) -> AskStep {
    if worker.here().current_ptr().is_none() {
        return AskStep::NotSent;
    }
    let enqueued = ask.enqueue(None, |envelope| {
        let mut mailbox = target.mailbox.lock();
        if !mailbox.rests() {
            return Err(((), envelope));
        }
        mailbox.push(envelope).map_err(|(_, envelope)| ((), envelope))
    });
    // An actor that rests is marked busy.
    let Ok(Some(launch)) = enqueued else { return AskStep::NotSent };
    // For what the handler waits for. An error: its asker looks again.
    let _waits = if ask.is_reported() { Some(ask.owed().awaited(0)) } else { None };
    match target.launch_on_top(launch, worker, || ask.done_awake()) {
        Some(done) => AskStep::Answered(done),
        None => AskStep::Sent,
    }
}

/// The way of most others on a worker of the actor's runtime: there is room, the target does not wait itself, and the answer
/// comes. From elsewhere, what queues the actor may be the last that holds its runtime, and end that: not in a wait.
#[inline(always)]
fn short_wait<M: Message>(target: &Core, ask: Pin<&Ask<'_, M>>, waits: &EdgeGuard<'_>) -> AskStep {
    let woken = ask.wait(Wait::new(Reason::Ask).on(&raw const target.header).until(ask.deadline_ns()), |ticket| {
        let enqueued = ask.enqueue(Some(ticket), |envelope| {
            let mut mailbox = target.mailbox.lock();
            if !mailbox.rests() && waits.is_suspicious(target) {
                return Err(((), envelope));
            }
            mailbox.push(envelope).map_err(|(_, envelope)| ((), envelope))
        });
        enqueued.map(|launch| target.launch(launch)).is_ok()
    });
    match woken {
        Ok(done) => AskStep::Answered(done),
        Err(WaitResult::Refused) => AskStep::NotSent,
        Err(woken) => AskStep::Waited(woken),
    }
}

/// All other ways.
#[cold]
#[inline(never)]
#[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
fn wait_on<M: Message>(
    target: &Core,
    ask: Pin<&Ask<'_, M>>,
    waits: EdgeGuard<'_>,
    step: AskStep,
) -> Result<M::Reply, SendError<M>> {
    let mut woken = match step {
        AskStep::NotSent => {
            if let Err(cycle) = waits.check(target) {
                drop(waits);
                refused(cycle.members(), refusal::REPLY, ask.chosen());
                return Unanswered::Deadlock(cycle).with_message(|| ask.take_message());
            }
            assert_may_park("an ask");
            let into = |envelope| enqueue(target, envelope, ask.chain(), Some(&waits), Some(&|| None));
            match ask.enqueue(None, into) {
                Ok(Sent::Admitted) => {}
                Ok(Sent::In | Sent::Waits) => ask.owed().harden(),
                Err(why) => return Unanswered::Refused(why).with_message(|| ask.take_message()),
            }
            None
        }
        AskStep::Sent | AskStep::Answered(_) => None,
        AskStep::Waited(woken) => Some(Err(woken)),
    };
    // Not before it is sent: one that is refused waits for nobody.
    let awaited = if ask.is_reported() { Some(ask.owed().awaited(0)) } else { None };
    if let Some(Err(cycle)) = awaited {
        return give_up(ask, waits, Unanswered::deadlock(cycle), true);
    }
    let mut wait = Wait::new(Reason::Ask).on(&raw const target.header).until(ask.deadline_ns());
    loop {
        match woken.take().unwrap_or_else(|| ask.wait(wait, |ticket| ask.renew(ticket))) {
            Ok(done) => return ask.take_answer(done),
            Err(WaitResult::Interrupted) => {
                // If this unwinds, the ask leaves when it is dropped.
                let goes_on = interrupt::raise(wait);
                if !waits.is_told() {
                    wait = goes_on;
                } else if let Err(cycle) = waits.look_again() {
                    return give_up(ask, waits, Unanswered::Deadlock(cycle), false);
                }
            }
            Err(_) => return give_up(ask, waits, Unanswered::TimedOut, false),
        }
    }
}

/// The answer, if it has come by now; else the error, with the message if its handler has not started. `is_reported`: a deadlock is, in any case.
/// While it is, the asker waits for nobody.
#[cold]
#[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
fn give_up<M: Message>(
    ask: Pin<&Ask<'_, M>>,
    waits: EdgeGuard<'_>,
    why: Unanswered,
    is_reported: bool,
) -> Result<M::Reply, SendError<M>> {
    let left = ask.leave();
    drop(waits);
    if let (Unanswered::Deadlock(cycle), false, AskLeft::Unhandled | AskLeft::Handled) = (&why, is_reported, &left) {
        refused(cycle.members(), refusal::REPLY, ask.chosen());
    }
    match left {
        AskLeft::Answered(done) => ask.take_answer(done),
        AskLeft::Unhandled => why.with_message(|| ask.take_message()),
        AskLeft::Handled => why.without_message(),
    }
}

/// Sends now, and gives what the reply can be waited for with. `wait`: for room, if the mailbox is full and blocks.
// Inlined, as all that hands a message on: a large one is moved once more for each function that does.
#[inline(always)]
#[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
pub(crate) fn call<M: Message>(
    target: &Core,
    route: &Route<M>,
    msg: M,
    wait: bool,
) -> Result<Pending<M>, SendError<M>> {
    send(target, NewCall::new(route.call, target, msg, SendOrigin::here(route.ask_timeout)), wait)
}

/// Sends what [`NewCall::new`] has made.
#[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
pub(crate) fn send<M: Message>(target: &Core, new: NewCall<M>, wait: bool) -> Result<Pending<M>, SendError<M>> {
    let no_room = if wait { NoRoom::Waits } else { NoRoom::Fails };
    match begin(target, &new.call, new.envelope, new.origin, no_room) {
        Ok(()) => Ok(Pending::new(new.call)),
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
                Ok(Pending::new(asking.keep()))
            }
            Err((why, _)) => asking.call().error(Unanswered::Refused(why)),
        }
    }
}

/// Sends what [`NewCall::new`] has made, and waits for the reply as an ask does. What is too large for an asker's stack goes
/// this way.
#[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
pub(crate) fn ask_by_call<M: Message>(target: &Core, new: NewCall<M>) -> Result<M::Reply, SendError<M>> {
    let asking = Asking::new(new.call);
    let call = asking.call();
    let answer = match begin(target, call, new.envelope, new.origin, NoRoom::Asks { lets_in: 0 }) {
        Ok(()) => call.promise().wait(call.promise().deadline_ns(), call.chosen()),
        Err(why) => Err(why),
    };
    call.unpack(answer)
}

/// The first half of that: the envelope is sent. An error leaves the message where it is.
#[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
pub(crate) fn begin<M: Message>(
    target: &Core,
    call: &CallBlock<M>,
    envelope: Envelope,
    origin: SendOrigin,
    no_room: NoRoom,
) -> Result<(), Unanswered> {
    if no_room != NoRoom::Fails {
        checkpoint();
    }
    let sent = enqueue_or_wait(target, envelope, origin, no_room).map_err(|(why, _)| why)?;
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
