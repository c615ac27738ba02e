//! Traces that are written when something happens: by an OS thread that is no worker, so also when every worker is stuck. It waits for nothing that a thread which
//! is stuck may have: its lines do not go by std's handle of standard error, and are left out where that is full.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, BufWriter, PipeReader, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use crate::base::lock::Lock;
use crate::base::report::survive;
use crate::park::{fork, os_threads};
use crate::recorder::trace::snapshot;
use crate::sys::clock::real_ns;
use crate::sys::fork::PerProcess;
use crate::sys::signals::{self, SignalUse};
use crate::sys::standard_error::StandardError;

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
    /// A thread panics, green or not, once the process has had a runtime: its panic hook has run. It waits until the trace is written, five seconds at most.
    Panic,
    /// A worker was noticed that does not come round: see [`stall`](crate::stall). Not if all that it lacks is a processor.
    Stall,
}

/// Traces that panics have written at most in one process, and stalls: a program that panics all the time shall not fill its disk.
const MOST: u32 = 16;
/// From the trace of one stall to that of the next.
const PAUSE_NS: u64 = 10_000_000_000;
/// Names that are tried for a trace: those before may be taken, by files of earlier processes with the same number.
const NAMES: u32 = 100_000;
/// So long a thread that panics waits for its trace.
const PATIENCE: Duration = Duration::from_secs(5);
/// The kinds of triggers, by the bytes that ask for them.
const KINDS: [&str; 3] = ["signal", "panic", "stall"];
const SIGNAL: u8 = 0;
const PANIC: u8 = 1;
const STALL: u8 = 2;

/// What is known of one kind of triggers.
#[derive(Default)]
struct TraceKind {
    /// Where its traces go.
    dir: Option<PathBuf>,
    /// How many have been written, or broken off by a panic.
    count: u32,
    /// The number in the name of the last one.
    number: u32,
    /// There is none before.
    next_ns: u64,
}

/// What is known of the triggers.
struct Triggers {
    /// The thread that writes was started.
    has_writer: bool,
    kinds: [TraceKind; KINDS.len()],
    /// Threads that panic, and wait for their traces.
    waiting: Vec<Sender<()>>,
}

static TRIGGERS: PerProcess<Lock<Triggers>> =
    PerProcess::new(|| Lock::new(Triggers { has_writer: false, kinds: Default::default(), waiting: Vec::new() }));

thread_local! {
    /// It is the thread that writes, which can wait for no trace.
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

/// From now on a trace is written into the directory `dir` each time `trigger` says so: as `green-PID-WHAT-NUMBER.pftrace`, with a line on standard error
/// that says where it is. The number is the first that is free: no file is written over, no symbolic link followed.
///
/// Panics have at most 16 traces in the life of a process, and so have stalls, these at most one in ten seconds; the line of the last one says so. Signals have as many as
/// are asked for; those that come while a trace is written have one together, up to 1024 of them. What cannot be written is a line on standard error, and is not counted.
/// (If the writing itself panics, that is a fault of this crate: it is counted, and what was begun is removed.)
///
/// An OS thread that is no worker writes it, `green-recorder`, with every signal blocked. If standard error has no room for the line (a pipe that nobody reads), that is left out. For each
/// kind of triggers the last `dir` counts; there may be several signals.
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
/// process can handle it, or it is SIGURG, which the crate uses itself. `Other`: the process is a child of fork, and its parent has made such a call. Or the system refuses descriptors or an OS thread.
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
        let thread = std::thread::Builder::new().name("green-recorder".to_owned());
        signals::while_blocked(|| thread.spawn(move || write_traces(pipe)))?;
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
    triggers.kinds[usize::from(kind)].dir = Some(dir.to_owned());
    Ok(())
}

/// Is a trace of this kind asked for, by a program that can write it?
fn is_wanted(triggers: &Triggers, kind: u8) -> bool {
    let TraceKind { dir, count, next_ns, .. } = &triggers.kinds[usize::from(kind)];
    let is_in_time = || *next_ns == 0 || real_ns() >= *next_ns;
    triggers.has_writer && dir.is_some() && (kind == SIGNAL || *count < MOST) && is_in_time()
}

/// The calling thread panics, and its hook has run.
pub(crate) fn panicked() {
    // An error: the OS thread has come to its very end, and is not the one that writes.
    if WRITES.try_with(Cell::get).unwrap_or(false) {
        return;
    }
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
    WRITES.set(true);
    let mut bytes = [0; 1024];
    while let Some(asked) = signals::take_asked(&mut pipe, &mut bytes) {
        for kind in [PANIC, STALL, SIGNAL].into_iter().filter(|kind| asked.contains(kind)) {
            // One that goes wrong is not to be the end of all; but if all do, there is an end.
            if !survive(|| write_trace(kind)) {
                is_over(kind, None);
            }
        }
    }
}

