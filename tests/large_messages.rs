//! What has another size in a release build than in a debug build: messages and call chains of actors that are large for a stack of
//! 256 KiB, and locks.
#![allow(missing_docs)]

mod help;

use std::hint::black_box;
use std::time::Duration;

use green::actor::{Actor, Addr, Builder, Context, Handler, Mailbox, Message, SendError};

use help::{Gate, on_workers, until_parked};

/// Longer than any test should take.
const LONG: Duration = Duration::from_secs(20);

/// What a caller's own frames need of it is not the crate's: without optimisation that is four times the message and more.
const SIZE: usize = match (cfg!(debug_assertions), cfg!(target_arch = "riscv64")) {
    (true, false) => 16 << 10,
    (true, true) => 8 << 10,
    (false, _) => 48 << 10,
};
/// With optimisation they hold it twice, as the argument and in the result; a third time would not fit a stack of 256 KiB.
const LARGEST: usize = if cfg!(debug_assertions) { SIZE } else { 104 << 10 };

struct Large<const N: usize = SIZE>([u8; N]);
impl<const N: usize> Message for Large<N> {
    type Reply = u8;
}

struct Block(Gate);
impl Message for Block {
    type Reply = ();
}

struct Sum;
impl Actor for Sum {
    const MAILBOX: Mailbox = Mailbox::bounded(2);
}
impl<const N: usize> Handler<Large<N>> for Sum {
    fn handle(&mut self, m: Large<N>, _: &mut Context<Self>) -> u8 {
        black_box(&m.0).iter().fold(0, |sum, byte| sum ^ byte)
    }
}
impl Handler<Block> for Sum {
    fn handle(&mut self, m: Block, _: &mut Context<Self>) {
        m.0.wait();
    }
}

/// Made where it is passed from.
#[inline(always)]
fn large<const N: usize>() -> Large<N> {
    let mut large = Large([0; N]);
    large.0[N - 1] = black_box(9);
    large
}

#[inline(never)]
fn by_call<const N: usize>(sum: &Addr<Sum>) -> Option<u8> {
    sum.call(large::<N>()).ok()?.wait_timeout(LONG).ok()
}

#[inline(never)]
fn by_send<const N: usize>(sum: &Addr<Sum>) -> Option<u8> {
    sum.send(large::<N>()).ok()
}

#[inline(never)]
fn by_tell<const N: usize>(sum: &Addr<Sum>) -> bool {
    sum.tell(large::<N>()).is_ok()
}

#[inline(never)]
fn by_try_tell<const N: usize>(sum: &Addr<Sum>) -> bool {
    sum.try_tell(large::<N>()).is_ok()
}

#[inline(never)]
fn by_call_to_nobody<const N: usize>(sum: &Addr<Sum>) -> bool {
    matches!(sum.call(large::<N>()), Err(SendError::Closed(_)))
}

/// With fewer optimisations than a release build has, the result of a future takes its caller's frame once more.
const CALLED_ASYNC: usize = if cfg!(debug_assertions) { SIZE } else { 64 << 10 };

#[inline(never)]
fn by_tell_async<const N: usize>(sum: &Addr<Sum>) -> bool {
    green::block_on(sum.tell_async(large::<N>())).is_ok()
}

#[inline(never)]
fn by_call_async<const N: usize>(sum: &Addr<Sum>) -> Option<u8> {
    green::block_on(sum.call_async(large::<N>())).ok()?.wait_timeout(LONG).ok()
}

struct Forwards(Addr<Sum>);
impl Actor for Forwards {}
impl<const N: usize> Handler<Large<N>> for Forwards {
    fn handle(&mut self, m: Large<N>, ctx: &mut Context<Self>) -> u8 {
        let _ = ctx.forward(&self.0.recipient(), m);
        0
    }
}

#[inline(never)]
fn by_forward<const N: usize>(forwards: &Addr<Forwards>) -> Option<u8> {
    forwards.call(large::<N>()).ok()?.wait_timeout(LONG).ok()
}

#[test]
fn a_large_message_that_is_sent_from_async_code_or_forwarded_does_not_overflow_a_default_stack() {
    on_workers(|| {
        let sum = Sum.start();
        assert!(by_tell_async::<LARGEST>(&sum));
        assert_eq!(by_call_async::<CALLED_ASYNC>(&sum), Some(9));
        let forwards = Forwards(sum.clone()).start();
        assert_eq!(by_forward::<LARGEST>(&forwards), Some(9));
    });
}

