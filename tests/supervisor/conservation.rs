//! Nothing is lost in silence: what is told to trees that die, restart and end at random, or asked of them, is handled, or comes back, or is a dead letter, or its caller is told
//! that there is no reply.

use std::any::type_name;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use green::Runtime;
use green::actor::{
    Actor, Backoff, Builder, ByKey, Child, Context, DeadLetter, Exit, Handler, Keyed, Machine, Mailbox, Message, On,
    Pending, Pool, Recipient, Restart, SendError, StateMachine, Step, Supervisor, SupervisorAddr, dead_letters,
};

use crate::help::{Random, bounded, builder, cases, first_seed, until};

const MS: Duration = Duration::from_millis(1);

#[derive(Default, Debug)]
struct Counts {
    made: AtomicU64,
    handled: AtomicU64,
    returned: AtomicU64,
    dropped: AtomicU64,
    /// Those of the dropped whose callers were told.
    answered: AtomicU64,
}

/// What has become of a message, of which its caller may have been told that there is no reply.
#[derive(Default)]
struct Fate {
    is_dropped: AtomicBool,
}

/// A message that is counted, whatever becomes of it; the number says what its handler does.
struct Told {
    counts: Arc<Counts>,
    number: u64,
    is_done: bool,
    fate: Arc<Fate>,
}

impl Told {
    fn new(counts: &Arc<Counts>, number: u64) -> Self {
        counts.made.fetch_add(1, Ordering::Relaxed);
        Self { counts: Arc::clone(counts), number, is_done: false, fate: Arc::default() }
    }

    fn is_handled(&mut self) {
        self.is_done = true;
        self.counts.handled.fetch_add(1, Ordering::Relaxed);
    }