/// Writes one, if it is wanted. Then who waits for it goes on.
fn write_trace(kind: u8) {
    let (wanted, waiting) = {
        let mut triggers = TRIGGERS.get().lock();
        let waiting = if kind == PANIC { std::mem::take(&mut triggers.waiting) } else { Vec::new() };
        // Another may have written that of all who have panicked.
        let is_wanted = is_wanted(&triggers, kind) && (kind != PANIC || !waiting.is_empty());
        let TraceKind { dir, number, .. } = &triggers.kinds[usize::from(kind)];
        (dir.clone().filter(|_| is_wanted).map(|dir| (dir, *number)), waiting)
    };
    let what = KINDS[usize::from(kind)];
    let line = wanted.map(|(dir, number)| match write_file(&dir, what, number + 1) {
        Ok((path, number)) => {
            let count = is_over(kind, Some(number));
            let last = if kind != SIGNAL && count == MOST {
                format!(" (the last one of a {what}: {MOST} have been written)")
            } else {
                String::new()
            };
            format!("green: trace: {}{last}\n", path.display())
        }
        Err((path, error)) => format!("green: no trace: {}: {error}\n", path.display()),
    });
    // The line waits for nobody. It comes first: the program may end with the thread that waits.
    line.into_iter().for_each(|line| StandardError.offer(line.as_bytes()));
    waiting.into_iter().for_each(|waiting| _ = waiting.send(()));
}

/// One has been written, with this number, or a panic has broken it off. How many there have been now.
fn is_over(kind: u8, number: Option<u32>) -> u32 {
    let mut triggers = TRIGGERS.get().lock();
    let kind_ref = &mut triggers.kinds[usize::from(kind)];
    kind_ref.number = number.unwrap_or(kind_ref.number);
    kind_ref.count += 1;
    if kind == STALL {
        kind_ref.next_ns = real_ns() + PAUSE_NS;
    }
    kind_ref.count
}

/// A file that is removed when this is dropped, unless it is whole.
struct BegunFile<'a> {
    path: &'a Path,
    is_whole: bool,
}

impl Drop for BegunFile<'_> {
    fn drop(&mut self) {
        if !self.is_whole {
            let _ = fs::remove_file(self.path);
        }
    }
}

/// Under the first free number from `first` on. What cannot be written to its end is taken away.
fn write_file(dir: &Path, what: &str, first: u32) -> Result<(PathBuf, u32), (PathBuf, io::Error)> {
    for number in first..first.saturating_add(NAMES) {
        let path = dir.join(format!("green-{}-{what}-{number}.pftrace", std::process::id()));
        // It is a new file: so neither one that is there, nor where a link leads.
        match File::create_new(&path) {
            Ok(file) => {
                let mut begun = BegunFile { path: &path, is_whole: false };
                let mut file = BufWriter::new(file);
                #[cfg(all(test, panic = "unwind", not(miri)))]
                tests::break_if_asked();
                let written = snapshot().write_perfetto(&mut file).and_then(|()| file.flush());
                begun.is_whole = written.is_ok();
                drop(begun);
                return match written {
                    Ok(()) => Ok((path, number)),
                    Err(error) => Err((path, error)),
                };
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err((path, error)),
        }
    }
    Err((dir.to_owned(), io::Error::other("the names for traces are all taken")))
}

#[cfg(all(test, panic = "unwind", not(miri)))]
mod tests {
    use std::panic::{catch_unwind, set_hook};
    use std::path::Path;
    use std::process::Command;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;
    use std::{env, fs};

    use super::{MOST, PATIENCE, Trigger, panicked, write_on};

    /// So many traces break off with a panic.
    static BREAKS: AtomicU32 = AtomicU32::new(0);

    pub(super) fn break_if_asked() {
        let broken = BREAKS.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(broken.is_err(), "a fault of the recorder's");
    }

    /// The directory is given, in a process of its own.
    fn traces_break(dir: &Path) {
        let files = || fs::read_dir(dir).unwrap().count();
        let panics = || catch_unwind(|| panic!("as it should")).unwrap_err();
        // As that of `rt::hook`.
        set_hook(Box::new(|_| panicked()));
        write_on(Trigger::Panic, dir).unwrap();
        panics();
        assert_eq!(files(), 1);
        BREAKS.store(1000, Ordering::SeqCst);
        let start = Instant::now();
        (0..20).for_each(|_| drop(panics()));
        assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
        // What was begun is gone, and each has counted.
        assert_eq!((files(), 1000 - BREAKS.load(Ordering::SeqCst)), (1, MOST - 1));
    }

    #[test]
    fn a_panic_of_the_thread_that_writes_traces_had_it_wait_for_itself_again_and_again() {
        if let Some(dir) = env::var_os("BROKEN_TRACES") {
            return traces_break(Path::new(&dir));
        }
        // The test starts itself.
        if env::var_os("GREEN_EMULATED").is_some() {
            return;
        }
        let dir = env::temp_dir().join(format!("green-broken-traces-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let mut child = Command::new(env::current_exe().unwrap());
        child.args([std::thread::current().name().unwrap(), "--exact", "--nocapture"]);
        let done = child.env("BROKEN_TRACES", &dir).env("RUST_BACKTRACE", "0").output().unwrap();
        fs::remove_dir_all(&dir).unwrap();
        // A panic of the child's has no message.
        assert!(done.status.success(), "{done:?}");
    }
}
