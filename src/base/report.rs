//! Lines on standard error about what would otherwise go unnoticed.

use std::fmt;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Prints `green: <message>` to standard error. That may be closed, which is nobody's fault.
#[cold]
#[inline(never)]
pub(crate) fn report(message: fmt::Arguments<'_>) {
    if cfg!(panic = "unwind") {
        // What a test prints so is shown only if the test fails.
        let _ = catch_unwind(AssertUnwindSafe(|| eprintln!("green: {message}")));
    } else {
        let _ = writeln!(std::io::stderr(), "green: {message}");
    }
}
