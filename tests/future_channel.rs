//! `Receiver::recv_async`: a green channel in async code.
#![allow(missing_docs)]

use std::time::Duration;

use futures::future::{Either, join_all, select};
use green::block_on;
use green::channel::{Receiver, RecvError, after, bounded, never, unbounded};

mod help;

use help::everywhere;

async fn sum(receiver: Receiver<u64>) -> u64 {
    let mut sum = 0;
    while let Ok(n) = receiver.recv_async().await {
        sum += n;
    }
    sum
}

#[test]
fn messages_arrive_on_any_executor_and_the_end_is_seen() {
    everywhere(|| {
        for capacity in [0, 1, 64] {
            let (sender, receiver) = bounded(capacity);
            let sending = green::spawn(move || (0..50).for_each(|n| sender.send(n).unwrap()));
            assert_eq!(block_on(sum(receiver)), 1225);
            sending.join().unwrap();
        }
    });
    let (sender, receiver) = unbounded();
    let sending = green::spawn(move || (0..50).for_each(|n| sender.send(n).unwrap()));
    let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(tokio.block_on(sum(receiver)), 1225);
    sending.join().unwrap();
}

#[test]
fn several_futures_share_a_channel_and_lose_nothing() {
    everywhere(|| {
        let (sender, receiver) = bounded(2);
        let sending = green::spawn(move || (0..60).for_each(|n| sender.send(n).unwrap()));
        let sums = block_on(join_all((0..3).map(|_| sum(receiver.clone()))));
        assert_eq!(sums.into_iter().sum::<u64>(), 1770);
        sending.join().unwrap();
    });
}

#[test]
#[allow(clippy::async_yields_async, reason = "a future in the middle of its wait is what the test is about")]
fn a_future_that_is_dropped_takes_no_message() {
    everywhere(|| {
        let (sender, receiver) = bounded::<u64>(4);
        for n in 0..20 {
            let unused = block_on(async {
                match select(receiver.recv_async(), green::spawn(|| ())).await {
                    Either::Left(_) => panic!("there is no message"),
                    Either::Right((ended, receiving)) => {
                        ended.unwrap();
                        receiving
                    }
                }
            });
            sender.send(n).unwrap();
            drop(unused);
            assert_eq!(receiver.recv(), Ok(n));
        }
        drop(sender);
        assert_eq!(block_on(receiver.recv_async()), Err(RecvError));
    });
}

#[test]
fn timers_are_awaited_and_a_timeout_ends_the_wait() {
    everywhere(|| {
        block_on(after(Duration::from_millis(1)).recv_async()).unwrap();
        assert!(green::timeout(Duration::from_millis(2), || block_on(never::<u8>().recv_async())).is_err());
    });
}
