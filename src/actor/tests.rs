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
            assert!(start.elapsed().as_secs() < 60);
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

/// Which worker of a pool is free.
#[cfg(not(miri))]
mod crew {
    use crate::actor::engine::crew::{Crew, Place};
    use crate::actor::engine::warden::Warden;
    use crate::actor::exit::Exit;

    #[test]
    fn what_a_last_life_has_found_out_changes_nothing_in_the_next() {
        let crew = Crew::new(1);
        let place = Place::new(&crew, 0);
        place.started();
        let old = crew.take_free().unwrap();
        place.ended();
        place.started();
        old.finds_shut();
        assert_eq!(crew.take_free().unwrap().index(), 0);
    }

    /// The next life's message waits for nobody: it is queued.
    #[test]
    fn a_worker_that_was_found_shut_when_it_had_ended_already_is_down() {
        let crew = Crew::new(1);
        let place = Place::new(&crew, 0);
        place.started();
        let old = crew.take_at(0, 1).unwrap();
        place.ended();
        old.finds_shut();
        assert!(crew.can_take_at(0, 1));
    }

    #[test]
    fn a_seat_that_is_dropped_is_free_and_one_of_a_dying_worker_is_not() {
        let crew = Crew::new(2);
        (0..2).for_each(|index| Place::new(&crew, index).started());
        let (one, two) = (crew.take_free().unwrap(), crew.take_free().unwrap());
        assert_eq!((one.index(), two.index()), (0, 1));
        one.goes_down();
        drop(two);
        assert_eq!(crew.take_free().unwrap().index(), 1);
        crew.ended(&Exit::Killed);
        assert_eq!(crew.take_free().err(), Some(Exit::Killed));
    }

    #[test]
    fn messages_may_be_queued_for_a_worker_that_is_down_and_not_for_one_that_is_shut() {
        let crew = Crew::new(1);
        let (one, two) = (crew.take_at(0, 2).unwrap(), crew.take_at(0, 2).unwrap());
        drop(one);
        let three = crew.take_at(0, 2).unwrap();
        two.finds_shut();
        Place::new(&crew, 0).started();
        assert_eq!(crew.take_at(0, 2).unwrap().index(), 0);
        drop(three);
    }
}

/// More addresses than can be counted end the process, by whichever way the one too many is made. (This binary starts itself.)
#[cfg(not(any(miri, green_emulated)))]
mod addresses {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use crate::actor::Actor;
    use crate::actor::address::Addressed;
    use crate::base::atomic::Ordering;

    const WAY: &str = "GREEN_TEST_WAY";

    struct Idle;
    impl Actor for Idle {}

    fn make_one_too_many(way: &str) {
        let idle = Idle.start();
        idle.core().addrs.store(u32::MAX / 2 + 1, Ordering::Relaxed);
        match way {
            "clone" => std::mem::forget(idle.clone()),
            "upgrade" => std::mem::forget(idle.core().weak().upgrade()),
            "strong" => std::mem::forget(idle.core().strong()),
            way => panic!("{way}"),
        }
        // Or its end would be awaited.
        std::process::exit(0);
    }

    #[test]
    fn one_address_too_many_ends_the_process_however_it_is_made() {
        if let Ok(way) = std::env::var(WAY) {
            return make_one_too_many(&way);
        }
        let test = std::thread::current().name().expect("the harness names a test's thread").to_owned();
        for way in ["clone", "upgrade", "strong"] {
            let binary = std::env::current_exe().expect("the path of this binary");
            let mut child = Command::new(binary);
            let ended = child.args([&test, "--exact", "--nocapture"]).env(WAY, way).output().expect("it runs");
            let said = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{way}: {said}");
            assert!(said.contains("more than 2^31 addresses of one actor"), "{way}: {said}");
        }
    }
}

/// A stop that is meant for one life of a supervised actor.
#[cfg(not(miri))]
mod lives {
    use std::time::Duration;

    use crate::actor::address::Addressed;
    use crate::actor::engine::lifecycle::LifeEnd;
    use crate::actor::{Actor, Backoff, Child, ChildState, Exit, Supervisor};

    struct Idle;
    impl Actor for Idle {}

    #[test]
    fn a_stop_of_a_life_that_has_ended_leaves_the_next_one_alone() {
        let long = Duration::from_secs(60);
        let sup =
            Supervisor::one_for_one().backoff(Backoff::none()).child(Child::new("idle", || Idle)).start().unwrap();
        let idle = sup.get::<Idle>("idle").unwrap();
        let life = LifeEnd::of(idle.core());
        idle.core().kill();
        let restarts = || sup.tree().children[0].restarts;
        let start = std::time::Instant::now();
        while restarts() != 1 || sup.tree().children[0].state != ChildState::Runs {
            assert!(start.elapsed() < long);
            std::thread::yield_now();
        }
        let next = LifeEnd::of(idle.core());
        idle.core().stop_life(&life, Exit::Shutdown, long);
        // The first stop of a life says why it ends.
        let second = Exit::Error("the second".to_owned());
        idle.core().stop_life(&next, second.clone(), long);
        assert_eq!(next.join(idle.core(), crate::sys::clock::NEVER), Ok(second));
    }
}
