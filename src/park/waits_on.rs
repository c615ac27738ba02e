//! Whose a wait is: what a thread waits for, and who has that. The thread notes an address or a number before it waits
//! ([`Wait::on`](super::Wait::on)): one store. Others make sense of it when somebody asks.
//!
//! # Reading it from outside
//!
//! The noted address is valid as long as the wait lasts, and the wait may end at any moment. So what is there is read by
//! [`Peek`], which takes any address, and counts only if a second look at the wait word finds the same wait:
//!
//! ```text
//!  the thread                                  the one that looks
//!  N1  notes what it waits for                 R1  looks at the wait word: WAITING; the thread has suspended
//!  N2  wait word := WAITING, epoch e           R2  reads the note, and by `Peek` what is there
//!  N3  suspends                                R3  heavy fence
//!  N4  the wait ends: wait word := NOTIFIED    R4  the wait word is the same? Then all of it was there
//!  N5  goes on; what it waited for may go
//! ```
//!
//! `sched::listing` does the first and the last with a fence for each, which says why R2 does not read the note of a wait before; it does
//! not read that of a later one, as no later wait has the epoch of R1. Until R4 a note is any word: so sums of one go around. Who holds a lock is a hint, as in `sync::holder`: of the moment when it was read.

use std::fmt;
use std::mem::offset_of;
use std::ptr;

use crossbeam_utils::CachePadded;

use crate::sys::peek::Peek;
use crate::task::Header;
use crate::task::header::Reason;
use crate::task::id::ThreadId;
use crate::task::noted::identity;

/// The note is the address of a [`DatedWait`].
const DATED: usize = 1;
/// The channel never holds a message.
pub(crate) const EMPTY: usize = 2;
/// The note is a place with the address of the header that is meant, or null.
const PLACE: usize = 2;
/// The note is the address of a [`NotedMany`].
pub(super) const MANY: usize = 4;
const _: () = assert!(align_of::<Header>() > MANY, "the address of a header is a note");
/// Of several things that a thread waits for, so many are told.
const TOLD_OF_MANY: usize = 8;
/// Where the number of a descriptor stands in a note.
pub(crate) const FD_SHIFT: u32 = 2;

/// For these it is noted on what a thread waits.
const TOLD: &[Reason] = &[
    Reason::Mutex,
    Reason::RwLock,
    Reason::Once,
    Reason::Join,
    Reason::Scope,
    Reason::Ask,
    Reason::Capacity,
    Reason::End,
    Reason::Send,
    Reason::Receive,
    Reason::Readable,
    Reason::Writable,
    Reason::Blocking,
    Reason::Condvar,
    Reason::Semaphore,
    Reason::Barrier,
    Reason::WaitGroup,
    Reason::Select,
];

/// The note of a wait with a deadline, in the frame of the thread that waits.
#[derive(Debug)]
#[repr(C)]
pub(super) struct DatedWait {
    pub(super) on: usize,
    pub(super) deadline_ns: u64,
}

impl DatedWait {
    /// What is noted in the header.
    #[inline(always)]
    pub(super) fn mark(&self) -> usize {
        std::ptr::from_ref(self).expose_provenance() | DATED
    }
}

/// What a thread notes that waits for the first of several things: where the words are that it would note for each. In its frame.
/// [`MANY`] and [`PLACE`] are free in its address, also where words have 32 bits.
#[derive(Debug)]
#[repr(C, align(8))]
pub(crate) struct NotedMany {
    first: usize,
    /// From one to the next.
    stride: usize,
    count: usize,
}

impl NotedMany {
    /// The words stand in the items. These stay where they are as long as the wait lasts.
    #[inline(always)]
    pub(crate) fn of<T, W>(items: &[T], word: impl Fn(&T) -> &W) -> Self {
        let first = items.first().map_or(0, |item| ptr::from_ref(word(item)).expose_provenance());
        Self { first, stride: size_of::<T>(), count: items.len() }
    }
}

/// A note for what the actor owes whose header's address stands there: [`Wait::on_owed`](super::Wait::on_owed).
#[inline(always)]
pub(crate) fn debt_note<T>(place: *const T) -> usize {
    place.expose_provenance() | PLACE
}

