//! Every primitive once, in programs so small that Miri runs them too: there a fiber is an OS thread, every access is checked
//! for races, and every pointer for what it may reach. One runtime of two workers for all, because Miri takes long to make one.
#![allow(missing_docs)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use green::actor::{Actor, Addr, Context, Exit, Handler, Message, Signal};
use green::channel::{bounded, select, unbounded};
use green::sync::{Barrier, Condvar, Mutex, Once, RwLock, Semaphore};
use green::{Cancelled, Runtime};

fn run<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::builder().workers(2).build().unwrap()).run(f)
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn threads_fork_and_join_borrow_and_panic() {
    run(|| {
        let sum: usize =
            (0..3).map(|n| green::spawn(move || green::spawn(move || n).join().unwrap()).join().unwrap()).sum();
        assert_eq!(sum, 3);
        let mut numbers = [1, 2, 3];
        green::scope(|scope| {
            for number in &mut numbers {
                scope.spawn(|| *number *= 2);
            }
        });
        assert_eq!(numbers, [2, 4, 6]);
        let panic = green::spawn(|| std::panic::resume_unwind(Box::new(7))).join().unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&7));
    });
}

#[test]
fn a_sleep_ends_a_token_is_kept_and_a_cancel_unwinds() {
    run(|| {
        let start = Instant::now();
        green::sleep(Duration::from_millis(1));
        assert!(start.elapsed() >= Duration::from_millis(1));
        green::thread::current().unpark();
        green::thread::park();
        assert!(green::timeout(Duration::from_millis(1), || green::sleep(HOUR)).is_err());
        let sleeper = green::spawn(|| green::sleep(HOUR));
        green::yield_now();
        sleeper.cancel();
        assert!(sleeper.join().unwrap_err().is::<Cancelled>());
    });
}

#[test]
fn a_mutex_excludes_and_a_condvar_wakes_green_and_plain_threads() {
    let shared = Arc::new((Mutex::new(0), Condvar::new()));
    let other = shared.clone();
    let plain = std::thread::spawn(move || {
        let (count, changed) = &*other;
        *changed.wait_while(count.lock().unwrap(), |count| *count < 3).unwrap()
    });
    run(move || {
        green::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut count = shared.0.lock().unwrap();
                    green::yield_now();
                    *count += 1;
                    shared.1.notify_all();
                });
            }
        });
    });
    assert_eq!(plain.join().unwrap(), 3);
}

#[test]
fn the_other_locks_let_in_whom_they_should() {
    run(|| {
        let (lock, room, once, met) = (RwLock::new(0), Semaphore::new(1), Once::new(), Barrier::new(3));
        let inside = AtomicUsize::new(0);
        green::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let seat = room.acquire();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    green::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(seat);
                    once.call_once(|| *lock.write().unwrap() += 1);
                    met.wait();
                    assert_eq!(*lock.read().unwrap(), 1);
                });
            }
        });
    });
}

#[test]
fn channels_hand_over_what_was_sent_and_end_when_a_side_is_gone() {
    run(|| {
        for (sender, receiver) in [bounded(0), bounded(1), unbounded()] {
            let producer = green::spawn(move || (0..3).for_each(|n| sender.send(Box::new(n)).unwrap()));
            assert_eq!(receiver.iter().map(|n| *n).collect::<Vec<_>>(), [0, 1, 2]);
            producer.join().unwrap();
            assert!(receiver.recv().is_err());
        }
        let (sender, receiver) = unbounded();
        (0..40).for_each(|n| sender.send(Box::new(n)).unwrap());
        drop(receiver);
        assert!(sender.send(Box::new(1)).is_err());
    });
}

#[test]
fn a_select_takes_what_comes_first_or_gives_up() {
    run(|| {
        let (first, from_first) = bounded::<u32>(0);
        let (_second, from_second) = unbounded::<u32>();
        let sender = green::spawn(move || first.send(5).unwrap());
        let got = select! {
            recv(from_first) -> n => n.unwrap(),
            recv(from_second) -> n => n.unwrap(),
        };
        assert_eq!(got, 5);
        sender.join().unwrap();
        let none = select! {
            recv(from_second) -> n => n.ok(),
            default(Duration::from_millis(1)) => None,
        };
        assert_eq!(none, None);
    });
}

#[test]
fn futures_are_awaited_both_ways() {
    run(|| {
        let (sender, receiver) = async_channel::bounded(1);
        let producer = green::spawn(move || green::block_on(async { sender.send(Box::new(3)).await.unwrap() }));
        assert_eq!(green::block_on(async { *receiver.recv().await.unwrap() }), 3);
        green::block_on(producer).unwrap();
    });
}

#[test]
fn a_closure_on_the_blocking_pool_borrows_from_its_caller() {
    run(|| {
        let text = String::from("borrowed");
        assert_eq!(green::blocking(|| text.len()), 8);
    });
}

struct Sum(Box<u64>);
impl Actor for Sum {}
struct Add(u64);
impl Message for Add {
    type Reply = u64;
}
impl Handler<Add> for Sum {
    fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> u64 {
        assert!(n < 100, "too much");
        *self.0 += n;
        *self.0
    }
}

#[test]
fn an_actor_is_told_and_asked_and_stops() {
    run(|| {
        let sum = Sum(Box::new(1)).start();
        sum.tell(Add(1)).unwrap();
        assert_eq!(sum.send(Add(2)).unwrap(), 4);
        let asker = sum.clone();
        assert_eq!(green::spawn(move || asker.send(Add(3))).join().unwrap().unwrap(), 7);
        sum.stop();
        sum.join();
        assert!(sum.tell(Add(1)).is_err());
    });
}

/// Ties itself to another, and counts what it is told.
struct Tied(Addr<Sum>, usize);

impl Actor for Tied {
    const TRAPS_EXITS: bool = true;

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
        ctx.link(&self.0);
        let taken_back = ctx.monitor(&self.0);
        let _ = ctx.monitor(&self.0);
        ctx.demonitor(taken_back);
        ctx.spawn(green::thread::park);
        Ok(())
    }

    fn signal(&mut self, _: Signal, ctx: &mut Context<Self>) {
        self.1 += 1;
        if self.1 == 2 {
            ctx.stop();
        }
    }
}

#[test]
fn actors_that_are_tied_are_told_and_end_in_either_order() {
    run(|| {
        let sum = Sum(Box::new(1)).start();
        let (gone, told) = (Tied(sum.clone(), 0).start(), Tied(sum.clone(), 0).start());
        gone.kill();
        gone.join();
        sum.kill();
        assert_eq!(told.join(), Exit::Normal);
    });
}

#[test]
fn a_place_that_one_runtime_had_another_one_takes() {
    for workers in [2, 1] {
        let runtime = Runtime::builder().workers(workers).build().unwrap();
        let parked = runtime.spawn(green::thread::park);
        let late = parked.thread().clone();
        drop(runtime);
        late.unpark();
        parked.cancel();
        assert!(parked.join().is_err());
    }
}
