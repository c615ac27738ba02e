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

/// So many groups are told apart by their stacks: nobody reads more, and each takes up to 2 KiB.
const BY_STACK: usize = 4096;

/// What the threads of a group have in common.
#[derive(PartialEq, Eq, Hash, Debug)]
struct Kind {
    status: ThreadStatus,
    spawned_at: &'static Location<'static>,
    /// `None`: in stacks that are not told apart any more.
    frames: Option<Arc<[usize]>>,
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

/// The groups, as far as threads have been met.
#[derive(Default)]
struct ThreadGroups(HashMap<Kind, Alike>);

impl ThreadGroups {
    fn add(&mut self, thread: &ThreadInfo) {
        let ThreadInfo { status, spawned_at, ref frames, .. } = *thread;
        let mut kind = Kind { status, spawned_at, frames: Some(Arc::clone(frames)) };
        if self.0.len() >= BY_STACK && !self.0.contains_key(&kind) {
            kind.frames = None;
        }
        self.0.entry(kind).or_default().add(thread);
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
/// and names, and what the first of them wait on: a lock with who holds it, a thread, a channel, a descriptor, an actor. So the text is as long as the program is varied, not as its threads are many. After 4096 groups those threads that are in none of them are told apart no more by their stacks: [`json`](super::json) has them all. The form may change
/// with any version.
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
    let mut groups = ThreadGroups::default();
    let mut count = 0;
    for_each(|thread| {
        count += 1;
        groups.add(thread);
        Ok(())
    })?;
    let mut groups: Vec<_> = groups.0.into_iter().collect();
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
    if frames.is_none() {
        writeln!(out, "    in other stacks than the groups, of which there are {BY_STACK} or more")?;
    }
    for address in frames.iter().flat_map(|frames| frames.iter()) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::id::ThreadId;

    fn info(number: usize, stack: usize) -> ThreadInfo {
        ThreadInfo {
            id: ThreadId::new(number as u64 + 1).expect("it is not 0"),
            name: None,
            status: ThreadStatus::Ready,
            spawned_at: Location::caller(),
            waits_on: None,
            waited: None,
            time_left: None,
            frames: Arc::from([stack]),
        }
    }

    #[test]
    fn each_thread_is_in_a_group_and_the_groups_are_bounded() {
        let mut groups = ThreadGroups::default();
        (0..BY_STACK * 3).for_each(|number| groups.add(&info(number, number % (BY_STACK * 2))));
        assert_eq!(groups.0.len(), BY_STACK + 1);
        assert_eq!(groups.0.values().map(|group| group.count).sum::<usize>(), BY_STACK * 3);
        let (kind, others) = groups.0.iter().find(|(kind, _)| kind.frames.is_none()).unwrap();
        // Of those that are told apart the first half has been met twice, the other stacks once.
        assert_eq!(others.count, BY_STACK);
        let mut text = Vec::new();
        write_group(&mut text, kind, others, &mut Symbols::default()).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("4096 threads, ready") && text.contains("in other stacks than the groups"), "{text}");
    }
}
