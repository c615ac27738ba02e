//! Unix domain sockets.

#![forbid(unsafe_code)]

mod datagram;
mod listener;
mod stream;

use std::time::Duration;

pub use datagram::UnixDatagram;
pub use listener::{Incoming, UnixListener};
pub use stream::UnixStream;

/// How long a call waits, at first and at most, before it asks a socket whose queue is full once more: there is no event
/// for it.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LAST_PAUSE: Duration = Duration::from_millis(10);