    fn comes_back(mut self) {
        self.is_done = true;
        self.counts.returned.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if !self.is_done {
            self.fate.is_dropped.store(true, Ordering::SeqCst);
            self.counts.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Message for Told {
    type Reply = ();
}

impl Keyed for Told {
    type Key = u64;

    fn key(&self) -> u64 {
        self.number / 7
    }
}

/// The same for an adapter.
struct Mapped(Told);
impl Message for Mapped {
    type Reply = ();
}

#[derive(Default)]
struct Hand {
    next: Option<Recipient<Told>>,
}

struct Tick;
impl Message for Tick {
    type Reply = ();
}

impl Actor for Hand {
    const MAILBOX: Mailbox = Mailbox::bounded(5);

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
        ctx.interval(5 * MS, || Tick);
        Ok(())
    }
}

impl Handler<Tick> for Hand {
    fn handle(&mut self, _: Tick, ctx: &mut Context<Self>) {
        ctx.unstash();
    }
}

impl Handler<Told> for Hand {
    fn handle(&mut self, mut told: Told, ctx: &mut Context<Self>) {
        let does = told.number % 101;
        // Not the same again.
        told.number = told.number.wrapping_add(53);
        let passed = match (does, &self.next) {
            (3..=8, _) => ctx.stash(told),
            (9..=12, _) => ctx.notify(told),
            (13..=16, Some(next)) => ctx.forward(next, told),
            _ => {
                told.is_handled();
                Ok(())
            }
        };
        if let Err(error) = passed {
            error.into_message().unwrap().comes_back();
        }
        match does {
            0 => std::panic::resume_unwind(Box::new("as told")),
            1 => ctx.fail("as told"),
            2 => ctx.stop(),
            17 => green::sleep(MS),
            18 => green::sleep(20 * MS),
            19 => ctx.addr().kill(),
            20 => ctx.addr().stop(),
            _ => {}
        }
    }
}

struct Turnstile;
impl StateMachine for Turnstile {
    type State = u8;
    const POSTPONED: usize = 3;
    const MAILBOX: Mailbox = Mailbox::bounded(6);

    fn enter(&mut self, _: &u8, _: &mut Context<Machine<Self>>) -> Option<Duration> {
        Some(MS)
    }

    fn timed_out(&mut self, state: &u8, _: &mut Context<Machine<Self>>) -> u8 {
        (state + 1) % 3
    }
}

impl On<Told> for Turnstile {
    fn on(&mut self, state: &u8, mut told: Told, ctx: &mut Context<Machine<Self>>) -> Step<u8, Told> {
        if *state == 0 {
            return Step::Postpone(told);
        }
        told.is_handled();
        match told.number % 97 {
            0 => std::panic::resume_unwind(Box::new("as told")),
            1 => ctx.stop(),
            _ => {}
        }
        if told.number.is_multiple_of(5) { Step::Go((state + 1) % 3, ()) } else { Step::Stay(()) }
    }
}

fn supervisor(kind: u64) -> Supervisor {
    let supervisor = match kind {
        0 => Supervisor::one_for_one(),
        1 => Supervisor::one_for_all(),
        2 => Supervisor::rest_for_one(),
        _ => Supervisor::dynamic(),
    };
    let backoff = Backoff::exponential(Duration::ZERO..=3 * MS).jitter(0.5);
    supervisor.backoff(backoff).intensity(if kind == 1 { 20 } else { u32::MAX }, Duration::from_secs(3600))
}

/// A tree, and recipients in it and beside it.
fn plant(random: &mut Random) -> (SupervisorAddr, Vec<Recipient<Told>>) {
    let inner = random.below(3);
    let hand = |name: &str| Child::new(name, Hand::default);
    let middle =
        move || supervisor(inner).child(hand("b")).child(hand("c").restart(Restart::Transient).shutdown(2 * MS));
    let pool = || Pool::shared(3, Hand::default).backoff(Backoff::none()).intensity(u32::MAX, MS);
    let keyed = || Pool::by_key(3, Hand::default).backoff(Backoff::none()).intensity(10, MS);
    let sup = supervisor(random.below(3))
        .child(hand("a"))
        .child(Child::supervisor("middle", middle))
        .child(Child::pool("pool", pool))
        .child(Child::pool("keyed", keyed))
        .child(Child::new("machine", || Machine::new(0, Turnstile)))
        .child(Child::supervisor("many", || supervisor(3)))
        .start()
        .unwrap();
    let a = sup.get::<Hand>("a").unwrap().recipient();
    let middle = sup.supervisor("middle").unwrap();
    let mut all = vec![
        a.clone(),
        middle.get::<Hand>("b").unwrap().recipient(),
        middle.get::<Hand>("c").unwrap().recipient(),
        sup.get::<Pool<Hand>>("pool").unwrap().recipient(),
        sup.get::<Pool<Hand, ByKey>>("keyed").unwrap().recipient(),
        sup.get::<Machine<Turnstile>>("machine").unwrap().recipient(),
        Hand { next: Some(a.clone()) }.start().recipient(),
        a.map(|Mapped(told): Mapped| told).map(Mapped),
        Recipient::from_fn(|mut told: Told| told.is_handled()),
    ];
    let many = sup.supervisor("many").unwrap();
    for name in ["1", "2"] {
        let next = a.clone();
        let child = Child::new(name, move || Hand { next: Some(next.clone()) }).restart(Restart::Temporary);
        all.push(many.start_child(child).unwrap().recipient());
    }
    (sup, all)
}

/// Calls, and waits for the reply, or drops it, at once or later. Gives the fate of a message whose caller was told that there is none.
fn call(to: &Recipient<Told>, told: Told, random: &mut Random, later: &mut Vec<Pending<Told>>) -> Option<Arc<Fate>> {
    let fate = Arc::clone(&told.fate);
    let answer = match (to.try_call(told), random.below(4)) {
        (Ok(pending), 0) => pending.wait_timeout(random.below(20) as u32 * MS),
        (Ok(pending), 1) => pending.wait_timeout(200 * MS),
        (Ok(pending), 2) => {
            later.push(pending);
            Ok(())
        }
        (Ok(pending), _) => {
            drop(pending);
            Ok(())
        }
        (Err(error), _) => Err(error),
    };
    let error = answer.err()?;
    let is_told = matches!(error, SendError::Died(_) | SendError::NoReply);
    error.into_message().into_iter().for_each(Told::comes_back);
    is_told.then_some(fate)
}

/// Tells everybody something, and has some of them die. Gives the fates of messages whose callers were told that there is no reply.
fn disturb(
    sup: &SupervisorAddr,
    all: &[Recipient<Told>],
    counts: &Arc<Counts>,
    random: &mut Random,
    is_over: &AtomicBool,
) -> Vec<Arc<Fate>> {
    let (mut later, mut fates) = (Vec::new(), Vec::new());
    for _ in 0..300 {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        if random.below(3) == 0 && !later.is_empty() {
            drop(later.swap_remove(random.below(later.len() as u64) as usize));
        }
        let to = &all[random.below(all.len() as u64) as usize];
        let told = Told::new(counts, random.next());
        let sent = match random.below(5) {
            0 => to.try_tell(told),
            1 | 2 => {
                fates.extend(call(to, told, random, &mut later));
                Ok(())
            }
            more => to.tell_timeout(told, 10 * (more - 2) as u32 * MS),
        };
        if let Err(error) = sent {
            error.into_message().unwrap().comes_back();
        }
        match random.below(150) {
            0 => to.kill(),
            1 => to.stop(),
            2 => _ = sup.terminate("a").and_then(|()| sup.restart("a")),
            3 => _ = sup.terminate("pool").and_then(|()| sup.restart("pool")),
            4 => sup.supervisor("middle").iter().for_each(SupervisorAddr::kill),
            5 => sup.supervisor("middle").iter().for_each(|middle| _ = middle.shutdown(MS)),
            6 => sup.get::<Machine<Turnstile>>("machine").iter().for_each(|machine| _ = machine.shutdown(MS)),
            7 => sup.get::<Pool<Hand>>("pool").iter().for_each(green::actor::Addr::kill),
            _ => {}
        }
    }
    fates
}

fn program(seed: u64, lost: &AtomicU64) {
    let mut random = Random::new(seed);
    let (counts, is_over) = (Arc::<Counts>::default(), Arc::<AtomicBool>::default());
    let before = lost.load(Ordering::Relaxed);
    let runtime = builder().workers(1 + random.below(3) as usize).build().unwrap();
    let (sup, all) = {
        let mut random = random.fork();
        runtime.run(move || plant(&mut random))
    };
    let senders = [(); 3].map(|()| {
        let (sup, all, counts, is_over) = (sup.clone(), all.clone(), Arc::clone(&counts), Arc::clone(&is_over));
        let mut random = random.fork();
        std::thread::spawn(move || disturb(&sup, &all, &counts, &mut random, &is_over))
    });
    std::thread::sleep(Duration::from_millis(random.below(60)));
    let mut kept: Option<Runtime> = Some(runtime);
    match random.below(5) {
        0 => _ = sup.shutdown(Duration::from_millis(random.below(30))),
        1 => sup.kill(),
        2 => _ = kept.take().unwrap().shutdown(Duration::from_millis(random.below(100))),
        3 => drop(kept.take()),
        _ => {}
    }
    is_over.store(true, Ordering::Relaxed);
    let fates: Vec<_> = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
    drop((sup, all));
    kept.into_iter().for_each(|runtime| _ = runtime.shutdown(Duration::from_millis(random.below(50))));
    let [made, handled, returned, dropped] = [&counts.made, &counts.handled, &counts.returned, &counts.dropped];
    let settled = || [handled, returned, dropped].map(|count| count.load(Ordering::Relaxed)).iter().sum::<u64>();
    until(|| settled() == made.load(Ordering::Relaxed));
    let answered = fates.iter().filter(|fate| fate.is_dropped.load(Ordering::SeqCst)).count() as u64;
    counts.answered.store(answered, Ordering::Relaxed);
    let (told, dropped) = (|| lost.load(Ordering::Relaxed) - before, dropped.load(Ordering::Relaxed) - answered);
    until(|| told() >= dropped);
    assert_eq!(told(), dropped, "{counts:?}");
}

/// Counts the dead letters of this test; it has room for all of them.
struct Reader(Arc<AtomicU64>);
impl Actor for Reader {
    const MAILBOX: Mailbox = Mailbox::unbounded();
}
impl Handler<DeadLetter> for Reader {
    fn handle(&mut self, letter: DeadLetter, _: &mut Context<Self>) {
        if [type_name::<Told>(), type_name::<Mapped>()].contains(&letter.message) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn random_ends_lose_no_message_in_silence() {
    let lost = Arc::<AtomicU64>::default();
    let reader = Builder::new().start(Reader(Arc::clone(&lost))).unwrap();
    dead_letters().subscribe(&reader.recipient());
    let first = first_seed();
    for seed in first..first + u64::from(cases(16)) {
        println!("seed {seed}");
        let lost = Arc::clone(&lost);
        bounded(move || program(seed, &lost));
    }
}
