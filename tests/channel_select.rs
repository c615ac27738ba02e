//! Selecting over channels: the macros in all their forms, the dynamic select, and what a select owes to others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use green::Cancelled;
use green::channel::{
    Receiver, RecvTimeoutError, Select, Sender, TryRecvError, after, bounded, never, select, select_biased, tick,
    unbounded,
};

mod help;

use help::{everywhere, scaled};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(5);

fn kinds<T>() -> Vec<(Sender<T>, Receiver<T>)> {
    vec![bounded(0), bounded(1), bounded(3), unbounded()]
}

#[test]
fn every_form_of_the_macro_compiles_and_chooses() {
    everywhere(|| {
        let (s, r) = unbounded::<i32>();
        let (full, _keep) = bounded::<i32>(1);
        full.send(0).unwrap();
        let silent = never::<i32>();

        // One case, with and without a comma, as an expression and as a block.
        s.send(1).unwrap();
        assert_eq!(select! { recv(r) -> message => message }, Ok(1));
        s.send(2).unwrap();
        assert_eq!(select! { recv(&r) -> message => { message }, }, Ok(2));
        // Defaults.
        assert_eq!(select! { recv(r) -> _ => 1, default => 2 }, 2);
        assert_eq!(select! { recv(r) -> _ => 1, default() => 2, }, 2);
        assert_eq!(select! { recv(r) -> _ => 1, default(SHORT) => 2 }, 2);
        assert_eq!(select! { recv(r) -> _ => { 1 } default(SHORT,) => { 2 } }, 2);
        assert_eq!(select! { default => 3 }, 3);
        assert_eq!(select! { default(Duration::ZERO) => { 3 } }, 3);
        assert_eq!(select! { recv(r) -> _ => 1, send(full, 9) -> _ => 4, default => 2 }, 2);
        assert_eq!(select_biased! { recv(r) -> _ => 1, send(full, 9) -> _ => 4, default(SHORT) => 2, }, 2);
        // Expressions as channels, trailing commas in arguments, patterns, blocks without commas.
        let shared = Arc::new(r.clone());
        let maybe = shared.is_empty().then_some(&r);
        select! {
            recv(maybe.unwrap_or(&never()),) -> _ => unreachable!(),
            recv(shared) -> _ => { unreachable!() }
            recv(if s.is_empty() { &silent } else { &r }) -> _ => unreachable!(),
            recv(after(LONG)) -> _ => unreachable!(),
            send(s, 5,) -> result => { assert_eq!(result, Ok(())) }
        }
        let (Ok(got) | Err(got)) = select! {
            recv(r) -> message => message.map_err(|_| 0),
            recv(silent) -> _ => Err(1),
        };
        assert_eq!(got, 5);
        // Control flow leaves the macro.
        let mut rounds = 0;
        let found = 'outer: loop {
            rounds += 1;
            select! {
                recv(r) -> message => unreachable!("{message:?}"),
                default => if rounds < 3 { continue } else { break 'outer rounds },
            }
        };
        assert_eq!(found, 3);
        let question = || -> Result<i32, green::channel::RecvError> {
            let (s, r) = bounded::<i32>(1);
            drop(s);
            select! { recv(r) -> message => Ok(message? + 1), recv(never::<()>()) -> _ => Ok(0) }
        };
        assert!(question().is_err());
        // The handle may be moved in the body.
        let (s, r) = bounded(1);
        select! {
            send(s, 8) -> _ => drop(s),
            recv(silent) -> _ => {}
        }
        assert_eq!(r.recv(), Ok(8));
    });
}

#[test]
fn a_message_is_made_only_when_its_case_has_been_chosen() {
    let (s1, r1) = bounded(1);
    let (s2, _r2) = bounded::<i32>(1);
    s2.send(0).unwrap();
    let made = AtomicUsize::new(0);
    let make = |i| {
        made.fetch_add(1, Ordering::Relaxed);
        i
    };
    select! {
        send(s1, make(1)) -> _ => {}
        send(s2, make(2)) -> _ => unreachable!(),
    }
    assert_eq!((made.load(Ordering::Relaxed), r1.recv()), (1, Ok(1)));
}

