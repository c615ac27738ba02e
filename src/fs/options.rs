//! How files are opened.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;

use super::file::File;
use super::waits;
use crate::rt::blocking::{blocking, may_block};

/// How a file is to be opened: [`std::fs::OpenOptions`].
#[derive(Clone, Debug)]
pub struct OpenOptions {
    inner: fs::OpenOptions,
    flags: i32,
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
        Self { inner: fs::OpenOptions::new(), flags: 0 }
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
        self.flags = flags;
        self
    }

    /// Opens `path`. Waits for the pool, and for the other end if it is a FIFO; a cancellation point.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::OpenOptions::open`].
    pub fn open<P: AsRef<Path>>(&self, path: P) -> io::Result<File> {
        let path = path.as_ref();
        if may_block() {
            return self.inner.open(path).map(File::from);
        }
        let opened = blocking(|| {
            if waits::opening_may_wait(path, self.flags) {
                return Ok(None);
            }
            let file = self.inner.open(path)?;
            let may_wait = file.metadata().map(|metadata| waits::may_wait(&metadata));
            Ok::<_, io::Error>(Some(File {
                inner: file,
                may_wait: may_wait.map_or_else(|_| OnceLock::new(), OnceLock::from),
            }))
        })?;
        match opened {
            Some(file) => Ok(file),
            None => waits::open_fifo(&self.inner, self.flags, path).map(File::from),
        }
    }
}
