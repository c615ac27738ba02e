//! fork(2) without exec: what becomes of the crate in the child.
//!
//! Only the thread that has called fork runs in the child. If that is a worker, running a green thread, the others of that worker
//! are there with their stacks, too, and the poller is the parent's own, by shared descriptors: none of this may ever run
//! again. So the handler that the system calls in the child makes a plain OS thread of the green one: it takes the worker away from
//! the OS thread. From then on sleeps, locks, channels, files and sockets work as they do on any plain OS thread, and nothing
//! on the hot paths has to ask. What needs the parent's workers asks, each on a cold path, and panics:
//!
//! * spawning, `run`: what an OS thread spawns goes to a runtime that says in which process it was made; what the thread that
//!   was green spawns would go to the parent's, so it is an orphan, for which no default runtime is started instead;
//! * joining: ids grow, so a thread with an id from before the fork is the parent's;
//! * what is sent to an actor, or waits for one: by its id, as well;
//! * the end of the green thread that has forked: there is no loop to go back to. Its mark is `yields` in [`WorkerContext`], which
//!   is never set when a fiber finishes otherwise.
//!
//! What all threads of a process share under a lock of the crate's (spare stacks, blocks, remotes, slots of descriptors, rings of events, signals that came, names, groups, the table of futexes, claims of files) each process has for
//! itself ([`PerProcess`](fork::PerProcess)): in the child nobody would unlock what another thread had locked. (The statics of `green-std` are numbers that a thread changes by one
//! instruction, and addresses that are the same whoever finds them: a child goes on with its parent's, and its counters from theirs.) What is made once for all ([`ForkSafeOnce`](fork::ForkSafeOnce)) a fork
//! may find half made, and the child makes it again. What cannot be made twice, and what std has a lock for, is made while no
//! thread forks ([`hold`]): the first runtime, what that asks std for (its panic hook), and what is found out about libc for threads with thread-locals of their own. Not provided for is a fork while another thread panics, as std has the hook locked then; nor one in the
//! moment in which another OS thread begins or ends, as std has a lock of its list of stacks then (`thread_info`), and no thread begins in the child; nor one while
//! another thread is inside a lock, channel or socket that the child uses.
//!
//! # Protocol: the gate
//!
//! ```text
//!  a thread that makes something once             a thread that forks
//!  G1  has the handlers put in place
//!  G2  free -> held  [CAS]; else looks again      F1  (before) free -> held  [CAS]; else looks again, for LONGEST_WAIT
//!  G3  makes it, and notes that it is made        F2  forks
//!  G4  held -> free                               F3  (parent) held -> free; (child) free, whoever held it
//! ```
//!
//! Between G2 and G4 no thread is between F1 and F3: so a child sees all of G3, or nothing. Where the handlers are not in place yet, no thread has come to G2.
//!
//! The gate names its holder and the holder's process, and counts how often that has it, in one word. So a thread that holds it may fork, or make another thing, and does not wait for
//! itself: neither do other people's handlers between F1 and F3, nor a signal's. What a process that is not this one holds is free: this is a child in which F3 did not run.
//!
//! A thread that panics waits for nobody: it may have std's hook, for which the holder of the gate waits. And one that forks waits for so long only, and then goes on *without* the gate: a
//! thread that panics may wait for it, in the program's own hook. Its child is one of a fork while another thread panics, as below; if the holder was only slow, std's hook may be locked in
//! the child, and what is made once may be missing there.
//!
//! # Libc's list of libraries
//!
//! Who goes through it (`dl_iterate_phdr`), or has functions named, has locks that nobody opens in a child. A dump does that for each of thousands of places. So it has the gate each time
//! ([`hold_for_lists`]), but as a guest: it lets those go first that wait for the gate, and waits no longer for its holder than a thread that forks, and of one holder once. What it does without the gate,
//! or longer than a thread that forks waits, may be under way at a fork: the child knows by the count of those that are at it, and leaves the lists alone for good: its dumps have neither stacks nor
//! names.
//!
//! As long as a thread waits for the gate or has it, it does not park ([`lock::is_waited_for`]): libc's lock of the handlers may be its own, and others wait for it.

