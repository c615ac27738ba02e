//! To and from std's types and plain descriptors: the state goes along, both ways.
//!
//! What comes in keeps its time-outs, and is non-blocking for its user if it was so; what goes out is as if it had always
//! been std's. `O_NONBLOCK` belongs to the open file: a clone that stays behind must not be used while the one that went
//! out is in use, because its calls would block the worker.

use std::fmt;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net as unix;

use crate::io::forward::descriptor;
use crate::io::socket::Socket;
use crate::io::source::SourceKind;
use crate::net::tcp::{TcpListener, TcpStream};
use crate::net::udp::UdpSocket;
use crate::net::unix::{UnixDatagram, UnixListener, UnixStream};

macro_rules! conversions {
    ($($ours:ident, $std:ty, $kind:ident;)+) => {$(
        impl From<$std> for $ours {
            /// Takes std's socket over, with its time-outs; if it was non-blocking, it is so for its user.
            fn from(inner: $std) -> Self {
                Self { socket: Socket::adopt(inner, SourceKind::$kind) }
            }
        }

        impl From<$ours> for $std {
            /// Gives std's socket, with its time-outs; blocking, unless `set_nonblocking` said otherwise. Calls of a clone
            /// that stays behind would block their worker from then on.
            fn from(ours: $ours) -> Self {
                ours.socket.into_inner()
            }
        }

        impl From<OwnedFd> for $ours {
            fn from(fd: OwnedFd) -> Self {
                <$std>::from(fd).into()
            }
        }

        impl From<$ours> for OwnedFd {
            fn from(ours: $ours) -> Self {
                <$std>::from(ours).into()
            }
        }

        descriptor!($ours: socket.inner());

        impl fmt::Debug for $ours {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.socket.inner().fmt(f)
            }
        }

        impl FromRawFd for $ours {
            unsafe fn from_raw_fd(fd: RawFd) -> Self {
                // SAFETY: the caller gives the descriptor away, as `OwnedFd` asks.
                unsafe { OwnedFd::from_raw_fd(fd) }.into()
            }
        }
    )+};
}

conversions! {
    TcpStream, std::net::TcpStream, Tcp;
    TcpListener, std::net::TcpListener, Other;
    UdpSocket, std::net::UdpSocket, Other;
    UnixStream, unix::UnixStream, Unix;
    UnixListener, unix::UnixListener, Other;
    UnixDatagram, unix::UnixDatagram, Unix;
}
