//! What the page on async code says of tokio in a handler: what works there, what only seems to, and how tokio refuses the rest.
#![cfg(not(miri))]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use green::actor::{Actor, Addr, Builder, Exit, SendError, messages};
use green::{Runtime, ThreadLocals};
use tokio::runtime::{Builder as TokioBuilder, Handle, Runtime as Tokio};
use tokio::sync::oneshot::{Receiver, channel};
use tokio::sync::{Mutex, Notify, mpsc};

use crate::help::{Flag, bounded, builder, everywhere, own_thread_locals, runtime, scaled, spin_until, until};

/// Long enough for another thread to be seen, if it can run.
const A_WHILE: Duration = Duration::from_millis(20);

/// One with threads of its own, which runs beside.
fn beside() -> Tokio {
    TokioBuilder::new_multi_thread().worker_threads(1).enable_time().build().unwrap()
}

/// Waits for an answer in this way or in that.
struct Caller(Handle);
impl Actor for Caller {}

messages! {
    impl Caller {
        /// By tokio's own `block_on`.
        fn Block(&self, inside: Arc<Flag>, answer: Receiver<u32>) -> u32 {
            inside.set();
            self.0.block_on(answer).unwrap()
        }
        fn BlockApart(&self, inside: Arc<Flag>, answer: Receiver<u32>) -> u32 {
            green::blocking(|| {
                inside.set();
                self.0.block_on(answer).unwrap()
            })
        }
        fn Wait(&self, inside: Arc<Flag>, answer: Receiver<u32>) -> u32 {
            inside.set();
            green::block_on(answer).unwrap()
        }
        fn WaitAWhile(&self, answer: Receiver<u32>) -> bool {
            green::timeout(Duration::from_millis(5), || green::block_on(answer).unwrap()).is_err()
        }
    }
}

/// Does a second thread of the worker run while the handler waits? The message is made of the flag that the handler sets before it waits, and of what it waits for.
fn others_run_while<M: green::actor::Message<Reply = u32>>(wait: fn(Arc<Flag>, Receiver<u32>) -> M) -> bool
where
    Caller: green::actor::Receives<M>,
{
    let tokio = beside();
    let caller = Caller(tokio.handle().clone());
    bounded(move || {
        let (inside, over) = (Arc::new(Flag::new()), Arc::new(Flag::new()));
        let (turns, (sender, answer)) = (Arc::new(AtomicU64::new(0)), channel());
        let (counts, ends) = (Arc::clone(&turns), Arc::clone(&over));
        let green = runtime(1);
        let other = green.spawn(move || {
            while !ends.is_set() {
                counts.fetch_add(1, Ordering::SeqCst);
                green::yield_now();
            }
        });
        let caller = Builder::new().runtime(&green).start(caller).unwrap();
        let called = caller.call(wait(Arc::clone(&inside), answer)).unwrap();
        spin_until("the handler", || inside.is_set());
        let before = turns.load(Ordering::SeqCst);
        std::thread::sleep(A_WHILE);
        // On a machine that is busy the other may have to wait for its turn; a worker that is held has none.
        let runs = turns.load(Ordering::SeqCst) > before;
        sender.send(7).unwrap();
        assert_eq!(called.wait().unwrap(), 7);
        over.set();
        other.join().unwrap();
        runs
    })
}

#[test]
fn tokios_block_on_in_a_handler_holds_its_worker_and_within_blocking_it_does_not() {
    let is_seen = |runs: &dyn Fn() -> bool| (0..50).any(|_| runs());
    assert!(!others_run_while(Block));
    assert!(is_seen(&|| others_run_while(BlockApart)));
    assert!(is_seen(&|| others_run_while(Wait)));
}

/// Enters tokio, and waits there.
struct Enters(Handle);
impl Actor for Enters {}

messages! {
    impl Enters {
        fn Enter(&self, inside: Arc<Flag>, until: Arc<Flag>) {
            let _guard = self.0.enter();
            inside.set();
            until.wait();
        }
    }
}

/// What becomes of the first of two handlers on one worker, each of which has entered tokio and waits there: its guard goes first.
fn two_enter(green: &Runtime) -> Result<(), SendError<Enter>> {
    let tokio = beside();
    let [first, second] = [0; 2].map(|_| Builder::new().runtime(green).start(Enters(tokio.handle().clone())).unwrap());
    let flags = || (Arc::new(Flag::new()), Arc::new(Flag::new()));
    let enter = |actor: &Addr<Enters>| {
        let (inside, until) = flags();
        let entered = actor.call(Enter(Arc::clone(&inside), Arc::clone(&until))).unwrap();
        spin_until("the handler", || inside.is_set());
        (entered, until)
    };
    let (one, leave_one) = enter(&first);
    let (other, leave_other) = enter(&second);
    leave_one.set();
    let ended = one.wait();
    leave_other.set();
    assert!(other.wait().is_ok(), "its guard is the last one");
    ended
}

