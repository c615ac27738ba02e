//! The workers of `loom_moving.rs`, as far as `sched/moving.rs` and `sched/own.rs` see them. Loom watches what is only for those who have a worker's parts.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use loom::sync::Mutex;
use loom::sync::atomic::Ordering::Release;
use loom::sync::atomic::{AtomicPtr, AtomicU32};
use loom::thread;

use crate::latch::Latch;
use crate::machine::block::Block;
use crate::machine::{self, FiberCore, Hub, Status};
use crate::model::{Gate, Watched};
use crate::moving;
use crate::parts::{Clock, Events, Idle, Live, Part, Poller, Queues, Unstarted, Wheel};
use crate::sched_own::PerThread;
use crate::siblings::Siblings;
use crate::stack::StackSize;
use crate::task::header::{Main, Spec, VTable};
use crate::task::wait::End;
use crate::task::{Header, Task, Ticket};

pub(crate) mod worker {
    pub(crate) use super::Worker;
}

pub(crate) mod search {
    pub(crate) fn steal_unstarted(_: &()) -> Option<crate::task::Task> {
        None
    }
}

pub(crate) mod entry {
    use super::*;

    pub(crate) fn count_end(_: &Header, _: crate::task::unwound::EndsBy) {}

    pub(crate) unsafe fn live<const OWN: bool>(header: NonNull<Header>, destroy: fn(), _: impl Fn()) {
        let thread = unsafe { header.cast::<Thread>().as_ref() };
        (thread.body)(thread);
        destroy();
    }
}

pub(crate) mod remote {
    use super::*;

    pub(crate) struct Remote {
        pub(crate) index: u16,
        pub(crate) latch: Latch,
        pub(crate) here: AtomicPtr<WorkerContext>,
        pub(crate) counters: Counters,
        pub(crate) doorbell: Doorbell,
        /// For a runtime that stops, which these are not.
        pub(crate) live: AtomicU32,
    }

    pub(crate) struct Counters {
        pub(crate) stolen: Counter,
    }

    pub(crate) struct Counter;

    impl Counter {
        pub(crate) fn add(&self, _: u64) {}
    }

    pub(crate) struct Doorbell {
        inbox: Mutex<Vec<NonNull<Header>>>,
        pub(crate) gate: Gate,
    }

    #[derive(Default)]
    pub(crate) struct Batch {
        pub(crate) control: bool,
        pub(crate) threads: Vec<NonNull<Header>>,
    }

    impl Doorbell {
        pub(crate) fn answer(&self, _: Idle, _: bool) -> Batch {
            Batch { control: false, threads: std::mem::take(&mut *self.inbox.lock().unwrap()) }
        }

        pub(crate) fn is_silent(&self) -> bool {
            true
        }
    }

    impl Remote {
        pub(super) fn new(index: u16) -> &'static Self {
            Box::leak(Box::new(Self {
                index,
                latch: Latch::new(),
                here: AtomicPtr::new(ptr::null_mut()),
                counters: Counters { stolen: Counter },
                doorbell: Doorbell { inbox: Mutex::default(), gate: Gate::new() },
                live: AtomicU32::new(0),
            }))
        }

        pub(crate) unsafe fn send(&self, thread: NonNull<Header>) {
            self.doorbell.inbox.lock().unwrap().push(thread);
            self.doorbell.gate.open();
        }

        pub(crate) fn take_cancels(&self) -> Vec<Task> {
            Vec::new()
        }

        pub(crate) fn notify_control(&self) {}
    }

    pub(crate) fn get(index: u16) -> &'static Remote {
        REMOTES.with(|remotes| remotes.borrow()[usize::from(index)])
    }

    pub(crate) fn interrupt(_: &Task, _: crate::task::state::CancelFound) {
        unreachable!("nobody is cancelled")
    }
}

use remote::Remote;

thread_local! {
    /// Of the run that is on: loom's threads are one to std.
    static REMOTES: RefCell<Vec<&'static Remote>> = const { RefCell::new(Vec::new()) };
}

pub(crate) struct WorkerContext {
    hub: Hub,
    number: usize,
    current: Cell<Option<NonNull<Header>>>,
    yields: Cell<bool>,
    woken: Part,
    pub(crate) wheel: RefCell<Wheel>,
}

