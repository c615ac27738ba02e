//! [`Context::reenter`]: messages of one call chain are handled while its actor waits.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::actor::address::Addressed;
use crate::actor::engine::call::NewCall;
use crate::actor::engine::cell::Core;
use crate::actor::engine::enqueue::NoRoom;
use crate::actor::engine::origin::SendOrigin;
use crate::actor::engine::owed::Owed;
use crate::actor::engine::payload::Route;
use crate::actor::engine::promise::{Nested, Promised};
use crate::actor::engine::send::{self, Asking};
use crate::actor::engine::weak::Weak;
use crate::actor::glue::run_admitted;
use crate::actor::handling::route;
use crate::actor::{Actor, Addr, Context, Cycle, Message, Receives, Recipient, Returned, SendError};
use crate::park::owed_answer::{refusal, refused};

impl<A: Actor> Context<A> {
    /// Lends `&mut self` for one ask, so that messages that come back because of this ask are handled meanwhile.
    ///
    #[doc = include_str!("docs/reenter.md")]
    pub fn reenter<'a>(&'a mut self, me: &'a mut A) -> Reenter<'a, A> {
        Reenter { ctx: self, me }
    }
}

/// Sends messages while the actor is lent: what [`Context::reenter`] returns.
///
#[doc = include_str!("docs/reenter_send.md")]
pub struct Reenter<'a, A: Actor> {
    ctx: &'a mut Context<A>,
    me: &'a mut A,
}

impl<A: Actor> Reenter<'_, A> {
    /// Sends a message to `to` and waits for the reply; messages of this call chain that come back here are handled
    /// meanwhile.
    ///
    /// Deadline, order and cancellation are those of [`Addr::send`].
    ///
    #[doc = include_str!("docs/reenter_send.md")]
    ///
    /// # Errors
    ///
    /// Those of [`Addr::send`]; `Deadlock` also if the chain has come back here too often ([`Context::reenter`]).
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    pub fn send<B: Receives<M>, M: Message>(&mut self, to: &Addr<B>, msg: M) -> Result<M::Reply, SendError<M>> {
        self.send_by(to.core(), const { &route::<B, M>() }, msg)
    }

    /// Sends a message to a [`Recipient`](crate::actor::Recipient) and waits for the reply; messages of this call chain
    /// that come back here are handled meanwhile.
    ///
    #[doc = include_str!("docs/reenter_send_to.md")]
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    pub fn send_to<M: Message>(&mut self, to: &Recipient<M>, msg: M) -> Result<M::Reply, SendError<M>> {
        let (core, route) = to.parts();
        self.send_by(core, route, msg)
    }

    // Inlined: a large message is moved once more for each function that hands it on.
    #[inline(always)]
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    fn send_by<M: Message>(&mut self, to: &Core, route: &Route<M>, msg: M) -> Result<M::Reply, SendError<M>> {
        match self.origin(to, route.ask_timeout) {
            Ok(origin) => self.ask(to, NewCall::new(route.call, to, msg, origin)),
            Err(cycle) => Err(SendError::Deadlock { msg: Some(Returned::new(msg)), cycle }),
        }
    }

    /// Half of the stack: what runs on top of this handler needs some, and nobody knows how much. Where the run began, there the
    /// context is.
    fn has_stack_left(&self) -> bool {
        let here = 0_u8;
        let used = std::ptr::from_ref(&*self.ctx).addr().abs_diff(std::ptr::from_ref(&here).addr());
        cfg!(green_backend = "threads") || used < self.ctx.core().header.size.bytes() / 2
    }

    /// Makes this the head of a chain, if it is in none. An error: the chain has come back here too often.
    #[inline(never)]
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    fn origin(&mut self, to: &Core, ask_timeout: Duration) -> Result<SendOrigin, Cycle> {
        let frame = self.ctx.inner.frame();
        // This handler was let in itself: the chain has come back here before.
        if !self.has_stack_left() && self.ctx.core().mailbox.lock().admits(frame.terms().chain) {
            let cycle = Cycle::new([self.ctx.core(), to].map(Core::member).into_iter());
            refused(cycle.members(), refusal::REPLY, SendOrigin::here(ask_timeout).terms.chosen);
            return Err(cycle);
        }
        if frame.terms().chain == 0 {
            frame.begin_chain(crate::park::os::fresh_ids(1));
        }
        Ok(SendOrigin::here(ask_timeout))
    }

    #[inline(never)]
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    fn ask<M: Message>(&mut self, to: &Core, new: NewCall<M>) -> Result<M::Reply, SendError<M>> {
        let chain = self.ctx.inner.frame().terms().chain;
        let let_in = LetIn::new(self.ctx.core(), chain);
        let asking = Asking::new(new.call);
        let call = asking.call();
        if let Err(why) = send::begin(to, call, new.envelope, new.origin, NoRoom::Asks { lets_in: chain }) {
            return call.unpack(Err(why));
        }
        let_in.announce_to(Arc::clone(call) as _);
        loop {
            let core = self.ctx.core();
            let admitted = || core.mailbox.lock().has_admitted();
            match call.promise().wait_nested(call.promise().deadline_ns(), call.chosen(), chain, admitted) {
                Nested::Answer(answer) => return call.unpack(answer),
                Nested::Admitted => while run_admitted(self.me, self.ctx) {},
            }
        }
    }
}

/// While this lives, an actor lets messages of a chain in; also if the wait is left by unwinding, what was before is put back.
struct LetIn {
    core: Weak,
    chain: u64,
    before: (u64, Option<Arc<dyn Owed>>),
}

impl LetIn {
    fn new(core: &Core, chain: u64) -> Self {
        let before = core.mailbox.lock().let_in(chain, None);
        Self { core: core.weak(), chain, before }
    }

    fn announce_to(&self, nested: Arc<dyn Owed>) {
        let _ = self.core.core().mailbox.lock().let_in(self.chain, Some(nested));
    }
}

impl Drop for LetIn {
    fn drop(&mut self) {
        let (chain, nested) = std::mem::take(&mut self.before);
        let over = self.core.core().mailbox.lock().let_in(chain, nested);
        // Without the lock: a reply that came too late may be in it.
        drop(over);
    }
}

impl<A: Actor> fmt::Debug for Reenter<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reenter").field(self.ctx.core()).finish()
    }
}
