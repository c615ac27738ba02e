//! What stacks promise, shown on the real thing.
//!
//! * `reuse`: sizes, colours, caches;
//! * `promises`: what is promised can be had, and what is refused names its limit;
//! * `random`: programs of two caches;
//! * `guards`: both kinds, and what an overflow prints;
//! * `faults`: every other fault ends as it would without us;
//! * `cost`: memory for each stack, and what trimming gives back.
//!
//! Tests share the process's arenas: one that counts slots has a size of its own. Whatever changes or ends the process
//! runs in a child: this test binary again, with one test to run.

mod cost;
mod faults;
mod guards;
mod promises;
mod random;
mod reuse;

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::ptr::NonNull;

use super::{Cache, Stack, StackSize};

const KIB: usize = 1024;

fn size(bytes: usize) -> StackSize {
    StackSize::new(bytes).expect("a valid size")
}

/// Promises and acquires one stack.
fn stack(cache: &mut Cache, size: StackSize) -> Stack {
    cache.reserve(size).expect("there is address space");
    cache.acquire(size)
}

/// The highest byte of a stack.
fn top_byte(stack: &Stack) -> NonNull<u8> {
    // SAFETY: a stack is not empty.
    unsafe { stack.top().sub(1) }
}

fn write(byte: NonNull<u8>, value: u8) {
    // SAFETY: tests pass bytes of stacks that they own, or mean to fault.
    unsafe { byte.write_volatile(value) }
}

fn read(byte: NonNull<u8>) -> u8 {
    // SAFETY: as above.
    unsafe { byte.read_volatile() }
}

const ROLE: &str = "GREEN_TEST_ROLE";

/// What this process is to do, if it is a child.
fn role() -> Option<String> {
    env::var(ROLE).ok()
}

/// How a child ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    signal: Option<i32>,
    output: String,
}

impl Ended {
    fn assert_passed(&self) {
        assert_eq!(self.code, Some(0), "{self:?}");
    }
}

/// Runs `test` (its path below `stack::tests`) as a child in the given role.
fn child(test: &str, role: &str, guard: Option<&str>) -> Ended {
    let path = format!("{}::{test}", module_path!().split_once("::").expect("a module of the crate").1);
    let mut command = runner();
    command.args([&path, "--exact", "--nocapture"]).env(ROLE, role).env_remove("GREEN_GUARD");
    if let Some(guard) = guard {
        command.env("GREEN_GUARD", guard);
    }
    let done = command.output().expect("the test binary runs again");
    let output = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(!output.contains("running 0 tests"), "no test {path}");
    Ended { code: done.status.code(), signal: done.status.signal(), output }
}

/// This test binary, by way of the emulator that cargo itself was told to run it with.
fn runner() -> Command {
    let binary = env::current_exe().expect("the path of this binary");
    let of_this_target = |name: &str| {
        let target = name.strip_prefix("CARGO_TARGET_").and_then(|name| name.strip_suffix("_RUNNER"));
        target.is_some_and(|target| target.to_lowercase().starts_with(env::consts::ARCH))
    };
    let Some((_, emulator)) = env::vars().find(|(name, _)| of_this_target(name)) else { return Command::new(binary) };
    let mut words = emulator.split_whitespace();
    let mut command = Command::new(words.next().expect("a runner is not empty"));
    command.args(words).arg(binary);
    command
}
