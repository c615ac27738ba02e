//! `green::block_on` on real async code and on futures made to be awkward, from green threads and from OS threads.
#![allow(missing_docs)]

use std::future::{Future, pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use green::block_on;

mod help;

use help::{everywhere, scaled};

/// Is pending, with its waker shown to `with`, until that says true.
fn until(mut with: impl FnMut(&Waker) -> bool) -> impl Future<Output = ()> {
    poll_fn(move |context| if with(context.waker()) { Poll::Ready(()) } else { Poll::Pending })
}

/// A flag that async code can wait for.
#[derive(Default)]
struct Flag {
    set: AtomicBool,
    waker: Mutex<Option<Waker>>,
    polls: AtomicUsize,
}

impl Flag {
    fn raise(&self) {
        self.set.store(true, Ordering::Relaxed);
        let waker = self.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wait(self: &Arc<Self>) -> impl Future<Output = ()> + use<> {
        let flag = self.clone();
        until(move |waker| {
            flag.polls.fetch_add(1, Ordering::Relaxed);
            let mut slot = flag.waker.lock().unwrap();
            *slot = Some(waker.clone());
            flag.set.load(Ordering::Relaxed)
        })
    }
}

#[test]
fn a_ready_future_is_polled_once_and_its_value_comes_back() {
    everywhere(|| {
        assert_eq!(block_on(ready(5)), 5);
        let text = String::from("borrowed");
        assert_eq!(block_on(async { text.len() }), 8);
        let rc = std::rc::Rc::new(1);
        assert_eq!(block_on(async { *rc }), 1, "neither Send nor 'static");
    });
}

#[test]
fn a_wake_from_another_thread_ends_the_wait() {
    everywhere(|| {
        let flag = Arc::new(Flag::default());
        let other = flag.clone();
        let raiser = green::spawn(move || {
            while other.waker.lock().unwrap().is_none() {
                green::yield_now();
            }
            other.raise();
        });
        block_on(flag.wait());
        raiser.join().unwrap();

        let flag = Arc::new(Flag::default());
        let other = flag.clone();
        let raiser = std::thread::spawn(move || {
            while other.waker.lock().unwrap().is_none() {
                std::thread::yield_now();
            }
            other.raise();
        });
        block_on(flag.wait());
        raiser.join().unwrap();
    });
}

#[test]
fn a_wake_of_oneself_inside_poll_is_not_lost() {
    everywhere(|| {
        let mut polls = 0;
        block_on(until(|waker| {
            polls += 1;
            waker.wake_by_ref();
            let by_value = waker.clone();
            by_value.wake();
            polls == 1000
        }));
        assert_eq!(polls, 1000, "two wakes in one poll are one");
    });
}

#[test]
fn a_future_that_wakes_itself_lets_its_neighbours_run() {
    help::builder().workers(1).build().unwrap().run(|| {
        let turn = Arc::new(AtomicUsize::new(0));
        let threads = [0, 1].map(|me| {
            let turn = turn.clone();
            green::spawn(move || {
                let (mut mine, mut polls) = (0, 0);
                block_on(until(|waker| {
                    polls += 1;
                    waker.wake_by_ref();
                    if turn.load(Ordering::Relaxed) % 2 == me {
                        turn.fetch_add(1, Ordering::Relaxed);
                        mine += 1;
                    }
                    mine == 50
                }));
                polls
            })
        });
        for thread in threads {
            assert!(thread.join().unwrap() <= 110, "they take turns and do not spin");
        }
    });
}

#[test]
fn a_waiting_future_is_not_polled_by_an_unpark_and_keeps_no_token() {
    everywhere(|| {
        let flag = Arc::new(Flag::default());
        let (me, other) = (green::thread::current(), flag.clone());
        let parked = Arc::new(AtomicBool::new(false));
        let helper = {
            let parked = parked.clone();
            green::spawn(move || {
                while other.waker.lock().unwrap().is_none() {
                    green::yield_now();
                }
                for _ in 0..100 {
                    me.unpark();
                    green::yield_now();
                }
                assert_eq!(other.polls.load(Ordering::Relaxed), 1, "an unpark is not a wake");
                parked.store(true, Ordering::Relaxed);
                other.raise();
            })
        };
        block_on(flag.wait());
        assert!(parked.load(Ordering::Relaxed));
        assert_eq!(flag.polls.load(Ordering::Relaxed), 2);
        helper.join().unwrap();
        // The unpark's token is still there, and is `park`'s.
        green::thread::park();
    });
}

#[test]
fn a_park_inside_poll_does_not_swallow_a_wake() {
    everywhere(|| {
        let mut polls = 0;
        block_on(until(|waker| {
            polls += 1;
            waker.wake_by_ref();
            green::thread::current().unpark();
            green::thread::park();
            green::sleep(Duration::from_micros(10));
            polls == 3
        }));
    });
}

#[test]
fn wakers_of_one_thread_are_alike_and_of_two_threads_are_not() {
    fn waker() -> Waker {
        let mut found = None;
        block_on(until(|waker| {
            found = Some(waker.clone());
            true
        }));
        found.unwrap()
    }
    everywhere(|| {
        let (one, two) = (waker(), waker());
        assert!(one.will_wake(&two) && one.will_wake(&one.clone()));
        assert!(!one.will_wake(&green::spawn(waker).join().unwrap()));
        assert!(!one.will_wake(Waker::noop()));
    });
}

#[test]
fn a_waker_may_be_used_when_its_block_on_and_its_thread_are_over() {
    fn waker() -> Waker {
        let mut found = None;
        block_on(until(|waker| {
            found = Some(waker.clone());
            true
        }));
        found.unwrap()
    }
    let stray = [
        std::thread::spawn(waker).join().unwrap(),
        green::spawn(waker).join().unwrap(),
        help::builder().workers(1).build().unwrap().run(waker),
    ];
    everywhere(move || {
        for waker in &stray {
            waker.wake_by_ref();
            let by_value = waker.clone();
            by_value.wake();
        }
        // A stale wake of a thread that lives costs a poll, at most.
        let old = waker();
        old.wake_by_ref();
        let flag = Arc::new(Flag::default());
        let other = flag.clone();
        let raiser = green::spawn(move || {
            while other.waker.lock().unwrap().is_none() {
                green::yield_now();
            }
            other.raise();
        });
        block_on(flag.wait());
        assert!(flag.polls.load(Ordering::Relaxed) <= 3);
        raiser.join().unwrap();
    });
}

#[test]
fn a_nested_block_on_does_not_lose_the_wake_of_the_outer_one() {
    everywhere(|| {
        let mut polls = 0;
        block_on(until(|waker| {
            polls += 1;
            if polls == 1 {
                waker.wake_by_ref();
                // The inner one is pending until a wake has come: it takes the outer one's, and its own.
                let mut inner = 0;
                block_on(until(|waker| {
                    inner += 1;
                    if inner < 4 {
                        waker.wake_by_ref();
                    }
                    inner == 4
                }));
                // The same when the inner one panics.
            } else if polls == 2 {
                let unwound = catch_unwind(AssertUnwindSafe(|| {
                    block_on(until(|waker| {
                        waker.wake_by_ref();
                        std::panic::resume_unwind(Box::new(()));
                    }))
                }));
                assert!(unwound.is_err());
            }
            polls >= 3
        }));
        assert_eq!(polls, 3);
    });
}

#[test]
fn a_cancel_ends_the_wait_and_drops_the_future() {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    everywhere(|| {
        let (dropped, started) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let waiting = {
            let (guard, started) = (Dropped(dropped.clone()), started.clone());
            green::spawn(move || {
                block_on(async move {
                    let _guard = guard;
                    started.fetch_add(1, Ordering::Relaxed);
                    pending::<()>().await;
                })
            })
        };
        let spinning = {
            let (guard, started) = (Dropped(dropped.clone()), started.clone());
            green::spawn(move || {
                let _guard = guard;
                started.fetch_add(1, Ordering::Relaxed);
                block_on(until(|waker| {
                    waker.wake_by_ref();
                    false
                }))
            })
        };
        while started.load(Ordering::Relaxed) < 2 {
            green::yield_now();
        }
        waiting.cancel();
        spinning.cancel();
        assert!(waiting.join().unwrap_err().is::<green::Cancelled>());
        assert!(spinning.join().unwrap_err().is::<green::Cancelled>());
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn a_timeout_ends_the_wait_and_the_thread_can_block_on_again() {
    everywhere(|| {
        assert!(green::timeout(Duration::from_millis(2), || block_on(pending::<()>())).is_err());
        let spins = || {
            block_on(until(|waker| {
                waker.wake_by_ref();
                false
            }))
        };
        assert!(green::timeout(Duration::from_millis(2), spins).is_err());
        let mut polls = 0;
        block_on(until(|waker| {
            polls += 1;
            waker.wake_by_ref();
            polls == 2
        }));
    });
}

#[test]
fn a_panic_of_the_future_passes_through() {
    everywhere(|| {
        let result = catch_unwind(|| block_on(until(|_| std::panic::resume_unwind(Box::new(5_u8)))));
        assert_eq!(result.unwrap_err().downcast_ref(), Some(&5_u8));
        assert_eq!(block_on(ready(1)), 1);
    });
}

#[test]
fn inside_no_park_only_a_future_that_is_ready_gets_through() {
    everywhere(|| {
        assert_eq!(green::no_park(|| block_on(ready(1))), 1);
        let result = catch_unwind(|| green::no_park(|| block_on(pending::<()>())));
        let message = *result.unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("no_park"), "{message}");
    });
}

#[test]
fn a_channel_of_an_async_library_connects_green_os_and_async() {
    everywhere(|| {
        let (sender, receiver) = async_channel::bounded::<usize>(2);
        let receivers: Vec<_> = (0..4)
            .map(|_| {
                let receiver = receiver.clone();
                green::spawn(move || {
                    let mut sum = 0;
                    while let Ok(n) = block_on(receiver.recv()) {
                        sum += n;
                    }
                    sum
                })
            })
            .collect();
        drop(receiver);
        let from_os = {
            let sender = sender.clone();
            std::thread::spawn(move || (0..200).for_each(|n| block_on(sender.send(n)).unwrap()))
        };
        block_on(async {
            for n in 0..200 {
                sender.send(n).await.unwrap();
            }
        });
        drop(sender);
        // std's `join` would keep the worker from its other threads.
        green::blocking(|| from_os.join()).unwrap();
        assert_eq!(receivers.into_iter().map(|r| r.join().unwrap()).sum::<usize>(), 2 * 199 * 100);
    });
}

#[test]
fn join_and_select_of_futures_work() {
    everywhere(|| {
        let (sender, receiver) = futures::channel::oneshot::channel();
        let (one, two) =
            block_on(async { futures::join!(async { receiver.await.unwrap() }, async { sender.send(3).unwrap() }) });
        assert_eq!((one, two), (3, ()));
        let never = pending::<u32>();
        let first = block_on(futures::future::select(Box::pin(never), Box::pin(async { 9 })));
        assert!(matches!(first, futures::future::Either::Right((9, _))));
    });
}

/// `FuturesUnordered` and the like put wakers of their own in front of ours, which outlive and clone it freely.
#[test]
fn many_futures_in_one_block_on_are_all_woken() {
    everywhere(|| {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..100).map(|_| tokio::sync::oneshot::channel()).unzip();
        let sending = green::spawn(move || {
            for (n, sender) in senders.into_iter().enumerate() {
                sender.send(n).unwrap();
                if n % 7 == 0 {
                    green::yield_now();
                }
            }
        });
        let all = block_on(futures::future::join_all(receivers));
        assert!(all.into_iter().map(Result::unwrap).eq(0..100));
        sending.join().unwrap();
    });
}

#[test]
fn stress_wakes_from_many_threads_lose_nothing() {
    let rounds = scaled(2000);
    everywhere(move || {
        let (sender, receiver) = async_channel::unbounded::<Arc<Flag>>();
        let raisers: Vec<_> = (0..2)
            .map(|_| {
                let receiver = receiver.clone();
                std::thread::spawn(move || {
                    while let Ok(flag) = receiver.recv_blocking() {
                        flag.raise();
                    }
                })
            })
            .collect();
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let sender = sender.clone();
                green::spawn(move || {
                    for _ in 0..rounds {
                        let flag = Arc::new(Flag::default());
                        sender.try_send(flag.clone()).unwrap();
                        block_on(flag.wait());
                    }
                })
            })
            .collect();
        for waiter in waiters {
            waiter.join().unwrap();
        }
        drop(sender);
        for raiser in raisers {
            raiser.join().unwrap();
        }
    });
}
