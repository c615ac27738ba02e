//! What glibc writes into a thread's descriptor, explained word by word: steps T3 and T4.
#![forbid(unsafe_code)]

use crate::sys::glibc::{DONOR_STACK, Donor};
use crate::thread_locals::unsupported::Unsupported;

/// What one word of a descriptor is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Word {
    /// The same in all threads.
    Same(u64),
    /// An address so far into the descriptor.
    Within(usize),
    /// The lowest address of the stack.
    StackBase,
    /// The size of the stack.
    StackLen,
    /// Nothing that the template writes: the number, the link, what the kernel or `_dl_allocate_tls` fills.
    Apart,
}

/// Where the descriptor has what, as glibc's description for debuggers says: offsets in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Witness {
    pub(super) len: usize,
    pub(super) tid: usize,
    pub(super) list: usize,
    /// The table of keys' values.
    pub(super) specific: usize,
}

/// Where else a word may come from: offsets from the begin of the descriptor, which may lie outside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// The vector of dynamic thread-locals.
    pub(super) dtv: Option<usize>,
    /// The area of the kernel: begin and end.
    pub(super) rseq: (isize, isize),
    /// The function that the donors have run.
    pub(super) function: u64,
}

/// What is written into the descriptor of each block.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) words: Vec<Word>,
    pub(super) witness: Witness,
}

/// Explains the donors' words, or says which it cannot. `descriptor`: where a donor's descriptor begins.
pub(super) fn explain(
    donors: &[Donor],
    witness: Witness,
    known: Known,
    descriptor: impl Fn(&Donor) -> usize,
) -> Result<Template, Unsupported> {
    let places: Vec<usize> = donors.iter().map(descriptor).collect();
    let (mut tid, mut list) = (None, None);
    let mut words = Vec::new();
    for at in 0..witness.len / 8 {
        let offset = at * 8;
        let value = |n: usize| donors[n].words[at];
        let all = |f: &dyn Fn(usize) -> bool| (0..donors.len()).all(f);
        let kind = |n: usize| kind(value(n), places[n], witness.len, &donors[n], known.function);
        let is_link = |n: usize| places.iter().any(|place| value(n) == (place + offset) as u64);
        let word = if all(&|n| value(n) & 0xffff_ffff == u64::from(donors[n].tid)) {
            tid = tid.or(Some(offset));
            Word::Apart
        } else if (known.rseq.0..known.rseq.1).contains(&(offset as isize)) || known.dtv == Some(offset) {
            Word::Apart
        } else if list.is_none() && (0..donors.len()).any(&is_link) && !all(&is_link) {
            list = Some(offset);
            Word::Apart
        } else if list == offset.checked_sub(8) && list.is_some() {
            Word::Apart
        } else {
            let first = kind(0);
            if !all(&|n| kind(n) == first) || first == Word::Apart {
                return Err(surprise(offset, donors.iter().map(|donor| donor.words[at])));
            }
            first
        };
        words.push(word);
    }
    if (tid, list) != (Some(witness.tid), Some(witness.list)) {
        return Err(Unsupported::new(format!(
            "glibc's description for debuggers says that a thread's number is at {} and its link at {}, its threads say \
             {tid:?} and {list:?}",
            witness.tid, witness.list
        )));
    }
    Ok(Template { words, witness })
}

/// What a word is that is none of the special ones.
fn kind(value: u64, place: usize, len: usize, donor: &Donor, function: u64) -> Word {
    let address = value as usize;
    let within = address.wrapping_sub(place);
    if within < len {
        Word::Within(within)
    } else if address == donor.stack {
        Word::StackBase
    } else if address.wrapping_sub(donor.stack) <= DONOR_STACK || value == function {
        // Frames of the donor's own (where `pthread_exit` would go), and what it was told to run.
        Word::Same(0)
    } else if address == DONOR_STACK {
        Word::StackLen
    } else if address == donor.argument {
        Word::Same(0)
    } else {
        Word::Same(value)
    }
}

#[cold]
fn surprise(offset: usize, values: impl Iterator<Item = u64>) -> Unsupported {
    let values: Vec<_> = values.map(|value| format!("{value:#x}")).collect();
    Unsupported::new(format!(
        "the word at {offset} of glibc's threads is not understood: it was {} in three of them",
        values.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 0x900;
    const WITNESS: Witness = Witness { len: LEN, tid: 0x2d0, list: 0x2c0, specific: 0x510 };
    const KNOWN: Known = Known { dtv: Some(8), rseq: (0x800, 0x820), function: 0x5555_0000 };

    fn descriptor(donor: &Donor) -> usize {
        donor.thread_pointer
    }

    /// Three threads like glibc's.
    fn donors() -> Vec<Donor> {
        let place = |n: usize| 0x7f00_0000_0000 + n * 0x100_0000 + DONOR_STACK - LEN;
        (0..3)
            .map(|n| {
                let mut words = vec![0; LEN / 8];
                let at = place(n);
                words[0] = at as u64;
                words[1] = 0x6000_0000 + n as u64 * 64;
                words[2] = at as u64;
                words[5] = 0xdead_beef_0000;
                words[0x2c0 / 8] = (place((n + 1) % 3) + 0x2c0) as u64;
                words[0x2c8 / 8] = if n == 0 { 0x7fff_0000 } else { (place(n - 1) + 0x2c0) as u64 };
                if n == 2 {
                    words[0x2c0 / 8] = 0x7fff_0000;
                }
                words[0x2d0 / 8] = 1000 + n as u64;
                words[0x510 / 8] = at as u64 + 0x310;
                words[0x690 / 8] = (at + LEN - DONOR_STACK) as u64;
                words[0x698 / 8] = DONOR_STACK as u64;
                words[0x700 / 8] = KNOWN.function;
                words[0x800 / 8] = n as u64;
                let stack = at + LEN - DONOR_STACK;
                Donor { thread_pointer: at, tid: 1000 + n as u32, stack, words, argument: 1 + n, ..Donor::default() }
            })
            .collect()
    }

    #[test]
    fn threads_like_glibcs_are_understood() {
        let template = explain(&donors(), WITNESS, KNOWN, descriptor).unwrap();
        assert_eq!(template.words[0], Word::Within(0));
        assert_eq!(template.words[5], Word::Same(0xdead_beef_0000));
        assert_eq!(template.words[0x510 / 8], Word::Within(0x310));
        assert_eq!(template.words[0x690 / 8], Word::StackBase);
        assert_eq!(template.words[0x698 / 8], Word::StackLen);
        assert_eq!(template.words[0x700 / 8], Word::Same(0));
        let apart = template.words.iter().filter(|word| **word == Word::Apart).count();
        assert_eq!(apart, 1 + 2 + 1 + 4, "the vector, the link, the number, the kernel's area");
    }

    #[test]
    fn a_word_that_differs_for_no_known_reason_is_refused_by_its_place() {
        let mut donors = donors();
        donors[1].words[0x300 / 8] = 42;
        let refused = explain(&donors, WITNESS, KNOWN, descriptor).unwrap_err();
        assert!(refused.to_string().contains("the word at 768 "), "{refused}");
    }

    #[test]
    fn a_witness_that_says_otherwise_is_believed() {
        let other = Witness { tid: 0x2d8, ..WITNESS };
        let refused = explain(&donors(), other, KNOWN, descriptor).unwrap_err();
        assert!(refused.to_string().contains("for debuggers"), "{refused}");
    }
}
