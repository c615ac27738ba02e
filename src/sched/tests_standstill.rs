//! What is a standstill, and what is none: of a process that is made up.

use std::cell::{Cell, RefCell};

use super::listing::Doing;
use super::standstill::{GreenWait, ProcessView, Standstill, Stillness, WorkerSight, WorkerSleeps, all_sleep};
use crate::park::os_threads::WaitingOsThread;
use crate::sys::clock::NEVER;
use crate::sys::system_thread::{OsActivity, OsCall};
use crate::task::id::ThreadId;
use crate::task::wait::{WaitLook, WaitWord};

const SECOND_NS: u64 = 1_000_000_000;

/// The look of a thread at its wait with this number.
fn wait(number: u32) -> WaitLook {
    let word = WaitWord::new();
    (0..number).for_each(|_| _ = word.begin());
    word.look()
}

fn green(id: u64, doing: Doing, number: u32) -> GreenWait {
    GreenWait { id: ThreadId::new(id).unwrap(), doing, wait: wait(number) }
}

fn os_thread(id: u64, reason: &'static str, number: u32) -> WaitingOsThread {
    WaitingOsThread { id, name: None, reason, wait: wait(number) }
}

/// Two workers asleep; two green threads and an OS thread that wait.
struct MadeUp {
    is_reached: bool,
    /// At each question, the last one again and again.
    sleeps: RefCell<Vec<Option<WorkerSleeps>>>,
    os_threads: RefCell<Vec<Option<Vec<WaitingOsThread>>>>,
    green_threads: Vec<GreenWait>,
}

impl MadeUp {
    fn new() -> Self {
        Self {
            is_reached: false,
            sleeps: RefCell::new(vec![Some(vec![(10, 5), (11, 9)])]),
            os_threads: RefCell::new(vec![Some(vec![os_thread(3, "scope", 7)])]),
            green_threads: vec![green(1, Doing::Waits("channel receive"), 4), green(2, Doing::Waits("actor's end"), 1)],
        }
    }

    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut process = Self::new();
        change(&mut process);
        process
    }

    fn look(&self) -> Option<Stillness> {
        Stillness::of(self)
    }
}

/// What comes next, and in the end the last one for ever.
fn next<T: Clone>(answers: &RefCell<Vec<T>>) -> T {
    let mut answers = answers.borrow_mut();
    if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() }
}

impl ProcessView for MadeUp {
    fn is_reached_from_outside(&self) -> bool {
        self.is_reached
    }

    fn sleeps(&self) -> Option<WorkerSleeps> {
        next(&self.sleeps)
    }

    fn os_threads(&self, is_worker: &dyn Fn(i32) -> bool) -> Option<Vec<WaitingOsThread>> {
        assert!(is_worker(10) && is_worker(11) && !is_worker(13));
        next(&self.os_threads)
    }

    fn green_threads(&self, each: &mut dyn FnMut(GreenWait) -> Option<()>) -> Option<()> {
        self.green_threads.iter().try_for_each(|thread| each(*thread))
    }
}

/// Looks at one process after the other. How many looks it took until something was said.
fn said_at(looks: impl IntoIterator<Item = MadeUp>) -> Option<usize> {
    let (mut standstill, said) = (Standstill::new(), Cell::new(None));
    for (at, process) in looks.into_iter().enumerate() {
        standstill.look_at(|| process.look(), 0, |_| assert_eq!(said.replace(Some(at + 1)), None));
    }
    said.get()
}

#[test]
#[cfg_attr(not(any(debug_assertions, green_deadlocks)), ignore = "nothing is said")]
fn it_is_said_at_the_second_look_that_sees_the_same_and_once() {
    assert_eq!(said_at([MadeUp::new()]), None);
    assert_eq!(said_at((0..5).map(|_| MadeUp::new())), Some(2));
    let (mut standstill, said) = (Standstill::new(), Cell::new((0, 0)));
    for _ in 0..2 {
        let say = |record: super::standstill::StandstillRecord| {
            said.set((record.green_threads, record.os_threads.len()));
        };
        standstill.look_at(|| MadeUp::new().look(), 0, say);
    }
    assert_eq!(said.get(), (2, 1));
    assert_eq!(standstill.look_at(|| unreachable!("it looks no more"), 0, |_| unreachable!()), NEVER);
}

#[test]
fn what_is_not_the_same_at_the_second_look_has_gone_on() {
    let changes: [fn(&mut MadeUp); 7] = [
        // Another wait of a green thread; one more; another one.
        |process| process.green_threads[1] = green(2, Doing::Waits("actor's end"), 2),
        |process| process.green_threads.push(green(4, Doing::Waits("park"), 1)),
        |process| process.green_threads[0] = green(4, Doing::Waits("channel receive"), 4),
        // Another sleep of a worker, another worker.
        |process| process.sleeps = RefCell::new(vec![Some(vec![(10, 5), (11, 10)])]),
        |process| process.sleeps.borrow_mut()[0].as_mut().unwrap().push((12, 1)),
        // Another wait of an OS thread, another thread.
        |process| process.os_threads = RefCell::new(vec![Some(vec![os_thread(3, "scope", 8)])]),
        |process| process.os_threads = RefCell::new(vec![Some(vec![os_thread(5, "scope", 7)])]),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        assert!(MadeUp::with(change).look().is_some(), "{at}");
        assert_eq!(said_at([MadeUp::new(), MadeUp::with(change), MadeUp::new()]), None, "{at}");
    }
}

