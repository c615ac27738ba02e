//! TCP.

#![forbid(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::time::Duration;

use crate::driver::readiness::Direction;
use crate::io::forward::by_value;
use crate::io::socket::Socket;
use crate::io::source::{Patience, SourceKind};
use crate::net::addr::{self, ToSocketAddrs};
use crate::net::shared::{accept, common_methods, end_of_example, read_and_write, settings, timeout_methods};
use crate::sys::net::is_in_progress;

/// Connections that may wait for `accept`; the system cuts it down to its own limit. std's 128 is less than what comes while
/// a busy worker runs its other threads once, and a connection beyond it is not refused: it tries again a second later.
const BACKLOG: i32 = 4096;

/// A TCP connection: [`std::net::TcpStream`] whose calls park.
///
/// It is made by [`connect`](Self::connect) or [`TcpListener::accept`], and moves bytes by [`Read`] and [`Write`], which a
/// `&TcpStream` has, too. So several threads may use one, on any workers, one reading and another writing, say;
/// [`try_clone`](Self::try_clone) makes a handle for each. [`shutdown`](Self::shutdown) wakes those that wait. When the last
/// handle is dropped the connection is closed.
///
/// A short write makes a packet of its own or waits for one, so put a [`BufWriter`](std::io::BufWriter) in between, or set
/// [`set_nodelay`](Self::set_nodelay).
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
    /// Opens a connection to the first of the addresses that answers.
    ///
    /// A name may give several addresses: they are tried in turn, each until the system gives up, which may take minutes. Waits; a
    /// cancellation point, so [`timeout`](crate::timeout) around it bounds the look-up of the name and all attempts together;
    /// [`connect_timeout`](Self::connect_timeout) bounds one attempt.
    ///
    /// # Errors
    ///
    /// The last address's: `ConnectionRefused` when nobody listens there, `TimedOut`, `NetworkUnreachable` and the like.
    /// `InvalidInput` if there is no address. Those of the look-up of the name.
    ///
    /// ```
    /// use green::net::{TcpListener, TcpStream};
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<TcpStream> {
        addr::each(addr, |addr| connect(addr, Patience::Forever))
    }

    /// Opens a connection to `addr`, and waits at most `timeout` for it.
    ///
    /// It takes one address, since the time-out of several would mean nothing clear. A cancellation point.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a time-out of zero, `TimedOut` when it is over; those of [`connect`](Self::connect).
    ///
    /// ```
    /// use std::time::Duration;
    /// let listener = green::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = green::net::TcpStream::connect_timeout(&listener.local_addr()?, Duration::from_secs(5))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
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

    settings! {
        /// Returns the address of the other end.
        ///
        /// # Errors
        ///
        /// `NotConnected` when the connection is over.
        ///
        /// ```
        /// let listener = green::net::TcpListener::bind("127.0.0.1:0")?;
        /// let stream = green::net::TcpStream::connect(listener.local_addr()?)?;
        /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
        /// # Ok::<(), std::io::Error>(())
        /// ```
        fn peer_addr() -> SocketAddr;

        /// Returns the address of this end.
        ///
        /// # Errors
        ///
        /// When the system refuses to say.
        ///
        /// ```
        /// let listener = green::net::TcpListener::bind("127.0.0.1:0")?;
        /// let stream = green::net::TcpStream::connect(listener.local_addr()?)?;
        /// assert!(stream.local_addr()?.ip().is_loopback());
        /// # Ok::<(), std::io::Error>(())
        /// ```
        fn local_addr() -> SocketAddr;

        /// Closes the reading half, the writing half or both, for all clones of the handle.
        ///
        /// Threads that wait there are woken. Reads give what has come and then 0 bytes, writes are `BrokenPipe`; the other side
        /// reads to its end when the writing half is closed. Never waits. Bytes that have been written are still sent.
        ///
        /// # Errors
        ///
        /// `NotConnected` when the connection is over already.
        ///
        /// ```
        /// use std::io::{Read, Write};
        /// use green::net::{Shutdown, TcpListener, TcpStream};
        /// let listener = TcpListener::bind("127.0.0.1:0")?;
        /// let mut client = TcpStream::connect(listener.local_addr()?)?;
        /// let (mut server, _) = listener.accept()?;
        /// client.write_all(b"all of it")?;
        /// client.shutdown(Shutdown::Write)?;
        /// let mut text = String::new();
        /// server.read_to_string(&mut text)?; // to the end, though `client` is open
        /// assert_eq!(text, "all of it");
        /// # Ok::<(), std::io::Error>(())
        /// ```
        fn shutdown(how: Shutdown) -> ();
    }

    /// Makes another handle to the same connection.
    ///
    /// The handle is a duplicate of the descriptor: both read from one stream and write to one, and share all settings. Often a
    /// `&TcpStream` serves as well, and costs no descriptor.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// # let listener = green::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = green::net::TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut server, _) = listener.accept()?;
    /// let mut writer = stream.try_clone()?;
    /// let writes = green::spawn(move || writer.write_all(b"ping"));
    /// # server.read_exact(&mut [0; 4])?;
    /// # server.write_all(b"pong")?;
    /// let mut answer = [0; 4];
    /// (&stream).read_exact(&mut answer)?;
    /// # writes.join().unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        Ok(TcpStream { socket: self.socket.duplicate(self.socket.inner().try_clone()?) })
    }

    timeout_methods!(
        "# let listener = green::net::TcpListener::bind(\"127.0.0.1:0\")?;\n# let socket = green::net::TcpStream::connect(listener.local_addr()?)?;",
        "std::io::Read::read(&mut &socket, &mut [0])"
    );

    /// Reads as `read` does, but leaves the bytes to be read again. Waits for one; a cancellation point.
    ///
    /// `Ok(0)` means that the other side has finished. So this is how to learn whether a client is still there.
    ///
    /// # Errors
    ///
    /// `WouldBlock` after the read time-out; those of the system.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// # let listener = green::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let mut client = green::net::TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut server, _) = listener.accept()?;
    /// client.write_all(b"x")?;
    /// let mut byte = [0];
    /// assert_eq!(server.peek(&mut byte)?, 1);
    /// server.read_exact(&mut byte)?; // the same one
    /// assert_eq!(&byte, b"x");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(|inner| inner.peek(buf), || Ok(0))
    }

    settings! {
        /// Sets whether small writes go out at once (`TCP_NODELAY`).
        ///
        /// If not, as at the beginning, the system may hold a short write back until what it has sent before is acknowledged, to put
        /// several into one packet (Nagle's algorithm). That costs up to some 40 ms where each side waits for the other's answer.
        ///
        /// # Errors
        ///
        /// When the system refuses.
        ///
        /// ```
        /// # let listener = green::net::TcpListener::bind("127.0.0.1:0")?;
        /// let stream = green::net::TcpStream::connect(listener.local_addr()?)?;
        /// stream.set_nodelay(true)?;
        /// assert!(stream.nodelay()?);
        /// # Ok::<(), std::io::Error>(())
        /// ```
        fn set_nodelay(nodelay: bool) -> ();

        /// Returns whether small writes go out at once; see [`set_nodelay`](Self::set_nodelay).
        ///
        /// # Errors
        ///
        /// When the system refuses to say.
        ///
        /// ```
        /// # let listener = green::net::TcpListener::bind("127.0.0.1:0")?;
        /// let stream = green::net::TcpStream::connect(listener.local_addr()?)?;
        /// assert!(!stream.nodelay()?);
        /// # Ok::<(), std::io::Error>(())
        /// ```
        fn nodelay() -> bool;

        /// Sets how many routers a packet of this connection may pass (`IP_TTL`).
        ///
        /// # Errors
        ///
        /// When the system refuses.
        ///
        /// ```
        /// # let listener = green::net::TcpListener::bind("127.0.0.1:0")?;
        /// let stream = green::net::TcpStream::connect(listener.local_addr()?)?;
        /// stream.set_ttl(32)?;
        /// # Ok::<(), std::io::Error>(())
        /// ```
        fn set_ttl(ttl: u32) -> ();

        /// Returns how many routers a packet of this connection may pass.
        ///
        /// # Errors
        ///
        /// When the system refuses to say.
        ///
        /// ```
        /// # let listener = green::net::TcpListener::bind("127.0.0.1:0")?;
        /// let stream = green::net::TcpStream::connect(listener.local_addr()?)?;
        /// stream.set_ttl(32)?;
        /// assert_eq!(stream.ttl()?, 32);
        /// # Ok::<(), std::io::Error>(())
        /// ```
        fn ttl() -> u32;
    }

    common_methods!(
        "# let listener = green::net::TcpListener::bind(\"127.0.0.1:0\")?;\n# let socket = green::net::TcpStream::connect(listener.local_addr()?)?;",
        "std::io::Read::read(&mut &socket, &mut [0])"
    );
}

