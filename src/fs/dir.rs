//! Directories.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::rt::blocking::blocking;

/// Returns an iterator over what is in a directory.
///
/// The entries come in no order, without `.` and `..`. They are fetched 128 at a time, so a step waits now and then. What is
/// made or removed meanwhile may be seen or not.
///
/// # Errors
///
/// `NotFound`, `NotADirectory`, `PermissionDenied`; those of [`std::fs::read_dir`]. A step can fail, too.
///
/// ```
/// let mut names = Vec::new();
/// for entry in green::fs::read_dir("src/fs")? {
///     names.push(entry?.file_name());
/// }
/// assert!(names.contains(&"dir.rs".into()));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read_dir<P: AsRef<Path>>(path: P) -> io::Result<ReadDir> {
    let path = path.as_ref();
    let inner = blocking(|| fs::read_dir(path))?;
    Ok(ReadDir { inner: Some(inner), batch: Vec::new().into_iter() })
}

/// An iterator over what is in a directory, made by [`read_dir`]: [`std::fs::ReadDir`].
///
/// A step waits now and then; a cancellation point. Calls of an entry that ask the system more, as
/// [`metadata`](fs::DirEntry::metadata), are std's, and hold the worker up for a moment.
///
/// ```
/// let entries = green::fs::read_dir("src/fs")?.collect::<Result<Vec<_>, _>>()?;
/// assert!(entries.iter().any(|entry| entry.path().ends_with("dir.rs")));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct ReadDir {
    inner: Option<fs::ReadDir>,
    batch: std::vec::IntoIter<io::Result<fs::DirEntry>>,
}

impl Iterator for ReadDir {
    type Item = io::Result<fs::DirEntry>;

    fn next(&mut self) -> Option<io::Result<fs::DirEntry>> {
        const BATCH: usize = 128;
        if let Some(entry) = self.batch.next() {
            return Some(entry);
        }
        let inner = self.inner.as_mut()?;
        self.batch = blocking(|| inner.take(BATCH).collect::<Vec<_>>()).into_iter();
        if self.batch.len() == 0 {
            self.inner = None;
        }
        self.batch.next()
    }
}

/// Settings by which a directory is made: [`std::fs::DirBuilder`].
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("green-doc-dir-builder-{}", std::process::id()));
/// let mut private = green::fs::DirBuilder::new();
/// private.mode(0o700).recursive(true);
/// private.create(dir.join("a/b"))?;
/// # green::fs::remove_dir_all(&dir)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct DirBuilder {
    inner: fs::DirBuilder,
}

impl DirBuilder {
    /// Makes the settings of [`create_dir`](crate::fs::create_dir): one directory, with the mode `0o777` less the process's mask.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("green-doc-dir-builder-new-{}", std::process::id()));
    /// green::fs::DirBuilder::new().create(&dir)?;
    /// # green::fs::remove_dir(&dir)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    #[expect(clippy::new_without_default, reason = "std has none either")]
    pub fn new() -> DirBuilder {
        DirBuilder { inner: fs::DirBuilder::new() }
    }

    /// Sets whether the directories above that are missing are made, too; that it is there already is no error then.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("green-doc-dir-builder-recursive-{}", std::process::id()));
    /// green::fs::DirBuilder::new().recursive(true).create(dir.join("a/b"))?;
    /// # green::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recursive(&mut self, recursive: bool) -> &mut Self {
        self.inner.recursive(recursive);
        self
    }

    /// Sets the permissions of what is made, less the process's mask: [`std::os::unix::fs::DirBuilderExt::mode`].
    ///
    /// ```
    /// use std::os::unix::fs::PermissionsExt;
    /// # let dir = std::env::temp_dir().join(format!("green-doc-dir-builder-mode-{}", std::process::id()));
    /// green::fs::DirBuilder::new().mode(0o700).create(&dir)?;
    /// assert_eq!(green::fs::metadata(&dir)?.permissions().mode() & 0o777, 0o700);
    /// # green::fs::remove_dir(&dir)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.inner.mode(mode);
        self
    }

    /// Makes a directory at `path`, by these settings. Waits for the pool; a cancellation point.
    ///
    /// # Errors
    ///
    /// As [`create_dir`](crate::fs::create_dir); those of [`std::fs::DirBuilder::create`].
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("green-doc-dir-builder-create-{}", std::process::id()));
    /// let builder = green::fs::DirBuilder::new();
    /// builder.create(&dir)?;
    /// assert_eq!(builder.create(&dir).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    /// # green::fs::remove_dir(&dir)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        let path = path.as_ref();
        blocking(|| self.inner.create(path))
    }
}