type Change = (&'static str, fn(&mut MadeUp));

#[test]
fn what_may_go_on_is_no_standstill() {
    let none: [Change; 12] = [
        ("it is reached from outside", |process| process.is_reached = true),
        ("a worker is up", |process| process.sleeps = RefCell::new(vec![None])),
        ("it is up in the end", |process| process.sleeps.borrow_mut().push(None)),
        ("it has slept again", |process| process.sleeps.borrow_mut().push(Some(vec![(10, 5), (11, 10)]))),
        ("another OS thread is there", |process| process.os_threads = RefCell::new(vec![None])),
        ("one has come", |process| process.os_threads.borrow_mut().push(None)),
        ("an OS thread waits for a descriptor", |process| {
            process.os_threads.borrow_mut()[0].as_mut().unwrap().push(os_thread(6, "readable", 1));
        }),
        ("a thread waits for time", |process| process.green_threads.push(green(4, Doing::Waits("sleep"), 1))),
        ("a thread waits for a descriptor", |process| {
            process.green_threads.insert(0, green(4, Doing::Waits("writable"), 1));
        }),
        ("a thread is ready", |process| process.green_threads.push(green(4, Doing::Ready, 1))),
        ("a thread has not started", |process| process.green_threads.push(green(4, Doing::Unstarted, 0))),
        ("a thread runs", |process| process.green_threads.push(green(4, Doing::Runs(0), 1))),
    ];
    for (why, change) in none {
        assert_eq!(MadeUp::with(change).look(), None, "{why}");
    }
    let empty = MadeUp::with(|process| {
        process.green_threads.clear();
        process.os_threads = RefCell::new(vec![Some(Vec::new())]);
    });
    assert_eq!(empty.look(), None, "a process that waits for nothing");
    assert!(MadeUp::new().look().is_some());
}

#[test]
fn what_was_seen_before_something_went_on_is_forgotten() {
    let mut standstill = Standstill::new();
    let pauses = |standstill: &mut Standstill, looks| -> Vec<u64> {
        (0..looks).map(|_| standstill.look_at(|| None, 100, |_| unreachable!()) - 100).collect()
    };
    if cfg!(any(debug_assertions, green_deadlocks)) {
        let seconds: Vec<_> = [1, 2, 4, 8, 16, 32, 32].iter().map(|seconds| seconds * SECOND_NS).collect();
        assert_eq!(pauses(&mut standstill, 7), seconds);
        standstill.look_at(|| MadeUp::new().look(), 0, |_| unreachable!());
        standstill.forget();
        let until_ns = standstill.look_at(|| MadeUp::new().look(), 0, |_| unreachable!("it was forgotten"));
        assert_eq!(until_ns, SECOND_NS);
        // What may go on between two looks that are alike is seen, too.
        pauses(&mut standstill, 1);
        standstill.look_at(|| MadeUp::new().look(), 0, |_| unreachable!("something went on"));
    }
}

const ASLEEP: WorkerSight = WorkerSight {
    number: 10,
    activity: OsActivity::InCall(OsCall { number: 0, sp: 0, place: 0 }),
    is_marked: true,
    has_no_timer: true,
};

#[test]
fn a_worker_sleeps_that_is_marked_has_no_timer_and_waits_in_a_call_in_one_and_the_same_sleep() {
    let fence = || Some(());
    let of = |sight: Option<WorkerSight>| all_sleep(&[()], |()| sight, |()| 5, fence);
    assert_eq!(of(Some(ASLEEP)), Some(vec![(10, 5)]));
    assert_eq!(of(None), Some(Vec::new()), "one that has not begun is none");
    assert_eq!(of(Some(WorkerSight { is_marked: false, ..ASLEEP })), None);
    assert_eq!(of(Some(WorkerSight { has_no_timer: false, ..ASLEEP })), None);
    for activity in [OsActivity::Runs, OsActivity::Unknown] {
        assert_eq!(of(Some(WorkerSight { activity, ..ASLEEP })), None, "{activity:?}");
    }
    // The one before the others has been up meanwhile.
    let looks = Cell::new(0);
    let sight = |number: &i32| {
        looks.set(looks.get() + 1);
        Some(WorkerSight { number: *number, ..ASLEEP })
    };
    let sleep = |number: &i32| if *number == 10 && looks.get() == 2 { 6 } else { 5 };
    assert_eq!(all_sleep(&[10, 11], sight, sleep, fence), None);
    // Without the fence nothing is known.
    assert_eq!(all_sleep(&[()], |()| Some(ASLEEP), |()| 5, || None), None);
}
