//! What all sockets have in common, as methods.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use crate::io::socket::Socket;
use crate::io::source::SourceKind;
use crate::sys::net::{is_exhausted, not_listening};
use crate::time::sleep;

/// The end of an example of a socket's method.
macro_rules! end_of_example {
    () => {
        "\n# Ok::<(), std::io::Error>(())\n```"
    };
}

/// `take_error` and `set_nonblocking`. For the examples: a statement that makes a `socket`, and a call of it that would wait.
macro_rules! common_methods {
    ($socket:literal, $waits:literal) => {
        /// Takes the error that is pending on the socket, if there is one: `SO_ERROR`, which is cleared by that.
        ///
        /// An error is pending when something has failed while no call was under way. Never waits.
        ///
        /// # Errors
        ///
        /// When the system refuses to say.
        ///
        #[doc = concat!("```\n", $socket, "\nassert!(socket.take_error()?.is_none());", end_of_example!())]
        pub fn take_error(&self) -> io::Result<Option<io::Error>> {
            self.socket.inner().take_error()
        }

        /// Sets whether a call that would wait is an error of the kind `WouldBlock` instead.
        ///
        /// With `false`, as at the beginning, such a call waits. The setting is the socket's, so its clones share it. (The
        /// system's own flag is always on here, and says nothing.) Never waits.
        ///
        /// # Errors
        ///
        /// None; the `Result` is there because std's method has one.
        ///
        #[doc = concat!("```\n", $socket, "\nsocket.set_nonblocking(true)?;\nlet error = ", $waits,
                    ".unwrap_err();\nassert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);", end_of_example!())]
        pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
            self.socket.set_nonblocking(nonblocking);
            Ok(())
        }
    };
}

/// The time-outs of sockets that read and write. For the examples, see [`common_methods`].
macro_rules! timeout_methods {
    ($socket:literal, $waits:literal) => {
        /// Sets how long a call that reads may wait; then it is an error of the kind `WouldBlock`. `None` means for ever.
        ///
        /// std has the same kind on Unix. The time-out is one call's: a peer that sends a byte now and then keeps a loop of reads
        /// going. For a limit of the whole take [`green::timeout`](crate::timeout). The setting is the socket's, so its
        /// clones share it; a call that waits already keeps the limit that it has begun with.
        ///
        /// # Errors
        ///
        /// `InvalidInput` for a time-out of zero.
        ///
        #[doc = concat!("```\n# use std::time::Duration;\n", $socket,
            "\nsocket.set_read_timeout(Some(Duration::from_millis(1)))?;\nlet error = ", $waits,
            ".unwrap_err();\nassert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);", end_of_example!())]
        pub fn set_read_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
            self.socket.inner().set_read_timeout(dur)?;
            self.socket.set_timeout(Direction::Read, dur);
            Ok(())
        }

        /// Sets how long a call that writes may wait; then it is an error of the kind `WouldBlock`. `None` means for ever.
        ///
        /// A write waits while the system's buffer is full, because the other side does not read. Otherwise as
        /// [`set_read_timeout`](Self::set_read_timeout).
        ///
        /// # Errors
        ///
        /// `InvalidInput` for a time-out of zero.
        ///
        #[doc = concat!("```\n# use std::time::Duration;\n", $socket,
            "\nsocket.set_write_timeout(Some(Duration::from_secs(5)))?;\nlet zero = socket.set_write_timeout(Some(Duration::ZERO));\nassert_eq!(zero.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);",
            end_of_example!())]
        pub fn set_write_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
            self.socket.inner().set_write_timeout(dur)?;
            self.socket.set_timeout(Direction::Write, dur);
            Ok(())
        }

        /// Returns the time-out that [`set_read_timeout`](Self::set_read_timeout) has set, rounded up to the system's tick.
        ///
        /// # Errors
        ///
        /// When the system refuses to say.
        ///
        #[doc = concat!("```\n# use std::time::Duration;\n", $socket,
            "\nassert_eq!(socket.read_timeout()?, None);\nsocket.set_read_timeout(Some(Duration::from_secs(5)))?;\nassert_eq!(socket.read_timeout()?, Some(Duration::from_secs(5)));",
            end_of_example!())]
        pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
            self.socket.inner().read_timeout()
        }

        /// Returns the time-out that [`set_write_timeout`](Self::set_write_timeout) has set, rounded up to the system's tick.
        ///
        /// # Errors
        ///
        /// When the system refuses to say.
        ///
        #[doc = concat!("```\n# use std::time::Duration;\n", $socket,
            "\nsocket.set_write_timeout(Some(Duration::from_secs(5)))?;\nassert_eq!(socket.write_timeout()?, Some(Duration::from_secs(5)));",
            end_of_example!())]
        pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
            self.socket.inner().write_timeout()
        }
    };
}