#[test]
fn the_biased_macro_takes_the_first_and_the_other_any() {
    everywhere(|| {
        let (s1, r1) = unbounded();
        let (s2, r2) = unbounded();
        let n = 400;
        let mut hits = [0; 2];
        (0..n).for_each(|_| {
            s1.send(()).unwrap();
            s2.send(()).unwrap();
        });
        for _ in 0..n {
            select! {
                recv(r1) -> _ => hits[0] += 1,
                recv(r2) -> _ => hits[1] += 1,
            }
        }
        assert!(hits.iter().all(|hits| *hits > n / 4), "{hits:?}");
        while !r1.is_empty() {
            select_biased! {
                recv(r1) -> _ => {}
                recv(r2) -> _ => unreachable!(),
            }
        }
    });
}

#[test]
fn a_select_waits_for_whatever_comes_first() {
    everywhere(|| {
        for (s, r) in kinds() {
            let quiet = unbounded::<u32>();
            let sender = green::spawn(move || (0..100).for_each(|i| s.send(i).unwrap()));
            for i in 0..100 {
                let got = select! {
                    recv(r) -> message => message,
                    recv(quiet.1) -> message => message,
                };
                assert_eq!(got, Ok(i));
            }
            sender.join().unwrap();
        }
        for (s, r) in kinds() {
            let full = bounded::<u32>(0);
            let receiver = green::spawn(move || r.iter().collect::<Vec<u32>>());
            for i in 0..100 {
                select! {
                    send(s, i) -> result => result.unwrap(),
                    send(full.0, i) -> _ => unreachable!(),
                }
            }
            drop(s);
            assert!(receiver.join().unwrap().into_iter().eq(0..100));
        }
    });
}

#[test]
fn two_selects_meet_in_a_channel_without_a_buffer() {
    for workers in [1, 2] {
        let n = scaled(1000);
        let runtime = help::builder().workers(workers).build().unwrap();
        let (s, r) = bounded(0);
        let one = |s: Sender<usize>, r: Receiver<usize>| {
            move || {
                let (mut sent, mut got) = (0, 0);
                while sent + got < n {
                    select! {
                        send(s, 1) -> result => { result.unwrap(); sent += 1 }
                        recv(r) -> message => { message.unwrap(); got += 1 }
                    }
                }
                (sent, got)
            }
        };
        let threads = [runtime.spawn(one(s.clone(), r.clone())), runtime.spawn(one(s.clone(), r.clone()))];
        let [a, b] = threads.map(|thread| thread.join().unwrap());
        assert_eq!((a.0, a.1), (b.1, b.0), "what one has sent the other has got");
        assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
    }
}

#[test]
fn a_plain_receive_gets_its_message_from_a_select_that_sends() {
    everywhere(|| {
        for by_polling in [false, true] {
            let (s, r) = bounded(0);
            let sender = green::spawn(move || {
                for i in 0..50 {
                    select! {
                        send(s, i) -> result => result.unwrap(),
                        recv(never::<()>()) -> _ => unreachable!(),
                    }
                }
            });
            for i in 0..50 {
                let got = loop {
                    if !by_polling {
                        break r.recv();
                    }
                    match r.try_recv() {
                        Err(TryRecvError::Empty) => std::thread::yield_now(),
                        got => break got.map_err(|_| green::channel::RecvError),
                    }
                };
                assert_eq!(got, Ok(i));
            }
            sender.join().unwrap();
        }
    });
}

#[test]
fn a_message_that_panics_while_it_is_made_harms_nobody() {
    fn no_message() -> u32 {
        std::panic::resume_unwind(Box::new("no message"))
    }
    everywhere(|| {
        for (s, r) in kinds::<u32>().into_iter().take(3) {
            let receiver = green::spawn({
                let r = r.clone();
                move || r.recv()
            });
            green::yield_now();
            let result = std::panic::catch_unwind(|| {
                select! {
                    send(s, no_message()) -> _ => unreachable!(),
                    recv(never::<()>()) -> _ => unreachable!(),
                }
            });
            assert!(result.is_err());
            // The place that was kept for it is free again.
            let sender = green::spawn(move || (0..5).for_each(|i| s.send(i).unwrap()));
            assert_eq!(receiver.join().unwrap(), Ok(0));
            assert!(r.iter().eq(1..5));
            sender.join().unwrap();
        }
    });
}

