//! The poller and its slots, without a scheduler: the woken threads are looked at, not run.

use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::poller::Poller;
use super::readiness::Direction;
use super::slot::{Enqueued, SourceSlot, acquire, call};
use crate::sys::clock::{NEVER, now_ns};
use crate::task::Ticket;
use crate::task::wait::Epoch;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A pipe whose reading end is registered, with a waker in its slot.
struct Watched {
    slot: &'static SourceSlot,
    reader: PipeReader,
    writer: PipeWriter,
    woken: Arc<Count>,
}

impl Watched {
    fn new(poller: &Poller) -> Watched {
        let (reader, writer) = pipe().unwrap();
        let watched = Watched { slot: acquire().unwrap(), reader, writer, woken: Arc::default() };
        watched.slot.clear(Direction::Read, watched.slot.seen());
        watched.slot.register(poller.handle(), watched.reader.as_raw_fd(), false).unwrap();
        assert_eq!(watched.wait(poller), Enqueued::Waits);
        watched
    }

    fn wait(&self, poller: &Poller) -> Enqueued {
        self.slot.enqueue_waker(poller.handle(), Direction::Read, &Waker::from(self.woken.clone()))
    }

    fn woken(&self) -> usize {
        self.woken.0.load(Ordering::Relaxed)
    }
}

fn turn(poller: &Poller) {
    if poller.wait(0) {
        poller.deliver(0, |wakes| wakes.schedule(call));
    }
}

#[test]
fn an_event_wakes_who_waits_once_and_leaves_the_readiness() {
    let poller = Poller::new().unwrap();
    let mut watched = Watched::new(&poller);
    turn(&poller);
    assert_eq!(watched.woken(), 0);
    watched.writer.write_all(b"x").unwrap();
    turn(&poller);
    turn(&poller);
    assert_eq!(watched.woken(), 1);
    assert!(watched.slot.seen().may_try(Direction::Read));
    assert_eq!(watched.wait(&poller), Enqueued::Ready);
    watched.slot.release();
}

#[test]
fn an_event_for_the_slots_earlier_descriptor_is_not_for_its_new_one() {
    let poller = Poller::new().unwrap();
    let mut old = Watched::new(&poller);
    old.writer.write_all(b"x").unwrap();
    // The event is fetched, and before it is handed out the slot goes to somebody else.
    assert!(poller.wait(0));
    old.slot.release();
    let new = std::iter::repeat_with(|| Watched::new(&poller)).take(1000).find(|new| std::ptr::eq(new.slot, old.slot));
    let new = new.expect("slots are used again");
    new.slot.clear(Direction::Read, new.slot.seen());
    poller.deliver(0, |wakes| wakes.schedule(call));
    assert_eq!((old.woken(), new.woken()), (0, 0));
    assert!(!new.slot.seen().may_try(Direction::Read));
}

#[test]
fn a_registration_moves_to_the_worker_that_keeps_waiting_and_takes_what_is_ready_along() {
    let (here, there) = (Poller::new().unwrap(), Poller::new().unwrap());
    let mut watched = Watched::new(&here);
    let waits = std::iter::repeat_with(|| watched.wait(&there)).take(10).take_while(|e| *e == Enqueued::Waits).count();
    assert!((1..10).contains(&waits), "{waits}");
    watched.writer.write_all(b"x").unwrap();
    watched.slot.register(there.handle(), watched.reader.as_raw_fd(), false).unwrap();
    turn(&here);
    assert_eq!(watched.woken(), 0, "the old registration is gone");
    turn(&there);
    assert_eq!(watched.woken(), 1, "the new one tells at once");
    watched.slot.release();
}

