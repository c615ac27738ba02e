//! How many instructions an operation takes, with the flight recorder off, with what is rare, and with every event: as `valgrind --tool=callgrind` counts them, which
//! says the same each time. One worker. What is printed is the table of `src/flight/PROTOCOL.md`.
//!
//! `cargo bench -p green-benches --bench instructions [yield|beside|channels|echo|spawn|spawns|scope|lock|tell|runs|ask|create]`
//!
//! It fails if a yield takes 3 % more with every event, or anything 3 % more with what is rare, which is the default, or where the worker is watched for stalls; if an event takes more than it may; if threads pay for
//! another's [`on_switch`](green::thread::Builder::on_switch); and on x86_64 if anything takes 4 % more than is written down here: whoever makes it dearer says so in this
//! file, and why. (Another compiler may count otherwise.)
#![allow(missing_docs)]

use std::io::{Read, Write};
use std::process::{Command, ExitCode};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use green::Runtime;
use green::actor::{Actor, Context, Handler, Message};
use green::os::unix::net::UnixStream;
use green::recorder::Detail;
use green::sync::Mutex;

/// So much more at most, by the rule of `src/flight/PROTOCOL.md`. A yield also with every event: another loop of the worker, in which it is none.
const MOST: f64 = 1.03;
/// Of one event, by a round trip over two channels, which has six, with the choices of ways that they cost. It may take 15 ns.
const MOST_AN_EVENT: f64 = 36.0;
const EVENTS: f64 = 6.0;
/// What a thread pays for calls that another has asked for: nothing. What is counted twice differs by so much.
const NOTHING: f64 = 0.5;
/// And so much more than it took when that was written down.
const MOST_GROWTH: f64 = 1.04;
/// Does one operation so many times; what each count costs alike (a process, a runtime) is in both, and is taken out.
const FEW: u64 = 10_000;
const MANY: u64 = 30_000;

#[derive(Default)]
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

/// Of a kind of its own, as what is told in two places is compiled otherwise.
struct Each;
impl Actor for Each {}
struct One;
impl Message for One {
    type Reply = ();
}
impl Handler<One> for Each {
    fn handle(&mut self, _: One, _: &mut Context<Self>) {
        SUM.fetch_add(1, Relaxed);
    }
}
static SUM: AtomicU64 = AtomicU64::new(0);

fn yields(n: u64) {
    green::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..n / 2).for_each(|_| green::yield_now()));
        }
    });
}

/// While a thread waits that has asked to be called when it goes on and suspends.
fn yields_beside(n: u64) {
    let waits = green::thread::Builder::new().on_switch((|| (), || ())).spawn(green::thread::park).expect("a thread");
    green::yield_now();
    yields(n);
    waits.thread().unpark();
    waits.join().expect("it does not panic");
}

fn round_trips(n: u64) {
    let (to, from_us) = green::channel::bounded::<u64>(1);
    let (answer, answers) = green::channel::bounded::<u64>(1);
    let echo = green::spawn(move || from_us.iter().all(|value| answer.send(value).is_ok()));
    for value in 0..n {
        to.send(value).expect("it receives");
        assert_eq!(answers.recv(), Ok(value));
    }
    drop(to);
    echo.join().expect("it does not panic");
}

/// A server and its client in one runtime, over a Unix socket: of each request and its answer, what is done outside the system calls.
fn echoes(n: u64) {
    let (mut near, mut far) = UnixStream::pair().expect("a pair");
    let server = green::spawn(move || {
        let mut request = [0; 64];
        while far.read(&mut request).is_ok_and(|len| len == 64) {
            far.write_all(&request).expect("it reads");
        }
    });
    let mut answer = [0; 64];
    for value in 0..n {
        near.write_all(&[value as u8; 64]).expect("it reads");
        near.read_exact(&mut answer).expect("it answers");
        assert_eq!(answer, [value as u8; 64]);
    }
    drop(near);
    server.join().expect("it does not panic");
}

fn spawn(n: u64) {
    (0..n).for_each(|value| assert_eq!(green::spawn(move || value).join().ok(), Some(value)));
}

fn spawns(n: u64) {
    for _ in 0..n / 100 {
        let threads: Vec<_> = (0..100).map(|value| green::spawn(move || value)).collect();
        threads.into_iter().zip(0..).for_each(|(thread, value)| assert_eq!(thread.join().ok(), Some(value)));
    }
}

fn scoped(n: u64) {
    for _ in 0..n / 100 {
        green::scope(|scope| (0..100).for_each(|_| drop(scope.spawn(|| ()))));
    }
}

fn locks(n: u64) {
    let mutex = Mutex::new(0);
    (0..n).for_each(|_| *mutex.lock().expect("nobody panics") += 1);
    assert_eq!(mutex.into_inner().ok(), Some(n));
}

fn tells(n: u64) {
    let counter = Counter::default().start();
    for _ in 0..n / 100 {
        (0..100).for_each(|_| counter.tell(Add(1)).expect("it lives"));
        green::yield_now();
    }
    assert_eq!(counter.send(Get).ok(), Some(n));
}

fn runs(n: u64) {
    let each: Vec<_> = (0..100).map(|_| Each.start()).collect();
    SUM.store(0, Relaxed);
    for _ in 0..n / 100 {
        each.iter().for_each(|each| each.tell(One).expect("it lives"));
        green::yield_now();
    }
    assert_eq!(SUM.load(Relaxed), n);
}

fn asks(n: u64) {
    let counter = Counter::default().start();
    (0..n).for_each(|_| assert_eq!(counter.send(Get).ok(), Some(0)));
}

fn creates(n: u64) {
    for _ in 0..n {
        let counter = Counter::default().start();
        counter.stop();
        counter.join();
    }
}

