//! Sockets that connections within this machine come to.

use std::io;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

use crate::io::socket::Socket;
use crate::io::source::SourceKind;
use crate::net::shared::{accept, common_methods, end_of_example};
use crate::net::unix::UnixStream;

/// A socket that connections within this machine come to: [`std::os::unix::net::UnixListener`] whose calls park.
///
/// Dropped, it listens no more, but its path stays in the file system; remove it before the next [`bind`](Self::bind).
///
/// ```
/// use std::io::{Read, Write};
/// use green::os::unix::net::{UnixListener, UnixStream};
///
/// # let path = std::env::temp_dir().join(format!("green-doc-listener-{}", std::process::id()));
/// let listener = UnixListener::bind(&path)?;
/// let accepts = green::spawn(move || {
///     for mut stream in listener.incoming().flatten() {
///         green::spawn(move || stream.write_all(b"hello"));
///     }
/// });
/// let mut text = String::new();
/// UnixStream::connect(&path)?.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// accepts.cancel();
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixListener {
    pub(in crate::net) socket: Socket<net::UnixListener>,
}

impl UnixListener {
    /// Makes a socket at `path`, where nothing may be yet, and listens there.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when there is something; `InvalidInput` for a path that is too long or has a NUL; those of the file system.
    ///
    /// ```
    /// use green::os::unix::net::UnixListener;
    /// # let path = std::env::temp_dir().join(format!("green-doc-bind-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// drop(listener);
    /// assert_eq!(UnixListener::bind(&path).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    /// std::fs::remove_file(&path)?;
    /// assert!(UnixListener::bind(&path).is_ok());
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixListener> {
        Ok(UnixListener { socket: Socket::fresh(net::UnixListener::bind(path)?, SourceKind::Other)? })
    }

    /// Listens at an address, otherwise as [`bind`](Self::bind).
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// ```
    /// use green::os::unix::net::{SocketAddr, UnixListener};
    /// # let path = std::env::temp_dir().join(format!("green-doc-bind-addr-{}", std::process::id()));
    /// let listener = UnixListener::bind_addr(&SocketAddr::from_pathname(&path)?)?;
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixListener> {
        Ok(UnixListener { socket: Socket::fresh(net::UnixListener::bind_addr(socket_addr)?, SourceKind::Other)? })
    }

    /// Waits for the next connection, and returns it with the address that it comes from. A cancellation point.
    ///
    /// A cancel takes effect while it waits, so no connection is lost. The other side's address mostly has no name.
    ///
    /// # Errors
    ///
    /// When there are no more descriptors or no memory, the error comes after a rest of ten milliseconds, so that a loop
    /// which ignores errors does not spin; the connection still waits. `WouldBlock` as
    /// [`set_nonblocking`](Self::set_nonblocking) says.
    ///
    /// ```
    /// use green::os::unix::net::{UnixListener, UnixStream};
    /// # let path = std::env::temp_dir().join(format!("green-doc-accept-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// let client = UnixStream::connect(&path)?;
    /// let (stream, from) = listener.accept()?;
    /// assert!(from.is_unnamed());
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (socket, addr) = accept(&self.socket, net::UnixListener::accept, SourceKind::Unix)?;
        Ok((UnixStream { socket }, addr))
    }

    /// Makes another handle to the same socket: a duplicate of the descriptor, with the same settings.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("green-doc-clone-{}", std::process::id()));
    /// let listener = green::os::unix::net::UnixListener::bind(&path)?;
    /// let other = listener.try_clone()?;
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_clone(&self) -> io::Result<UnixListener> {
        Ok(UnixListener { socket: self.socket.duplicate(self.socket.inner().try_clone()?) })
    }

    /// Returns the address that it listens at.
    ///
    /// # Errors
    ///
    /// When the system refuses to say.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("green-doc-local-{}", std::process::id()));
    /// let listener = green::os::unix::net::UnixListener::bind(&path)?;
    /// assert_eq!(listener.local_addr()?.as_pathname(), Some(&*path));
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.inner().local_addr()
    }

    /// Returns an iterator over the connections that come, for ever: each step is an [`accept`](Self::accept).
    ///
    /// ```
    /// use green::os::unix::net::{UnixListener, UnixStream};
    /// # let path = std::env::temp_dir().join(format!("green-doc-incoming-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// let client = UnixStream::connect(&path)?;
    /// assert!(listener.incoming().next().expect("it has no end").is_ok());
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    common_methods!(
        "# let path = std::env::temp_dir().join(format!(\"green-doc-listens-{}-{:?}\", std::process::id(), std::thread::current().id()));\n# let socket = green::os::unix::net::UnixListener::bind(&path)?;\n# std::fs::remove_file(&path)?;",
        "socket.accept()"
    );
}

/// An iterator over the connections that come to a [`UnixListener`], made by [`incoming`](UnixListener::incoming). Never ends.
///
/// ```
/// use green::os::unix::net::{UnixListener, UnixStream};
/// # let path = std::env::temp_dir().join(format!("green-doc-incoming-type-{}", std::process::id()));
/// let listener = UnixListener::bind(&path)?;
/// # let clients = [0; 2].map(|_| UnixStream::connect(&path));
/// let two: Vec<_> = listener.incoming().take(2).collect::<Result<_, _>>()?;
/// assert_eq!(two.len(), 2);
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
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