fn connect(addr: &SocketAddr, patience: Patience) -> io::Result<TcpStream> {
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(*addr), socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    let begun = socket.connect(&(*addr).into());
    let socket = Socket::nonblocking(net::TcpStream::from(socket), SourceKind::Tcp);
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
/// A socket that TCP connections come to: [`std::net::TcpListener`] whose calls park.
///
/// The usual server has a green thread that accepts, and spawns one for each connection; several threads may accept from one
/// listener as well. Dropped, it listens no more, and connections that nobody has accepted are closed. How such a server
/// comes to its end in good order is a page of the [guide](crate::guide::stopping).
///
/// ```
/// use std::io::{Read, Write};
/// use green::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let addr = listener.local_addr()?;
/// let accepts = green::spawn(move || {
///     for mut stream in listener.incoming().flatten() {
///         green::spawn(move || stream.write_all(b"hello"));
///     }
/// });
/// let mut text = String::new();
/// TcpStream::connect(addr)?.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// accepts.cancel();
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TcpListener {
    pub(super) socket: Socket<net::TcpListener>,
}

impl TcpListener {
    /// Listens at the first of the addresses that can be had.
    ///
    /// Port 0 asks the system for a free one, which [`local_addr`](Self::local_addr) tells. As with std `SO_REUSEADDR` is set, so a
    /// server may be started again at once. The queue of connections that nobody has accepted holds 4096, or the system's limit
    /// (`somaxconn`) if that is less; std's holds 128. Waits only to look a name up, and is a cancellation point then.
    ///
    /// # Errors
    ///
    /// The last address's: `AddrInUse`, `AddrNotAvailable`, `PermissionDenied` for a port that is not everybody's. `InvalidInput` if
    /// there is no address. Those of the look-up.
    ///
    /// ```
    /// let listener = green::net::TcpListener::bind("127.0.0.1:0")?;
    /// assert_ne!(listener.local_addr()?.port(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<TcpListener> {
        addr::each(addr, |addr| {
            let inner = net::TcpListener::bind(addr)?;
            socket2::SockRef::from(&inner).listen(BACKLOG)?;
            Ok(TcpListener { socket: Socket::fresh(inner, SourceKind::Other)? })
        })
    }

    /// Returns the address that it listens at, with the port that the system has chosen if it was to.
    ///
    /// # Errors
    ///
    /// When the system refuses to say.
    ///
    /// ```
    /// let listener = green::net::TcpListener::bind("127.0.0.1:0")?;
    /// assert!(listener.local_addr()?.ip().is_loopback());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.inner().local_addr()
    }

    /// Makes another handle to the same socket: a duplicate of the descriptor, with the same settings.
    ///
    /// Each connection comes to one of the handles.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    ///
    /// ```
    /// let listener = green::net::TcpListener::bind("127.0.0.1:0")?;
    /// let other = listener.try_clone()?;
    /// assert_eq!(listener.local_addr()?, other.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        Ok(TcpListener { socket: self.socket.duplicate(self.socket.inner().try_clone()?) })
    }

    /// Waits for the next connection, and returns it with the address that it comes from. A cancellation point.
    ///
    /// A cancel takes effect while it waits, so no connection is lost. Time-outs of the listener, as those which a
    /// `std::net::TcpListener` may have brought along, hold here. A thread that is spawned next may start on another worker,
    /// so that connections spread over all of them.
    ///
    /// # Errors
    ///
    /// `ConnectionAborted` and the like for a connection that was given up before it was taken: go on with the next. When there are
    /// no more descriptors or no memory, the error comes after a rest of ten milliseconds, so that a loop which
    /// ignores errors does not spin; the connection still waits. `WouldBlock` as
    /// [`set_nonblocking`](Self::set_nonblocking) says. `InvalidInput` when the socket has been shut down by others.
    ///
    /// ```
    /// use green::net::{TcpListener, TcpStream};
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let client = TcpStream::connect(listener.local_addr()?)?;
    /// let (stream, from) = listener.accept()?;
    /// assert_eq!(from, client.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, addr) = accept(&self.socket, net::TcpListener::accept, SourceKind::Tcp)?;
        Ok((TcpStream { socket }, addr))
    }

    /// Returns an iterator over the connections that come, for ever: each step is an [`accept`](Self::accept).
    ///
    /// ```
    /// use green::net::{TcpListener, TcpStream};
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let client = TcpStream::connect(listener.local_addr()?)?;
    /// let first = listener.incoming().next().expect("it has no end")?;
    /// assert_eq!(first.peer_addr()?, client.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// Turns the listener into an iterator over the connections that come, as [`incoming`](Self::incoming).
    ///
    /// ```
    /// use green::net::{TcpListener, TcpStream};
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let client = TcpStream::connect(listener.local_addr()?)?;
    /// let mut connections = listener.into_incoming();
    /// assert!(connections.next().expect("it has no end").is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_incoming(self) -> IntoIncoming {
        IntoIncoming { listener: self }
    }

    settings! {
        /// Sets how many routers a packet may pass, for the connections that will be accepted (`IP_TTL`).
        ///
        /// # Errors
        ///
        /// When the system refuses.
        ///
        /// ```
        /// let listener = green::net::TcpListener::bind("127.0.0.1:0")?;
        /// listener.set_ttl(32)?;
        /// # Ok::<(), std::io::Error>(())
        /// ```
        fn set_ttl(ttl: u32) -> ();

        /// Returns how many routers a packet may pass; see [`set_ttl`](Self::set_ttl).
        ///
        /// # Errors
        ///
        /// When the system refuses to say.
        ///
        /// ```
        /// let listener = green::net::TcpListener::bind("127.0.0.1:0")?;
        /// listener.set_ttl(32)?;
        /// assert_eq!(listener.ttl()?, 32);
        /// # Ok::<(), std::io::Error>(())
        /// ```
        fn ttl() -> u32;
    }

    common_methods!("# let socket = green::net::TcpListener::bind(\"127.0.0.1:0\")?;", "socket.accept()");
}

/// An iterator over the connections that come to a [`TcpListener`], made by [`incoming`](TcpListener::incoming). Never ends.
///
/// ```
/// let listener = green::net::TcpListener::bind("127.0.0.1:0")?;
/// # let clients = [0; 2].map(|_| green::net::TcpStream::connect(listener.local_addr().unwrap()));
/// let two: Vec<_> = listener.incoming().take(2).collect::<Result<_, _>>()?;
/// assert_eq!(two.len(), 2);
/// # Ok::<(), std::io::Error>(())
/// ```
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

/// An iterator over the connections that come to a listener of its own, made by [`into_incoming`](TcpListener::into_incoming).
/// Never ends.
///
/// ```
/// fn connections() -> std::io::Result<green::net::IntoIncoming> {
///     Ok(green::net::TcpListener::bind("127.0.0.1:0")?.into_incoming())
/// }
/// # connections().unwrap();
/// ```
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
