//! A dump when a signal comes.

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;

use crate::base::lock::Lock;
use crate::dump::text;
use crate::sys::fork::generation;
use crate::sys::signals;

/// The [`generation`] of the process in which the thread that writes was started.
static WRITER: Lock<Option<u32>> = Lock::new(None);
/// `GREEN_DUMP` has been obeyed.
static DONE: Lock<bool> = Lock::new(false);

/// From now on the signal with this number has [`text`] written to standard error, each time it comes, by an OS thread that is no worker: so also when
/// every worker is stuck. The program goes on.
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
/// it. `Other`: the process is a child of fork, and its parent has made this call. Or the system refuses descriptors or an OS thread.
pub fn on_signal(signal: i32) -> io::Result<()> {
    let mut writer = WRITER.lock();
    if writer.is_some_and(|made_in| made_in != generation()) {
        return Err(crate::sys::fork::error());
    }
    if writer.is_none() {
        let pipe = signals::open_for_taken()?;
        std::thread::Builder::new().name("green-dump".to_owned()).spawn(move || write_dumps(pipe))?;
        *writer = Some(generation());
    }
    signals::take(signal)
}

/// What `GREEN_DUMP` asks for, once.
///
/// # Errors
///
/// `InvalidInput`: it asks for something else. Those of [`on_signal`].
pub(crate) fn from_env() -> io::Result<()> {
    let mut done = DONE.lock();
    let Some(value) = std::env::var_os("GREEN_DUMP").filter(|_| !*done) else { return Ok(()) };
    if value != "quit" {
        let message = format!("GREEN_DUMP={value:?} is not \"quit\"");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    *done = true;
    match on_signal(signals::QUIT) {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            // A shell starts what runs in the background so. That is no reason not to run.
            let _ = writeln!(io::stderr(), "green: GREEN_DUMP=quit: {error}");
            Ok(())
        }
        result => result.map_err(|error| io::Error::new(error.kind(), format!("GREEN_DUMP=quit: {error}"))),
    }
}

fn write_dumps(mut pipe: PipeReader) {
    let mut byte = [0];
    while pipe.read_exact(&mut byte).is_ok() {
        // Not by std's handle, whose lock a worker may hold that is stuck.
        let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned() else { continue };
        let mut stderr = File::from(stderr);
        if let Err(error) = text(&mut stderr) {
            let _ = writeln!(stderr, "green: no dump: {error}");
        }
    }
}
