//! Standard error, without std's handle: a worker may hold the lock of that, and be stuck. And without another descriptor: there may be none left.
//!
//! # Invariants
//!
//! 1. What the kernel is given is a slice.

use std::io::{self, Write};

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StandardError;

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
