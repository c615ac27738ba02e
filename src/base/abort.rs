//! Ways to end the process where nothing else is sound.

use std::fmt;

/// Prints `green: <message>` to standard error and aborts.
#[cold]
#[inline(never)]
pub(crate) fn fatal(message: fmt::Arguments<'_>) -> ! {
    eprintln!("green: {message}");
    std::process::abort()
}

/// Aborts the process when it is dropped during a panic: held where a half-done step must not be left by unwinding.
#[derive(Debug)]
pub(crate) struct AbortOnUnwind(pub(crate) &'static str);

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        if std::thread::panicking() {
            fatal(format_args!("a panic escaped from {}", self.0));
        }
    }
}
