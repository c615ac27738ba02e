//! Sockets that park: [`std::net`], with the same names, signatures, error kinds and meanings.
//!
//! ```
//! use std::io::{Read, Write};
//! use green::net::{TcpListener, TcpStream};
//!
//! green::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
//!     let addr = listener.local_addr().unwrap();
//!     let server = green::spawn(move || {
//!         let (mut stream, _) = listener.accept().unwrap();
//!         let mut word = [0; 5];
//!         stream.read_exact(&mut word).unwrap();
//!         stream.write_all(&word).unwrap();
//!     });
//!     let mut stream = TcpStream::connect(addr).unwrap();
//!     stream.write_all(b"hello").unwrap();
//!     let mut back = String::new();
//!     stream.read_to_string(&mut back).unwrap();
//!     assert_eq!(back, "hello");
//!     server.join().unwrap();
//! });
//! ```
//!
//! A whole server that stops in good order, TLS, and HTTP by hyper are pages of the [guide](crate::guide). Unix sockets are in
//! [`green::os::unix::net`](crate::os::unix::net); any other descriptor can be waited for by [`green::io`](crate::io).
//!
//! # How it blocks
//!
//! A call that would block lets other green threads run; on a plain OS thread it blocks that thread. A socket may be used
//! by several threads at one time, on any workers: one reads, another writes, through `&TcpStream` or
//! [`try_clone`](TcpStream::try_clone). A thread that waits costs no OS thread, only its stack.
//!
//! # What a cancel does
//!
//! Every call that may wait is a cancellation point. A [`cancel`](crate::thread::JoinHandle::cancel) or a
//! [`timeout`](crate::timeout) takes effect while the call waits, so bytes that were received or sent, a connection, a
//! datagram are never lost by it. A composed call, such as `write_all`, may have done a part.
//!
//! # What differs from std
//!
//! * [`ToSocketAddrs`] is a trait of its own, so that looking a name up parks; it has the same implementations.
//! * `accept` rests for ten milliseconds before it gives the error that there are no more descriptors, so that a loop
//!   which ignores errors does not spin.
//! * A TCP listener's queue holds 4096 connections instead of 128.
//! * Below, the descriptor is always non-blocking, which duplicates that `as_fd` allows to be made see. Converted to std's
//!   type it is as its user has set it.
//!
//! For async code there is `Async`, with the features `hyper` and `futures-io`.

// Floor 11: name resolution needs `rt::blocking`, which is on floor 10.
#[cfg(any(feature = "hyper", feature = "futures-io"))]
mod adapters;
mod addr;
mod convert;
mod shared;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;
pub(crate) mod unix;

#[cfg(any(feature = "hyper", feature = "futures-io"))]
pub use adapters::Async;
pub use addr::ToSocketAddrs;
pub use std::net::{AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6};
pub use tcp::{Incoming, IntoIncoming, TcpListener, TcpStream};
pub use udp::UdpSocket;
