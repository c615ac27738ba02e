//! Traces that are written when something happens: by an OS thread that is no worker, so also when every worker is stuck.

use std::fs::File;
use std::io::{self, BufWriter, PipeReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use crate::base::lock::Lock;
use crate::base::report::report;
use crate::park::{fork, os_threads};
use crate::recorder::trace::snapshot;
use crate::sys::fork::PerProcess;
use crate::sys::signals::{self, SignalUse};

/// When a trace is written.
///
/// ```
/// use green::recorder::Trigger;
/// green::recorder::write_on(Trigger::Stall, std::env::temp_dir())?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Trigger {
    /// The signal with this number has come. The program goes on.
    Signal(i32),
    /// A thread panics, green or not: its panic hook has run. It waits until the trace is written, five seconds at most.
    Panic,
    /// A worker was noticed that does not come round: see [`stall`](crate::stall). Not if all that it lacks is a processor.
    Stall,
}

/// Traces that one kind of trigger has written at most in one process: a program that panics all the time shall not fill its disk.
const MOST: u32 = 16;
/// So long a thread that panics waits for its trace.
const PATIENCE: Duration = Duration::from_secs(5);
/// The kinds of triggers, by the bytes that ask for them.
const KINDS: usize = 3;
const SIGNAL: u8 = 0;
const PANIC: u8 = 1;
const STALL: u8 = 2;

/// What is known of the triggers.
struct Triggers {
    /// The thread that writes was started.
    has_writer: bool,
    /// Where traces go, by kind, and how many have gone there.
    places: [(Option<PathBuf>, u32); KINDS],
    /// Threads that panic, and wait for their traces.
    waiting: Vec<Sender<()>>,
}

static TRIGGERS: PerProcess<Lock<Triggers>> = PerProcess::new(|| {
    Lock::new(Triggers { has_writer: false, places: [const { (None, 0) }; KINDS], waiting: Vec::new() })
});

/// From now on a trace is written into the directory `dir` each time `trigger` says so, at most 16 times for each kind of them: as
/// `green-PID-WHAT-NUMBER.pftrace`, with a line on standard error that says where it is.
///
/// An OS thread that is no worker writes it. For each kind of triggers the last `dir` counts; there may be several signals.
///
/// ```
/// # #[cfg(not(miri))]
/// green::recorder::write_on(green::recorder::Trigger::Signal(libc::SIGUSR1), std::env::temp_dir())?; // kill -USR1 …
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// `NotADirectory`: that is what `dir` is not. `ResourceBusy`: the signal has a handler already, or is ignored. `InvalidInput`: there is no such signal, or no
/// process can handle it. `Other`: the process is a child of fork, and its parent has made such a call. Or the system refuses descriptors or an OS thread.
pub fn write_on(trigger: Trigger, dir: impl AsRef<Path>) -> io::Result<()> {
    let dir = dir.as_ref();
    if !dir.metadata()?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is no directory", dir.display())));
    }
    fork::install();
    let mut triggers = TRIGGERS.get().lock();
    if !triggers.has_writer && signals::is_the_parents(SignalUse::Trace) {
        return Err(crate::sys::fork::error());
    }
    if !triggers.has_writer {
        let pipe = signals::open_for_taken(SignalUse::Trace)?;
        std::thread::Builder::new().name("green-recorder".to_owned()).spawn(move || write_traces(pipe))?;
        triggers.has_writer = true;
    }
    let kind = match trigger {
        Trigger::Signal(signal) => {
            signals::take(signal, SignalUse::Trace)?;
            SIGNAL
        }
        Trigger::Panic => PANIC,
        Trigger::Stall => STALL,
    };
    triggers.places[usize::from(kind)].0 = Some(dir.to_owned());
    Ok(())
}

/// Is a trace of this kind asked for, by a program that can write it?
fn is_wanted(triggers: &Triggers, kind: u8) -> bool {
    let (dir, count) = &triggers.places[usize::from(kind)];
    triggers.has_writer && dir.is_some() && *count < MOST
}

/// The calling thread panics, and its hook has run.
pub(crate) fn panicked() {
    let written = {
        let mut triggers = TRIGGERS.get().lock();
        if !is_wanted(&triggers, PANIC) {
            return;
        }
        let (sender, written) = channel();
        triggers.waiting.push(sender);
        written
    };
    signals::ask(SignalUse::Trace, PANIC);
    let _ = written.recv_timeout(PATIENCE);
}

/// A stall was noticed.
pub(crate) fn stalled() {
    if is_wanted(&TRIGGERS.get().lock(), STALL) {
        signals::ask(SignalUse::Trace, STALL);
    }
}

fn write_traces(mut pipe: PipeReader) {
    let _serves = os_threads::serves();
    let mut byte = [0];
    while pipe.read_exact(&mut byte).is_ok() {
        let [kind] = byte;
        let (place, waiting) = {
            let mut triggers = TRIGGERS.get().lock();
            let wanted = is_wanted(&triggers, kind);
            let (dir, count) = &mut triggers.places[usize::from(kind)];
            *count += u32::from(wanted);
            let place = dir.clone().filter(|_| wanted).map(|dir| (dir, *count));
            let waiting = if kind == PANIC { std::mem::take(&mut triggers.waiting) } else { Vec::new() };
            (place, waiting)
        };
        if let Some((dir, count)) = place {
            let what = ["signal", "panic", "stall"][usize::from(kind)];
            let path = dir.join(format!("green-{}-{what}-{count}.pftrace", std::process::id()));
            match write_file(&path) {
                Ok(()) => report(format_args!("trace: {}", path.display())),
                Err(error) => report(format_args!("no trace: {}: {error}", path.display())),
            }
        }
        waiting.into_iter().for_each(|waiting| _ = waiting.send(()));
    }
}

fn write_file(path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    snapshot().write_perfetto(&mut file)?;
    file.flush()
}
