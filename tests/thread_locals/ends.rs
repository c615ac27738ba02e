//! What happens late in a thread's life, when its thread-locals are destroyed, and in children of fork.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use green::actor::{Actor, Handler, Message};

use crate::help::{Gate, in_a_child};
use crate::runtime;

static MADE: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicUsize = AtomicUsize::new(0);

/// Counts itself. On the heap, so that a second drop is noticed.
struct Counted(#[expect(dead_code, reason = "it is dropped")] Box<u8>);

impl Counted {
    fn new() -> Self {
        MADE.fetch_add(1, Ordering::Relaxed);
        Self(Box::new(1))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

thread_local! {
    static COUNTED: RefCell<Vec<Counted>> = const { RefCell::new(Vec::new()) };
    static BYTES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Runs what it is sent.
struct Runner;
impl Actor for Runner {}

struct Run(fn());
impl Message for Run {
    type Reply = ();
}

impl Handler<Run> for Runner {
    fn handle(&mut self, run: Run, _: &mut green::actor::Context<Self>) {
        run.0();
    }
}

/// Runs each of `jobs` in turn, three times, in a thread of its own and in a run of an actor, and says that all that was made was dropped.
fn each_in_turn(jobs: &[fn()]) {
    let Some(runtime) = runtime() else { return };
    runtime.run(|| {
        for _ in 0..3 {
            jobs.iter().for_each(|job| green::spawn(*job).join().unwrap());
        }
        let actor = Runner.start();
        for _ in 0..3 {
            for job in jobs {
                actor.send(Run(*job)).unwrap();
                // It is told when its run is over; then another uses its block.
                (0..3).for_each(|_| green::yield_now());
                green::spawn(|| ()).join().unwrap();
            }
        }
        actor.stop();
        actor.join();
        green::yield_now();
    });
    drop(runtime);
    assert_eq!(MADE.load(Ordering::Relaxed), DROPPED.load(Ordering::Relaxed));
    assert!(MADE.load(Ordering::Relaxed) > 0);
}

fn adds_one_to_none() {
    COUNTED.with_borrow_mut(|counted| {
        assert!(counted.is_empty(), "values of another thread");
        counted.push(Counted::new());
    });
}

/// A key whose destructor is `destroy`.
fn new_key(destroy: unsafe extern "C" fn(*mut libc::c_void)) -> libc::pthread_key_t {
    let mut key = 0;
    // SAFETY: it writes one number, and the destructor takes any value.
    assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, Some(destroy)) }, 0);
    key
}

#[test]
fn a_keys_destructor_that_uses_a_thread_local_leaves_nothing_to_the_blocks_next_thread() {
    extern "C" fn destroy(_: *mut libc::c_void) {
        COUNTED.with_borrow_mut(|counted| counted.push(Counted::new()));
    }
    fn sets_the_key() {
        static KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();
        // SAFETY: the key is never deleted; its destructor takes any value.
        assert_eq!(unsafe { libc::pthread_setspecific(*KEY.get_or_init(|| new_key(destroy)), 8 as *const _) }, 0);
    }
    in_a_child(&[], || each_in_turn(&[sets_the_key, adds_one_to_none])).assert_success();
}

#[test]
fn a_thread_locals_destructor_may_make_values_of_the_green_thread() {
    green::local! {
        static LOCAL: Counted = Counted::new();
    }
    struct MakesOne;
    impl Drop for MakesOne {
        fn drop(&mut self) {
            LOCAL.with(|_| ());
        }
    }
    thread_local! {
        static MAKES_ONE: MakesOne = const { MakesOne };
    }
    fn uses_it() {
        MAKES_ONE.with(|_| ());
    }
    in_a_child(&[], || each_in_turn(&[uses_it, adds_one_to_none])).assert_success();
}

#[test]
fn a_foreign_waker_finds_thread_locals_that_its_thread_had_used() {
    struct Unparks(std::thread::Thread);
    impl Wake for Unparks {
        fn wake(self: Arc<Self>) {
            BYTES.with_borrow_mut(|bytes| bytes.push(1));
            self.0.unpark();
        }
    }
    in_a_child(&[], || {
        let Some(runtime) = runtime() else { return };
        let gate = Gate::new();
        let opens = gate.clone();
        let thread = runtime.spawn(move || {
            BYTES.with_borrow_mut(|bytes| bytes.push(1));
            gate.wait();
            7
        });
        let waker = Waker::from(Arc::new(Unparks(std::thread::current())));
        let mut thread = pin!(thread);
        let mut context = Context::from_waker(&waker);
        let result = loop {
            if let Poll::Ready(result) = thread.as_mut().poll(&mut context) {
                break result;
            }
            opens.open();
            std::thread::park();
        };
        assert_eq!(result.unwrap(), 7);
    })
    .assert_success();
}

#[test]
fn a_result_whose_handle_goes_while_thread_locals_are_destroyed_finds_them_again() {
    static WHOLE: AtomicUsize = AtomicUsize::new(0);
    struct UsesOne;
    impl Drop for UsesOne {
        fn drop(&mut self) {
            BYTES.with_borrow_mut(|bytes| bytes.push(1));
            WHOLE.fetch_add(1, Ordering::Relaxed);
        }
    }
    /// Opens the first, waits for the second.
    struct Waits(Gate, Gate);
    impl Drop for Waits {
        fn drop(&mut self) {
            self.0.open();
            self.1.wait();
        }
    }
    thread_local! {
        static WAITS: RefCell<Option<Waits>> = const { RefCell::new(None) };
    }
    let Some(runtime) = runtime() else { return };
    runtime.run(|| {
        let (reached, gate) = (Gate::new(), Gate::new());
        let waits = Waits(reached.clone(), gate.clone());
        let thread = green::spawn(move || {
            BYTES.with_borrow_mut(|bytes| bytes.push(1));
            WAITS.set(Some(waits));
            UsesOne
        });
        reached.wait();
        drop(thread);
        gate.open();
    });
    drop(runtime);
    assert_eq!(WHOLE.load(Ordering::Relaxed), 1);
}

/// How a child of fork ended.
fn status_of(child: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: it writes one number.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    status
}

#[test]
#[cfg_attr(green_emulated, ignore = "an emulator has threads of its own, which a child lacks")]
fn a_child_of_fork_may_run_many_threads_without_losing_the_stack_of_its_worker() {
    let builder = green::Runtime::builder().workers(40).thread_locals(green::ThreadLocals::PerThread);
    let Ok(runtime) = builder.build() else { return };
    for _ in 0..4 {
        runtime.run(|| {
            // SAFETY: the child uses what a child of fork may, and ends by `_exit`.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: a number.
                unsafe { libc::alarm(20) };
                for _ in 0..100 {
                    let thread = std::thread::Builder::new().stack_size(8 << 20);
                    thread.spawn(|| std::thread::sleep(Duration::from_millis(1))).unwrap().join().unwrap();
                }
                // The kernel writes into the memory of the worker's thread when that is scheduled anew.
                (0..10_000).for_each(|_| std::thread::yield_now());
                // SAFETY: no conditions.
                unsafe { libc::_exit(0) };
            }
            assert_eq!(status_of(child), 0);
        });
    }
}

