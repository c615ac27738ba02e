//! Waiting for one of several operations.
//!
//! A select registers a node with each of its channels, all with one ticket. The thread that wins the ticket says what the
//! select has got, and so decides which operation is chosen; all others find the ticket spent and go on to the next waiter.
//! Whichever way the wait ended, the select then takes its other nodes out again, each under its channel's lock.
//!
//! # Invariants
//!
//! 1. The nodes lie in the entries, and what was selected in the frame of [`run`]; both stay where they are until all nodes are
//!    unregistered.

use std::cell::Cell;
use std::mem::{self, ManuallyDrop};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{ReadyTimeoutError, RecvError, SelectTimeoutError, SendError, TryReadyError, TrySelectError};

use crate::base::debug::debug;
use crate::channel::ops::Operation;
use crate::channel::receiver::Receiver;
use crate::channel::selected::Selected;
use crate::channel::sender::Sender;
use crate::channel::waiter::{ChannelWaiter, Outcome, Role, place};
use crate::park::unwind::unwinding;
use crate::park::waits_on::NotedMany;
use crate::park::{Wait, WaitResult, checkpoint, spend, wait_in};
use crate::sys::clock::{NEVER, after_ns, at_ns, has_passed};
use crate::task::header::Reason;

/// One operation of a select.
pub struct SelectCase<'a> {
    operation: &'a dyn Operation,
    index: usize,
    node: ChannelWaiter,
    /// For a dump, while the select waits.
    note: AtomicUsize,
}

impl<'a> SelectCase<'a> {
    fn new<H: Operation>(handle: &'a H, index: usize) -> Self {
        Self {
            operation: handle,
            index,
            node: ChannelWaiter::new(Role::Watch, ptr::null_mut()),
            note: AtomicUsize::new(0),
        }
    }

    fn fresh(&self) -> Self {
        Self { node: ChannelWaiter::new(Role::Watch, ptr::null_mut()), note: AtomicUsize::new(0), ..*self }
    }

    fn chosen(&self, selected: Selected) -> SelectedOperation<'a> {
        SelectedOperation { selected: ManuallyDrop::new(selected), operation: self.operation, index: self.index }
    }
}

/// For the macros: a receive.
pub fn recv<T>(receiver: &Receiver<T>, index: usize) -> SelectCase<'_> {
    SelectCase::new(receiver, index)
}

/// For the macros: a send.
pub fn send<T>(sender: &Sender<T>, index: usize) -> SelectCase<'_> {
    SelectCase::new(sender, index)
}

/// A number below `n`, by a generator of the OS thread's own (xorshift; Marsaglia 2003), or of the green thread's, if it has thread-locals of
/// its own: each begins elsewhere.
fn random(n: usize) -> usize {
    /// Odd numbers, as the step is even.
    static SEEDS: AtomicU32 = AtomicU32::new(0x9E37_79B9);
    thread_local! {
        static STATE: Cell<u32> = const { Cell::new(0) };
    }
    let step = |state: &Cell<u32>| {
        let mut x = state.get();
        if x == 0 {
            x = SEEDS.fetch_add(0x3C6E_F372, Ordering::Relaxed);
        }
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        state.set(x);
        x
    };
    let x = STATE.try_with(step).unwrap_or(0);
    ((u64::from(x) * n as u64) >> 32) as usize
}

/// How long to wait.
#[derive(Clone, Copy)]
enum SelectLimit {
    Now,
    Until(u64),
}

impl SelectLimit {
    fn after(timeout: Duration) -> Self {
        SelectLimit::Until(after_ns(timeout))
    }
}

