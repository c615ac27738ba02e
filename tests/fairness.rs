//! Nobody is forgotten: chatty pairs, chains of spawns, threads that compute, and the order of starts.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::sync::Arc;

use help::{Flag, bounded, runtime};

#[test]
fn a_thread_spawned_from_outside_starts_although_every_thread_inside_spawns_another() {
    bounded(|| {
        for workers in [1, 2] {
            let runtime = runtime(workers);
            let stop = Arc::new(Flag::new());
            fn chain(stop: Arc<Flag>) {
                if !stop.is_set() {
                    green::spawn(move || chain(stop));
                }
            }
            for _ in 0..workers {
                let stop = stop.clone();
                runtime.spawn(move || chain(stop));
            }
            let done = runtime.spawn(|| 5);
            assert_eq!(done.join().unwrap(), 5);
            stop.set();
        }
    });
}
