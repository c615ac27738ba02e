//! Files and directories, without holding a worker up: [`std::fs`], with the same names and meanings.
//!
//! ```
//! use std::io::{BufRead, BufReader};
//!
//! green::run(|| {
//!     let text = green::fs::read_to_string("Cargo.toml").unwrap();
//!     let lines = BufReader::new(green::fs::File::open("Cargo.toml").unwrap()).lines().count();
//!     assert_eq!(text.lines().count(), lines);
//! });
//! ```
//!
//! # How it blocks
//!
//! The kernel has no readiness for files: each call is made by an OS thread of the [`blocking`] pool while
//! the caller parks. That costs some microseconds a call, so read and write in large pieces, by [`read`] and
//! [`write`](fn@write), or with a [`BufReader`](std::io::BufReader) or a [`BufWriter`](std::io::BufWriter) around a [`File`]. What
//! waits for another program or thread, for a lock or for the other end of a FIFO, takes no such thread for so long. On a plain
//! OS thread the calls are std's own.
//!
//! # What a cancel does
//!
//! Every function and method here is a cancellation point, but those that say that they never wait. A cancel or a
//! [`timeout`](crate::timeout) takes effect before a call has a thread of the pool, never in its middle: what has begun is
//! done. So a file that does not answer (of a network file system, say) keeps its caller; a call whose caller may leave it
//! is one inside [`unblock`](crate::unblock). The wait for a lock or a FIFO ends at once.
//!
//! # What differs from std
//!
//! * [`File::lock`] tries again and again, with pauses, since no event tells that a lock is free.
//! * A [`File`] is converted to and from [`std::fs::File`] by `From`; metadata, permissions and entries are std's own.
//! * `soft_link`, which std deprecates, is not here, nor is what is not stable there.

#![forbid(unsafe_code)]

// Floor 11: it needs `rt::blocking`, which is on floor 10.
mod dir;
mod file;
mod options;
mod waits;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::rt::blocking::{blocking, may_block};

pub use dir::{DirBuilder, ReadDir, read_dir};
pub use file::File;
pub use options::OpenOptions;
pub use std::fs::{DirEntry, FileTimes, FileType, Metadata, Permissions, TryLockError};

/// Functions of std that take a path.
macro_rules! with_path {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty;)+) => {$(
        $(#[$doc])*
        pub fn $name<P: AsRef<Path>>(path: P $(, $arg: $type)*) -> io::Result<$result> {
            let path = path.as_ref();
            blocking(|| std::fs::$name(path $(, $arg)*))
        }
    )+};
}