/// The first entry for which `f` gives something, in an order of its own each time, unless `biased`. `None`: there was a
/// moment at which none of them did, not just a moment for each.
fn first<'a, R>(entries: &mut [SelectCase<'a>], biased: bool, f: impl Fn(&SelectCase<'a>) -> Option<R>) -> Option<R> {
    let version = |entries: &[SelectCase<'a>]| match entries {
        [_] => 0,
        _ => entries.iter().fold(0u64, |sum, entry| sum.wrapping_add(entry.operation.version())),
    };
    loop {
        let before = version(entries);
        for at in 0..entries.len() {
            if !biased {
                entries.swap(at, at + random(entries.len() - at));
            }
            if let Some(found) = f(&entries[at]) {
                return Some(found);
            }
        }
        // All versions grow, so if the sum has not changed, no channel has, and all that was seen held at one time.
        if version(entries) == before {
            return None;
        }
    }
}

/// One wait, until an operation is chosen or could be. Its entry and what it has got; `None`: look again.
fn wait_once<'e, 'a>(
    entries: &'e [SelectCase<'a>],
    wait: &mut Wait,
    until_ns: u64,
    role: Role,
) -> Option<(&'e SelectCase<'a>, Selected)> {
    // Taken out once, below; never dropped in place.
    let mut selected = ManuallyDrop::new(Selected::Empty);
    let selected_at = place(&mut selected);
    let mut deadline_ns = until_ns;
    for entry in entries {
        let (own_ns, note) = entry.operation.deadline_and_note();
        deadline_ns = deadline_ns.min(own_ns);
        entry.note.store(note, Ordering::Relaxed);
    }
    let notes = NotedMany::of(entries, |entry| &entry.note);
    let registered = Cell::new(0);
    let register = |ticket| {
        entries.iter().all(|entry| {
            entry.node.reset(role, selected_at);
            registered.set(registered.get() + 1);
            // SAFETY: invariant 1: all are unregistered below.
            unsafe { entry.operation.register(&entry.node, ticket) }
        })
    };
    let unregister = || {
        for entry in &entries[..registered.take()] {
            if entry.node.outcome() == Outcome::None {
                // SAFETY: it was registered with this operation, if at all. (A node with an outcome was taken out by the
                // thread that gave it that; the outcome of one that still stands in a list cannot change any more.)
                unsafe { entry.operation.unregister(&entry.node) };
            }
        }
    };
    *wait = wait.on_many(&notes).until(deadline_ns);
    let ended = wait_in(wait, register, unregister);
    let count = registered.get();
    unregister();
    if ended != WaitResult::Notified {
        return None;
    }
    let chosen = entries[..count].iter().find(|entry| entry.node.outcome() != Outcome::None)?;
    // SAFETY: the thread that woke this one has written what was selected before; no other thread has its address any more.
    let selected = unsafe { selected_at.cast::<Selected>().read() };
    (chosen.node.outcome() != Outcome::Abandoned).then_some((chosen, selected))
}

/// Finds an operation, as `look` does in one of them; `woken` says what it means that one was chosen while the thread waited.
fn find<'a, R>(
    entries: &mut [SelectCase<'a>],
    limit: SelectLimit,
    biased: bool,
    role: Role,
    look: impl Fn(&SelectCase<'a>) -> Option<R>,
    woken: impl Fn(&SelectCase<'a>, Selected) -> Option<R>,
) -> Option<R> {
    let SelectLimit::Until(until_ns) = limit else {
        let found = first(entries, biased, look);
        if found.is_none() {
            spend();
        }
        return found;
    };
    checkpoint();
    let mut wait = Wait::new(Reason::Select);
    loop {
        if let Some(found) = first(entries, biased, &look) {
            return Some(found);
        }
        if has_passed(until_ns) {
            return None;
        }
        let woke = wait_once(entries, &mut wait, until_ns, role);
        if let Some(found) = woke.and_then(|(entry, selected)| woken(entry, selected)) {
            return Some(found);
        }
    }
}

/// Chooses an operation.
fn run<'a>(entries: &mut [SelectCase<'a>], limit: SelectLimit, biased: bool) -> Option<SelectedOperation<'a>> {
    let look = |entry: &SelectCase<'a>| entry.operation.try_select().map(|selected| entry.chosen(selected));
    find(entries, limit, biased, Role::Select, look, |entry, selected| Some(entry.chosen(selected)))
}

