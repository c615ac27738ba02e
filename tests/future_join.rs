//! A `JoinHandle` is a future: awaited on executors of others and on ours, polled in awkward orders, dropped in the middle.
#![allow(missing_docs)]

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use green::block_on;
use green::thread::JoinHandle;

mod help;

use help::{everywhere, scaled};

/// Counts its wakes, and by its `Arc` its wakers.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Counter {
    fn wakes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn poll<F: Future + Unpin>(future: &mut F, counter: &Arc<Counter>) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(&Waker::from(counter.clone())))
}

/// A thread that ends when it is unparked and `go` is set.
fn held<T: Send + 'static>(result: impl FnOnce() -> T + Send + 'static) -> (JoinHandle<T>, impl Fn()) {
    let go = Arc::new(AtomicBool::new(false));
    let seen = go.clone();
    let handle = green::spawn(move || {
        while !seen.load(Ordering::Relaxed) {
            green::thread::park();
        }
        result()
    });
    let thread = handle.thread().clone();
    (handle, move || {
        go.store(true, Ordering::Relaxed);
        thread.unpark();
    })
}

fn wait_for_end<T>(handle: &JoinHandle<T>) {
    while !handle.is_finished() {
        green::thread::yield_now();
    }
}

#[test]
fn a_handle_is_awaited_on_any_executor() {
    async fn sum() -> usize {
        let threads: Vec<_> = (0..50).map(|n| green::spawn(move || n)).collect();
        let mut sum = 0;
        for thread in threads {
            sum += thread.await.unwrap();
        }
        sum
    }
    everywhere(|| assert_eq!(block_on(sum()), 1225));
    assert_eq!(futures::executor::block_on(sum()), 1225);
    assert_eq!(pollster::block_on(sum()), 1225);
    let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(tokio.block_on(async { tokio::spawn(sum()).await.unwrap() }), 1225);
}

#[test]
fn a_panic_and_a_cancel_are_in_the_result() {
    everywhere(|| {
        block_on(async {
            let payload = green::spawn(|| std::panic::resume_unwind(Box::new(7_u8))).await;
            assert_eq!(payload.unwrap_err().downcast_ref(), Some(&7_u8));
            let parked = green::spawn(green::thread::park);
            parked.cancel();
            assert!(parked.await.unwrap_err().is::<green::Cancelled>());
        });
    });
}

#[test]
fn handles_are_joined_and_selected() {
    everywhere(|| {
        let (slow, release) = held(|| 1);
        let (one, slow) = block_on(async {
            match futures::future::select(slow, green::spawn(|| 2)).await {
                futures::future::Either::Right((fast, slow)) => (fast.unwrap(), slow),
                futures::future::Either::Left(_) => panic!("it waits to be released"),
            }
        });
        assert_eq!(one, 2);
        release();
        let both = block_on(async { futures::join!(slow, green::spawn(|| 3)) });
        assert_eq!((both.0.unwrap(), both.1.unwrap()), (1, 3));
    });
}

#[test]
fn the_last_waker_is_called_once_and_no_waker_is_leaked() {
    everywhere(|| {
        let (one, two) = <(Arc<Counter>, Arc<Counter>)>::default();
        let (mut handle, release) = held(|| String::from("done"));
        assert!(poll(&mut handle, &one).is_pending());
        assert!(poll(&mut handle, &one).is_pending());
        assert_eq!(Arc::strong_count(&one), 2, "the same waker is kept once");
        assert!(poll(&mut handle, &two).is_pending());
        assert_eq!((Arc::strong_count(&one), Arc::strong_count(&two)), (1, 2));
        let mut handle = { handle }; // moved between polls
        assert!(poll(&mut handle, &two).is_pending());
        release();
        while two.wakes() == 0 {
            green::thread::yield_now();
        }
        let Poll::Ready(result) = poll(&mut handle, &one) else { panic!("it was woken") };
        assert_eq!(result.unwrap(), "done");
        assert_eq!((one.wakes(), two.wakes()), (0, 1));
        assert_eq!((Arc::strong_count(&one), Arc::strong_count(&two)), (1, 1));
    });
}

#[test]
fn a_handle_dropped_while_pending_gives_its_waker_back_at_once() {
    everywhere(|| {
        let (counter, dropped) = (Arc::new(Counter::default()), Arc::new(()));
        let result = dropped.clone();
        let (mut handle, release) = held(move || result);
        assert!(poll(&mut handle, &counter).is_pending());
        drop(handle);
        assert_eq!(Arc::strong_count(&counter), 1);
        release();
        while Arc::strong_count(&dropped) > 1 {
            green::thread::yield_now();
        }
        assert_eq!(counter.wakes(), 0);
    });
}

