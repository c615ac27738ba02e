//! A guide: recipes for what programs need first, each a page with a whole program that runs.
//!
//! | page | what it shows |
//! | --- | --- |
//! | [`stopping`] | a server that stops in good order on ctrl-c |
//! | [`deadlines`] | a request that takes so long and no longer, with all that it calls |
//! | [`whichever_first`] | waiting for a channel or a socket, a child or a signal, whichever comes first |
//! | [`tls`] | rustls over a green socket, as plain blocking code |
//! | [`http`] | an HTTP server and a client by hyper, with time-outs |
//! | [`tokio`] | async code that wants tokio's reactor, awaited by a green thread, and the other way round |
//! | [`when_something_is_wrong`] | a program that hangs, is slow, grows or crashes: for each symptom the command, and what to look at |
//!
//! Three things are worth knowing before the first program. Blocking calls are this crate's, those of [`net`](crate::net),
//! [`sync`](crate::sync), [`channel`](crate::channel), [`fs`](crate::fs) and so on: they park the green thread and let
//! others run. What blocks in another way goes into [`blocking`](crate::blocking) or [`unblock`](crate::unblock), or parks as it is where the program has the crate `green-std`. And a lock
//! of std, or a guard that sets a thread-local, must not be [held across a park](crate#what-not-to-do-across-a-park).

#![forbid(unsafe_code)]

/// A server that stops in good order: no new clients, time to finish for those that are there, then a cancel.
///
#[doc = include_str!("guide/stopping.md")]
pub mod stopping {}

/// A request that takes so long and no longer, whatever it is made of.
///
#[doc = include_str!("guide/deadlines.md")]
pub mod deadlines {}

/// Waiting for a channel or a socket, whichever comes first.
///
#[doc = include_str!("guide/whichever_first.md")]
pub mod whichever_first {}

/// TLS by rustls, which over a green socket is plain blocking code.
///
// Its program is run by the package of the examples, which has rustls.
#[cfg_attr(not(doctest), doc = include_str!("guide/tls.md"))]
pub mod tls {}

/// An HTTP server and a client by hyper, with time-outs. Needs the feature `hyper`.
///
#[cfg_attr(feature = "hyper", doc = include_str!("guide/http.md"))]
pub mod http {}

/// Async code that wants tokio, awaited by a green thread; and a green thread, awaited in tokio.
///
#[doc = include_str!("guide/tokio.md")]
pub mod tokio {}

/// A program that hangs, is slow, grows or crashes.
///
#[doc = include_str!("guide/when_something_is_wrong.md")]
pub mod when_something_is_wrong {}
