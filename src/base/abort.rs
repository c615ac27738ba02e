//! The end of the process, where nothing else is sound.

use std::fmt;

/// Prints `green: <message>` to standard error and aborts.
#[cold]
#[inline(never)]
pub(crate) fn fatal(message: fmt::Arguments<'_>) -> ! {
    eprintln!("green: {message}");
    std::process::abort()
}
