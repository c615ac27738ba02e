//! Tests of what addresses do not show. They are apart from the files that the models include.

mod watch {
    use crate::actor::address::Addressed;
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
        actor.core().mailbox.lock().extras().ties.len()
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
            assert_eq!(client.core().mailbox.lock().extras().ties.len(), 0);
            drop(client);
            if round == 0 {
                at_rest = hub.core().header.state.refs();
            }
        }
        // No client holds the hub any more: so nothing is left of the clients, either.
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
        wait(&|| late.core().mailbox.lock().extras().ties.len() == 0 && !late.core().mailbox.lock().is_fresh());
    }
}
