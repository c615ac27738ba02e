//! What a tell, an ask and a start cost with us, actix, ractor, kameo and a tokio task behind a channel: one worker, in turn, CPU time (the machine is
//! shared), median of five rounds.

use std::future::Future;

const TELLS: u64 = 400_000;
const ASKS: u64 = 200_000;
const STARTS: u64 = 50_000;

/// CPU time of the process in nanoseconds.
fn cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a `timespec` of our own.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Nanoseconds for each of tell, ask, start.
type Row = [f64; 3];

fn since(start: u64, count: u64) -> f64 {
    (cpu_ns() - start) as f64 / count as f64
}

mod ours {
    use super::{ASKS, Row, STARTS, TELLS, cpu_ns, since};
    use green::actor::{Actor, Context, Handler, Message};

    struct Counter(u64);
    impl Actor for Counter {}
    struct Add(u64);
    impl Message for Add {
        type Reply = ();
    }
    impl Handler<Add> for Counter {
        fn handle(&mut self, m: Add, _: &mut Context<Self>) {
            self.0 += m.0;
        }
    }
    struct Get;
    impl Message for Get {
        type Reply = u64;
    }
    impl Handler<Get> for Counter {
        fn handle(&mut self, _: Get, _: &mut Context<Self>) -> u64 {
            self.0
        }
    }

    pub fn run() -> Row {
        let runtime = green::Runtime::builder().workers(1).build().unwrap();
        runtime.run(|| {
            let counter = Counter(0).start();
            let start = cpu_ns();
            (0..TELLS).for_each(|_| counter.tell(Add(1)).unwrap());
            assert_eq!(counter.send(Get).unwrap(), TELLS);
            let tell = since(start, TELLS);
            let start = cpu_ns();
            let sum: u64 = (0..ASKS).map(|_| counter.send(Get).unwrap()).sum();
            assert_eq!(sum, ASKS * TELLS);
            let ask = since(start, ASKS);
            let start = cpu_ns();
            let actors: Vec<_> = (0..STARTS).map(|n| Counter(n).start()).collect();
            let sum: u64 = actors.iter().map(|actor| actor.send(Get).unwrap()).sum();
            assert_eq!(sum, STARTS * (STARTS - 1) / 2);
            [tell, ask, since(start, STARTS)]
        })
    }
}

mod with_actix {
    use super::{ASKS, Row, STARTS, TELLS, cpu_ns, since};
    use actix::{Actor, Context, Handler, Message, System};

    struct Counter(u64);
    impl Actor for Counter {
        type Context = Context<Self>;
    }
    struct Add(u64);
    impl Message for Add {
        type Result = ();
    }
    impl Handler<Add> for Counter {
        type Result = ();
        fn handle(&mut self, m: Add, _: &mut Context<Self>) {
            self.0 += m.0;
        }
    }
    struct Get;
    impl Message for Get {
        type Result = u64;
    }
    impl Handler<Get> for Counter {
        type Result = u64;
        fn handle(&mut self, _: Get, _: &mut Context<Self>) -> u64 {
            self.0
        }
    }

    pub fn run() -> Row {
        System::new().block_on(async {
            let counter = Counter(0).start();
            let start = cpu_ns();
            for n in 0..TELLS {
                counter.do_send(Add(1));
                if n % 256 == 255 {
                    tokio::task::yield_now().await; // Its mailbox has no bound for this.
                }
            }
            assert_eq!(counter.send(Get).await.unwrap(), TELLS);
            let tell = since(start, TELLS);
            let start = cpu_ns();
            let mut sum = 0;
            for _ in 0..ASKS {
                sum += counter.send(Get).await.unwrap();
            }
            assert_eq!(sum, ASKS * TELLS);
            let ask = since(start, ASKS);
            let start = cpu_ns();
            let actors: Vec<_> = (0..STARTS).map(|n| Counter(n).start()).collect();
            let mut sum = 0;
            for actor in &actors {
                sum += actor.send(Get).await.unwrap();
            }
            assert_eq!(sum, STARTS * (STARTS - 1) / 2);
            [tell, ask, since(start, STARTS)]
        })
    }
}

mod with_ractor {
    use super::{ASKS, Row, STARTS, TELLS, block_on, cpu_ns, since};
    use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

    struct Counter;
    enum Msg {
        Add(u64),
        Get(RpcReplyPort<u64>),
    }
    #[cfg(feature = "cluster")]
    impl ractor::Message for Msg {}

    impl Actor for Counter {
        type Msg = Msg;
        type State = u64;
        type Arguments = u64;
        async fn pre_start(&self, _: ActorRef<Msg>, n: u64) -> Result<u64, ActorProcessingErr> {
            Ok(n)
        }
        async fn handle(&self, _: ActorRef<Msg>, m: Msg, n: &mut u64) -> Result<(), ActorProcessingErr> {
            match m {
                Msg::Add(more) => *n += more,
                Msg::Get(port) => port.send(*n)?,
            }
            Ok(())
        }
    }

