//! The pipes to and from a child. This end is non-blocking; the child's end is an open file of its own, and is not.

use std::io::{self, IoSlice, IoSliceMut, PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::process as inner;

use crate::io::forward::{by_value, descriptor};
use crate::io::socket::Socket;
use crate::io::source::SourceKind;

macro_rules! pipe {
    ($(#[$doc:meta])* $name:ident, $end:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            pipe: Socket<$end>,
        }

        impl $name {
            pub(super) fn new(inner: inner::$name) -> io::Result<Self> {
                Ok(Self { pipe: Socket::fresh(OwnedFd::from(inner).into(), SourceKind::Other)? })
            }
        }

        descriptor!($name: pipe.inner());

        impl From<$name> for OwnedFd {
            /// Gives the descriptor, blocking as it would be in std.
            fn from(ours: $name) -> OwnedFd {
                ours.pipe.into_inner().into()
            }
        }

        impl From<$name> for inner::Stdio {
            /// Makes the pipe another child's standard input or output.
            fn from(ours: $name) -> inner::Stdio {
                ours.pipe.into_inner().into()
            }
        }
    };
}

macro_rules! reads {
    ($name:ident) => {
        impl Read for $name {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.pipe.read(|mut inner| inner.read(buf), || Ok(0))
            }

            fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.pipe.read(|mut inner| inner.read_vectored(bufs), || Ok(0))
            }
        }
    };
}

pipe! {
    /// The pipe to what a child reads: [`std::process::ChildStdin`]. Dropped, it is the end of that.
    ///
    /// A write waits while the pipe is full (64 KiB on Linux), and is `BrokenPipe` when the child has closed its end. A cancellation
    /// point.
    ///
    /// ```
    /// use green::process::{Command, Stdio};
    /// use std::io::Write;
    /// let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    /// cat.stdin.take().expect("it is piped").write_all(b"hello")?; // and dropped
    /// assert_eq!(cat.wait_with_output()?.stdout, b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ChildStdin, PipeWriter
}
pipe! {
    /// The pipe from what a child writes: [`std::process::ChildStdout`].
    ///
    /// A read waits for bytes, and gives 0 when nobody has the other end open any more. A cancellation point.
    ///
    /// ```
    /// use green::process::{Command, Stdio};
    /// use std::io::{BufRead, BufReader};
    /// let mut seq = Command::new("seq").arg("3").stdout(Stdio::piped()).spawn()?;
    /// let lines = BufReader::new(seq.stdout.take().expect("it is piped")).lines();
    /// assert_eq!(lines.collect::<Result<Vec<_>, _>>()?, ["1", "2", "3"]);
    /// seq.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ChildStdout, PipeReader
}
pipe! {
    /// The pipe from what a child writes about errors: [`std::process::ChildStderr`]. It is read as [`ChildStdout`] is.
    ///
    /// ```
    /// use green::process::{Command, Stdio};
    /// use std::io::Read;
    /// let mut child = Command::new("sh").args(["-c", "echo wrong >&2"]).stderr(Stdio::piped()).spawn()?;
    /// let mut text = String::new();
    /// child.stderr.take().expect("it is piped").read_to_string(&mut text)?;
    /// assert_eq!(text, "wrong\n");
    /// child.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ChildStderr, PipeReader
}
reads!(ChildStdout);
reads!(ChildStderr);

impl Write for &ChildStdin {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.pipe.write(|mut inner| inner.write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.pipe.write(|mut inner| inner.write_vectored(bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

by_value!(ChildStdin: Write);
