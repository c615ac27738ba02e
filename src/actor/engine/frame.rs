//! The message that is being handled, and the side that waits for what its handler returns.

#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

use super::envelope::Node;
use super::owed::{Failure, Owed};
use crate::park::owed_answer::ChosenTime;
use crate::sys::clock::NEVER;

/// What a message hands on to those that are sent because of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Terms {
    /// The handler should have answered by then.
    pub(crate) deadline_ns: u64,
    /// The call chain that the message belongs to; 0: none that anybody has asked to be let in.
    pub(crate) chain: u64,
    /// Of the deadline.
    pub(crate) chosen: ChosenTime,
}

impl Terms {
    pub(crate) const NONE: Terms = Terms { deadline_ns: NEVER, chain: 0, chosen: ChosenTime::new(false) };
}

/// What handlers and nested sends need to know of the message that is being handled. On the stack of the run; touched by the
/// actor's own thread, and `reply_to` under the lock of its mailbox while that is `Asked`.
pub(crate) struct Frame {
    deadline_ns: Cell<u64>,
    chain: Cell<u64>,
    chosen: Cell<ChosenTime>,
    /// The side that waits for what the handler returns.
    pub(crate) reply_to: Cell<ReplyTo>,
    /// Not a box: where there are none, which is nearly always, that calls a function at the end of each run.
    orphans: Cell<Option<Rc<Orphans>>>,
}

/// Replies that were put off and that a handler has dropped while it unwinds: why is known when it has. Those of one that
/// catches its own panic are answered at the end of the run.
#[derive(Default)]
pub(super) struct Orphans(RefCell<Vec<Arc<dyn Owed>>>);

impl Orphans {
    pub(super) fn fail(&self, failure: &Failure) {
        self.0.take().into_iter().for_each(|owed| owed.fail(failure.clone()));
    }
}

impl Drop for Orphans {
    fn drop(&mut self) {
        self.fail(&Failure::NoReply);
    }
}

/// An ask whose handler runs, in the frame that this is in.
pub(crate) struct Asked(pub(super) NonNull<Node>);

pub(crate) enum ReplyTo {
    Nobody,
    /// An ask that waits on its stack.
    Asked(Asked),
    /// A promise.
    Owed(Arc<dyn Owed>),
}

impl Frame {
    pub(crate) fn new() -> Self {
        Self {
            deadline_ns: Cell::new(NEVER),
            chain: Cell::new(0),
            chosen: Cell::new(Terms::NONE.chosen),
            reply_to: Cell::new(ReplyTo::Nobody),
            orphans: Cell::new(None),
        }
    }

    /// What is handled next. Between messages, nobody waits for a reply.
    #[inline]
    pub(crate) fn set(&self, reply_to: ReplyTo, terms: Terms) {
        let before = self.reply_to.replace(reply_to);
        debug_assert!(matches!(before, ReplyTo::Nobody));
        // Nothing is lost, and nothing has to be looked at.
        std::mem::forget(before);
        self.deadline_ns.set(terms.deadline_ns);
        self.chain.set(terms.chain);
        self.chosen.set(terms.chosen);
    }

    #[inline]
    pub(crate) fn terms(&self) -> Terms {
        Terms { deadline_ns: self.deadline_ns.get(), chain: self.chain.get(), chosen: self.chosen.get() }
    }

    /// The message becomes the head of a chain.
    pub(crate) fn begin_chain(&self, chain: u64) {
        self.chain.set(chain);
    }

    /// A reply was dropped while the handler unwinds.
    pub(crate) fn keep_orphan(&self, owed: Arc<dyn Owed>) {
        let orphans = self.orphans.take().unwrap_or_default();
        orphans.0.borrow_mut().push(owed);
        self.orphans.set(Some(orphans));
    }

    pub(super) fn take_orphans(&self) -> Option<Rc<Orphans>> {
        self.orphans.take()
    }

    /// Nobody waits for what is handled next.
    #[inline]
    pub(crate) fn clear(&self) {
        self.set(ReplyTo::Nobody, Terms::NONE);
    }
}
