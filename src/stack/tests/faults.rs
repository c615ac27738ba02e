//! With our handler in front, each fault that is not an overflow ends as it would without.

use std::hint::black_box;
use std::thread;

use super::{child, role};
use crate::stack::overflow;
use crate::sys::fault::testing::{self, Action, SIGABRT, SIGSEGV};

fn install() {
    overflow::install(|tell| tell(1, Some("nobody")));
    overflow::prepare_thread();
}

fn dereference_null() {
    let null = black_box(std::ptr::null_mut::<u8>().wrapping_add(8));
    // SAFETY: none; the fault is wanted.
    unsafe { null.write_volatile(1) };
}

#[test]
fn an_overflow_of_a_plain_thread_still_prints_stds_message() {
    if role().is_none() {
        let ended = child("faults::an_overflow_of_a_plain_thread_still_prints_stds_message", "overflow", None);
        assert_eq!(ended.signal, Some(SIGABRT), "{ended:?}");
        assert!(ended.output.contains("thread 'plain'"), "{ended:?}");
        assert!(ended.output.contains("has overflowed its stack"), "{ended:?}");
        assert!(!ended.output.contains("green thread"), "{ended:?}");
        return;
    }
    install();
    let plain = thread::Builder::new().name("plain".into()).spawn(|| recurse(1));
    let _ = plain.expect("a thread can be started").join();
}

fn recurse(depth: usize) -> usize {
    let frame = black_box([depth; 64]);
    if depth == 0 { 0 } else { recurse(depth + 1) + frame[depth % 64] }
}

#[test]
fn a_null_pointer_still_ends_the_process_by_sigsegv() {
    const TEST: &str = "faults::a_null_pointer_still_ends_the_process_by_sigsegv";
    match role().as_deref() {
        None => {
            for role in ["std", "default", "ignore"] {
                let ended = child(TEST, role, None);
                assert_eq!(ended.signal, Some(SIGSEGV), "{role}: {ended:?}");
                assert!(!ended.output.contains("green thread"), "{role}: {ended:?}");
            }
            return;
        }
        Some("default") => testing::set_action(Action::Default, 0),
        Some("ignore") => testing::set_action(Action::Ignore, 0),
        // The test binary's main is Rust's, so std's handler is there.
        Some(_) => {}
    }
    install();
    dereference_null();
}

#[test]
fn a_sent_signal_is_ignored_or_deadly_as_it_was() {
    const TEST: &str = "faults::a_sent_signal_is_ignored_or_deadly_as_it_was";
    match role().as_deref() {
        None => {
            child(TEST, "ignore", None).assert_passed();
            let ended = child(TEST, "default", None);
            assert_eq!(ended.signal, Some(SIGSEGV), "{ended:?}");
            return;
        }
        Some("ignore") => testing::set_action(Action::Ignore, 0),
        Some(_) => testing::set_action(Action::Default, 0),
    }
    install();
    testing::send_segv();
}

extern "C" fn exit_42(signal: i32) {
    testing::exit(if signal == SIGSEGV { 42 } else { 1 });
}

extern "C" fn come_back(_signal: i32) {}

#[test]
fn a_handler_of_the_older_form_is_called() {
    const TEST: &str = "faults::a_handler_of_the_older_form_is_called";
    match role().as_deref() {
        None => {
            let ended = child(TEST, "exit", None);
            assert_eq!(ended.code, Some(42), "{ended:?}");
            // Called once, then the default action's turn.
            let ended = child(TEST, "once", None);
            assert_eq!(ended.signal, Some(SIGSEGV), "{ended:?}");
            return;
        }
        Some("exit") => testing::set_action(Action::Plain(exit_42), 0),
        Some(_) => testing::set_action(Action::Plain(come_back), testing::ONCE_ONLY),
    }
    install();
    dereference_null();
}
