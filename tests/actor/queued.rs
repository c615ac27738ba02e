//! The entry of an actor in a queue.

use green::actor::Actor;

use crate::{Add, Counter, Get, LONG};

#[test]
fn the_entry_of_an_actor_is_not_taken_for_one_of_a_thread_that_was_joined() {
    let runtime = green::Runtime::builder().workers(1).build().unwrap();
    runtime.run(|| {
        let counter = Counter::default().start();
        // It rests, and has its home here.
        assert_eq!(counter.send(Get).unwrap(), 0);
        green::spawn({
            let counter = counter.clone();
            move || {
                let child = green::spawn(|| {});
                // Its entry is younger than that of the child, which is stale when this thread ends.
                counter.tell(Add(1)).unwrap();
                child.join().unwrap();
            }
        })
        .join()
        .unwrap();
        let (sender, answer) = green::channel::bounded(1);
        std::thread::spawn(move || sender.send(counter.call(Get).and_then(|reply| reply.wait_timeout(LONG))));
        assert_eq!(answer.recv_timeout(LONG).unwrap().unwrap(), 1);
    });
}
