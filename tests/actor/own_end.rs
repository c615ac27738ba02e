//! Actors that see to their own end, and names that go before their actor.

use std::time::{Duration, Instant};

use green::actor::{Actor, Exit, Name, Shutdown, messages};

use crate::help::{everywhere, scaled};
use crate::{Do, LONG, Puppet};

/// It killed itself, in the midst of its handler, and what was queued went back.
#[test]
fn an_actor_that_shuts_itself_down_is_stopped_and_waits_for_nobody() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let begin = Instant::now();
        let ends = Do::new(|_, ctx| {
            ctx.notify(Do::new(|me, _| me.write("handled"))).unwrap();
            ctx.addr().shutdown(LONG)
        });
        let end: Shutdown = puppet.send(ends).unwrap();
        assert_eq!((end.left, end.stopped, end.killed), (1, 0, 0));
        assert_eq!(puppet.join(), Exit::Shutdown);
        assert!(begin.elapsed() < LONG);
        assert_eq!(log.try_iter().collect::<Vec<_>>(), ["handled", "stopping: was stopped", "dropped"]);
    });
}

#[derive(Default)]
struct Many;
impl Actor for Many {}
messages! {
    impl Many {
        fn Ping(&self) {}
    }
}

/// Gives one actor many names, and takes them away again, the first one first.
fn naming(names: u32) -> Duration {
    let many = Many.start();
    let names: Vec<_> = (0..names).map(|number| Name::<Many, _>::new(format!("{number} of {}", many.id()))).collect();
    let begin = Instant::now();
    names.iter().for_each(|name| name.register(&many).unwrap());
    assert!(names.iter().all(|name| name.unregister(&many)));
    let took = begin.elapsed();
    many.send(Ping).unwrap();
    took
}

/// Each was looked for among all.
#[test]
fn to_take_all_names_of_an_actor_away_takes_time_in_proportion_to_their_number() {
    let n = scaled(500);
    // The least of some: the machine may be busy with others in the midst of one.
    let least = |names| (0..5).map(|_| naming(names)).min();
    let (few, many) = (least(n).unwrap(), least(16 * n).unwrap());
    assert!(many < few * 100, "{n}: {few:?}, {}: {many:?}", 16 * n);
}
