//! The part of the actor layer that has `unsafe` in it, in four files: the cell, its mail, the nodes that carry messages, and
//! the ask that waits on its stack.
//!
//! * [`edge`]: who waits for whom.
//! * [`mail`]: what waits for one actor, and whether it rests, runs or has ended: one structure under one lock.
//! * [`cell`]: the heap block of one actor, its counted pointers, its runs.
//! * [`envelope`]: the nodes: a `tell` in a box, an ask on the asker's stack, a call with its promise.
//! * [`send`], [`post`]: the sending side: tell, ask, and how they wait; calls and what else travels in a box. A box that is in
//!   no list is a [`mail::Letter`].
//! * [`lifecycle`]: how it ends; stop, join: what addresses can do besides.
//! * [`walk`]: before an actor waits.
//!
//! # Invariants
//!
//! 1. A [`Node`] is the first field of a `repr(C)` envelope, and every pointer to it was made from one to the whole. It is in
//!    at most one list, and lists are touched only under the lock of the mail that they belong to.
//! 2. A boxed envelope belongs to the list that it is in; who takes it out owns it.
//! 3. An envelope on a stack ([`Asked`]) stays valid as long as its `place` is not `Done`: its thread takes the lock of the
//!    target's mail (if `Detached`: of the tether) before it leaves the frame, and leaves at once only if it was woken by
//!    whoever made it `Done`, whose last touch that is. So who finds it under that lock may use it. While it is `Handled`,
//!    nobody but that handler's thread and its own touches it: if both live on one worker, they do so in turn, without the lock.
//! 4. No user code runs under a lock: messages are moved there, not dropped.
//! 5. Actors are the only re-armable tasks: a header with `after_run` is the first field of a [`cell::Core`].
//! 6. A route leads to actors of the type that it was made for, and is used with a core of that type only: an address has both.

// Not `forbid`, which would hold for the files below, too.
#![deny(unsafe_code)]

use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use crate::base::list::Links;
use crate::base::spin::SpinLock;
use crate::sched::Worker;
use crate::sys::clock::NEVER;
use crate::task::Ticket;

pub(crate) mod busy;
pub(crate) mod cell;
pub(crate) mod edge;
pub(crate) mod envelope;
pub(crate) mod lifecycle;
pub(crate) mod mail;
pub(crate) mod post;
pub(crate) mod send;
pub(crate) mod walk;

use envelope::ReplyOps;
use mail::{Node, NodeVTable, Refuse, Run};

/// Why a message is given back unhandled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    Closed,
    Full,
}

/// The running actor, without its type.
#[derive(Clone, Copy)]
pub(crate) struct Running {
    /// `&mut A`.
    me: *mut (),
    /// `&mut Context<A>`.
    ctx: *mut (),
    frame: NonNull<Frame>,
}

/// Where an ask is.
#[derive(Clone, Copy)]
enum Place {
    /// In the mail of its target, or waiting for room there.
    Queued,
    /// Its handler runs, in this frame.
    Handled(NonNull<Frame>),
    /// Its reply was put off: the tether leads to it.
    Detached,
    /// The answer is there (or it was never sent): nobody else will touch it.
    Done,
}

/// The home of an OS thread that asks.
const NO_WORKER: u32 = u32::MAX;

/// The untyped part of an ask on the asker's stack.
#[repr(C)]
pub(crate) struct Asked {
    node: Node,
    place: Cell<Place>,
    ticket: Cell<Option<Ticket>>,
    tether: Cell<Option<Arc<Tether>>>,
    deadline_ns: u64,
    /// The worker that the asker lives on; [`NO_WORKER`].
    home: u32,
    /// The actor that asks, if it is one: its edge goes when the answer is there, or is put off.
    asker: *const cell::Core,
    // Not beside the deadline: both are written one by one and would be read as one, which waits for the writes.
    chain: u64,
}

/// Leads from a put-off reply to the ask, while that waits.
pub(crate) struct Tether(SpinLock<Option<NonNull<Asked>>>);

/// A `tell` that waits for room: on the sender's stack. Also stands for an ask that does.
struct Waiting {
    links: Links<Waiting>,
    node: NonNull<Node>,
    ticket: Cell<Option<Ticket>>,
    /// The mailbox has closed: the box is the sender's again.
    refused: Cell<bool>,
    /// The actor that tells, if it is one: its edge goes when it has its room. Null for an ask.
    sender: *const cell::Core,
}

/// The message that is being handled: what `Context` and nested sends need to know of it. On the stack of the run; touched
/// by the actor's own thread, and `asked` under the lock of its mail.
pub(crate) struct Frame {
    /// The handler should have answered by then.
    pub(crate) deadline_ns: Cell<u64>,
    /// The call chain that the message belongs to; 0: none that anybody has asked to be let in.
    pub(crate) chain: Cell<u64>,
    /// Who waits for what the handler returns.
    reply_to: Cell<ReplyTo>,
}

#[derive(Clone, Copy)]
enum ReplyTo {
    Nobody,
    Asked(NonNull<Asked>, &'static ReplyOps),
    /// An `Option<Deferred<R>>` on the stack of the run.
    Port(*mut (), &'static ReplyOps),
}

impl Frame {
    fn new() -> Self {
        Self { deadline_ns: Cell::new(NEVER), chain: Cell::new(0), reply_to: Cell::new(ReplyTo::Nobody) }
    }

    #[inline]
    fn set(&self, reply_to: ReplyTo, deadline_ns: u64, chain: u64) {
        self.reply_to.set(reply_to);
        self.deadline_ns.set(deadline_ns);
        self.chain.set(chain);
    }
}

impl Waiting {
    fn new(node: NonNull<Node>, sender: Option<&cell::Core>) -> Self {
        let sender = sender.map_or(ptr::null(), ptr::from_ref);
        Self { links: Links::new(), node, ticket: Cell::new(None), refused: Cell::new(false), sender }
    }
}

impl Asked {
    #[inline(always)]
    fn new(vtable: &'static NodeVTable, deadline_ns: u64, chain: u64, asker: Option<&cell::Core>) -> Self {
        Self {
            node: Node::new(vtable),
            place: Cell::new(Place::Done),
            ticket: Cell::new(None),
            tether: Cell::new(None),
            deadline_ns,
            home: Worker::current().map_or(NO_WORKER, |worker| u32::from(worker.mailbox.index)),
            chain,
            asker: asker.map_or(ptr::null(), ptr::from_ref),
        }
    }
}