use std::cell::Cell;
use std::ptr;
use std::time::{Duration, Instant};

use crate::base::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::base::lock;
use crate::park::current::WorkerContext;
use crate::park::os;
use crate::sys::fork;
use crate::thread_locals;

thread_local! {
    static ORPHAN: Cell<bool> = const { Cell::new(false) };
    /// The worker, while a thread with thread-locals of its own forks on those of the worker.
    static ASIDE: Cell<*const WorkerContext> = const { Cell::new(ptr::null()) };
    /// The thread's number before it forked.
    static FORKS_AS: Cell<u64> = const { Cell::new(0) };
}

/// See the module's text: how often its holder has it, and above that the holder. If that is 0 times, it is free.
static GATE: AtomicU64 = AtomicU64::new(0);
const TIMES_BITS: u32 = u64::BITS - fork::THREAD_BITS;
const TIMES: u64 = (1 << TIMES_BITS) - 1;

/// A thread that forks waits for the gate for so long.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// Between two looks.
const PAUSE: Duration = Duration::from_micros(50);

/// So long a guest waits for those that wait for the gate: each looks several times, on a processor that is not too busy.
const COURTESY: Duration = Duration::from_millis(5);

/// No thread forks as long as this lives, and one thread at a time has one.
#[derive(Debug)]
pub(crate) struct HeldGate {
    /// If not, it has not got it: it panics, and somebody else had the gate.
    has_it: bool,
}

/// As [`HeldGate`], until the process has made its first runtime; then nothing.
#[derive(Debug)]
pub(crate) struct FirstGate(Option<HeldGate>);

/// The first runtime is there.
static HAS_MADE: AtomicBool = AtomicBool::new(false);

/// The caller is about to make a runtime.
#[must_use]
pub(crate) fn hold_for_first() -> FirstGate {
    // ORDERING(argued): Acquire pairs with the Release below: what was made under the gate is there, and the handlers. No model forks.
    FirstGate((!HAS_MADE.load(Ordering::Acquire)).then(hold))
}

impl FirstGate {
    /// It is made. (If not, the next one is the first.)
    pub(crate) fn made(self) {
        if self.0.is_some() {
            HAS_MADE.store(true, Ordering::Release); // ORDERING(argued): as above.
        }
    }
}

/// Steps G1 and G2.
#[must_use]
pub(crate) fn hold() -> HeldGate {
    install();
    lock::begin_waiting();
    HeldGate { has_it: take_gate_first(None) }
}

/// How many wait for the gate that are no guests.
static WAITERS: AtomicU32 = AtomicU32::new(0);
/// How many threads may be at libc's lists, or at what names functions.
static AT_LISTS: AtomicU32 = AtomicU32::new(0);
/// A thread of a parent was at them at the fork.
static LISTS_ARE_LOCKED: AtomicBool = AtomicBool::new(false);
/// A holder for which a guest has waited in vain.
static IN_VAIN: AtomicU64 = AtomicU64::new(0);

/// The caller may go through libc's list of libraries and have functions named, and nothing else: it does not park as long as this lives.
#[derive(Debug)]
pub(crate) struct HeldLists(
    #[cfg_attr(
        not(all(test, target_os = "linux", not(any(miri, green_emulated)))),
        expect(dead_code, reason = "it is there to go")
    )]
    HeldGate,
);

/// The caller is about to go through libc's list of libraries. `None`: it must not, as there is nobody to open their locks.
#[must_use]
pub(crate) fn hold_for_lists() -> Option<HeldLists> {
    if LISTS_ARE_LOCKED.load(Ordering::Relaxed) {
        return None;
    }
    install();
    lock::begin_waiting();
    let (own, begin) = (fork::calling_thread(), Instant::now());
    let holder = || GATE.load(Ordering::Relaxed) >> TIMES_BITS;
    let is_in_vain = || holder() != 0 && IN_VAIN.load(Ordering::Relaxed) == holder();
    let gives_way = || !is_held_by(own) && !is_in_vain() && !std::thread::panicking() && begin.elapsed() < COURTESY;
    while WAITERS.load(Ordering::Relaxed) > 0 && gives_way() {
        std::thread::sleep(PAUSE);
    }
    let (holder, is_in_vain) = (holder(), is_in_vain());
    let has_it = take_gate(Some(if is_in_vain { Duration::ZERO } else { LONGEST_WAIT }));
    IN_VAIN.store(if has_it { 0 } else { holder }, Ordering::Relaxed);
    // ORDERING(argued): SeqCst: it comes before the locks are taken, as a fork copies them. No model forks.
    AT_LISTS.fetch_add(1, Ordering::SeqCst);
    Some(HeldLists(HeldGate { has_it }))
}

