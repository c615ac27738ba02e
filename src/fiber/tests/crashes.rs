//! What ends the process: each test runs itself again as a child and looks at how that ends.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use super::{Backend, on_every_backend, stacks, take_stack};

/// Set in the child.
const ROLE: &str = "GREEN_TEST_CRASH";

/// SIGABRT on every Unix.
const ABORTED: i32 = 6;
/// The trap instruction's signal: SIGILL on x86_64, SIGTRAP on aarch64.
#[cfg(green_backend = "asm")]
const TRAPPED: i32 = if cfg!(target_arch = "x86_64") { 4 } else { 5 };

/// Runs `crash` in a child that is this test again; returns the child's signal and what it wrote.
fn in_a_child(crash: impl FnOnce()) -> (Option<i32>, String) {
    if env::var_os(ROLE).is_some() {
        crash();
        std::process::exit(0);
    }
    let name = std::thread::current().name().expect("the harness names a test's thread").to_owned();
    let done = itself().args([&name, "--exact", "--nocapture"]).env(ROLE, "1").output().expect("this binary runs");
    (done.status.signal(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
}

/// This test binary, by way of the emulator that cargo itself was told to run it with.
fn itself() -> Command {
    let binary = env::current_exe().expect("the path of this binary");
    let target = format!("CARGO_TARGET_{}", env::consts::ARCH.to_uppercase());
    let runner = env::vars().find(|(name, _)| name.starts_with(&target) && name.ends_with("_RUNNER"));
    let Some((_, runner)) = runner else { return Command::new(binary) };
    let mut words = runner.split_whitespace();
    let mut command = Command::new(words.next().expect("a runner is not empty"));
    command.args(words).arg(binary);
    command
}

on_every_backend! {
    fn an_entry_that_unwinds_ends_the_process<B: Backend>() {
        unsafe fn entry(_: *mut ()) {
            panic!("out of the entry");
        }
        // SAFETY: the entry takes any argument.
        let crash = || unsafe {
            let _ = B::new(take_stack(&stacks()), entry, std::ptr::null_mut()).resume(0);
        };
        let (signal, output) = in_a_child(crash);
        assert_eq!(signal, Some(ABORTED), "{output}");
        assert!(output.contains("out of the entry"), "{output}");
    }
}

#[cfg(green_backend = "asm")]
#[test]
fn a_finished_fiber_that_is_resumed_traps() {
    unsafe fn entry(_: *mut ()) {}
    // SAFETY: the entry takes any argument. The second resume breaks the contract, which is what is tested.
    let crash = || unsafe {
        let fiber = crate::fiber::Fiber::new(take_stack(&stacks()), entry, std::ptr::null_mut());
        assert_eq!(fiber.resume(0), crate::fiber::Status::Finished);
        let _ = fiber.resume(0);
    };
    let (signal, output) = in_a_child(crash);
    assert_eq!(signal, Some(TRAPPED), "{output}");
}
