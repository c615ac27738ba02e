//! Random programs of two caches: stacks that are out never overlap, keep what is written to them, and a promise is kept.

use proptest::prelude::*;

use super::super::Slot;
use super::{Cache, KIB, Stack, StackSize, read, size, top_byte, write};
use crate::base::cases;

const SIZES: [usize; 3] = [16 * KIB, 128 * KIB, 4096 * KIB];

#[derive(Clone, Copy, Debug)]
enum Op {
    Reserve {
        cache: usize,
        size: usize,
    },
    Unreserve {
        cache: usize,
        size: usize,
    },
    Acquire {
        cache: usize,
        size: usize,
    },
    AcquireUnpromised {
        cache: usize,
        size: usize,
    },
    /// The stack goes back to any cache, as that of a thread that has moved before it started.
    Release {
        cache: usize,
        stack: usize,
    },
    Trim {
        cache: usize,
    },
    /// The worker ends, and another begins.
    Renew {
        cache: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let cache = 0..2_usize;
    let both = (cache.clone(), 0..SIZES.len());
    prop_oneof![
        4 => both.clone().prop_map(|(cache, size)| Op::Reserve { cache, size }),
        1 => both.clone().prop_map(|(cache, size)| Op::Unreserve { cache, size }),
        4 => both.clone().prop_map(|(cache, size)| Op::Acquire { cache, size }),
        2 => both.prop_map(|(cache, size)| Op::AcquireUnpromised { cache, size }),
        6 => (cache.clone(), any::<usize>()).prop_map(|(cache, stack)| Op::Release { cache, stack }),
        1 => cache.clone().prop_map(|cache| Op::Trim { cache }),
        1 => cache.prop_map(|cache| Op::Renew { cache }),
    ]
}

/// A stack that is out, marked with a number at both ends.
struct Out {
    stack: Stack,
    mark: u8,
}

impl Out {
    fn new(stack: Stack, mark: u8, others: &[Out]) -> Self {
        let Slot(first) = stack.slot;
        let (first, len) = (first.addr().get(), stack.size().bytes());
        for other in others {
            let Slot(theirs) = other.stack.slot;
            let (theirs, their_len) = (theirs.addr().get(), other.stack.size().bytes());
            assert!(first + len <= theirs || theirs + their_len <= first, "two stacks overlap");
        }
        write(top_byte(&stack), mark);
        write(stack.limit(), mark);
        Self { stack, mark }
    }

    fn check(self) -> Stack {
        assert_eq!((read(top_byte(&self.stack)), read(self.stack.limit())), (self.mark, self.mark));
        self.stack
    }
}

fn run(program: &[Op]) {
    let mut caches = [Cache::new(), Cache::new()];
    let mut promised = [0_usize; SIZES.len()];
    let mut out = Vec::<Out>::new();
    let sizes: Vec<StackSize> = SIZES.iter().copied().map(size).collect();
    for (n, op) in program.iter().enumerate() {
        let mark = n as u8;
        match *op {
            Op::Reserve { cache, size } => {
                caches[cache].reserve(sizes[size]).expect("there is address space");
                promised[size] += 1;
            }
            Op::Unreserve { cache, size } if promised[size] > 0 => {
                caches[cache].unreserve(sizes[size]);
                promised[size] -= 1;
            }
            Op::Acquire { cache, size } if promised[size] > 0 => {
                promised[size] -= 1;
                let stack = caches[cache].acquire(sizes[size]);
                assert_eq!(stack.size(), sizes[size]);
                out.push(Out::new(stack, mark, &out));
            }
            Op::AcquireUnpromised { cache, size } => {
                let stack = caches[cache].acquire_unpromised(sizes[size]).expect("there is address space");
                out.push(Out::new(stack, mark, &out));
            }
            Op::Release { cache, stack } if !out.is_empty() => {
                let stack = out.swap_remove(stack % out.len()).check();
                caches[cache].release(stack);
            }
            Op::Trim { cache } => caches[cache].trim(),
            Op::Renew { cache } => caches[cache] = Cache::new(),
            Op::Unreserve { .. } | Op::Acquire { .. } | Op::Release { .. } => {}
        }
    }
    // What was promised can be had to the last.
    for (size, count) in promised.into_iter().enumerate() {
        for _ in 0..count {
            let stack = caches[0].acquire(sizes[size]);
            out.push(Out::new(stack, 0, &out));
        }
    }
    out.into_iter().for_each(|out| caches[1].release(out.check()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(60), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stacks_never_overlap_and_promises_are_kept(program in prop::collection::vec(op(), 0..300)) {
        run(&program);
    }
}
