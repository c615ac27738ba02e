//! Calls that the kernel contradicts, one of the two played by the test.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::driver::readiness::Direction;
use crate::io::source::{Patience, Source, SourceKind};
use crate::park::interrupt::timeout;
use crate::rt::runtime::Runtime;
use crate::rt::scope::scope;
use crate::sys::net::would_block;
use crate::time::sleep;

const SHORT: Duration = Duration::from_millis(100);

/// On a plain OS thread, and in a green thread with a neighbour that has to get its turns.
fn everywhere(f: impl Fn() + Send + Sync) {
    f();
    Runtime::builder().workers(1).build().unwrap().run(|| {
        let stop = AtomicBool::new(false);
        scope(|scope| {
            let neighbour = scope.spawn(|| {
                let mut turns = 0;
                while !stop.load(Ordering::Relaxed) {
                    sleep(Duration::from_millis(1));
                    turns += 1;
                }
                turns
            });
            f();
            stop.store(true, Ordering::Relaxed);
            // It sleeps 150 times if the machine has nothing else to do.
            assert!(neighbour.join().unwrap() > 5);
        });
    });
}

/// Calls that say `WouldBlock`, whatever the descriptor says, until `patience` or an enclosing limit is over. How many?
fn calls(patience: Patience, direction: Direction, mut call: impl FnMut(&UnixStream, &UnixStream)) -> usize {
    let (ours, mut other) = UnixStream::pair().unwrap();
    other.write_all(b"x").unwrap();
    let calls = Cell::new(0);
    let says_no = || -> io::Result<()> {
        calls.set(calls.get() + 1);
        call(&ours, &other);
        Err(would_block())
    };
    let source = Source::new(SourceKind::Other);
    let begin = Instant::now();
    let result =
        timeout(SHORT, || source.call(ours.as_fd(), direction, patience, says_no, |()| false, || panic!("no end")));
    let took = begin.elapsed();
    match result {
        Ok(result) => assert_eq!(result.unwrap_err().kind(), io::ErrorKind::WouldBlock),
        // A thread that got no processor finds both at their end.
        Err(_) => assert!(patience == Patience::Forever || took >= SHORT, "{patience:?}, {took:?}"),
    }
    assert!(took >= SHORT / 2 && took < SHORT * 600, "{took:?}");
    calls.get()
}

#[test]
fn a_call_that_finds_nothing_in_a_descriptor_that_is_ready_waits_and_does_not_spin() {
    everywhere(|| {
        for direction in [Direction::Read, Direction::Write] {
            for patience in [Patience::For(SHORT.as_nanos() as u64 / 2), Patience::Forever] {
                let calls = calls(patience, direction, |_, _| ());
                assert!(calls < 10, "{direction:?}, {patience:?}: {calls} calls");
            }
        }
    });
}

#[test]
fn events_without_end_that_a_call_contradicts_keep_neither_its_limits_nor_its_neighbours_waiting() {
    everywhere(|| {
        for patience in [Patience::For(SHORT.as_nanos() as u64 / 2), Patience::Forever] {
            let another = |mut ours: &UnixStream, mut other: &UnixStream| {
                ours.read_exact(&mut [0]).unwrap();
                other.write_all(b"x").unwrap();
            };
            let calls = calls(patience, Direction::Read, another);
            assert!(calls > 1, "each makes an event");
        }
    });
}
