//! Sockets for async code: what hyper and the `futures` crates want of a stream.
//!
//! Needs the feature `hyper` or `futures-io`.

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::driver::readiness::Direction;
use crate::net::tcp::TcpStream;
use crate::net::unix::UnixStream;

/// A stream under the traits of async code: `hyper::rt::{Read, Write}` with the feature `hyper`,
/// `futures_io::{AsyncRead, AsyncWrite}` with the feature `futures-io`.
///
/// It is to be polled on a green thread, in [`block_on`](crate::block_on), say: the thread's worker looks for its events. On
/// a plain OS thread a call that would have to wait is an error of the kind `Unsupported`. `set_nonblocking` and the
/// stream's time-outs do not concern it.
///
/// The wakers that it is polled with may do what other code may: they are called in a green thread of the worker that looks
/// for the stream's events, not in the worker's own loop. The [guide](crate::guide::http) has a server and a client.
///
/// ```
/// # #[cfg(feature = "futures-io")]
/// green::run(|| {
///     use futures::io::{AsyncReadExt, AsyncWriteExt};
///     use green::net::{Async, TcpListener, TcpStream};
///
///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
///     let mut client = Async::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
///     let mut server = Async::new(listener.accept().unwrap().0);
///     let mut word = [0; 5];
///     green::block_on(async {
///         client.write_all(b"hello").await.unwrap();
///         server.read_exact(&mut word).await.unwrap();
///     });
///     assert_eq!(&word, b"hello");
/// });
/// ```
#[derive(Debug)]
pub struct Async<S>(S);

impl<S> Async<S> {
    /// Puts `stream` under the traits of async code. Nothing is done to it.
    ///
    /// ```
    /// let (stream, _other) = green::os::unix::net::UnixStream::pair()?;
    /// let stream = green::net::Async::new(stream);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(stream: S) -> Self {
        Self(stream)
    }

    /// Returns the stream, for blocking code again.
    ///
    /// ```
    /// # let (stream, _other) = green::os::unix::net::UnixStream::pair()?;
    /// # let stream = green::net::Async::new(stream);
    /// let stream: green::os::unix::net::UnixStream = stream.into_inner();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_inner(self) -> S {
        self.0
    }

    /// Returns a reference to the stream, to ask or set something.
    ///
    /// ```
    /// let listener = green::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = green::net::Async::new(green::net::TcpStream::connect(listener.local_addr()?)?);
    /// stream.get_ref().set_nodelay(true)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get_ref(&self) -> &S {
        &self.0
    }
}

/// What is read at a time: hyper's buffer is not initialised, so the bytes come through one that is.
#[cfg(feature = "hyper")]
const PIECE: usize = 4096;

macro_rules! adapters {
    ($($stream:ty),+) => {$(
        impl Async<$stream> {
            fn read_now(&self, cx: &Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                self.0.socket.poll(cx, Direction::Read, |mut inner| inner.read(buf))
            }

            fn write_now(&self, cx: &Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                self.0.socket.poll(cx, Direction::Write, |mut inner| inner.write(buf))
            }

            fn finish(&self) -> Poll<io::Result<()>> {
                Poll::Ready(match self.0.shutdown(Shutdown::Write) {
                    // The other end was faster.
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
                    result => result,
                })
            }
        }

        #[cfg(feature = "hyper")]
        impl hyper::rt::Read for Async<$stream> {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                mut buf: hyper::rt::ReadBufCursor<'_>,
            ) -> Poll<io::Result<()>> {
                let mut piece = [0; PIECE];
                let len = buf.remaining().min(PIECE);
                let read = std::task::ready!(self.read_now(cx, &mut piece[..len]))?;
                buf.put_slice(&piece[..read]);
                Poll::Ready(Ok(()))
            }
        }

        #[cfg(feature = "hyper")]
        adapters!($stream: hyper::rt::Write, poll_shutdown);

        #[cfg(feature = "futures-io")]
        impl futures_io::AsyncRead for Async<$stream> {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                self.read_now(cx, buf)
            }
        }

        #[cfg(feature = "futures-io")]
        adapters!($stream: futures_io::AsyncWrite, poll_close);
    )+};
    ($stream:ty: $writes:path, $close:ident) => {
        impl $writes for Async<$stream> {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                self.write_now(cx, buf)
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn $close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.finish()
            }
        }
    };
}

adapters!(TcpStream, UnixStream);
