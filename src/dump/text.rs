//! A dump for people: groups of threads that do the same in the same place.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::dump::stacks::Symbols;
use crate::dump::{RuntimeName, ThreadInfo, ThreadStatus, WaitsOn, for_each};

/// So many of a group are named, and so many of the things that they wait on.
const NAMED: usize = 5;

/// Up to twice so many groups are told apart by their stacks: nobody reads more, and each takes up to 2 KiB. Where there would be more, the smaller half is not any more.
const BY_STACK: usize = 4096;

/// What the threads of a group have in common.
#[derive(PartialEq, Eq, Hash, Debug)]
struct Kind {
    status: ThreadStatus,
    /// Whose worker it is that they run on; `None`: they run on none.
    runtime: Option<RuntimeName>,
    spawned_at: &'static Location<'static>,
    /// `None`: in rare stacks, which are not told apart any more.
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
            self.add_on(on, 1);
        }
        self.add_times(thread.waited, thread.time_left);
    }

    fn add_on(&mut self, on: &WaitsOn, more: usize) {
        if let Some((_, count)) = self.on.iter_mut().find(|(known, _)| known == on) {
            *count += more;
        } else if self.on.len() < NAMED {
            self.on.push((on.clone(), more));
        } else {
            self.on_others += more;
        }
    }

    fn add_times(&mut self, waited: Option<Duration>, left: Option<Duration>) {
        self.longest = self.longest.max(waited);
        self.first_over = [self.first_over, left].into_iter().flatten().min();
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.named.extend(other.named);
        self.named.truncate(NAMED);
        other.on.iter().for_each(|(on, more)| self.add_on(on, *more));
        self.on_others += other.on_others;
        self.add_times(other.longest, other.first_over);
    }
}

/// The groups, as far as threads have been met.
#[derive(Default)]
struct ThreadGroups {
    by_stack: HashMap<Kind, Alike>,
    /// In rare stacks, or of which no stack is known: no more than there are places that spawn, times what a thread does.
    others: HashMap<Kind, Alike>,
}

impl ThreadGroups {
    fn add(&mut self, thread: &ThreadInfo) {
        let ThreadInfo { status, spawned_at, ref runtime, ref frames, .. } = *thread;
        let runtime = matches!(status, ThreadStatus::Running(_)).then(|| runtime.clone());
        let kind = Kind { status, runtime, spawned_at, frames: Some(Arc::clone(frames)) };
        let groups = if frames.is_empty() { &mut self.others } else { &mut self.by_stack };
        groups.entry(kind).or_default().add(thread);
        if self.by_stack.len() == BY_STACK * 2 {
            self.fold();
        }
    }

    /// The stacks of the smaller half are not told apart any more.
    fn fold(&mut self) {
        let mut groups = largest_first(self.by_stack.drain());
        for (kind, members) in groups.drain(BY_STACK..) {
            self.others.entry(Kind { frames: None, ..kind }).or_default().merge(members);
        }
        self.by_stack.extend(groups);
    }

    fn largest_first(self) -> Vec<(Kind, Alike)> {
        largest_first(self.by_stack.into_iter().chain(self.others))
    }
}

fn largest_first(groups: impl Iterator<Item = (Kind, Alike)>) -> Vec<(Kind, Alike)> {
    let mut groups: Vec<_> = groups.collect();
    groups.sort_unstable_by_key(|(_, members)| (usize::MAX - members.count, members.named[0].id));
    groups
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
/// and names, and what the first of them wait on: a lock with who holds it, a thread, a channel, a descriptor, an actor. So the text is as long as the program is varied, not as its threads are many. Where there are 8192 groups, the smaller half of them are told apart no more by their stacks, and so on: [`json`](super::json) has them all. The form may change
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
    let mut out = io::BufWriter::new(out);
    writeln!(out, "green threads: {count}")?;
    let mut functions = Symbols::default();
    for (kind, members) in &groups.largest_first() {
        write_group(&mut out, kind, members, &mut functions)?;
    }
    out.flush()
}

fn write_group(out: &mut impl Write, kind: &Kind, members: &Alike, functions: &mut Symbols) -> io::Result<()> {
    let Kind { status, runtime, spawned_at, frames } = kind;
    let runtime = runtime.as_ref().map(|runtime| format!(" of {runtime}")).unwrap_or_default();
    let threads = if members.count == 1 { "thread" } else { "threads" };
    write!(out, "\n{} {threads}, {status}{runtime}, spawned at {spawned_at}: ", members.count)?;
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
        writeln!(out, "    in rarer stacks, where there were {} different ones or more", BY_STACK * 2)?;
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

    fn info(number: usize, stack: &[usize]) -> ThreadInfo {
        ThreadInfo {
            id: ThreadId::new(number as u64 + 1).expect("it is not 0"),
            name: None,
            runtime: RuntimeName::next("green"),
            status: ThreadStatus::Ready,
            spawned_at: Location::caller(),
            waits_on: None,
            waited: None,
            time_left: None,
            frames: Arc::from(stack),
        }
    }

    fn text_of(kind: &Kind, members: &Alike) -> String {
        let mut text = Vec::new();
        write_group(&mut text, kind, members, &mut Symbols::default()).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn each_thread_is_in_a_group_and_the_groups_are_bounded() {
        let mut groups = ThreadGroups::default();
        (0..BY_STACK * 7).for_each(|number| {
            groups.add(&info(number, &[number]));
            assert!(groups.by_stack.len() <= BY_STACK * 2);
        });
        let all = groups.largest_first();
        assert_eq!(all.iter().map(|(_, members)| members.count).sum::<usize>(), BY_STACK * 7);
        let (kind, rare) = &all[0];
        let text = text_of(kind, rare);
        assert!(kind.frames.is_none(), "{text}");
        assert!(text.contains(&format!("{} threads, ready", rare.count)) && text.contains("in rarer stacks"), "{text}");
        assert_eq!(rare.named.iter().map(|member| member.id).collect::<Vec<_>>(), [4097, 4098, 4099, 4100, 4101]);
    }

    #[test]
    fn a_large_group_that_was_met_after_many_small_ones_was_lost() {
        let mut groups = ThreadGroups::default();
        (0..BY_STACK * 3).for_each(|number| groups.add(&info(number, &[number])));
        (0..100).for_each(|number| groups.add(&info(number, &[7, 7])));
        (0..BY_STACK * 3).for_each(|number| groups.add(&info(number, &[number, 1])));
        let all = groups.largest_first();
        let is_it = |(kind, members): &&(Kind, Alike)| kind.frames.as_deref() == Some(&[7, 7]) && members.count == 100;
        assert!(all.iter().any(|group| is_it(&group)));
    }

    #[test]
    fn threads_of_which_no_stack_is_known_were_put_among_those_in_rarer_stacks() {
        let mut groups = ThreadGroups::default();
        (0..BY_STACK * 3).for_each(|number| groups.add(&info(number, &[number])));
        (0..3).for_each(|number| groups.add(&info(number, &[])));
        let all = groups.largest_first();
        let (kind, members) = all.iter().find(|(_, members)| members.count == 3).unwrap();
        assert!(!text_of(kind, members).contains("in rarer stacks"));
    }
}
