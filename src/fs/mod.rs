//! [`std::fs`] that does not hold a worker up: the same names and meanings, through the [`blocking`] pool.
//!
//! The kernel has no readiness for files: each call is made by an OS thread of the pool while the caller parks. That
//! costs some microseconds a call, so read and write in large pieces, by [`read`] and [`write`](fn@write), or with a
//! [`std::io::BufReader`] around a [`File`]. A cancel takes effect before a call has a thread of the pool, never in its
//! middle. What waits for somebody else, for a lock or for the other end of a FIFO, takes no such thread for so long, and ends at
//! a cancel. On a plain OS thread the calls are std's own.
//!
//! ```
//! green::run(|| {
//!     let text = green::fs::read_to_string("Cargo.toml").unwrap();
//!     assert!(text.contains("green"));
//! });
//! ```

#![forbid(unsafe_code)]

// Floor 9: it needs `blocking`, which is on floor 8.
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
        ///
        /// # Errors
        ///
        #[doc = concat!("Those of [`std::fs::", stringify!($name), "`].")]
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
        ///
        /// # Errors
        ///
        #[doc = concat!("Those of [`std::fs::", stringify!($name), "`].")]
        pub fn $name<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<$result> {
            let (from, to) = (from.as_ref(), to.as_ref());
            blocking(|| std::fs::$name(from, to))
        }
    )+};
}

with_path! {
    /// The real path, without links and dots.
    fn canonicalize() -> PathBuf;
    /// Makes a directory.
    fn create_dir() -> ();
    /// Makes a directory, and those above it that are missing.
    fn create_dir_all() -> ();
    /// What the system knows about what the path leads to.
    fn metadata() -> Metadata;
    /// The same about a link itself.
    fn symlink_metadata() -> Metadata;
    /// Where a link leads to.
    fn read_link() -> PathBuf;
    /// Removes an empty directory.
    fn remove_dir() -> ();
    /// Removes a directory with all that is in it.
    fn remove_dir_all() -> ();
    /// Removes a file.
    fn remove_file() -> ();
    /// Changes who may do what.
    fn set_permissions(perm: Permissions) -> ();
    /// Is there something? An error is one of asking.
    fn exists() -> bool;
}

with_two_paths! {
    /// A second name for a file.
    fn hard_link -> ();
    /// Another name for a file or directory, in the place of what had it.
    fn rename -> ();
}

/// The whole file.
///
/// # Errors
///
/// Those of [`std::fs::read`].
pub fn read<P: AsRef<Path>>(path: P) -> io::Result<Vec<u8>> {
    let path = path.as_ref();
    unless_it_waits(path, || std::fs::read(path)).unwrap_or_else(|| {
        let mut bytes = Vec::new();
        File::open(path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    })
}

/// The whole file, which has to be UTF-8.
///
/// # Errors
///
/// Those of [`std::fs::read_to_string`].
pub fn read_to_string<P: AsRef<Path>>(path: P) -> io::Result<String> {
    let path = path.as_ref();
    unless_it_waits(path, || std::fs::read_to_string(path)).unwrap_or_else(|| {
        let mut text = String::new();
        File::open(path)?.read_to_string(&mut text)?;
        Ok(text)
    })
}

/// Makes `contents` the whole file.
///
/// # Errors
///
/// Those of [`std::fs::write`].
pub fn write<P: AsRef<Path>, C: AsRef<[u8]>>(path: P, contents: C) -> io::Result<()> {
    let (path, contents) = (path.as_ref(), contents.as_ref());
    unless_it_waits(path, || std::fs::write(path, contents)).unwrap_or_else(|| File::create(path)?.write_all(contents))
}

/// Copies a file's bytes and permissions; how many bytes.
///
/// # Errors
///
/// Those of [`std::fs::copy`].
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
