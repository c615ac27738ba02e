//! Sends and waits for the reply.

#![forbid(unsafe_code)]

use std::pin::{Pin, pin};
use std::time::Duration;

use super::ask::{Ask, AskLeft, Done};
use super::cell::Core;
use super::edge::How;
use super::enqueue::{AfterUnlock, NotIn, Sent, enqueue};
use super::origin::SendOrigin;
use super::payload::Route;
use super::walk::Waits;
use crate::actor::{Message, SendError};
use crate::park::no_park::{assert_may_park, may_run_on_top};
use crate::park::{Wait, WaitResult, checkpoint, interrupt};
use crate::sched::Worker;
use crate::task::header::Reason;

/// An ask lies on its asker's stack with its message and its reply, up to so many bytes of both; larger ones go as calls.
const ON_STACK: usize = 1024;

/// Are asks with an `M` too large for a stack?
pub(crate) const fn is_large<M: Message>() -> bool {
    size_of::<M>() + size_of::<M::Reply>() > ON_STACK
}

/// Sends and waits for the reply.
#[inline]
pub(crate) fn ask<M: Message>(
    target: &Core,
    route: &Route<M>,
    msg: M,
    timeout: Option<Duration>,
) -> Result<M::Reply, SendError<M>> {
    checkpoint();
    let origin = timeout.map_or_else(|| SendOrigin::here(route.ask_timeout), SendOrigin::within);
    let chain = origin.terms.chain;
    let ask = pin!(Ask::new(route.ask, target, msg, origin));
    let ask = ask.as_ref();
    let waits = Waits::set(origin.actor, target, How::message(chain));
    let worker =
        Worker::current().filter(|worker| worker.shared.identity() == target.header.runtime && may_run_on_top());
    let step = match (worker, chain) {
        (Some(worker), 0) => match ask_on_top(worker, target, ask) {
            AskStep::NotSent => short_wait(target, ask, &waits),
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
    match target.launch_on_top(launch, worker, || ask.done_awake()) {
        Some(done) => AskStep::Answered(done),
        None => AskStep::Sent,
    }
}

/// The way of most others on a worker of the actor's runtime: there is room, the target does not wait itself, and the answer
/// comes. From elsewhere, what queues the actor may be the last that holds its runtime, and end that: not in a wait.
#[inline(always)]
fn short_wait<M: Message>(target: &Core, ask: Pin<&Ask<'_, M>>, waits: &Waits<'_>) -> AskStep {
    let woken = ask.wait(Wait::new(Reason::Ask).until(ask.deadline_ns()), |ticket| {
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
fn wait_on<M: Message>(
    target: &Core,
    ask: Pin<&Ask<'_, M>>,
    waits: Waits<'_>,
    step: AskStep,
) -> Result<M::Reply, SendError<M>> {
    let mut woken = match step {
        AskStep::NotSent => {
            if let Err(cycle) = waits.check(target) {
                return Err(SendError::Deadlock { msg: ask.take_message(), cycle });
            }
            assert_may_park("an ask");
            enqueue_first(target, ask, &waits)?;
            None
        }
        AskStep::Sent | AskStep::Answered(_) => None,
        AskStep::Waited(woken) => Some(Err(woken)),
    };
    let mut wait = Wait::new(Reason::Ask).until(ask.deadline_ns());
    loop {
        match woken.take().unwrap_or_else(|| ask.wait(wait, |ticket| ask.renew(ticket))) {
            Ok(done) => return ask.take_answer(done),
            Err(WaitResult::Interrupted) => {
                // If this unwinds, the ask leaves when it is dropped.
                let goes_on = interrupt::raise(wait);
                if !waits.is_told() {
                    wait = goes_on;
                } else if let Err(cycle) = waits.look_again() {
                    return give_up(ask, |msg| SendError::Deadlock { msg, cycle });
                }
            }
            Err(_) => return give_up(ask, SendError::Timeout),
        }
    }
}

/// The answer, if it has come by now; else the error, with the message if its handler has not started.
#[cold]
fn give_up<M: Message>(
    ask: Pin<&Ask<'_, M>>,
    error: impl FnOnce(Option<M>) -> SendError<M>,
) -> Result<M::Reply, SendError<M>> {
    match ask.leave() {
        AskLeft::Answered(done) => ask.take_answer(done),
        AskLeft::Unhandled => Err(error(ask.take_message())),
        AskLeft::Handled => Err(error(None)),
    }
}

/// Puts the ask into the mailbox before its asker waits. `Err`: it is not in.
fn enqueue_first<M: Message>(target: &Core, ask: Pin<&Ask<'_, M>>, waits: &Waits<'_>) -> Result<(), SendError<M>> {
    let mut after = AfterUnlock::default();
    let enqueued = ask.enqueue(None, |envelope| {
        let mut mailbox = target.mailbox.lock();
        let sent = enqueue(&mut mailbox, envelope, ask.chain(), Some(&|| None), &mut after);
        if let Ok(Sent::In | Sent::Waits) = sent {
            waits.harden();
        }
        sent
    });
    after.finish(target);
    if enqueued.is_ok() {
        target.assert_runs_here();
    }
    enqueued.map(drop).map_err(|not_in| not_sent(not_in, ask))
}

fn not_sent<M: Message>(not_in: NotIn, ask: Pin<&Ask<'_, M>>) -> SendError<M> {
    match (not_in, ask.take_message()) {
        (NotIn::Refused(why), Some(msg)) => why.into_error(msg),
        (NotIn::Dropped, Some(msg)) => SendError::Full(msg),
        (_, None) => unreachable!("an ask that is in no mailbox has its message"),
    }
}
