//! Waiting for ctrl-c.

#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use crate::park::queue::WaitQueue;
use crate::park::{Wait, checkpoint};
use crate::sys::ctrl_c::install;
use crate::sys::fork::generation;
use crate::task::header::Reason;

/// How many interrupts there have been.
static COUNT: WaitQueue<u64> = WaitQueue::new(0);
/// The [`generation`] in which the watching thread was started.
static INSTALLED: Mutex<Option<u32>> = Mutex::new(None);

/// Waits for the next ctrl-c (SIGINT). Any number of threads, green and others, may wait; all are woken. A cancellation
/// point.
///
/// From the first call on, ctrl-c no longer ends the process, not even when nobody waits. A first call that ends at once,
/// `timeout(Duration::ZERO, ctrl_c)`, takes it over and does not wait. How servers use it to stop in
/// good order is shown in `examples/echo.rs`.
///
/// # Errors
///
/// The first call needs two descriptors and an OS thread of its own, and the system may refuse them.
///
/// ```no_run
/// green::run(|| {
///     let server = green::spawn(|| loop {
///         green::sleep(std::time::Duration::from_secs(1));
///     });
///     green::signal::ctrl_c().unwrap();
///     server.cancel();
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
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
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
