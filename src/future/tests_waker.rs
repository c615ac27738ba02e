//! The waker of a thread, on OS threads: what each of its four functions counts.

use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::park::current::{current_task, with_task};
use crate::task::waker::with_waker;
use crate::task::{Header, Task};

fn refs(task: &Task) -> u64 {
    task.state.refs()
}

#[test]
fn each_of_the_four_entries_counts_what_the_table_says() {
    std::thread::spawn(|| {
        let task = current_task();
        let before = refs(&task);
        with_task(|this| {
            with_waker(this, |lent| {
                assert_eq!(refs(&task), before, "the lent one is not counted");
                let (one, two) = (lent.clone(), lent.clone());
                assert_eq!(refs(&task), before + 2);
                one.wake_by_ref();
                lent.wake_by_ref();
                assert_eq!(refs(&task), before + 2);
                one.wake();
                assert_eq!(refs(&task), before + 1);
                std::mem::drop(two);
            });
        });
        assert_eq!(refs(&task), before);
        task
    })
    .join()
    .map(|task| assert_eq!(refs(&task), 1, "the OS thread has ended and given its own up"))
    .unwrap();
}

/// The last reference is a waker's, and is given up on another OS thread, by each entry that gives one up.
#[test]
fn the_last_waker_frees_the_header() {
    struct Keeps(Waker);
    impl Wake for Keeps {
        fn wake(self: Arc<Self>) {
            self.0.wake_by_ref();
        }
    }
    for by_value in [false, true] {
        let waker = std::thread::spawn(|| with_task(|this| with_waker(this, Waker::clone))).join().unwrap();
        let header = NonNull::new(waker.data().cast_mut().cast::<Header>()).unwrap();
        // SAFETY: `waker` keeps it.
        assert_eq!(unsafe { header.as_ref() }.state.refs(), 1);
        // Leaked memory is for Miri and valgrind to find; here a double free would end the process.
        let kept: Waker = Arc::new(Keeps(waker)).into();
        kept.wake_by_ref();
        if by_value { kept.wake() } else { std::mem::drop(kept) }
    }
}

#[test]
fn a_thousand_clones_on_four_os_threads_are_all_given_back() {
    let task = std::thread::spawn(|| {
        let task = current_task();
        let waker = with_task(|this| with_waker(this, Waker::clone));
        let each = if cfg!(miri) { 20 } else { 250 };
        std::thread::scope(|scope| {
            for odd in [false, true, false, true] {
                let waker = &waker;
                scope.spawn(move || {
                    for clone in (0..each).map(|_| waker.clone()).collect::<Vec<_>>() {
                        if odd { clone.wake() } else { std::mem::drop(clone) }
                    }
                });
            }
        });
        assert_eq!(refs(&task), 3, "the thread's, the task's, the waker's");
        task
    });
    assert_eq!(refs(&task.join().unwrap()), 1);
}
