//! Stalls of workers that get no processor: these tell of the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use green::stall::StallCause;

use crate::{SetAtEnd, check, computes, help, is_reported, one_worker};

/// Leaves the calling OS thread the first of its processors; gives what it had.
fn pin() -> libc::cpu_set_t {
    // SAFETY: the calls write and read one set, and zeros are one.
    unsafe {
        let mut all: libc::cpu_set_t = std::mem::zeroed();
        assert_eq!(libc::sched_getaffinity(0, size_of_val(&all), &raw mut all), 0);
        let first = (0..libc::CPU_SETSIZE as usize).find(|cpu| libc::CPU_ISSET(*cpu, &all)).expect("it runs");
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(first, &mut one);
        set(&one);
        all
    }
}

fn set(cpus: &libc::cpu_set_t) {
    // SAFETY: the call reads one set.
    assert_eq!(unsafe { libc::sched_setaffinity(0, size_of_val(cpus), cpus) }, 0);
}

/// Five threads that compute, on one processor.
fn competes(over: &AtomicBool) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                pin();
                computes(over);
            });
        }
        let all = pin();
        computes(over);
        set(&all);
    });
}

/// A kernel may be without; then nobody knows.
fn knows_of_processors() -> bool {
    std::fs::read_to_string("/proc/self/schedstat").is_ok_and(|text| !text.starts_with("0 0 "))
}

#[test]
fn a_thread_that_gets_no_processor_is_reported_so() {
    if knows_of_processors() {
        let runtime = one_worker();
        let stall = is_reported(&runtime, |stall| stall.cause() == StallCause::NoProcessor, competes);
        assert!(stall.to_string().ends_with(" gets no processor"), "{stall}");
        check(&stall);
    }
}

/// Has workers stall that get no processor, one after the other, as long as `goes_on`.
fn stall_without_processor(goes_on: impl Fn() -> bool) {
    let runtime = one_worker();
    let start = Instant::now();
    while goes_on() {
        let over = Arc::new(AtomicBool::new(false));
        let (until, begun) = (Arc::clone(&over), Arc::new(AtomicBool::new(false)));
        let begins = Arc::clone(&begun);
        let stalls = runtime.metrics().workers[0].stalls;
        let long = runtime.spawn(move || {
            begins.store(true, Ordering::SeqCst);
            competes(&until);
        });
        let _over = SetAtEnd(Arc::clone(&over));
        help::spin_until("the thread", || begun.load(Ordering::SeqCst));
        let waits = runtime.spawn(|| ());
        help::spin_until("a stall", || runtime.metrics().workers[0].stalls > stalls);
        over.store(true, Ordering::SeqCst);
        long.join().unwrap();
        waits.join().unwrap();
        assert!(start.elapsed() < Duration::from_secs(60), "no such stalls");
    }
}

/// What the machine does wrong is no news of the program, and a trace of it shows nothing that is.
#[test]
fn stalls_for_want_of_a_processor_are_neither_said_nor_do_they_have_traces_written() {
    use green::recorder::{Trigger, write_on};
    if !knows_of_processors() {
        return;
    }
    let in_child = || {
        // What has no processor may take longer than a child has.
        // SAFETY: no requirements.
        unsafe { libc::alarm(150) };
        let dir = std::env::temp_dir().join(format!("green-stalls-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        write_on(Trigger::Stall, &dir).unwrap();
        write_on(Trigger::Panic, &dir).unwrap();
        // The traces that were asked for before are there then, as one thread writes all.
        let traces = || {
            let _ = std::panic::catch_unwind(|| panic!("as it should"));
            let names = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.contains("-stall-")).count() as u64
        };
        let rounds = AtomicU64::new(0);
        stall_without_processor(|| rounds.fetch_add(1, Ordering::SeqCst) < 5);
        let before = traces();
        // Beginning, by now, with what each of them is.
        let (starved, others) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counts = (Arc::clone(&starved), Arc::clone(&others));
        green::stall::set_hook(move |stall| {
            let (starved, others) = &counts;
            let count = if stall.cause() == StallCause::NoProcessor { starved } else { others };
            count.fetch_add(1, Ordering::SeqCst);
        });
        stall_without_processor(|| starved.load(Ordering::SeqCst) < 3);
        let more = traces() - before;
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(more <= others.load(Ordering::SeqCst), "{more} traces, {others:?} stalls that are worth one");
    };
    let ended = help::in_a_child(&[], in_child);
    ended.assert_success();
    assert!(!ended.output.contains("gets no processor"), "{}", ended.output);
}
