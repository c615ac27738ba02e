//! Open files.

use std::fmt;
use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::SystemTime;

use super::options::OpenOptions;
use super::waits::{self, Does, when_ready};
use crate::rt::blocking::blocking;
use crate::sys::fifo::PIPE_BUF;

/// An open file: [`std::fs::File`], whose calls wait for the [`blocking`](crate::blocking) pool.
///
/// A FIFO or a terminal is waited for as a socket is, and holds no thread of the pool meanwhile; there a cancel or a
/// [`timeout`](crate::timeout) ends the wait. Dropped, it is closed where it is; closing a file of a network file system may take long.
///
/// ```
/// use std::io::{Read, Seek, Write};
/// let path = std::env::temp_dir().join(format!("green-doc-{}", std::process::id()));
/// green::run(|| {
///     let mut file = green::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
///     file.write_all(b"hello").unwrap();
///     file.rewind().unwrap();
///     let mut text = String::new();
///     file.read_to_string(&mut text).unwrap();
///     assert_eq!(text, "hello");
///     green::fs::remove_file(&path).unwrap();
/// });
/// ```
pub struct File {
    pub(super) inner: fs::File,
    /// Do its reads and writes wait for somebody? Unknown until it is asked.
    pub(super) may_wait: OnceLock<bool>,
}

/// Methods of std's `File` that ask or change something.
macro_rules! methods {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty;)+) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        ///
        #[doc = concat!("Those of [`std::fs::File::", stringify!($name), "`].")]
        pub fn $name(&self $(, $arg: $type)*) -> io::Result<$result> {
            blocking(|| self.inner.$name($($arg),*))
        }
    )+};
}

impl File {
    /// Opens a file to read it.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::open`].
    pub fn open<P: AsRef<Path>>(path: P) -> io::Result<File> {
        OpenOptions::new().read(true).open(path)
    }

    /// Makes a file, or an empty one of what was there, to write it.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::create`].
    pub fn create<P: AsRef<Path>>(path: P) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(true).open(path)
    }

    /// Makes a file, which must not be there, to read and write it.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::create_new`].
    pub fn create_new<P: AsRef<Path>>(path: P) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    /// How a file is to be opened.
    #[must_use]
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    methods! {
        /// Waits until bytes and metadata are on the device.
        fn sync_all() -> ();
        /// Waits until the bytes are on the device.
        fn sync_data() -> ();
        /// Cuts the file off, or extends it by zeros.
        fn set_len(size: u64) -> ();
        /// What the system knows about the file.
        fn metadata() -> fs::Metadata;
        /// Changes who may do what.
        fn set_permissions(perm: fs::Permissions) -> ();
        /// Changes the file's times.
        fn set_times(times: fs::FileTimes) -> ();
        /// Changes the time of the last change.
        fn set_modified(time: SystemTime) -> ();
    }

    /// Waits until nobody else has the file locked, and locks it. A cancellation point.
    ///
    /// On a green thread, and inside a [`timeout`](crate::timeout), it tries again and again, with pauses that grow up to 50 ms, since
    /// no event tells that a lock is free. So it comes in no order, and a lock that is hardly ever free may be long in coming.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::lock`].
    pub fn lock(&self) -> io::Result<()> {
        waits::lock(&self.inner, fs::File::lock, fs::File::try_lock)
    }

    /// Waits until nobody has the file locked for himself alone, and locks it together with others. Otherwise as
    /// [`lock`](Self::lock).
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::lock_shared`].
    pub fn lock_shared(&self) -> io::Result<()> {
        waits::lock(&self.inner, fs::File::lock_shared, fs::File::try_lock_shared)
    }

    /// Locks the file if nobody else has. Never waits.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if somebody has; those of [`std::fs::File::try_lock`].
    pub fn try_lock(&self) -> Result<(), fs::TryLockError> {
        self.inner.try_lock()
    }

    /// Locks the file together with others if nobody has it for himself alone. Never waits.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if somebody has; those of [`std::fs::File::try_lock_shared`].
    pub fn try_lock_shared(&self) -> Result<(), fs::TryLockError> {
        self.inner.try_lock_shared()
    }

    /// Gives the lock back. Never waits.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::unlock`].
    pub fn unlock(&self) -> io::Result<()> {
        self.inner.unlock()
    }

    /// Another handle to the same open file, with the same position.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    pub fn try_clone(&self) -> io::Result<File> {
        Ok(File { inner: self.inner.try_clone()?, may_wait: self.may_wait.clone() })
    }

    /// Do its reads and writes wait for somebody?
    fn may_wait(&self) -> io::Result<bool> {
        if let Some(known) = self.may_wait.get() {
            return Ok(*known);
        }
        let found = blocking(|| self.inner.metadata().map(|metadata| waits::may_wait(&metadata)))?;
        Ok(*self.may_wait.get_or_init(|| found))
    }
}

/// A file that keeps its users waiting, piece by piece: what std does for the whole in one call, which would wait in its middle.
struct Pieces<'a>(&'a fs::File);

impl Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        when_ready(self.0, Does::Reads, |mut file| file.read(buf))
    }
}

impl Write for Pieces<'_> {
    /// Where there is room, there is for so many bytes.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let piece = &buf[..buf.len().min(PIPE_BUF)];
        when_ready(self.0, Does::Writes, |mut file| file.write(piece))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes a call in pieces if it may wait for somebody, else on the pool.
macro_rules! each_way {
    ($file:expr, $name:ident($arg:expr)) => {
        if $file.may_wait()? { Pieces(&$file.inner).$name($arg) } else { blocking(|| (&$file.inner).$name($arg)) }
    };
}

impl Read for &File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        each_way!(self, read(buf))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        each_way!(self, read_vectored(bufs))
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        each_way!(self, read_to_end(buf))
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        each_way!(self, read_to_string(buf))
    }
}

impl Write for &File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        each_way!(self, write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        each_way!(self, write_vectored(bufs))
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        each_way!(self, write_all(buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for &File {
    /// Does not wait: the position is only noted.
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        (&self.inner).seek(pos)
    }
}

impl Read for File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        (&*self).read_to_end(buf)
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        (&*self).read_to_string(buf)
    }
}

impl Write for File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        (&*self).write_all(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        (&*self).seek(pos)
    }
}

impl FileExt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        blocking(|| self.inner.read_at(buf, offset))
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        blocking(|| self.inner.read_exact_at(buf, offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        blocking(|| self.inner.write_at(buf, offset))
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        blocking(|| self.inner.write_all_at(buf, offset))
    }
}

impl From<fs::File> for File {
    fn from(inner: fs::File) -> File {
        File { inner, may_wait: OnceLock::new() }
    }
}

impl From<File> for fs::File {
    fn from(file: File) -> fs::File {
        file.inner
    }
}

impl From<OwnedFd> for File {
    fn from(fd: OwnedFd) -> File {
        fs::File::from(fd).into()
    }
}

impl From<File> for OwnedFd {
    fn from(file: File) -> OwnedFd {
        file.inner.into()
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

impl IntoRawFd for File {
    fn into_raw_fd(self) -> RawFd {
        self.inner.into_raw_fd()
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
