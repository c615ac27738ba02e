//! Datagrams within this machine.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::{FIRST_PAUSE, LAST_PAUSE};
use crate::driver::readiness::Direction;
use crate::io::socket::Socket;
use crate::io::source::{Patience, SourceKind};
use crate::net::shared::{common_methods, end_of_example, settings, timeout_methods};
use crate::time::{now, sleep};

/// A datagram socket within this machine: [`std::os::unix::net::UnixDatagram`] whose calls park.
///
/// No datagram is lost, doubled or overtaken here, unlike with UDP: a sender waits while the receiver's queue is full.
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
        Ok(UnixDatagram { socket: Socket::fresh(inner, SourceKind::Unix)? })
    }

    /// Makes a socket at `path`, where nothing may be yet.
    ///
    /// The path stays in the file system when the socket is dropped.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when there is something; `InvalidInput` for a path that is too long or has a NUL; those of the file system.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("green-doc-datagram-bind-{}", std::process::id()));
    /// let socket = green::os::unix::net::UnixDatagram::bind(&path)?;
    /// assert_eq!(socket.local_addr()?.as_pathname(), Some(&*path));
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixDatagram> {
        Self::fresh(net::UnixDatagram::bind(path)?)
    }

    /// Makes a socket at an address, otherwise as [`bind`](Self::bind).
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// ```
    /// use green::os::unix::net::{SocketAddr, UnixDatagram};
    /// # let path = std::env::temp_dir().join(format!("green-doc-datagram-bind-addr-{}", std::process::id()));
    /// let socket = UnixDatagram::bind_addr(&SocketAddr::from_pathname(&path)?)?;
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixDatagram> {
        Self::fresh(net::UnixDatagram::bind_addr(socket_addr)?)
    }

    /// Makes a socket without an address: it can send, and nobody can answer.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    ///
    /// ```
    /// let socket = green::os::unix::net::UnixDatagram::unbound()?;
    /// assert!(socket.local_addr()?.is_unnamed());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unbound() -> io::Result<UnixDatagram> {
        Self::fresh(net::UnixDatagram::unbound()?)
    }

    /// Makes two sockets that are connected to each other, without addresses.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    ///
    /// ```
    /// let (a, b) = green::os::unix::net::UnixDatagram::pair()?;
    /// a.send(b"x")?;
    /// assert_eq!(b.recv(&mut [0])?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (a, b) = net::UnixDatagram::pair()?;
        Ok((Self::fresh(a)?, Self::fresh(b)?))
    }

    /// Sets the socket that [`send`](Self::send) sends to, and that alone may send to this one. Never waits.
    ///
    /// # Errors
    ///
    /// `NotFound`, `ConnectionRefused` and the like.
    ///
    /// ```
    /// use green::os::unix::net::UnixDatagram;
    /// # let path = std::env::temp_dir().join(format!("green-doc-datagram-connect-{}", std::process::id()));
    /// let server = UnixDatagram::bind(&path)?;
    /// let client = UnixDatagram::unbound()?;
    /// client.connect(&path)?;
    /// client.send(b"hello")?;
    /// assert_eq!(server.recv(&mut [0; 16])?, 5);
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.socket.inner().connect(path)
    }

    /// Sets the socket at an address as the other end, otherwise as [`connect`](Self::connect).
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// ```
    /// use green::os::unix::net::UnixDatagram;
    /// # let path = std::env::temp_dir().join(format!("green-doc-datagram-connect-addr-{}", std::process::id()));
    /// let server = UnixDatagram::bind(&path)?;
    /// UnixDatagram::unbound()?.connect_addr(&server.local_addr()?)?;
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect_addr(&self, socket_addr: &SocketAddr) -> io::Result<()> {
        self.socket.inner().connect_addr(socket_addr)
    }

    /// Makes another handle to the same socket: a duplicate of the descriptor, with the same settings.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    ///
    /// ```
    /// let (a, b) = green::os::unix::net::UnixDatagram::pair()?;
    /// a.try_clone()?.send(b"x")?;
    /// assert_eq!(b.recv(&mut [0])?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_clone(&self) -> io::Result<UnixDatagram> {
        Ok(UnixDatagram { socket: self.socket.duplicate(self.socket.inner().try_clone()?) })
    }

    settings! {
        /// Returns the address of this socket.
        ///
        /// # Errors
        ///
        /// When the system refuses to say.
        ///
        /// ```
        /// let (a, _b) = green::os::unix::net::UnixDatagram::pair()?;
        /// assert!(a.local_addr()?.is_unnamed());
        /// # Ok::<(), std::io::Error>(())
        /// ```
        fn local_addr() -> SocketAddr;

        /// Returns the address that the socket is connected to.
        ///
        /// # Errors
        ///
        /// `NotConnected` when it is to none.
        ///
        /// ```
        /// let (a, _b) = green::os::unix::net::UnixDatagram::pair()?;
        /// assert!(a.peer_addr()?.is_unnamed());
        /// # Ok::<(), std::io::Error>(())
        /// ```
        fn peer_addr() -> SocketAddr;
    }

    /// Waits for a datagram, and returns its length and the address that it comes from. A cancellation point.
    ///
    /// What does not fit into `buf` is lost. A datagram may be empty. A cancel takes effect while it waits: no datagram is lost.
    ///
    /// # Errors
    ///
    /// `WouldBlock` after the read time-out; those of the system.
    ///
    /// ```
    /// use green::os::unix::net::UnixDatagram;
    /// # let path = std::env::temp_dir().join(format!("green-doc-datagram-recv-from-{}", std::process::id()));
    /// let server = UnixDatagram::bind(&path)?;
    /// UnixDatagram::unbound()?.send_to(b"hello", &path)?;
    /// let mut buf = [0; 16];
    /// let (len, from) = server.recv_from(&mut buf)?;
    /// assert_eq!(&buf[..len], b"hello");
    /// assert!(from.is_unnamed());
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.read(|inner| inner.recv_from(buf), || Ok((0, SocketAddr::from_pathname("")?)))
    }

    /// Waits for a datagram, and returns its length. A cancellation point.
    ///
    /// What does not fit into `buf` is lost. 0 is an empty datagram, or says that the socket has been shut down.
    ///
    /// # Errors
    ///
    /// `WouldBlock` after the read time-out; those of the system.
    ///
    /// ```
    /// let (a, b) = green::os::unix::net::UnixDatagram::pair()?;
    /// a.send(b"hello")?;
    /// let mut buf = [0; 4];
    /// assert_eq!(b.recv(&mut buf)?, 4);
    /// assert_eq!(&buf, b"hell");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(|inner| inner.recv(buf), || Ok(0))
    }

    /// Sends a datagram to the socket at `path`, and returns its length.
    ///
    /// Waits while that one's queue is full: the system tells of no event for that, so it asks again and again, with pauses that grow
    /// up to ten milliseconds. A cancellation point.
    ///
    /// # Errors
    ///
    /// `NotFound`, `ConnectionRefused` and the like; `WouldBlock` after the write time-out.
    ///
    /// ```
    /// use green::os::unix::net::UnixDatagram;
    /// # let path = std::env::temp_dir().join(format!("green-doc-datagram-send-to-{}", std::process::id()));
    /// let server = UnixDatagram::bind(&path)?;
    /// assert_eq!(UnixDatagram::unbound()?.send_to(b"hello", &path)?, 5);
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.send_patiently(|inner| inner.send_to(buf, path.as_ref()))
    }

    /// Sends a datagram to the socket at an address, otherwise as [`send_to`](Self::send_to).
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to).
    ///
    /// ```
    /// use green::os::unix::net::UnixDatagram;
    /// # let path = std::env::temp_dir().join(format!("green-doc-datagram-send-to-addr-{}", std::process::id()));
    /// let server = UnixDatagram::bind(&path)?;
    /// UnixDatagram::unbound()?.send_to_addr(b"hello", &server.local_addr()?)?;
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_to_addr(&self, buf: &[u8], socket_addr: &SocketAddr) -> io::Result<usize> {
        self.send_patiently(|inner| inner.send_to_addr(buf, socket_addr))
    }

    /// Sends a datagram to the socket that this one is connected to, and returns its length.
    ///
    /// Waits while that one's queue is full; a cancellation point.
    ///
    /// # Errors
    ///
    /// `NotConnected` without a [`connect`](Self::connect); `ConnectionRefused` when the other end has gone; `WouldBlock` after the
    /// write time-out.
    ///
    /// ```
    /// let (a, b) = green::os::unix::net::UnixDatagram::pair()?;
    /// assert_eq!(a.send(b"hello")?, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.write(|inner| inner.send(buf))
    }

    /// No event tells that the queue of a socket which this one is not connected to has room: so it asks, with pauses.
    fn send_patiently(&self, send: impl Fn(&net::UnixDatagram) -> io::Result<usize>) -> io::Result<usize> {
        let patience = self.socket.patience(Direction::Write);
        let (begin, mut pause) = (now(), FIRST_PAUSE);
        loop {
            match self.socket.call(Direction::Write, Patience::None, &send) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match patience {
                    Patience::None => return Err(error),
                    Patience::For(ns) if now() - begin >= Duration::from_nanos(ns) => return Err(error),
                    Patience::For(ns) => sleep(pause.min(Duration::from_nanos(ns).saturating_sub(now() - begin))),
                    Patience::Forever => sleep(pause),
                },
                result => return result,
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Closes the reading half, the writing half or both, for all clones of the handle.
    ///
    /// Threads that wait there are woken. Once the datagrams that were there have been received a receive gives 0 bytes. Never waits.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    ///
    /// ```
    /// let (a, b) = green::os::unix::net::UnixDatagram::pair()?;
    /// a.send(b"last")?;
    /// b.shutdown(std::net::Shutdown::Read)?;
    /// let mut buf = [0; 16];
    /// assert_eq!((b.recv(&mut buf)?, b.recv(&mut buf)?), (4, 0));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.inner().shutdown(how)
    }

    timeout_methods!("# let (socket, _other) = green::os::unix::net::UnixDatagram::pair()?;", "socket.recv(&mut [0])");
    common_methods!("# let (socket, _other) = green::os::unix::net::UnixDatagram::pair()?;", "socket.recv(&mut [0])");
}