/// Finds an operation that would not wait.
fn run_ready(entries: &mut [SelectCase<'_>], limit: SelectLimit, biased: bool) -> Option<usize> {
    let look = |entry: &SelectCase<'_>| entry.operation.is_ready().then_some(entry.index);
    find(entries, limit, biased, Role::Watch, look, |_, _| None)
}

/// For the macros: chooses an operation that need not wait.
///
/// # Errors
///
/// There is none.
pub fn try_select<'a>(entries: &mut [SelectCase<'a>], biased: bool) -> Result<SelectedOperation<'a>, TrySelectError> {
    run(entries, SelectLimit::Now, biased).ok_or(TrySelectError)
}

/// For the macros: waits until an operation can be chosen.
pub fn select<'a>(entries: &mut [SelectCase<'a>], biased: bool) -> SelectedOperation<'a> {
    assert!(!entries.is_empty(), "no operations have been added to `Select`");
    run(entries, SelectLimit::Until(NEVER), biased).expect("it has no deadline")
}

/// For the macros: the same, for at most `timeout`.
///
/// # Errors
///
/// The time is over.
pub fn select_timeout<'a>(
    entries: &mut [SelectCase<'a>],
    timeout: Duration,
    biased: bool,
) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
    run(entries, SelectLimit::after(timeout), biased).ok_or(SelectTimeoutError)
}

/// Waits for one of a number of operations that is known only when the program runs; for a fixed number there is
/// [`select!`](crate::channel::select).
///
/// Add the operations, then wait for one with [`select`](Self::select) or a method like it, and complete that one by
/// [`SelectedOperation::send`] or [`recv`](SelectedOperation::recv); or only find out which one could be tried now,
/// with [`ready`](Self::ready) or a method like it. An operation that would fail because its channel is disconnected
/// counts as one that need not wait. Of several, a random one is chosen; the one that was added first with
/// [`new_biased`](Self::new_biased). A select may be used many times.
///
/// ```
/// use green::channel::{Receiver, Select, unbounded};
///
/// let channels: Vec<_> = (0..3).map(|_| unbounded()).collect();
/// channels[1].0.send("hello").unwrap();
/// let mut select = Select::new();
/// for (_, receiver) in &channels {
///     select.recv(receiver);
/// }
/// let operation = select.select();
/// assert_eq!(operation.index(), 1);
/// assert_eq!(operation.recv(&channels[1].1), Ok("hello"));
/// ```
pub struct Select<'a> {
    entries: Vec<SelectCase<'a>>,
    next_index: usize,
    biased: bool,
}

// SAFETY: an operation of a select neither reads nor drops a message: it moves it, and only a handle can take it out.
// The nodes are linked only while `&mut self` is borrowed.
unsafe impl Send for Select<'_> {}
// SAFETY: as above; through `&self` it can only be cloned and shown.
unsafe impl Sync for Select<'_> {}

impl<'a> Select<'a> {
    /// Makes a select without operations.
    ///
    /// Of several operations that need not wait, it chooses a random one, so that none is left waiting for ever.
    ///
    #[doc = include_str!("docs/select_new.md")]
    #[must_use]
    pub fn new() -> Self {
        Self { entries: Vec::new(), next_index: 0, biased: false }
    }

    /// Makes a select without operations, which prefers those that were added first.
    ///
    /// Of several operations that need not wait, it chooses the one that was added first.
    ///
    #[doc = include_str!("docs/select_new_biased.md")]
    #[must_use]
    pub fn new_biased() -> Self {
        Self { biased: true, ..Self::new() }
    }

    /// Adds a send and returns its index: 0 for the first operation, then 1, and so on.
    ///
    /// The message is made when the operation has been chosen: [`SelectedOperation::send`].
    ///
    #[doc = include_str!("docs/select_send.md")]
    pub fn send<T>(&mut self, s: &'a Sender<T>) -> usize {
        self.add(s)
    }

