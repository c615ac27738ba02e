//! Connections within this machine.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::{FIRST_PAUSE, LAST_PAUSE};
use crate::driver::readiness::Direction;
use crate::io::socket::Socket;
use crate::io::source::Kind;
use crate::net::shared::{common_methods, debug_as_inner, read_and_write, timeout_methods};
use crate::time::sleep;

/// A connection within this machine: [`std::os::unix::net::UnixStream`] whose calls park.
///
/// ```
/// use std::io::{Read, Write};
/// let (mut a, mut b) = green::os::unix::net::UnixStream::pair().unwrap();
/// a.write_all(b"hello").unwrap();
/// drop(a);
/// let mut text = String::new();
/// b.read_to_string(&mut text).unwrap();
/// assert_eq!(text, "hello");
/// ```
pub struct UnixStream {
    pub(in crate::net) socket: Socket<net::UnixStream>,
}

impl UnixStream {
    /// Connects to the listener at `path`. Waits while that one's queue is full; a cancellation point.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a path that is too long or has a NUL; `NotFound`, `ConnectionRefused` and the like.
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<UnixStream> {
        // std's address: it refuses a NUL, which would lead to another socket.
        Self::connect_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Connects to the listener at `socket_addr`, as [`connect`](Self::connect).
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn connect_addr(socket_addr: &SocketAddr) -> io::Result<UnixStream> {
        connect(&raw_addr(socket_addr)?)
    }

    /// Two streams that are connected to each other.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (a, b) = net::UnixStream::pair()?;
        let stream = |inner| Ok(UnixStream { socket: Socket::fresh(inner, Kind::Unix)? });
        stream(a).and_then(|a| Ok((a, stream(b)?)))
    }

    /// Another handle to the same connection: a duplicate of the descriptor, with the same settings.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    pub fn try_clone(&self) -> io::Result<UnixStream> {
        Ok(UnixStream { socket: self.socket.duplicate(self.socket.inner().try_clone()?) })
    }

    /// This end's address.
    ///
    /// # Errors
    ///
    /// When the system refuses to say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.inner().local_addr()
    }

    /// The other end's address.
    ///
    /// # Errors
    ///
    /// `NotConnected` and the like.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.inner().peer_addr()
    }

    /// Closes the reading or the writing half or both, for all clones; whoever waits there is woken. Never waits.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.inner().shutdown(how)
    }

    timeout_methods!();
    common_methods!();
}

fn connect(addr: &socket2::SockAddr) -> io::Result<UnixStream> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let mut pause = FIRST_PAUSE;
    loop {
        match socket.connect(addr) {
            Ok(()) => {
                let inner = net::UnixStream::from(std::os::fd::OwnedFd::from(socket));
                return Ok(UnixStream { socket: Socket::nonblocking(inner, Kind::Unix) });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sleep(pause);
                pause = (pause * 2).min(LAST_PAUSE);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// socket2's form of std's address, which has no way in of its own.
fn raw_addr(addr: &SocketAddr) -> io::Result<socket2::SockAddr> {
    if let Some(path) = addr.as_pathname() {
        return socket2::SockAddr::unix(path);
    }
    #[cfg(target_os = "linux")]
    if let Some(name) = std::os::linux::net::SocketAddrExt::as_abstract_name(addr) {
        let path = OsString::from_vec([b"\0", name].concat());
        return socket2::SockAddr::unix(path);
    }
    socket2::SockAddr::unix(OsString::from_vec(Vec::new()))
}

read_and_write!(UnixStream);
debug_as_inner!(UnixStream);
