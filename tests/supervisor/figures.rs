//! Figures, in a build with optimisations: `cargo test --release --test supervisor -- --ignored --nocapture figures`. The bounds are wide: on a
//! quiet machine a restart takes two microseconds, and the end of the tree less than a second.

use std::time::{Duration, Instant};

use green::actor::{Actor, Child, Context, Exit, Handler, Message, Supervisor};

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
        let start = Instant::now();
        for _ in 0..rounds {
            let _ = idle.send(Ping);
        }
        let asks = start.elapsed() / rounds;
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
