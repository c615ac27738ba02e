//! How files are opened.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;

use super::file::File;
use super::waits;
use crate::rt::blocking::{blocking, may_block};

/// Settings by which a file is opened: [`std::fs::OpenOptions`].
///
/// ```
/// use std::io::Write;
/// # let path = std::env::temp_dir().join(format!("green-doc-options-{}", std::process::id()));
/// let mut log = green::fs::OpenOptions::new().append(true).create(true).open(&path)?;
/// writeln!(log, "one more line")?;
/// # green::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
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
    /// Makes settings in which nothing is allowed yet; at least one of `read`, `write` and `append` has to follow.
    ///
    /// ```
    /// let options = green::fs::OpenOptions::new();
    /// assert!(options.open("Cargo.toml").is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    #[expect(clippy::new_without_default, reason = "std has none either")]
    pub fn new() -> Self {
        Self { inner: fs::OpenOptions::new(), flags: 0 }
    }

    options! {
        /// Sets whether the file may be read.
        ///
        /// ```
        /// let file = green::fs::OpenOptions::new().read(true).open("Cargo.toml")?;
        /// # Ok::<(), std::io::Error>(())
        /// ```
        read,
        /// Sets whether the file may be written, from its beginning; what is there is overwritten, not removed.
        ///
        /// ```
        /// use std::io::Write;
        /// # let path = std::env::temp_dir().join(format!("green-doc-options-write-{}", std::process::id()));
        /// green::fs::write(&path, "hello")?;
        /// green::fs::OpenOptions::new().write(true).open(&path)?.write_all(b"j")?;
        /// assert_eq!(green::fs::read(&path)?, b"jello");
        /// # green::fs::remove_file(&path)?;
        /// # Ok::<(), std::io::Error>(())
        /// ```
        write,
        /// Sets whether the file may be written, each write at its end, wherever others have moved that.
        ///
        /// ```
        /// use std::io::Write;
        /// # let path = std::env::temp_dir().join(format!("green-doc-options-append-{}", std::process::id()));
        /// green::fs::write(&path, "hello")?;
        /// green::fs::OpenOptions::new().append(true).open(&path)?.write_all(b"!")?;
        /// assert_eq!(green::fs::read(&path)?, b"hello!");
        /// # green::fs::remove_file(&path)?;
        /// # Ok::<(), std::io::Error>(())
        /// ```
        append,
        /// Sets whether the file is emptied when it is opened. It must be open to write.
        ///
        /// ```
        /// # let path = std::env::temp_dir().join(format!("green-doc-options-truncate-{}", std::process::id()));
        /// green::fs::write(&path, "hello")?;
        /// green::fs::OpenOptions::new().write(true).truncate(true).open(&path)?;
        /// assert_eq!(green::fs::metadata(&path)?.len(), 0);
        /// # green::fs::remove_file(&path)?;
        /// # Ok::<(), std::io::Error>(())
        /// ```
        truncate,
        /// Sets whether the file is made if it is not there. It must be open to write.
        ///
        /// ```
        /// # let path = std::env::temp_dir().join(format!("green-doc-options-create-{}", std::process::id()));
        /// green::fs::OpenOptions::new().write(true).create(true).open(&path)?;
        /// # green::fs::remove_file(&path)?;
        /// # Ok::<(), std::io::Error>(())
        /// ```
        create,
        /// Sets whether the file is made, and must not be there; then `create` and `truncate` do not count.
        ///
        /// ```
        /// # let path = std::env::temp_dir().join(format!("green-doc-options-create-new-{}", std::process::id()));
        /// let mut options = green::fs::OpenOptions::new();
        /// options.write(true).create_new(true);
        /// options.open(&path)?;
        /// assert_eq!(options.open(&path).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
        /// # green::fs::remove_file(&path)?;
        /// # Ok::<(), std::io::Error>(())
        /// ```
        create_new,
    }

    /// Sets the permissions of a file that is made, less the process's mask: [`OpenOptionsExt::mode`]. At first `0o666`.
    ///
    /// ```
    /// use std::os::unix::fs::PermissionsExt;
    /// # let path = std::env::temp_dir().join(format!("green-doc-options-mode-{}", std::process::id()));
    /// let file = green::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    /// assert_eq!(file.metadata()?.permissions().mode() & 0o777, 0o600);
    /// # green::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.inner.mode(mode);
        self
    }

    /// Sets further flags of the system's `open`: [`OpenOptionsExt::custom_flags`]. With `O_NONBLOCK` a FIFO is not waited for.
    ///
    /// ```
    /// let file = green::fs::OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open("Cargo.toml")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn custom_flags(&mut self, flags: i32) -> &mut Self {
        self.inner.custom_flags(flags);
        self.flags = flags;
        self
    }

    /// Opens the file at `path` by these settings. Waits for the pool, and for the other end if it is a FIFO; a cancellation point.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for settings that do not go together; `NotFound`, `AlreadyExists`, `PermissionDenied`, too many open
    /// files; those of [`std::fs::OpenOptions::open`].
    ///
    /// ```
    /// let mut options = green::fs::OpenOptions::new();
    /// assert!(options.read(true).open("Cargo.toml").is_ok());
    /// assert_eq!(options.open("no such file").unwrap_err().kind(), std::io::ErrorKind::NotFound);
    /// # Ok::<(), std::io::Error>(())
    /// ```
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