/// How a lock of `sync` begins, in memory.
#[repr(C)]
pub(crate) struct LockImage {
    pub(crate) word: u32,
    /// The number of the thread that has it alone; 0: it is none of ours. Old when nobody has it.
    pub(crate) holder: u64,
    /// The number of a thread that has it with others, perhaps; 0: none is known.
    #[cfg(any(debug_assertions, green_deadlocks))]
    pub(crate) reader: u64,
}

/// The bit in the word of a mutex that says that a thread has it.
pub(crate) const LOCKED: u32 = 1;
/// The bit in the word of a lock for readers and a writer that says that a writer has it.
pub(crate) const WRITER: u32 = 1 << 3;
/// Where the number of its readers stands.
pub(crate) const READERS_SHIFT: u32 = 4;
/// Where the receiving side of a channel with a buffer begins; the sending side is at its begin.
pub(crate) const RECEIVING_SIDE: usize = align_of::<CachePadded<u8>>();
/// Where the position stands in the word with which each side begins.
pub(crate) const POSITION_SHIFT: u32 = 3;

/// Whose a wait is: what a thread waits for, and who has that.
///
/// ```
/// use green::dump::WaitsOn;
/// assert_eq!(WaitsOn::Descriptor(7).to_string(), "descriptor 7");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum WaitsOn {
    /// A lock, or a `Once` whose initialiser runs.
    Lock {
        /// Tells one from the other.
        address: usize,
        /// Who had it when it was looked at.
        held_by: HeldBy,
    },
    /// The end of a thread.
    Thread {
        /// The number of that thread.
        id: ThreadId,
        /// Its name, if it has one.
        name: Option<Box<str>>,
    },
    /// A message, or room for one.
    Channel {
        /// Tells one from the other.
        address: usize,
        /// Messages in it.
        len: usize,
    },
    /// An event of the descriptor with this number; [`status`](crate::dump::ThreadInfo::status) says of which direction.
    Descriptor(i32),
    /// What an actor owes: a reply, room in its mailbox, its end.
    Actor {
        /// The number of the actor, which it has in a dump, too.
        id: ThreadId,
        /// Its name, if it has one.
        name: Option<Box<str>>,
    },
    /// A condition variable, a semaphore, a barrier, a wait group; [`status`](crate::dump::ThreadInfo::status) says which of these. Whose turn it is to end the wait, nobody knows:
    /// any thread that has it may.
    Object {
        /// Tells one from the other. (A wait group's is the same for all its members.)
        address: usize,
    },
    /// The first of several: of messages, or of room, in a `select!`; of actors' replies.
    FirstOf {
        /// How many they are.
        count: usize,
        /// The first of them, at most 8, in the order in which the thread has tried them last; but for those of which nothing is known, as of a timer.
        some: Vec<WaitsOn>,
    },
    /// A closure that runs on a thread that may block, or waits for one: the name of its type, which begins with the function that it is from.
    BlockingCall(&'static str),
}

/// Who has a lock.
///
/// ```
/// use green::dump::HeldBy;
/// assert_eq!(HeldBy::Readers { count: 2, one: None }.to_string(), "2 readers");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum HeldBy {
    /// A green thread, alone.
    Thread(ThreadId),
    /// Readers.
    Readers {
        /// How many.
        count: u32,
        /// One of them, in debug builds, and in release builds that are made with `GREEN_DEADLOCKS=1` in the environment; elsewhere a lock has no room for it, and to take it is
        /// one instruction on its word.
        one: Option<ThreadId>,
    },
    /// An OS thread; or nobody: it has just been let go.
    Other,
}

impl fmt::Display for HeldBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread(id) => write!(f, "thread {}", id.number()),
            Self::Readers { count: 1, one: None } => f.write_str("a reader"),
            Self::Readers { count: 1, one: Some(id) } => write!(f, "a reader, thread {}", id.number()),
            Self::Readers { count, one: None } => write!(f, "{count} readers"),
            Self::Readers { count, one: Some(id) } => write!(f, "{count} readers, one of them thread {}", id.number()),
            Self::Other => f.write_str("no green thread"),
        }
    }
}

