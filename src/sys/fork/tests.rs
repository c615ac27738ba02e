//! Each test runs itself again, in a process that has not asked for anything yet.

use std::process::Command;
use std::sync::Barrier;

use super::*;

const ROLE: &str = "GREEN_TEST_FORK";

pub(crate) fn in_a_new_process(f: impl FnOnce()) {
    if std::env::var_os(ROLE).is_some() {
        return f();
    }
    let name = std::thread::current().name().expect("the harness names a test's thread").to_owned();
    let mut child = Command::new(std::env::current_exe().expect("the path of this binary"));
    let ended = child.args([&name, "--exact", "--nocapture"]).env(ROLE, "1").output().expect("it runs");
    let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
    assert!(ended.status.success() && said.contains("running 1 test"), "{said}");
}

/// The status of a child that ends itself with what `f` says, and is ended by SIGALRM if it hangs.
pub(crate) fn forked(f: impl FnOnce() -> i32) -> i32 {
    let mut status = 0;
    // SAFETY: the child has a copy of this thread alone, which ends it; the last call writes one number.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::alarm(60);
            libc::_exit(f());
        }
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
    }
    status
}

pub(crate) const fn exited(code: i32) -> i32 {
    code << 8
}

#[test]
fn what_another_thread_makes_first_of_all_in_the_process_is_made_anew_in_a_child() {
    static MADE: ForkSafeOnce<i32> = ForkSafeOnce::new();
    in_a_new_process(|| {
        let (makes, forked_meanwhile) = (Barrier::new(2), Barrier::new(2));
        std::thread::scope(|scope| {
            let made = scope.spawn(|| {
                let make = || {
                    makes.wait();
                    forked_meanwhile.wait();
                    1
                };
                *MADE.get_or_init(make)
            });
            makes.wait();
            let status = forked(|| *MADE.get_or_init(|| 2));
            forked_meanwhile.wait();
            assert_eq!((status, made.join().unwrap()), (exited(2), 1));
        });
        assert_eq!(forked(|| *MADE.get_or_init(|| 3)), exited(1), "it is the parent's");
    });
}

#[test]
fn a_lock_that_another_thread_has_first_of_all_in_the_process_is_free_in_a_child_and_in_a_grandchild() {
    static LOCK: PerProcess<crate::base::lock::Lock<i32>> = PerProcess::new(|| crate::base::lock::Lock::new(0));
    in_a_new_process(|| {
        let (locked, over) = (Barrier::new(2), Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _lock = LOCK.get().lock();
                locked.wait();
                over.wait();
            });
            locked.wait();
            let add = || {
                *LOCK.get().lock() += 1;
                *LOCK.get().lock()
            };
            let child = forked(|| add() + add() * 10);
            let grandchild = forked(|| add() + (forked(add) >> 8) * 10);
            over.wait();
            assert_eq!((child, grandchild), (exited(21), exited(11)), "each has its own");
        });
    });
}
