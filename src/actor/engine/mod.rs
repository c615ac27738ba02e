//! The engine of the actor layer: it knows messages by what can be done with them, and not the types of actors. What calls an actor's
//! code is in `glue.rs`, above. Each file imports from those before it only:
//!
//! * Leaves: [`busy`] (who queues an actor), [`edge`] (who waits for whom), [`ties`] (monitors and links), [`roll`] (timers and helper
//!   threads), [`guard`], [`lost`] (dead letters), [`weak`] (a counted pointer).
//! * What travels: [`owed`] (an answer that somebody waits for), [`waiting`] (what waits for room), [`parcel`], [`frame`] (the message
//!   that is being handled).
//! * The actor: [`mail`] (what is under its lock), [`cell`] (its block), [`walk`] (before it waits).
//! * Its life: [`give_back`], [`launch`], [`lifecycle`] (stop, kill, join), [`watch`], [`residents`] (the actors of a runtime),
//!   [`run`].
//! * Replies: [`promise`], [`reply`], [`ask`] (a question on its asker's stack), [`posted`] (a call).
//! * Sends: [`origin`], [`enqueue`], [`room`] (waiting for it), [`envelope`] (what is in boxes), [`tell`], [`send`] (an ask), [`call`].

// Not `forbid`, which would hold for the files below, too.
#![deny(unsafe_code)]

pub(crate) mod ask;
pub(crate) mod busy;
pub(crate) mod call;
pub(crate) mod cell;
pub(crate) mod edge;
pub(crate) mod enqueue;
pub(crate) mod envelope;
pub(crate) mod frame;
pub(crate) mod give_back;
pub(crate) mod guard;
pub(crate) mod launch;
pub(crate) mod lifecycle;
pub(crate) mod lost;
pub(crate) mod mail;
pub(crate) mod origin;
pub(crate) mod owed;
pub(crate) mod parcel;
pub(crate) mod posted;
pub(crate) mod promise;
pub(crate) mod reply;
pub(crate) mod residents;
pub(crate) mod roll;
pub(crate) mod room;
pub(crate) mod run;
pub(crate) mod send;
pub(crate) mod tell;
pub(crate) mod ties;
pub(crate) mod waiting;
pub(crate) mod walk;
pub(crate) mod watch;
pub(crate) mod weak;