#[test]
fn a_future_that_was_never_polled_has_sent_nothing_and_drops_its_message() {
    struct Counted(std::sync::Arc<()>);
    impl Message for Counted {
        type Reply = ();
    }
    impl Handler<Counted> for Sum {
        fn handle(&mut self, m: Counted, _: &mut Context<Self>) {
            panic!("nobody has sent it: {:?}", m.0);
        }
    }
    on_workers(|| {
        let (sum, count) = (Sum.start(), std::sync::Arc::new(()));
        let told = sum.tell_async(Counted(count.clone()));
        let called = sum.call_async(Counted(count.clone()));
        assert_eq!((sum.queued(), std::sync::Arc::strong_count(&count)), (0, 3));
        drop((told, called));
        assert_eq!(std::sync::Arc::strong_count(&count), 1);
        assert_eq!(by_send::<16>(&sum), Some(9));
    });
}

#[test]
fn a_large_message_by_value_does_not_overflow_a_default_stack() {
    on_workers(|| {
        let sum = Sum.start();
        assert_eq!(by_call::<LARGEST>(&sum), Some(9));
        assert_eq!(by_send::<LARGEST>(&sum), Some(9));
        assert!(by_tell::<LARGEST>(&sum));
        assert_eq!(by_send::<LARGEST>(&sum), Some(9));
        assert!(by_try_tell::<LARGEST>(&sum));
        assert_eq!(by_call::<LARGEST>(&sum), Some(9));
        sum.kill();
        sum.join();
        assert!(by_call_to_nobody::<LARGEST>(&sum));
    });
}

/// Passes on what it makes itself, in a chain that may come back.
struct PassOn(Addr<Sum>);
impl Message for PassOn {
    type Reply = Option<u8>;
}
struct Passes;
impl Actor for Passes {}
impl Handler<PassOn> for Passes {
    fn handle(&mut self, m: PassOn, ctx: &mut Context<Self>) -> Option<u8> {
        #[inline(never)]
        fn to_address(me: &mut Passes, sum: &Addr<Sum>, ctx: &mut Context<Passes>) -> Option<u8> {
            ctx.reenter(me).send(sum, large::<SIZE>()).ok()
        }
        #[inline(never)]
        fn to_recipient(me: &mut Passes, sum: &Addr<Sum>, ctx: &mut Context<Passes>) -> Option<u8> {
            ctx.reenter(me).send_to(&sum.recipient(), large::<SIZE>()).ok()
        }
        to_address(self, &m.0, ctx).and(to_recipient(self, &m.0, ctx))
    }
}

#[test]
fn a_large_message_in_a_chain_that_reenters_does_not_overflow_a_default_stack() {
    on_workers(|| {
        let sum = Sum.start();
        assert_eq!(Passes.start().send(PassOn(sum)).unwrap(), Some(9));
    });
}

#[test]
fn a_large_ask_that_is_cancelled_or_times_out_takes_its_message_back() {
    on_workers(|| {
        let sum = Sum.start();
        let gate = Gate::new();
        sum.tell(Block(gate.clone())).unwrap();
        let timed_out = sum.send_timeout(large::<SIZE>(), Duration::from_millis(1));
        assert!(matches!(timed_out, Err(SendError::Timeout(Some(_)))));
        let also = sum.clone();
        let asker = green::spawn(move || by_send::<SIZE>(&also));
        let start = std::time::Instant::now();
        // The first may not have been taken up yet.
        while sum.queued() != 1 || asker.is_finished() {
            assert!(start.elapsed() < LONG);
            green::sleep(Duration::from_micros(100));
        }
        until_parked(asker.thread(), "reply");
        asker.cancel();
        assert!(asker.join().is_err());
        assert!(sum.queued() <= 1);
        gate.open();
        assert_eq!(by_send::<SIZE>(&sum), Some(9));
        assert_eq!(sum.queued(), 0);
    });
}

struct Fill;
impl Message for Fill {
    type Reply = [u8; SIZE];
}
impl Handler<Fill> for Sum {
    fn handle(&mut self, _: Fill, _: &mut Context<Self>) -> [u8; SIZE] {
        black_box([9; SIZE])
    }
}

#[inline(never)]
fn filled_by_send(sum: &Addr<Sum>) -> Option<u8> {
    sum.send(Fill).ok().map(|reply| black_box(&reply)[SIZE - 1])
}

#[inline(never)]
fn filled_by_call(sum: &Addr<Sum>) -> Option<u8> {
    sum.call(Fill).ok()?.wait().ok().map(|reply| black_box(&reply)[SIZE - 1])
}

#[test]
fn a_large_reply_does_not_overflow_a_default_stack() {
    on_workers(|| {
        let sum = Sum.start();
        assert_eq!(filled_by_send(&sum), Some(9));
        assert_eq!(filled_by_call(&sum), Some(9));
    });
}

/// Asks itself back through its peer.
struct Mirror {
    peer: Option<Addr<Mirror>>,
}
impl Actor for Mirror {}

