//! Figures, in a build with optimisations: `cargo test --release --test supervisor -- --ignored --nocapture figures`. The bounds are wide: on a
//! quiet machine a restart takes two microseconds, and the end of the tree less than a second.

use std::time::{Duration, Instant};

use green::actor::{Actor, Addr, Child, Context, Exit, Handler, Message, Supervisor};

use crate::eager;

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

#[test]
#[ignore = "takes long without optimisations: .ci/run has a release build"]
fn figures_of_a_restart_and_of_a_hundred_thousand_children() {
    green::run(|| {
        let sup = eager(Supervisor::one_for_one()).child(Child::new("idle", || Idle)).start().unwrap();
        let idle = sup.get::<Idle>("idle").unwrap();
        let rounds = 100_000;
        let ask_and_tell = |idle: &Addr<Idle>| {
            let start = Instant::now();
            (0..rounds).for_each(|_| idle.send(Ping).unwrap());
            let asked = Instant::now();
            (0..rounds).for_each(|_| idle.tell(Ping).unwrap());
            idle.send(Ping).unwrap();
            ((asked - start) / rounds, asked.elapsed() / rounds)
        };
        // The quickest of several: others may use the processor, too.
        let plain = Idle.start();
        let quickest =
            |idle: &Addr<Idle>| (0..5).map(|_| ask_and_tell(idle)).reduce(|a, b| (a.0.min(b.0), a.1.min(b.1))).unwrap();
        let ((plain_ask, plain_tell), (asks, tells)) = (quickest(&plain), quickest(&idle));
        println!("an ask: {plain_ask:?}, of a supervised one: {asks:?}; a tell: {plain_tell:?}, and {tells:?}");
        assert!(asks < 3 * plain_ask && tells < 3 * plain_tell, "a supervised actor costs more");
        let start = Instant::now();
        for _ in 0..rounds {
            let _ = idle.send(Die);
            let _ = idle.send(Ping);
        }
        let restart = (start.elapsed() / rounds).saturating_sub(2 * asks);
        println!("a restart: {restart:?} (an ask: {asks:?})");
        assert!(restart < Duration::from_micros(100), "{restart:?}");

        let many = eager(Supervisor::dynamic()).start().unwrap();
        let start = Instant::now();
        for n in 0..rounds {
            many.start_child(Child::new(format!("idle {n}"), || Idle)).unwrap();
        }
        println!("{rounds} children started: {:?}", start.elapsed());
        let start = Instant::now();
        let end = many.shutdown(Duration::from_secs(60));
        let took = start.elapsed();
        println!("and stopped: {took:?}: {end}");
        assert!(took < Duration::from_secs(15), "{took:?}");
        assert_eq!(end.stopped, rounds as usize);
    });
}
