//! How many 64-byte echo requests a second, at what latency and for how much of the server's CPU time?
//!
//! The servers (green, tokio; two workers each) run in a process of their own and are measured in turn, round after
//! round; the load comes from this process. The last lines are medians and the ratio of green to tokio.
//!
//! ```text
//! cargo bench -p green-benches --bench echo -- [--connections 64,1000] [--rounds 5] [--seconds 2] [--threads 1] [--servers green,tokio]
//! ```
//!
//! `green-off` and `green-all` are green without its flight recorder, and with every event recorded: `--servers green,green-off`.
//!
//! A server whose name has a `/` is a program of somebody else's that prints its address and echoes.
#![allow(missing_docs, unreachable_pub)]

mod load;
mod server;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use load::Load;

struct Settings {
    connections: Vec<usize>,
    rounds: usize,
    seconds: f64,
    threads: usize,
    servers: Vec<String>,
}

/// One server under one load.
#[derive(Clone, Copy)]
struct Outcome {
    requests_per_s: f64,
    cpu_us: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [role, name] = &args[..]
        && role == "serve"
    {
        return server::serve(name);
    }
    // `cargo test --benches` only wants to know that it runs.
    let quick = !args.iter().any(|arg| arg == "--bench");
    let settings = Settings {
        connections: list(&args, "--connections", if quick { "8" } else { "64,1000" }, |n| {
            n.parse().expect("a number")
        }),
        rounds: list(&args, "--rounds", if quick { "1" } else { "5" }, |n| n.parse().expect("a number"))[0],
        seconds: list(&args, "--seconds", if quick { "0.2" } else { "2" }, |n| n.parse().expect("a number"))[0],
        threads: list(&args, "--threads", "1", |n| n.parse().expect("a number"))[0],
        servers: list(&args, "--servers", "green,tokio", str::to_owned),
    };
    for &connections in &settings.connections {
        compare(&settings, connections);
    }
}

fn list<T>(args: &[String], name: &str, default: &str, parse: impl Fn(&str) -> T) -> Vec<T> {
    let value = args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    value.map_or(default, String::as_str).split(',').map(parse).collect()
}

fn compare(settings: &Settings, connections: usize) {
    println!("{connections} connections");
    let mut outcomes: Vec<Vec<Outcome>> = vec![Vec::new(); settings.servers.len()];
    for round in 0..settings.rounds {
        for (at, name) in settings.servers.iter().enumerate() {
            let outcome = measure(settings, name, connections);
            print(&format!("  {name} {round}"), outcome);
            outcomes[at].push(outcome);
        }
    }
    let medians: Vec<Outcome> = outcomes.iter().map(|outcomes| median(outcomes)).collect();
    for (name, outcome) in settings.servers.iter().zip(&medians) {
        print(&format!("{name}, median"), *outcome);
    }
    if let [first, second] = medians[..] {
        println!(
            "{} to {}: requests {:.2}, cpu {:.2}, p50 {:.2}, p99 {:.2}",
            settings.servers[0],
            settings.servers[1],
            first.requests_per_s / second.requests_per_s,
            first.cpu_us / second.cpu_us,
            first.p50_us / second.p50_us,
            first.p99_us / second.p99_us,
        );
    }
}

fn print(what: &str, outcome: Outcome) {
    println!(
        "{what:<16} {:>9.0} requests/s   cpu {:>6.2} µs/request   p50 {:>7.0} µs   p99 {:>7.0} µs   p99.9 {:>7.0} µs",
        outcome.requests_per_s, outcome.cpu_us, outcome.p50_us, outcome.p99_us, outcome.p999_us
    );
}

fn median(outcomes: &[Outcome]) -> Outcome {
    let of = |part: fn(&Outcome) -> f64| {
        let mut values: Vec<f64> = outcomes.iter().map(part).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Outcome {
        requests_per_s: of(|o| o.requests_per_s),
        cpu_us: of(|o| o.cpu_us),
        p50_us: of(|o| o.p50_us),
        p99_us: of(|o| o.p99_us),
        p999_us: of(|o| o.p999_us),
    }
}

fn measure(settings: &Settings, name: &str, connections: usize) -> Outcome {
    let (mut server, addr) = start(name);
    let mut load = Load::connect(addr, connections, settings.threads);
    load.run(Duration::from_secs_f64(settings.seconds / 4.0));
    let before = cpu_time(&server);
    let (histogram, elapsed) = load.run(Duration::from_secs_f64(settings.seconds));
    let cpu = cpu_time(&server) - before;
    drop(load);
    server.kill().expect("the server runs");
    server.wait().expect("it was killed");
    let micros = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    Outcome {
        requests_per_s: histogram.len() as f64 / elapsed.as_secs_f64(),
        cpu_us: cpu.as_secs_f64() * 1e6 / histogram.len() as f64,
        p50_us: micros(0.5),
        p99_us: micros(0.99),
        p999_us: micros(0.999),
    }
}

fn start(name: &str) -> (Child, SocketAddr) {
    let program = if name.contains('/') { name.into() } else { std::env::current_exe().expect("it is running") };
    let mut server =
        Command::new(program).args(["serve", name]).stdout(Stdio::piped()).spawn().expect("the server starts");
    let mut line = String::new();
    BufReader::new(server.stdout.take().expect("it is piped")).read_line(&mut line).expect("an address");
    (server, line.trim().parse().expect("an address"))
}

/// What all threads of the server have used so far.
fn cpu_time(server: &Child) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.id())).expect("the server runs");
    let of = |task: std::fs::DirEntry| -> Option<u64> {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    Duration::from_nanos(tasks.filter_map(|task| of(task.ok()?)).sum())
}