    pub fn run() -> Row {
        block_on(async {
            let (counter, _) = Actor::spawn(None, Counter, 0).await.unwrap();
            let start = cpu_ns();
            for n in 0..TELLS {
                counter.cast(Msg::Add(1)).unwrap();
                if n % 256 == 255 {
                    tokio::task::yield_now().await;
                }
            }
            assert_eq!(ractor::call!(counter, Msg::Get).unwrap(), TELLS);
            let tell = since(start, TELLS);
            let start = cpu_ns();
            let mut sum = 0;
            for _ in 0..ASKS {
                sum += ractor::call!(counter, Msg::Get).unwrap();
            }
            assert_eq!(sum, ASKS * TELLS);
            let ask = since(start, ASKS);
            let start = cpu_ns();
            let mut actors = Vec::new();
            for n in 0..STARTS {
                actors.push(Actor::spawn(None, Counter, n).await.unwrap().0);
            }
            let mut sum = 0;
            for actor in &actors {
                sum += ractor::call!(actor, Msg::Get).unwrap();
            }
            assert_eq!(sum, STARTS * (STARTS - 1) / 2);
            [tell, ask, since(start, STARTS)]
        })
    }
}

mod with_kameo {
    use super::{ASKS, Row, STARTS, TELLS, block_on, cpu_ns, since};
    use kameo::actor::{ActorRef, Spawn};
    use kameo::message::{Context, Message};

    struct Counter(u64);
    impl kameo::Actor for Counter {
        type Args = Self;
        type Error = kameo::error::Infallible;
        async fn on_start(this: Self, _: ActorRef<Self>) -> Result<Self, Self::Error> {
            Ok(this)
        }
    }
    struct Add(u64);
    impl Message<Add> for Counter {
        type Reply = ();
        async fn handle(&mut self, m: Add, _: &mut Context<Self, ()>) {
            self.0 += m.0;
        }
    }
    struct Get;
    impl Message<Get> for Counter {
        type Reply = u64;
        async fn handle(&mut self, _: Get, _: &mut Context<Self, u64>) -> u64 {
            self.0
        }
    }

    pub fn run() -> Row {
        block_on(async {
            let counter = Counter::spawn(Counter(0));
            let start = cpu_ns();
            for _ in 0..TELLS {
                counter.tell(Add(1)).await.unwrap();
            }
            assert_eq!(counter.ask(Get).await.unwrap(), TELLS);
            let tell = since(start, TELLS);
            let start = cpu_ns();
            let mut sum = 0;
            for _ in 0..ASKS {
                sum += counter.ask(Get).await.unwrap();
            }
            assert_eq!(sum, ASKS * TELLS);
            let ask = since(start, ASKS);
            let start = cpu_ns();
            let actors: Vec<_> = (0..STARTS).map(|n| Counter::spawn(Counter(n))).collect();
            let mut sum = 0;
            for actor in &actors {
                sum += actor.ask(Get).await.unwrap();
            }
            assert_eq!(sum, STARTS * (STARTS - 1) / 2);
            [tell, ask, since(start, STARTS)]
        })
    }
}

/// A task that owns a state and answers through a `oneshot`: what people write who use no actor library.
mod with_tokio {
    use super::{ASKS, Row, STARTS, TELLS, block_on, cpu_ns, since};
    use tokio::sync::{mpsc, oneshot};

    enum Msg {
        Add(u64),
        Get(oneshot::Sender<u64>),
    }

    fn counter(mut n: u64) -> mpsc::Sender<Msg> {
        let (sender, mut receiver) = mpsc::channel(256);
        tokio::spawn(async move {
            while let Some(msg) = receiver.recv().await {
                match msg {
                    Msg::Add(more) => n += more,
                    Msg::Get(reply) => reply.send(n).unwrap(),
                }
            }
        });
        sender
    }

    async fn ask(counter: &mpsc::Sender<Msg>) -> u64 {
        let (sender, reply) = oneshot::channel();
        counter.send(Msg::Get(sender)).await.ok().unwrap();
        reply.await.unwrap()
    }

    pub fn run() -> Row {
        block_on(async {
            let one = counter(0);
            let start = cpu_ns();
            for _ in 0..TELLS {
                one.send(Msg::Add(1)).await.ok().unwrap();
            }
            assert_eq!(ask(&one).await, TELLS);
            let tell = since(start, TELLS);
            let start = cpu_ns();
            let mut sum = 0;
            for _ in 0..ASKS {
                sum += ask(&one).await;
            }
            assert_eq!(sum, ASKS * TELLS);
            let asks = since(start, ASKS);
            let start = cpu_ns();
            let counters: Vec<_> = (0..STARTS).map(counter).collect();
            let mut sum = 0;
            for one in &counters {
                sum += ask(one).await;
            }
            assert_eq!(sum, STARTS * (STARTS - 1) / 2);
            [tell, asks, since(start, STARTS)]
        })
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn main() {
    let peers: [(&str, fn() -> Row); 5] = [
        ("green", ours::run),
        ("actix", with_actix::run),
        ("ractor", with_ractor::run),
        ("kameo", with_kameo::run),
        ("tokio", with_tokio::run),
    ];
    let mut rounds: Vec<Vec<Row>> = vec![Vec::new(); peers.len()];
    for _ in 0..5 {
        for (rows, (_, run)) in rounds.iter_mut().zip(&peers) {
            rows.push(run());
        }
    }
    println!("CPU ns         tell      ask    start, one ask");
    for (rows, (name, _)) in rounds.into_iter().zip(&peers) {
        let median = |at: usize| {
            let mut values: Vec<f64> = rows.iter().map(|row| row[at]).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        println!("{name:<8} {:>10.1} {:>8.1} {:>10.1}", median(0), median(1), median(2));
    }
}
