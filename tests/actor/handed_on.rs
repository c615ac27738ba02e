//! Runs that follow one another on one worker, which go on on one stack: each is its own actor's all the same.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use green::actor::{Actor, Addr, Builder, Context, Exit, Handler, Message};
use green::dump::ThreadStatus;
use green::thread::ThreadId;
use green::{Runtime, thread};

use crate::help::everywhere;
use crate::{Add, Counter, Get};

/// What an actor does with each message.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    Returns,
    Yields,
    Sleeps,
    Asks,
    Spawns,
    TellsItself,
    Panics,
    Stops,
}

impl Way {
    const ALL: [Way; 8] = [
        Self::Returns,
        Self::Yields,
        Self::Sleeps,
        Self::Asks,
        Self::Spawns,
        Self::TellsItself,
        Self::Panics,
        Self::Stops,
    ];
}

green::local! {
    /// How often this run has come by.
    static HANDLED: Cell<u32> = Cell::new(0);
}

struct Worker {
    way: Way,
    me: Option<ThreadId>,
    count: Addr<Counter>,
    handled: Arc<AtomicU64>,
}

impl Actor for Worker {
    fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> {
        self.me = Some(thread::current().id());
        Ok(())
    }
}

/// `true`: it was sent by the actor itself.
struct Work(bool);
impl Message for Work {
    type Reply = ();
}

impl Handler<Work> for Worker {
    fn handle(&mut self, m: Work, ctx: &mut Context<Self>) {
        let me = || thread::current().id();
        assert_eq!(Some(me()), self.me);
        HANDLED.with(|handled| handled.set(handled.get() + 1));
        let before = HANDLED.with(Cell::get);
        match self.way {
            Way::Returns => {}
            Way::Yields => green::yield_now(),
            Way::Sleeps => green::sleep(Duration::from_micros(50)),
            Way::Asks => assert!(self.count.send(Get).unwrap() >= 0),
            Way::Spawns => assert_ne!(green::spawn(me).join().unwrap(), me()),
            Way::TellsItself if m.0 => {}
            Way::TellsItself => ctx.addr().tell(Work(true)).unwrap(),
            Way::Panics => std::panic::resume_unwind(Box::new("an end")),
            Way::Stops => ctx.stop(),
        }
        assert_eq!(HANDLED.with(Cell::get), before, "another run has the same values");
        assert_eq!(Some(me()), self.me);
        self.count.tell(Add(1)).unwrap();
        self.handled.fetch_add(1, Relaxed);
    }
}

/// One of each kind and a plain one between any two, told in rows.
#[test]
fn of_runs_that_follow_one_another_each_is_itself_whatever_the_others_do() {
    everywhere(|| {
        const ROUNDS: u64 = 200;
        let (count, handled) = (Counter::default().start(), Arc::new(AtomicU64::new(0)));
        let worker = |way| Worker { way, me: None, count: count.clone(), handled: handled.clone() }.start();
        let mut workers: Vec<_> =
            Way::ALL.iter().flat_map(|&way| [(way, worker(way)), (Way::Returns, worker(Way::Returns))]).collect();
        let mut told = 0;
        for _ in 0..ROUNDS {
            for (way, worker) in &mut workers {
                match worker.tell(Work(false)) {
                    Ok(()) => told += if *way == Way::TellsItself { 2 } else { 1 },
                    Err(_) => {
                        assert!([Way::Panics, Way::Stops].contains(way), "{way:?} has ended");
                        *worker =
                            Worker { way: *way, me: None, count: count.clone(), handled: handled.clone() }.start();
                    }
                }
            }
            green::yield_now();
        }
        let ended: Vec<_> = workers
            .into_iter()
            .map(|(way, worker)| {
                worker.stop();
                (way, worker.join())
            })
            .collect();
        for (way, exit) in ended {
            assert!(way == Way::Panics || !matches!(exit, Exit::Panic(_)), "{way:?}: {exit:?}");
        }
        let handled = handled.load(Relaxed);
        assert!(handled > ROUNDS && handled <= told, "{handled} of {told}");
        assert_eq!(count.send(Get).unwrap() as u64, handled);
    });
}

/// Uses so many bytes of its stack.
struct Deep(usize);
impl Message for Deep {
    type Reply = ();
}

