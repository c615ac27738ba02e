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
/// for the stream's events, not in the worker's own loop.
#[derive(Debug)]
pub struct Async<S>(S);

impl<S> Async<S> {
    /// `stream` for async code.
    pub fn new(stream: S) -> Self {
        Self(stream)
    }

    /// The stream again.
    pub fn into_inner(self) -> S {
        self.0
    }

    /// The stream.
    pub fn get_ref(&self) -> &S {
        &self.0
    }
}

/// What the adapters need of a stream.
trait Stream {
    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;
    fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>>;
    fn close(&self) -> io::Result<()>;
}

macro_rules! stream {
    ($($stream:ty),+) => {$(
        impl Stream for $stream {
            fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                self.socket.poll(cx, Direction::Read, |mut inner| inner.read(buf))
            }

            fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                self.socket.poll(cx, Direction::Write, |mut inner| inner.write(buf))
            }

            fn close(&self) -> io::Result<()> {
                match self.shutdown(Shutdown::Write) {
                    // The other end was faster.
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
                    result => result,
                }
            }
        }
    )+};
}

stream!(TcpStream, UnixStream);

#[cfg(feature = "hyper")]
mod for_hyper {
    use std::task::ready;

    use super::*;

    /// What is read at a time: hyper's buffer is not initialised, so the bytes come through one that is.
    const PIECE: usize = 4096;

    macro_rules! hyper {
        ($($stream:ty),+) => {$(
            impl hyper::rt::Read for Async<$stream> {
                fn poll_read(
                    self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    mut buf: hyper::rt::ReadBufCursor<'_>,
                ) -> Poll<io::Result<()>> {
                    let mut piece = [0; PIECE];
                    let len = buf.remaining().min(PIECE);
                    let read = ready!(self.0.poll_read(cx, &mut piece[..len]))?;
                    buf.put_slice(&piece[..read]);
                    Poll::Ready(Ok(()))
                }
            }

            impl hyper::rt::Write for Async<$stream> {
                fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                    self.0.poll_write(cx, buf)
                }

                fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                    Poll::Ready(Ok(()))
                }

                fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                    Poll::Ready(self.0.close())
                }
            }
        )+};
    }

    hyper!(TcpStream, UnixStream);
}

#[cfg(feature = "futures-io")]
mod for_futures {
    use super::*;

    macro_rules! futures {
        ($($stream:ty),+) => {$(
            impl futures_io::AsyncRead for Async<$stream> {
                fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                    self.0.poll_read(cx, buf)
                }
            }

            impl futures_io::AsyncWrite for Async<$stream> {
                fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                    self.0.poll_write(cx, buf)
                }

                fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                    Poll::Ready(Ok(()))
                }

                fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                    Poll::Ready(self.0.close())
                }
            }
        )+};
    }

    futures!(TcpStream, UnixStream);
}