#[test]
fn a_guard_of_handle_enter_that_lives_across_a_wait_may_be_dropped_out_of_order() {
    bounded(|| {
        let green = Runtime::builder().workers(1).thread_locals(ThreadLocals::PerWorker).build().unwrap();
        let Err(SendError::Died(Exit::Panic(text))) = two_enter(&green) else { panic!("tokio has seen nothing") };
        assert!(text.contains("`EnterGuard` values dropped out of order"), "{text}");
    });
    if own_thread_locals() {
        bounded(|| two_enter(&builder().workers(1).build().unwrap()).unwrap());
    }
}

#[test]
fn tokios_block_on_is_refused_in_its_own_tasks_and_ours_blocks_their_executor() {
    bounded(|| {
        let tokio = TokioBuilder::new_current_thread().build().unwrap();
        let handle = tokio.handle().clone();
        let refused = tokio.block_on(tokio.spawn(async move { handle.block_on(async { 1 }) })).unwrap_err();
        let text = *refused.into_panic().downcast::<&str>().unwrap();
        assert!(text.contains("Cannot start a runtime from within a runtime"), "{text}");

        let (sender, answer) = channel();
        let has_run = Arc::new(Flag::new());
        let second = Arc::clone(&has_run);
        let answers = std::thread::spawn(move || {
            std::thread::sleep(A_WHILE);
            sender.send(has_run.is_set()).unwrap();
        });
        tokio.block_on(async {
            let waits = tokio.spawn(async { green::block_on(answer).unwrap() });
            let runs = tokio.spawn(async move { second.set() });
            assert!(!waits.await.unwrap(), "the executor had a thread for the second task");
            runs.await.unwrap();
        });
        answers.join().unwrap();
    });
}

/// Waits for what tokio's channels and locks give, without a runtime of tokio's.
struct Syncs {
    numbers: mpsc::Receiver<u32>,
    sum: Arc<Mutex<u32>>,
    added: Arc<Notify>,
}
impl Actor for Syncs {}

messages! {
    impl Syncs {
        fn AddOne(&mut self) {
            let number = green::block_on(self.numbers.recv()).unwrap();
            *green::block_on(self.sum.lock()) += number;
            self.added.notify_one();
        }
    }
}

#[test]
fn channels_and_locks_of_tokios_work_under_block_on_in_a_handler_while_others_run() {
    everywhere(|| {
        let (sender, numbers) = mpsc::channel(1);
        let (sum, added) = (Arc::new(Mutex::new(0)), Arc::new(Notify::new()));
        let syncs = Syncs { numbers, sum: Arc::clone(&sum), added: Arc::clone(&added) }.start();
        for number in 1..=scaled(100) {
            let one = syncs.call(AddOne).unwrap();
            // On one worker, too, this thread goes on while the handler waits: first for the number, then for the lock.
            let held = green::block_on(sum.lock());
            green::block_on(sender.send(number)).unwrap();
            until(|| sender.capacity() == 1);
            assert!(!one.is_ready());
            drop(held);
            green::block_on(added.notified());
            one.wait().unwrap();
        }
        assert_eq!(*green::block_on(sum.lock()), (1..=scaled(100)).sum::<u32>());
    });
}

#[test]
fn a_kill_and_a_time_out_end_a_handlers_wait_for_a_future_and_drop_the_future() {
    everywhere(|| {
        // Nothing of this tokio is polled.
        let tokio = TokioBuilder::new_current_thread().build().unwrap();
        let caller = Caller(tokio.handle().clone()).start();
        let (mut sender, answer) = channel();
        assert!(caller.send(WaitAWhile(answer)).unwrap());
        green::block_on(sender.closed());

        let (mut sender, answer) = channel();
        let inside = Arc::new(Flag::new());
        let called = caller.call(Wait(Arc::clone(&inside), answer)).unwrap();
        inside.wait();
        caller.kill();
        assert!(matches!(called.wait(), Err(SendError::Died(Exit::Killed))));
        green::block_on(sender.closed());
        assert_eq!(caller.join(), Exit::Killed);
    });
}
