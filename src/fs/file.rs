//! Open files.

use std::fmt;
use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::SystemTime;

use crate::rt::blocking::blocking;

/// An open file: [`std::fs::File`], whose calls wait for the [`blocking`](crate::blocking) pool.
///
/// Dropped, it is closed where it is; closing a file of a network file system may take long.
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
    inner: fs::File,
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
        /// Waits until nobody else has the file locked, and locks it. Takes a thread of the pool for so long, and is not
        /// ended by a cancel once it has one.
        fn lock() -> ();
        /// Waits until nobody has the file locked for himself alone, and locks it together with others. Otherwise as
        /// [`lock`](Self::lock).
        fn lock_shared() -> ();
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
        Ok(File { inner: self.inner.try_clone()? })
    }
}

impl Read for &File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        blocking(|| (&self.inner).read(buf))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        blocking(|| (&self.inner).read_vectored(bufs))
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        blocking(|| (&self.inner).read_to_end(buf))
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        blocking(|| (&self.inner).read_to_string(buf))
    }
}

impl Write for &File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        blocking(|| (&self.inner).write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        blocking(|| (&self.inner).write_vectored(bufs))
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        blocking(|| (&self.inner).write_all(buf))
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
        File { inner }
    }
}

impl From<File> for fs::File {
    fn from(file: File) -> fs::File {
        file.inner
    }
}

impl From<OwnedFd> for File {
    fn from(fd: OwnedFd) -> File {
        File { inner: fd.into() }
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

/// How a file is to be opened: [`std::fs::OpenOptions`].
#[derive(Clone, Debug)]
pub struct OpenOptions {
    inner: fs::OpenOptions,
}

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident,)+) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, $name: bool) -> &mut Self {
            self.inner.$name($name);
            self
        }
    )+};
}

impl OpenOptions {
    /// Nothing is allowed yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "std has none either")]
    pub fn new() -> Self {
        Self { inner: fs::OpenOptions::new() }
    }

    options! {
        /// It may be read.
        read,
        /// It may be written.
        write,
        /// Each write goes to the end.
        append,
        /// It is emptied first.
        truncate,
        /// It is made if it is not there.
        create,
        /// It is made, and must not be there.
        create_new,
    }

    /// The permissions of a file that is made.
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.inner.mode(mode);
        self
    }

    /// Flags of the system's own.
    pub fn custom_flags(&mut self, flags: i32) -> &mut Self {
        self.inner.custom_flags(flags);
        self
    }

    /// Opens `path`. Waits for the pool; a cancellation point.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::OpenOptions::open`].
    pub fn open<P: AsRef<Path>>(&self, path: P) -> io::Result<File> {
        let path = path.as_ref();
        Ok(File { inner: blocking(|| self.inner.open(path))? })
    }
}
