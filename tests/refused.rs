//! Where threads cannot have thread-locals of their own, each way to ask for them is an error that says why, and never another kind of thread. In a static
//! build and under ThreadSanitizer: `.ci/static`, `.ci/sanitizers`.

use green::actor::{self, Actor};
use green::{Runtime, ThreadLocals, thread};

/// A part of the reason in this kind of build; `None`: the machine decides.
fn reason() -> Option<&'static str> {
    let static_or_other = cfg!(target_feature = "crt-static")
        || !cfg!(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")));
    if static_or_other {
        return Some("linked dynamically");
    }
    cfg!(all(green_sanitized, green_sanitizer = "thread")).then_some("a sanitizer")
}

struct Nothing;

impl Actor for Nothing {}

#[test]
fn asking_for_what_is_not_to_be_had_is_an_error_with_the_reason() {
    let per_thread = ThreadLocals::PerThread;
    let refused = match (ThreadLocals::supported(), reason()) {
        (Ok(()), None) => return assert!(Runtime::builder().thread_locals(per_thread).build().is_ok()),
        (Ok(()), Some(reason)) => panic!("{reason}: and yet they are to be had"),
        (Err(refused), reason) => {
            let refused = refused.to_string();
            assert!(reason.is_none_or(|reason| refused.contains(reason)), "{refused}");
            refused
        }
    };
    let is_refused = |error: std::io::Error| {
        assert_eq!((error.kind(), error.to_string()), (std::io::ErrorKind::Unsupported, refused.clone()));
    };
    is_refused(Runtime::builder().thread_locals(per_thread).build().map(drop).unwrap_err());
    // A runtime of the other kind, and a thread that wants them.
    Runtime::builder().workers(1).build().unwrap().run(|| {
        is_refused(thread::Builder::new().thread_locals(per_thread).spawn(|| ()).map(drop).unwrap_err());
        is_refused(actor::Builder::new().thread_locals(per_thread).start(Nothing).map(drop).unwrap_err());
    });
}

#[test]
fn threads_that_share_their_workers_are_to_be_had_everywhere() {
    let runtime = Runtime::builder().workers(1).thread_locals(ThreadLocals::PerWorker).build().unwrap();
    let id = || std::thread::current().id();
    let (one, other) = runtime.run(|| (id(), thread::Builder::new().spawn(id).unwrap().join().unwrap()));
    assert_eq!(one, other);
}
