//! In a debugger, which `.ci/tools` installs.

use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::c_int;
use std::hint::black_box;
use std::process::Command;

use crate::{many, runtime};

thread_local! {
    static NUMBER: Cell<c_int> = const { Cell::new(0) };
}

/// The debugger stops here.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn green_test_stop(number: c_int) -> c_int {
    black_box(number)
}

/// The debugger calls it.
#[unsafe(no_mangle)]
extern "C" fn green_test_number() -> c_int {
    NUMBER.get()
}

#[test]
#[ignore = "needs gdb: .ci/tools"]
fn what_a_debugger_runs() {
    black_box(green_test_number as extern "C" fn() -> c_int);
    many(3, |number| {
        let number = number as c_int + 70;
        NUMBER.set(number);
        // SAFETY: errno of the calling thread.
        unsafe { *libc::__errno_location() = number + 100 };
        green::yield_now();
        green_test_stop(number);
    });
}

#[test]
#[ignore = "needs gdb: .ci/tools"]
fn a_debugger_finds_a_threads_frames_and_its_own_thread_locals() {
    assert!(runtime().is_some());
    let mut gdb = Command::new("gdb");
    gdb.args(["-batch", "-nx", "-ex", "set language c", "-ex", "break green_test_stop", "-ex", "run"]);
    for _ in 0..3 {
        gdb.args(["-ex", "backtrace", "-ex", "info threads", "-ex", "print ((int (*)()) green_test_number)()"]);
        gdb.args(["-ex", "print *((int *(*)()) __errno_location)()"]);
        gdb.args(["-ex", "printf \"on %lx.\\n\", $fs_base", "-ex", "continue"]);
    }
    gdb.arg("--args").arg(std::env::current_exe().unwrap());
    gdb.args(["debugger::what_a_debugger_runs", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    let done = gdb.output().expect("gdb is there");
    let output = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    let stops: Vec<&str> = output.split(" hit Breakpoint 1").skip(1).collect();
    assert_eq!(stops.len(), 3, "{output}");
    // gdb 13 calls no functions where the processor has more state than it knows (AMX).
    let calls = !output.contains("Couldn't write extended state status");
    let mut blocks = HashSet::new();
    for (number, stop) in stops.into_iter().enumerate() {
        for frame in ["at tests/thread_locals/debugger.rs", "at src/sched/own.rs", "_entry ("] {
            assert!(stop.contains(frame), "{frame} is not in {output}");
        }
        let number = number + 70;
        let shows = |value: usize| stop.contains(&format!("= {value}\n"));
        assert!(!calls || shows(number) && shows(number + 100), "{output}");
        let block = stop.split_once("\non ").and_then(|(_, rest)| rest.split_once(".\n"));
        assert!(
            block.is_some_and(|(block, _)| block.len() > 6 && blocks.insert(block)),
            "each has its thread pointer: {output}"
        );
        assert!(!stop.contains("corrupt") && !stop.contains("Cannot access"), "{output}");
    }
    assert!(output.contains("exited normally"), "{output}");
}