#[test]
fn a_select_that_times_out_or_is_cancelled_takes_nothing_along() {
    for workers in [1, 2] {
        let runtime = help::builder().workers(workers).build().unwrap();
        for (s, r) in kinds() {
            let n = scaled(300);
            let silent = never::<usize>();
            let (s, r) = (&s, &r);
            runtime.run(|| {
                green::scope(|scope| {
                    let selects: Vec<_> = (0..2)
                        .map(|_| {
                            let silent = silent.clone();
                            scope.spawn(move || {
                                let mut got = Vec::new();
                                while got.last() != Some(&usize::MAX) {
                                    let message = green::timeout(Duration::from_micros(40), || {
                                        select! {
                                            recv(r) -> message => message.ok(),
                                            recv(silent) -> _ => None,
                                            default(Duration::from_micros(15)) => None,
                                        }
                                    });
                                    got.extend(message.ok().flatten());
                                }
                                got.pop();
                                got
                            })
                        })
                        .collect();
                    for i in 0..n {
                        s.send(i).unwrap();
                    }
                    (0..2).for_each(|_| s.send(usize::MAX).unwrap());
                    let mut got: Vec<_> = selects.into_iter().flat_map(|select| select.join().unwrap()).collect();
                    got.sort_unstable();
                    assert!(got.into_iter().eq(0..n));
                });
            });
        }
    }
}

#[test]
fn a_cancelled_select_leaves_the_message_to_the_next() {
    for workers in [1, 2] {
        help::builder().workers(workers).build().unwrap().run(|| {
            for (s, r) in kinds() {
                for i in 0..scaled(100) {
                    let (first, second) = (r.clone(), r.clone());
                    let victim = green::spawn(move || {
                        select! { recv(first) -> message => message, recv(never()) -> message => message }
                    });
                    (0..i % 3).for_each(|_| green::yield_now());
                    victim.cancel();
                    let heir = green::spawn(move || second.recv_timeout(LONG));
                    s.send(i).unwrap();
                    match victim.join() {
                        Ok(got) => {
                            assert_eq!(got, Ok(i));
                            s.send(i).unwrap();
                        }
                        Err(payload) => assert!(payload.is::<Cancelled>()),
                    }
                    assert_eq!(heir.join().unwrap(), Ok(i));
                }
            }
        });
    }
}

#[test]
fn the_dynamic_select_finds_completes_and_removes_operations() {
    everywhere(|| {
        let (s1, r1) = bounded::<String>(1);
        let (s2, r2) = unbounded::<u8>();
        let mut select = Select::new();
        let recv1 = select.recv(&r1);
        let recv2 = select.recv(&r2);
        let send1 = select.send(&s1);
        assert_eq!((recv1, recv2, send1), (0, 1, 2));
        let operation = select.select();
        assert_eq!(operation.index(), send1);
        assert_eq!(operation.send(&s1, "message".repeat(10)), Ok(()));
        let operation = select.try_select().unwrap();
        assert_eq!((operation.index(), operation.recv(&r1)), (recv1, Ok("message".repeat(10))));
        select.remove(send1);
        assert!(select.try_select().is_err());
        assert!(select.try_ready().is_err());
        assert!(select.select_timeout(SHORT).is_err());
        assert!(select.select_deadline(Instant::now()).is_err());
        assert!(select.ready_timeout(SHORT).is_err());
        assert!(select.ready_deadline(Instant::now()).is_err());
        s2.send(7).unwrap();
        assert_eq!(select.ready(), recv2);
        assert_eq!(select.clone().try_ready(), Ok(recv2));
        assert_eq!(select.select_timeout(LONG).unwrap().recv(&r2), Ok(7));
        let (closed, r4) = bounded::<()>(1);
        let recv4 = select.recv(&r4);
        drop(closed);
        assert_eq!((recv4, select.ready_timeout(LONG)), (3, Ok(recv4)));
        assert!(select.select_deadline(Instant::now() + LONG).unwrap().recv(&r4).is_err());
        assert_eq!(format!("{select:?}"), "Select { .. }");

        let mut biased = Select::new_biased();
        let (s3, r3) = unbounded();
        biased.recv(&r2);
        biased.recv(&r3);
        (0..20).for_each(|i| {
            s2.send(i).unwrap();
            s3.send(i).unwrap();
        });
        assert!((0..20).all(|i| {
            let operation = biased.select();
            operation.index() == 0 && operation.recv(&r2) == Ok(i)
        }));
    });
}

