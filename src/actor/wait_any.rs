//! The first of several replies, for blocking code.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::actor::engine::promise::Promised;
use crate::actor::{Message, Pending};
use crate::park::queue::WaitQueue;
use crate::park::waits_on::NotedMany;
use crate::park::{Wait, checkpoint};
use crate::sys::clock::now_ns;
use crate::task::header::Reason;

/// Stands for a [`Pending`] of whatever message, or a reference to one. Nothing else can be one.
///
/// ```
/// use green::actor::{AnyPending, Recipient, messages, wait_any};
///
/// messages! {
///     struct Name -> String;
///     struct Age -> u32;
/// }
/// let (name, age) = (Recipient::from_fn(|_: Name| "Ann".to_owned()), Recipient::from_fn(|_: Age| 30));
/// let (name, age) = (name.call(Name).unwrap(), age.call(Age).unwrap());
/// let both: [&dyn AnyPending; 2] = [&name, &age];
/// match wait_any(&both) {
///     0 => println!("{} was first", name.wait().unwrap()),
///     _ => println!("{} was first", age.wait().unwrap()),
/// }
/// ```
#[allow(private_bounds, reason = "nobody else can make one")]
pub trait AnyPending: Awaited {}

impl<T: Awaited + ?Sized> AnyPending for T {}

trait Awaited {
    /// Is the answer there? If not, the waker is woken when it is.
    fn poll_settled(&self, waker: &Waker) -> bool;

    /// The waker is not to be woken any more.
    fn forget(&self, waker: &Waker);

    fn due_ns(&self) -> u64;

    /// Who owes it, for a dump.
    fn note(&self) -> usize;
}

impl<M: Message> Awaited for Pending<M> {
    fn poll_settled(&self, waker: &Waker) -> bool {
        self.call().promise().poll_settled(waker)
    }

    fn forget(&self, waker: &Waker) {
        self.call().promise().forget(waker);
    }

    fn due_ns(&self) -> u64 {
        self.deadline_ns()
    }

    fn note(&self) -> usize {
        self.call().promise().note()
    }
}

impl<T: Awaited + ?Sized> Awaited for &T {
    fn poll_settled(&self, waker: &Waker) -> bool {
        T::poll_settled(self, waker)
    }

    fn forget(&self, waker: &Waker) {
        T::forget(self, waker);
    }

    fn due_ns(&self) -> u64 {
        T::due_ns(self)
    }

    fn note(&self) -> usize {
        T::note(self)
    }
}

/// Rung when one of the replies is there.
struct Bell(WaitQueue<bool>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify_all(|rung| {
            *rung = true;
            true
        });
    }
}

/// One that waits for several. What still has its waker forgets that when this is dropped: others may wait for the same.
struct Watching<'a, P: AnyPending> {
    pending: &'a [P],
    waker: Waker,
}

impl<P: AnyPending> Drop for Watching<'_, P> {
    fn drop(&mut self) {
        self.pending.iter().for_each(|one| one.forget(&self.waker));
    }
}

/// Waits until one of several replies is there, or its deadline has passed, and returns its index: [`Pending::wait`] of that one does
/// not wait. Of several that are ready, it is the first in the slice. Several threads may wait for the same replies: all are woken.
///
/// A cancellation point, at which nothing is lost. Such a wait is not seen in a [circle](crate::actor#waiting-in-a-circle): the
/// deadlines end it.
///
/// ```
/// use green::actor::{Recipient, messages, wait_any};
/// use std::time::Duration;
///
/// messages! { struct Fetch(u64) -> u64; }
///
/// let mirrors = [30, 1, 20].map(|delay| {
///     Recipient::from_fn(move |fetch: Fetch| {
///         green::sleep(Duration::from_millis(delay));
///         fetch.0 + delay
///     })
/// });
/// let mut pending: Vec<_> = mirrors.iter().map(|mirror| mirror.call(Fetch(100)).unwrap()).collect();
/// let first = wait_any(&pending);
/// let fastest = pending.swap_remove(first).wait().unwrap();
/// println!("the fastest took {fastest}");
/// # assert!(fastest > 100);
/// ```
///
/// # Panics
///
/// If there are none to wait for.
#[doc(alias = "select")]
pub fn wait_any<P: AnyPending>(pending: &[P]) -> usize {
    assert!(!pending.is_empty(), "there is no reply to wait for");
    checkpoint();
    let due_ns = pending.iter().map(Awaited::due_ns).min().expect("there is one");
    let bell = Arc::new(Bell(WaitQueue::new(false)));
    let watching = Watching { pending, waker: Waker::from(Arc::clone(&bell)) };
    let mut notes = Vec::new();
    loop {
        let now = now_ns();
        if let Some(ready) = pending.iter().position(|one| one.poll_settled(&watching.waker) || one.due_ns() <= now) {
            return ready;
        }
        if notes.is_empty() {
            notes.extend(pending.iter().map(Awaited::note));
        }
        let many = NotedMany::of(&notes, |note| note);
        let wait = Wait::new(Reason::Ask).on_many(&many).until(due_ns);
        bell.0.wait_until(wait, |rung| std::mem::take(rung).then_some(()));
    }
}
