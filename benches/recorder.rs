//! What does the flight recorder cost in time (in instructions: `instructions.rs`): a yield, a round trip over two channels, a spawn with its join? One worker; off, as it is by default, and with every event.
//!
//! A round trip has six events when every one is recorded (two waits, two wakes, two returns): what it costs more, by six, is the price of an event. With two servers more
//! `echo` measures the same over sockets: `cargo bench -p green-benches --bench echo -- --servers green,green-off`.
#![allow(missing_docs)]

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use green::Runtime;
use green::recorder::Detail;

fn yields(n: u64) -> Duration {
    let start = Instant::now();
    green::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..n.div_ceil(2)).for_each(|_| green::yield_now()));
        }
    });
    start.elapsed()
}

fn round_trips(n: u64) -> Duration {
    let (to, from_us) = green::channel::bounded::<u64>(1);
    let (answer, answers) = green::channel::bounded::<u64>(1);
    let echo = green::spawn(move || from_us.iter().all(|value| answer.send(value).is_ok()));
    let start = Instant::now();
    for value in 0..n {
        to.send(value).expect("it receives");
        assert_eq!(answers.recv(), Ok(value));
    }
    let took = start.elapsed();
    drop(to);
    echo.join().expect("it does not panic");
    took
}

fn spawns(n: u64) -> Duration {
    let start = Instant::now();
    (0..n).for_each(|value| assert_eq!(green::spawn(move || value).join().ok(), Some(value)));
    start.elapsed()
}

type Measured = (&'static str, fn(u64) -> Duration);

fn recorder(c: &mut Criterion) {
    let of = |detail| Runtime::builder().workers(1).recorder(detail).build().expect("a runtime");
    let whats: [Measured; 3] = [("yield", yields), ("round trip", round_trips), ("spawn and join", spawns)];
    // That a runtime has every event recorded is known to the process: so it comes last.
    for detail in [Detail::Off, Detail::Rare, Detail::All] {
        let runtime = of(detail);
        for (what, measure) in whats {
            c.bench_function(&format!("{what}, recorder {detail}"), |b| {
                b.iter_custom(|n| runtime.run(|| measure(n)));
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = recorder
}
criterion_main!(benches);
