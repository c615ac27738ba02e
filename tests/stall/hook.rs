//! What a hook, or what is reported, keeps from going on, and what it does not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::{ASKS, help, watched};

/// As a hook that writes a log whose lock the thread has that stalls.
#[test]
fn a_hook_that_waits_for_the_thread_that_stalls_keeps_no_spare_worker_from_what_that_waits_for() {
    static LOG: Mutex<()> = Mutex::new(());
    if !ASKS {
        return;
    }
    let in_child = || {
        let called = Arc::new(AtomicBool::new(false));
        let calls = Arc::clone(&called);
        green::stall::set_hook(move |_| {
            calls.store(true, Ordering::SeqCst);
            drop(LOG.lock());
        });
        let runtime = watched(1).stall_limit(Duration::from_millis(5)).spare_workers(1).build().unwrap();
        let spins = runtime.spawn(move || {
            let log = LOG.lock().unwrap();
            let done = Arc::new(AtomicBool::new(false));
            let does = Arc::clone(&done);
            drop(green::spawn(move || does.store(true, Ordering::SeqCst)));
            help::spin_until("the hook", || called.load(Ordering::SeqCst));
            help::spin_until("a spare worker", || done.load(Ordering::SeqCst));
            drop(log);
        });
        spins.join().unwrap();
    };
    help::in_a_child(&[], in_child).assert_success();
}

/// Many programs that handle signals by sigwait(3), or a signalfd, block all of them before they do anything else.
#[cfg(not(green_emulated))]
#[test]
fn a_thread_that_computes_is_reported_with_its_stack_in_a_program_that_has_blocked_every_signal() {
    use crate::{computes, computes_with_stack, is_reported, one_worker};

    if !ASKS {
        return;
    }
    let in_child = || {
        // SAFETY: a valid set of the test's own. What ends a child that hangs comes by the harness's other thread.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::sigdelset(&raw mut all, libc::SIGALRM);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
        }
        is_reported(&one_worker(), computes_with_stack, computes);
    };
    help::in_a_child(&[], in_child).assert_success();
}

#[test]
fn two_workers_of_two_runtimes_that_stalled_were_both_worker_0_and_nothing_else() {
    use crate::{is_reported, sleeps};

    let runtimes = ["db", "web"].map(|name| watched(1).spare_workers(0).thread_name(name).build().unwrap());
    let stalls = runtimes.each_ref().map(|runtime| is_reported(runtime, |_| true, sleeps));
    for (stall, name) in stalls.iter().zip(["db", "web"]) {
        let says = format!("worker 0 of runtime {} \"{name}\" stalled for ", stall.runtime().number());
        assert!(stall.to_string().starts_with(&says), "{stall}");
    }
    assert_ne!(stalls[0].runtime().number(), stalls[1].runtime().number());
}
