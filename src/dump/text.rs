//! A dump for people: groups of threads that do the same in the same place.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::dump::stacks::Symbols;
use crate::dump::{ThreadInfo, ThreadStatus, WaitsOn, for_each};

/// So many of a group are named, and so many of the things that they wait on.
const NAMED: usize = 5;

/// What the threads of a group have in common.
#[derive(PartialEq, Eq, Hash, Debug)]
struct Kind {
    status: ThreadStatus,
    spawned_at: &'static Location<'static>,
    frames: Arc<[usize]>,
}

#[derive(Default, Debug)]
struct Alike {
    count: usize,
    named: Vec<GroupMember>,
    /// What the first of them wait on, each with how many do.
    on: Vec<(WaitsOn, usize)>,
    /// How many wait on something else.
    on_others: usize,
    longest: Option<Duration>,
    /// The first time to be over.
    first_over: Option<Duration>,
}

#[derive(Debug)]
struct GroupMember {
    id: u64,
    name: Option<Box<str>>,
}

impl Alike {
    fn add(&mut self, thread: &ThreadInfo) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(GroupMember { id: thread.id.number(), name: thread.name.clone() });
        }
        if let Some(on) = &thread.waits_on {
            if let Some((_, count)) = self.on.iter_mut().find(|(known, _)| known == on) {
                *count += 1;
            } else if self.on.len() < NAMED {
                self.on.push((on.clone(), 1));
            } else {
                self.on_others += 1;
            }
        }
        self.longest = self.longest.max(thread.waited);
        self.first_over = [self.first_over, thread.time_left].into_iter().flatten().min();
    }
}

impl fmt::Display for GroupMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} {name:?}", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

/// Writes what every green thread of the process does, as text for people, largest groups first.
///
/// Threads that do the same, have equal stacks and were spawned by the same call are one group, with their count and the first of their numbers
/// and names, and what the first of them wait on: a lock with who holds it, a thread, a channel, a descriptor, an actor. So the text is as long as the program is varied, not as its threads are many. The form may change with any version.
///
/// ```standalone_crate
/// green::dump::text(&mut std::io::stderr())?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Those of [`for_each`], and of `out`.
pub fn text(out: &mut impl Write) -> io::Result<()> {
    let mut groups: HashMap<Kind, Alike> = HashMap::new();
    let mut count = 0;
    for_each(|thread| {
        count += 1;
        let ThreadInfo { status, spawned_at, .. } = *thread;
        groups.entry(Kind { status, spawned_at, frames: Arc::clone(&thread.frames) }).or_default().add(thread);
        Ok(())
    })?;
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, members)| (usize::MAX - members.count, members.named[0].id));
    let mut out = io::BufWriter::new(out);
    writeln!(out, "green threads: {count}")?;
    let mut functions = Symbols::default();
    for (kind, members) in &groups {
        write_group(&mut out, kind, members, &mut functions)?;
    }
    out.flush()
}

fn write_group(out: &mut impl Write, kind: &Kind, members: &Alike, functions: &mut Symbols) -> io::Result<()> {
    let Kind { status, spawned_at, frames } = kind;
    let threads = if members.count == 1 { "thread" } else { "threads" };
    write!(out, "\n{} {threads}, {status}, spawned at {spawned_at}: ", members.count)?;
    for (at, member) in members.named.iter().enumerate() {
        write!(out, "{}{member}", if at == 0 { "" } else { ", " })?;
    }
    writeln!(out, "{}", if members.count > members.named.len() { ", …" } else { "" })?;
    for (on, count) in &members.on {
        let count = if members.count == 1 { String::new() } else { format!("{count} ") };
        writeln!(out, "  {count}on {on}")?;
    }
    if members.on_others > 0 {
        writeln!(out, "  {} on others", members.on_others)?;
    }
    if let Some(longest) = members.longest {
        writeln!(out, "  {}for {longest:.1?} at least", if members.count == 1 { "" } else { "the longest " })?;
    }
    if let Some(left) = members.first_over {
        writeln!(out, "  {}for {left:.1?} more at most", if members.count == 1 { "" } else { "the first " })?;
    }
    for address in &**frames {
        for function in functions.at(*address) {
            match (&function.name, &function.module) {
                (Some(name), _) => write!(out, "    {name}")?,
                (None, Some((module, offset))) => write!(out, "    {module}+{offset:#x}")?,
                (None, None) => write!(out, "    {address:#x}")?,
            }
            match (&function.file, function.line) {
                (Some(file), Some(line)) => writeln!(out, "  {file}:{line}")?,
                _ => writeln!(out)?,
            }
        }
    }
    Ok(())
}
