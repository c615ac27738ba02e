//! The ring, by itself. Apart from its file, which the models include.

use crate::base::atomic::Ordering;
use crate::flight::ring::EventRing;

#[test]
fn a_ring_keeps_the_last_events_in_order() {
    let ring = EventRing::new(5);
    assert_eq!(ring.read(), (0, vec![]));
    (0..3).for_each(|n| ring.push(n, n + 100));
    assert_eq!(ring.read(), (0, vec![(0, 100), (1, 101), (2, 102)]));
    (3..20).for_each(|n| ring.push(n, n + 100));
    // The one that the next will be written over is given up.
    assert_eq!(ring.read(), (13, (13..20).map(|n| (n, n + 100)).collect()));
}

#[test]
fn a_reader_of_a_ring_that_is_written_finds_whole_events_in_order() {
    let ring = EventRing::new(64);
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !over.load(Ordering::Relaxed) {
                ring.push(n, !n);
                n += 1;
            }
        });
        for _ in 0..if cfg!(miri) { 5 } else { 2000 } {
            let (before, events) = ring.read();
            for (at, (ticks, word)) in events.into_iter().enumerate() {
                assert_eq!((ticks, word), (before + at as u64, !(before + at as u64)));
            }
        }
        over.store(true, Ordering::Relaxed);
    });
}
