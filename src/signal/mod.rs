//! Waiting for signals, so that a program can stop in good order, or do what it is asked for: [`ctrl_c`], [`terminate`], [`wait_for`].
//!
//! A green thread that waits parks, a plain OS thread blocks; both can be cancelled. Signals that are not in [`SignalKind`] are left
//! to other crates: what writes a byte into a pipe from its handler, as `signal-hook` does, can be waited for by
//! [`io::wait_readable`](crate::io::wait_readable). The [guide](crate::guide::stopping) has a whole server.

#![forbid(unsafe_code)]

use std::io::{self, Read};

use crate::base::lock::Lock;
use crate::park::queue::WaitQueue;
use crate::park::{Wait, checkpoint};
use crate::park::{fork, os_threads};
use crate::sys::fork::PerProcess;
use crate::sys::signals::{SIGNALS, install, open, while_blocked};
use crate::task::header::Reason;

/// Names a signal that [`wait_for`] can wait for.
///
/// ```
/// use green::signal::SignalKind;
/// println!("stopped by {:?}", SignalKind::Terminate);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SignalKind {
    /// SIGINT: ctrl-c at the keyboard.
    Interrupt,
    /// SIGTERM: what service managers send to end a process.
    Terminate,
    /// SIGHUP: the terminal is gone, or, for a server, its settings are to be read again.
    Hangup,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
}

impl SignalKind {
    /// In the order of [`SIGNALS`].
    const ALL: [SignalKind; SIGNALS.len()] =
        [SignalKind::Interrupt, SignalKind::Terminate, SignalKind::Hangup, SignalKind::User1, SignalKind::User2];

    /// Its place there.
    fn place(self) -> usize {
        self as usize
    }
}

/// The signals of one kind.
#[derive(Clone, Copy)]
struct Came {
    count: u64,
    /// What the count was when a wait last ended by one.
    seen: u64,
}

/// Those of each kind.
static CAME: PerProcess<WaitQueue<[Came; SIGNALS.len()]>> =
    PerProcess::new(|| WaitQueue::new([Came { count: 0, seen: 0 }; SIGNALS.len()]));
/// Whether the watching thread was started, and which signals are taken over.
static INSTALLED: PerProcess<Lock<(bool, [bool; SIGNALS.len()])>> =
    PerProcess::new(|| Lock::new((false, [false; SIGNALS.len()])));

/// Waits for the next ctrl-c (SIGINT). Any number of threads, green and others, may wait; all are woken. A cancellation
/// point.
///
/// From the first call on, ctrl-c no longer ends the process, not even when no thread waits. A first call that ends at once,
/// `timeout(Duration::ZERO, ctrl_c)`, takes it over and does not wait. An interrupt that comes while no thread waits is kept: the next wait
/// ends at once. Several are kept as one. How a server uses it to stop in good order is a page of the [guide](crate::guide::stopping).
///
/// # Errors
///
/// The first call needs two descriptors and an OS thread of its own, and the system may refuse them. `ResourceBusy`: the signal is asked for already, to
/// have a [dump](crate::dump::on_signal) or a [trace](crate::recorder::write_on) written.
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
    wait(&[SignalKind::Interrupt], Reason::CtrlC).map(drop)
}

/// Waits until the process is told to end: by ctrl-c (SIGINT) or SIGTERM, whichever comes first, and returns which. A cancellation
/// point.
///
/// From the first call on neither ends the process; [`ctrl_c`] says what follows from that.
///
/// ```standalone_crate
/// use green::signal::{SignalKind, terminate};
/// # let _ = green::timeout(std::time::Duration::ZERO, terminate);
/// # let signals = green::spawn(|| loop {
/// #     green::sleep(std::time::Duration::from_millis(5));
/// #     // SAFETY: raises a signal whose handler is this crate's.
/// #     unsafe { libc::raise(libc::SIGTERM) };
/// # });
/// let which = terminate()?;
/// assert_eq!(which, SignalKind::Terminate);
/// let end = green::shutdown(std::time::Duration::from_secs(10)); // the actors
/// # assert!(end.is_clean());
/// # signals.cancel();
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Those of [`ctrl_c`].
pub fn terminate() -> io::Result<SignalKind> {
    wait_for(&[SignalKind::Interrupt, SignalKind::Terminate])
}

