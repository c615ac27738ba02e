//! Groups.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use green::actor::{Actor, Addr, Backoff, Builder, Child, Group, Mailbox, Name, Overflow, Supervisor, messages};

use crate::help::{Gate, bounded, everywhere, on_workers, scaled, until};

#[derive(Default)]
struct Member {
    heard: Vec<u64>,
}
impl Actor for Member {}
messages! {
    impl Member {
        #[derive(Clone)]
        fn Say(&mut self, number: u64) { self.heard.push(number) }
        fn Heard(&self) -> Vec<u64> { self.heard.clone() }
        fn Hold(&mut self, begun: Gate, gate: Gate) {
            begun.open();
            gate.wait();
        }
        fn Panic(&mut self) { std::panic::panic_any("as told".to_owned()) }
    }
}

/// A group that no other test has.
fn fresh() -> Group<Say, String> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    Group::new(format!("group {}", LAST.fetch_add(1, Ordering::Relaxed)))
}

fn members<const N: usize>(group: &Group<Say, String>) -> [Addr<Member>; N] {
    std::array::from_fn(|_| {
        let member = Member::default().start();
        assert!(group.join(&member.recipient()));
        member
    })
}

#[test]
fn what_is_told_to_a_group_gets_to_each_member_once_and_in_order() {
    everywhere(|| {
        let group = fresh();
        let [one, two, three] = members(&group);
        assert!(!group.join(&one.recipient()), "it is a member already");
        (0..10).for_each(|number| assert_eq!(group.tell_all(Say(number)), 3));
        for member in [one, two, three] {
            assert_eq!(member.send(Heard).unwrap(), (0..10).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_member_that_has_left_or_ended_is_told_nothing_and_is_listed_nowhere() {
    everywhere(|| {
        let group = fresh();
        let [one, two, three] = members(&group);
        assert!(group.leave(&one.recipient()));
        assert!(!group.leave(&one.recipient()));
        two.kill();
        two.join();
        assert_eq!(group.members(), [three.recipient()]);
        assert_eq!(group.tell_all(Say(1)), 1);
        assert!(one.send(Heard).unwrap().is_empty());
        assert!(!group.join(&two.recipient()), "it has ended");
        assert!(group.join(&one.recipient()));
        assert_eq!(group.members(), [three.recipient(), one.recipient()]);
    });
}

#[test]
fn a_membership_keeps_no_actor_alive_and_a_group_without_members_is_gone() {
    everywhere(|| {
        let group = fresh();
        let all = members::<3>(&group);
        let name = format!("{group:?}");
        let is_listed = || Group::<Say>::list().iter().any(|other| name == format!("Group({other:?})"));
        assert!(is_listed());
        drop(all);
        until(|| !is_listed());
        assert!(group.members().is_empty());
        assert_eq!(group.tell_all(Say(1)), 0);
    });
}

#[test]
fn a_member_stays_one_over_a_restart() {
    everywhere(|| {
        let group = fresh();
        let child = Child::new("member", Member::default).backoff(Backoff::none());
        let sup = Supervisor::one_for_one().child(child).start().unwrap();
        let member = sup.get::<Member>("member").unwrap();
        group.join(&member.recipient());
        group.tell_all(Say(1));
        assert!(member.send(Panic).is_err());
        until(|| sup.tree().find("member").unwrap().restarts == 1);
        assert_eq!(group.tell_all(Say(2)), 1);
        assert_eq!(member.send(Heard).unwrap(), [2]);
    });
}

#[test]
fn names_and_groups_of_one_text_do_not_meet() {
    everywhere(|| {
        static NAME: Name<Member> = Name::new("the same text");
        let group = Group::<Say>::new("the same text");
        let member = Member::default().start();
        NAME.register(&member).unwrap();
        group.join(&member.recipient());
        assert!(NAME.unregister(&member));
        assert_eq!(group.members(), [member.recipient()]);
        NAME.register(&member).unwrap();
        assert!(group.leave(&member.recipient()));
        assert_eq!(NAME.lookup(), Some(member.clone()));
        member.kill();
        member.join();
    });
}

#[test]
fn telling_a_group_waits_for_a_member_whose_mailbox_is_full() {
    everywhere(|| {
        let (group, gate) = (fresh(), Gate::new());
        let full = Builder::new().mailbox(Mailbox::bounded(1)).start(Member::default()).unwrap();
        let mailbox = Mailbox::bounded(1).overflow(Overflow::Reject);
        let rejects = Builder::new().mailbox(mailbox).start(Member::default()).unwrap();
        let free = Member::default().start();
        for member in [&full, &rejects] {
            let begun = Gate::new();
            member.tell(Hold(begun.clone(), gate.clone())).unwrap();
            begun.wait();
            member.tell(Say(0)).unwrap();
        }
        [&full, &rejects, &free].iter().for_each(|member| _ = group.join(&member.recipient()));
        let waits = green::spawn(move || group.tell_all(Say(1)));
        assert!(free.send(Heard).unwrap().is_empty(), "it waits for the first");
        full.recipient::<Say>().tell_timeout(Say(9), Duration::from_millis(1)).unwrap_err();
        gate.open();
        assert!(waits.join().unwrap() >= 2);
        assert_eq!(full.send(Heard).unwrap(), [0, 1]);
        assert_eq!(free.send(Heard).unwrap(), [1]);
    });
}

#[test]
fn members_that_join_and_end_at_once_leave_nothing_behind() {
    on_workers(|| {
        let group = std::sync::Arc::new(fresh());
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let group = std::sync::Arc::clone(&group);
                green::spawn(move || {
                    for round in 0..scaled(200) {
                        let member = Member::default().start();
                        if (thread + round) % 3 == 0 {
                            member.kill();
                        }
                        group.join(&member.recipient());
                        group.tell_all(Say(round));
                        if (thread + round) % 3 == 1 {
                            group.leave(&member.recipient());
                        }
                        member.kill();
                        member.join();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(group.members().is_empty());
        let name = format!("{group:?}");
        assert!(!Group::<Say>::list().iter().any(|other| name == format!("Group({other:?})")));
    });
}

/// Each that joined or ended was compared with all others.
#[test]
fn so_many_members_as_one_likes_join_and_end_in_a_time_that_grows_as_they_do() {
    bounded(|| {
        let group = fresh();
        let members: Vec<_> = (0..scaled(50_000)).map(|_| Member::default().start()).collect();
        let start = Instant::now();
        members.iter().for_each(|member| assert!(group.join(&member.recipient())));
        // Those that came last are found last.
        members.iter().rev().for_each(|member| assert!(group.leave(&member.recipient())));
        members.iter().for_each(|member| assert!(group.join(&member.recipient())));
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
        assert_eq!(group.members().len(), members.len());
        members.iter().rev().for_each(Addr::kill);
        until(|| group.members().is_empty());
        assert!(start.elapsed() < Duration::from_secs(16), "{:?}", start.elapsed());
    });
}
