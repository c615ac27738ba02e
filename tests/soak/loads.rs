//! The loads. Each is given random numbers, does its work, and fails if anything is lost, doubled, out of order or early.

use std::sync::Once;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use green::channel::{self, select};
use green::sync::{Arc, Barrier, Condvar, Mutex, RwLock, Semaphore};

use crate::help::Random;

#[path = "loads_world.rs"]
mod world;

/// One piece of work. `outside`: it runs on the driver's OS thread, else in a green thread.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) run: fn(Random),
    pub(crate) outside: bool,
}

const fn inside(name: &'static str, run: fn(Random)) -> Load {
    Load { name, run, outside: false }
}

const fn outside(name: &'static str, run: fn(Random)) -> Load {
    Load { name, run, outside: true }
}

pub(crate) const LOADS: [Load; 14] = [
    inside("tree", tree),
    inside("cancels", cancels),
    inside("cleanups", cleanups),
    inside("locks", locks),
    outside("locks-os", locks),
    inside("channels", channels),
    outside("channels-os", channels),
    inside("select", selects),
    inside("timers", timers),
    inside("echo", world::echo),
    inside("actors", world::actors),
    inside("blocking", world::blocking),
    inside("processes", world::processes),
    outside("runtimes", world::runtimes),
];

/// The payload of the panics that the loads make; the hook does not print them.
struct Thrown;

pub(crate) fn quiet_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.payload().is::<Thrown>() {
                default(info);
            }
        }));
    });
}

fn micros(n: u64) -> Duration {
    Duration::from_micros(n)
}

/// Counts itself while it is there.
struct Alive(Arc<AtomicI64>);