struct Operation {
    name: &'static str,
    what: &'static str,
    times: fn(u64),
    /// What it took when this was written, with what is rare.
    took: f64,
}

const OPERATIONS: [Operation; 12] = [
    Operation { name: "yield", what: "yield, two threads in turn", times: yields, took: 131.0 },
    Operation {
        name: "beside",
        what: "the same, beside one with calls at switches",
        times: yields_beside,
        took: 131.1,
    },
    Operation { name: "channels", what: "round trip over two channels", times: round_trips, took: 614.9 },
    Operation { name: "echo", what: "request and answer over a socket", times: echoes, took: 5054.0 },
    Operation { name: "spawn", what: "spawn and join, one at a time", times: spawn, took: 615.9 },
    Operation { name: "spawns", what: "the same, a hundred at a time", times: spawns, took: 652.9 },
    Operation { name: "scope", what: "in a scope, a hundred at a time", times: scoped, took: 626.8 },
    Operation { name: "lock", what: "lock and unlock", times: locks, took: 38.3 },
    Operation { name: "tell", what: "tell", times: tells, took: 172.3 },
    Operation { name: "runs", what: "tell, to another actor each time", times: runs, took: 469.3 },
    Operation { name: "ask", what: "ask and answer", times: asks, took: 679.5 },
    Operation { name: "create", what: "start an actor, stop and join it", times: creates, took: 3332.9 },
];

const DETAILS: [Detail; 3] = [Detail::Off, Detail::Rare, Detail::All];

/// In how many ms a stall is one, where workers are watched: as by default.
const WATCHED: u64 = 20;
/// The monitor's OS thread is not counted: it does what it does by time, whatever the workers do. The function is where that thread begins.
const MONITOR: &str = "green::sched::monitor::watch";

/// The program that is counted. `limit_ms`: for stalls; 0: the workers are not watched.
fn does(operation: &Operation, detail: Detail, limit_ms: u64, count: u64) {
    let builder = Runtime::builder().workers(1).recorder(detail).stall_limit(Duration::from_millis(limit_ms));
    let runtime = builder.build().expect("a runtime");
    runtime.run(|| (operation.times)(count));
}

/// Instructions for each of so many.
fn counted(operation: &Operation, detail: Detail, limit_ms: u64) -> f64 {
    let total = |count: u64| {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        valgrind.arg(format!("--toggle-collect={MONITOR}")).arg("--collect-atstart=yes");
        valgrind.arg(std::env::current_exe().expect("a path")).args(["does", operation.name]);
        let output = valgrind
            .args([detail.to_string(), limit_ms.to_string(), count.to_string()])
            .output()
            .expect("valgrind is installed");
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.lines().find_map(|line| line.split_once("Collected :"));
        let total = line.and_then(|(_, number)| number.trim().parse::<u64>().ok());
        total.filter(|_| output.status.success()).unwrap_or_else(|| panic!("{text}"))
    };
    (total(MANY) - total(FEW)) as f64 / (MANY - FEW) as f64
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let named = |name: &str| OPERATIONS.iter().find(|operation| operation.name == name);
    if let [does_it, name, detail, limit_ms, count] = &args[..]
        && does_it == "does"
    {
        let detail = DETAILS.into_iter().find(|known| known.to_string() == *detail).expect("a detail");
        let (limit_ms, count) = (limit_ms.parse().expect("a limit"), count.parse().expect("a count"));
        does(named(name).expect("an operation"), detail, limit_ms, count);
        return ExitCode::SUCCESS;
    }
    // A smoke run counts nothing.
    if args.iter().any(|arg| arg == "--test") {
        OPERATIONS.iter().for_each(|operation| does(operation, Detail::All, WATCHED, 100));
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = args.iter().find(|arg| named(arg).is_none()) {
        eprintln!("there is no operation {unknown:?}; there are {:?}", OPERATIONS.map(|operation| operation.name));
        return ExitCode::FAILURE;
    }
    println!("| instructions | off | rare | | all | |\n| --- | --- | --- | --- | --- | --- |");
    let (mut keeps_the_rules, mut alone) = (true, None);
    for operation in
        OPERATIONS.iter().filter(|operation| args.is_empty() || args.iter().any(|arg| arg == operation.name))
    {
        let [off, rare, all] = DETAILS.map(|detail| counted(operation, detail, 0));
        let more = |than_off: f64| format!("{:+.1} %", (than_off / off - 1.0) * 100.0);
        println!("| {} | {off:.1} | {rare:.1} | {} | {all:.1} | {} |", operation.what, more(rare), more(all));
        keeps_the_rules &= rare <= off * MOST && (!["yield", "beside"].contains(&operation.name) || all <= off * MOST);
        if ["yield", "echo"].contains(&operation.name) {
            let watched = counted(operation, Detail::Off, WATCHED);
            println!("| its worker watched for stalls | {off:.1} | {watched:.1} | {} | | |", more(watched));
            keeps_the_rules &= watched <= off * MOST;
        }
        match operation.name {
            "yield" => alone = Some(off),
            "beside" => {
                let alone = alone.unwrap_or_else(|| counted(named("yield").expect("it is one"), Detail::Off, 0));
                keeps_the_rules &= off <= alone + NOTHING;
            }
            "channels" => {
                let an_event = (all - off) / EVENTS;
                println!("| of it, an event | | | | {an_event:.1} | |");
                keeps_the_rules &= an_event <= MOST_AN_EVENT;
            }
            _ => (),
        }
        if cfg!(target_arch = "x86_64") && rare > operation.took * MOST_GROWTH {
            println!("\n{}: {rare:.1}, and it was {}", operation.what, operation.took);
            keeps_the_rules = false;
        }
    }
    if keeps_the_rules { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