#[test]
#[cfg_attr(green_emulated, ignore = "an emulator has threads of its own, which a child lacks")]
fn a_thread_that_returns_in_the_child_aborts_that_on_its_workers_stack() {
    let kinds = [Some(crate::help::runtime(1)), runtime()];
    kinds.iter().flatten().for_each(returns_in_a_child);
}

fn returns_in_a_child(runtime: &green::Runtime) {
    let child = AtomicUsize::new(0);
    runtime.run(|| {
        // SAFETY: the child uses what a child of fork may.
        let forked = unsafe { libc::fork() };
        if forked == 0 {
            // SAFETY: a number.
            unsafe { libc::alarm(20) };
            for _ in 0..3 {
                // Its stack would be the worker's, or that of the thread which waits for this one.
                std::thread::spawn(|| {
                    std::hint::black_box([1_u8; 50_000]);
                    std::thread::park();
                });
            }
            std::thread::sleep(Duration::from_millis(50));
            return;
        }
        child.store(forked as usize, Ordering::Relaxed);
    });
    let status = status_of(child.load(Ordering::Relaxed) as libc::pid_t);
    assert_eq!(libc::WTERMSIG(status), libc::SIGABRT, "{status:#x}");
}

/// A guard that goes to another thread: by `spawn_local`.
#[test]
fn a_cancel_does_not_poison_a_lock_that_another_thread_has_taken() {
    let Some(runtime) = runtime() else { return };
    static LOCK: green::sync::Mutex<()> = green::sync::Mutex::new(());
    runtime.run(|| {
        // This thread has seen more time-outs than the other will.
        for _ in 0..3 {
            assert!(green::timeout(Duration::ZERO, green::thread::park).is_err());
        }
        let guard = LOCK.lock().unwrap();
        let cancelled = green::spawn_local(move || {
            let _guard = guard;
            green::thread::park();
        });
        crate::help::until_parked(cancelled.thread(), "park");
        cancelled.cancel();
        assert!(cancelled.join().unwrap_err().is::<green::Cancelled>());
    });
    assert!(!LOCK.is_poisoned());
}