/// Waits for the next signal of any of these kinds, and returns its kind; of several that have come, the first in `kinds`. A
/// cancellation point.
///
/// From the first call on, these signals no longer do what they do by default, which is to end the process. A first call that ends at
/// once, `timeout(Duration::ZERO, || wait_for(&kinds))`, takes them over and does not wait. Any number of threads may wait; all are
/// woken. A signal that comes while no thread waits for it is kept, several of a kind as one: the next wait for it ends at once.
///
/// ```
/// use green::signal::{SignalKind, wait_for};
/// # let _ = green::timeout(std::time::Duration::ZERO, || wait_for(&[SignalKind::Hangup]));
/// # let signals = green::spawn(|| loop {
/// #     green::sleep(std::time::Duration::from_millis(5));
/// #     // SAFETY: raises a signal whose handler is this crate's.
/// #     unsafe { libc::raise(libc::SIGHUP) };
/// # });
/// match wait_for(&[SignalKind::Hangup, SignalKind::Terminate])? {
///     SignalKind::Hangup => println!("reads its settings again"),
///     _ => println!("ends"),
/// }
/// # signals.cancel();
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Those of [`ctrl_c`].
///
/// # Panics
///
/// If `kinds` is empty.
#[track_caller]
pub fn wait_for(kinds: &[SignalKind]) -> io::Result<SignalKind> {
    assert!(!kinds.is_empty(), "a wait for no signal would never end");
    wait(kinds, Reason::Signal)
}

fn wait(kinds: &[SignalKind], reason: Reason) -> io::Result<SignalKind> {
    kinds.iter().try_for_each(|kind| watch(*kind))?;
    checkpoint();
    // One that came when nobody waited is more than was seen. All that wait when one comes have the same `before`.
    let before = CAME.get().with(|came| came.map(|came| came.seen));
    let came = |came: &mut [Came; SIGNALS.len()]| {
        let kind = kinds.iter().copied().find(|kind| came[kind.place()].count > before[kind.place()])?;
        came[kind.place()].seen = came[kind.place()].count;
        Some(kind)
    };
    Ok(CAME.get().wait_until(Wait::new(reason), came).unwrap_or(kinds[0]))
}

/// Takes the signal over, once in a process. The first time starts the thread that takes the signals out of the handler's pipe.
fn watch(kind: SignalKind) -> io::Result<()> {
    fork::install();
    let mut installed = INSTALLED.get().lock();
    if !installed.0 {
        start_thread()?;
        // In a child of fork the handlers are there, and write into this pipe now.
        installed.0 = true;
    }
    let is_taken = &mut installed.1[kind.place()];
    if !*is_taken {
        install(kind.place())?;
        *is_taken = true;
    }
    Ok(())
}

fn start_thread() -> io::Result<()> {
    let (start, begin) = std::sync::mpsc::channel::<io::PipeReader>();
    let watches = move || {
        let _serves = os_threads::serves();
        let Ok(mut pipe) = begin.recv() else { return };
        let mut place = [0];
        while pipe.read_exact(&mut place).is_ok() {
            let Some(kind) = SignalKind::ALL.get(usize::from(place[0])) else { continue };
            CAME.get().notify_all(|came| {
                came[kind.place()].count += 1;
                true
            });
        }
    };
    let thread = std::thread::Builder::new().name("green-signal".to_owned());
    while_blocked(|| thread.spawn(watches))?;
    // It waits for the pipe, or ends if there is none.
    let _ = start.send(open()?);
    Ok(())
}
