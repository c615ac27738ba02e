//! UDP.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::driver::readiness::Direction;
use crate::io::socket::Socket;
use crate::io::source::Kind;
use crate::net::addr::{self, ToSocketAddrs};
use crate::net::shared::{common_methods, debug_as_inner, timeout_methods};

/// A UDP socket: [`std::net::UdpSocket`] whose calls park.
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

/// Methods that ask or set something and never wait.
macro_rules! settings {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty;)+) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        ///
        /// When the system refuses.
        pub fn $name(&self $(, $arg: $type)*) -> io::Result<$result> {
            self.socket.inner().$name($($arg),*)
        }
    )+};
}

impl UdpSocket {
    /// A socket at the first of the addresses that can be had. Waits only to look a name up.
    ///
    /// # Errors
    ///
    /// The last address's; `InvalidInput` if there is none; those of the look-up.
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<UdpSocket> {
        addr::each(addr, |addr| Ok(UdpSocket { socket: Socket::fresh(net::UdpSocket::bind(addr)?, Kind::Other)? }))
    }

    /// Another handle to the same socket: a duplicate of the descriptor, with the same settings.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    pub fn try_clone(&self) -> io::Result<UdpSocket> {
        Ok(UdpSocket { socket: self.socket.duplicate(self.socket.inner().try_clone()?) })
    }

    /// Sends to, and receives from, the first of the addresses that can be had, from now on. Waits only to look a name up.
    ///
    /// # Errors
    ///
    /// The last address's; `InvalidInput` if there is none; those of the look-up.
    pub fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        addr::each(addr, |addr| self.socket.inner().connect(addr))
    }

    /// The next datagram, cut off at `buf`'s length, and where it comes from. Waits; a cancellation point.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the time-out is over; those of the system.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.read(|inner| inner.recv_from(buf), nobody)
    }

    /// As [`recv_from`](Self::recv_from), but leaves the datagram to be received again.
    ///
    /// # Errors
    ///
    /// As [`recv_from`](Self::recv_from).
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.read(|inner| inner.peek_from(buf), nobody)
    }

    /// Sends a datagram to the first address that `addr` gives. Waits when the buffer is full, or to look a name up; a
    /// cancellation point.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when `addr` gives none; `WouldBlock` when the time-out is over; those of the system.
    pub fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], addr: A) -> io::Result<usize> {
        let Some(addr) = addr.to_socket_addrs()?.next() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no addresses to send data to"));
        };
        self.socket.write(|inner| inner.send_to(buf, addr))
    }

    /// The next datagram from the address that the socket is connected to, cut off at `buf`'s length. Waits; a cancellation
    /// point.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the time-out is over; those of the system.
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(|inner| inner.recv(buf), || Ok(0))
    }

    /// As [`recv`](Self::recv), but leaves the datagram to be received again.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(|inner| inner.peek(buf), || Ok(0))
    }

    /// Sends a datagram to the address that the socket is connected to. Waits when the buffer is full; a cancellation point.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the time-out is over; those of the system.
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.write(|inner| inner.send(buf))
    }

    timeout_methods!();
    common_methods!();

    settings! {
        /// The address that the socket is connected to.
        fn peer_addr() -> SocketAddr;
        /// This end's address.
        fn local_addr() -> SocketAddr;
        /// May it send to broadcast addresses?
        fn set_broadcast(broadcast: bool) -> ();
        /// May it send to broadcast addresses?
        fn broadcast() -> bool;
        /// Do IPv4 multicasts come back to this host?
        fn set_multicast_loop_v4(multicast_loop_v4: bool) -> ();
        /// Do IPv4 multicasts come back to this host?
        fn multicast_loop_v4() -> bool;
        /// The time to live of IPv4 multicasts.
        fn set_multicast_ttl_v4(multicast_ttl_v4: u32) -> ();
        /// The time to live of IPv4 multicasts.
        fn multicast_ttl_v4() -> u32;
        /// Do IPv6 multicasts come back to this host?
        fn set_multicast_loop_v6(multicast_loop_v6: bool) -> ();
        /// Do IPv6 multicasts come back to this host?
        fn multicast_loop_v6() -> bool;
        /// The packets' time to live.
        fn set_ttl(ttl: u32) -> ();
        /// The packets' time to live.
        fn ttl() -> u32;
        /// Joins an IPv4 multicast group on the interface with that address.
        fn join_multicast_v4(multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> ();
        /// Joins an IPv6 multicast group on the interface with that number.
        fn join_multicast_v6(multiaddr: &Ipv6Addr, interface: u32) -> ();
        /// Leaves an IPv4 multicast group.
        fn leave_multicast_v4(multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> ();
        /// Leaves an IPv6 multicast group.
        fn leave_multicast_v6(multiaddr: &Ipv6Addr, interface: u32) -> ();
    }
}

/// What std makes of the answer that the socket is shut down, which comes from nowhere.
fn nobody() -> io::Result<(usize, SocketAddr)> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, "invalid argument"))
}

debug_as_inner!(UdpSocket);
