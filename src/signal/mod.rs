//! Waiting for ctrl-c, so that a program can stop in good order: [`ctrl_c`].
//!
//! A green thread that waits parks, a plain OS thread blocks; both can be cancelled. Other signals, SIGTERM among them, are left
//! to other crates: what writes a byte into a pipe from its handler, as `signal-hook` does, can be waited for by
//! [`io::wait_readable`](crate::io::wait_readable). The [guide](crate::guide::stopping) has a whole server.

#![forbid(unsafe_code)]

use std::io::{self, Read};

use crate::base::lock::Lock;
use crate::park::queue::WaitQueue;
use crate::park::{Wait, checkpoint};
use crate::sys::ctrl_c::install;
use crate::sys::fork::generation;
use crate::task::header::Reason;

/// How many interrupts there have been.
static COUNT: WaitQueue<u64> = WaitQueue::new(0);
/// The [`generation`] in which the watching thread was started.
static INSTALLED: Lock<Option<u32>> = Lock::new(None);

/// Waits for the next ctrl-c (SIGINT). Any number of threads, green and others, may wait; all are woken. A cancellation
/// point.
///
/// From the first call on, ctrl-c no longer ends the process, not even when no thread waits. A first call that ends at once,
/// `timeout(Duration::ZERO, ctrl_c)`, takes it over and does not wait. Interrupts that come while no thread waits are not kept. How
/// a server uses it to stop in good order is a page of the [guide](crate::guide::stopping).
///
/// # Errors
///
/// The first call needs two descriptors and an OS thread of its own, and the system may refuse them.
///
/// ```
/// green::run(|| {
///     let server = green::spawn(|| loop {
///         green::sleep(std::time::Duration::from_secs(1));
///     });
///     # let _ = green::timeout(std::time::Duration::ZERO, green::signal::ctrl_c);
///     # let interrupts = green::spawn(|| loop {
///     #     green::sleep(std::time::Duration::from_millis(5));
///     #     // SAFETY: raises a signal whose handler is this crate's.
///     #     unsafe { libc::raise(libc::SIGINT) };
///     # });
///     green::signal::ctrl_c().unwrap();
///     server.cancel();
///     # interrupts.cancel();
/// });
/// ```
pub fn ctrl_c() -> io::Result<()> {
    watch()?;
    checkpoint();
    let before = COUNT.with(|count| *count);
    let _ = COUNT.wait_until(Wait::new(Reason::CtrlC), |count| (*count > before).then_some(()));
    Ok(())
}

/// Starts the thread that takes the interrupts out of the handler's pipe, once in a process.
fn watch() -> io::Result<()> {
    let mut installed = INSTALLED.lock();
    if *installed == Some(generation()) {
        return Ok(());
    }
    let (start, begin) = std::sync::mpsc::channel::<io::PipeReader>();
    let watches = move || {
        let Ok(mut pipe) = begin.recv() else { return };
        while pipe.read_exact(&mut [0]).is_ok() {
            COUNT.notify_all(|count| {
                *count += 1;
                true
            });
        }
    };
    std::thread::Builder::new().name("green-signal".to_owned()).spawn(watches)?;
    // It waits for the pipe, or ends if there is none.
    let _ = start.send(install()?);
    *installed = Some(generation());
    Ok(())
}