    /// Adds a receive and returns its index: 0 for the first operation, then 1, and so on.
    ///
    #[doc = include_str!("docs/select_recv.md")]
    pub fn recv<T>(&mut self, r: &'a Receiver<T>) -> usize {
        self.add(r)
    }

    fn add<H: Operation>(&mut self, handle: &'a H) -> usize {
        let index = self.next_index;
        self.entries.push(SelectCase::new(handle, index));
        self.next_index += 1;
        index
    }

    /// Removes an operation, for instance because its channel is disconnected. The other indices stay.
    ///
    #[doc = include_str!("docs/select_remove.md")]
    ///
    /// # Panics
    ///
    /// If there is no operation with this index.
    pub fn remove(&mut self, index: usize) {
        assert!(index < self.next_index, "index out of bounds; {} >= {}", index, self.next_index);
        let at = self.entries.iter().position(|entry| entry.index == index).expect("no operation with this index");
        self.entries.remove(at);
    }

    /// Chooses an operation that need not wait. Not a cancellation point.
    ///
    #[doc = include_str!("docs/select_try_select.md")]
    ///
    /// # Errors
    ///
    /// Every operation would have to wait.
    ///
    /// # Panics
    ///
    /// If the [`SelectedOperation`] is dropped and not completed.
    pub fn try_select(&mut self) -> Result<SelectedOperation<'a>, TrySelectError> {
        try_select(&mut self.entries, self.biased)
    }

    /// Waits until an operation need not wait, and chooses it. It must then be completed.
    ///
    /// A cancellation point: a select that is cancelled has neither sent nor taken a message.
    ///
    #[doc = include_str!("docs/select_select.md")]
    ///
    /// # Panics
    ///
    /// If no operation was added; if the [`SelectedOperation`] is dropped and not completed.
    pub fn select(&mut self) -> SelectedOperation<'a> {
        select(&mut self.entries, self.biased)
    }

    /// Waits for at most `timeout` until an operation need not wait, and chooses it.
    ///
    /// Everything else is as for [`select`](Self::select).
    ///
    #[doc = include_str!("docs/select_select_timeout.md")]
    ///
    /// # Errors
    ///
    /// The time is over.
    pub fn select_timeout(&mut self, timeout: Duration) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        select_timeout(&mut self.entries, timeout, self.biased)
    }

    /// Waits until `deadline` at most until an operation need not wait, and chooses it.
    ///
    /// Everything else is as for [`select`](Self::select). If the deadline has passed, an operation that need not wait
    /// is still chosen.
    ///
    #[doc = include_str!("docs/select_select_deadline.md")]
    ///
    /// # Errors
    ///
    /// The deadline has passed.
    pub fn select_deadline(&mut self, deadline: Instant) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        run(&mut self.entries, SelectLimit::Until(at_ns(deadline)), self.biased).ok_or(SelectTimeoutError)
    }

    /// Returns the index of an operation that would not wait now.
    ///
    /// Nothing is reserved: another thread may be quicker than the caller. Not a cancellation point.
    ///
    #[doc = include_str!("docs/select_try_ready.md")]
    ///
    /// # Errors
    ///
    /// Every operation would have to wait.
    pub fn try_ready(&mut self) -> Result<usize, TryReadyError> {
        run_ready(&mut self.entries, SelectLimit::Now, self.biased).ok_or(TryReadyError)
    }

    /// Waits until an operation would not wait, and returns its index.
    ///
    /// Nothing is reserved: another thread may be quicker than the caller, so try the operation, and call this again. A
    /// cancellation point.
    ///
    #[doc = include_str!("docs/select_ready.md")]
    ///
    /// # Panics
    ///
    /// If no operation was added.
    pub fn ready(&mut self) -> usize {
        assert!(!self.entries.is_empty(), "no operations have been added to `Select`");
        run_ready(&mut self.entries, SelectLimit::Until(NEVER), self.biased).expect("it has no deadline")
    }

    /// Waits for at most `timeout` until an operation would not wait, and returns its index.
    ///
    /// Everything else is as for [`ready`](Self::ready).
    ///
    #[doc = include_str!("docs/select_ready_timeout.md")]
    ///
    /// # Errors
    ///
    /// The time is over.
    pub fn ready_timeout(&mut self, timeout: Duration) -> Result<usize, ReadyTimeoutError> {
        run_ready(&mut self.entries, SelectLimit::after(timeout), self.biased).ok_or(ReadyTimeoutError)
    }

    /// Waits until `deadline` at most until an operation would not wait, and returns its index.
    ///
    /// Everything else is as for [`ready`](Self::ready).
    ///
    #[doc = include_str!("docs/select_ready_deadline.md")]
    ///
    /// # Errors
    ///
    /// The deadline has passed.
    pub fn ready_deadline(&mut self, deadline: Instant) -> Result<usize, ReadyTimeoutError> {
        run_ready(&mut self.entries, SelectLimit::Until(at_ns(deadline)), self.biased).ok_or(ReadyTimeoutError)
    }
}

