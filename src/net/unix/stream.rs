//! Connections within this machine.

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::{FIRST_PAUSE, LAST_PAUSE};
use crate::driver::readiness::Direction;
use crate::io::forward::by_value;
use crate::io::socket::Socket;
use crate::io::source::SourceKind;
use crate::net::shared::{common_methods, end_of_example, read_and_write, settings, timeout_methods};
use crate::time::sleep;

/// A connection within this machine: [`std::os::unix::net::UnixStream`] whose calls park.
///
/// It is used as a [`TcpStream`](crate::net::TcpStream) is; its address is a path in the file system, or on Linux a name apart from that.
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
    /// Opens a connection to the listener at `path`.
    ///
    /// Waits while the listener's queue is full: the system tells of no event for that, so it asks again and again, with pauses
    /// that grow up to ten milliseconds. A cancellation point.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is nothing at `path`, `ConnectionRefused` when nobody listens there, `PermissionDenied`. `InvalidInput` for
    /// a path that is too long (108 bytes on Linux, with a zero at its end) or has a NUL.
    ///
    /// ```
    /// use green::os::unix::net::{UnixListener, UnixStream};
    /// # let path = std::env::temp_dir().join(format!("green-doc-connect-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// let stream = UnixStream::connect(&path)?;
    /// assert_eq!(stream.peer_addr()?.as_pathname(), Some(&*path));
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<UnixStream> {
        // std's address: it refuses a NUL, which would lead to another socket.
        Self::connect_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Opens a connection to the listener at an address, otherwise as [`connect`](Self::connect).
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// ```
    /// use green::os::unix::net::{UnixListener, UnixStream};
    /// # let path = std::env::temp_dir().join(format!("green-doc-connect-addr-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// let stream = UnixStream::connect_addr(&listener.local_addr()?)?;
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect_addr(socket_addr: &SocketAddr) -> io::Result<UnixStream> {
        connect(&raw_addr(socket_addr)?)
    }

    /// Makes two streams that are connected to each other, without an address.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// let (mut a, mut b) = green::os::unix::net::UnixStream::pair()?;
    /// a.write_all(b"x")?;
    /// b.read_exact(&mut [0])?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (a, b) = net::UnixStream::pair()?;
        let stream = |inner| Ok(UnixStream { socket: Socket::fresh(inner, SourceKind::Unix)? });
        stream(a).and_then(|a| Ok((a, stream(b)?)))
    }

    /// Makes another handle to the same connection: a duplicate of the descriptor, with the same settings.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// let (a, mut b) = green::os::unix::net::UnixStream::pair()?;
    /// let mut clone = a.try_clone()?;
    /// let writes = green::spawn(move || clone.write_all(b"x"));
    /// b.read_exact(&mut [0])?;
    /// # writes.join().unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_clone(&self) -> io::Result<UnixStream> {
        Ok(UnixStream { socket: self.socket.duplicate(self.socket.inner().try_clone()?) })
    }

    settings! {
        /// Returns the address of this end; that of a stream which has connected has no name.
        ///
        /// # Errors
        ///
        /// When the system refuses to say.
        ///
        /// ```
        /// let (a, _b) = green::os::unix::net::UnixStream::pair()?;
        /// assert!(a.local_addr()?.is_unnamed());
        /// # Ok::<(), std::io::Error>(())
        /// ```
        fn local_addr() -> SocketAddr;

        /// Returns the address of the other end.
        ///
        /// # Errors
        ///
        /// `NotConnected` when the connection is over.
        ///
        /// ```
        /// let (a, _b) = green::os::unix::net::UnixStream::pair()?;
        /// assert!(a.peer_addr()?.is_unnamed());
        /// # Ok::<(), std::io::Error>(())
        /// ```
        fn peer_addr() -> SocketAddr;

        /// Closes the reading half, the writing half or both, for all clones of the handle.
        ///
        /// Threads that wait there are woken: reads give what has come and then 0 bytes, writes are `BrokenPipe`. Never waits.
        ///
        /// # Errors
        ///
        /// When the system refuses.
        ///
        /// ```
        /// use std::io::Read;
        /// let (a, mut b) = green::os::unix::net::UnixStream::pair()?;
        /// a.shutdown(std::net::Shutdown::Write)?;
        /// assert_eq!(b.read(&mut [0])?, 0);
        /// # Ok::<(), std::io::Error>(())
        /// ```
        fn shutdown(how: Shutdown) -> ();
    }

    timeout_methods!(
        "# let (socket, _other) = green::os::unix::net::UnixStream::pair()?;",
        "std::io::Read::read(&mut &socket, &mut [0])"
    );
    common_methods!(
        "# let (socket, _other) = green::os::unix::net::UnixStream::pair()?;",
        "std::io::Read::read(&mut &socket, &mut [0])"
    );
}

fn connect(addr: &socket2::SockAddr) -> io::Result<UnixStream> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let mut pause = FIRST_PAUSE;
    loop {
        match socket.connect(addr) {
            Ok(()) => {
                let inner = net::UnixStream::from(std::os::fd::OwnedFd::from(socket));
                return Ok(UnixStream { socket: Socket::nonblocking(inner, SourceKind::Unix) });
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