impl Alive {
    fn new(count: &Arc<AtomicI64>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Fork and join, and threads of a scope that borrow.
fn tree(mut random: Random) {
    fn leaves(depth: u64, width: u64) -> u64 {
        if depth == 0 {
            return 1;
        }
        let children: Vec<_> = (0..width).map(|_| green::spawn(move || leaves(depth - 1, width))).collect();
        children.into_iter().map(|child| child.join().unwrap()).sum()
    }
    let (depth, width) = (1 + random.below(4), 1 + random.below(5));
    assert_eq!(leaves(depth, width), width.pow(depth as u32));
    let sum = AtomicU64::new(0);
    let n = random.below(50);
    green::scope(|scope| {
        for i in 0..n {
            let sum = &sum;
            scope.spawn(move || {
                green::yield_now();
                sum.fetch_add(i, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(sum.into_inner(), n * n.saturating_sub(1) / 2);
}

/// Threads that are cancelled, time out or panic wherever they wait: every frame is unwound, no lock stays locked.
fn cancels(mut random: Random) {
    let alive = Arc::new(AtomicI64::new(0));
    let lock = Arc::new(Mutex::new(0_u64));
    let (sender, receiver) = channel::bounded::<Alive>(2);
    let threads: Vec<_> = (0..30)
        .map(|_| {
            let (alive, lock, sender, receiver) = (alive.clone(), lock.clone(), sender.clone(), receiver.clone());
            let mut random = Random::new(random.next());
            green::spawn(move || {
                let _frame = Alive::new(&alive);
                let _ = green::timeout(micros(random.below(3000)), || {
                    loop {
                        let _frame = Alive::new(&alive);
                        match random.below(6) {
                            0 => green::sleep(micros(random.below(300))),
                            1 => {
                                let mut guard = lock.lock().unwrap();
                                *guard += 1;
                                green::yield_now();
                                *guard -= 1;
                            }
                            2 => _ = sender.send(Alive::new(&alive)),
                            3 => _ = receiver.recv_timeout(micros(random.below(300))),
                            4 => green::thread::park_timeout(micros(random.below(300))),
                            _ => _ = green::spawn(|| green::sleep(micros(50))).join(),
                        }
                    }
                });
                if random.below(8) == 0 {
                    std::panic::panic_any(Thrown);
                }
            })
        })
        .collect();
    for thread in &threads {
        if random.below(3) == 0 {
            green::sleep(micros(random.below(200)));
            thread.cancel();
        }
    }
    for thread in threads {
        let _ = thread.join();
    }
    assert_eq!(*lock.lock().unwrap(), 0);
    drop((sender, receiver));
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

/// Destructors that wait while their thread unwinds, beside threads that wait with a deadline.
fn cleanups(mut random: Random) {
    struct Waits(u64);
    impl Drop for Waits {
        fn drop(&mut self) {
            green::sleep(micros(self.0));
        }
    }
    let panics: Vec<_> = (0..10)
        .map(|_| {
            let (micros_, how) = (random.below(2000), random.below(3));
            green::spawn(move || {
                let _waits = Waits(micros_);
                match how {
                    0 => std::panic::panic_any(Thrown),
                    1 => std::panic::resume_unwind(Box::new(Thrown)),
                    _ => green::thread::park(),
                }
            })
        })
        .collect();
    let lock = Arc::new(Mutex::new(()));
    for _ in 0..10 {
        let start = Instant::now();
        let d = micros(random.below(1000));
        let _guard = lock.lock().unwrap();
        assert!(green::timeout(d, || green::thread::park_timeout(Duration::from_secs(60))).is_err());
        assert!(start.elapsed() >= d);
    }
    assert!(!lock.is_poisoned());
    for thread in panics {
        thread.cancel();
        assert!(thread.join().is_err());
    }
}

/// A green thread or an OS thread; the result joins it.
fn either(random: &mut Random, f: impl FnOnce() + Send + 'static) -> Box<dyn FnOnce()> {
    if random.below(4) == 0 {
        let thread = std::thread::spawn(f);
        // Joined where it blocks no worker.
        Box::new(move || green::blocking(|| thread.join().unwrap()))
    } else {
        let thread = green::spawn(f);
        Box::new(move || thread.join().unwrap())
    }
}

/// Every lock, between green threads and OS threads.
fn locks(mut random: Random) {
    const THREADS: usize = 8;
    #[derive(Default)]
    struct All {
        count: Mutex<u64>,
        table: RwLock<[u64; 4]>,
        turn: (Mutex<usize>, Condvar),
    }
    let all = Arc::new(All::default());
    let (barrier, permits) = (Arc::new(Barrier::new(THREADS)), Arc::new(Semaphore::new(3)));
    let inside = Arc::new(AtomicI64::new(0));
    let rounds = 1 + random.below(20);
    let joins: Vec<_> = (0..THREADS)
        .map(|me| {
            let (all, barrier, permits, inside) = (all.clone(), barrier.clone(), permits.clone(), inside.clone());
            either(&mut random, move || {
                for _ in 0..rounds {
                    *all.count.lock().unwrap() += 1;
                    all.table.write().unwrap().iter_mut().for_each(|cell| *cell += 1);
                    let table = *all.table.read().unwrap();
                    assert!(table.iter().all(|cell| *cell == table[0]), "{table:?}");
                    let permit = permits.acquire();
                    assert!((1..=3).contains(&(inside.fetch_add(1, Ordering::SeqCst) + 1)));
                    green::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                    // In turn, round and round.
                    let (turn, changed) = &all.turn;
                    let mut turn = changed.wait_while(turn.lock().unwrap(), |turn| *turn != me).unwrap();
                    *turn = (me + 1) % THREADS;
                    drop(turn);
                    changed.notify_all();
                }
                barrier.wait();
            })
        })
        .collect();
    joins.into_iter().for_each(|join| join());
    assert_eq!(*all.count.lock().unwrap(), THREADS as u64 * rounds);
    assert_eq!(all.table.read().unwrap()[0], THREADS as u64 * rounds);
}

/// Many senders, many receivers, every flavour: each message comes once, those of one sender in order.
fn channels(mut random: Random) {
    let (sender, receiver) = match random.below(4) {
        0 => channel::unbounded(),
        n => channel::bounded([0, 1, 7][n as usize - 1]),
    };
    let (senders, receivers, each) = (1 + random.below(5), 1 + random.below(4), random.below(300));
    let sum = Arc::new(AtomicU64::new(0));
    let mut joins = Vec::new();
    for me in 0..senders {
        let sender = sender.clone();
        joins.push(either(&mut random, move || (0..each).for_each(|n| sender.send((me, n)).unwrap())));
    }
    for _ in 0..receivers {
        let (receiver, sum) = (receiver.clone(), sum.clone());
        joins.push(either(&mut random, move || {
            let mut last = vec![None; senders as usize];
            for (from, n) in receiver {
                assert!(last[from as usize].replace(n) < Some(n));
                sum.fetch_add(n + 1, Ordering::Relaxed);
            }
        }));
    }
    drop((sender, receiver));
    joins.into_iter().for_each(|join| join());
    assert_eq!(sum.load(Ordering::Relaxed), senders * each * (each + 1) / 2);
}

/// Selects that send and receive on the same channels, with time-outs.
fn selects(mut random: Random) {
    let (first, first_out) = channel::bounded(random.below(3) as usize);
    let (second, second_out) = channel::bounded(random.below(3) as usize);
    let each = random.below(200);
    let (sent, received) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let senders: Vec<_> = (0..3)
        .map(|_| {
            let (first, second, sent) = (first.clone(), second.clone(), sent.clone());
            green::spawn(move || {
                for n in 0..each {
                    select! {
                        send(first, n) -> done => done.unwrap(),
                        send(second, n) -> done => done.unwrap(),
                        default(micros(200)) => continue,
                    }
                    sent.fetch_add(n + 1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let receivers: Vec<_> = (0..2)
        .map(|_| {
            let (mut first, mut second, received) = (first_out.clone(), second_out.clone(), received.clone());
            green::spawn(move || {
                let mut open = 2;
                while open > 0 {
                    let (value, from) = select! {
                        recv(first) -> value => (value, &mut first),
                        recv(second) -> value => (value, &mut second),
                    };
                    match value {
                        Ok(n) => _ = received.fetch_add(n + 1, Ordering::Relaxed),
                        Err(_) => (*from, open) = (channel::never(), open - 1),
                    }
                }
            })
        })
        .collect();
    drop((first, second, first_out, second_out));
    senders.into_iter().chain(receivers).for_each(|thread| thread.join().unwrap());
    assert_eq!(sent.load(Ordering::Relaxed), received.load(Ordering::Relaxed));
}

/// No sleep ends early, no timer is lost.
fn timers(mut random: Random) {
    let sleepers: Vec<_> = (0..100)
        .map(|_| {
            let d = micros(random.below(5000));
            green::spawn(move || {
                let start = Instant::now();
                green::sleep(d);
                assert!(start.elapsed() >= d);
            })
        })
        .collect();
    let after = channel::after(micros(random.below(3000)));
    let mut interval = green::time::interval(micros(100 + random.below(500)));
    (0..5).for_each(|_| _ = interval.tick());
    after.recv().unwrap();
    sleepers.into_iter().for_each(|thread| thread.join().unwrap());
}
