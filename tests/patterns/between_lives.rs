//! What a relay (an adapter, a subscription) has for a supervised actor that ends one life, and has not begun the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use green::actor::{Actor, Addr, Backoff, Child, Lag, Mailbox, Recipient, SendError, Supervisor, Topic, messages};

use crate::LONG;
use crate::help::{Gate, everywhere, until};

/// Counts, behind a gate, in all of its lives.
struct Slow {
    heard: Arc<AtomicU64>,
    begun: Gate,
    gate: Gate,
}
impl Actor for Slow {
    const MAILBOX: Mailbox = Mailbox::bounded(1);
}
messages! {
    struct Outer(u64);
    impl Slow {
        #[derive(Clone, Debug)]
        fn News(&mut self, number: u64) {
            self.begun.open();
            self.gate.wait();
            self.heard.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// The sibling with which it is started again.
struct Sibling;
impl Actor for Sibling {}

type Way = fn(&Recipient<News>) -> Box<dyn Fn(u64) + Send>;

fn nothing_is_lost(way: Way) {
    everywhere(move || {
        let (heard, begun, gate) = (Arc::<AtomicU64>::default(), Gate::new(), Gate::new());
        let (count, first, inside) = (Arc::clone(&heard), begun.clone(), gate.clone());
        let slow = move || Slow { heard: Arc::clone(&count), begun: first.clone(), gate: inside.clone() };
        let sup = Supervisor::one_for_all()
            .backoff(Backoff::none())
            .child(Child::new("slow", slow).shutdown(LONG))
            .child(Child::new("sibling", || Sibling))
            .start()
            .unwrap();
        let slow: Addr<Slow> = sup.get("slow").unwrap();
        let say = way(&slow.recipient());
        (0..100).for_each(&say);
        begun.wait();
        // One more has no room.
        until(|| slow.queued() == 1);
        sup.get::<Sibling>("sibling").unwrap().kill();
        until(|| matches!(slow.try_tell(News(1000)), Err(SendError::Closed(_))));
        gate.open();
        until(|| heard.load(Ordering::SeqCst) == 100);
        sup.stop();
        sup.join();
    });
}

#[test]
fn a_subscription_that_blocks_loses_nothing_while_its_subscriber_drains() {
    nothing_is_lost(|slow| {
        let topic = Topic::new();
        topic.subscribe(slow, 100, Lag::Block);
        Box::new(move |number| assert_eq!(topic.publish(News(number)), 1))
    });
}

#[test]
fn a_mapped_recipient_loses_nothing_while_its_target_drains() {
    nothing_is_lost(|slow| {
        let outer = slow.map(|Outer(number)| News(number));
        Box::new(move |number| outer.tell(Outer(number)).unwrap())
    });
}
