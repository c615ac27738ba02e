//! What is known about the readiness of one descriptor, in one word.
//!
//! `word = generation (24 bits) | tick (32 bits) | flags (8 bits)`
//!
//! | flag            | set when                                             | cleared when                         |
//! | --------------- | ---------------------------------------------------- | ------------------------------------ |
//! | `READ`, `WRITE` | an event says anything about that direction, an end or an error too; a fresh source, to be tried | a call has found or left nothing there: [`clear`](Readiness::clear) |
//! | `END`           | an event says that the peer, or we, closed the reading side | never: short reads prove nothing now |
//! | `URGENT`        | an event tells of out-of-band data                   | never: short reads prove nothing now |
//!
//! The *tick* counts events; the *generation* counts the registrations of the slot that the word is in. An event carries
//! the generation of its registration, and an old one changes nothing.
//!
//! # Why no event is lost
//!
//! A descriptor is registered edge-triggered: the kernel tells of a change once. A call looks at the word first (`seen`),
//! then makes the system call, and clears the flag only if it got nothing or less than it asked for, **and** the tick
//! is still the one of `seen`. Whatever arrives after the system call has looked makes an event; that event either
//! comes before `clear`, which then does nothing, or after it, and sets the flag again.
//!
//! *Less than it asked for* proves that the buffer is drained only for a byte stream, with two exceptions. The end of
//! the stream may have come with the same event as the bytes: it has a flag of its own, which stays. And a TCP read
//! stops short at the mark of out-of-band data: `URGENT` ends the conclusion for that socket. A Unix stream socket
//! also stops at passed descriptors, so there it is never drawn.
//!
//! # The kernel may contradict itself
//!
//! "There is an end", or an error, does not mean that a call gets anywhere. A datagram socket that was shut down says
//! `EAGAIN` for ever; an error queue with something in it (time stamps, `MSG_ZEROCOPY`) keeps `EPOLLERR` up while the send
//! buffer is full; an ICMP error is told once and gone; a FIFO has its end and gets a new writer. So an end and an error are
//! reasons to *try*, like all others, and what the call itself says is believed: an `EAGAIN` clears `READ` or `WRITE`
//! whatever stands beside it, by the rule of the tick, and the thread waits for the next event. A level that stays up is
//! told once, so it cannot make a thread go round.
//!
//! That loses no event either. The argument above does not ask what an event means: whatever changes after the system
//! call has looked makes an event, and that sets the flag again. What is left are states in which the call says `EAGAIN`
//! and *no* event will come, although a blocking call would return. There are two. One: a Unix socket's writing side has ended,
//! and its buffer is full; a writer to one asks now and then ([`io::source`](crate::io::source)). The other: the reading
//! side is shut down, and the socket deals in messages. So a reader that has seen `END`, and reads `EAGAIN`, asks the kernel whether that is the end. If so
//! it calls once more, for what has come before the end and after the first call; one more `EAGAIN`, and the call is over.
//! `READ` *stays* then: for all that come later, and for a thread that has made the call before the shutdown and has not come to wait
//! yet (it finds the flag, and tries again). A thread that has not seen `END` gets it by the event of the shutdown, which sets
//! `READ`, too.

#![forbid(unsafe_code)]

use crate::base::atomic::{AtomicU64, Ordering};

const READ: u64 = 1;
const WRITE: u64 = 2;
const END: u64 = 4;
const URGENT: u64 = 8;
const FLAGS: u64 = 0xff;
const TICK_ONE: u64 = 1 << 8;
const TICK: u64 = 0xffff_ffff << 8;
const GENERATION_SHIFT: u32 = 40;
const GENERATION_ONE: u64 = 1 << GENERATION_SHIFT;
/// Bits of a generation that a token carries. A token is a `usize` and holds the slot's index besides.
const GENERATION_BITS: u32 = if usize::BITS == 64 { 24 } else { 12 };

/// What a thread waits to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    Read,
    Write,
}

fn flag(direction: Direction) -> u64 {
    match direction {
        Direction::Read => READ,
        Direction::Write => WRITE,
    }
}

