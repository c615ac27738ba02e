//! Stack overflows: a report that names the thread, then the process aborts. Other faults are none of ours.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use green::thread::Builder;
use help::{in_a_child, runtime};

const SIGABRT: i32 = 6;
const SIGSEGV: i32 = 11;

fn deep(n: usize) -> usize {
    let frame = [n; 64];
    if n == 0 { 0 } else { deep(n - 1) + std::hint::black_box(frame)[n % 64] }
}

fn overflow_a_named_thread(guard: &[(&str, &str)]) {
    let ended = in_a_child(guard, || {
        runtime(2).run(|| {
            let parked = green::spawn(green::thread::park);
            green::yield_now();
            let thread = Builder::new().name("deep one".into()).stack_size(64 << 10).spawn(|| {
                eprintln!("id: {:?}", green::thread::current().id());
                std::hint::black_box(deep(1_000_000));
            });
            let _ = thread.unwrap().join();
            drop(parked);
        });
    });
    assert_eq!(ended.signal, Some(SIGABRT), "{}", ended.output);
    assert!(ended.output.contains("green thread 'deep one' (id "), "{}", ended.output);
    assert!(ended.output.contains("has overflowed its stack"), "{}", ended.output);
    assert!(ended.output.contains("stack size 65536 bytes"), "{}", ended.output);
    let id = ended.output.split("id: ThreadId(").nth(1).and_then(|rest| rest.split(')').next()).expect("the id");
    assert!(ended.output.contains(&format!("(id {id})")), "{}", ended.output);
}

#[test]
fn an_overflow_is_reported_with_name_id_and_size() {
    overflow_a_named_thread(&[]);
}

#[test]
fn an_overflow_is_reported_where_guards_are_made_by_mprotect() {
    overflow_a_named_thread(&[("GREEN_GUARD", "mprotect")]);
}

// Elsewhere the compiler does not probe the stack.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn an_overflow_by_one_big_frame_does_not_step_over_the_guard() {
    let ended = in_a_child(&[], || {
        #[inline(never)]
        fn big() -> u8 {
            let frame = [1_u8; 512 << 10];
            std::hint::black_box(&frame)[7]
        }
        runtime(1).run(|| std::hint::black_box(big()));
    });
    assert_eq!(ended.signal, Some(SIGABRT), "{}", ended.output);
    assert!(ended.output.contains("green thread '<unnamed>'"), "{}", ended.output);
}

#[test]
fn a_null_pointer_in_a_green_thread_ends_the_process_as_ever() {
    let ended = in_a_child(&[], || {
        runtime(1).run(|| {
            let null = std::hint::black_box(std::ptr::null_mut::<u8>().wrapping_add(8));
            // SAFETY: none: this is the fault that is tested.
            unsafe { null.write_volatile(1) };
        });
    });
    assert_eq!(ended.signal, Some(SIGSEGV), "{}", ended.output);
    assert!(!ended.output.contains("overflowed"), "{}", ended.output);
}

#[test]
fn an_overflow_of_a_plain_thread_is_still_reported_by_std() {
    let ended = in_a_child(&[], || {
        assert_eq!(runtime(1).run(|| 1), 1);
        let thread = std::thread::Builder::new().name("plain".into()).spawn(|| std::hint::black_box(deep(100_000_000)));
        let _ = thread.unwrap().join();
    });
    assert_eq!(ended.signal, Some(SIGABRT), "{}", ended.output);
    assert!(
        ended.output.contains("thread 'plain'") && ended.output.contains("overflowed its stack"),
        "{}",
        ended.output
    );
}

#[test]
fn a_handler_that_was_there_before_gets_other_faults() {
    let ended = in_a_child(&[], || {
        extern "C" fn handler(_: i32) {
            // SAFETY: `_exit` may be called in a handler.
            unsafe { libc::_exit(42) };
        }
        // SAFETY: the handler calls nothing but `_exit`.
        unsafe { libc::signal(libc::SIGSEGV, handler as *const () as usize) };
        runtime(1).run(|| {
            let null = std::hint::black_box(std::ptr::null_mut::<u8>().wrapping_add(8));
            // SAFETY: none: this is the fault that is tested.
            unsafe { null.write_volatile(1) };
        });
    });
    assert_eq!(ended.code, Some(42), "{}", ended.output);
}
