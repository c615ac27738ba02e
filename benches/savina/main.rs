//! The Savina suite (Imam and Sarkar, AGERE 2014), as far as it tells programs apart, with the parameters of its
//! `…Config.java` files; each program checks its own result. Where Savina needs a stash or a state machine, a handler here
//! just asks and waits.
//!
//! `cargo bench -p green-benches --bench savina [-- name] [--workers n] [--scale percent]`: CPU time and wall time of each.
#![allow(missing_docs)]

mod concurrency;
mod micro;
mod parallel;

use std::time::{Duration, Instant};

/// A message type and its reply.
macro_rules! message {
    ($($name:ident $(($($field:ty),*))? -> $reply:ty;)*) => {
        $(
            pub(crate) struct $name $(($(pub(crate) $field),*))?;
            impl green::actor::Message for $name {
                type Reply = $reply;
            }
        )*
    };
}
pub(crate) use message;

/// So long a program may take.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// A program: its name, and what runs it at a scale in per cent.
type Program = (&'static str, fn(u64));

const PROGRAMS: &[Program] = &[
    ("ping pong", micro::ping_pong),
    ("counting", micro::counting),
    ("fork-join throughput", micro::fork_join_throughput),
    ("fork-join creation", micro::fork_join_creation),
    ("thread ring", micro::thread_ring),
    ("chameneos", micro::chameneos),
    ("big", micro::big),
    ("concurrent dictionary", concurrency::dictionary),
    ("bounded buffer", concurrency::bounded_buffer),
    ("dining philosophers", concurrency::philosophers),
    ("sleeping barber", concurrency::barber),
    ("cigarette smokers", concurrency::smokers),
    ("bank transaction", concurrency::bank),
    ("sieve", parallel::sieve),
    ("n-queens", parallel::queens),
];

fn option(name: &str, default: u64) -> u64 {
    let mut args = std::env::args().skip_while(|arg| arg != name).skip(1);
    args.next().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} wants a number, not {text:?}")))
}

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with("--") && arg.parse::<u64>().is_err());
    let (workers, scale) = (option("--workers", 1), option("--scale", 100));
    let runtime = green::Runtime::builder().workers(workers as usize).build().unwrap();
    println!("{workers} workers, {scale} % of the default size");
    for (name, program) in PROGRAMS {
        if wanted.as_ref().is_some_and(|wanted| !name.contains(wanted.as_str())) {
            continue;
        }
        let start = Instant::now();
        runtime.run(|| program(scale));
        println!("{name:<24} {:>8.1} ms", start.elapsed().as_secs_f64() * 1e3);
    }
}

/// `n` at that scale, one at least.
pub(crate) fn scaled(n: u64, scale: u64) -> u64 {
    (n * scale / 100).max(1)
}

/// A small generator of random numbers, the same in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}