#[test]
fn ready_wakes_when_the_other_side_comes_and_takes_nothing() {
    everywhere(|| {
        for (s, r) in kinds() {
            let watcher = green::spawn({
                let r = r.clone();
                move || {
                    let mut select = Select::new();
                    let silent = never::<u32>();
                    select.recv(&silent);
                    select.recv(&r);
                    assert_eq!(select.ready(), 1);
                    r.recv()
                }
            });
            green::yield_now();
            s.send(5).unwrap();
            assert_eq!(watcher.join().unwrap(), Ok(5));
        }
    });
}

/// As in what crossbeam-channel has after 0.5.17.
#[test]
fn a_chosen_operation_may_be_completed_by_a_clone_of_its_handle() {
    for (s, r) in kinds() {
        let receiving = green::spawn({
            let r = r.clone();
            move || {
                let mut select = Select::new();
                select.recv(&r);
                select.select().recv(&r.clone())
            }
        });
        let mut select = Select::new();
        select.send(&s);
        assert_eq!(select.select().send(&s.clone(), 7), Ok(()));
        assert_eq!(receiving.join().unwrap(), Ok(7));
    }
    let timer = green::channel::after(Duration::ZERO);
    let mut select = Select::new();
    select.recv(&timer);
    assert!(select.select().recv(&timer.clone()).is_ok());
}

#[test]
fn a_chosen_operation_that_is_forgotten_does_not_keep_its_channel_from_closing() {
    for (s, r) in kinds::<u32>().into_iter().filter(|(s, _)| s.capacity() != Some(0)) {
        let mut select = Select::new();
        select.send(&s);
        std::mem::forget(select.select());
        drop(r);
        assert!(s.send(1).is_err());
    }
}

#[test]
fn wrong_use_panics_with_the_known_messages() {
    fn message(f: impl FnOnce()) -> String {
        let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).unwrap_err();
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap()
    }
    std::panic::set_hook(Box::new(|_| {}));
    let (s, r) = unbounded::<u32>();
    assert_eq!(message(|| drop(Select::new().select())), "no operations have been added to `Select`");
    assert_eq!(message(|| assert_eq!(Select::new().ready(), 0)), "no operations have been added to `Select`");
    assert_eq!(message(|| Select::new().remove(1)), "index out of bounds; 1 >= 0");
    let mut select = Select::new();
    select.send(&s);
    assert_eq!(message(|| drop(select.select())), "dropped `SelectedOperation` without completing the operation");
    let other = unbounded();
    assert_eq!(message(|| select.select().send(&other.0, 1).unwrap()), "passed a sender that wasn't selected");
    assert_eq!(message(|| assert_eq!(select.select().recv(&r), Ok(1))), "passed a receiver that wasn't selected");
    select.remove(0);
    assert_eq!(message(|| select.remove(0)), "no operation with this index");
    let _ = std::panic::take_hook();
    assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn a_ticker_and_a_time_out_share_a_select() {
    everywhere(|| {
        let (ticker, end) = (tick(Duration::from_millis(2)), after(Duration::from_millis(500)));
        let mut ticks = 0;
        loop {
            select! {
                recv(ticker) -> _ => ticks += 1,
                recv(end) -> _ => break,
            }
        }
        assert!((1..=250).contains(&ticks), "{ticks}");
    });
}