/// Methods that ask or set something and never wait. Where an example is given, which begins with a `socket` for UDP, the rest
/// of the documentation comes with it.
macro_rules! settings {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty $(= $example:literal)?;)+) => {$(
        $(#[$doc])*
        $(#[doc = concat!("\n# Errors\n\nWhen the system refuses.\n\n```\n# use std::net::{Ipv4Addr, Ipv6Addr};\n# let socket = green::net::UdpSocket::bind(\"127.0.0.1:0\")?;\n", $example, end_of_example!())])?
        pub fn $name(&self $(, $arg: $type)*) -> io::Result<$result> {
            self.socket.inner().$name($($arg),*)
        }
    )+};
}

/// `Read` and `Write` of a stream and of a reference to it.
macro_rules! read_and_write {
    ($stream:ty) => {
        by_value!($stream: Read);
        by_value!($stream: Write);

        impl Read for &$stream {
            /// Reads bytes that have come, at least one; waits until there is one. `Ok(0)`: the other side has finished, or this
            /// one's reading half is shut down, or `buf` is empty.
            ///
            /// A cancellation point; a cancel or a time-out takes effect while it waits, so no byte that was read is lost. Errors:
            /// `WouldBlock` after the read time-out, `ConnectionReset` and what else the system says.
            #[inline]
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.socket.stream(Direction::Read, buf.len(), |mut inner| inner.read(buf))
            }

            fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                let wanted = bufs.iter().map(|buf| buf.len()).sum();
                self.socket.stream(Direction::Read, wanted, |mut inner| inner.read_vectored(bufs))
            }
        }

        impl Write for &$stream {
            /// Hands bytes to the system, at least one of them; waits while the system has no room for any. How many were
            /// taken is the result; `write_all` goes on with the rest. That they are taken does not say that they arrive.
            ///
            /// A cancellation point; a cancel or a time-out takes effect while nothing has been taken. Errors: `WouldBlock`
            /// after the write time-out; `BrokenPipe` when the connection or its writing half is closed; no signal comes.
            #[inline]
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.socket.stream(Direction::Write, buf.len(), |mut inner| inner.write(buf))
            }

            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                let wanted = bufs.iter().map(|buf| buf.len()).sum();
                self.socket.stream(Direction::Write, wanted, |mut inner| inner.write_vectored(bufs))
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
    };
}

/// Accepts a connection. If there are no descriptors, a loop that ignores the error shall not spin.
pub(super) fn accept<L: AsFd, S: AsFd, A>(
    listener: &Socket<L>,
    accept: impl FnMut(&L) -> io::Result<(S, A)>,
    kind: SourceKind,
) -> io::Result<(Socket<S>, A)> {
    let accepted = listener.read(accept, || Err(not_listening()));
    let accepted = accepted.and_then(|(stream, addr)| Ok((Socket::fresh(stream, kind)?, addr)));
    if accepted.as_ref().is_err_and(is_exhausted) && !listener.is_nonblocking() {
        sleep(REST);
    }
    accepted
}

/// How long `accept` rests when there are no descriptors.
const REST: Duration = Duration::from_millis(10);

pub(super) use {common_methods, end_of_example, read_and_write, settings, timeout_methods};