#[test]
fn a_join_after_a_pending_poll_gives_the_result() {
    everywhere(|| {
        let counter = Arc::new(Counter::default());
        let (mut handle, release) = held(|| 5);
        assert!(poll(&mut handle, &counter).is_pending());
        release();
        assert_eq!(handle.join().unwrap(), 5);
        while Arc::strong_count(&counter) > 1 {
            green::thread::yield_now();
        }
        assert_eq!(counter.wakes(), 1);
    });
}

#[test]
fn the_result_is_given_once() {
    everywhere(|| {
        let counter = Arc::new(Counter::default());
        let result = Arc::new(());
        for take_by_join in [true, false] {
            let theirs = result.clone();
            let mut handle = green::spawn(move || theirs);
            wait_for_end(&handle);
            assert!(poll(&mut handle, &counter).is_ready());
            assert_eq!(Arc::strong_count(&result), 1);
            assert!(handle.is_finished());
            let again = catch_unwind(AssertUnwindSafe(|| {
                if take_by_join { drop(handle.join()) } else { drop(poll(&mut handle, &counter)) }
            }));
            let message = *again.unwrap_err().downcast::<&str>().unwrap();
            assert!(message.contains("already"), "{message}");
        }
        assert_eq!((Arc::strong_count(&counter), Arc::strong_count(&result)), (1, 1));
    });
}

#[test]
fn a_thread_that_awaits_itself_panics() {
    everywhere(|| {
        let cell = Arc::new(std::sync::Mutex::new(None::<JoinHandle<()>>));
        let mine = cell.clone();
        let (handle, release) = held(move || {
            let own = mine.lock().unwrap().take().unwrap();
            let result = catch_unwind(AssertUnwindSafe(|| block_on(own)));
            assert!(result.is_err());
        });
        let thread = handle.thread().clone();
        *cell.lock().unwrap() = Some(handle);
        release();
        while cell.lock().unwrap().is_some() {
            green::thread::yield_now();
        }
        drop(thread);
    });
}

#[test]
fn a_waker_that_panics_does_not_hurt_the_thread_that_calls_it() {
    struct Bad;
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new("a bad waker"));
        }
    }
    everywhere(|| {
        let (mut handle, release) = held(|| 1);
        let waker = Waker::from(Arc::new(Bad));
        assert!(Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)).is_pending());
        release();
        assert_eq!(handle.join().unwrap(), 1);
    });
}

#[test]
fn scoped_handles_are_futures_too() {
    everywhere(|| {
        let text = String::from("borrowed");
        let length = green::scope(|scope| {
            let one = scope.spawn(|| text.len());
            let two = scope.spawn(|| text.len());
            block_on(async { one.await.unwrap() + two.await.unwrap() })
        });
        assert_eq!(length, 16);
    });
}

#[test]
fn blocking_closures_are_awaited() {
    everywhere(|| {
        let (here, there) = block_on(async {
            let there = green::future::blocking(|| std::thread::current().id());
            (std::thread::current().id(), there.await.unwrap())
        });
        assert_ne!(here, there);
        let panicked = block_on(green::future::blocking(|| std::panic::resume_unwind(Box::new(1_u8))));
        assert!(panicked.unwrap_err().is::<u8>());
    });
}

/// Ends, polls with changing wakers, joins and drops race for each thread.
#[test]
fn stress_polls_race_with_the_end() {
    let rounds = scaled(3000);
    let runtime = help::builder().workers(2).build().unwrap();
    let (one, two) = <(Arc<Counter>, Arc<Counter>)>::default();
    let results = Arc::new(());
    for round in 0..rounds {
        let result = results.clone();
        let mut handle = runtime.spawn(move || result);
        for spin in 0..round % 64 {
            std::hint::black_box(spin);
        }
        if poll(&mut handle, &one).is_ready() {
            continue;
        }
        match round % 4 {
            0 => drop(handle),
            1 => drop(handle.join().unwrap()),
            2 => drop(block_on(handle).unwrap()),
            _ => {
                if poll(&mut handle, &two).is_pending() {
                    drop(block_on(pin!(handle)).unwrap());
                }
            }
        }
    }
    drop(runtime);
    assert_eq!(Arc::strong_count(&results), 1, "every result was dropped");
    assert_eq!((Arc::strong_count(&one), Arc::strong_count(&two)), (1, 1), "every waker was dropped");
}
