//! A dump for programs: a line of JSON for each thread.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use crate::dump::stacks::{KEPT, Symbol, Symbols};
use crate::dump::{HeldBy, ThreadInfo, ThreadStatus, WaitsOn, for_each};
use crate::task::id::ThreadId;

/// Writes every green thread of the process as a line of JSON, as it is met. Of threads that have not started it keeps three words each until the end, of those that may move, and of those of a runtime that has had actors, a word; of the others nothing, however many they are; and the last of the distinct stacks, 16384 at most.
///
/// A line of a thread has `id`; `name`, if it has one; `state`: `"unstarted"`, `"ready"`, `"running"` (then `worker` is the number of its worker) or
/// `"waiting"` (then `waits_for` says what for); `spawned_at`, as `file:line:column`; `runtime`, a number, and `runtime_name`, if it has one; and `stack`, a number, if its stack
/// is known. Of one that waits there is more, as far as it is known, as in [`ThreadInfo`]: `lock`, an address, and `held_by`, a thread, or `readers`, their count, and `reader`, one of them, where deadlocks are named; `thread`, the one
/// that it joins, and `thread_name`; `actor` and `actor_name`; `channel`, an address, and `messages`, those in it; `object`, the address of a condition variable, semaphore, barrier or wait group; `descriptor`; `closure`, of a blocking call;
/// `waited_ms`, at least; `left_ms`, until its time is over. A stack has a line of its own before the first thread that has it (where there are more distinct ones than are kept, again before a later thread, with another number): `stack` and `frames`, innermost first, each with `function`, `file`
/// and `line` as far as they are known, else with `address`, and, of the program or library that this is in, `module` and `offset`. More names may come.
///
/// ```standalone_crate
/// let mut lines = Vec::new();
/// green::run(|| green::dump::json(&mut lines))?;
/// let lines = String::from_utf8(lines).unwrap();
/// assert!(lines.lines().any(|line| line.contains(r#""state":"running""#)));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Those of [`for_each`], and of `out`.
pub fn json(out: &mut impl Write) -> io::Result<()> {
    let mut out = io::BufWriter::new(out);
    let result = write_all(&mut out).and_then(|()| out.flush());
    // After an error its destructor would try once more.
    let _ = out.into_parts();
    result
}

fn write_all(out: &mut impl Write) -> io::Result<()> {
    let mut numbers = StackNumbers::default();
    let mut functions = Symbols::default();
    for_each(|thread| {
        let mut stack = None;
        if !thread.frames.is_empty() {
            let (number, is_new) = numbers.number(&thread.frames);
            if is_new {
                write_stack(out, number, &thread.frames, &mut functions)?;
            }
            stack = Some(number);
        }
        write_thread(out, thread, stack)
    })
}

/// The numbers that stacks have been given, as far as they are kept.
#[derive(Default)]
struct StackNumbers {
    kept: HashMap<Arc<[usize]>, usize>,
    last: usize,
}

impl StackNumbers {
    /// The number of a stack, and whether it has been given now.
    fn number(&mut self, stack: &Arc<[usize]>) -> (usize, bool) {
        if let Some(number) = self.kept.get(stack) {
            return (*number, false);
        }
        if self.kept.len() == KEPT {
            self.kept.clear();
        }
        self.last += 1;
        self.kept.insert(Arc::clone(stack), self.last);
        (self.last, true)
    }
}

