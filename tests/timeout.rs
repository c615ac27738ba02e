//! `timeout` where it is not left in the order of a stack, and where a thread is not cancelled any more.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use green::actor::{Actor, Context, Exit};
use green::channel::{Sender, unbounded};
use help::{bounded, everywhere, on_workers, runtime};

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(2);
/// What a time-out that works ends, and one that does not work is found by: no machine stops for so long.
const WHILE: Duration = Duration::from_secs(10);

/// Ends by its `timeout`.
fn must_time_out() {
    assert!(green::timeout(SHORT, || green::sleep(LONG)).is_err());
}

type Inside = Coroutine<(), (), ()>;

/// A coroutine of another library that is suspended inside a `timeout`.
fn suspended_in_a_time_out(d: Duration) -> Inside {
    let mut coroutine = Coroutine::new(move |yielder: &Yielder<(), ()>, ()| {
        let result = green::timeout(d, || {
            yielder.suspend(());
            green::sleep(Duration::ZERO);
        });
        assert!(result.is_ok());
    });
    assert!(matches!(coroutine.resume(()), CoroutineResult::Yield(())));
    coroutine
}

fn finish(mut coroutine: Inside) {
    assert!(matches!(coroutine.resume(()), CoroutineResult::Return(())));
}

#[test]
fn a_time_out_may_be_left_in_any_order_by_coroutines_of_another_library() {
    everywhere(|| {
        let [first, second, third] = [0; 3].map(|_| suspended_in_a_time_out(LONG));
        finish(first);
        green::sleep(Duration::from_millis(1));
        drop(third);
        must_time_out();
        finish(second);
        green::sleep(Duration::from_millis(1));
        must_time_out();
    });
}

#[test]
fn a_time_out_that_is_left_first_bounds_those_inside_no_more() {
    everywhere(|| {
        let short = suspended_in_a_time_out(Duration::from_millis(20));
        let long = suspended_in_a_time_out(LONG);
        finish(short);
        green::sleep(Duration::from_millis(25));
        finish(long);
    });
}

#[test]
fn a_time_out_that_passes_while_its_coroutine_is_suspended_ends_nothing_but_that() {
    everywhere(|| {
        let mut coroutine = Coroutine::new(|yielder: &Yielder<(), ()>, ()| {
            let result = green::timeout(SHORT, || {
                yielder.suspend(());
                green::sleep(LONG);
            });
            assert!(result.is_err());
        });
        assert!(matches!(coroutine.resume(()), CoroutineResult::Yield(())));
        green::sleep(2 * SHORT);
        green::thread::park_timeout(2 * SHORT);
        let socket = green::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(2 * SHORT)).unwrap();
        assert!(socket.recv(&mut [0]).is_err());
        socket.set_read_timeout(None).unwrap();
        assert!(green::timeout(2 * SHORT, || socket.recv(&mut [0])).is_err());
        let (_sender, receiver) = unbounded::<()>();
        assert!(receiver.recv_timeout(2 * SHORT).is_err());
        must_time_out();
        finish(coroutine);
        must_time_out();
    });
}

#[test]
fn a_time_out_of_a_suspended_coroutine_unwinds_no_other_coroutine_wherever_their_stacks_lie() {
    everywhere(|| {
        for places in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut stacks = [0; 3].map(|_| Some(DefaultStack::new(1 << 16).unwrap()));
            let [suspended, sleeps, outer] = places.map(|place| stacks[place].take().unwrap());
            let mut suspended = Coroutine::with_stack(suspended, |yielder: &Yielder<(), ()>, ()| {
                green::timeout(SHORT, || yielder.suspend(())).unwrap();
            });
            assert!(matches!(suspended.resume(()), CoroutineResult::Yield(())));
            let mut sleeps = Coroutine::with_stack(sleeps, |_: &Yielder<(), ()>, ()| green::sleep(3 * SHORT));
            let mut outer = Coroutine::with_stack(outer, move |_: &Yielder<(), ()>, ()| {
                assert!(matches!(sleeps.resume(()), CoroutineResult::Return(())));
            });
            assert!(matches!(outer.resume(()), CoroutineResult::Return(())));
            assert!(matches!(suspended.resume(()), CoroutineResult::Return(())));
        }
    });
}

