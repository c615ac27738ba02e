//! Open files.

use std::fmt;
use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::SystemTime;

use super::options::OpenOptions;
use super::waits::{self, Does, when_ready};
use crate::io::forward::{by_value, descriptor};
use crate::rt::blocking::blocking;
use crate::sys::fifo::PIPE_BUF;

/// An open file: [`std::fs::File`], whose calls wait for the [`blocking`](crate::blocking) pool.
///
/// It is read and written by [`Read`], [`Write`] and [`Seek`], which a `&File` has, too, and at a position of the call's own by
/// [`FileExt`]. Each call costs a trip to the pool, so put a [`BufReader`](std::io::BufReader) or a
/// [`BufWriter`](std::io::BufWriter) around it for small pieces. `seek` and `flush` do not wait.
///
/// A FIFO or a terminal is waited for as a socket is, and holds no thread of the pool meanwhile; there a cancel or a
/// [`timeout`](crate::timeout) ends the wait. Dropped, it is closed where it is, and errors of that are lost; closing a file of
/// a network file system may take long.
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
    ($($(#[$doc:meta])* $visible:vis fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty;)+) => {$(
        $(#[$doc])*
        $visible fn $name(&self $(, $arg: $type)*) -> io::Result<$result> {
            blocking(|| self.inner.$name($($arg),*))
        }
    )+};
}

impl File {
    /// Opens a file to read it. Waits for the pool, and for a writer if it is a FIFO; a cancellation point.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PermissionDenied`, too many open files; those of [`std::fs::File::open`]. That it is a directory is told by the
    /// first read.
    ///
    /// ```
    /// use std::io::Read;
    /// let mut text = String::new();
    /// green::fs::File::open("Cargo.toml")?.read_to_string(&mut text)?;
    /// assert!(text.contains("green"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn open<P: AsRef<Path>>(path: P) -> io::Result<File> {
        OpenOptions::new().read(true).open(path)
    }

    /// Opens a file to write it: makes it, or empties what was there.
    ///
    /// # Errors
    ///
    /// `NotFound` for a directory that is missing, `PermissionDenied`, `IsADirectory`; those of [`std::fs::File::create`].
    ///
    /// ```
    /// use std::io::Write;
    /// # let path = std::env::temp_dir().join(format!("green-doc-create-{}", std::process::id()));
    /// green::fs::File::create(&path)?.write_all(b"hello")?;
    /// # green::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn create<P: AsRef<Path>>(path: P) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(true).open(path)
    }

    /// Makes a file, and opens it to read and write it. It must not be there: of several that try one succeeds.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`; those of [`std::fs::File::create_new`].
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("green-doc-create-new-{}", std::process::id()));
    /// let file = green::fs::File::create_new(&path)?;
    /// assert_eq!(green::fs::File::create_new(&path).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    /// # green::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn create_new<P: AsRef<Path>>(path: P) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    /// Returns settings by which a file is opened; the same as [`OpenOptions::new`].
    ///
    /// ```
    /// let file = green::fs::File::options().read(true).open("Cargo.toml")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    methods! {
        /// Waits until the file's bytes and metadata are on the device.
        ///
        /// # Errors
        ///
        /// What went wrong with earlier writes; those of [`std::fs::File::sync_all`].
        ///
        /// ```
        /// use std::io::Write;
        /// # let path = std::env::temp_dir().join(format!("green-doc-sync-all-{}", std::process::id()));
        /// let mut file = green::fs::File::create(&path)?;
        /// file.write_all(b"not to be lost")?;
        /// file.sync_all()?;
        /// # green::fs::remove_file(&path)?;
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn sync_all() -> ();
        /// Waits until the file's bytes are on the device, and of the metadata what is needed to read them.
        ///
        /// # Errors
        ///
        /// As [`sync_all`](Self::sync_all); those of [`std::fs::File::sync_data`].
        ///
        /// ```
        /// use std::io::Write;
        /// # let path = std::env::temp_dir().join(format!("green-doc-sync-data-{}", std::process::id()));
        /// let mut file = green::fs::File::create(&path)?;
        /// file.write_all(b"not to be lost")?;
        /// file.sync_data()?;
        /// # green::fs::remove_file(&path)?;
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn sync_data() -> ();
        /// Sets the file's length in bytes: cuts it off, or extends it by zeros. The position stays.
        ///
        /// # Errors
        ///
        /// `InvalidInput` for a file that is not open to write; those of [`std::fs::File::set_len`].
        ///
        /// ```
        /// # let path = std::env::temp_dir().join(format!("green-doc-set-len-{}", std::process::id()));
        /// let file = green::fs::File::create(&path)?;
        /// file.set_len(3)?;
        /// assert_eq!(green::fs::read(&path)?, [0; 3]);
        /// # green::fs::remove_file(&path)?;
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn set_len(size: u64) -> ();
        /// Returns what the system knows about the file: kind, length, permissions, times.
        ///
        /// # Errors
        ///
        /// Those of [`std::fs::File::metadata`].
        ///
        /// ```
        /// let file = green::fs::File::open("Cargo.toml")?;
        /// assert!(file.metadata()?.len() > 0);
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn metadata() -> fs::Metadata;
        /// Changes the file's permissions. What is open stays as it is.
        ///
        /// # Errors
        ///
        /// `PermissionDenied`; those of [`std::fs::File::set_permissions`].
        ///
        /// ```
        /// # let path = std::env::temp_dir().join(format!("green-doc-file-permissions-{}", std::process::id()));
        /// let file = green::fs::File::create(&path)?;
        /// let mut permissions = file.metadata()?.permissions();
        /// permissions.set_readonly(true);
        /// file.set_permissions(permissions)?;
        /// # green::fs::remove_file(&path)?;
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn set_permissions(perm: fs::Permissions) -> ();
        /// Sets the file's times, those that `times` has.
        ///
        /// # Errors
        ///
        /// Those of [`std::fs::File::set_times`].
        ///
        /// ```
        /// use std::time::SystemTime;
        /// # let path = std::env::temp_dir().join(format!("green-doc-set-times-{}", std::process::id()));
        /// let file = green::fs::File::create(&path)?;
        /// file.set_times(green::fs::FileTimes::new().set_accessed(SystemTime::UNIX_EPOCH))?;
        /// assert_eq!(file.metadata()?.accessed()?, SystemTime::UNIX_EPOCH);
        /// # green::fs::remove_file(&path)?;
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn set_times(times: fs::FileTimes) -> ();
        /// Sets the time of the file's last change.
        ///
        /// # Errors
        ///
        /// Those of [`std::fs::File::set_modified`].
        ///
        /// ```
        /// use std::time::SystemTime;
        /// # let path = std::env::temp_dir().join(format!("green-doc-set-modified-{}", std::process::id()));
        /// let file = green::fs::File::create(&path)?;
        /// file.set_modified(SystemTime::UNIX_EPOCH)?;
        /// assert_eq!(file.metadata()?.modified()?, SystemTime::UNIX_EPOCH);
        /// # green::fs::remove_file(&path)?;
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn set_modified(time: SystemTime) -> ();
    }

    /// Locks the file, and waits until no other handle has it locked. A cancellation point.
    ///
    /// It is a lock of the open file, against others that ask for it (`flock`): reading and writing are not kept from anybody. It is
    /// given back by [`unlock`](Self::unlock), or when the last handle is dropped. A thread that asks again by the same handle
    /// changes the lock's kind; by another handle, which was opened apart, it waits for itself.
    ///
    /// On a green thread, and inside a [`timeout`](crate::timeout), it tries again and again, with pauses that grow up to 50 ms, since
    /// no event tells that a lock is free. So it comes in no order, and a lock that is hardly ever free may be long in coming.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::lock`].
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("green-doc-lock-{}", std::process::id()));
    /// let file = green::fs::File::create(&path)?;
    /// file.lock()?;
    /// let other = green::fs::File::open(&path)?;
    /// let waits = green::timeout(std::time::Duration::from_millis(5), || other.lock());
    /// assert!(waits.is_err());
    /// file.unlock()?;
    /// other.lock()?;
    /// # green::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn lock(&self) -> io::Result<()> {
        waits::lock(&self.inner, fs::File::lock, fs::File::try_lock)
    }

    /// Locks the file together with others, and waits until no handle has it locked exclusively. Otherwise as [`lock`](Self::lock).
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::lock_shared`].
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("green-doc-lock-shared-{}", std::process::id()));
    /// # green::fs::write(&path, "")?;
    /// let (one, two) = (green::fs::File::open(&path)?, green::fs::File::open(&path)?);
    /// one.lock_shared()?;
    /// two.lock_shared()?;
    /// # green::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn lock_shared(&self) -> io::Result<()> {
        waits::lock(&self.inner, fs::File::lock_shared, fs::File::try_lock_shared)
    }

    /// Locks the file if no other handle has it locked. Never waits.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if another has; those of [`std::fs::File::try_lock`].
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("green-doc-try-lock-{}", std::process::id()));
    /// # green::fs::write(&path, "")?;
    /// let (one, two) = (green::fs::File::open(&path)?, green::fs::File::open(&path)?);
    /// one.try_lock()?;
    /// assert!(matches!(two.try_lock(), Err(green::fs::TryLockError::WouldBlock)));
    /// # green::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_lock(&self) -> Result<(), fs::TryLockError> {
        self.inner.try_lock()
    }

    /// Locks the file together with others if no handle has it locked exclusively. Never waits.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if another has; those of [`std::fs::File::try_lock_shared`].
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("green-doc-try-lock-shared-{}", std::process::id()));
    /// # green::fs::write(&path, "")?;
    /// let (one, two) = (green::fs::File::open(&path)?, green::fs::File::open(&path)?);
    /// one.try_lock_shared()?;
    /// two.try_lock_shared()?;
    /// # green::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_lock_shared(&self) -> Result<(), fs::TryLockError> {
        self.inner.try_lock_shared()
    }

    /// Gives the lock back. Never waits; nothing happens if there is none.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::unlock`].
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("green-doc-unlock-{}", std::process::id()));
    /// # green::fs::write(&path, "")?;
    /// let (one, two) = (green::fs::File::open(&path)?, green::fs::File::open(&path)?);
    /// one.lock()?;
    /// one.unlock()?;
    /// two.try_lock()?;
    /// # green::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unlock(&self) -> io::Result<()> {
        self.inner.unlock()
    }

    /// Makes another handle to the same open file, with the same position and lock. Never waits.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    ///
    /// ```
    /// use std::io::{Read, Seek};
    /// let mut file = green::fs::File::open("Cargo.toml")?;
    /// let mut clone = file.try_clone()?;
    /// file.read_exact(&mut [0; 3])?;
    /// assert_eq!(clone.stream_position()?, 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
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
    ($(fn $name:ident($arg:ident: $type:ty) -> $result:ty;)+) => {$(
        fn $name(&mut self, $arg: $type) -> io::Result<$result> {
            if self.may_wait()? { Pieces(&self.inner).$name($arg) } else { blocking(|| (&self.inner).$name($arg)) }
        }
    )+};
}

impl Read for &File {
    each_way! {
        fn read(buf: &mut [u8]) -> usize;
        fn read_vectored(bufs: &mut [IoSliceMut<'_>]) -> usize;
        fn read_to_end(buf: &mut Vec<u8>) -> usize;
        fn read_to_string(buf: &mut String) -> usize;
    }
}

impl Write for &File {
    each_way! {
        fn write(buf: &[u8]) -> usize;
        fn write_vectored(bufs: &[IoSlice<'_>]) -> usize;
        fn write_all(buf: &[u8]) -> ();
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

by_value!(File: Read);
by_value!(File: Write);
by_value! { File: Seek { fn seek(pos: SeekFrom) -> u64; } }
descriptor!(File: inner);

impl FileExt for File {
    methods! {
        fn read_at(buf: &mut [u8], offset: u64) -> usize;
        fn read_exact_at(buf: &mut [u8], offset: u64) -> ();
        fn write_at(buf: &[u8], offset: u64) -> usize;
        fn write_all_at(buf: &[u8], offset: u64) -> ();
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

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
