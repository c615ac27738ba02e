//! A dump for people: groups of threads that do the same in the same place.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::panic::Location;
use std::sync::Arc;

use crate::dump::stacks::Symbols;
use crate::dump::{ThreadInfo, ThreadStatus, for_each};

/// So many of a group are named.
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
}

#[derive(Debug)]
struct GroupMember {
    id: u64,
    name: Option<Box<str>>,
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
/// and names. So the text is as long as the program is varied, not as its threads are many. The form may change with any version.
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
        let members = groups.entry(Kind { status, spawned_at, frames: Arc::clone(&thread.frames) }).or_default();
        members.count += 1;
        if members.named.len() < NAMED {
            members.named.push(GroupMember { id: thread.id.number(), name: thread.name.clone() });
        }
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
    for address in &**frames {
        for function in functions.at(*address) {
            match &function.name {
                Some(name) => write!(out, "    {name}")?,
                None => write!(out, "    {address:#x}")?,
            }
            match (&function.file, function.line) {
                (Some(file), Some(line)) => writeln!(out, "  {file}:{line}")?,
                _ => writeln!(out)?,
            }
        }
    }
    Ok(())
}
