//! What `tests/panic_abort.rs` builds and runs with `panic = "abort"`: everything works but unwinding.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn main() {
    assert!(cfg!(panic = "abort"));
    let runtime = green::Runtime::builder().workers(2).build().expect("a runtime");
    let count = AtomicUsize::new(0);
    let sum = runtime.run(|| {
        green::scope(|s| {
            for _ in 0..100 {
                s.spawn(|| {
                    green::sleep(Duration::from_micros(100));
                    count.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        // A time-out cannot end what it is round, and a cancel cannot end what has started.
        assert_eq!(green::timeout(Duration::from_micros(100), || green::sleep(Duration::from_millis(2))), Ok(()));
        let thread = green::spawn(|| {
            green::thread::park();
            5
        });
        green::sleep(Duration::from_millis(1));
        thread.cancel();
        thread.thread().unpark();
        thread.join().unwrap() + green::blocking(|| 2)
    });
    assert_eq!((sum, count.into_inner()), (7, 100));
    drop(runtime);
    // One that has not started never will; the only worker cannot start it meanwhile.
    green::Runtime::builder().workers(1).build().expect("a runtime").run(|| {
        let never = green::spawn(|| -> () { unreachable!("it was cancelled before its start") });
        never.cancel();
        assert!(never.join().is_err());
    });
    if std::env::args().any(|argument| argument == "panic") {
        let _ = green::spawn(|| panic!("ends the process")).join();
        unreachable!("it went on");
    }
    println!("all is well");
}
