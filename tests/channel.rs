//! Channels: what each kind promises, from green threads and OS threads, on one worker and on two.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use green::Cancelled;
use green::channel::{
    Receiver, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError, TrySendError, after, at, bounded, never, tick,
    unbounded,
};

mod help;

use help::{everywhere, scaled, until};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(5);

/// The kinds of channel that one can send into.
fn kinds<T>() -> Vec<(Sender<T>, Receiver<T>)> {
    vec![bounded(0), bounded(1), bounded(3), unbounded()]
}

/// Counts what is alive.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(alive))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn messages_come_out_in_the_order_in_which_one_sender_sent_them() {
    everywhere(|| {
        for (s, r) in kinds() {
            let sender = green::spawn(move || (0..scaled(1000)).for_each(|i| s.send(i).unwrap()));
            assert!(r.iter().eq(0..scaled(1000)));
            sender.join().unwrap();
        }
    });
}

#[test]
fn every_message_is_received_exactly_once_by_any_mix_of_threads() {
    let each = scaled(2000);
    for workers in [1, 2] {
        let runtime = help::builder().workers(workers).build().unwrap();
        for (s, r) in kinds() {
            let senders = 4;
            let mut green_threads = Vec::new();
            let mut os_threads = Vec::new();
            let receive = |r: Receiver<usize>| move || r.iter().collect::<Vec<usize>>();
            for number in 0..senders {
                let s = s.clone();
                let send = move || (0..each).for_each(|i| s.send(number * each + i).unwrap());
                if number % 2 == 0 {
                    green_threads.push(runtime.spawn(send));
                } else {
                    os_threads.push(std::thread::spawn(send));
                }
            }
            let receivers = [runtime.spawn(receive(r.clone())), runtime.spawn(receive(r.clone()))];
            let on_os = std::thread::spawn(receive(r.clone()));
            drop((s, r));
            let mut got: Vec<usize> = on_os.join().unwrap();
            receivers.into_iter().for_each(|receiver| got.extend(receiver.join().unwrap()));
            green_threads.into_iter().for_each(|thread| thread.join().unwrap());
            os_threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(got.len(), senders * each);
            assert_eq!(got.iter().collect::<HashSet<_>>().len(), senders * each);
        }
    }
}

#[test]
fn the_numbers_of_a_channel_are_right() {
    everywhere(|| {
        let (s, r) = bounded(2);
        assert_eq!((s.len(), s.is_empty(), s.is_full(), s.capacity()), (0, true, false, Some(2)));
        s.send(1).unwrap();
        s.send(2).unwrap();
        assert_eq!((r.len(), r.is_empty(), r.is_full(), r.capacity()), (2, false, true, Some(2)));
        assert_eq!(s.try_send(3), Err(TrySendError::Full(3)));
        assert_eq!(r.try_recv(), Ok(1));
        assert_eq!((s.len(), s.is_full()), (1, false));

        let (s, r) = bounded::<()>(0);
        assert_eq!((s.len(), s.is_empty(), s.is_full(), s.capacity()), (0, true, true, Some(0)));
        assert_eq!((r.len(), r.is_empty(), r.is_full(), r.capacity()), (0, true, true, Some(0)));
        assert_eq!(s.try_send(()), Err(TrySendError::Full(())));

        let (s, r) = unbounded();
        (0..100).for_each(|i| s.send(i).unwrap());
        assert_eq!((s.len(), r.len(), r.is_full(), r.capacity()), (100, 100, false, None));

        const SILENT: Receiver<()> = never();
        assert_eq!((SILENT.len(), SILENT.capacity()), (0, Some(0)));
        assert!(s.same_channel(&s.clone()) && r.same_channel(&r.clone()));
        assert!(!s.same_channel(&unbounded().0) && !r.same_channel(&never()));
        assert_eq!((format!("{s:?}"), format!("{r:?}")), ("Sender { .. }".to_owned(), "Receiver { .. }".to_owned()));
    });
}

#[test]
fn dropping_all_senders_lets_receivers_finish_what_is_there_and_then_fail() {
    everywhere(|| {
        for (s, r) in kinds::<i32>() {
            let waiting = green::spawn({
                let r = r.clone();
                move || r.recv()
            });
            let s2 = s.clone();
            drop(s);
            assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
            drop(s2);
            assert!(waiting.join().unwrap().is_err());
            assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));
            assert_eq!(r.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
        }
        let (s, r) = unbounded();
        s.send(1).unwrap();
        drop(s);
        assert_eq!((r.recv(), r.recv().is_err()), (Ok(1), true));
    });
}

