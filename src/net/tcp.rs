//! TCP.

#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::time::Duration;

use crate::driver::readiness::Direction;
use crate::io::socket::Socket;
use crate::io::source::{Kind, Patience};
use crate::net::addr::{self, ToSocketAddrs};
use crate::net::shared::{
    accepted, common_methods, debug_as_inner, read_and_write, rest_if_exhausted, timeout_methods,
};
use crate::sys::net::{is_in_progress, not_listening};

/// Connections that may wait for `accept`; the system cuts it down to its own limit. std's 128 is less than what comes while
/// a busy worker runs its other threads once, and a connection beyond it is not refused: it tries again a second later.
const BACKLOG: i32 = 4096;

/// A TCP connection: [`std::net::TcpStream`] whose calls park.
///
/// Several threads may use one through `&TcpStream` or [`try_clone`](Self::try_clone), one reading and another writing,
/// say. [`shutdown`](Self::shutdown) wakes those who wait. Dropped, it closes the connection once all clones are gone.
///
/// ```
/// use std::io::{Read, Write};
/// use std::time::Duration;
///
/// let listener = green::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
/// let mut client = green::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
/// let (server, _) = listener.accept().unwrap();
/// client.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
/// assert_eq!(client.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
/// (&server).write_all(b"!").unwrap();
/// client.set_read_timeout(None).unwrap();
/// assert_eq!(client.read(&mut [0; 9]).unwrap(), 1);
/// ```
pub struct TcpStream {
    pub(super) socket: Socket<net::TcpStream>,
}

impl TcpStream {
    /// Connects to the first of the addresses that answers. Waits; a cancellation point.
    ///
    /// # Errors
    ///
    /// The last address's; `InvalidInput` if there is none; those of the look-up.
    pub fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<TcpStream> {
        addr::each(addr, |addr| connect(addr, Patience::Forever))
    }

    /// Connects to `addr`, waiting at most `timeout`. A cancellation point.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a time-out of zero, `TimedOut` when it is over; those of the connection.
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        if timeout.is_zero() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "cannot set a 0 duration timeout"));
        }
        let ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        connect(addr, Patience::For(ns)).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "connection timed out"),
            _ => error,
        })
    }

    /// The other end's address.
    ///
    /// # Errors
    ///
    /// `NotConnected` and the like.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.inner().peer_addr()
    }

    /// This end's address.
    ///
    /// # Errors
    ///
    /// When the system refuses to say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.inner().local_addr()
    }

    /// Closes the reading or the writing half or both, for all clones; whoever waits there is woken: reads then give 0
    /// bytes, writes `BrokenPipe`. Never waits.
    ///
    /// # Errors
    ///
    /// `NotConnected` when the connection is over already.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.inner().shutdown(how)
    }

    /// Another handle to the same connection: a duplicate of the descriptor, with the same settings.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        Ok(TcpStream { socket: self.socket.duplicate(self.socket.inner().try_clone()?) })
    }

    timeout_methods!();

    /// As `read`, but leaves the bytes to be read again. Waits; a cancellation point.
    ///
    /// # Errors
    ///
    /// As `read`.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(|inner| inner.peek(buf), || Ok(0))
    }

    /// Small writes go out at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket.inner().set_nodelay(nodelay)
    }

    /// Is `TCP_NODELAY` set?
    ///
    /// # Errors
    ///
    /// When the system refuses to say.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.socket.inner().nodelay()
    }

    /// The packets' time to live.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket.inner().set_ttl(ttl)
    }

    /// The packets' time to live.
    ///
    /// # Errors
    ///
    /// When the system refuses to say.
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket.inner().ttl()
    }

    common_methods!();
}

fn connect(addr: &SocketAddr, patience: Patience) -> io::Result<TcpStream> {
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(*addr), socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    let begun = socket.connect(&(*addr).into());
    let socket = Socket::nonblocking(net::TcpStream::from(socket), Kind::Tcp);
    match begun {
        Ok(()) => {}
        Err(error) if is_in_progress(&error) => socket.call(Direction::Write, patience, has_connected)?,
        Err(error) => return Err(error),
    }
    Ok(TcpStream { socket })
}

/// `WouldBlock`: not yet.
fn has_connected(stream: &net::TcpStream) -> io::Result<()> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error),
    }
}

read_and_write!(TcpStream);
debug_as_inner!(TcpStream);

/// A socket that connections come to: [`std::net::TcpListener`] whose calls park.
pub struct TcpListener {
    pub(super) socket: Socket<net::TcpListener>,
}

impl TcpListener {
    /// Listens at the first of the addresses that can be had, with a queue of 4096 (std's is 128). Waits only to look a name up.
    ///
    /// # Errors
    ///
    /// The last address's; `InvalidInput` if there is none; those of the look-up.
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<TcpListener> {
        addr::each(addr, |addr| {
            let inner = net::TcpListener::bind(addr)?;
            socket2::SockRef::from(&inner).listen(BACKLOG)?;
            Ok(TcpListener { socket: Socket::fresh(inner, Kind::Other)? })
        })
    }

    /// This end's address.
    ///
    /// # Errors
    ///
    /// When the system refuses to say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.inner().local_addr()
    }

    /// Another handle to the same socket: a duplicate of the descriptor, with the same settings.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        Ok(TcpListener { socket: self.socket.duplicate(self.socket.inner().try_clone()?) })
    }

    /// The next connection, and where it comes from. Waits; a cancellation point.
    ///
    /// # Errors
    ///
    /// A connection that was given up before it was taken; no more descriptors or memory: then it has rested for ten
    /// milliseconds, and the connection still waits.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let result = self.socket.read(net::TcpListener::accept, || Err(not_listening()));
        result
            .and_then(|(stream, addr)| Ok((TcpStream { socket: Socket::fresh(stream, Kind::Tcp)? }, addr)))
            .inspect(|_| accepted())
            .inspect_err(|error| rest_if_exhausted(error, self.socket.is_nonblocking()))
    }

    /// The connections that come, for ever: [`accept`](Self::accept) again and again.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// As [`incoming`](Self::incoming), and keeps the listener.
    pub fn into_incoming(self) -> IntoIncoming {
        IntoIncoming { listener: self }
    }

    /// The packets' time to live.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket.inner().set_ttl(ttl)
    }

    /// The packets' time to live.
    ///
    /// # Errors
    ///
    /// When the system refuses to say.
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket.inner().ttl()
    }

    common_methods!();
}

debug_as_inner!(TcpListener);

/// The connections that come to a [`TcpListener`]; never ends.
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl std::iter::FusedIterator for Incoming<'_> {}

/// The connections that come to a [`TcpListener`] of its own; never ends.
#[derive(Debug)]
pub struct IntoIncoming {
    listener: TcpListener,
}

impl Iterator for IntoIncoming {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl std::iter::FusedIterator for IntoIncoming {}
