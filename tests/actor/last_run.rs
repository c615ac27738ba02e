//! The last run of an actor that nobody has an address of.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use green::actor::{Actor, Addr, Builder, Context, Exit, Handler, Message, SendError};

use crate::help::{scaled, spin_until};
use crate::{everywhere, next};

/// Gives its own address away at the very end, and goes on when it is told to.
struct Late {
    last: Sender<Addr<Late>>,
    goes_on: green::channel::Receiver<()>,
}

struct Hello;
impl Message for Hello {
    type Reply = ();
}

impl Actor for Late {
    fn stopping(&mut self, _: &Exit, ctx: &mut Context<Self>) {
        self.last.send(ctx.addr()).unwrap();
        // Never comes: there will be nobody.
        ctx.send_after(Duration::ZERO, Hello);
        self.goes_on.recv().unwrap();
    }
}

impl Handler<Hello> for Late {
    fn handle(&mut self, _: Hello, _: &mut Context<Self>) {
        panic!("the mailbox is closed");
    }
}

#[test]
fn who_gets_an_address_of_an_actor_that_is_ending_takes_part_in_its_end() {
    everywhere(|| {
        let (last, addresses) = channel();
        let (go, goes_on) = green::channel::bounded(1);
        drop(Late { last, goes_on }.start());
        let late = next(&addresses);
        assert!(matches!(late.tell(Hello), Err(SendError::Closed(_))));
        assert!(!late.is_ended());
        let joiner = green::spawn({
            let late = late.clone();
            move || late.join()
        });
        go.send(()).unwrap();
        assert_eq!(joiner.join().unwrap(), Exit::Normal);
        assert!(late.is_ended());
    });
}

/// Counts those that were dropped, and what they were told.
struct Brief {
    heard: u64,
    sums: Arc<(AtomicU64, AtomicU64)>,
}

impl Actor for Brief {}

impl Handler<Hello> for Brief {
    fn handle(&mut self, _: Hello, _: &mut Context<Self>) {
        self.heard += 1;
    }
}

impl Drop for Brief {
    fn drop(&mut self) {
        self.sums.0.fetch_add(1, Relaxed);
        self.sums.1.fetch_add(self.heard, Relaxed);
    }
}

/// An actor without an address is run without exchanges as long as nobody lists the actors of its runtime.
#[test]
fn actors_that_nobody_else_has_end_once_while_others_list_them() {
    let runtime = green::Runtime::builder().workers(2).build().unwrap();
    let sums = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let (stays, ends) = (scaled(200) as u64, scaled(4000) as u64);
    let brief = || Brief { heard: 0, sums: Arc::clone(&sums) };
    let start = || Builder::new().runtime(&runtime).start(brief()).unwrap();
    let stay: Vec<_> = (0..stays).map(|_| start()).collect();
    let is_over = AtomicBool::new(false);
    let most = thread::scope(|scope| {
        let lister = scope.spawn(|| {
            let mut most = 0;
            while !is_over.load(Relaxed) {
                let all = runtime.actors();
                let there = stay.iter().filter(|actor| all.binary_search_by_key(&actor.id(), |info| info.id).is_ok());
                assert_eq!(there.count() as u64, stays, "those that stay are in every list");
                most = most.max(all.len() as u64);
            }
            most
        });
        runtime.run(|| {
            for n in 0..ends {
                start().tell(Hello).unwrap();
                if n % 64 == 0 {
                    green::yield_now();
                }
            }
            while sums.0.load(Relaxed) < ends {
                green::yield_now();
            }
        });
        is_over.store(true, Relaxed);
        lister.join().unwrap()
    });
    assert!(most >= stays && most <= stays + ends);
    drop(stay);
    spin_until("all have ended", || runtime.actors().is_empty());
    assert_eq!((sums.0.load(Relaxed), sums.1.load(Relaxed)), (stays + ends, ends));
}

/// The workers end by themselves then, and the last to know the runtime frees it: there may be nobody any more whom a last address could tell.
#[test]
fn actors_whose_last_addresses_go_while_a_thread_of_their_runtime_ends_it_end_once() {
    const EACH: usize = 50;
    for round in 0..scaled(100) {
        let runtime = green::Runtime::builder().workers(1 + round % 2).build().unwrap();
        let sums = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
        let rests = || {
            let actor = Builder::new().runtime(&runtime).start(Brief { heard: 0, sums: Arc::clone(&sums) }).unwrap();
            actor.send(Hello).unwrap();
            actor
        };
        let groups: [Vec<_>; 2] = [(); 2].map(|()| (0..EACH).map(|_| rests()).collect());
        let begin = Arc::new(Barrier::new(groups.len() + 1));
        let others = groups.map(|group| {
            let begin = Arc::clone(&begin);
            thread::spawn(move || {
                begin.wait();
                drop(group);
            })
        });
        let (to_its_own, from_here) = channel::<green::Runtime>();
        let end = runtime.spawn(move || {
            let runtime = from_here.recv().unwrap();
            begin.wait();
            drop(runtime);
        });
        to_its_own.send(runtime).unwrap();
        drop(end);
        others.into_iter().for_each(|other| other.join().unwrap());
        spin_until("all have ended", || sums.0.load(Relaxed) == 2 * EACH as u64);
        spin_until("nobody has a state", || Arc::strong_count(&sums) == 1);
        assert_eq!((sums.0.load(Relaxed), sums.1.load(Relaxed)), (2 * EACH as u64, 2 * EACH as u64));
    }
}