#[test]
fn dropping_all_receivers_fails_senders_gives_their_messages_back_and_drops_the_rest_once() {
    everywhere(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        for (s, r) in kinds() {
            while s.capacity().is_none_or(|capacity| s.len() < capacity) && s.len() < 100 {
                s.send(Counted::new(&alive)).unwrap();
            }
            let inside = s.len();
            assert_eq!(alive.load(Ordering::Relaxed), inside);
            let waiting = (s.capacity().is_some()).then(|| {
                let (s, message) = (s.clone(), Counted::new(&alive));
                green::spawn(move || s.send(message).map_err(|error| drop(error.into_inner())))
            });
            drop(r);
            if let Some(waiting) = waiting {
                assert_eq!(waiting.join().unwrap(), Err(()));
            }
            assert_eq!(alive.load(Ordering::Relaxed), 0);
            assert!(matches!(s.try_send(Counted::new(&alive)), Err(TrySendError::Disconnected(_))));
            assert!(matches!(s.send_timeout(Counted::new(&alive), LONG), Err(SendTimeoutError::Disconnected(_))));
            assert_eq!(alive.load(Ordering::Relaxed), 0);
        }
    });
}

#[test]
fn a_time_out_gives_the_message_back_and_takes_none_along() {
    everywhere(|| {
        for (s, r) in kinds() {
            let start = Instant::now();
            assert_eq!(r.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
            assert_eq!(r.recv_deadline(start), Err(RecvTimeoutError::Timeout));
            assert!(start.elapsed() >= SHORT);
            let Some(capacity) = s.capacity() else { continue };
            (0..capacity).for_each(|i| s.send(i).unwrap());
            let start = Instant::now();
            assert_eq!(s.send_timeout(77, SHORT), Err(SendTimeoutError::Timeout(77)));
            assert!(start.elapsed() >= SHORT);
            assert_eq!(s.send_deadline(78, start), Err(SendTimeoutError::Timeout(78)));
            assert!(r.try_iter().eq(0..capacity));
        }
    });
}

/// Receivers that give up and senders that do not: a message that was handed to one who left would be missing.
#[test]
fn no_message_is_lost_to_a_receiver_that_times_out() {
    for workers in [1, 2] {
        let runtime = help::builder().workers(workers).build().unwrap();
        for (s, r) in kinds() {
            let n = scaled(400);
            runtime.run(|| {
                let sender = green::spawn(move || {
                    for i in 0..n {
                        s.send(i).unwrap();
                        if i % 3 == 0 {
                            green::sleep(Duration::from_micros(20));
                        }
                    }
                });
                let receivers: Vec<_> = (0..3)
                    .map(|_| {
                        let r = r.clone();
                        green::spawn(move || {
                            let mut got = Vec::new();
                            loop {
                                match r.recv_timeout(Duration::from_micros(15)) {
                                    Ok(message) => got.push(message),
                                    Err(RecvTimeoutError::Timeout) => {}
                                    Err(RecvTimeoutError::Disconnected) => break got,
                                }
                            }
                        })
                    })
                    .collect();
                sender.join().unwrap();
                let mut got: Vec<usize> = receivers.into_iter().flat_map(|receiver| receiver.join().unwrap()).collect();
                got.sort_unstable();
                assert!(got.into_iter().eq(0..n));
            });
        }
    }
}

#[test]
fn a_cancelled_receiver_takes_no_message_along() {
    for workers in [1, 2] {
        help::builder().workers(workers).build().unwrap().run(|| {
            for (s, r) in kinds() {
                for round in 0..scaled(100) {
                    let (first, second) = (r.clone(), r.clone());
                    let victim = green::spawn(move || first.recv());
                    let heir = green::spawn(move || second.recv_timeout(LONG));
                    (0..round % 3).for_each(|_| green::yield_now());
                    victim.cancel();
                    s.send(round).unwrap();
                    match victim.join() {
                        // The message came first: then the heir gets the next one.
                        Ok(got) => {
                            assert_eq!(got, Ok(round));
                            s.send(round + 1).unwrap();
                            assert_eq!(heir.join().unwrap(), Ok(round + 1));
                        }
                        Err(payload) => {
                            assert!(payload.is::<Cancelled>());
                            assert_eq!(heir.join().unwrap(), Ok(round));
                        }
                    }
                }
            }
        });
    }
}

#[test]
fn a_cancelled_sender_drops_its_message_and_nobody_receives_it() {
    for workers in [1, 2] {
        help::builder().workers(workers).build().unwrap().run(|| {
            let alive = Arc::new(AtomicUsize::new(0));
            for capacity in [0, 1, 2] {
                let (s, r) = bounded(capacity);
                (0..capacity).for_each(|_| s.send(Counted::new(&alive)).unwrap());
                let (blocked, message) = (s.clone(), Counted::new(&alive));
                let victim = green::spawn(move || blocked.send(message));
                green::yield_now();
                victim.cancel();
                assert!(victim.join().is_err_and(|payload| payload.is::<Cancelled>()));
                assert_eq!(alive.load(Ordering::Relaxed), capacity);
                assert_eq!(r.try_iter().count(), capacity);
                assert_eq!(alive.load(Ordering::Relaxed), 0);
            }
        });
    }
}

#[test]
fn a_timeout_around_a_receive_ends_it() {
    everywhere(|| {
        for (s, r) in kinds::<i32>() {
            assert!(green::timeout(SHORT, || r.recv()).is_err());
            let sender = green::spawn(move || s.send(1).unwrap());
            assert_eq!(green::timeout(LONG, || r.recv()), Ok(Ok(1)));
            sender.join().unwrap();
        }
    });
}

/// The rule of fairness: those that wait are served in the order in which they came, whoever else comes meanwhile.
#[test]
fn waiting_receivers_and_senders_are_served_first_come_first_served() {
    help::builder().workers(1).build().unwrap().run(|| {
        for (s, r) in kinds() {
            let (order, seen) = unbounded();
            let threads: Vec<_> = (0..5)
                .map(|number| {
                    let (r, order) = (r.clone(), order.clone());
                    let thread = green::spawn(move || order.send((number, r.recv().unwrap())).unwrap());
                    green::yield_now(); // it runs until it waits
                    thread
                })
                .collect();
            for message in 0..5 {
                s.send(message).unwrap();
                green::yield_now();
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert!(seen.try_iter().eq((0..5).map(|i| (i, i))));
            let Some(capacity) = s.capacity() else { continue };
            (0..capacity).for_each(|_| s.send(99).unwrap());
            let threads: Vec<_> = (0..5)
                .map(|number| {
                    let s = s.clone();
                    let thread = green::spawn(move || s.send(number).unwrap());
                    green::yield_now();
                    thread
                })
                .collect();
            // A newcomer does not overtake them.
            assert_eq!(s.try_send(1000), Err(TrySendError::Full(1000)));
            let got: Vec<i32> = (0..capacity + 5).map(|_| r.recv().unwrap()).collect();
            assert_eq!(got[capacity..], [0, 1, 2, 3, 4]);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    });
}

#[test]
fn a_chatty_pair_does_not_starve_its_neighbours() {
    help::builder().workers(1).build().unwrap().run(|| {
        let ((s1, r1), (s2, r2)) = (bounded(1), bounded(1));
        let echo = green::spawn(move || r1.iter().all(|message: u64| s2.send(message).is_ok()));
        let neighbour = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&neighbour);
        let other = green::spawn(move || {
            while counter.fetch_add(1, Ordering::Relaxed) < 10 {
                green::yield_now();
            }
        });
        for i in 0..scaled(20_000_u64) {
            s1.send(i).unwrap();
            assert_eq!(r2.recv(), Ok(i));
        }
        assert!(neighbour.load(Ordering::Relaxed) > 10, "the neighbour had no turn");
        drop(s1);
        echo.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn a_thread_that_polls_lets_the_one_it_waits_for_run() {
    help::builder().workers(1).build().unwrap().run(|| {
        let (s, r) = bounded(0);
        let sender = green::spawn(move || s.send(5).unwrap());
        let got = loop {
            match r.try_recv() {
                Ok(message) => break message,
                Err(error) => assert_eq!(error, TryRecvError::Empty),
            }
        };
        assert_eq!(got, 5);
        sender.join().unwrap();
    });
}

#[test]
fn with_capacity_zero_a_send_returns_when_its_message_has_been_received() {
    help::builder().workers(1).build().unwrap().run(|| {
        let (s, r) = bounded(0);
        let received = Arc::new(AtomicUsize::new(0));
        let flag = Arc::clone(&received);
        let sender = green::spawn(move || {
            s.send(()).unwrap();
            assert_eq!(flag.load(Ordering::Relaxed), 1);
        });
        green::yield_now();
        received.store(1, Ordering::Relaxed);
        r.recv().unwrap();
        sender.join().unwrap();
    });
}

#[test]
fn big_and_zero_sized_and_overaligned_messages_pass() {
    #[derive(Clone, PartialEq, Debug)]
    #[repr(align(64))]
    struct Aligned(u8);
    everywhere(|| {
        for (s, r) in kinds() {
            let sender = green::spawn(move || (0..100u8).for_each(|i| s.send([i; 1000]).unwrap()));
            assert!(r.iter().zip(0..100).all(|(message, i)| message == [i; 1000]));
            sender.join().unwrap();
        }
        for (s, r) in kinds() {
            let sender = green::spawn(move || (0..100).for_each(|_| s.send(()).unwrap()));
            assert_eq!(r.iter().count(), 100);
            sender.join().unwrap();
        }
        for (s, r) in kinds() {
            let sender = green::spawn(move || (0..100).for_each(|i| s.send(Aligned(i)).unwrap()));
            assert!(r.into_iter().eq((0..100).map(Aligned)));
            sender.join().unwrap();
        }
    });
}

#[test]
fn a_bound_costs_no_time_where_messages_have_no_size() {
    for bound in [usize::MAX, usize::MAX / 2] {
        let (s, r) = bounded(bound);
        (0..3).for_each(|_| s.send(()).unwrap());
        assert_eq!((s.capacity(), r.len(), r.iter().take(3).count()), (Some(bound), 3, 3));
    }
    assert!(std::panic::catch_unwind(|| bounded::<u64>(usize::MAX)).is_err());
}

#[test]
fn what_is_in_a_channel_is_dropped_once_whichever_side_goes_first() {
    for (s, r) in kinds() {
        let alive = Arc::new(AtomicUsize::new(0));
        let n = s.capacity().unwrap_or(200);
        (0..n).for_each(|_| s.send(Counted::new(&alive)).unwrap());
        (0..n / 2).for_each(|_| drop(r.recv().unwrap()));
        assert_eq!(alive.load(Ordering::Relaxed), n - n / 2);
        drop(s);
        assert_eq!(alive.load(Ordering::Relaxed), n - n / 2);
        drop(r);
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn a_message_that_panics_in_its_drop_or_is_cancelled_there_leaves_none_behind() {
    enum Drops {
        Quietly,
        Panics,
        Waits,
    }
    struct Message(Arc<AtomicUsize>, Drops);
    impl Drop for Message {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
            match self.1 {
                Drops::Quietly => {}
                Drops::Panics => std::panic::resume_unwind(Box::new("bang")),
                Drops::Waits => green::thread::park(),
            }
        }
    }
    let fill = |alive: &Arc<AtomicUsize>, (s, _): &(Sender<Message>, Receiver<Message>), second: Drops| {
        alive.store(3, Ordering::Relaxed);
        for drops in [Drops::Quietly, second, Drops::Quietly] {
            s.send(Message(Arc::clone(alive), drops)).unwrap();
        }
    };
    everywhere(move || {
        let alive = Arc::new(AtomicUsize::new(0));
        for channel in [bounded(3), unbounded()] {
            fill(&alive, &channel, Drops::Panics);
            let dropped = green::spawn(move || drop(channel.1)).join();
            assert_eq!((dropped.unwrap_err().downcast_ref(), alive.load(Ordering::Relaxed)), (Some(&"bang"), 0));
        }
        for channel in [bounded(3), unbounded()] {
            fill(&alive, &channel, Drops::Waits);
            let begun = bounded(1);
            let drops = green::spawn(move || {
                begun.0.send(()).unwrap();
                drop(channel.1);
            });
            begun.1.recv().unwrap();
            drops.cancel();
            assert!(drops.join().unwrap_err().is::<Cancelled>());
            assert_eq!(alive.load(Ordering::Relaxed), 0);
        }
    });
}

#[test]
fn after_and_at_deliver_once_and_to_one_receiver() {
    everywhere(|| {
        let late = at(Instant::now() + LONG);
        assert!(late.is_empty() && late.try_recv().is_err());
        let when = Instant::now() + SHORT;
        let r = at(when);
        let r2 = r.clone();
        assert_eq!((r.recv(), Instant::now() >= when), (Ok(when), true));
        assert_eq!(r2.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
        assert!(after(Duration::ZERO).recv().is_ok());
        assert_eq!(after(LONG).recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
        assert_eq!(after(Duration::MAX).try_recv(), Err(TryRecvError::Empty));

        let r = after(SHORT);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let r = r.clone();
                green::spawn(move || r.recv_timeout(Duration::from_millis(30)).is_ok())
            })
            .collect();
        assert_eq!(threads.into_iter().filter(|_| true).map(|t| t.join().unwrap()).filter(|got| *got).count(), 1);
    });
}

#[test]
fn tick_keeps_one_message_and_does_not_drift_while_it_is_awaited() {
    everywhere(|| {
        let period = Duration::from_millis(40);
        let r = tick(period);
        let moments: Vec<Instant> = r.iter().take(4).collect();
        assert!(moments.windows(2).all(|pair| pair[1] - pair[0] >= period));
        until(|| r.is_full());
        std::thread::sleep(3 * period);
        let start = Instant::now();
        let count = r.try_iter().count();
        // Those that have come between two looks, on a machine that has stopped meanwhile.
        let come = start.elapsed().div_duration_f64(period) as usize;
        assert!((1..=1 + come).contains(&count), "{count}");
    });
}

#[test]
fn a_cancelled_wait_for_a_tick_leaves_the_tick() {
    help::builder().workers(1).build().unwrap().run(|| {
        let r = tick(Duration::from_millis(200));
        let waiting = r.clone();
        let victim = green::spawn(move || waiting.recv());
        green::yield_now();
        victim.cancel();
        assert!(victim.join().is_err());
        let start = Instant::now();
        r.recv().unwrap();
        assert!(start.elapsed() < LONG);
    });
}

#[test]
fn a_runtime_that_ends_unwinds_those_that_wait_on_channels() {
    let alive = Arc::new(AtomicUsize::new(0));
    let runtime = help::builder().workers(2).build().unwrap();
    for (s, r) in kinds::<Counted>() {
        let keep = (s.clone(), Counted::new(&alive));
        runtime.spawn(move || {
            let _keep = keep;
            let _ = r.recv();
        });
        drop(s);
    }
    drop(runtime);
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}

#[test]
fn random_traffic_loses_nothing() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos() as u64 | 1
    });
    println!("SEED={seed}");
    for workers in [1, 2] {
        let runtime = help::builder().workers(workers).build().unwrap();
        for (kind, (s, r)) in kinds().into_iter().enumerate() {
            let (sent, got) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let threads: Vec<_> = (0..8u64)
                .map(|number| {
                    let (s, r, sent, got) = (s.clone(), r.clone(), Arc::clone(&sent), Arc::clone(&got));
                    let mut x = seed ^ (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ kind as u64;
                    runtime.spawn(move || {
                        for i in 0..scaled(600) {
                            x ^= x << 13;
                            x ^= x >> 7;
                            x ^= x << 17;
                            let wait = Duration::from_micros(x >> 32 & 31);
                            let (out, into) = match x % 6 {
                                0 => (s.try_send(i).is_ok(), false),
                                1 => (s.send_timeout(i, wait).is_ok(), false),
                                2 => (green::timeout(wait, || s.send(i)).is_ok(), false),
                                3 => (false, r.try_recv().is_ok()),
                                4 => (false, r.recv_timeout(wait).is_ok()),
                                _ => (false, green::timeout(wait, || r.recv()).is_ok()),
                            };
                            sent.fetch_add(usize::from(out), Ordering::Relaxed);
                            got.fetch_add(usize::from(into), Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            let left = r.try_iter().count();
            let (sent, got) = (sent.load(Ordering::Relaxed), got.load(Ordering::Relaxed));
            assert_eq!(sent, got + left, "kind {kind}, {workers} workers, seed {seed}");
        }
    }
}
