#![doc = include_str!("PROTOCOL.md")]
//!
//! # Files
//!
//! The engine knows messages by what can be done with them, and not the types of actors. What calls an actor's code is in `glue.rs` and `handling.rs`,
//! above. Each file imports from the lines before its own only, or from files of its own line:
//!
//! * Leaves: [`alone`] (a mailbox that nobody else has), [`busy`], [`edge`], [`ties`] (monitors and links), [`roll`] (timers and helper threads), [`guard`] (user code
//!   whose panic is nobody's), [`warden`] (what decides whether an actor lives on), [`held_name`], [`lost`] (dead letters), [`weak`]
//!   (a counted pointer), [`crew`] (the workers of a pool).
//! * What travels: [`owed`] (an answer that somebody waits for), [`waiting`], [`envelope`], [`frame`].
//! * The actor: [`mailbox_state`], [`cell`] (its block), [`walk`].
//! * Its life: [`launch`], [`lifecycle`] (stop, kill, join; what is queued goes back), [`monitor`], [`vacancy`] (a kept actor between two states), [`residents`] (the actors of a runtime), [`relay`].
//! * Sends: [`origin`], [`enqueue`].
//! * Messages and replies: [`promise`], [`ask`], [`call`], [`payload`] (what is in boxes, and the routes).
//! * Ways to send: [`fits`] (is it too large?), [`tell`], [`send`]. What a timer finds out: [`silence`].

// Not `forbid`, which would hold for the files below, too.
#![deny(unsafe_code)]

pub(crate) mod alone;
pub(crate) mod ask;
pub(crate) mod busy;
pub(crate) mod call;
pub(crate) mod cell;
pub(crate) mod crew;
pub(crate) mod edge;
pub(crate) mod ends_on_top;
pub(crate) mod enqueue;
pub(crate) mod envelope;
pub(crate) mod fits;
pub(crate) mod frame;
pub(crate) mod guard;
pub(crate) mod held_name;
pub(crate) mod launch;
pub(crate) mod lifecycle;
pub(crate) mod lost;
pub(crate) mod mailbox_state;
pub(crate) mod monitor;
pub(crate) mod origin;
pub(crate) mod owed;
pub(crate) mod payload;
pub(crate) mod promise;
pub(crate) mod relay;
pub(crate) mod residents;
pub(crate) mod roll;
pub(crate) mod send;
pub(crate) mod silence;
pub(crate) mod tell;
pub(crate) mod ties;
pub(crate) mod vacancy;
pub(crate) mod waiting;
pub(crate) mod walk;
pub(crate) mod warden;
pub(crate) mod weak;
