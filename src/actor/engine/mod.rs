//! The engine of the actor layer. `unsafe` is in three files: [`cell`], the block of one actor, and [`parcel`] and [`posted`], what
//! travels to it.
//!
//! * [`edge`]: who waits for whom. [`walk`]: before an actor waits.
//! * [`mail`]: what waits for one actor, and whether it rests, runs or has ended: one structure under one lock.
//! * [`cell`]: the heap block of one actor and its counted pointers. [`run`]: its runs, and its end.
//! * [`parcel`]: boxes, and asks on their askers' stacks. [`envelope`]: what is in the boxes. [`posted`]: calls. [`frame`]: the
//!   message that is being handled.
//! * [`send`], [`room`], [`post`]: the sending side: tell and ask; waiting for room; calls and what else travels in a box.
//! * [`residents`]: the actors of a runtime, for its end.
//! * [`lifecycle`]: stop, kill, join: what addresses can do besides. [`ties`]: monitors and links.
//!   [`roll`]: timers and helper threads.

// Not `forbid`, which would hold for the files below, too.
#![deny(unsafe_code)]

pub(crate) mod busy;
pub(crate) mod cell;
pub(crate) mod edge;
pub(crate) mod envelope;
pub(crate) mod frame;
pub(crate) mod lifecycle;
pub(crate) mod lost;
pub(crate) mod mail;
pub(crate) mod owed;
pub(crate) mod parcel;
pub(crate) mod post;
pub(crate) mod posted;
pub(crate) mod promise;
pub(crate) mod residents;
pub(crate) mod roll;
pub(crate) mod room;
pub(crate) mod run;
pub(crate) mod send;
pub(crate) mod ties;
pub(crate) mod walk;
pub(crate) mod watch;