struct Digger;
impl Actor for Digger {}
impl Handler<Deep> for Digger {
    fn handle(&mut self, m: Deep, _: &mut Context<Self>) {
        #[inline(never)]
        fn dig(left: usize) -> u8 {
            let page = black_box([1_u8; 1024]);
            if left <= page.len() { page[0] } else { dig(left - page.len()).wrapping_add(page[left % page.len()]) }
        }
        assert_ne!(black_box(dig(m.0)), 0);
    }
}

#[test]
fn an_actor_that_asked_for_a_large_stack_does_not_run_on_the_small_one_of_the_run_before() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    runtime.run(|| {
        let digger = |size: usize| Builder::new().stack_size(size).start(Digger).unwrap();
        let diggers: Vec<_> = (0..20).map(|n| if n % 2 == 0 { digger(64 << 10) } else { digger(4 << 20) }).collect();
        for _ in 0..20 {
            for (n, digger) in diggers.iter().enumerate() {
                digger.tell(Deep(if n % 2 == 0 { 1 << 10 } else { 400 << 10 })).unwrap();
            }
            green::yield_now();
        }
        diggers.into_iter().for_each(|digger| {
            digger.stop();
            assert_eq!(digger.join(), Exit::Shutdown);
        });
    });
}

/// Is one that it belongs to running?
#[derive(Clone)]
struct Inside(Arc<AtomicBool>, Arc<AtomicU64>);
impl thread::OnSwitch for Inside {
    fn resume(&mut self) {
        assert!(!self.0.swap(true, Relaxed));
        self.1.fetch_add(1, Relaxed);
    }
    fn suspend(&mut self) {
        assert!(self.0.swap(false, Relaxed));
    }
}

struct Looks(Inside, bool);
impl Actor for Looks {}
impl Handler<Deep> for Looks {
    fn handle(&mut self, _: Deep, _: &mut Context<Self>) {
        assert_eq!(self.0.0.load(Relaxed), self.1);
    }
}

#[test]
fn an_actor_with_calls_at_switches_has_them_and_its_neighbours_have_none() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    runtime.run(|| {
        let inside = Inside(Arc::default(), Arc::default());
        let looks = |has: bool| {
            let (builder, looks) = (Builder::new(), Looks(inside.clone(), has));
            if has { builder.on_switch(inside.clone()) } else { builder }.start(looks).unwrap()
        };
        // Two that have them among those that have none.
        let neighbours: Vec<_> = (0..9).map(|n| looks([4, 5].contains(&n))).collect();
        for _ in 0..20 {
            neighbours.iter().for_each(|neighbour| neighbour.tell(Deep(0)).unwrap());
            green::sleep(Duration::from_micros(100));
        }
        neighbours.into_iter().for_each(|neighbour| {
            neighbour.stop();
            assert_eq!(neighbour.join(), Exit::Shutdown);
        });
        assert!(inside.1.load(Relaxed) >= 40);
        assert!(!inside.0.load(Relaxed));
    });
}

#[cfg(not(miri))]
#[test]
fn a_dump_beside_runs_that_follow_one_another_shows_only_actors_that_there_are() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let dumps = scope.spawn(|| {
            let mut met = [0_u64; 2];
            while !over.load(Relaxed) {
                green::dump::for_each(|thread| {
                    if thread.name().is_some_and(|name| name == "told") {
                        met[usize::from(matches!(thread.status(), ThreadStatus::Running(worker) if worker < 2))] += 1;
                    }
                    // A stack that another runs on by now would be read here.
                    let _ = format!("{thread:?}");
                    Ok(())
                })
                .unwrap();
            }
            met
        });
        runtime.run(|| {
            let counters: Vec<_> =
                (0..100).map(|_| Builder::new().name("told").start(Counter::default()).unwrap()).collect();
            let start = std::time::Instant::now();
            let mut rounds = 0;
            while start.elapsed() < Duration::from_millis(500) {
                counters.iter().for_each(|counter| counter.tell(Add(1)).unwrap());
                rounds += 1;
                green::yield_now();
            }
            assert!(counters.iter().all(|counter| counter.send(Get).unwrap() == rounds));
        });
        over.store(true, Relaxed);
        let [others, running] = dumps.join().unwrap();
        assert!(others + running > 0, "none of them was met");
    });
}
