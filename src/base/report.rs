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

/// Calls `f`, which does what one of the crate's own OS threads is for: what goes wrong there once is not to be the end of it. Not even a payload whose destructor panics.
/// False: it has panicked.
pub(crate) fn survive(f: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(f)).map_err(std::mem::forget).is_ok()
}

#[cfg(all(test, panic = "unwind"))]
mod tests {
    use super::survive;

    #[test]
    fn a_panic_is_survived_with_a_payload_whose_destructor_panics() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        assert!(!survive(|| std::panic::panic_any(Bomb)));
    }
}
