//! What all sockets have in common, as methods.

/// `take_error` and `set_nonblocking`.
macro_rules! common_methods {
    () => {
        /// Takes the error that is pending on the socket, if there is one. Never waits.
        ///
        /// # Errors
        ///
        /// When the system refuses to say.
        pub fn take_error(&self) -> io::Result<Option<io::Error>> {
            self.socket.inner().take_error()
        }

        /// From now on a call that would wait is an error of the kind `WouldBlock` instead, or (`false`) waits again. This
        /// holds for the socket, so for its clones too. Never waits.
        ///
        /// # Errors
        ///
        /// None; it is a `Result` as in std.
        pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
            self.socket.set_nonblocking(nonblocking);
            Ok(())
        }
    };
}

/// The time-outs of sockets that read and write.
macro_rules! timeout_methods {
    () => {
        /// How long a read may wait: then it is an error of the kind `WouldBlock`, as std gives on Unix. `None`: for ever.
        /// This holds for the socket, so for its clones too.
        ///
        /// # Errors
        ///
        /// `InvalidInput` for a time-out of zero.
        pub fn set_read_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
            self.socket.inner().set_read_timeout(dur)?;
            self.socket.set_timeout(Direction::Read, dur);
            Ok(())
        }

        /// How long a write may wait, as for [`set_read_timeout`](Self::set_read_timeout).
        ///
        /// # Errors
        ///
        /// `InvalidInput` for a time-out of zero.
        pub fn set_write_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
            self.socket.inner().set_write_timeout(dur)?;
            self.socket.set_timeout(Direction::Write, dur);
            Ok(())
        }

        /// What [`set_read_timeout`](Self::set_read_timeout) has set, as the system keeps it: rounded up to its tick.
        ///
        /// # Errors
        ///
        /// When the system refuses to say.
        pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
            self.socket.inner().read_timeout()
        }

        /// What [`set_write_timeout`](Self::set_write_timeout) has set, as the system keeps it: rounded up to its tick.
        ///
        /// # Errors
        ///
        /// When the system refuses to say.
        pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
            self.socket.inner().write_timeout()
        }
    };
}

/// `Read` and `Write` of a stream and of a reference to it.
macro_rules! read_and_write {
    ($stream:ty) => {
        impl Read for $stream {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                (&*self).read(buf)
            }

            fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                (&*self).read_vectored(bufs)
            }
        }

        impl Read for &$stream {
            #[inline]
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.socket.stream(Direction::Read, buf.len(), |mut inner| inner.read(buf))
            }

            fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                let wanted = bufs.iter().map(|buf| buf.len()).sum();
                self.socket.stream(Direction::Read, wanted, |mut inner| inner.read_vectored(bufs))
            }
        }

        impl Write for $stream {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                (&*self).write(buf)
            }

            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                (&*self).write_vectored(bufs)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        impl Write for &$stream {
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

/// `Debug` by std's type, under our own name's shape.
macro_rules! debug_as_inner {
    ($socket:ty) => {
        impl fmt::Debug for $socket {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.socket.inner().fmt(f)
            }
        }
    };
}

/// After an `accept` that succeeded: what the running thread spawns next, before it waits, may start on another worker.
pub(super) fn accepted() {
    if let Some(here) = crate::park::current::WorkerContext::get() {
        here.set_accepted();
    }
}

/// After `accept` has failed: if there are no descriptors, a loop that ignores the error shall not spin.
pub(super) fn rest_if_exhausted(error: &std::io::Error, nonblocking: bool) {
    if !nonblocking && crate::sys::net::is_exhausted(error) {
        crate::time::sleep(REST);
    }
}

/// How long `accept` rests when there are no descriptors.
const REST: std::time::Duration = std::time::Duration::from_millis(10);

pub(super) use {common_methods, debug_as_inner, read_and_write, timeout_methods};
