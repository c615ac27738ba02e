//! Trees as data and as text.

use std::time::Duration;

use green::actor::testkit::run;
use green::actor::{
    Actor, Addr, Backoff, Child, ChildState, Context, Exit, Handler, Message, Restart, Supervisor, SupervisorAddr, Tree,
};

use crate::help::{Gate, everywhere, until};
use crate::{End, HOUR, Log, Puppet, eager, end, get, has_ended, puppet};

/// Asks another.
struct Asks;
struct Ask(Addr<Parks>);
impl Message for Ask {
    type Reply = ();
}
impl Actor for Asks {}
impl Handler<Ask> for Asks {
    fn handle(&mut self, Ask(other): Ask, _: &mut Context<Self>) {
        let _ = other.send(Park);
    }
}
struct Parks;
struct Park;
impl Message for Park {
    type Reply = ();
}
impl Actor for Parks {}
impl Handler<Park> for Parks {
    fn handle(&mut self, _: Park, _: &mut Context<Self>) {
        green::thread::park();
    }
}

#[test]
fn a_tree_shows_names_states_queues_restarts_and_what_each_waits_for() {
    everywhere(|| {
        let log = Log::default();
        let inner_log = log.clone();
        let inner = move || eager(Supervisor::one_for_one()).child(puppet("a", &inner_log));
        let sup = eager(Supervisor::one_for_one())
            .name("top")
            .child(Child::supervisor("inner", inner))
            .child(Child::new("asks", || Asks))
            .child(Child::new("parks", || Parks))
            .child(puppet("t", &log).restart(Restart::Transient))
            .start()
            .unwrap();
        end(&sup.supervisor("inner").unwrap(), "a", End::Panic);
        let _ = get(&sup, "t").send(End::Quit);
        let parks = sup.get::<Parks>("parks").unwrap();
        let asks = sup.get::<Asks>("asks").unwrap();
        asks.tell(Ask(parks.clone())).unwrap();
        asks.tell(Ask(parks.clone())).unwrap();
        until(|| has_ended(&sup, "t"));
        until(|| sup.tree().find("parks").unwrap().waits_for == Some("park"));
        until(|| sup.tree().find("asks").unwrap().waits_for == Some("reply"));
        let tree = sup.tree();
        assert_eq!(
            (tree.name.as_deref(), &tree.state, tree.id),
            (Some("top"), &ChildState::Runs, Some(sup.addr().id()))
        );
        let names: Vec<_> = tree.children.iter().map(|child| child.name.as_deref().unwrap()).collect();
        assert_eq!(names, ["inner", "asks", "parks", "t"]);
        assert_eq!((tree.find("a").unwrap().restarts, tree.find("inner").unwrap().restarts), (1, 0));
        assert_eq!(tree.find("t").unwrap().state, ChildState::Ended(Exit::Normal));
        assert_eq!(tree.find("t").unwrap().uptime, None);
        let asker = tree.find("asks").unwrap();
        assert_eq!((asker.queued, asker.waits_for_actor), (1, Some(parks.id())));
        assert!(asker.uptime.is_some());
        let text = tree.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 6, "{text}");
        assert!(lines[0].starts_with("top (actor ") && lines[2].starts_with("    a (actor "), "{text}");
        assert!(lines[3].ends_with(&format!("waits for reply of {}", parks.id())), "{text}");
        assert!(lines[5].contains("t (actor ") && lines[5].contains(": ended by itself; "), "{text}");
        sup.kill();
        sup.join();
        assert_eq!(sup.tree().state, ChildState::Ended(Exit::Killed));
        assert_eq!(sup.get::<Puppet>("t").err().map(|_| ()), Some(()));
    });
}

/// Has its start held up.
struct Starts {
    begun: Gate,
    goes_on: Gate,
}
impl Actor for Starts {
    fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> {
        self.begun.open();
        self.goes_on.wait();
        Ok(())
    }
}

#[test]
fn a_child_whose_factory_or_start_is_not_over_is_shown_as_one_that_starts() {
    everywhere(|| {
        let sup = Supervisor::dynamic().start().unwrap();
        let [made, makes, begun, goes_on] = [(); 4].map(|()| Gate::new());
        let child = {
            let [made, makes, begun, goes_on] = [&made, &makes, &begun, &goes_on].map(Gate::clone);
            Child::new("starts", move || {
                made.open();
                makes.wait();
                Starts { begun: begun.clone(), goes_on: goes_on.clone() }
            })
        };
        let starter = {
            let sup = sup.clone();
            green::spawn(move || sup.start_child(child).map(drop))
        };
        for (reached, opens, has_id) in [(made, makes, false), (begun, goes_on, true)] {
            reached.wait();
            // The actor is there before its start, but perhaps not in the picture yet.
            until(|| sup.tree().children[0].id.is_some() == has_id);
            let tree = sup.tree();
            assert_eq!((&tree.children[0].state, tree.children[0].uptime), (&ChildState::Starts, None));
            let text = tree.to_string();
            let line = text.lines().nth(1).unwrap();
            assert!(line.contains(": starts; 0 queued, 0 restarts") && !line.contains(", up "), "{text}");
            opens.open();
        }
        starter.join().unwrap().unwrap();
        let tree = sup.tree();
        assert_eq!((&tree.children[0].state, tree.children[0].uptime.is_some()), (&ChildState::Runs, true));
    });
}

/// How long each has been up, to the minute: the top, and these below it.
fn minutes_up(sup: &SupervisorAddr, names: [&str; 3]) -> (Option<u64>, [Option<u64>; 3]) {
    let minutes = |tree: &Tree| tree.uptime.map(|uptime| (uptime + Duration::from_millis(1)).as_secs() / 60);
    let tree = sup.tree();
    (minutes(&tree), names.map(|name| tree.find(name).and_then(minutes)))
}

#[test]
fn the_time_that_an_actor_is_up_begins_with_its_last_start_and_a_supervisor_has_one_too() {
    run(|| {
        let inner = || Supervisor::one_for_one().child(puppet("inner child", &Log::default()));
        let inner = Child::supervisor("inner", inner);
        // The time before the start is none of it, also for what is described already.
        green::sleep(HOUR);
        let sup = Supervisor::one_for_one()
            .backoff(Backoff::exponential(HOUR..=HOUR))
            .child(puppet("a", &Log::default()))
            .child(inner)
            .start()
            .unwrap();
        let names = ["a", "inner", "inner child"];
        assert_eq!(minutes_up(&sup, names), (Some(0), [Some(0); 3]));
        green::sleep(HOUR);
        assert_eq!(minutes_up(&sup, names), (Some(60), [Some(60); 3]));
        let _ = get(&sup, "a").send(End::Fail);
        sup.supervisor("inner").unwrap().kill();
        green::sleep(HOUR / 2);
        assert_eq!(minutes_up(&sup, names), (Some(90), [None; 3]));
        green::sleep(HOUR / 2 + HOUR / 4);
        assert_eq!(minutes_up(&sup, names), (Some(135), [Some(15); 3]));
        // The same one as the top of its own tree.
        let inner = sup.supervisor("inner").unwrap();
        assert_eq!(minutes_up(&inner, ["inner child"; 3]), (Some(15), [Some(15); 3]));
        let text = sup.tree().to_string();
        assert!(text.lines().next().unwrap().ends_with("0 restarts, up 8100s"), "{text}");
        sup.shutdown(HOUR);
        assert_eq!(sup.tree().uptime, None);
    });
}
