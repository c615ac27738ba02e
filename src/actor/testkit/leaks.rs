//! The body of a test, and actors that are left at its end.

#![forbid(unsafe_code)]

use std::fmt::Write as _;

use super::PATIENCE;
use crate::actor::engine::cell::Core;
use crate::actor::engine::residents;
use crate::rt::default::with_shared;
use crate::rt::runtime::Runtime;
use crate::sys::clock::{after_ns, has_passed};
use crate::time::Pauses;

/// Runs the body of a test in a runtime of its own with [virtual time](crate::RuntimeBuilder::virtual_time), and then demands that no
/// actor of it is left, as [`assert_no_actors_left`] does.
///
/// An actor is left if something still has its address: the value that `f` returns, a thread, another actor. The runtime ends
/// before this returns.
///
/// # Panics
///
/// With what `f` panics with; if actors are left, with their names; if the system refuses the runtime its OS thread.
///
/// ```
/// use green::actor::{Actor, testkit};
/// struct Idle;
/// impl Actor for Idle {}
///
/// let day = std::time::Duration::from_secs(86_400);
/// testkit::run(|| {
///     let idle = Idle.start();
///     green::sleep(day);
///     assert!(!idle.is_ended());
/// });
/// ```
#[track_caller]
pub fn run<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    let runtime = Runtime::builder().virtual_time().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("failed to start a runtime: {error}"));
    let (value, left) = runtime.run(|| (f(), left_over()));
    assert_nothing(&left);
    value
}

/// Waits until no actor of the caller's runtime, the default one's on a plain OS thread, is left, except the caller. A cancellation point.
///
/// In the default runtime other tests have actors, too: a test that looks for its own has a runtime for itself, as [`run`] gives it.
///
/// # Panics
///
/// If actors are left after ten seconds; the message has their ids, names, and how many messages wait for them.
///
/// ```
/// use green::actor::{Actor, testkit};
/// struct Idle;
/// impl Actor for Idle {}
///
/// let runtime = green::Runtime::new()?;
/// runtime.run(|| {
///     let idle = Idle.start();
///     drop(idle); // or `idle.stop()`
///     testkit::assert_no_actors_left();
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn assert_no_actors_left() {
    assert_nothing(&left_over());
}

#[track_caller]
fn assert_nothing(left: &[String]) {
    assert!(left.is_empty(), "{} of the test's actors are left: {}", left.len(), left.join(", "));
}

/// Those that do not end.
fn left_over() -> Vec<String> {
    let until_ns = after_ns(PATIENCE);
    let mut pauses = Pauses::default();
    loop {
        let left = names();
        if left.is_empty() || has_passed(until_ns) {
            return left;
        }
        pauses.next();
    }
}

fn names() -> Vec<String> {
    let actors = with_shared(|shared| residents::all(shared))
        .unwrap_or_else(|error| panic!("the actors cannot be listed: {error}"));
    let me = Core::current().map(Core::id);
    let others = actors.iter().map(|actor| actor.core()).filter(|actor| Some(actor.id()) != me);
    others
        .map(|actor| {
            let mut text = format!("{actor:?}");
            let queued = actor.mailbox.lock().queued();
            if queued > 0 {
                let _ = write!(text, " with {queued} messages queued");
            }
            text
        })
        .collect()
}