#[test]
fn a_registration_moves_at_once_with_a_thread_that_has_moved() {
    let (here, there) = (Poller::new().unwrap(), Poller::new().unwrap());
    let watched = Watched::new(&here);
    // Threads by their addresses, which are compared only: nothing ends these waits.
    let [mover, stranger] = [64, 128]
        .map(|at| Ticket::new(NonNull::without_provenance(NonZeroUsize::new(at).unwrap()), Epoch::from_bits(8)));
    let wait = |poller: &Poller, ticket| {
        let enqueued = watched.slot.enqueue(poller.handle(), Direction::Read, ticket);
        if enqueued == Enqueued::Waits {
            watched.slot.withdraw(Direction::Read, ticket);
        }
        enqueued
    };
    assert_eq!(wait(&here, mover), Enqueued::Waits);
    assert_eq!(wait(&there, stranger), Enqueued::Waits, "it may be there for once");
    assert_eq!(wait(&there, mover), Enqueued::Unregistered);
    watched.slot.register(there.handle(), watched.reader.as_raw_fd(), false).unwrap();
    watched.slot.clear(Direction::Read, watched.slot.seen());
    // It has not waited at the new home.
    assert_eq!(wait(&here, mover), Enqueued::Waits);
    assert_eq!(wait(&there, mover), Enqueued::Waits);
    assert_eq!(wait(&here, stranger), Enqueued::Waits);
    watched.slot.release();
}

#[test]
fn a_registration_of_a_raw_descriptor_moves_at_once_with_the_thread_that_made_it() {
    let (here, there) = (Poller::new().unwrap(), Poller::new().unwrap());
    let (reader, _writer) = pipe().unwrap();
    let slot = acquire().unwrap();
    slot.clear(Direction::Read, slot.seen());
    // As above.
    let mover = Ticket::new(NonNull::without_provenance(NonZeroUsize::new(64).unwrap()), Epoch::from_bits(8));
    slot.arm(here.handle(), reader.as_raw_fd(), Direction::Read, mover).unwrap();
    slot.withdraw(Direction::Read, mover);
    let enqueued = slot.enqueue(there.handle(), Direction::Read, mover);
    slot.withdraw(Direction::Read, mover);
    assert_eq!(enqueued, Enqueued::Unregistered);
    slot.release();
}

#[test]
fn a_poller_that_ends_wakes_who_waits_and_is_no_home_any_more() {
    let (here, there) = (Poller::new().unwrap(), Poller::new().unwrap());
    let watched = Watched::new(&here);
    drop(here);
    assert_eq!(watched.woken(), 1);
    assert_eq!(watched.wait(&there), Enqueued::Unregistered);
    watched.slot.release();
}

#[test]
fn a_foreign_waker_that_panics_ends_neither_the_worker_nor_the_wakes_after_it() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new("bang"));
        }
    }
    let poller = Poller::new().unwrap();
    let (mut one, mut two) = (Watched::new(&poller), Watched::new(&poller));
    let waits = one.slot.enqueue_waker(poller.handle(), Direction::Read, &Waker::from(Arc::new(Panics)));
    assert_eq!(waits, Enqueued::Waits);
    one.writer.write_all(b"x").unwrap();
    two.writer.write_all(b"x").unwrap();
    turn(&poller);
    assert_eq!((one.woken(), two.woken()), (0, 1));
    one.slot.release();
    two.slot.release();
}

#[test]
fn the_waker_ends_a_sleep_that_has_begun_or_begins_later() {
    let poller = Poller::new().unwrap();
    poller.handle().wake();
    assert!(!poller.wait(NEVER));
    let handle = Arc::clone(poller.handle());
    let wakes = std::thread::spawn(move || handle.wake());
    assert!(!poller.wait(now_ns() + 60_000_000_000));
    wakes.join().unwrap();
}

#[test]
fn a_sleep_ends_at_its_deadline_to_the_fraction_of_a_millisecond() {
    let poller = Poller::new().unwrap();
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let begin = Instant::now();
        let deadline_ns = now_ns() + 1_300_000;
        while now_ns() < deadline_ns {
            assert!(!poller.wait(deadline_ns));
        }
        best = best.min(begin.elapsed());
    }
    assert!(best >= Duration::from_micros(1300));
    assert!(best < Duration::from_millis(2) || cfg!(not(target_arch = "x86_64")), "{best:?}");
}
