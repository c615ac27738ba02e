//! A program that forbids itself membarrier(2) when it has actors: they are listed all the same, or it is said that they are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use green::Runtime;
use green::actor::{Actor, Addr};

use crate::help::{forbid_membarrier, in_a_child, spin_until};
use crate::{Do, LONG, Puppet, hold};

/// An actor of a worker of that runtime: one that the worker enters in the roster.
fn start(runtime: &Runtime) -> Addr<Puppet> {
    let puppet = Puppet::new().0;
    let addr = runtime.run(|| puppet.start());
    addr.send(Do::new(|_, _| ())).unwrap();
    addr
}

/// Has the actor compute until it is to end.
fn compute(puppet: &Addr<Puppet>, ends: &Arc<AtomicBool>) {
    let (ends, begun) = (Arc::clone(ends), crate::Gate::new());
    let begins = begun.clone();
    puppet
        .tell(Do::new(move |_, _| {
            begins.open();
            while !ends.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        }))
        .unwrap();
    begun.wait();
}

#[test]
fn actors_are_listed_and_shut_down_when_membarrier_was_forbidden_after_they_started() {
    in_a_child(&[], || {
        let runtime = Runtime::builder().workers(2).build().unwrap();
        let (rests, waits, computes) = (start(&runtime), start(&runtime), start(&runtime));
        let (gate, ends) = (hold(&waits), Arc::new(AtomicBool::new(false)));
        compute(&computes, &ends);
        forbid_membarrier();
        let mut ids = [rests.id(), waits.id(), computes.id()];
        ids.sort();
        let listed = || runtime.actors().iter().map(|actor| actor.id).collect::<Vec<_>>();
        assert_eq!(listed(), ids, "by an OS thread");
        assert_eq!(runtime.run(|| green::actor::actors().len()), 3, "by a worker");
        // The one rests soon after its answer; the other looks now and then whether its gate is open.
        spin_until("one of each", || {
            let metrics = runtime.actor_metrics();
            (metrics.resting, metrics.waiting, metrics.working) == (1, 1, 1)
        });
        ends.store(true, Ordering::Relaxed);
        gate.open();
        let end = runtime.shutdown(LONG);
        assert_eq!((end.stopped, end.left), (3, 0), "{end}");
        assert!(rests.is_ended() && waits.is_ended() && computes.is_ended());
    })
    .assert_success();
}

/// Lists them while both workers start and end some: what is met is alive.
#[test]
fn one_that_stays_is_always_listed_without_membarrier_while_others_come_and_go() {
    in_a_child(&[], || {
        let runtime = Runtime::builder().workers(2).build().unwrap();
        let stays = start(&runtime);
        forbid_membarrier();
        let (over, made) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    runtime.run(|| {
                        while !over.load(Ordering::Relaxed) {
                            let comes = Puppet::new().0.start();
                            comes.send(Do::new(|_, _| ())).unwrap();
                            drop(comes);
                            made.fetch_add(1, Ordering::Relaxed);
                            green::yield_now();
                        }
                    });
                });
            }
            while made.load(Ordering::Relaxed) < 1000 {
                let listed = runtime.actors();
                assert_eq!(listed.iter().filter(|actor| actor.id == stays.id()).count(), 1);
            }
            over.store(true, Ordering::Relaxed);
        });
    })
    .assert_success();
}

/// A handler of the program's own for the signal, and a worker that does not rest. (Where threads move, nothing needs the call.)
#[test]
fn actors_that_cannot_be_listed_are_left_by_a_shutdown_and_it_is_said() {
    extern "C" fn own(_: libc::c_int) {}
    let ended = in_a_child(&[("GREEN_THREAD_LOCALS", "worker")], || {
        // SAFETY: a handler that does nothing.
        unsafe { libc::signal(libc::SIGURG, own as *const () as libc::sighandler_t) };
        let (rests, computes) = green::run(|| (Puppet::new().0.start(), Puppet::new().0.start()));
        rests.send(Do::new(|_, _| ())).unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        compute(&computes, &ends);
        forbid_membarrier();
        let end = green::shutdown(LONG);
        assert_eq!((end.stopped, end.left, end.is_clean()), (0, 2, false), "{end}");
        assert!(!rests.is_ended() && !computes.is_ended());
        ends.store(true, Ordering::Relaxed);
        computes.send(Do::new(|_, _| ())).unwrap();
    });
    ended.assert_success();
    assert!(ended.output.contains("cannot be listed"), "{}", ended.output);
}
