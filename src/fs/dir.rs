//! Directories.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::rt::blocking::blocking;

/// What is in a directory. The names are fetched a batch at a time.
///
/// # Errors
///
/// Those of [`std::fs::read_dir`].
pub fn read_dir<P: AsRef<Path>>(path: P) -> io::Result<ReadDir> {
    let path = path.as_ref();
    let inner = blocking(|| fs::read_dir(path))?;
    Ok(ReadDir { inner: Some(inner), batch: Vec::new().into_iter() })
}

/// What is in a directory: [`std::fs::ReadDir`].
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

/// How a directory is to be made: [`std::fs::DirBuilder`].
#[derive(Debug)]
pub struct DirBuilder {
    inner: fs::DirBuilder,
}

impl DirBuilder {
    /// The one directory, for whom the process's mask lets in.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "std has none either")]
    pub fn new() -> DirBuilder {
        DirBuilder { inner: fs::DirBuilder::new() }
    }

    /// Those above it that are missing are made too; that it is there already is no error then.
    pub fn recursive(&mut self, recursive: bool) -> &mut Self {
        self.inner.recursive(recursive);
        self
    }

    /// The permissions of what is made.
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.inner.mode(mode);
        self
    }

    /// Makes `path`. Waits for the pool; a cancellation point.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::DirBuilder::create`].
    pub fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        let path = path.as_ref();
        blocking(|| self.inner.create(path))
    }
}
