//! Random programs of channels and selects. Alone on its thread a program does exactly what crossbeam-channel does with it;
//! several at once lose no message, double none, and keep each sender's in order. A failure prints the smallest program that
//! fails; `PROPTEST_CASES` runs more of them.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::time::Duration;

use help::{bounded, cases, runtime};
use proptest::prelude::*;

const CHANNELS: usize = 3;

/// What one case of a select is: a place among the channels, and a direction.
type Case = (usize, bool);

#[derive(Clone, Debug)]
enum Op {
    TrySend(usize),
    TryRecv(usize),
    /// A select with a default; both libraries may choose any case that is ready, so at most one may be.
    Select(Vec<Case>),
    DropSender(usize),
    DropReceiver(usize),
    Look(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let at = 0..CHANNELS;
    prop_oneof![
        6 => at.clone().prop_map(Op::TrySend),
        5 => at.clone().prop_map(Op::TryRecv),
        6 => prop::collection::vec((at.clone(), any::<bool>()), 0..5).prop_map(Op::Select),
        1 => at.clone().prop_map(Op::DropSender),
        1 => at.clone().prop_map(Op::DropReceiver),
        3 => at.prop_map(Op::Look),
    ]
}

/// `None`: unbounded.
fn capacity() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![Just(Some(0)), Just(Some(1)), Just(Some(3)), Just(None)]
}

/// The same program over one of the two libraries: what each step answers, in words.
macro_rules! transcript {
    ($library:ident, $capacities:expr, $program:expr) => {{
        let make = |capacity: &Option<usize>| match capacity {
            Some(n) => $library::bounded::<u32>(*n),
            None => $library::unbounded::<u32>(),
        };
        let (mut senders, mut receivers): (Vec<_>, Vec<_>) =
            $capacities.iter().map(make).map(|(sender, receiver)| (Some(sender), Some(receiver))).unzip();
        let mut said = Vec::new();
        for (n, op) in $program.iter().enumerate() {
            let n = n as u32;
            said.push(match op {
                Op::TrySend(at) => format!("{:?}", senders[*at].as_ref().map(|sender| sender.try_send(n))),
                Op::TryRecv(at) => format!("{:?}", receivers[*at].as_ref().map(|receiver| receiver.try_recv())),
                Op::DropSender(at) => format!("{}", senders[*at].take().is_some()),
                Op::DropReceiver(at) => format!("{}", receivers[*at].take().is_some()),
                // Messages that nobody can receive any more are dropped here; crossbeam's bounded channels go on counting them.
                Op::Look(at) if receivers[*at].is_none() => format!("{:?}", senders[*at].as_ref().map(|s| s.capacity())),
                Op::Look(at) => {
                    let of_sender = senders[*at].as_ref().map(|s| (s.len(), s.is_empty(), s.is_full(), s.capacity()));
                    let of_receiver = receivers[*at].as_ref().map(|r| (r.len(), r.is_empty(), r.is_full(), r.capacity()));
                    format!("{of_sender:?} {of_receiver:?}")
                }
                Op::Select(cases) => {
                    // Of several that are ready the libraries choose by chance: the first of them alone is offered.
                    let ready = |(at, sends): &&Case| match (sends, &senders[*at], &receivers[*at]) {
                        // Without a receiver a send is ready: it fails. Nobody else runs, so a rendezvous is never ready.
                        (true, Some(sender), other) => {
                            other.is_none() || sender.capacity() != Some(0) && !sender.is_full()
                        }
                        (false, other, Some(receiver)) => other.is_none() || !receiver.is_empty(),
                        _ => false,
                    };
                    let first = cases.iter().find(ready).copied();
                    let offered = cases.iter().filter(|case| first == Some(**case) || !ready(case)).take(8);
                    let mut select = $library::Select::new();
                    let mut indices = Vec::new();
                    for case in offered {
                        match (case, &senders[case.0], &receivers[case.0]) {
                            ((_, true), Some(sender), _) => _ = select.send(sender),
                            ((_, false), _, Some(receiver)) => _ = select.recv(receiver),
                            _ => continue,
                        }
                        indices.push(*case);
                    }
                    match select.try_select() {
                        Err(_) => "nothing ready".to_owned(),
                        Ok(operation) => match indices[operation.index()] {
                            (at, true) => format!("{at} {:?}", operation.send(senders[at].as_ref().unwrap(), n)),
                            (at, false) => format!("{at} {:?}", operation.recv(receivers[at].as_ref().unwrap())),
                        },
                    }
                }
            });
        }
        said
    }};
}