/// Functions of std that take two paths.
macro_rules! with_two_paths {
    ($($(#[$doc:meta])* fn $name:ident -> $result:ty;)+) => {$(
        $(#[$doc])*
        pub fn $name<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<$result> {
            let (from, to) = (from.as_ref(), to.as_ref());
            blocking(|| std::fs::$name(from, to))
        }
    )+};
}

with_path! {
    /// Returns the absolute path to a file or directory, without links, `.` and `..`.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is nothing; those of [`std::fs::canonicalize`].
    ///
    /// ```
    /// let path = green::fs::canonicalize("src/../Cargo.toml")?;
    /// assert!(path.is_absolute() && path.ends_with("Cargo.toml"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn canonicalize() -> PathBuf;
    /// Makes a directory; the one above it has to be there.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`, `NotFound` when the directory above is missing, `PermissionDenied`; those of [`std::fs::create_dir`].
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("green-doc-create-dir-{}", std::process::id()));
    /// green::fs::create_dir(&dir)?;
    /// assert!(green::fs::metadata(&dir)?.is_dir());
    /// # green::fs::remove_dir(&dir)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn create_dir() -> ();
    /// Makes a directory, and those above it that are missing. That it is there already is no error.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::create_dir_all`]; then some of the directories may have been made.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("green-doc-create-dir-all-{}", std::process::id()));
    /// green::fs::create_dir_all(dir.join("a/b/c"))?;
    /// green::fs::create_dir_all(dir.join("a/b/c"))?;
    /// # green::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn create_dir_all() -> ();
    /// Returns what the system knows about what the path leads to: kind, length, permissions, times. Links are followed.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PermissionDenied` for a directory on the way; those of [`std::fs::metadata`].
    ///
    /// ```
    /// let metadata = green::fs::metadata("Cargo.toml")?;
    /// assert!(metadata.is_file() && metadata.len() > 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn metadata() -> Metadata;
    /// Returns what the system knows about what the path names; of a link it is the link itself.
    ///
    /// # Errors
    ///
    /// As [`metadata`]; those of [`std::fs::symlink_metadata`].
    ///
    /// ```
    /// # let link = std::env::temp_dir().join(format!("green-doc-symlink-metadata-{}", std::process::id()));
    /// std::os::unix::fs::symlink("nowhere", &link)?;
    /// assert!(green::fs::symlink_metadata(&link)?.is_symlink());
    /// assert!(green::fs::metadata(&link).is_err());
    /// # green::fs::remove_file(&link)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn symlink_metadata() -> Metadata;
    /// Returns the path that a symbolic link holds.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for what is no link; those of [`std::fs::read_link`].
    ///
    /// ```
    /// # let link = std::env::temp_dir().join(format!("green-doc-read-link-{}", std::process::id()));
    /// std::os::unix::fs::symlink("target", &link)?;
    /// assert_eq!(green::fs::read_link(&link)?, std::path::Path::new("target"));
    /// # green::fs::remove_file(&link)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn read_link() -> PathBuf;
    /// Removes a directory, which has to be empty.
    ///
    /// # Errors
    ///
    /// `DirectoryNotEmpty`, `NotFound`, `NotADirectory`; those of [`std::fs::remove_dir`].
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("green-doc-remove-dir-{}", std::process::id()));
    /// green::fs::create_dir(&dir)?;
    /// green::fs::remove_dir(&dir)?;
    /// assert!(!green::fs::exists(&dir)?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn remove_dir() -> ();
    /// Removes a directory with all that is in it. Links are removed, not followed.
    ///
    /// It is one call of the pool, however many files there are: it is not ended in its middle.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::remove_dir_all`]; then a part may have been removed.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("green-doc-remove-dir-all-{}", std::process::id()));
    /// green::fs::create_dir_all(dir.join("a/b"))?;
    /// green::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn remove_dir_all() -> ();
    /// Removes a file, or rather a name of it: those that have it open go on with it.
    ///
    /// # Errors
    ///
    /// `NotFound`, `IsADirectory` or `PermissionDenied` for a directory; those of [`std::fs::remove_file`].
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("green-doc-remove-file-{}", std::process::id()));
    /// green::fs::write(&path, "gone soon")?;
    /// green::fs::remove_file(&path)?;
    /// assert!(!green::fs::exists(&path)?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn remove_file() -> ();
    /// Changes the permissions of a file or directory. Links are followed.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PermissionDenied`; those of [`std::fs::set_permissions`].
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("green-doc-set-permissions-{}", std::process::id()));
    /// green::fs::write(&path, "do not change")?;
    /// let mut permissions = green::fs::metadata(&path)?.permissions();
    /// permissions.set_readonly(true);
    /// green::fs::set_permissions(&path, permissions)?;
    /// # green::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn set_permissions(perm: Permissions) -> ();
    /// Returns whether the path leads to something. A link to nothing does not.
    ///
    /// The answer may be out of date at once: rather open the file and look at the error.
    ///
    /// # Errors
    ///
    /// When it cannot be known, as for a directory on the way that may not be searched.
    ///
    /// ```
    /// assert!(green::fs::exists("Cargo.toml")?);
    /// assert!(!green::fs::exists("no such file")?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn exists() -> bool;
}

with_two_paths! {
    /// Gives the file `from` a second name, `to`, on the same file system.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`, `CrossesDevices`; those of [`std::fs::hard_link`].
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("green-doc-hard-link-{}", std::process::id()));
    /// # green::fs::create_dir(&dir)?;
    /// green::fs::write(dir.join("one"), "text")?;
    /// green::fs::hard_link(dir.join("one"), dir.join("two"))?;
    /// assert_eq!(green::fs::read_to_string(dir.join("two"))?, "text");
    /// # green::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn hard_link -> ();
    /// Renames a file or directory, in the place of what had that name. Others see the old or the new, never neither.
    ///
    /// # Errors
    ///
    /// `NotFound`, `CrossesDevices` (copy it then), `DirectoryNotEmpty`; those of [`std::fs::rename`].
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("green-doc-rename-{}", std::process::id()));
    /// # green::fs::create_dir(&dir)?;
    /// green::fs::write(dir.join("config.new"), "all of it")?;
    /// green::fs::rename(dir.join("config.new"), dir.join("config"))?;
    /// # green::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn rename -> ();
}