#[test]
fn a_time_out_around_a_coroutine_ends_what_that_waits_for() {
    everywhere(|| {
        let _suspended = suspended_in_a_time_out(SHORT);
        let result = green::timeout(2 * SHORT, || {
            let mut inside = Coroutine::new(|_: &Yielder<(), ()>, ()| {
                let _ = green::timeout(LONG, || green::sleep(LONG));
            });
            inside.resume(());
        });
        assert!(result.is_err());
    });
}

#[test]
fn a_time_out_that_passes_in_a_suspended_coroutine_keeps_no_cancel_away() {
    on_workers(|| {
        let thread = green::spawn_local(|| {
            let _suspended = suspended_in_a_time_out(SHORT);
            green::thread::park();
        });
        green::sleep(2 * SHORT);
        assert!(!thread.is_finished());
        thread.cancel();
        assert!(thread.join().unwrap_err().is::<green::Cancelled>());
    });
}

#[test]
fn a_coroutine_suspended_in_a_time_out_may_be_finished_by_another_thread_of_the_worker() {
    on_workers(|| {
        let shared = Rc::new(RefCell::new(None));
        let made = Rc::clone(&shared);
        green::spawn_local(move || *made.borrow_mut() = Some(suspended_in_a_time_out(LONG))).join().unwrap();
        let taken = shared.take().unwrap();
        green::spawn_local(move || {
            must_time_out();
            finish(taken);
            must_time_out();
        })
        .join()
        .unwrap();
    });
}

#[test]
fn a_coroutine_suspended_in_a_lazy_value_keeps_no_cancel_away_afterwards() {
    on_workers(|| {
        let thread = green::spawn_local(|| {
            let start = || {
                let mut coroutine = Coroutine::new(|yielder: &Yielder<(), ()>, ()| {
                    let lazy = green::sync::LazyLock::new(|| yielder.suspend(()));
                    green::sync::LazyLock::force(&lazy);
                });
                assert!(matches!(coroutine.resume(()), CoroutineResult::Yield(())));
                coroutine
            };
            let (first, second) = (start(), start());
            finish(first);
            finish(second);
            green::thread::park();
        });
        green::sleep(Duration::from_millis(1));
        thread.cancel();
        assert!(thread.join().unwrap_err().is::<green::Cancelled>());
    });
}

/// Says when it is dropped whether a time-out works there.
struct Bounded(Sender<bool>);

impl Drop for Bounded {
    fn drop(&mut self) {
        let _ = self.0.send(green::timeout(SHORT, || green::sleep(WHILE)).is_err());
    }
}

#[test]
fn a_time_out_works_in_the_destructor_of_a_green_thread_local_value() {
    everywhere(|| {
        green::local! {
            static VALUE: RefCell<Option<Bounded>> = RefCell::new(None);
        }
        let (sender, works) = unbounded();
        let again = sender.clone();
        green::spawn(move || VALUE.with(|value| *value.borrow_mut() = Some(Bounded(sender)))).join().unwrap();
        assert!(works.recv().unwrap());
        let os = std::thread::spawn(move || VALUE.with(|value| *value.borrow_mut() = Some(Bounded(again))));
        os.join().unwrap();
        assert!(works.recv().unwrap());
    });
}

#[test]
fn a_time_out_works_in_the_destructor_of_a_closure_that_was_cancelled_before_its_start() {
    on_workers(|| {
        let (sender, works) = unbounded();
        let bounded = Bounded(sender);
        let thread = green::spawn_local(move || drop(bounded));
        thread.cancel();
        assert!(thread.join().is_err());
        assert!(works.recv().unwrap());
    });
}