struct Deeper(u32);
impl Message for Deeper {
    type Reply = Result<u32, u32>;
}
impl Handler<Deeper> for Mirror {
    fn handle(&mut self, m: Deeper, ctx: &mut Context<Self>) -> Result<u32, u32> {
        let peer = self.peer.clone().expect("it was introduced");
        match ctx.reenter(self).send(&peer, Deeper(m.0 + 1)) {
            Ok(depth) => depth,
            Err(SendError::Deadlock { .. }) => Err(m.0),
            Err(other) => panic!("{other:?}"),
        }
    }
}

struct Meet(Addr<Mirror>);
impl Message for Meet {
    type Reply = ();
}
impl Handler<Meet> for Mirror {
    fn handle(&mut self, m: Meet, _: &mut Context<Self>) {
        self.peer = Some(m.0);
    }
}

#[test]
fn a_chain_that_reenters_without_end_is_told_and_overflows_nothing() {
    on_workers(|| {
        let start = || Builder::new().start(Mirror { peer: None }).unwrap();
        let (one, other) = (start(), start());
        one.send(Meet(other.clone())).unwrap();
        other.send(Meet(one.clone())).unwrap();
        let Err(depth) = one.send_timeout(Deeper(0), LONG).unwrap() else { panic!("it has no end") };
        assert!(depth > 8, "{depth}");
        one.kill();
        other.kill();
    });
}

type Sends = fn(&Addr<Sum>);

/// Its reply is larger than the whole stack of an actor.
struct FillAll;
impl Message for FillAll {
    type Reply = [u8; 256 << 10];
}
impl Handler<FillAll> for Sum {
    fn handle(&mut self, _: FillAll, _: &mut Context<Self>) -> [u8; 256 << 10] {
        black_box([9; 256 << 10])
    }
}

#[test]
fn a_message_larger_than_its_actors_stack_is_refused_with_both_sizes_and_the_names() {
    const SIZE: usize = 256 << 10;
    let sum = Builder::new().name("small one").stack_size(64 << 10).start(Sum).unwrap();
    let ways: [(&str, Sends); 7] = [
        ("call", |sum| _ = by_call::<SIZE>(sum)),
        ("send", |sum| _ = by_send::<SIZE>(sum)),
        ("tell", |sum| _ = by_tell::<SIZE>(sum)),
        ("tell async", |sum| _ = by_tell_async::<SIZE>(sum)),
        ("call async", |sum| _ = by_call_async::<SIZE>(sum)),
        ("recipient", |sum| _ = sum.recipient().tell_timeout(large::<SIZE>(), LONG)),
        ("reply", |sum| _ = sum.call(FillAll)),
    ];
    for (way, sends) in ways {
        let to = sum.clone();
        // The sender has room for it.
        let thread = green::thread::Builder::new().stack_size(8 << 20).spawn(move || sends(&to)).unwrap();
        let payload = thread.join().expect_err(way);
        let text = payload.downcast_ref::<String>().unwrap();
        assert!(text.contains("262144 bytes") && text.contains("65536 bytes"), "{way}: {text}");
        assert!(text.contains("\"small one\"") && text.contains("large_messages::"), "{way}: {text}");
    }
    assert_eq!(by_send::<16>(&sum), Some(9));
}

// Elsewhere the compiler does not probe the stack.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn a_message_too_large_for_a_stack_ends_the_process_with_the_size_of_the_stack_and_the_actors_name() {
    let ended = help::in_a_child(&[], || {
        let sum = Builder::new().name("small one").stack_size(64 << 10).start(Sum).unwrap();
        // The sender has room for it, the handler has not. It is smaller than the stack, of which other frames take a part.
        let thread = green::thread::Builder::new().stack_size(8 << 20).spawn(move || by_call::<{ 63 << 10 }>(&sum));
        let _ = thread.unwrap().join();
    });
    assert_eq!(ended.signal, Some(6), "{}", ended.output);
    assert!(
        ended.output.contains("'small one'") && ended.output.contains("has overflowed its stack"),
        "{}",
        ended.output
    );
    assert!(ended.output.contains("stack size 65536 bytes"), "{}", ended.output);
}

/// The size of an uncontended object is a promise too, if only to ourselves: a cache line, with the number of the holder for a dump.
#[test]
#[cfg(not(any(debug_assertions, green_deadlocks)))]
fn the_objects_are_small() {
    assert!(size_of::<green::sync::Mutex<()>>() <= 64, "{}", size_of::<green::sync::Mutex<()>>());
    assert!(size_of::<green::sync::RwLock<()>>() <= 64, "{}", size_of::<green::sync::RwLock<()>>());
    assert!(size_of::<green::sync::Condvar>() <= 40, "{}", size_of::<green::sync::Condvar>());
}
