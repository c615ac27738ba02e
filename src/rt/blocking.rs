//! `blocking` and `unblock`: closures that block an OS thread, run where that does no harm.
//!
//! A [`Call`] is shared by its caller and the pool's thread. Its state, under the lock of a queue in which the caller waits:
//!
//! ```text
//!  Queued(f) ──thread: start──► Runs ──thread: the value, wakes the caller──► Done(value) ──caller: take──► Over
//!      │                         │ caller: leaves, and the pool is told
//!      └──caller: leaves─────────┴──► Over            the thread drops the value
//! ```
//!
//! A caller that is interrupted first takes its job back from the pool. If it has it, it leaves, and drops the closure. If a
//! thread has it, a caller that lent something waits on, whatever happens; one that did not leaves.
//!
//! # Invariants
//!
//! 1. A call whose closure or value may borrow is `Over`, or `Queued` in nobody's hands but the caller's, when its caller goes
//!    on: what the pool's thread still has of it then holds neither closure nor value.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Weak};

use crate::park::current::with_header;
use crate::park::no_park::assert_may_park;
use crate::park::queue::WaitQueue;
use crate::park::{Wait, fork, interrupt};
use crate::rt::runtime;
use crate::sched::pool::{Job, Pool, Run};
use crate::sched::{Shared, Worker};
use crate::task::block::Output;
use crate::task::header::Reason;

/// Threads for look-ups of names. One that gets no answer takes its thread for ten seconds and more.
const LOOK_UPS: usize = 64;

enum State<F, T> {
    Queued(F),
    Runs,
    Done(Output<T>),
    Over,
}

struct Call<F, T> {
    state: WaitQueue<State<F, T>>,
    /// The caller's. It may end before a closure that the caller has left.
    runtime: Weak<Shared>,
}

/// Runs `f` on an OS thread that may block, and waits for its value: for file reads, foreign code, long computations.
///
/// The caller's worker goes on with other threads meanwhile. As the caller waits, `f` may borrow from its stack; for that it
/// has to wait to the end: a cancel or a time-out takes effect as long as `f` waits for an OS thread (then `f` is dropped, by
/// the caller), not once it runs. If `f` may take long and needs nothing of the caller's stack, use [`unblock`].
///
/// Each runtime has a bounded pool of such OS threads, and a bounded queue in front of it
/// ([`RuntimeBuilder::blocking_threads`](crate::RuntimeBuilder::blocking_threads),
/// [`blocking_queue`](crate::RuntimeBuilder::blocking_queue)); beyond both the caller waits for a place. So **a closure must not
/// wait for what another closure, or a file of [`green::fs`](crate::fs), has to do**: when such closures have all the threads,
/// the one that they wait for gets none. What `f` spawns goes to the caller's runtime. On a plain OS thread, or when the
/// system refuses the pool its first OS thread, `f` runs where it is.
///
/// # Panics
///
/// With what `f` panics with; inside [`no_park`](crate::no_park) on a green thread.
///
/// ```
/// let path = String::from("Cargo.toml");
/// let text = green::run(|| green::blocking(|| std::fs::read_to_string(&path)));
/// assert!(text.unwrap().contains("green"));
/// ```
#[track_caller]
pub fn blocking<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    let Some(worker) = Worker::current() else { return f() };
    // SAFETY: the caller does not leave.
    unsafe { call(&worker.shared.pool, Arc::downgrade(&worker.shared), f, false) }
}

/// Runs `f` on an OS thread that may block, and waits for its value, but can be interrupted: `f` owns what it uses.
///
/// This is [`blocking`] for closures that do not borrow, so a cancel or a [`timeout`](crate::timeout) takes effect at
/// any time. As long as `f` waits for an OS thread it is taken back, and dropped by the caller. Once it runs it is left
/// behind: it runs to its end, on one of the pool's bounded OS threads, its value is dropped there, and a panic is lost
/// with it. Dropping the runtime does not wait for it; what it spawns after that is an error. On a plain OS thread `f`
/// runs where it is, but inside a `timeout` on the default runtime's pool.
///
/// ```
/// use std::time::Duration;
/// // Something that never answers.
/// let (_silent, ask) = std::sync::mpsc::channel::<u32>();
/// let answer = green::run(|| green::timeout(Duration::from_millis(10), || green::unblock(move || ask.recv())));
/// assert!(answer.is_err());
/// ```
///
/// # Panics
///
/// With what `f` panics with; inside [`no_park`](crate::no_park) on a green thread; on a plain OS thread inside a
/// `timeout`, if the default runtime cannot be started.
#[track_caller]
pub fn unblock<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    if may_block() || fork::is_orphan() {
        return f();
    }
    let shared = runtime::with_shared(|shared| Ok(Arc::clone(shared)));
    let shared = shared.unwrap_or_else(|error| panic!("there is no pool for a blocking closure: {error}"));
    if shared.pool.is_the_parents() {
        return f();
    }
    // SAFETY: the closure and its value borrow nothing.
    unsafe { call(&shared.pool, Arc::downgrade(&shared), f, true) }
}

