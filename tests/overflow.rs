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

/// Calls `f` on a green thread's stack of 16 KiB of which less than `left` bytes are left.
fn near_the_end_of_a_stack(left: usize, f: fn()) {
    // The kernel does not read from a guard.
    fn guarded(address: usize) -> bool {
        // SAFETY: the kernel checks the address itself.
        unsafe { libc::write(*PIPE, address as *const _, 1) == -1 }
    }
    fn dive(left: usize, f: fn()) {
        let frame = std::hint::black_box([0_usize; 8]);
        if guarded((&raw const frame).addr() - left) {
            f()
        } else {
            dive(left, f)
        }
        std::hint::black_box(frame);
    }
    static PIPE: std::sync::LazyLock<i32> = std::sync::LazyLock::new(|| {
        let mut ends = [0; 2];
        // SAFETY: the call writes two descriptors.
        assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
        ends[1]
    });
    let _ = *PIPE;
    let small = Builder::new().name("small".into()).stack_size(16 << 10);
    small.spawn(move || dive(left, f)).unwrap().join().unwrap();
}

fn send(signal: i32) {
    // SAFETY: the calls send a signal to this very OS thread, with little of its stack.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::syscall(libc::SYS_gettid), signal) };
}

fn overflow() {
    std::hint::black_box(deep(1_000_000));
}

/// What a handler's frame takes is more than this; what the call takes that sends the signal, is less.
const NO_ROOM: usize = if cfg!(target_arch = "aarch64") { 1800 } else { 600 };
/// Enough for that call.
const ROOM_TO_SEND: usize = if cfg!(target_arch = "x86_64") { NO_ROOM } else { 1800 };

#[test]
fn a_ctrl_c_that_comes_near_the_end_of_a_stack_reaches_who_waits_for_it() {
    let ended = in_a_child(&[], || {
        let _ = green::timeout(std::time::Duration::ZERO, green::signal::ctrl_c);
        runtime(1).run(|| {
            let waiter = green::spawn(green::signal::ctrl_c);
            green::yield_now();
            near_the_end_of_a_stack(ROOM_TO_SEND, || send(libc::SIGINT));
            waiter.join().unwrap().unwrap();
        });
    });
    ended.assert_success();
}

#[test]
fn a_signal_whose_handler_finds_no_room_on_a_green_stack_is_reported_as_an_overflow() {
    let ended = in_a_child(&[], || {
        extern "C" fn handler(_: i32) {}
        // SAFETY: the handler does nothing. `signal` does not set SA_ONSTACK.
        unsafe { libc::signal(libc::SIGUSR1, handler as *const () as usize) };
        runtime(1).run(|| near_the_end_of_a_stack(NO_ROOM, || send(libc::SIGUSR1)));
    });
    assert_eq!(ended.signal, Some(SIGABRT), "{}", ended.output);
    assert!(ended.output.contains("green thread 'small' (id "), "{}", ended.output);
    assert!(ended.output.contains("without SA_ONSTACK"), "{}", ended.output);
}

#[test]
fn a_signal_whose_handler_asks_for_the_signal_stack_is_handled_near_the_end_of_a_green_stack() {
    let ended = in_a_child(&[], || {
        extern "C" fn handler(_: i32) {
            HANDLED.set();
        }
        static HANDLED: help::Flag = help::Flag::new();
        // SAFETY: zeros are a valid action, and the handler sets a flag.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_ONSTACK;
            libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
        }
        runtime(1).run(|| near_the_end_of_a_stack(ROOM_TO_SEND, || send(libc::SIGUSR1)));
        assert!(HANDLED.is_set());
    });
    ended.assert_success();
}

#[cfg(target_arch = "x86_64")]
#[test]
fn an_address_that_cannot_be_one_is_no_overflow_even_near_the_end_of_a_stack() {
    let ended = in_a_child(&[], || {
        // The processor tells no address of such a fault, so it looks like that of a signal without room.
        // SAFETY: none: this is the fault that is tested.
        let access = || unsafe { std::ptr::without_provenance_mut::<u8>(1 << 62).write_volatile(1) };
        runtime(1).run(|| near_the_end_of_a_stack(NO_ROOM, access));
    });
    assert_eq!(ended.signal, Some(SIGSEGV), "{}", ended.output);
    assert!(!ended.output.contains("overflowed"), "{}", ended.output);
}

#[test]
fn a_fault_that_an_earlier_handler_has_let_pass_does_not_end_the_reports() {
    // std's handler, which was there before, makes the default action that of the signal and returns.
    let ended = in_a_child(&[], || {
        runtime(1).run(|| {
            send(SIGSEGV);
            eprintln!("went on");
            overflow();
        });
    });
    assert!(ended.output.contains("went on"), "{}", ended.output);
    assert_eq!(ended.signal, Some(SIGABRT), "{}", ended.output);
    assert!(ended.output.contains("green thread '<unnamed>'"), "{}", ended.output);
}

#[test]
fn a_second_fault_that_an_earlier_handler_lets_pass_finds_the_default_action_as_with_std() {
    let ended = in_a_child(&[], || {
        runtime(1).run(|| {
            send(SIGSEGV);
            send(SIGSEGV);
        });
    });
    assert_eq!(ended.signal, Some(SIGSEGV), "{}", ended.output);
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
