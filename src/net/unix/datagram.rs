//! Datagrams within this machine.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{FIRST_PAUSE, LAST_PAUSE};
use crate::driver::readiness::Direction;
use crate::io::socket::Socket;
use crate::io::source::{Kind, Patience};
use crate::net::shared::{common_methods, debug_as_inner, timeout_methods};
use crate::time::sleep;

/// A datagram socket within this machine: [`std::os::unix::net::UnixDatagram`] whose calls park.
///
/// ```
/// let (a, b) = green::os::unix::net::UnixDatagram::pair().unwrap();
/// a.send(b"hello").unwrap();
/// let mut buf = [0; 16];
/// assert_eq!(b.recv(&mut buf).unwrap(), 5);
/// ```
pub struct UnixDatagram {
    pub(in crate::net) socket: Socket<net::UnixDatagram>,
}

impl UnixDatagram {
    fn fresh(inner: net::UnixDatagram) -> io::Result<UnixDatagram> {
        Ok(UnixDatagram { socket: Socket::fresh(inner, Kind::Unix)? })
    }

    /// A socket at `path`, where nothing may be yet.
    ///
    /// # Errors
    ///
    /// `AddrInUse`; `InvalidInput` for a path that is too long or has a NUL; those of the file system.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixDatagram> {
        Self::fresh(net::UnixDatagram::bind(path)?)
    }

    /// A socket at `socket_addr`.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixDatagram> {
        Self::fresh(net::UnixDatagram::bind_addr(socket_addr)?)
    }

    /// A socket without an address.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    pub fn unbound() -> io::Result<UnixDatagram> {
        Self::fresh(net::UnixDatagram::unbound()?)
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (a, b) = net::UnixDatagram::pair()?;
        Ok((Self::fresh(a)?, Self::fresh(b)?))
    }

    /// Sends to, and receives from, the socket at `path` from now on. Never waits.
    ///
    /// # Errors
    ///
    /// `NotFound`, `ConnectionRefused` and the like.
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.socket.inner().connect(path)
    }

    /// As [`connect`](Self::connect), with an address.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn connect_addr(&self, socket_addr: &SocketAddr) -> io::Result<()> {
        self.socket.inner().connect_addr(socket_addr)
    }

    /// Another handle to the same socket: a duplicate of the descriptor, with the same settings.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    pub fn try_clone(&self) -> io::Result<UnixDatagram> {
        Ok(UnixDatagram { socket: self.socket.duplicate(self.socket.inner().try_clone()?) })
    }

    /// This end's address.
    ///
    /// # Errors
    ///
    /// When the system refuses to say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.inner().local_addr()
    }

    /// The address that the socket is connected to.
    ///
    /// # Errors
    ///
    /// `NotConnected`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.inner().peer_addr()
    }

    /// The next datagram, cut off at `buf`'s length, and where it comes from. Waits; a cancellation point.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the time-out is over; those of the system.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.read(|inner| inner.recv_from(buf), || Ok((0, SocketAddr::from_pathname("")?)))
    }

    /// The next datagram, cut off at `buf`'s length. Waits; a cancellation point.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the time-out is over; those of the system.
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(|inner| inner.recv(buf), || Ok(0))
    }

    /// Sends a datagram to the socket at `path`. Waits while that one's queue is full; a cancellation point.
    ///
    /// # Errors
    ///
    /// `NotFound`, `ConnectionRefused` and the like; `WouldBlock` when the time-out is over.
    pub fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.send_patiently(|inner| inner.send_to(buf, path.as_ref()))
    }

    /// As [`send_to`](Self::send_to), with an address.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to).
    pub fn send_to_addr(&self, buf: &[u8], socket_addr: &SocketAddr) -> io::Result<usize> {
        self.send_patiently(|inner| inner.send_to_addr(buf, socket_addr))
    }

    /// Sends a datagram to the socket that this one is connected to. Waits while that one's queue is full; a cancellation
    /// point.
    ///
    /// # Errors
    ///
    /// `NotConnected` and the like; `WouldBlock` when the time-out is over.
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.write(|inner| inner.send(buf))
    }

    /// No event tells that the queue of a socket which this one is not connected to has room: so it asks, with pauses.
    fn send_patiently(&self, send: impl Fn(&net::UnixDatagram) -> io::Result<usize>) -> io::Result<usize> {
        let patience = self.socket.patience(Direction::Write);
        let (begin, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            match self.socket.call(Direction::Write, Patience::None, &send) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match patience {
                    Patience::None => return Err(error),
                    Patience::For(ns) if begin.elapsed() >= Duration::from_nanos(ns) => return Err(error),
                    Patience::For(ns) => sleep(pause.min(Duration::from_nanos(ns).saturating_sub(begin.elapsed()))),
                    Patience::Forever => sleep(pause),
                },
                result => return result,
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Closes the reading or the writing half or both, for all clones; whoever waits there is woken. Once the datagrams that
    /// were there have been received a receive gives 0 bytes. Never waits.
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

debug_as_inner!(UnixDatagram);
