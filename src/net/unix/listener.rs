//! Sockets that connections within this machine come to.

use std::fmt;
use std::io;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

use crate::io::socket::Socket;
use crate::io::source::Kind;
use crate::net::shared::{accepted, common_methods, debug_as_inner, rest_if_exhausted};
use crate::net::unix::UnixStream;
use crate::sys::net::not_listening;

/// A socket that connections within this machine come to: [`std::os::unix::net::UnixListener`] whose calls park.
pub struct UnixListener {
    pub(in crate::net) socket: Socket<net::UnixListener>,
}

impl UnixListener {
    /// Listens at `path`, where nothing may be yet.
    ///
    /// # Errors
    ///
    /// `AddrInUse`; `InvalidInput` for a path that is too long or has a NUL; those of the file system.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixListener> {
        Ok(UnixListener { socket: Socket::fresh(net::UnixListener::bind(path)?, Kind::Other)? })
    }

    /// Listens at `socket_addr`.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixListener> {
        Ok(UnixListener { socket: Socket::fresh(net::UnixListener::bind_addr(socket_addr)?, Kind::Other)? })
    }

    /// The next connection, and where it comes from. Waits; a cancellation point.
    ///
    /// # Errors
    ///
    /// No more descriptors or memory: then it has rested for ten milliseconds, and the connection still waits.
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let result = self.socket.read(net::UnixListener::accept, || Err(not_listening()));
        result
            .and_then(|(stream, addr)| Ok((UnixStream { socket: Socket::fresh(stream, Kind::Unix)? }, addr)))
            .inspect(|_| accepted())
            .inspect_err(|error| rest_if_exhausted(error, self.socket.is_nonblocking()))
    }

    /// Another handle to the same socket: a duplicate of the descriptor, with the same settings.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    pub fn try_clone(&self) -> io::Result<UnixListener> {
        Ok(UnixListener { socket: self.socket.duplicate(self.socket.inner().try_clone()?) })
    }

    /// This end's address.
    ///
    /// # Errors
    ///
    /// When the system refuses to say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.inner().local_addr()
    }

    /// The connections that come, for ever: [`accept`](Self::accept) again and again.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    common_methods!();
}

debug_as_inner!(UnixListener);

/// The connections that come to a [`UnixListener`]; never ends.
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a UnixListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<UnixStream>;

    fn next(&mut self) -> Option<io::Result<UnixStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}

impl<'a> IntoIterator for &'a UnixListener {
    type Item = io::Result<UnixStream>;
    type IntoIter = Incoming<'a>;

    fn into_iter(self) -> Incoming<'a> {
        self.incoming()
    }
}