impl WorkerContext {
    pub(crate) unsafe fn enter(here: *const WorkerContext) {
        machine::here().here.set(Some(here));
    }

    pub(crate) fn entered() -> Option<NonNull<WorkerContext>> {
        NonNull::new(machine::here().here.get()?.cast_mut())
    }

    pub(crate) fn current_ptr(&self) -> Option<NonNull<Header>> {
        self.current.get()
    }

    pub(crate) fn take_yields(&self) -> bool {
        self.yields.replace(false)
    }

    /// Of the thread's timer is noted on whose wheel it stands.
    pub(crate) fn take_timer(&self, thread: &Header) {
        let at = thread.timer.replace(0);
        assert!(at == 0 || at as usize == self.number + 1, "the timer is on another worker's wheel");
    }

    fn inside(&self, f: impl FnOnce()) {
        let latch = &remote::get(self.number as u16).latch;
        let entered = latch.enter();
        f();
        if entered {
            latch.leave();
        }
    }

    pub(crate) fn poller(&self) -> Option<&Poller> {
        None
    }
}

pub(crate) struct Shared {
    pub(crate) moves: bool,
    pub(crate) stealers: Vec<()>,
    /// Threads that have not ended.
    left: Mutex<usize>,
    meets: Mutex<Meeting>,
    computes: Gate,
    released: Gate,
}

/// What one thread waits for, and another does.
#[derive(Default)]
struct Meeting {
    ticket: Option<Ticket>,
    done: bool,
}

impl Shared {
    pub(crate) fn idle(&self) -> Idle {
        Idle
    }

    pub(crate) fn notify_thief(&self, _: Option<usize>) {}

    pub(crate) fn every_remote(&self) -> impl Iterator<Item = &'static Remote> {
        (0..2).map(remote::get)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        false
    }

    fn is_over(&self) -> bool {
        *self.left.lock().unwrap() == 0
    }

    fn one_has_ended(&self) {
        let mut left = self.left.lock().unwrap();
        *left -= 1;
        if *left == 0 {
            self.every_remote().for_each(|remote| remote.doorbell.gate.open());
        }
    }
}

#[repr(C)]
pub(crate) struct Worker {
    here: WorkerContext,
    pub(crate) shared: Arc<Shared>,
    pub(crate) remote: &'static Remote,
    pub(crate) number: usize,
    pub(crate) is_spare: bool,
    pub(crate) queues: Queues,
    pub(crate) live: Live,
    pub(crate) clock: Clock,
    pub(crate) events: Events,
    pub(crate) stopping: Cell<bool>,
    pub(crate) siblings: Siblings,
}

pub(crate) struct Blocks;

impl Blocks {
    pub(crate) fn take(&self) -> Block {
        Block::new()
    }

    pub(crate) fn give(&self, block: Block) {
        block.assert_unused();
    }
}