impl fmt::Display for WaitsOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |f: &mut fmt::Formatter<'_>, what, id: &ThreadId, name: &Option<Box<str>>| match name {
            Some(name) => write!(f, "{what} {} {name:?}", id.number()),
            None => write!(f, "{what} {}", id.number()),
        };
        match self {
            Self::Lock { address, held_by } => write!(f, "lock {address:#x}, held by {held_by}"),
            Self::Thread { id, name } => named(f, "thread", id, name),
            Self::Channel { address, len } => write!(f, "channel {address:#x}, messages in it: {len}"),
            Self::Descriptor(fd) => write!(f, "descriptor {fd}"),
            Self::Object { address } => write!(f, "object {address:#x}"),
            Self::Actor { id, name } => named(f, "actor", id, name),
            Self::FirstOf { count, some } => {
                write!(f, "the first of {count}")?;
                some.iter().enumerate().try_for_each(|(at, one)| write!(f, "{} {one}", if at == 0 { ":" } else { ";" }))
            }
            Self::BlockingCall(name) => write!(f, "closure {name}"),
        }
    }
}

/// What was read of a wait that may be over by now.
#[derive(Debug)]
pub(crate) struct WaitNote {
    on: Option<NotedTarget>,
    deadline_ns: Option<u64>,
}

#[derive(Debug)]
enum NotedTarget {
    Known(WaitsOn),
    /// The address of a function in a static.
    Call(usize),
}

impl WaitNote {
    /// Step R2.
    pub(crate) fn read(thread: &Header, peek: &Peek) -> Self {
        let (reason, on) = thread.noted(TOLD);
        Self::of(reason, on, peek)
    }

    fn of(reason: Option<Reason>, mut on: usize, peek: &Peek) -> Self {
        let mut deadline_ns = None;
        if on & DATED != 0 {
            let dated = on & !DATED;
            deadline_ns = peek.u64(dated.wrapping_add(offset_of!(DatedWait, deadline_ns)));
            on = peek.word(dated.wrapping_add(offset_of!(DatedWait, on))).unwrap_or(0);
        }
        Self { on: reason.filter(|_| on != 0).and_then(|reason| read_what(reason, on, peek)), deadline_ns }
    }

