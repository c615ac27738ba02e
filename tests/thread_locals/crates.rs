//! Crates that keep state by thread, as they are: what they set is held across a park.

use tracing::{Dispatch, Span, dispatcher, info_span};

use crate::many;

scoped_tls::scoped_thread_local!(static NUMBER: usize);

#[test]
fn scoped_tls_finds_the_value_of_its_thread() {
    many(50, |number| {
        assert!(!NUMBER.is_set());
        NUMBER.set(&number, || {
            for _ in 0..5 {
                green::yield_now();
                NUMBER.with(|found| assert_eq!(*found, number));
            }
            NUMBER.set(&(number + 1000), green::yield_now);
            NUMBER.with(|found| assert_eq!(*found, number));
        });
        green::yield_now();
        assert!(!NUMBER.is_set());
    });
}

#[test]
fn a_span_of_tracing_is_entered_by_one_thread() {
    let subscriber = Dispatch::new(tracing_subscriber::registry());
    many(50, |number| {
        dispatcher::with_default(&subscriber, || {
            assert!(Span::current().is_none());
            let outer = info_span!("outer", number);
            let _in_outer = outer.enter();
            for _ in 0..5 {
                green::yield_now();
                assert!(outer.id().is_some());
                assert_eq!(Span::current().id(), outer.id());
                let inner = info_span!("inner");
                inner.in_scope(|| {
                    green::yield_now();
                    assert_eq!(Span::current().id(), inner.id());
                });
            }
            assert_eq!(Span::current().id(), outer.id());
        });
        green::yield_now();
        dispatcher::get_default(|now| assert!(now.is::<tracing::subscriber::NoSubscriber>()));
    });
}