impl Worker {
    fn new(number: usize, shared: &Arc<Shared>) -> &'static Self {
        let worker: &'static Self = Box::leak(Box::new(Self {
            here: WorkerContext {
                hub: Hub::default(),
                number,
                current: Cell::new(None),
                yields: Cell::new(false),
                woken: Part::new(),
                wheel: RefCell::default(),
            },
            shared: shared.clone(),
            remote: remote::get(number as u16),
            number,
            is_spare: false,
            queues: Queues { ready: Part::new(), unstarted: Unstarted, next_start: Cell::new(None) },
            live: Live(Part::new()),
            clock: Clock,
            events: Events,
            stopping: Cell::new(false),
            siblings: Siblings::default(),
        }));
        worker.remote.here.store(ptr::from_ref(worker).cast_mut().cast(), Release);
        worker
    }

    pub(crate) fn current<'a>() -> Option<&'a Self> {
        WorkerContext::entered().map(|here| unsafe { here.cast::<Self>().as_ref() })
    }

    pub(crate) fn here(&self) -> &WorkerContext {
        &self.here
    }

    pub(crate) fn blocks(&self) -> Blocks {
        Blocks
    }

    pub(crate) fn woken_here(&self, thread: NonNull<Header>) {
        unsafe { self.here.woken.push(thread) };
    }

    pub(crate) fn queue_woken(&self) {
        while let Some(thread) = self.here.woken.pop() {
            self.make_ready(thread);
        }
    }

    pub(crate) fn make_ready(&self, thread: NonNull<Header>) {
        unsafe { self.queues.ready.push(thread) };
    }

    pub(crate) fn next_at_hand(&self) -> Option<NonNull<Header>> {
        self.here.woken.pop().or_else(|| self.queues.ready.pop())
    }

    pub(crate) fn next(&self) -> Option<NonNull<Header>> {
        self.queues.next_start.take().or_else(|| self.next_at_hand())
    }

    pub(crate) fn has_some(&self) -> bool {
        self.queues.ready.len() > 0
    }

    pub(crate) fn tick(&self, _: bool) {}

    pub(crate) fn fire_due(&self, _: u64) {}

    pub(crate) fn queue_errands(&self) {}

    pub(crate) fn interrupt(&self, _: &Task) {}
    pub(super) fn cancel(&self, thread: &crate::task::Header) {
        let _ = thread.state.cancel();
    }

    pub(crate) fn counted_in(&self) -> Idle {
        Idle
    }

    pub(crate) fn deliver(&self, batch: remote::Batch) {
        batch.threads.into_iter().for_each(|thread| self.woken_here(thread));
    }

    /// True: the thread has ended.
    pub(crate) fn turn(&self, thread: NonNull<Header>) -> bool {
        let header = unsafe { thread.as_ref() };
        assert!(self.remote.latch.turn().is_none(), "its loop is inside");
        assert_eq!(header.state.home(), self.remote.index);
        self.here.current.set(Some(thread));
        let fiber = unsafe { (*header.fiber.get()).as_ref() }.expect("a thread is resumed that is not saved");
        let status = unsafe { fiber.resume(ptr::from_ref(self).expose_provenance()) };
        assert!(self.remote.latch.turn().is_none(), "the thread has come back inside");
        self.here.current.set(None);
        if self.here.take_yields() {
            self.make_ready(thread);
        }
        if status == Status::Finished {
            unsafe {
                self.live.remove(thread);
                assert!((*header.fiber.get()).take().is_some(), "nobody gives its stack back");
            }
            self.shared.one_has_ended();
        }
        status == Status::Finished
    }

    fn begin(&self) {
        machine::be_system(self.number);
        self.here.hub.0.set(machine::thread_pointer());
        unsafe { WorkerContext::enter(&raw const self.here) };
    }

    fn run_all(&self) {
        self.deliver(self.remote.doorbell.answer(self.counted_in(), false));
        while let Some(thread) = self.next_or_look() {
            self.turn(thread);
        }
    }

    fn run(&self) {
        loop {
            self.run_all();
            if self.shared.is_over() {
                return;
            }
            self.remote.doorbell.gate.wait();
        }
    }
}

/// A thread with thread-locals of its own, and the fiber that it has from the beginning.
#[repr(C)]
pub(crate) struct Thread {
    header: Header,
    core: Arc<FiberCore>,
    body: fn(&Thread),
    shared: Arc<Shared>,
}

// SAFETY: loom's threads take turns on one thread of the system.
unsafe impl Send for Thread {}
// SAFETY: as above.
unsafe impl Sync for Thread {}

static VTABLE: VTable = VTable {
    main: <PerThread as Main>::MAIN,
    border: <PerThread as Main>::BORDER,
    ..crate::task::vtable(|_| unreachable!("it is leaked"))
};

impl Thread {
    fn new(body: fn(&Thread), shared: &Arc<Shared>) -> &'static Self {
        let spec = Spec {
            name: None,
            size: StackSize,
            id: 0,
            runtime: ptr::null(),
            schedule: moving::schedule,
            refs: 1,
            handle: false,
            spawned_at: std::panic::Location::caller(),
        };
        let (header, core) = (Header::new(spec, &VTABLE), FiberCore::new());
        header.state.set_movable();
        assert!(header.state.claim(0));
        unsafe { *header.fiber.get() = Some(core.fiber()) };
        Box::leak(Box::new(Self { header, core, body, shared: shared.clone() }))
    }

    fn header(&self) -> NonNull<Header> {
        NonNull::from(self).cast()
    }

    /// The thread of loom that its fiber is.
    fn start(&'static self) -> thread::JoinHandle<()> {
        thread::spawn(|| self.core.live(VTABLE.main, self.header().as_ptr().cast()))
    }

    fn suspend(&self) {
        unsafe { crate::fiber_own::suspend(&self.header.fiber, VTABLE.border.expect("it has one")) };
        self.is_outside();
    }

    fn worker(&self) -> &Worker {
        let worker = Worker::current().expect("it runs on a worker");
        assert_eq!(worker.here.current.get(), Some(self.header()), "it is on the worker that runs it");
        assert_eq!(worker.remote.index, self.header.state.home(), "and lives there");
        worker
    }

    fn is_outside(&self) {
        assert!(self.worker().remote.latch.turn().is_some(), "nobody can stand in for its worker");
    }
}