/// As [`unblock`], for a look-up of a name. Those have few threads of their own in this process: files that do not answer take
/// none of them away, nor the other way round. `f` calls nothing of this crate's.
pub(crate) fn look_up<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new(LOOK_UPS, usize::MAX, "green-names".to_owned()));
    if may_block() || POOL.is_the_parents() {
        return f();
    }
    // SAFETY: the closure and its value borrow nothing.
    unsafe { call(&POOL, Weak::new(), f, true) }
}

/// May the caller simply block? A plain OS thread may, outside a `timeout`.
pub(crate) fn may_block() -> bool {
    Worker::current().is_none() && with_header(|thread| thread.limits.is_empty())
}

/// Runs `f` on a thread of `pool`, as if inside `runtime`, and waits for its value. `may_leave`: a caller that is interrupted
/// leaves a closure that runs.
///
/// # Safety
///
/// With `may_leave`, neither `f` nor its value borrows anything.
#[track_caller]
unsafe fn call<F: FnOnce() -> T + Send, T: Send>(pool: &Pool, runtime: Weak<Shared>, f: F, may_leave: bool) -> T {
    // From here to the value nothing unwinds but `raise`, below.
    assert_may_park("a blocking call");
    let call = Arc::new(Call { state: WaitQueue::new(State::Queued(f)), runtime });
    let job: Arc<dyn Run + '_> = call.clone();
    // SAFETY: only the lifetime changes; invariant 1: the pool does not touch what may borrow once the caller goes on.
    let job: Job = unsafe { mem::transmute::<Arc<dyn Run + '_>, Job>(job) };
    let mut wait = Wait::new(Reason::Blocking);
    loop {
        let Ok(number) = pool.submit(wait, &job) else { return call.run_here() };
        let mut queued = true;
        while wait.is_interruptible() && queued {
            if let Ok(output) = call.state.try_wait_until(wait, State::take) {
                return output.unwrap_or_else(|payload| interrupt::resume(payload));
            }
            queued = !pool.withdraw(number);
            if queued && !may_leave {
                wait = wait.uninterruptible(); // KEY: call-lends
            } else {
                let leaves = Leaves { call: &call, pool };
                wait = interrupt::raise(wait);
                // Nothing was raised, so the caller goes on.
                mem::forget(leaves);
            }
        }
        if queued {
            let output = call.state.wait_until(wait, State::take).expect("a wait without a deadline");
            return output.unwrap_or_else(|payload| interrupt::resume(payload));
        }
    }
}

impl<F, T> State<F, T> {
    /// The thread takes the closure. `None`: the caller has left.
    fn start(&mut self) -> Option<F> {
        match mem::replace(self, State::Over) {
            State::Queued(f) => {
                *self = State::Runs;
                Some(f)
            }
            _ => None,
        }
    }

    /// The caller takes the value, if it is there.
    fn take(&mut self) -> Option<Output<T>> {
        match mem::replace(self, State::Over) {
            State::Done(output) => Some(output),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl<F: FnOnce() -> T, T> Call<F, T> {
    /// There is no thread: the caller runs the closure, which nobody else has.
    fn run_here(&self) -> T {
        let f = self.state.with(State::start).expect("a job that was refused is its caller's");
        f()
    }
}

impl<F: FnOnce() -> T + Send, T: Send> Run for Call<F, T> {
    fn run(&self) -> bool {
        let Some(f) = self.state.with(State::start) else { return false };
        let mut output = Some(runtime::inside(&self.runtime, || catch_unwind(AssertUnwindSafe(f))));
        self.state.notify_one(|state| match state {
            State::Runs => {
                *state = State::Done(output.take().expect("it is handed over once"));
                true
            }
            _ => false,
        });
        let Some(late) = output else { return false };
        // Nobody wants it, nor to hear of its destructor's panic.
        let dropped = runtime::inside(&self.runtime, || catch_unwind(AssertUnwindSafe(|| drop(late))));
        dropped.unwrap_or_else(mem::forget);
        true
    }
}

/// The caller is unwound: it leaves its call.
struct Leaves<'a, F, T> {
    call: &'a Call<F, T>,
    pool: &'a Pool,
}

impl<F, T> Drop for Leaves<'_, F, T> {
    fn drop(&mut self) {
        let before = self.call.state.with(|state| {
            let before = mem::replace(state, State::Over);
            if matches!(before, State::Runs) {
                self.pool.leave(); // KEY: call-leaves
            }
            before
        });
        // The closure, or a value that came at the last moment: a user's destructor, outside the lock.
        drop(before);
    }
}