fn compare(capacities: &[Option<usize>], program: &[Op]) {
    use green::channel as green_channel;
    let ours = transcript!(green_channel, capacities, program);
    let theirs = transcript!(crossbeam_channel, capacities, program);
    assert_eq!(ours, theirs);
}

/// What one thread of a program with several does: cases of one select for each round.
type Script = Vec<(Vec<Case>, bool)>;

/// All threads at once; what was sent is what was received or is left, in the order of each sender.
fn run_together(capacities: &[Option<usize>], scripts: &[Script]) {
    use green::channel::{Select, bounded, unbounded};
    let channels: Vec<_> = capacities.iter().map(|capacity| capacity.map_or_else(unbounded, bounded)).collect();
    let threads: Vec<_> = scripts
        .iter()
        .cloned()
        .enumerate()
        .map(|(me, script)| {
            let channels = channels.clone();
            green::spawn(move || {
                let (mut sent, mut received) = (vec![Vec::new(); CHANNELS], vec![Vec::new(); CHANNELS]);
                for (n, (cases, patient)) in script.iter().enumerate() {
                    let mut select = Select::new();
                    for (at, sends) in cases {
                        if *sends {
                            select.send(&channels[*at].0)
                        } else {
                            select.recv(&channels[*at].1)
                        };
                    }
                    let wait = Duration::from_micros(if *patient { 300 } else { 0 });
                    let Ok(operation) = select.select_timeout(wait) else { continue };
                    let (at, sends) = cases[operation.index()];
                    let message = (me, n);
                    if sends {
                        operation.send(&channels[at].0, message).unwrap();
                        sent[at].push(message);
                    } else {
                        received[at].push(operation.recv(&channels[at].1).unwrap());
                    }
                }
                (sent, received)
            })
        })
        .collect();
    let done: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    for (at, (_, receiver)) in channels.iter().enumerate() {
        let left: Vec<_> = receiver.try_iter().collect();
        for (_, received) in &done {
            for sender in 0..scripts.len() {
                let own: Vec<_> = received[at].iter().chain(&left).filter(|(from, _)| *from == sender).collect();
                assert!(own.is_sorted(), "channel {at}, sender {sender}: {own:?}");
            }
        }
        let mut sent: Vec<_> = done.iter().flat_map(|(sent, _)| &sent[at]).copied().collect();
        let mut received: Vec<_> = done.iter().flat_map(|(_, received)| &received[at]).copied().chain(left).collect();
        sent.sort_unstable();
        received.sort_unstable();
        assert_eq!(sent, received, "channel {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(300), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_program_alone_does_what_crossbeams_channels_do(
        capacities in prop::collection::vec(capacity(), CHANNELS),
        program in prop::collection::vec(op(), 0..80),
        green_thread in any::<bool>(),
    ) {
        if green_thread {
            bounded(move || runtime(1).run(move || compare(&capacities, &program)));
        } else {
            compare(&capacities, &program);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(100), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn selects_at_once_lose_nothing_and_keep_the_order(
        capacities in prop::collection::vec(capacity(), CHANNELS),
        scripts in prop::collection::vec(
            prop::collection::vec((prop::collection::vec((0..CHANNELS, any::<bool>()), 1..5), any::<bool>()), 0..40),
            1..6,
        ),
        workers in 1..4_usize,
    ) {
        bounded(move || runtime(workers).run(move || run_together(&capacities, &scripts)));
    }
}
