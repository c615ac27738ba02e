//! What a select costs: ready at once, and a wait for one of two, beside crossbeam-channel's on OS threads.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use green::Runtime;

/// There and back, where each side selects over the channel that talks and one that is silent.
macro_rules! round_trips {
    ($spawn:path, $channels:ident, $channel:expr, $n:expr) => {{
        let n = $n;
        let ((there, from_there), (back, from_back), (quiet, silent)) = ($channel, $channel, $channel);
        let silent2 = silent.clone();
        let echo = $spawn(move || {
            loop {
                $channels::select! {
                    recv(from_there) -> message => match message {
                        Ok(message) => back.send(message).expect("the other side listens"),
                        Err(_) => break,
                    },
                    recv(silent2) -> _ => unreachable!(),
                }
            }
        });
        let start = Instant::now();
        for i in 0..n {
            there.send(i).expect("the echo listens");
            $channels::select! {
                recv(from_back) -> message => { black_box(message.expect("the echo answers")); }
                recv(silent) -> _ => unreachable!(),
            }
        }
        let elapsed = start.elapsed();
        drop(there);
        echo.join().expect("the echo does not panic");
        drop(quiet);
        elapsed
    }};
}

/// Send to self and select the receive: nobody waits.
macro_rules! ready {
    ($channels:ident, $n:expr) => {{
        let (s, r) = $channels::bounded(1);
        let (_quiet, silent) = $channels::bounded::<u64>(1);
        let start = Instant::now();
        for i in 0..$n {
            s.send(i).expect("there is room");
            $channels::select! {
                recv(r) -> message => { black_box(message.expect("there is a message")); }
                recv(silent) -> _ => unreachable!(),
            }
        }
        start.elapsed()
    }};
}

fn select(c: &mut Criterion) {
    use green::channel;
    let runtime = Runtime::builder().workers(1).build().expect("a runtime starts");
    let mut group = c.benchmark_group("select of two");
    group.bench_function("ready", |b| b.iter_custom(|n| runtime.run(|| ready!(channel, n))));
    group.bench_function("ready, crossbeam-channel", |b| b.iter_custom(|n| ready!(crossbeam_channel, n)));
    group.bench_function("round trip, one worker", |b| {
        b.iter_custom(|n| runtime.run(|| round_trips!(green::spawn, channel, channel::bounded::<u64>(1), n)));
    });
    group.bench_function("round trip, crossbeam-channel, OS threads", |b| {
        b.iter_custom(|n| round_trips!(std::thread::spawn, crossbeam_channel, crossbeam_channel::bounded::<u64>(1), n));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(1200));
    targets = select
}
criterion_main!(benches);
