//! The page, in Prometheus' text format: lines of a name, labels and a number.

use std::fmt::Write;
use std::time::Duration;

use green::actor::ActorMetrics;
use green::metrics::{Metrics, WorkerMetrics};

pub(crate) fn page(metrics: &Metrics, actors: &ActorMetrics) -> String {
    let mut page = String::new();
    let threads = &metrics.threads;
    family(&mut page, "green_threads", "gauge", "Green threads by state.");
    let states = [
        ("unstarted", threads.unstarted),
        ("running", threads.running),
        ("ready", threads.ready),
        ("parked", threads.parked),
    ];
    for (state, count) in states {
        line(&mut page, "green_threads", &format!("state=\"{state}\""), count as f64);
    }
    family(&mut page, "green_threads_live", "gauge", "Started, and not ended.");
    line(&mut page, "green_threads_live", "", threads.live as f64);
    let totals = [
        ("green_threads_spawned_total", threads.spawned),
        ("green_threads_ended_total", threads.ended),
        ("green_threads_panicked_total", threads.panicked),
        ("green_threads_cancelled_total", threads.cancelled),
    ];
    for (name, count) in totals {
        family(&mut page, name, "counter", "Since the beginning.");
        line(&mut page, name, "", count as f64);
    }
    type Field = (&'static str, &'static str, fn(&WorkerMetrics) -> f64);
    let of_workers: [Field; 14] = [
        ("green_worker_spare", "gauge", |worker| f64::from(worker.spare)),
        ("green_worker_busy", "gauge", |worker| worker.busy),
        ("green_worker_threads", "gauge", |worker| worker.live as f64),
        ("green_worker_ready", "gauge", |worker| worker.ready as f64),
        ("green_worker_started_total", "counter", |worker| worker.started as f64),
        ("green_worker_actor_runs_total", "counter", |worker| worker.actor_runs as f64),
        ("green_worker_stolen_total", "counter", |worker| worker.stolen as f64),
        ("green_worker_given_total", "counter", |worker| worker.given as f64),
        ("green_worker_woken_total", "counter", |worker| worker.woken as f64),
        ("green_worker_sleeps_total", "counter", |worker| worker.sleeps as f64),
        ("green_worker_polls_total", "counter", |worker| worker.polls as f64),
        ("green_worker_events_total", "counter", |worker| worker.events as f64),
        ("green_worker_timers_total", "counter", |worker| worker.timers as f64),
        ("green_worker_stalls_total", "counter", |worker| worker.stalls as f64),
    ];
    for (name, kind, value) in of_workers {
        family(&mut page, name, kind, "For each worker.");
        for (number, worker) in metrics.workers.iter().enumerate() {
            line(&mut page, name, &format!("worker=\"{number}\""), value(worker));
        }
    }
    delays(&mut page, &metrics.workers);
    family(&mut page, "green_spare_workers_total", "counter", "Started because all workers were stalled.");
    line(&mut page, "green_spare_workers_total", "", metrics.spare_workers as f64);
    let gauges = [
        ("green_blocking_threads", metrics.blocking.threads),
        ("green_blocking_idle", metrics.blocking.idle),
        ("green_blocking_queued", metrics.blocking.queued),
        ("green_stacks", metrics.stacks.claimed),
        ("green_stacks_most", metrics.stacks.most_claimed),
    ];
    for (name, count) in gauges {
        family(&mut page, name, "gauge", "Of the pool of OS threads; stacks of the process.");
        line(&mut page, name, "", count as f64);
    }
    family(&mut page, "green_stack_guards", "gauge", "How a guard page is made.");
    line(&mut page, "green_stack_guards", &format!("by=\"{}\"", metrics.stacks.guards), 1.0);
    of_actors(&mut page, actors);
    page
}

/// How many actors do what, and the longest queues.
fn of_actors(page: &mut String, actors: &ActorMetrics) {
    family(page, "green_actors", "gauge", "Actors by state.");
    let states = [
        ("starting", actors.starting),
        ("resting", actors.resting),
        ("working", actors.working),
        ("waiting", actors.waiting),
        ("restarting", actors.restarting),
    ];
    for (state, count) in states {
        line(page, "green_actors", &format!("state=\"{state}\""), count as f64);
    }
    family(page, "green_actors_queued", "gauge", "Messages in all mailboxes.");
    line(page, "green_actors_queued", "", actors.queued as f64);
    family(page, "green_actor_queue", "gauge", "Messages of the actors with the longest queues.");
    for actor in &actors.longest {
        let name = actor.name.as_deref().unwrap_or(actor.type_name);
        let labels = format!("actor=\"{}\",type=\"{}\",name=\"{}\"", actor.id, escaped(actor.type_name), escaped(name));
        line(page, "green_actor_queue", &labels, actor.queued as f64);
    }
}

/// In a label three characters have a meaning of their own, and no other may be escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// How long ready threads have waited for their turn: a histogram, as Prometheus has it.
fn delays(page: &mut String, workers: &[WorkerMetrics]) {
    let name = "green_delay_seconds";
    family(page, name, "histogram", "From ready to running, by samples.");
    for (number, worker) in workers.iter().enumerate() {
        let mut up_to = 0;
        for (bound, count) in worker.delays.counts() {
            up_to += count;
            let bound = if bound == Duration::MAX { "+Inf".to_owned() } else { bound.as_secs_f64().to_string() };
            line(page, &format!("{name}_bucket"), &format!("worker=\"{number}\",le=\"{bound}\""), up_to as f64);
        }
        let sum = worker.delays.sum().as_secs_f64();
        line(page, &format!("{name}_sum"), &format!("worker=\"{number}\""), sum);
        line(page, &format!("{name}_count"), &format!("worker=\"{number}\""), up_to as f64);
    }
}

fn family(page: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(page: &mut String, name: &str, labels: &str, value: f64) {
    let _ = match labels {
        "" => writeln!(page, "{name} {value}"),
        _ => writeln!(page, "{name}{{{labels}}} {value}"),
    };
}
