//! Names to addresses, without blocking a worker.

#![forbid(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::{iter, option, slice, vec};

use crate::rt::blocking::look_up;

/// What can be turned into socket addresses: [`std::net::ToSocketAddrs`], with the same implementations, for look-ups that park.
///
/// A text that is an address is parsed on the spot. A name is looked up by the system, on OS threads that are there for that
/// alone, at most 64 in the process; so a silent name server holds up no files. A cancel or a [`timeout`](crate::timeout) does
/// not wait for the answer: it takes effect at once. For a type that implements only std's trait, pass a slice of what
/// that gives.
///
/// ```
/// use green::net::ToSocketAddrs;
/// assert_eq!("127.0.0.1:80".to_socket_addrs().unwrap().next(), Some(([127, 0, 0, 1], 80).into()));
/// assert!("no port".to_socket_addrs().is_err());
/// ```
pub trait ToSocketAddrs {
    /// The iterator that the addresses come in.
    type Iter: Iterator<Item = SocketAddr>;

    /// Returns the addresses, in the order in which they should be tried. May wait; then it is a cancellation point.
    ///
    /// # Errors
    ///
    /// Those of std: `InvalidInput` for a text without a port, or whatever the look-up says.
    ///
    /// ```
    /// use green::net::ToSocketAddrs;
    /// let all: Vec<_> = ("::1", 443).to_socket_addrs()?.collect();
    /// assert_eq!(all, ["[::1]:443".parse().unwrap()]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn to_socket_addrs(&self) -> io::Result<Self::Iter>;
}

impl ToSocketAddrs for SocketAddr {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(Some(*self).into_iter())
    }
}

macro_rules! one_address {
    ($($from:ty),+) => {$(
        impl ToSocketAddrs for $from {
            type Iter = option::IntoIter<SocketAddr>;

            fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
                Ok(Some(SocketAddr::from(*self)).into_iter())
            }
        }
    )+};
}

one_address!(SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl ToSocketAddrs for (&str, u16) {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        match self.0.parse::<IpAddr>() {
            Ok(ip) => Ok(vec![SocketAddr::new(ip, self.1)].into_iter()),
            Err(_) => {
                let (host, port) = (self.0.to_owned(), self.1);
                look_up(move || std::net::ToSocketAddrs::to_socket_addrs(&(&*host, port)))
            }
        }
    }
}

impl ToSocketAddrs for (String, u16) {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (&*self.0, self.1).to_socket_addrs()
    }
}

impl ToSocketAddrs for str {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        match self.parse() {
            Ok(addr) => Ok(vec![addr].into_iter()),
            // An error, without a look-up.
            Err(_) if !has_port(self) => std::net::ToSocketAddrs::to_socket_addrs(self),
            Err(_) => {
                let text = self.to_owned();
                look_up(move || std::net::ToSocketAddrs::to_socket_addrs(&*text))
            }
        }
    }
}

fn has_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

impl ToSocketAddrs for String {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (**self).to_socket_addrs()
    }
}

impl<'a> ToSocketAddrs for &'a [SocketAddr] {
    type Iter = iter::Copied<slice::Iter<'a, SocketAddr>>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(self.iter().copied())
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    type Iter = T::Iter;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (**self).to_socket_addrs()
    }
}

/// Calls `f` with one address after the other until it succeeds; the last one's error.
pub(super) fn each<A: ToSocketAddrs, T>(addrs: A, mut f: impl FnMut(&SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let mut last = None;
    for addr in addrs.to_socket_addrs()? {
        match f(&addr) {
            Ok(value) => return Ok(value),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "could not resolve to any addresses")))
}
