//! What an event says, and how it is packed: eight bits of kind, eight of detail, 48 of a number.
#![forbid(unsafe_code)]

const NUMBER_BITS: u32 = 48;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident,)*) => {
        /// What happened. The number of each is that of a thread, if nothing else is said.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub(crate) enum EventKind {
            $($(#[$doc])* $kind,)*
        }

        const KINDS: &[EventKind] = &[$(EventKind::$kind),*];
    };
}

kinds! {
    /// It has got a stack; its first turn begins.
    Starts,
    /// It is over.
    Ends,
    /// It goes on after a wait; or it was running, and the ring says so late.
    Runs,
    /// It waits. Detail: what for, as a `Reason` of the header; 0: not known.
    Parks,
    /// The thread that runs here, or the loop, has ended its wait.
    Wakes,
    /// The thread that runs here has made it.
    Spawns,
    /// It was woken by another OS thread: the worker has found it in its inbox.
    Arrives,
    /// The worker has taken it from elsewhere, not started.
    Stolen,
    /// The worker has sent it to another, not started.
    Given,
    /// Its timer was due.
    Timer,
    /// An actor begins with a message.
    MessageBegins,
    /// It is through with it.
    MessageEnds,
    /// The worker has nothing to run, and goes to sleep. Number: 0.
    Sleeps,
    /// It goes on. Number: 0.
    GetsUp,
    /// It has asked the system for events. Number: how many there were.
    Polls,
    /// Number: how many threads live on the worker. Detail: 0.
    Lives,
    /// Number: how many threads are ready. Detail: 0.
    Ready,
    /// A worker does not come round. Number: as [`stall_number`] makes it.
    Stalls,
    /// The run of an actor is over: it rests, or is queued again.
    Rests,
    /// What follows are the parts of its name. Among names only, as the next.
    IsNamed,
    /// A part of a name: the bytes of the number, then those of the ticks. Detail: how many bytes.
    NamePart,
}

/// Bytes of a name in one event.
pub(crate) const NAME_BYTES: usize = 14;

/// An event as it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FlightEntry {
    pub(crate) ticks: u64,
    pub(crate) kind: EventKind,
    pub(crate) detail: u8,
    pub(crate) number: u64,
}

#[inline(always)]
pub(super) fn pack(kind: EventKind, detail: u8, number: u64) -> u64 {
    kind as u64 | u64::from(detail) << 8 | number << (u64::BITS - NUMBER_BITS)
}

/// For how long a worker has not come round, in a stall's number: more would be 19 hours.
const STALL_US_BITS: u32 = 36;

/// What the number of a stall says: which worker of its runtime, and for how long.
pub(crate) fn stall_number(worker: usize, for_ns: u64) -> u64 {
    (worker as u64) << STALL_US_BITS | (for_ns / 1000).min((1 << STALL_US_BITS) - 1)
}

/// A part of a name, as ticks and word.
pub(super) fn pack_name(part: &[u8]) -> (u64, u64) {
    let byte = |at: usize| part.get(at).copied().unwrap_or_default();
    let number = u64::from_le_bytes(std::array::from_fn(|at| if at < 6 { byte(at) } else { 0 }));
    (u64::from_le_bytes(std::array::from_fn(|at| byte(6 + at))), pack(EventKind::NamePart, part.len() as u8, number))
}

impl FlightEntry {
    /// `None`: the words are no event.
    pub(crate) fn new(ticks: u64, word: u64) -> Option<Self> {
        let kind = *KINDS.get(usize::from(word as u8))?;
        Some(Self { ticks, kind, detail: (word >> 8) as u8, number: word >> (u64::BITS - NUMBER_BITS) })
    }

    /// Of a stall: the worker's number, and for how many µs.
    pub(crate) fn stall(&self) -> (usize, u64) {
        ((self.number >> STALL_US_BITS) as usize, self.number & ((1 << STALL_US_BITS) - 1))
    }

    /// Of a part of a name.
    pub(crate) fn name_part(&self) -> Vec<u8> {
        let (head, tail) = (self.number.to_le_bytes(), self.ticks.to_le_bytes());
        head.iter().take(6).chain(&tail).copied().take(usize::from(self.detail)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out() {
        for kind in KINDS {
            let entry = FlightEntry::new(7, pack(*kind, 200, (1 << NUMBER_BITS) - 1));
            assert_eq!(entry, Some(FlightEntry { ticks: 7, kind: *kind, detail: 200, number: (1 << NUMBER_BITS) - 1 }));
        }
        assert_eq!(FlightEntry::new(0, KINDS.len() as u64), None);
        for name in ["", "x", "reader", "a name of 14 b"] {
            let (ticks, word) = pack_name(name.as_bytes());
            assert_eq!(FlightEntry::new(ticks, word).expect("a name").name_part(), name.as_bytes());
        }
    }

    #[test]
    fn workers_from_256_on_were_shown_as_255_when_they_stalled() {
        for (worker, us) in [(0, 1), (255, 26_000), (256, 26_000), (4095, (1 << STALL_US_BITS) - 1)] {
            let entry = FlightEntry::new(7, pack(EventKind::Stalls, 0, stall_number(worker, us * 1000)));
            assert_eq!(entry.expect("a stall").stall(), (worker, us));
        }
        let (worker, us) =
            FlightEntry::new(7, pack(EventKind::Stalls, 0, stall_number(3, u64::MAX))).expect("one").stall();
        assert_eq!((worker, us), (3, (1 << STALL_US_BITS) - 1));
    }
}