fn write_thread(out: &mut impl Write, thread: &ThreadInfo, stack: Option<usize>) -> io::Result<()> {
    write!(out, r#"{{"id":{}"#, thread.id.number())?;
    if let Some(name) = thread.name() {
        write!(out, r#","name":{}"#, Quoted(name))?;
    }
    match thread.status {
        ThreadStatus::Unstarted => write!(out, r#","state":"unstarted""#)?,
        ThreadStatus::Ready => write!(out, r#","state":"ready""#)?,
        ThreadStatus::Running(worker) => write!(out, r#","state":"running","worker":{worker}"#)?,
        ThreadStatus::Waiting(reason) => write!(out, r#","state":"waiting","waits_for":{}"#, Quoted(reason))?,
    }
    write!(out, r#","spawned_at":{}"#, Quoted(&thread.spawned_at.to_string()))?;
    write!(out, r#","runtime":{}"#, thread.runtime.number())?;
    if let Some(name) = thread.runtime.name() {
        write!(out, r#","runtime_name":{}"#, Quoted(name))?;
    }
    if let Some(on) = &thread.waits_on {
        write_waits_on(out, on)?;
    }
    for (name, time) in [("waited_ms", thread.waited), ("left_ms", thread.time_left)] {
        if let Some(time) = time {
            write!(out, r#","{name}":{}"#, time.as_millis())?;
        }
    }
    if let Some(stack) = stack {
        write!(out, r#","stack":{stack}"#)?;
    }
    writeln!(out, "}}")
}

fn write_waits_on(out: &mut dyn Write, on: &WaitsOn) -> io::Result<()> {
    let mut named = |what, id: ThreadId, name: &Option<Box<str>>| {
        write!(out, r#","{what}":{}"#, id.number())?;
        name.as_ref().map_or(Ok(()), |name| write!(out, r#","{what}_name":{}"#, Quoted(name)))
    };
    match on {
        WaitsOn::Lock { address, held_by } => {
            write!(out, r#","lock":"{address:#x}""#)?;
            match held_by {
                HeldBy::Thread(id) => write!(out, r#","held_by":{}"#, id.number()),
                HeldBy::Readers { count, one } => {
                    write!(out, r#","readers":{count}"#)?;
                    one.map_or(Ok(()), |id| write!(out, r#","reader":{}"#, id.number()))
                }
                HeldBy::Other => Ok(()),
            }
        }
        WaitsOn::Thread { id, name } => named("thread", *id, name),
        WaitsOn::Actor { id, name } => named("actor", *id, name),
        WaitsOn::Channel { address, len } => write!(out, r#","channel":"{address:#x}","messages":{len}"#),
        WaitsOn::Object { address } => write!(out, r#","object":"{address:#x}""#),
        WaitsOn::Descriptor(fd) => write!(out, r#","descriptor":{fd}"#),
        WaitsOn::FirstOf { count, some } => {
            write!(out, r#","first_of":{count},"some":["#)?;
            for (at, one) in some.iter().enumerate() {
                let mut fields = Vec::new();
                write_waits_on(&mut fields, one)?;
                // They begin with a comma.
                write!(out, "{}{{", if at == 0 { "" } else { "," })?;
                out.write_all(&fields[1..])?;
                write!(out, "}}")?;
            }
            write!(out, "]")
        }
        WaitsOn::BlockingCall(name) => write!(out, r#","closure":{}"#, Quoted(name)),
    }
}

fn write_stack(out: &mut impl Write, number: usize, frames: &[usize], functions: &mut Symbols) -> io::Result<()> {
    write!(out, r#"{{"stack":{number},"frames":["#)?;
    let mut comma = "";
    for address in frames {
        for Symbol { name, module, file, line } in functions.at(*address) {
            match name {
                Some(name) => write!(out, r#"{comma}{{"function":{}"#, Quoted(name))?,
                None => write!(out, r#"{comma}{{"address":"{address:#x}""#)?,
            }
            if let Some((module, offset)) = module {
                write!(out, r#","module":{},"offset":"{offset:#x}""#, Quoted(module))?;
            }
            if let (Some(file), Some(line)) = (file, line) {
                write!(out, r#","file":{},"line":{line}"#, Quoted(file))?;
            }
            write!(out, "}}")?;
            comma = ",";
        }
    }
    writeln!(out, "]}}")
}

/// A string as JSON writes it.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        let mut rest = self.0;
        // Each such character is one byte.
        while let Some(at) = rest.find(|c| matches!(c, '"' | '\\' | '\0'..'\x20')) {
            f.write_str(&rest[..at])?;
            match rest.as_bytes()[at] {
                c @ (b'"' | b'\\') => write!(f, "\\{}", char::from(c))?,
                c => write!(f, "\\u{c:04x}")?,
            }
            rest = &rest[at + 1..];
        }
        f.write_str(rest)?;
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_more_distinct_stacks_than_are_kept_each_number_is_of_one() {
        let mut numbers = StackNumbers::default();
        let stack = |at: usize| Arc::from([at, 7]);
        for at in 0..KEPT {
            assert_eq!(numbers.number(&stack(at)), (at + 1, true));
        }
        assert_eq!(numbers.number(&stack(5)), (6, false));
        assert_eq!(numbers.number(&stack(KEPT)), (KEPT + 1, true));
        assert_eq!(numbers.number(&stack(5)), (KEPT + 2, true));
        assert_eq!(numbers.number(&stack(KEPT)), (KEPT + 1, false));
        assert!(numbers.kept.len() <= KEPT);
    }

    #[test]
    fn what_json_does_not_take_in_a_string_is_written_otherwise() {
        let text = Quoted("a \"b\" \\ \n\u{1} ü").to_string();
        assert_eq!(text, r#""a \"b\" \\ \u000a\u0001 ü""#);
    }
}
