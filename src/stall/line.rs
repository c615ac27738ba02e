//! The lines on standard error: one that says what is known at once, and one with the names of the functions, which take a second to be looked up in a large
//! program, the first time.
#![forbid(unsafe_code)]

use std::fmt::Write;

use crate::dump::stacks::{Symbol, Symbols};
use crate::stall::report::Stall;
use crate::sys::clock::real_ns;
use crate::sys::fault::write_stderr;

/// From one line to the next one.
const PAUSE_NS: u64 = 10_000_000_000;
/// So many functions are named, the innermost.
const FUNCTIONS: usize = 8;

/// When the last one was written, and how many were not since.
#[derive(Debug)]
pub(super) struct StallLine {
    /// 0: none was.
    next_ns: u64,
    left_out: u64,
}

impl StallLine {
    pub(super) const fn new() -> Self {
        Self { next_ns: 0, left_out: 0 }
    }

    /// Writes the line of a stall, unless there was one a short time ago.
    pub(super) fn write(&mut self, stall: &Stall) {
        if let Some(line) = self.line(stall, real_ns()) {
            // Not by std's handle, whose lock the thread may hold that is stuck.
            write_stderr(line.as_bytes());
            let functions = functions(stall);
            if !functions.is_empty() {
                write_stderr(
                    format!(
                        "green: worker {} of {} stands in {}\n",
                        stall.worker,
                        stall.runtime,
                        functions.join(" < ")
                    )
                    .as_bytes(),
                );
            }
        }
    }

    fn line(&mut self, stall: &Stall, now_ns: u64) -> Option<String> {
        if now_ns < self.next_ns {
            self.left_out += 1;
            return None;
        }
        self.next_ns = now_ns + PAUSE_NS;
        let mut line = format!("green: {stall}");
        match std::mem::take(&mut self.left_out) {
            0 => {}
            left_out => _ = write!(line, " (and {left_out} more stalls since the last line)"),
        }
        line.push('\n');
        Some(line)
    }
}

/// The names of the functions on the thread's stack, but for those of this crate that call its closure.
fn functions(stall: &Stall) -> Vec<String> {
    let mut symbols = Symbols::default();
    let mut names = Vec::new();
    for address in &stall.frames {
        let module = |symbol: &Symbol| symbol.module.as_ref().map(|(module, offset)| format!("{module}+{offset:#x}"));
        let here = symbols.at(*address).iter().filter_map(|symbol| symbol.name.clone().or_else(|| module(symbol)));
        for name in here {
            if names.len() == FUNCTIONS || name.starts_with("green::task::block::") {
                return names;
            }
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stall::RuntimeName;
    use crate::stall::report::StallCause;

    #[test]
    fn a_line_counts_those_that_were_not_written_since_the_last_one() {
        let (worker, duration, cause) = (2, Duration::from_millis(31), StallCause::Computes);
        let runtime = RuntimeName::next("db");
        let text = format!("green: worker 2 of {runtime} stalled for 31 ms: its thread computes");
        assert!(text.contains(" \"db\" "));
        let stall = Stall { runtime, worker, duration, cause, thread: None, frames: Vec::new() };
        let mut line = StallLine::new();
        assert_eq!(line.line(&stall, 5), Some(format!("{text}\n")));
        assert_eq!(line.line(&stall, 6), None);
        assert_eq!(line.line(&stall, 7), None);
        let last = line.line(&stall, 5 + PAUSE_NS);
        assert_eq!(last, Some(format!("{text} (and 2 more stalls since the last line)\n")));
        assert_eq!(line.line(&stall, 5 + 2 * PAUSE_NS), Some(format!("{text}\n")));
    }
}