/// What an event says.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Ready {
    pub(crate) read: bool,
    pub(crate) write: bool,
    /// The reading side has ended. This concerns readers.
    pub(crate) end: bool,
    pub(crate) urgent: bool,
}

impl Ready {
    /// Does it concern the waiters in `direction`?
    pub(crate) fn concerns(self, direction: Direction) -> bool {
        match direction {
            Direction::Read => self.read || self.end || self.urgent,
            Direction::Write => self.write,
        }
    }

    fn bits(self) -> u64 {
        let bit = |on: bool, bit: u64| if on { bit } else { 0 };
        bit(self.concerns(Direction::Read), READ)
            | bit(self.concerns(Direction::Write), WRITE)
            | bit(self.end, END)
            | bit(self.urgent, URGENT)
    }
}

/// The word as it was before a system call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen(u64);

impl Seen {
    /// May a system call in `direction` get anywhere?
    #[inline]
    pub(crate) fn may_try(self, direction: Direction) -> bool {
        self.0 & flag(direction) != 0
    }

    /// Has there been an event that told of the end of the reading side?
    #[inline]
    pub(crate) fn has_ended(self) -> bool {
        self.0 & END != 0
    }

    /// Does a short read of a byte stream say that nothing more is there?
    #[inline]
    pub(crate) fn short_means_drained(self) -> bool {
        self.0 & (URGENT | END) == 0
    }
}

/// The part of a generation that goes into a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Generation(pub(crate) usize);

fn generation(word: u64) -> Generation {
    Generation((word >> GENERATION_SHIFT) as usize & ((1 << GENERATION_BITS) - 1))
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Readiness(AtomicU64);

// ORDERING of the whole file: Relaxed. What a flag stands for is in the kernel, which orders its own system calls; the
// argument above needs the changes of this one word only. The waiters, and the choice of those that are woken, are under the slot's lock.
impl Readiness {
    /// Of a source of which nothing is known: everything is to be tried.
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(READ | WRITE))
    }

    /// As [`new`](Self::new), when the next event is the one that makes the tick wrap.
    #[cfg(test)]
    pub(crate) fn at_last_tick() -> Self {
        Self(AtomicU64::new(TICK | READ | WRITE))
    }

    #[inline]
    pub(crate) fn load(&self) -> Seen {
        Seen(self.0.load(Ordering::Relaxed))
    }

    /// A call in `direction` that began at `seen` has found nothing, or left nothing.
    #[inline]
    pub(crate) fn clear(&self, direction: Direction, seen: Seen) {
        let flag = flag(direction);
        let mut word = seen.0;
        loop {
            let mut same = true;
            same &= word & !FLAGS == seen.0 & !FLAGS; // KEY: tick
            if !same {
                return;
            }
            match self.0.compare_exchange_weak(word, word & !flag, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// An event of the registration `of` has come. False: that registration is over.
    #[must_use]
    pub(crate) fn event(&self, of: Generation, ready: Ready) -> bool {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if generation(word) != of {
                return false;
            }
            let tick = (word & TICK).wrapping_add(TICK_ONE) & TICK;
            let next = (word & !TICK) | tick | ready.bits();
            match self.0.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// That of the present registration.
    #[cfg_attr(not(green_thread_locals), allow(dead_code, reason = "other people's calls are not ours here"))]
    pub(crate) fn generation(&self) -> Generation {
        generation(self.0.load(Ordering::Relaxed))
    }

    /// Is the present registration the one of that moment?
    #[cfg_attr(not(green_thread_locals), allow(dead_code, reason = "other people's calls are not ours here"))]
    pub(crate) fn is_registration_of(&self, seen: Seen) -> bool {
        generation(seen.0) == self.generation()
    }

    /// A registration begins: events of earlier ones count no more. What is known stays.
    pub(crate) fn renew(&self) -> Generation {
        generation(self.0.fetch_add(GENERATION_ONE, Ordering::Relaxed).wrapping_add(GENERATION_ONE))
    }

    /// The slot gets another descriptor, of which nothing is known.
    pub(crate) fn reset(&self) {
        let word = self.0.load(Ordering::Relaxed).wrapping_add(GENERATION_ONE);
        self.0.store((word & !FLAGS) | READ | WRITE, Ordering::Relaxed);
    }
}
