//! Trees as data and as text.

use green::actor::{Actor, Addr, Child, ChildState, Context, Exit, Handler, Message, Restart, Supervisor};

use crate::help::{everywhere, until};
use crate::{End, Log, Puppet, eager, end, get, has_ended, puppet};

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
