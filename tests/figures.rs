//! Figures of supervisors, in a build with optimisations: `cargo test --release --test figures -- --ignored --nocapture`. Each is the
//! median of several rounds: others may use the processor, too.
#![allow(missing_docs)]

use std::time::{Duration, Instant};

use green::actor::{Actor, Addr, Backoff, Child, Context, Exit, Handler, Message, Supervisor};

struct Idle;
impl Actor for Idle {}
struct Die;
impl Message for Die {
    type Reply = ();
}
impl Handler<Die> for Idle {
    fn handle(&mut self, _: Die, ctx: &mut Context<Self>) {
        ctx.fail(Exit::Killed);
    }
}
struct Ping;
impl Message for Ping {
    type Reply = ();
}
impl Handler<Ping> for Idle {
    fn handle(&mut self, _: Ping, _: &mut Context<Self>) {}
}

/// A restart takes no longer than this, beyond its back-off.
const RESTART: Duration = Duration::from_micros(5);
/// So many children has one dynamic supervisor.
const CHILDREN: u32 = 100_000;
/// That they end takes no longer than this.
const STOP: Duration = Duration::from_secs(1);

/// With restarts at once, and as many as one likes.
fn eager(supervisor: Supervisor) -> Supervisor {
    supervisor.backoff(Backoff::none()).intensity(1_000_000, Duration::from_secs(3600))
}

/// The middle one of several.
fn median(rounds: usize, round: impl FnMut() -> Duration) -> Duration {
    let mut took: Vec<_> = std::iter::repeat_with(round).take(rounds).collect();
    took.sort();
    took[rounds / 2]
}

#[test]
#[ignore = "takes long without optimisations: .ci/run has a release build"]
fn figures_of_a_restart_and_of_a_hundred_thousand_children() {
    green::run(|| {
        let sup = eager(Supervisor::one_for_one()).child(Child::new("idle", || Idle)).start().unwrap();
        let idle = sup.get::<Idle>("idle").unwrap();
        let rounds = 20_000;
        let ask = |idle: &Addr<Idle>| {
            let start = Instant::now();
            (0..rounds).for_each(|_| idle.send(Ping).unwrap());
            start.elapsed() / rounds
        };
        let tell = |idle: &Addr<Idle>| {
            let start = Instant::now();
            (0..rounds).for_each(|_| idle.tell(Ping).unwrap());
            idle.send(Ping).unwrap();
            start.elapsed() / rounds
        };
        // In turns: the quickest of each.
        let plain = Idle.start();
        let mut quickest = [Duration::MAX; 4];
        for _ in 0..9 {
            let round = [ask(&plain), ask(&idle), tell(&plain), tell(&idle)];
            quickest.iter_mut().zip(round).for_each(|(least, took)| *least = took.min(*least));
        }
        let [plain_ask, asks, plain_tell, tells] = quickest;
        println!("an ask: {plain_ask:?}, of a supervised one: {asks:?}; a tell: {plain_tell:?}, and {tells:?}");
        let same = |plain: Duration, supervised: Duration| supervised < plain * 5 / 4 + Duration::from_nanos(10);
        assert!(same(plain_ask, asks) && same(plain_tell, tells), "a supervised actor costs more");
        let restart = median(9, || {
            let start = Instant::now();
            for _ in 0..rounds {
                let _ = idle.send(Die);
                let _ = idle.send(Ping);
            }
            (start.elapsed() / rounds).saturating_sub(2 * asks)
        });
        println!("a restart: {restart:?} (an ask: {asks:?})");
        assert!(restart < RESTART, "{restart:?}");

        let stop = median(3, || {
            let many = eager(Supervisor::dynamic()).start().unwrap();
            let start = Instant::now();
            for n in 0..CHILDREN {
                many.start_child(Child::new(format!("idle {n}"), || Idle)).unwrap();
            }
            println!("{CHILDREN} children started: {:?}", start.elapsed());
            assert_eq!(many.len(), CHILDREN as usize);
            let start = Instant::now();
            let end = many.shutdown(Duration::from_secs(60));
            let took = start.elapsed();
            println!("and stopped: {took:?}: {end}");
            assert_eq!((end.stopped, end.is_clean()), (CHILDREN as usize, true));
            took
        });
        assert!(stop < STOP, "{stop:?}");
    });
}
