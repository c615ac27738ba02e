//! What in a file system may make its users wait for one another: FIFOs, terminals, locks. None of that may hold a thread of the pool,
//! or the calls that wait take all of them, and the call that would end their wait gets none.
//!
//! * A read or a write is made when the file is ready, as `poll` says, and otherwise waited for as a socket is. (Of two that see
//!   the same few bytes one may wait on the pool's thread all the same.)
//! * A FIFO is opened without waiting for its other end. A writer asks again until there is a reader. A reader has the FIFO open
//!   then, as in the middle of an `open` that waits, and waits until something is in it, until a writer has been and gone, or
//!   until there is one, which is asked for with pauses, since no event tells.
//! * A lock is tried, with pauses.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use crate::io::{wait_readable, wait_readable_timeout, wait_writable};
use crate::rt::blocking::{blocking, may_block};
use crate::sys::{fifo, poll};
use crate::time::Pauses;

/// May a read or a write wait for somebody?
pub(super) fn may_wait(metadata: &fs::Metadata) -> bool {
    let kind = metadata.file_type();
    !(kind.is_file() || kind.is_dir() || kind.is_block_device())
}

/// The same about what `path` leads to, if that is there.
pub(super) fn path_may_wait(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| may_wait(&metadata))
}

/// May opening it wait for somebody?
pub(super) fn opening_may_wait(path: &Path, flags: i32) -> bool {
    fifo::OPENS
        && flags & fifo::NEVER_WAITS == 0
        && fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// Opens a FIFO as `options` say, with the system's own `flags` among them, and waits for its other end.
pub(super) fn open_fifo(options: &fs::OpenOptions, flags: i32, path: &Path) -> io::Result<fs::File> {
    let mut options = options.clone();
    options.custom_flags(flags | fifo::NONBLOCK);
    let mut pauses = Pauses::default();
    let file = loop {
        match blocking(|| options.open(path)) {
            Err(error) if fifo::has_no_reader(&error) => pauses.next(),
            result => break result?,
        }
    };
    if fifo::is_read_only(file.as_fd())? {
        while !fifo::has_writer(file.as_fd())? {
            match wait_readable_timeout(&file, pauses.length()) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(error) => return Err(error),
            }
        }
    }
    fifo::set_blocking(file.as_fd())?;
    Ok(file)
}

/// What a call does with a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    Reads,
    Writes,
}

/// Makes `call`, on the pool, when `file`, which may keep it waiting, is ready for it.
pub(super) fn when_ready<R: Send>(
    file: &fs::File,
    does: Does,
    mut call: impl FnMut(&fs::File) -> io::Result<R> + Send,
) -> io::Result<R> {
    if may_block() {
        return call(file);
    }
    loop {
        let done = blocking(|| {
            let ready = poll::wait_for(file.as_fd(), does == Does::Writes, 0)? || fifo::is_nonblocking(file.as_fd())?;
            ready.then(|| call(file)).transpose()
        });
        if let Some(result) = done? {
            return Ok(result);
        }
        match does {
            Does::Reads => wait_readable(file)?,
            Does::Writes => wait_writable(file)?,
        }
    }
}

/// Locks `file` by `try_lock`; a thread that may block does so by `lock`.
pub(super) fn lock(
    file: &fs::File,
    lock: fn(&fs::File) -> io::Result<()>,
    try_lock: fn(&fs::File) -> Result<(), fs::TryLockError>,
) -> io::Result<()> {
    if may_block() {
        return lock(file);
    }
    let mut pauses = Pauses::default();
    loop {
        match blocking(|| try_lock(file)) {
            Ok(()) => return Ok(()),
            Err(fs::TryLockError::WouldBlock) => pauses.next(),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
}
