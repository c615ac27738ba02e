//! Standard error, without std's handle: a worker may hold the lock of that, and be stuck. And without another descriptor: there may be none left.
//!
//! # Invariants
//!
//! 1. What the kernel is given is a slice, or one entry of `poll`'s.

use std::io::{self, Write};

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StandardError;

impl StandardError {
    /// Writes a line, unless that would have to wait for a reader: a pipe says that there is room for 4 KiB, which are written at once.
    pub(crate) fn offer(&mut self, line: &[u8]) {
        let mut stderr = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
        // SAFETY: invariant 1.
        if unsafe { libc::poll(&raw mut stderr, 1, 0) } == 1 {
            let _ = self.write_all(line);
        }
    }
}

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: invariant 1: the kernel reads as many bytes as there are.
        let written = unsafe { libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len()) };
        usize::try_from(written).map_err(|_| io::Error::last_os_error())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
