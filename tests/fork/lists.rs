//! A fork while another thread makes a dump: libc's list of libraries has a lock, and so has whoever names functions. Neither is opened in a child.

use std::backtrace::Backtrace;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use crate::assert_works;
use crate::help::{self, in_a_child, runtime};

fn dump() -> String {
    let mut text = Vec::new();
    green::dump::text(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn a_child_that_was_forked_during_a_dump_makes_one_and_a_backtrace() {
    let ended = in_a_child(&[], || {
        let own = runtime(1);
        let waits = own.spawn(green::thread::park);
        help::until_parked(waits.thread(), "park");
        // Children find this program's symbols looked up.
        assert!(Backtrace::force_capture().to_string().contains("in_a_child"));
        let (over, dumps) = (AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    assert!(dump().starts_with("green threads: 1\n"));
                    dumps.fetch_add(1, Relaxed);
                }
            });
            // A fork while an OS thread begins is another thing.
            help::spin_until("the first dump", || dumps.load(Relaxed) > 0);
            for _ in 0..help::scaled(100) {
                assert_works("a dump and a backtrace", || {
                    assert!(Backtrace::force_capture().to_string().contains("in_a_child"));
                    let own = runtime(1);
                    let waits = own.spawn(green::thread::park);
                    help::until_parked(waits.thread(), "park");
                    assert!(dump().starts_with("green threads: 1\n"));
                    waits.thread().unpark();
                    waits.join().unwrap();
                });
            }
            over.store(true, Relaxed);
        });
        // Neither has kept the other from going on.
        assert!(dumps.load(Relaxed) > 10, "{dumps:?}");
        waits.thread().unpark();
        waits.join().unwrap();
    });
    ended.assert_success();
}