    /// What the thread waits for, if that is noted, and until when.
    ///
    /// # Safety
    ///
    /// Step R4: the thread was in one wait from before it was read until after that.
    pub(crate) unsafe fn confirm(self) -> (Option<WaitsOn>, Option<u64>) {
        let on = self.on.map(|read| match read {
            NotedTarget::Known(on) => on,
            NotedTarget::Call(address) => {
                // SAFETY: as the caller promises: such a wait notes this, a static (`Wait::on` in `blocking::call`).
                let name = unsafe { *std::ptr::with_exposed_provenance::<fn() -> &'static str>(address) };
                WaitsOn::BlockingCall(name())
            }
        });
        (on, self.deadline_ns)
    }
}

fn read_what(reason: Reason, on: usize, peek: &Peek) -> Option<NotedTarget> {
    // What others have noted may be of one thing as well, whose place has any bits but its own.
    let is_many = reason == Reason::Select || reason == Reason::Ask && on & (PLACE | MANY) == MANY;
    if !is_many {
        return read_one(reason, on, peek);
    }
    let of_each = if reason == Reason::Select { Reason::Receive } else { Reason::Ask };
    read_many(of_each, on & !MANY, peek).map(NotedTarget::Known)
}

fn read_one(reason: Reason, on: usize, peek: &Peek) -> Option<NotedTarget> {
    let waits_on = match reason {
        Reason::Mutex | Reason::RwLock | Reason::Once => read_lock(reason, on, peek)?,
        Reason::Join | Reason::Scope => {
            let (id, name) = identity(on, peek)?;
            WaitsOn::Thread { id, name }
        }
        Reason::Ask if on & PLACE != 0 => {
            let header = || peek.word(on & !PLACE).filter(|header| *header != 0);
            let there = header()?;
            let (id, name) = identity(there, peek)?;
            // Another may owe it by now, and that one be gone.
            (header()? == there).then_some(WaitsOn::Actor { id, name })?
        }
        Reason::Ask | Reason::Capacity | Reason::End => {
            let (id, name) = identity(on, peek)?;
            WaitsOn::Actor { id, name }
        }
        Reason::Send | Reason::Receive if on & EMPTY != 0 => WaitsOn::Channel { address: on & !EMPTY, len: 0 },
        Reason::Send | Reason::Receive => {
            let received = peek.u64(on.wrapping_add(RECEIVING_SIDE))? >> POSITION_SHIFT;
            let sent = peek.u64(on)? >> POSITION_SHIFT;
            WaitsOn::Channel { address: on, len: sent.saturating_sub(received) as usize }
        }
        Reason::Readable | Reason::Writable => WaitsOn::Descriptor((on >> FD_SHIFT) as i32),
        Reason::Condvar | Reason::Semaphore | Reason::Barrier | Reason::WaitGroup => WaitsOn::Object { address: on },
        Reason::Blocking => return Some(NotedTarget::Call(on)),
        _ => return None,
    };
    Some(NotedTarget::Known(waits_on))
}

/// The notes are such as of a wait for that `reason`.
fn read_many(reason: Reason, many: usize, peek: &Peek) -> Option<WaitsOn> {
    let word = |at: usize| peek.word(many.wrapping_add(at));
    let first = word(offset_of!(NotedMany, first))?;
    let stride = word(offset_of!(NotedMany, stride))?;
    let count = word(offset_of!(NotedMany, count))?;
    let read = |at: usize| match peek.word(first.wrapping_add(at.wrapping_mul(stride)))? {
        0 => None,
        on => read_one(reason, on, peek),
    };
    let known = (0..count.min(TOLD_OF_MANY)).filter_map(read).filter_map(|one| match one {
        NotedTarget::Known(on) => Some(on),
        NotedTarget::Call(_) => None,
    });
    Some(WaitsOn::FirstOf { count, some: known.collect() })
}

fn read_lock(reason: Reason, address: usize, peek: &Peek) -> Option<WaitsOn> {
    let holder = peek.u64(address.wrapping_add(offset_of!(LockImage, holder)))?;
    let mut word = [0; 4];
    let word = peek.read(address, &mut word).then(|| u32::from_ne_bytes(word))?;
    let taken = match reason {
        Reason::Mutex => word & LOCKED,
        Reason::RwLock => word & WRITER,
        // Whoever waits for a `Once` has seen that its initialiser runs.
        _ => 1,
    };
    let readers = if reason == Reason::RwLock { word >> READERS_SHIFT } else { 0 };
    let held_by = match ThreadId::new(holder) {
        _ if readers != 0 => HeldBy::Readers { count: readers, one: read_reader(address, peek) },
        Some(id) if taken != 0 => HeldBy::Thread(id),
        _ => HeldBy::Other,
    };
    Some(WaitsOn::Lock { address, held_by })
}

/// One of those that have a lock for reading.
#[cfg(any(debug_assertions, green_deadlocks))]
fn read_reader(address: usize, peek: &Peek) -> Option<ThreadId> {
    peek.u64(address.wrapping_add(offset_of!(LockImage, reader))).and_then(ThreadId::new)
}

/// Nobody writes it down there.
#[cfg(not(any(debug_assertions, green_deadlocks)))]
fn read_reader(_: usize, _: &Peek) -> Option<ThreadId> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As memory may look that is used for something else by now.
    #[test]
    #[cfg(all(target_os = "linux", not(miri)))]
    fn a_note_of_several_things_that_is_one_of_them_is_read_once() {
        let mut words = [0_usize; 2];
        let many = NotedMany::of(&words, |word| word);
        let note = ptr::from_ref(&many).expose_provenance() | MANY;
        words[0] = note;
        std::hint::black_box(&mut words);
        let read = read_what(Reason::Ask, note, &Peek::new());
        assert!(matches!(read, Some(NotedTarget::Known(WaitsOn::FirstOf { count: 2, .. }))), "{read:?}");
    }

    /// As the word may look that is used for something else by now.
    #[test]
    #[cfg(all(target_os = "linux", not(miri)))]
    fn a_note_at_the_end_of_the_address_space_is_no_overflow() {
        let peek = Peek::new();
        for (reason, below) in TOLD.iter().flat_map(|reason| (1..=2 * RECEIVING_SIDE).map(move |below| (reason, below)))
        {
            let on = 0_usize.wrapping_sub(below);
            _ = WaitNote::of(Some(*reason), on, &peek);
            _ = identity(on, &peek);
        }
    }
}