#[test]
fn a_select_that_asks_without_waiting_sees_all_channels_at_one_moment() {
    // A message is always in one of the two channels; looking at one after the other could miss it.
    let n = scaled(2000);
    let runtime = help::builder().workers(2).build().unwrap();
    let ((s1, r1), (s2, r2)) = (unbounded::<usize>(), unbounded::<usize>());
    s1.send(0).unwrap();
    let mover = runtime.spawn({
        let (r1, r2) = (r1.clone(), r2.clone());
        move || {
            for i in 0..n {
                // The new one comes before the old one goes.
                let (to, from) = if i % 2 == 0 { (&s2, &r1) } else { (&s1, &r2) };
                to.send(i).unwrap();
                from.recv().unwrap();
            }
        }
    });
    let mut select = Select::new();
    select.recv(&r1);
    select.recv(&r2);
    for _ in 0..n {
        assert!(select.try_ready().is_ok());
    }
    mover.join().unwrap();
}

#[test]
fn mpsc_behaves_as_std_does() {
    use green::sync::mpsc::{self, TrySendError};
    everywhere(|| {
        let (tx, rx) = mpsc::channel();
        let sender = green::spawn({
            let tx = tx.clone();
            move || (0..100).for_each(|i| tx.send(i).unwrap())
        });
        assert!(rx.iter().take(100).eq(0..100));
        sender.join().unwrap();
        assert_eq!(rx.try_recv(), Err(mpsc::TryRecvError::Empty));
        assert_eq!(rx.recv_timeout(SHORT), Err(mpsc::RecvTimeoutError::Timeout));
        tx.send(1).unwrap();
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), [1]);
        drop(tx);
        assert_eq!(rx.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        assert_eq!(rx.recv_timeout(SHORT), Err(mpsc::RecvTimeoutError::Disconnected));
        assert_eq!((&rx).into_iter().next(), None);
        assert_eq!((rx.recv(), rx.into_iter().next()), (Err(mpsc::RecvError), None));

        for bound in [0, 1] {
            let (tx, rx) = mpsc::sync_channel(bound);
            (0..bound).for_each(|i| tx.try_send(i).unwrap());
            assert_eq!(tx.try_send(9), Err(TrySendError::Full(9)));
            let blocked = green::spawn({
                let tx = tx.clone();
                move || tx.send(bound)
            });
            assert!(rx.iter().take(bound + 1).eq(0..=bound));
            assert_eq!(blocked.join().unwrap(), Ok(()));
            assert_eq!(format!("{tx:?} {rx:?}"), "SyncSender { .. } Receiver { .. }");
            drop(rx);
            assert_eq!(tx.send(7), Err(mpsc::SendError(7)));
            assert_eq!(tx.try_send(8), Err(TrySendError::Disconnected(8)));
        }
    });
}

/// What std's and crossbeam's handles are, ours are.
#[test]
fn handles_are_send_and_sync_and_unwind_safe_as_theirs_are() {
    use std::panic::{RefUnwindSafe, UnwindSafe};
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    fn unwind<T: UnwindSafe + RefUnwindSafe>() {}
    type Odd = std::cell::Cell<u8>;
    send::<Sender<Odd>>();
    sync::<Sender<Odd>>();
    send::<Receiver<Odd>>();
    sync::<Receiver<Odd>>();
    unwind::<Sender<&mut Odd>>();
    unwind::<Receiver<&mut Odd>>();
    send::<Select<'_>>();
    sync::<Select<'_>>();
    unwind::<green::channel::SelectedOperation<'_>>();
    send::<green::sync::mpsc::Sender<Odd>>();
    sync::<green::sync::mpsc::Sender<Odd>>();
    sync::<green::sync::mpsc::SyncSender<Odd>>();
    send::<green::sync::mpsc::Receiver<Odd>>();
    unwind::<std::sync::mpsc::Sender<Odd>>();
    unwind::<green::sync::mpsc::Sender<Odd>>();
    unwind::<std::sync::mpsc::SyncSender<Odd>>();
    unwind::<green::sync::mpsc::SyncSender<Odd>>();
    unwind::<std::sync::mpsc::Receiver<Odd>>();
    unwind::<green::sync::mpsc::Receiver<Odd>>();
    let _ = RecvTimeoutError::Timeout;
}
