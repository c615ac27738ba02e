//! Tests of what addresses do not show. They are apart from the files that the models include.

mod watch {
    use crate::actor::{Actor, Addr, Context, Exit};

    struct Hub;
    impl Actor for Hub {}

    /// Watches, as told, and ends.
    struct Client {
        hub: Addr<Hub>,
        links: bool,
    }

    impl Actor for Client {
        fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
            if self.links {
                ctx.link(&self.hub);
            } else {
                let _ = ctx.monitor(&self.hub);
            }
            Ok(())
        }
    }

    fn halves(actor: &Addr<impl Actor>) -> usize {
        actor.core().mail.lock().extras().ties.len()
    }

    fn wait(what: &dyn Fn() -> bool) {
        let start = std::time::Instant::now();
        while !what() {
            assert!(start.elapsed().as_secs() < 20);
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_dead_actors_have_watched_keeps_nothing_of_them() {
        let hub = Hub.start();
        let mut at_rest = 0;
        for round in 0..2000 {
            let client = Client { hub: hub.clone(), links: round % 2 == 0 }.start();
            client.stop();
            client.join();
            wait(&|| halves(&hub) == 0);
            assert_eq!(client.core().mail.lock().extras().ties.len(), 0);
            drop(client);
            if round == 0 {
                at_rest = hub.core().header.state.refs();
            }
        }
        // Nobody holds the hub any more: so nothing is left of whoever held it, either.
        wait(&|| hub.core().header.state.refs() <= at_rest);
        assert!(!hub.is_ended());
    }

    #[test]
    fn what_a_dead_one_was_tied_to_keeps_nothing_once_its_signal_is_handled() {
        let hub = Hub.start();
        let clients: Vec<_> = (0..100).map(|n| Client { hub: hub.clone(), links: n % 2 == 0 }.start()).collect();
        wait(&|| halves(&hub) == clients.len());
        hub.stop();
        hub.join();
        wait(&|| clients.iter().all(|client| halves(client) == 0));
        // A link to a dead one, too.
        let late = Client { hub: hub.clone(), links: true }.start();
        wait(&|| late.core().mail.lock().extras().ties.len() == 0 && !late.core().mail.lock().fresh);
    }
}

mod lifecycle {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::sync::{Arc, Barrier};

    use crate::actor::{Actor, Builder, Context, Handler, Message};
    use crate::park::current::WorkerContext;
    use crate::rt::runtime::Runtime;

    struct Counts(Arc<AtomicU64>);
    impl Actor for Counts {}
    struct One;
    impl Message for One {
        type Reply = ();
    }
    impl Handler<One> for Counts {
        fn handle(&mut self, _: One, _: &mut Context<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An actor that is told of a connection may be sent to another worker while others count references to it.
    #[test]
    fn no_reference_is_lost_when_an_actor_is_told_of_an_accepted_connection() {
        let runtime = Runtime::builder().workers(2).build().unwrap();
        let handled = Arc::new(AtomicU64::new(0));
        let actor = Builder::new().runtime(&runtime).start(Counts(Arc::clone(&handled))).unwrap();
        let (stop, begin) = (AtomicBool::new(false), Barrier::new(2));
        let rounds = if cfg!(target_arch = "x86_64") { 20_000 } else { 1000 };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                begin.wait();
                while !stop.load(Ordering::Relaxed) {
                    drop(actor.downgrade());
                }
            });
            begin.wait();
            runtime.run(|| {
                // So that the other worker has fewer threads.
                let idle: Vec<_> = (0..4).map(|_| crate::rt::thread::spawn_local(crate::rt::thread::park)).collect();
                crate::rt::thread::yield_now();
                for round in 1..=rounds {
                    WorkerContext::get().unwrap().set_accepted();
                    actor.tell(One).unwrap();
                    while handled.load(Ordering::Relaxed) < round {
                        crate::rt::thread::yield_now();
                    }
                }
                idle.iter().for_each(|thread| thread.cancel());
            });
            stop.store(true, Ordering::Relaxed);
        });
        drop(runtime);
        assert_eq!(actor.core().header.state.refs(), 1, "it has ended with its runtime, and has its addresses");
    }
}