impl Drop for HeldLists {
    fn drop(&mut self) {
        // ORDERING(argued): Release: after the locks are open, as above. In a child that the caller has forked from a signal's handler it is 0.
        let _ = AT_LISTS.fetch_update(Ordering::Release, Ordering::Relaxed, |count| count.checked_sub(1));
    }
}

impl Drop for HeldGate {
    fn drop(&mut self) {
        if self.has_it {
            let_go();
        }
        lock::end_waiting();
    }
}

/// As [`take_gate`], before those who hold the gate again and again.
fn take_gate_first(longest: Option<Duration>) -> bool {
    WAITERS.fetch_add(1, Ordering::Relaxed);
    let has_it = take_gate(longest);
    // In a child that the caller has forked from a signal's handler it is 0.
    let _ = WAITERS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
    has_it
}

/// False: another has it, and the thread panics, or has waited for that long.
fn take_gate(longest: Option<Duration>) -> bool {
    let (own, begin) = (fork::calling_thread(), Instant::now());
    loop {
        let found = GATE.load(Ordering::Relaxed);
        let (holder, times) = (found >> TIMES_BITS, found & TIMES);
        let is_own = times > 0 && holder == own;
        let is_free = times == 0 || !fork::is_same_process(holder, own);
        if is_own || is_free {
            let taken = if is_own { found + 1 } else { own << TIMES_BITS | 1 };
            // ORDERING(argued): Acquire pairs with the Release in `let_go`: what was made there is seen here. No model forks.
            if GATE.compare_exchange(found, taken, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return true;
            }
        } else if std::thread::panicking() || longest.is_some_and(|longest| begin.elapsed() >= longest) {
            return false;
        } else {
            std::thread::sleep(PAUSE);
        }
    }
}

/// One time less.
fn let_go() {
    GATE.fetch_sub(1, Ordering::Release); // ORDERING(argued): see `take_gate`.
}

/// Has the thread of that number the gate?
fn is_held_by(thread: u64) -> bool {
    let found = GATE.load(Ordering::Relaxed);
    found & TIMES > 0 && found >> TIMES_BITS == thread
}

/// Was the calling OS thread green when it forked, so that its runtime is the parent's?
pub(crate) fn is_orphan() -> bool {
    ORPHAN.get()
}

/// [`install`] is over, or, 0, has not begun; else the process that is at it.
static INSTALLED_IN: AtomicU32 = AtomicU32::new(0);
const OVER: u32 = u32::MAX;

/// Has the handlers called at each fork from now on. (Not by a `Once`: in a child that was forked meanwhile nobody would end it.)
pub(crate) fn install() {
    loop {
        // ORDERING(argued): Acquire pairs with the Release below: the handlers are there. No model forks.
        let found = INSTALLED_IN.load(Ordering::Acquire);
        if found == OVER {
            return;
        }
        let own = std::process::id();
        if found == own {
            lock::waiting(|| std::thread::sleep(PAUSE));
        } else if INSTALLED_IN.compare_exchange(found, own, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            fork::at_each_fork(before, parent, child);
            INSTALLED_IN.store(OVER, Ordering::Release); // ORDERING(argued): as above.
            return;
        }
    }
}

/// Other people's handlers run before and after this one. Where the thread goes on as its worker it is no green thread: it could not suspend there.
unsafe extern "C" fn before() {
    lock::begin_waiting();
    FORKS_AS.set(fork::calling_thread());
    take_gate_first(Some(LONGEST_WAIT));
    if thread_locals::before_fork() {
        step_aside();
    }
}