impl Clone for Select<'_> {
    fn clone(&self) -> Self {
        let entries = self.entries.iter().map(SelectCase::fresh).collect();
        Self { entries, next_index: self.next_index, biased: self.biased }
    }
}

impl Default for Select<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// Completes the operation that a [`Select`] has chosen. Do it at once: other threads may wait for it.
///
#[doc = include_str!("docs/selected_operation.md")]
///
/// # Panics
///
/// When it is dropped instead of completed, unless the thread panics already. A message that was received is lost then.
#[must_use]
pub struct SelectedOperation<'a> {
    selected: ManuallyDrop<Selected>,
    operation: &'a dyn Operation,
    index: usize,
}

impl UnwindSafe for SelectedOperation<'_> {}
impl RefUnwindSafe for SelectedOperation<'_> {}

impl SelectedOperation<'_> {
    /// Returns the index of the operation, as [`Select::recv`] or [`Select::send`] returned it.
    ///
    #[doc = include_str!("docs/selected_index.md")]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Completes a send with `msg`. Does not wait.
    ///
    #[doc = include_str!("docs/selected_send.md")]
    ///
    /// # Errors
    ///
    /// All receivers are gone; the error gives the message back.
    ///
    /// # Panics
    ///
    /// If another operation was chosen than one of this handle, or of a clone of it.
    pub fn send<T>(self, s: &Sender<T>, msg: T) -> Result<(), SendError<T>> {
        assert!(s.side() == self.operation.side(), "passed a sender that wasn't selected");
        s.complete(self.into_selected(), msg)
    }

    /// Completes a receive, and returns the message. Does not wait.
    ///
    #[doc = include_str!("docs/selected_recv.md")]
    ///
    /// # Errors
    ///
    /// There is no message, and all senders are gone.
    ///
    /// # Panics
    ///
    /// If another operation was chosen than one of this handle, or of a clone of it.
    pub fn recv<T>(self, r: &Receiver<T>) -> Result<T, RecvError> {
        assert!(r.side() == self.operation.side(), "passed a receiver that wasn't selected");
        r.complete(self.into_selected())
    }

    fn into_selected(self) -> Selected {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `self` is consumed without its drop, so what was selected is taken once.
        unsafe { ManuallyDrop::take(&mut this.selected) }
    }
}

impl Drop for SelectedOperation<'_> {
    fn drop(&mut self) {
        let selected = mem::replace(&mut *self.selected, Selected::Empty);
        self.operation.abandon(selected);
        if !unwinding() {
            panic!("dropped `SelectedOperation` without completing the operation");
        }
    }
}

debug! { Select<'a>; SelectCase<'a>; SelectedOperation<'a>; }
