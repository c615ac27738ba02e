#![doc = include_str!("README.md")]

// Floor 9.
mod buffer;
mod iter;
#[macro_use]
mod macros;
mod ops;
mod queue;
mod receiver;
mod selected;
mod selector;
mod sender;
mod shared;
mod timer;
mod waiter;
mod word;
mod zero;

#[doc = include_str!("PROTOCOL.md")]
mod protocol {}

use std::sync::Arc;
use std::time::{Duration, Instant};

use receiver::ReceiverFlavor;
use sender::SenderFlavor;

use crate::base::atomic::MODELLED;
use crate::park::waits_on;
use crate::sys::clock;

pub use crossbeam_channel::{
    ReadyTimeoutError, RecvError, RecvTimeoutError, SelectTimeoutError, SendError, SendTimeoutError, TryReadyError,
    TryRecvError, TrySelectError, TrySendError,
};

pub use iter::{IntoIter, Iter, TryIter};
pub use receiver::Receiver;
pub use selector::{Select, SelectedOperation};
pub use sender::Sender;
#[doc(inline)]
pub use {select, select_biased};

/// What the macros expand to. Not for use by name.
#[doc(hidden)]
pub mod internal {
    pub use super::selector::{SelectCase, recv, select, select_timeout, send, try_select};
}

/// Makes a channel with room for `cap` messages, and returns its two ends.
///
/// A [`send`](Sender::send) waits while the channel is full. With a `cap` of 0 there is no room at all: a send and a
/// receive meet, and each waits for the other. Room for all `cap` messages is allocated at once.
///
/// ```
/// let (s, r) = green::channel::bounded(1);
/// green::spawn(move || {
///     s.send(1).unwrap();
///     s.send(2).unwrap(); // waits until 1 has been received
/// });
/// assert_eq!(r.iter().collect::<Vec<_>>(), [1, 2]);
/// ```
///
/// With no room, the sender knows that its message has been received:
///
/// ```
/// let (s, r) = green::channel::bounded(0);
/// let receiver = green::spawn(move || r.recv());
/// s.send("hello").unwrap(); // waits for the receiver
/// assert_eq!(receiver.join().unwrap(), Ok("hello"));
/// ```
///
/// # Panics
///
/// If `cap` messages are more than an address space holds.
pub fn bounded<T>(cap: usize) -> (Sender<T>, Receiver<T>) {
    if cap == 0 {
        let shared = shared::SharedChannel::new(zero::ZeroChannel::new());
        let sender = Sender { flavor: SenderFlavor::Zero(Arc::clone(&shared)) };
        return (sender, Receiver { flavor: ReceiverFlavor::Zero(shared) });
    }
    const { assert_places(queue::Queue::<T, buffer::Ring<T>>::PLACES) };
    let shared = shared::SharedChannel::new(queue::Queue::new(buffer::Ring::new(cap), cap as u64));
    let sender = Sender { flavor: SenderFlavor::Bounded(Arc::clone(&shared)) };
    (sender, Receiver { flavor: ReceiverFlavor::Bounded(shared) })
}

/// Makes a channel that grows as it must, and returns its two ends.
///
/// A send never waits, so nothing slows a sender down that is faster than the receivers: memory fills. Prefer
/// [`bounded`] where that can be.
///
/// ```
/// let (s, r) = green::channel::unbounded();
/// s.send("hello").unwrap();
/// drop(s);
/// assert_eq!(r.recv(), Ok("hello"));
/// assert!(r.recv().is_err());
/// ```
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    const { assert_places(queue::Queue::<T, buffer::Blocks<T>>::PLACES) };
    let shared = shared::SharedChannel::new(queue::Queue::new(buffer::Blocks::new(), u64::MAX));
    let sender = Sender { flavor: SenderFlavor::Unbounded(Arc::clone(&shared)) };
    (sender, Receiver { flavor: ReceiverFlavor::Unbounded(shared) })
}

/// What reads a channel from outside knows where its sides are, and their positions.
const fn assert_places(places: [usize; 2]) {
    assert!(MODELLED || places[0] == 0 && places[1] == waits_on::RECEIVING_SIDE);
    const { assert!(word::POSITION_SHIFT == waits_on::POSITION_SHIFT) };
}

/// Makes a receiver that gets one message, `duration` from now: the moment at which it was due.
///
/// For a time-out among the cases of [`select!`]. The receiver never gets disconnected. A `duration` beyond what the
/// clock can count makes it [`never()`]. No thread is behind it, so it costs nothing until something waits for it.
///
/// ```
/// use green::channel::{after, select, unbounded};
/// use std::time::Duration;
///
/// let (s, r) = unbounded::<i32>();
/// select! {
///     recv(r) -> _ => unreachable!(),
///     recv(after(Duration::from_millis(5))) -> _ => println!("nobody called"),
/// }
/// # drop(s);
/// ```
pub fn after(duration: Duration) -> Receiver<Instant> {
    clock::now().checked_add(duration).map_or_else(never, at)
}

/// Makes a receiver that gets one message at the moment `when`: `when` itself. It never gets disconnected.
///
/// The message is there at once if `when` has passed. One such receiver, made before a loop, is a deadline for all of
/// its rounds.
///
/// ```
/// use std::time::{Duration, Instant};
/// let when = Instant::now() + Duration::from_millis(5);
/// assert_eq!(green::channel::at(when).recv(), Ok(when));
/// assert!(Instant::now() >= when);
/// ```
pub fn at(when: Instant) -> Receiver<Instant> {
    Receiver { flavor: ReceiverFlavor::Timer(Arc::new(timer::TimerChannel::at(when))) }
}

/// Makes a receiver that gets a message every `duration`: the moment at which it was due. It never gets disconnected.
///
/// There is room for one message: while one waits to be received, no others come; the next is due `duration` after it
/// was received. So a slow receiver does not find a crowd of old messages.
///
/// ```
/// use std::time::{Duration, Instant};
/// let start = Instant::now();
/// let ticks = green::channel::tick(Duration::from_millis(2));
/// ticks.iter().take(3).for_each(drop);
/// assert!(start.elapsed() >= Duration::from_millis(6));
/// ```
pub fn tick(duration: Duration) -> Receiver<Instant> {
    let Some(first) = clock::now().checked_add(duration) else { return never() };
    Receiver { flavor: ReceiverFlavor::Timer(Arc::new(timer::TimerChannel::tick(first, duration))) }
}

/// Makes a receiver that gets no message, ever, and is never disconnected: a case of [`select!`] that is switched off.
///
/// ```
/// use green::channel::{after, never, select, unbounded};
/// use std::time::Duration;
///
/// let limit: Option<Duration> = None;
/// let (s, r) = unbounded();
/// s.send(1).unwrap();
/// select! {
///     recv(r) -> message => assert_eq!(message, Ok(1)),
///     recv(limit.map_or(never(), after)) -> _ => unreachable!(),
/// }
/// ```
pub const fn never<T>() -> Receiver<T> {
    Receiver { flavor: ReceiverFlavor::Never }
}
