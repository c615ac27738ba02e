//! Descriptors that park: any descriptor may be waited for here, whatever code made it.
//!
//! Sockets are in [`green::net`](crate::net), files in [`green::fs`](crate::fs), pipes of children in
//! [`green::process`](crate::process), and need none of this. These functions are for what other code has made: a C library's
//! socket, an eventfd, the pipe of a signal handler.
//!
//! ```
//! use std::io::Read;
//! use std::os::unix::net::UnixStream;
//!
//! /// Reads by std, but parks.
//! fn read(stream: &mut UnixStream, buf: &mut [u8]) -> std::io::Result<usize> {
//!     green::io::wait_readable(&*stream)?;
//!     stream.read(buf)
//! }
//! # use std::io::Write;
//! # let (mut a, mut b) = UnixStream::pair().unwrap();
//! # let reads = green::spawn(move || read(&mut a, &mut [0; 8]));
//! # b.write_all(b"hello").unwrap();
//! # assert_eq!(reads.join().unwrap().unwrap(), 5);
//! ```
//!
//! A green thread parks, and its worker's poller looks for the event; a plain OS thread calls `poll(2)`. All of them are
//! cancellation points, and change nothing of the descriptor, so a cancel loses nothing. That a descriptor is ready says
//! something of the moment only: where several threads read, make it non-blocking, and wait again after `WouldBlock`.

// Floor 9. What owns a descriptor and reads from it or writes to it does so through `source`; sockets through `socket`.
pub(crate) mod forward;
pub(crate) mod socket;
pub(crate) mod source;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::driver::readiness::Direction;
use crate::io::source::{Patience, Source, SourceKind, wait_on_os_thread};
use crate::park::checkpoint;
use crate::park::current::WorkerContext;
use crate::sys::clock::NEVER;
use crate::sys::poll;

/// Waits until `fd` can be read from without blocking, or has an end or an error to tell of.
///
/// It is for sockets, pipes, eventfds, timerfds and whatever else other code has made. Returns at once if it can be read from
/// already; a regular file always can. The descriptor need not be non-blocking. Several threads may wait for one descriptor;
/// all are woken, so one of them may find that another was faster. Keeps a duplicate of the descriptor while it waits. A
/// cancellation point.
///
/// # Errors
///
/// `EBADF` when `fd` is no open descriptor, `EPERM` for a kind that cannot be waited for; a limit on descriptors.
///
/// ```
/// use std::io::{Read, Write};
/// let (mut reader, mut writer) = std::io::pipe().unwrap();
/// green::run(|| {
///     let reads = green::spawn(move || {
///         green::io::wait_readable(&reader).unwrap();
///         let mut byte = [0];
///         reader.read_exact(&mut byte).unwrap();
///         byte[0]
///     });
///     writer.write_all(&[7]).unwrap();
///     assert_eq!(reads.join().unwrap(), 7);
/// });
/// ```
pub fn wait_readable(fd: impl AsFd) -> io::Result<()> {
    wait(fd.as_fd(), Direction::Read, Patience::Forever)
}

/// Waits until `fd` can be written to without blocking, or has an error to tell of. Otherwise as [`wait_readable`].
///
/// How much can be written without blocking the system does not say; a pipe takes at least 512 bytes (4096 on Linux).
///
/// # Errors
///
/// As [`wait_readable`].
///
/// ```
/// use std::io::Write;
/// let (_reader, mut writer) = std::io::pipe()?;
/// green::io::wait_writable(&writer)?;
/// writer.write_all(b"a few bytes")?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn wait_writable(fd: impl AsFd) -> io::Result<()> {
    wait(fd.as_fd(), Direction::Write, Patience::Forever)
}

/// Waits as [`wait_readable`] does, for at most `d`. With a `d` of zero it only looks.
///
/// # Errors
///
/// `TimedOut` when `d` is over; those of [`wait_readable`].
///
/// ```
/// use std::time::Duration;
/// let (reader, writer) = std::io::pipe()?;
/// let late = green::io::wait_readable_timeout(&reader, Duration::from_millis(1)).unwrap_err();
/// assert_eq!(late.kind(), std::io::ErrorKind::TimedOut);
/// drop(writer); // the end of it is something to tell of
/// green::io::wait_readable_timeout(&reader, Duration::from_millis(1))?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn wait_readable_timeout(fd: impl AsFd, d: Duration) -> io::Result<()> {
    wait(fd.as_fd(), Direction::Read, for_at_most(d))
}

/// Waits as [`wait_writable`] does, for at most `d`. With a `d` of zero it only looks.
///
/// # Errors
///
/// `TimedOut` when `d` is over; those of [`wait_readable`].
///
/// ```
/// use std::time::Duration;
/// let (_reader, writer) = std::io::pipe()?;
/// green::io::wait_writable_timeout(&writer, Duration::ZERO)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn wait_writable_timeout(fd: impl AsFd, d: Duration) -> io::Result<()> {
    wait(fd.as_fd(), Direction::Write, for_at_most(d))
}

fn for_at_most(d: Duration) -> Patience {
    if d.is_zero() { Patience::None } else { u64::try_from(d.as_nanos()).map_or(Patience::Forever, Patience::For) }
}

fn wait(fd: BorrowedFd<'_>, direction: Direction, patience: Patience) -> io::Result<()> {
    checkpoint();
    let look = || -> io::Result<()> {
        match poll::wait_for(fd, direction == Direction::Write, 0)? {
            true => Ok(()),
            false => Err(io::ErrorKind::WouldBlock.into()),
        }
    };
    let result = match look() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && patience != Patience::None => {
            if WorkerContext::get().is_some() {
                // A poller knows a descriptor once; this one may be a socket of ours, or somebody else waits for it.
                let own = fd.try_clone_to_owned()?;
                let source = Source::new(SourceKind::Other);
                source.call(own.as_fd(), direction, patience, look, |()| false, || Ok(()))
            } else {
                let deadline_ns = match patience {
                    Patience::For(ns) => crate::sys::clock::now_ns().saturating_add(ns),
                    _ => NEVER,
                };
                wait_on_os_thread(fd, direction, deadline_ns)
                    .and_then(|ready| if ready { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) })
            }
        }
        result => result,
    };
    result.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "the descriptor was not ready in time"),
        _ => error,
    })
}
