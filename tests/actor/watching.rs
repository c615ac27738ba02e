//! Monitors and links.

use green::actor::{Actor, Exit, Name};

use crate::{Counter, Do, Get, Puppet, everywhere};

#[test]
fn a_monitor_tells_why_an_actor_ended_even_if_it_was_over() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let counter = Counter(0).start();
        let watched = counter.clone();
        let first = puppet.send(Do::new(move |_, ctx| ctx.monitor(&watched))).unwrap();
        counter.kill();
        counter.join();
        let line = crate::next(&log);
        assert!(line.contains("Killed") && line.contains(&format!("{first:?}")), "{line}");
        let watched = counter.clone();
        let second = puppet.send(Do::new(move |_, ctx| ctx.monitor(&watched))).unwrap();
        let line = crate::next(&log);
        assert!(line.contains("Killed") && line.contains(&format!("{second:?}")), "{line}");
        assert_ne!(first, second);
        assert!(!puppet.is_ended());
    });
}

#[test]
fn a_name_belongs_to_one_actor_until_that_ends() {
    static NAME: Name<Counter> = Name::new("the counter");
    static OTHER: Name<Puppet> = Name::new("the counter");
    let counter = Counter(1).start();
    assert!(NAME.lookup().is_none());
    NAME.register(&counter).unwrap();
    NAME.register(&counter).unwrap();
    assert_eq!(NAME.lookup().unwrap(), counter);
    assert!(OTHER.lookup().is_none());
    let second = Counter(2).start();
    assert!(NAME.register(&second).is_err());
    drop(counter);
    NAME.register(&second).unwrap();
    second.kill();
    second.join();
    assert!(NAME.lookup().is_none());
    NAME.unregister();
}

#[test]
fn a_monitor_can_be_taken_back() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let counter = Counter(0).start();
        let watched = counter.clone();
        let take_back = Do::new(move |_, ctx| {
            let monitor = ctx.monitor(&watched);
            ctx.demonitor(&watched, monitor);
        });
        puppet.send(take_back).unwrap();
        counter.kill();
        counter.join();
        puppet.send(Do::new(|_, _| ())).unwrap();
        assert!(log.try_recv().is_err());
    });
}

#[test]
fn a_link_takes_the_other_along_unless_the_end_is_normal() {
    everywhere(|| {
        for (abnormal, expected) in [(true, Exit::Panic("bang".into())), (false, Exit::Shutdown)] {
            let ((one, _one_log), (two, two_log)) = (Puppet::new(), Puppet::new());
            let (one, two) = (one.start(), two.start());
            let other = two.clone();
            one.send(Do::new(move |_, ctx| ctx.link(&other))).unwrap();
            if abnormal {
                one.tell(Do::new(|_, _| std::panic::resume_unwind(Box::new("bang")))).unwrap();
            } else {
                one.stop();
            }
            assert_eq!(one.join(), expected);
            assert!(crate::next(&two_log).contains("LinkExit"));
            if abnormal {
                assert_eq!(two.join(), expected);
            } else {
                assert_eq!(two.send(Do::new(|_, _| 1)).unwrap(), 1);
            }
        }
    });
}

#[test]
fn a_link_to_a_dead_actor_answers_at_once_and_can_be_taken_back() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let counter = Counter(0).start();
        counter.kill();
        counter.join();
        puppet.send(Do::new(move |_, ctx| ctx.link(&counter))).unwrap();
        assert_eq!(puppet.join(), Exit::Killed);
        assert!(crate::next(&log).contains("LinkExit"));
        let (puppet, _log) = Puppet::new();
        let puppet = puppet.start();
        let counter = Counter(0).start();
        let other = counter.clone();
        puppet
            .send(Do::new(move |_, ctx| {
                ctx.link(&other);
                ctx.unlink(&other);
            }))
            .unwrap();
        puppet.kill();
        puppet.join();
        assert_eq!(counter.send(Get).unwrap(), 0);
    });
}