/// Returns the whole contents of a file.
///
/// One call of the pool, however long the file is. A FIFO or a terminal is read to its end, and waited for without a thread of the pool.
///
/// # Errors
///
/// `NotFound`, `PermissionDenied`, `IsADirectory`; those of [`std::fs::read`].
///
/// ```
/// let bytes = green::fs::read("Cargo.toml")?;
/// assert!(bytes.starts_with(b"["));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read<P: AsRef<Path>>(path: P) -> io::Result<Vec<u8>> {
    let path = path.as_ref();
    unless_it_waits(path, || std::fs::read(path)).unwrap_or_else(|| {
        let mut bytes = Vec::new();
        File::open(path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    })
}

/// Returns the whole contents of a file, which has to be UTF-8. Otherwise as [`read`].
///
/// # Errors
///
/// `InvalidData` when it is not UTF-8; those of [`std::fs::read_to_string`].
///
/// ```
/// let text = green::fs::read_to_string("Cargo.toml")?;
/// assert!(text.contains("green"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read_to_string<P: AsRef<Path>>(path: P) -> io::Result<String> {
    let path = path.as_ref();
    unless_it_waits(path, || std::fs::read_to_string(path)).unwrap_or_else(|| {
        let mut text = String::new();
        File::open(path)?.read_to_string(&mut text)?;
        Ok(text)
    })
}

/// Writes `contents` as the whole of a file, which is made if it is not there.
///
/// One call of the pool. A file that was there is emptied first; a reader may see that. For all or nothing write another file, and
/// [`rename`] it.
///
/// # Errors
///
/// `NotFound` for a directory that is missing, `PermissionDenied`, `StorageFull`; those of [`std::fs::write`].
///
/// ```
/// # let path = std::env::temp_dir().join(format!("green-doc-write-{}", std::process::id()));
/// green::fs::write(&path, "hello")?;
/// assert_eq!(green::fs::read(&path)?, b"hello");
/// # green::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write<P: AsRef<Path>, C: AsRef<[u8]>>(path: P, contents: C) -> io::Result<()> {
    let (path, contents) = (path.as_ref(), contents.as_ref());
    unless_it_waits(path, || std::fs::write(path, contents)).unwrap_or_else(|| File::create(path)?.write_all(contents))
}

/// Copies the bytes and permissions of a file, and returns how many bytes there were.
///
/// One call of the pool; where the file system can, no byte goes through memory. `to` is emptied first if it is there.
///
/// # Errors
///
/// `InvalidInput` when `from` is no file; those of [`std::fs::copy`].
///
/// ```
/// # let path = std::env::temp_dir().join(format!("green-doc-copy-{}", std::process::id()));
/// let len = green::fs::copy("Cargo.toml", &path)?;
/// assert_eq!(green::fs::metadata(&path)?.len(), len);
/// # green::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn copy<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<u64> {
    let (from, to) = (from.as_ref(), to.as_ref());
    unless_it_waits(to, || match waits::path_may_wait(from) {
        // std says so after it has opened it, which may wait.
        true => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the source path is neither a regular file nor a symlink to a regular file",
        )),
        false => std::fs::copy(from, to),
    })
    .unwrap_or_else(|| io::copy(&mut File::open(from)?, &mut File::create(to)?))
}

/// Calls `f` on the pool, unless what `path` leads to may keep it waiting for somebody: then `None`.
fn unless_it_waits<R: Send>(path: &Path, f: impl FnOnce() -> io::Result<R> + Send) -> Option<io::Result<R>> {
    if may_block() {
        return Some(f());
    }
    blocking(|| (!waits::path_may_wait(path)).then(f))
}