/// The worker's thread-locals, which are those of a plain OS thread until [`step_back`].
#[inline(never)]
fn step_aside() {
    ASIDE.set(WorkerContext::entered().map_or(ptr::null(), |here| here.as_ptr().cast_const()));
    // SAFETY: no worker.
    unsafe { WorkerContext::enter(ptr::null()) };
}

#[inline(never)]
fn step_back() {
    if thread_locals::has_forked_as_worker() {
        // SAFETY: it was entered before, and the worker has been waiting for this thread since.
        unsafe { WorkerContext::enter(ASIDE.replace(ptr::null())) };
        thread_locals::after_fork();
    }
}

unsafe extern "C" fn parent() {
    step_back();
    // If not, it went on without it.
    if is_held_by(fork::calling_thread()) {
        let_go();
    }
    lock::end_waiting();
}

/// Makes stores only: other threads may have been in the middle of anything.
unsafe extern "C" fn child() {
    step_back();
    // Whoever was at it: the handlers are there.
    INSTALLED_IN.store(OVER, Ordering::Relaxed);
    WAITERS.store(0, Ordering::Relaxed);
    if AT_LISTS.swap(0, Ordering::Relaxed) > 0 {
        LISTS_ARE_LOCKED.store(true, Ordering::Relaxed);
    }
    let own = fork::calling_thread();
    let times = if is_held_by(FORKS_AS.replace(own)) { GATE.load(Ordering::Relaxed) & TIMES } else { 1 };
    GATE.store(own << TIMES_BITS | times, Ordering::Relaxed);
    let_go();
    lock::end_waiting();
    os::note_fork();
    if let Some(here) = WorkerContext::get() {
        here.set_yields();
        if let Some(thread) = here.current() {
            thread.state.forget_waiters();
        }
        ORPHAN.set(true);
        // SAFETY: no worker.
        unsafe { WorkerContext::enter(ptr::null()) };
    }
}

#[cfg(all(test, target_os = "linux", not(any(miri, green_emulated))))]
mod tests {
    use super::*;
    use crate::sys::fork::tests::{exited, forked, in_a_new_process};
    use std::sync::atomic::AtomicI32;

    /// How often the calling thread has the gate, and, in tens, another that looks.
    fn times() -> i32 {
        let found = GATE.load(Ordering::Relaxed);
        let own = if is_held_by(fork::calling_thread()) { (found & TIMES) as i32 } else { 0 };
        let takes = || take_gate(Some(Duration::ZERO)).then(let_go).is_some();
        own + 10 * i32::from(std::thread::spawn(takes).join().unwrap())
    }

    #[test]
    fn a_thread_that_has_the_gate_may_take_it_again_and_fork() {
        in_a_new_process(|| {
            assert_eq!(forked(times), exited(10), "free");
            let first = hold();
            let second = hold();
            assert_eq!(times(), 2);
            assert_eq!(forked(times), exited(2), "the child's, as often");
            let let_go_of_both = || {
                drop((hold(), hold()));
                GATE.fetch_sub(2, Ordering::Relaxed);
                times()
            };
            assert_eq!(forked(let_go_of_both), exited(10));
            assert_eq!(times(), 2);
            drop(second);
            assert_eq!(times(), 1);
            drop(first);
            assert_eq!(times(), 10);
            assert!(!lock::is_waited_for());
        });
    }

