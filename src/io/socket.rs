//! One of std's sockets, made to park.
//!
//! The kernel's `O_NONBLOCK` is always on; what `set_nonblocking` says is kept here, and what the time-out setters say is
//! kept in the kernel, where nothing reads it, and here. As in std, all these belong to the socket and not to the handle:
//! duplicates made by `try_clone` share them.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};
#[cfg(any(feature = "hyper", feature = "futures-io"))]
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;

use crate::base::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::driver::readiness::Direction;
use crate::io::source::{Patience, Source, SourceKind};
use crate::sys::net::would_block;

/// No time-out.
const NONE: u64 = 0;

#[derive(Debug, Default)]
struct Options {
    nonblocking: AtomicU32,
    read_ns: AtomicU64,
    write_ns: AtomicU64,
}

/// See the module's text. The fields are dropped in this order: nobody waits for a closed descriptor.
#[derive(Debug)]
pub(crate) struct Socket<S> {
    source: Source,
    /// Made when one of them is set, or shared.
    options: OnceLock<Arc<Options>>,
    inner: S,
}

fn nanos(d: Option<Duration>) -> u64 {
    d.map_or(NONE, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

impl<S: AsFd> Socket<S> {
    /// A socket that nobody has set anything on: from `accept`, `connect`, `bind`.
    pub(crate) fn fresh(inner: S, kind: SourceKind) -> io::Result<Self> {
        SockRef::from(&inner).set_nonblocking(true)?;
        Ok(Self::nonblocking(inner, kind))
    }

    /// As [`fresh`](Self::fresh), when `O_NONBLOCK` is on already.
    pub(crate) fn nonblocking(inner: S, kind: SourceKind) -> Self {
        Self { source: Source::new(kind), options: OnceLock::new(), inner }
    }

    /// Somebody else's socket, with what was set on it.
    pub(crate) fn adopt(inner: S, kind: SourceKind) -> Self {
        let socket = SockRef::from(&inner);
        let options = Options::default();
        let set = |place: &AtomicU64, d: io::Result<Option<Duration>>| {
            place.store(nanos(d.ok().flatten()), Ordering::Relaxed);
        };
        set(&options.read_ns, socket.read_timeout());
        set(&options.write_ns, socket.write_timeout());
        options.nonblocking.store(socket.nonblocking().is_ok_and(|on| on).into(), Ordering::Relaxed);
        // It fails for what is no descriptor at all; then every call fails, too.
        let _ = socket.set_nonblocking(true);
        Self { source: Source::new(kind), options: OnceLock::from(Arc::new(options)), inner }
    }

    /// std's socket, as it would be if it had always been that.
    pub(crate) fn into_inner(self) -> S {
        let Self { source, options, inner } = self;
        drop(source);
        let nonblocking = options.get().is_some_and(|options| options.nonblocking.load(Ordering::Relaxed) != 0);
        let _ = SockRef::from(&inner).set_nonblocking(nonblocking);
        inner
    }

    pub(crate) fn duplicate(&self, inner: S) -> Self {
        let options = Arc::clone(self.options());
        let kind = self.source.kind();
        Self { source: Source::new(kind), options: OnceLock::from(options), inner }
    }

    #[inline(always)]
    pub(crate) fn inner(&self) -> &S {
        &self.inner
    }

    fn options(&self) -> &Arc<Options> {
        self.options.get_or_init(Arc::default)
    }

    #[inline]
    pub(crate) fn patience(&self, direction: Direction) -> Patience {
        let Some(options) = self.options.get() else { return Patience::Forever };
        if options.nonblocking.load(Ordering::Relaxed) != 0 {
            return Patience::None;
        }
        let place = match direction {
            Direction::Read => &options.read_ns,
            Direction::Write => &options.write_ns,
        };
        match place.load(Ordering::Relaxed) {
            NONE => Patience::Forever,
            ns => Patience::For(ns),
        }
    }

    pub(crate) fn is_nonblocking(&self) -> bool {
        self.patience(Direction::Read) == Patience::None
    }

    pub(crate) fn set_nonblocking(&self, on: bool) {
        self.options().nonblocking.store(on.into(), Ordering::Relaxed);
    }

    /// After the kernel has accepted `d`, which refuses zero.
    pub(crate) fn set_timeout(&self, direction: Direction, d: Option<Duration>) {
        let options = self.options();
        let place = match direction {
            Direction::Read => &options.read_ns,
            Direction::Write => &options.write_ns,
        };
        place.store(nanos(d), Ordering::Relaxed);
    }

    /// A call that reads (accepts, receives), and waits for that. `at_end`: what a blocking call gives where the reading side
    /// is shut down and a non-blocking one says `WouldBlock` for ever.
    #[inline]
    pub(crate) fn read<R>(
        &self,
        mut f: impl FnMut(&S) -> io::Result<R>,
        at_end: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        let patience = self.patience(Direction::Read);
        self.source.call(self.inner.as_fd(), Direction::Read, patience, || f(&self.inner), |_| false, at_end)
    }

    /// A call that writes (sends, connects), and waits for that.
    #[inline]
    pub(crate) fn write<R>(&self, mut f: impl FnMut(&S) -> io::Result<R>) -> io::Result<R> {
        let patience = self.patience(Direction::Write);
        self.source.call(
            self.inner.as_fd(),
            Direction::Write,
            patience,
            || f(&self.inner),
            |_| false,
            || Err(would_block()),
        )
    }

    /// A call that moves bytes of a stream, up to `wanted`.
    #[inline]
    pub(crate) fn stream(
        &self,
        direction: Direction,
        wanted: usize,
        mut f: impl FnMut(&S) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let patience = self.patience(direction);
        let is_short = |n: &usize| self.source.kind() == SourceKind::Tcp && *n > 0 && *n < wanted;
        // At the end: it may be a socket of another type than its name says.
        self.source.call(self.inner.as_fd(), direction, patience, || f(&self.inner), is_short, || Ok(0))
    }

    /// As [`stream`](Self::stream) for async code, which is woken when the call should be made again.
    #[cfg(any(feature = "hyper", feature = "futures-io"))]
    pub(crate) fn poll(
        &self,
        cx: &Context<'_>,
        direction: Direction,
        mut f: impl FnMut(&S) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.source.poll(cx, self.inner.as_fd(), direction, || f(&self.inner), || Ok(0))
    }

    /// A call that waits as long as `patience` says, whatever is set on the socket.
    pub(crate) fn call<R>(
        &self,
        direction: Direction,
        patience: Patience,
        mut f: impl FnMut(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        self.source.call(self.inner.as_fd(), direction, patience, || f(&self.inner), |_| false, || Err(would_block()))
    }
}