#[test]
fn a_time_out_works_in_the_destructor_of_a_detached_result() {
    bounded(|| {
        for workers in [1, 2] {
            let runtime = runtime(workers);
            let (sender, works) = unbounded();
            drop(runtime.spawn(move || Bounded(sender)));
            assert!(works.recv().unwrap());
        }
    });
}

#[test]
fn a_time_out_works_in_what_a_cancel_or_an_end_of_the_runtime_drops() {
    bounded(|| {
        for workers in [1, 2] {
            let runtime = runtime(workers);
            let (sender, works) = unbounded();
            let (started, has_started) = unbounded();
            drop(runtime.spawn(move || {
                green::local! {
                    static VALUE: RefCell<Option<Bounded>> = RefCell::new(None);
                }
                VALUE.with(|value| *value.borrow_mut() = Some(Bounded(sender)));
                started.send(()).unwrap();
                green::thread::park();
            }));
            has_started.recv().unwrap();
            drop(runtime);
            assert!(works.recv().unwrap());
        }
    });
}

#[test]
fn a_time_out_works_while_an_actor_stops() {
    struct Stops(Option<Bounded>, Sender<bool>);
    impl Actor for Stops {
        fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> {
            self.1.send(true).unwrap();
            Ok(())
        }

        fn stopping(&mut self, _: &Exit, _: &mut Context<Self>) {
            let result = green::timeout(SHORT, || green::sleep(WHILE));
            self.1.send(result.is_err()).unwrap();
            drop(self.0.take());
        }
    }
    everywhere(|| {
        for kill in [false, true] {
            let (sender, works) = unbounded();
            let actor = Stops(Some(Bounded(sender.clone())), sender).start();
            assert_eq!(works.recv(), Ok(true), "it has started");
            if kill {
                actor.kill();
            } else {
                actor.stop();
            }
            actor.join();
            assert_eq!((works.recv(), works.recv()), (Ok(true), Ok(true)));
        }
    });
}

#[test]
fn the_end_of_a_thread_has_no_time_out_from_without_and_no_cancel() {
    on_workers(|| {
        struct Sleeps(Sender<()>);
        impl Drop for Sleeps {
            fn drop(&mut self) {
                green::sleep(Duration::from_millis(4));
                self.0.send(()).unwrap();
            }
        }
        green::local! {
            static VALUE: RefCell<Option<Sleeps>> = RefCell::new(None);
        }
        let (sender, slept) = unbounded();
        let thread = green::spawn_local(move || {
            VALUE.with(|value| *value.borrow_mut() = Some(Sleeps(sender)));
            green::timeout(Duration::from_millis(1), || ()).unwrap();
        });
        green::yield_now();
        thread.cancel();
        let _ = thread.join();
        slept.recv().unwrap();
    });
}

#[test]
fn a_limit_that_a_neighbour_takes_out_of_the_chain_leaves_the_wait_its_own_time_out_and_its_cancel() {
    on_workers(|| {
        for by_cancel in [false, true] {
            let thread = green::spawn_local(move || {
                let suspended = Rc::new(Cell::new(Some(suspended_in_a_time_out(3 * SHORT))));
                let theirs = Rc::clone(&suspended);
                let neighbour = green::spawn_local(move || {
                    green::sleep(SHORT);
                    finish(theirs.take().unwrap());
                });
                if by_cancel {
                    green::sleep(LONG);
                }
                assert!(green::timeout(10 * SHORT, || green::sleep(LONG)).is_err());
                neighbour.join().unwrap();
            });
            if by_cancel {
                green::sleep(10 * SHORT);
                thread.cancel();
            }
            let payload = thread.join().err();
            assert_eq!(payload.is_some_and(|payload| payload.is::<green::Cancelled>()), by_cancel);
        }
    });
}