/// Waits for [`unpark`], or for a time that never comes, if that is not done.
pub(crate) fn park(this: &Thread) {
    let epoch = this.header.wait.begin();
    let done = {
        let mut meets = this.shared.meets.lock().unwrap();
        meets.ticket = Some(Ticket::new(this.header(), epoch));
        meets.done
    };
    if done && this.header.wait.retract(epoch) {
        return;
    }
    this.header.timer.set(this.worker().here.number as u32 + 1);
    this.suspend();
    let here = &this.worker().here;
    here.inside(|| here.take_timer(&this.header));
    assert_eq!(this.header.wait.finish(), End::Notified);
}

pub(crate) fn unpark(this: &Thread) {
    wake_in(&this.shared);
    this.is_outside();
}

fn wake_in(shared: &Shared) {
    let ticket = {
        let mut meets = shared.meets.lock().unwrap();
        meets.done = true;
        meets.ticket.take()
    };
    if let Some(wake) = ticket.and_then(|ticket| unsafe { ticket.end(End::Notified) }) {
        wake.schedule();
    }
}

/// Has others run.
pub(crate) fn yield_once(this: &Thread) {
    this.worker().here.yields.set(true);
    this.suspend();
}

/// Others may stand in for its worker from now on.
pub(crate) fn compute(this: &Thread) {
    this.is_outside();
    this.shared.computes.open();
}

/// It does not let its worker go before another thread has come to [`release`].
pub(crate) fn compute_until_released(this: &Thread) {
    compute(this);
    this.shared.released.wait();
}

pub(crate) fn release(this: &Thread) {
    this.shared.released.open();
}

/// Threads that live on one worker, and another worker that stands in for it.
pub(crate) struct Pair {
    workers: [&'static Worker; 2],
    threads: Vec<&'static Thread>,
}

impl Pair {
    pub(crate) fn new<const N: usize>(bodies: [fn(&Thread); N]) -> Self {
        REMOTES.set([0, 1].map(Remote::new).into());
        let shared = Arc::new(Shared {
            moves: true,
            stealers: Vec::new(),
            left: Mutex::new(N),
            meets: Mutex::default(),
            computes: Gate::new(),
            released: Gate::new(),
        });
        let workers = [0, 1].map(|number| Worker::new(number, &shared));
        let threads: Vec<_> = bodies.map(|body| Thread::new(body, &shared)).into();
        for thread in &threads {
            unsafe { workers[0].live.push(thread.header()) };
            workers[0].make_ready(thread.header());
        }
        Self { workers, threads }
    }

    /// The other worker begins with this as soon as a thread computes.
    pub(crate) fn run(self, begins_with: fn(&Worker)) {
        let fibers: Vec<_> = self.threads.iter().map(|thread| thread.start()).collect();
        let other = self.workers[1];
        let stands_in = thread::spawn(move || {
            other.begin();
            other.shared.computes.wait();
            begins_with(other);
            other.run();
        });
        self.workers[0].begin();
        self.workers[0].run();
        stands_in.join().unwrap();
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
        assert!(self.workers.iter().all(|worker| worker.live.count() == 0));
    }
}

/// Wakes who waits, from this worker's loop.
pub(crate) fn wake(this: &Worker) {
    wake_in(&this.shared);
}

/// The second look finds the same turn as the first, a millisecond later.
pub(crate) fn stand_in(this: &Worker) {
    [0, 1_000_000].into_iter().for_each(|now_ns| this.look_after_siblings(now_ns));
}
