//! A dump when a signal comes.

use std::io::{self, PipeReader, Write};

use crate::base::atomic::{AtomicU32, Ordering};
use crate::base::lock::Lock;
use crate::base::report::survive;
use crate::dump::text;
use crate::park::{fork, os_threads};
use crate::sys::fork::PerProcess;
use crate::sys::signals::{self, SignalUse};
use crate::sys::standard_error::StandardError;

/// The thread that writes was started.
static WRITER: PerProcess<Lock<bool>> = PerProcess::new(|| Lock::new(false));
/// `GREEN_DUMP` has been obeyed: 1. By a parent is enough.
static DONE: AtomicU32 = AtomicU32::new(0);

/// From now on the signal with this number has [`text`] written to standard error, each time it comes, by an OS thread that is no worker: so also when
/// every worker is stuck. The program goes on. Signals that come while a dump is written have one more dump together, up to 1024 of them. If nobody reads what standard error is, a full pipe, that thread waits until
/// somebody does, and nothing else: it has looked at all threads before it writes the first byte.
///
/// `libc::SIGQUIT` is what `ctrl-\` at the keyboard sends; without this call it ends the process. The environment variable
/// `GREEN_DUMP=quit` makes this call for it when the first runtime starts; there a signal that is taken is a line on standard error, and no error.
///
/// ```
/// # #[cfg(not(miri))]
/// green::dump::on_signal(libc::SIGUSR2)?; // kill -USR2 …
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// `ResourceBusy`: the signal has a handler already, or is ignored. `InvalidInput`: there is no such signal, or no process can handle
/// it, or a fault of the program makes it (`SIGSEGV`, `SIGFPE`, …), or it is SIGURG, which the crate uses itself. `Other`: the process is a child of fork, and its parent has made this call. Or the system refuses descriptors or an OS thread.
pub fn on_signal(signal: i32) -> io::Result<()> {
    fork::install();
    let mut writer = WRITER.get().lock();
    if !*writer && signals::is_the_parents(SignalUse::Dump) {
        return Err(crate::sys::fork::error());
    }
    if !*writer {
        let pipe = signals::open_for_taken(SignalUse::Dump)?;
        let thread = std::thread::Builder::new().name("green-dump".to_owned());
        signals::while_blocked(|| thread.spawn(move || write_dumps(pipe)))?;
        *writer = true;
    }
    signals::take(signal, SignalUse::Dump)
}

/// What `GREEN_DUMP` asks for, once.
///
/// # Errors
///
/// `InvalidInput`: it asks for something else. Those of [`on_signal`].
pub(crate) fn from_env() -> io::Result<()> {
    // ORDERING of this function: Relaxed: the handler that is set says the same.
    let is_done = DONE.load(Ordering::Relaxed) != 0;
    let Some(value) = std::env::var_os("GREEN_DUMP").filter(|_| !is_done) else { return Ok(()) };
    if value != "quit" {
        let message = format!("GREEN_DUMP={value:?} is not \"quit\"");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    match on_signal(signals::QUIT) {
        Ok(()) => {
            DONE.store(1, Ordering::Relaxed);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy || signals::is_the_parents(SignalUse::Dump) => {
            // A shell starts what runs in the background so; or this is a child of fork, whose parent has its dumps. That is no reason not to run.
            if DONE.swap(1, Ordering::Relaxed) == 0 {
                let _ = writeln!(io::stderr(), "green: GREEN_DUMP=quit: {error}");
            }
            Ok(())
        }
        result => result.map_err(|error| io::Error::new(error.kind(), format!("GREEN_DUMP=quit: {error}"))),
    }
}

fn write_dumps(mut pipe: PipeReader) {
    let _serves = os_threads::serves();
    let mut bytes = [0; 1024];
    // Who asks while one is written gets one with all the others that do, as far as there is room for them.
    while signals::take_asked(&mut pipe, &mut bytes).is_some() {
        survive(|| {
            let mut stderr = StandardError;
            if let Err(error) = text(&mut stderr) {
                let _ = writeln!(stderr, "green: no dump: {error}");
            }
        });
    }
}
