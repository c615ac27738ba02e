//! Figures: printed, and only in a build with optimisations, by
//! `cargo test --release --test supervisor -- --ignored --nocapture figures`.

use std::time::{Duration, Instant};

use green::actor::{Actor, Child, Context, Exit, Handler, Message, Supervisor};

use crate::{End, Log, eager, get, three};

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
#[ignore = "prints figures, and asserts none on a loaded machine"]
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
        println!("a restart: {:?} (an ask: {asks:?})", (start.elapsed() / rounds).saturating_sub(2 * asks));

        let many = eager(Supervisor::dynamic()).start().unwrap();
        let start = Instant::now();
        for n in 0..rounds {
            many.start_child(Child::new(format!("idle {n}"), || Idle)).unwrap();
        }
        println!("{rounds} children started: {:?}", start.elapsed());
        let start = Instant::now();
        let end = many.shutdown(Duration::from_secs(60));
        println!("and stopped: {:?}: {end}", start.elapsed());
        assert_eq!(end.stopped, rounds as usize);
    });
    let log = Log::default();
    let sup = three(Supervisor::one_for_one(), &log);
    let _ = get(&sup, "a").send(End::Panic);
}
