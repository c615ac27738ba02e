//! Unix domain sockets.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::driver::readiness::Direction;
use crate::io::socket::Socket;
use crate::io::source::{Kind, Patience};
use crate::net::shared::{
    accepted, common_methods, debug_as_inner, read_and_write, rest_if_exhausted, timeout_methods,
};
use crate::sys::net::not_listening;
use crate::time::sleep;

/// How long `connect` waits, at first and at most, before it asks a listener whose queue is full once more: there is no
/// event for it.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LAST_PAUSE: Duration = Duration::from_millis(10);

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
    pub(super) socket: Socket<net::UnixStream>,
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

/// A socket that connections within this machine come to: [`std::os::unix::net::UnixListener`] whose calls park.
pub struct UnixListener {
    pub(super) socket: Socket<net::UnixListener>,
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

/// A datagram socket within this machine: [`std::os::unix::net::UnixDatagram`] whose calls park.
///
/// ```
/// let (a, b) = green::os::unix::net::UnixDatagram::pair().unwrap();
/// a.send(b"hello").unwrap();
/// let mut buf = [0; 16];
/// assert_eq!(b.recv(&mut buf).unwrap(), 5);
/// ```
pub struct UnixDatagram {
    pub(super) socket: Socket<net::UnixDatagram>,
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