    #[test]
    fn a_fork_that_went_on_without_the_gate_leaves_it_to_its_holder_and_the_child_has_it_free() {
        in_a_new_process(|| {
            let (holds, over) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let _held = hold();
                    holds.wait();
                    over.wait();
                });
                holds.wait();
                let begin = Instant::now();
                let child = forked(times);
                let (took, here) = (begin.elapsed(), times());
                over.wait();
                assert_eq!((child, here), (exited(10), 0));
                assert!(took >= LONGEST_WAIT, "{took:?}");
            });
            assert_eq!(times(), 10);
        });
    }

    #[test]
    fn a_fork_comes_between_two_of_a_guest_that_has_the_gate_again_and_again() {
        in_a_new_process(|| {
            let over = AtomicBool::new(false);
            let children = std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        let _held = hold_for_lists();
                        let begin = Instant::now();
                        while begin.elapsed() < Duration::from_millis(2) {}
                    }
                });
                let children = [(); 20].map(|()| forked(|| i32::from(hold_for_lists().is_some())));
                over.store(true, Ordering::Relaxed);
                children
            });
            assert_eq!(children, [exited(1); 20]);
            assert_eq!((WAITERS.load(Ordering::Relaxed), AT_LISTS.load(Ordering::Relaxed), times()), (0, 0, 10));
        });
    }

    /// Many guests, one after the other, while a thread holds the gate; another may wait for it. How long they take; a minute is too long.
    fn guests_in_vain(another_waits: bool) -> Duration {
        const TOO_LONG: Duration = Duration::from_secs(60);
        let (holds, over) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        let took = std::thread::scope(|scope| {
            scope.spawn(|| {
                let _held = hold();
                holds.wait();
                over.wait();
            });
            holds.wait();
            if another_waits {
                scope.spawn(|| drop(hold()));
                while WAITERS.load(Ordering::Relaxed) == 0 {
                    std::thread::yield_now();
                }
            }
            let begin = Instant::now();
            (0..20_000).take_while(|_| begin.elapsed() < TOO_LONG).for_each(|_| drop(hold_for_lists()));
            let took = begin.elapsed();
            over.wait();
            took
        });
        assert!(took < TOO_LONG, "each has waited");
        took
    }

    #[test]
    fn a_guest_waits_in_vain_for_one_holder_once() {
        in_a_new_process(|| {
            let took = guests_in_vain(false);
            assert!(took >= LONGEST_WAIT, "{took:?}");
            assert!(hold_for_lists().is_some_and(|held| held.0.has_it));
        });
    }

    #[test]
    fn each_guest_gave_way_to_one_that_waited_for_a_holder_for_which_guests_had_waited_in_vain() {
        in_a_new_process(|| {
            guests_in_vain(true);
        });
    }

    #[test]
    fn who_was_forked_in_a_handler_as_it_waited_for_the_gate_counted_more_waiters_than_there_can_be() {
        /// In the child 0.
        static CHILD: AtomicI32 = AtomicI32::new(-1);
        extern "C" fn forks(_: libc::c_int) {
            // SAFETY: the child goes on with the thread that was interrupted, which ends it.
            CHILD.store(unsafe { libc::fork() }, Ordering::Relaxed);
        }
        let until = |done: &dyn Fn() -> bool| {
            while !done() {
                std::thread::yield_now();
            }
        };
        in_a_new_process(|| {
            let (holds, over) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
            // SAFETY: `forks` is a handler of signals.
            unsafe { libc::signal(libc::SIGUSR1, forks as *const () as libc::sighandler_t) };
            // SAFETY: no requirements.
            let waiter = unsafe { libc::pthread_self() };
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let _held = hold();
                    holds.wait();
                    over.wait();
                });
                holds.wait();
                scope.spawn(|| {
                    until(&|| WAITERS.load(Ordering::Relaxed) > 0);
                    // SAFETY: that thread waits for the end of this one.
                    assert_eq!(unsafe { libc::pthread_kill(waiter, libc::SIGUSR1) }, 0);
                    until(&|| CHILD.load(Ordering::Relaxed) > 0);
                    over.wait();
                });
                drop(hold());
                if CHILD.load(Ordering::Relaxed) == 0 {
                    // SAFETY: it has no other thread.
                    unsafe { libc::_exit(i32::from(WAITERS.load(Ordering::Relaxed) > 0)) };
                }
            });
            let mut status = -1;
            // SAFETY: the call writes one number.
            unsafe { libc::waitpid(CHILD.load(Ordering::Relaxed), &raw mut status, 0) };
            assert_eq!(status, exited(0));
        });
    }

    #[test]
    fn what_another_process_holds_is_free() {
        in_a_new_process(|| {
            GATE.store((fork::calling_thread() ^ 1 << (fork::THREAD_BITS - 1)) << TIMES_BITS | 1, Ordering::Relaxed);
            assert_eq!(times(), 10);
            drop(hold());
            assert_eq!(times(), 10);
        });
    }
}
