//! UDP.

#![forbid(unsafe_code)]

use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::driver::readiness::Direction;
use crate::io::socket::Socket;
use crate::io::source::SourceKind;
use crate::net::addr::{self, ToSocketAddrs};
use crate::net::shared::{common_methods, end_of_example, settings, timeout_methods};

/// A UDP socket: [`std::net::UdpSocket`] whose calls park.
///
/// Datagrams keep their bounds, and may be lost, doubled or overtaken. Several threads may use one socket through a reference.
///
/// ```
/// let a = green::net::UdpSocket::bind("127.0.0.1:0").unwrap();
/// let b = green::net::UdpSocket::bind("127.0.0.1:0").unwrap();
/// a.send_to(b"hello", b.local_addr().unwrap()).unwrap();
/// let mut buf = [0; 16];
/// let (len, from) = b.recv_from(&mut buf).unwrap();
/// assert_eq!((&buf[..len], from), (&b"hello"[..], a.local_addr().unwrap()));
/// ```
pub struct UdpSocket {
    pub(super) socket: Socket<net::UdpSocket>,
}

impl UdpSocket {
    /// Makes a socket at the first of the addresses that can be had.
    ///
    /// Port 0 asks the system for a free one. Waits only to look a name up, and is a cancellation point then.
    ///
    /// # Errors
    ///
    /// The last address's: `AddrInUse`, `AddrNotAvailable` and the like. `InvalidInput` if there is none. Those of the look-up.
    ///
    /// ```
    /// let socket = green::net::UdpSocket::bind("127.0.0.1:0")?;
    /// assert_ne!(socket.local_addr()?.port(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<UdpSocket> {
        addr::each(addr, |addr| {
            Ok(UdpSocket { socket: Socket::fresh(net::UdpSocket::bind(addr)?, SourceKind::Other)? })
        })
    }

    /// Makes another handle to the same socket: a duplicate of the descriptor, with the same settings.
    ///
    /// Each datagram comes to one of the handles.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    ///
    /// ```
    /// let socket = green::net::UdpSocket::bind("127.0.0.1:0")?;
    /// let other = socket.try_clone()?;
    /// assert_eq!(socket.local_addr()?, other.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_clone(&self) -> io::Result<UdpSocket> {
        Ok(UdpSocket { socket: self.socket.duplicate(self.socket.inner().try_clone()?) })
    }

    /// Sets the address that [`send`](Self::send) sends to, and the only one that datagrams are received from.
    ///
    /// The first address that can be had is taken; nothing is sent. Waits only to look a name up.
    ///
    /// # Errors
    ///
    /// The last address's; `InvalidInput` if there is none; those of the look-up.
    ///
    /// ```
    /// let server = green::net::UdpSocket::bind("127.0.0.1:0")?;
    /// let client = green::net::UdpSocket::bind("127.0.0.1:0")?;
    /// client.connect(server.local_addr()?)?;
    /// client.send(b"hello")?;
    /// assert_eq!(server.recv(&mut [0; 16])?, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        addr::each(addr, |addr| self.socket.inner().connect(addr))
    }

    /// Waits for a datagram, and returns its length and the address that it comes from. A cancellation point.
    ///
    /// What does not fit into `buf` is lost. A datagram may be empty. A cancel takes effect while it waits: no datagram is lost by it.
    ///
    /// # Errors
    ///
    /// `WouldBlock` after the read time-out. What the system says, as `ConnectionRefused` for a datagram of a connected
    /// socket that was sent before.
    ///
    /// ```
    /// # let a = green::net::UdpSocket::bind("127.0.0.1:0")?;
    /// # let b = green::net::UdpSocket::bind("127.0.0.1:0")?;
    /// a.send_to(b"hello", b.local_addr()?)?;
    /// let mut buf = [0; 16];
    /// let (len, from) = b.recv_from(&mut buf)?;
    /// assert_eq!((&buf[..len], from), (&b"hello"[..], a.local_addr()?));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.read(|inner| inner.recv_from(buf), nobody)
    }

    /// Waits for a datagram as [`recv_from`](Self::recv_from) does, but leaves it to be received again.
    ///
    /// # Errors
    ///
    /// As [`recv_from`](Self::recv_from).
    ///
    /// ```
    /// # let a = green::net::UdpSocket::bind("127.0.0.1:0")?;
    /// # let b = green::net::UdpSocket::bind("127.0.0.1:0")?;
    /// a.send_to(b"hello", b.local_addr()?)?;
    /// let mut buf = [0; 16];
    /// assert_eq!(b.peek_from(&mut buf)?, b.recv_from(&mut buf)?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.read(|inner| inner.peek_from(buf), nobody)
    }

    /// Sends a datagram to the first address that `addr` gives, and returns its length.
    ///
    /// Waits when the system's buffer is full, or to look a name up; a cancellation point. That it was sent does not say that it
    /// arrives.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when `addr` gives no address; `WouldBlock` after the write time-out; those of the system, as that the datagram is too
    /// long.
    ///
    /// ```
    /// # let a = green::net::UdpSocket::bind("127.0.0.1:0")?;
    /// # let b = green::net::UdpSocket::bind("127.0.0.1:0")?;
    /// assert_eq!(a.send_to(b"hello", b.local_addr()?)?, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], addr: A) -> io::Result<usize> {
        let Some(addr) = addr.to_socket_addrs()?.next() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no addresses to send data to"));
        };
        self.socket.write(|inner| inner.send_to(buf, addr))
    }

    /// Waits for a datagram from the address that the socket is connected to, and returns its length. A cancellation point.
    ///
    /// What does not fit into `buf` is lost. Without a [`connect`](Self::connect) it takes one from anybody.
    ///
    /// # Errors
    ///
    /// `WouldBlock` after the read time-out; those of the system, as `ConnectionRefused`.
    ///
    /// ```
    /// # let a = green::net::UdpSocket::bind("127.0.0.1:0")?;
    /// # let b = green::net::UdpSocket::bind("127.0.0.1:0")?;
    /// b.connect(a.local_addr()?)?;
    /// a.send_to(b"hello", b.local_addr()?)?;
    /// let mut buf = [0; 16];
    /// assert_eq!(b.recv(&mut buf)?, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(|inner| inner.recv(buf), || Ok(0))
    }

    /// Waits for a datagram as [`recv`](Self::recv) does, but leaves it to be received again.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// ```
    /// # let a = green::net::UdpSocket::bind("127.0.0.1:0")?;
    /// # let b = green::net::UdpSocket::bind("127.0.0.1:0")?;
    /// a.send_to(b"hello", b.local_addr()?)?;
    /// let mut buf = [0; 16];
    /// assert_eq!(b.peek(&mut buf)?, b.recv(&mut buf)?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(|inner| inner.peek(buf), || Ok(0))
    }

    /// Sends a datagram to the address that the socket is connected to, and returns its length.
    ///
    /// Waits when the system's buffer is full; a cancellation point.
    ///
    /// # Errors
    ///
    /// `WouldBlock` after the write time-out; those of the system, as that there is no connection, or that nobody listens at the
    /// other end.
    ///
    /// ```
    /// # let a = green::net::UdpSocket::bind("127.0.0.1:0")?;
    /// # let b = green::net::UdpSocket::bind("127.0.0.1:0")?;
    /// a.connect(b.local_addr()?)?;
    /// assert_eq!(a.send(b"hello")?, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.write(|inner| inner.send(buf))
    }

    timeout_methods!("# let socket = green::net::UdpSocket::bind(\"127.0.0.1:0\")?;", "socket.recv_from(&mut [0])");
    common_methods!("# let socket = green::net::UdpSocket::bind(\"127.0.0.1:0\")?;", "socket.recv_from(&mut [0])");

    settings! {
        /// Returns the address that the socket is connected to; `NotConnected` if to none.
        fn peer_addr() -> SocketAddr = "socket.connect(\"127.0.0.1:9\")?;\nassert_eq!(socket.peer_addr()?.port(), 9);";
        /// Returns the address of this socket, with the port that the system has chosen if it was to.
        fn local_addr() -> SocketAddr = "assert_ne!(socket.local_addr()?.port(), 0);";
        /// Sets whether the socket may send to broadcast addresses (`SO_BROADCAST`). At first it may not.
        fn set_broadcast(broadcast: bool) -> () = "socket.set_broadcast(true)?;";
        /// Returns whether the socket may send to broadcast addresses.
        fn broadcast() -> bool = "assert!(!socket.broadcast()?);";
        /// Sets whether IPv4 multicasts of this socket come back to this host. At first they do.
        fn set_multicast_loop_v4(multicast_loop_v4: bool) -> () = "socket.set_multicast_loop_v4(false)?;";
        /// Returns whether IPv4 multicasts of this socket come back to this host.
        fn multicast_loop_v4() -> bool = "assert!(socket.multicast_loop_v4()?);";
        /// Sets how many routers an IPv4 multicast may pass. At first 1: it stays in the local network.
        fn set_multicast_ttl_v4(multicast_ttl_v4: u32) -> () = "socket.set_multicast_ttl_v4(2)?;";
        /// Returns how many routers an IPv4 multicast may pass.
        fn multicast_ttl_v4() -> u32 = "assert_eq!(socket.multicast_ttl_v4()?, 1);";
        /// Sets whether IPv6 multicasts of this socket come back to this host. At first they do. The socket has to be one of IPv6.
        fn set_multicast_loop_v6(multicast_loop_v6: bool) -> () = "# let Ok(socket) = green::net::UdpSocket::bind(\"[::1]:0\") else { return Ok(()) };\nsocket.set_multicast_loop_v6(false)?;";
        /// Returns whether IPv6 multicasts of this socket come back to this host. The socket has to be one of IPv6.
        fn multicast_loop_v6() -> bool = "# let Ok(socket) = green::net::UdpSocket::bind(\"[::1]:0\") else { return Ok(()) };\nassert!(socket.multicast_loop_v6()?);";
        /// Sets how many routers a packet may pass (`IP_TTL`).
        fn set_ttl(ttl: u32) -> () = "socket.set_ttl(32)?;";
        /// Returns how many routers a packet may pass.
        fn ttl() -> u32 = "socket.set_ttl(32)?;\nassert_eq!(socket.ttl()?, 32);";
        /// Joins an IPv4 multicast group on the interface with an address; `UNSPECIFIED` leaves the choice to the system.
        fn join_multicast_v4(multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> ()
            = "socket.join_multicast_v4(&Ipv4Addr::new(224, 0, 0, 251), &Ipv4Addr::LOCALHOST)?;";
        /// Joins an IPv6 multicast group on the interface with a number; 0 leaves the choice to the system.
        fn join_multicast_v6(multiaddr: &Ipv6Addr, interface: u32) -> ()
            = "# let Ok(socket) = green::net::UdpSocket::bind(\"[::1]:0\") else { return Ok(()) };\nlet group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);\nif let Err(error) = socket.join_multicast_v6(&group, 0) {\n    println!(\"no multicasts here: {error}\");\n}";
        /// Leaves an IPv4 multicast group, joined with the same addresses.
        fn leave_multicast_v4(multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> ()
            = "let (group, interface) = (Ipv4Addr::new(224, 0, 0, 251), Ipv4Addr::LOCALHOST);\nsocket.join_multicast_v4(&group, &interface)?;\nsocket.leave_multicast_v4(&group, &interface)?;";
        /// Leaves an IPv6 multicast group, joined with the same address and number.
        fn leave_multicast_v6(multiaddr: &Ipv6Addr, interface: u32) -> ()
            = "# let Ok(socket) = green::net::UdpSocket::bind(\"[::1]:0\") else { return Ok(()) };\nlet group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);\nif socket.join_multicast_v6(&group, 0).is_ok() {\n    socket.leave_multicast_v6(&group, 0)?;\n}";
    }
}

/// What std makes of the answer that the socket is shut down, which comes from nowhere.
fn nobody() -> io::Result<(usize, SocketAddr)> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, "invalid argument"))
}
