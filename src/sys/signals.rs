//! Signals that ask a process for something, as bytes in a pipe: a handler may do little more than write one.

#[cfg(green_thread_locals)]
use std::cell::Cell;
use std::io::{self, PipeReader, Read};
use std::os::fd::IntoRawFd;

use crate::base::atomic::{AtomicU32, Ordering};
use crate::base::lock::{Lock, waiting};
use crate::sys::fork::{PerProcess, generation};
use crate::sys::library;

/// The signals that can be taken over. Each is a byte in the pipe: its place here.
pub(crate) const SIGNALS: [libc::c_int; 5] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];

/// No signal has a greater number.
const LAST_SIGNAL: libc::c_int = 64;

/// What `ctrl-\\` sends.
pub(crate) const QUIT: libc::c_int = libc::SIGQUIT;

/// The writing end of a pipe, which is never closed.
struct WritingEnd {
    descriptor: AtomicU32,
    /// The [`generation`] of the process that reads.
    made_in: AtomicU32,
}

impl WritingEnd {
    const fn new() -> Self {
        Self { descriptor: AtomicU32::new(u32::MAX), made_in: AtomicU32::new(0) }
    }
}

static PIPE: WritingEnd = WritingEnd::new();

extern "C" fn handle(signal: libc::c_int) {
    let place = SIGNALS.iter().position(|known| *known == signal).unwrap_or_default() as u8;
    tell(&PIPE, place);
}

/// For what a signal is [taken](take): each has a pipe, and a handler, of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SignalUse {
    Dump,
    Trace,
}

/// Of the pipes of [`take`].
static TAKEN: [WritingEnd; 2] = [const { WritingEnd::new() }; 2];

extern "C" fn ask_for_dump(_: libc::c_int) {
    ask(SignalUse::Dump, 0);
}

extern "C" fn ask_for_trace(_: libc::c_int) {
    ask(SignalUse::Trace, 0);
}

/// Writes a byte into the pipe, which is there: 0 is the byte of a signal. May be called in a handler.
pub(crate) fn ask(what: SignalUse, byte: u8) {
    tell(&TAKEN[what as usize], byte);
}

/// Has a parent of this process made the pipe?
pub(crate) fn is_the_parents(what: SignalUse) -> bool {
    let pipe = &TAKEN[what as usize];
    // ORDERING: Relaxed: a parent has made it before it has forked.
    pipe.descriptor.load(Ordering::Relaxed) != u32::MAX && pipe.made_in.load(Ordering::Relaxed) != generation()
}

/// Makes the pipe for [`take`]. Called once for each use.
///
/// # Errors
///
/// There are no more descriptors.
pub(crate) fn open_for_taken(what: SignalUse) -> io::Result<PipeReader> {
    open_pipe(&TAKEN[what as usize])
}

/// What has been asked for, as bytes: waits until there are some, and takes those that have come meanwhile, too. `None`: the pipe is broken.
pub(crate) fn take_asked<'a>(pipe: &mut PipeReader, bytes: &'a mut [u8]) -> Option<&'a [u8]> {
    loop {
        match pipe.read(bytes) {
            Ok(0) => return None,
            Ok(count) => return Some(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// Takes over a signal that nobody has, for the rest of the process: each time it comes, a byte comes out of the pipe.
///
/// # Errors
///
/// `ResourceBusy`: the signal has a handler, or is ignored. `InvalidInput`: a fault of the program makes it, and a handler that returns would meet the fault
/// again; or it is the crate's own ([`ask`](super::ask)). Those of `sigaction`: there is no such signal.
pub(crate) fn take(signal: libc::c_int, what: SignalUse) -> io::Result<()> {
    if matches!(signal, libc::SIGFPE | libc::SIGILL | libc::SIGTRAP | libc::SIGSEGV | libc::SIGBUS | libc::SIGSYS) {
        let message = format!("signal {signal} comes from a fault of the program");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    if signal == libc::SIGURG {
        let message = format!("signal {signal} is what this crate asks its workers with");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let handler = match what {
        SignalUse::Dump => ask_for_dump as extern "C" fn(libc::c_int),
        SignalUse::Trace => ask_for_trace,
    };
    let _one = TAKES.get().lock();
    let now = handler_of(signal)?;
    if now == handler as usize {
        return Ok(());
    }
    if now != libc::SIG_DFL {
        return Err(is_taken(signal));
    }
    set_handler(signal, handler)
}

/// Writes a byte into a pipe, in a handler. A full pipe is as good as another byte. errno is kept for the code that was interrupted. In a child of fork nothing
/// is written: what comes out, the parent reads.
fn tell(pipe: &WritingEnd, byte: u8) {
    // ORDERING: Acquire pairs with the Release in `open_pipe`; there was a descriptor before there was a handler.
    let descriptor = pipe.descriptor.load(Ordering::Acquire) as libc::c_int;
    if pipe.made_in.load(Ordering::Relaxed) != generation() {
        return;
    }
    // SAFETY: the location is this thread's; `write` may be called in a handler, with one valid byte.
    unsafe {
        let errno = errno();
        let before = *errno;
        libc::write(descriptor, [byte].as_ptr().cast(), 1);
        *errno = before;
    }
}

#[cfg(target_os = "linux")]
pub(super) unsafe fn errno() -> *mut libc::c_int {
    // SAFETY: it has no conditions.
    unsafe { libc::__errno_location() }
}

#[cfg(not(target_os = "linux"))]
pub(super) unsafe fn errno() -> *mut libc::c_int {
    // SAFETY: it has no conditions.
    unsafe { libc::__error() }
}

/// Makes the pipe: what signals write comes out of what this returns. Called once.
///
/// # Errors
///
/// There are no more descriptors.
pub(crate) fn open() -> io::Result<PipeReader> {
    open_pipe(&PIPE)
}

fn open_pipe(place: &WritingEnd) -> io::Result<PipeReader> {
    let (reader, writer) = io::pipe()?;
    socket2::SockRef::from(&writer).set_nonblocking(true)?;
    place.made_in.store(generation(), Ordering::Relaxed);
    // ORDERING: Release pairs with the Acquire in `tell`.
    place.descriptor.store(writer.into_raw_fd() as u32, Ordering::Release);
    Ok(reader)
}

/// Only one at a time looks whether a signal is taken, and takes it.
static TAKES: PerProcess<Lock<()>> = PerProcess::new(|| Lock::new(()));

/// Takes a signal over for the rest of the process, by its place in [`SIGNALS`]; the pipe is there.
///
/// The handler runs on the thread's signal stack, if it has one: which thread the kernel picks is not known, and a green
/// stack may have no room for it.
///
/// # Errors
///
/// `ResourceBusy`: it is [taken](take). Those of `sigaction`.
pub(crate) fn install(place: usize) -> io::Result<()> {
    let _one = TAKES.get().lock();
    let signal = SIGNALS[place];
    let now = handler_of(signal)?;
    let ours: [extern "C" fn(libc::c_int); 2] = [ask_for_dump, ask_for_trace];
    if ours.iter().any(|taken| *taken as usize == now) {
        return Err(is_taken(signal));
    }
    set_handler(signal, handle)
}

fn is_taken(signal: libc::c_int) -> io::Error {
    let message = format!("signal {signal} is taken: it has a handler, or is ignored");
    io::Error::new(io::ErrorKind::ResourceBusy, message)
}

fn handler_of(signal: libc::c_int) -> io::Result<libc::sighandler_t> {
    // SAFETY: a zeroed `sigaction` is a valid one, and is written here.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(signal, std::ptr::null(), &raw mut now) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(now.sa_sigaction)
    }
}

/// Has a signal a handler that may do anything, for all that is known? Those for faults and this crate's do what they say.
pub(crate) fn has_foreign_handlers() -> bool {
    let own = [handle as extern "C" fn(libc::c_int) as usize, ask_for_dump as extern "C" fn(libc::c_int) as usize];
    let own = |handler| own.contains(&handler) || handler == ask_for_trace as extern "C" fn(libc::c_int) as usize;
    let is_foreign = |signal| match signal {
        // What std and `fault` report.
        libc::SIGSEGV | libc::SIGBUS => false,
        // What asks a worker where it stands: `ask` knows its own handler.
        libc::SIGURG if cfg!(green_asks) => false,
        // An error: the C library's own.
        _ => handler_of(signal).is_ok_and(|now| now != libc::SIG_DFL && now != libc::SIG_IGN && !own(now)),
    };
    (1..=LAST_SIGNAL).any(is_foreign)
}

fn set_handler(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) -> io::Result<()> {
    library::pin();
    // SAFETY: a zeroed `sigaction` is a valid one without flags, and its mask is set below.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: a valid mask and action, and a handler that does what a handler may.
    let result = unsafe {
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(signal, &raw const action, std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Which signals an OS thread has blocked.
#[derive(Clone, Copy)]
pub(crate) struct SignalMask(libc::sigset_t);

impl SignalMask {
    /// Of the calling OS thread.
    pub(crate) fn current() -> Self {
        // SAFETY: a valid set of our own, which is filled; without a new one nothing is changed.
        unsafe {
            let mut mask: libc::sigset_t = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), &raw mut mask);
            Self(mask)
        }
    }

    /// Makes it that of the calling OS thread.
    pub(crate) fn set(&self) {
        // SAFETY: a valid set.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

/// The signals that the calling OS thread has blocked, a bit for each. Asks the kernel: what a program defines under libc's name is not called.
#[cfg(green_thread_locals)]
pub(crate) fn blocked() -> u64 {
    let mut blocked = 0_u64;
    let (none, len) = (std::ptr::null::<u64>(), size_of::<u64>());
    // SAFETY: the kernel writes one word, of the length that it has sets in; without a new set nothing is changed.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, none, &raw mut blocked, len) };
    blocked
}

/// The signals that an OS thread has blocked because the program wants it so, a bit for each, as far as that is known: never one too many while a handler
/// may come, in which others are blocked as well. Of that OS thread alone, and its handlers.
#[cfg(green_thread_locals)]
#[derive(Default)]
pub(crate) struct NotedSignals {
    noted: Cell<u64>,
    /// More were found blocked: in a handler, or by a way that nobody has noted.
    in_doubt: Cell<bool>,
}

#[cfg(green_thread_locals)]
impl NotedSignals {
    /// Are more blocked than that?
    pub(crate) fn are_exceeded(&self) -> bool {
        let exceeded = blocked() & !self.noted.get() != 0;
        if exceeded {
            self.in_doubt.set(true);
        }
        exceeded
    }

    /// Takes those out that are not in `stay`. Those that were noted before.
    pub(crate) fn narrow(&self, stay: u64) -> u64 {
        self.noted.replace(self.noted.get() & stay)
    }

    pub(crate) fn set(&self, noted: u64) {
        self.noted.set(noted);
    }

    /// Notes those that are blocked. Not in a handler.
    pub(crate) fn look(&self) {
        self.noted.set(blocked());
    }

    /// The same, if more were found blocked since the last time. For a worker's loop, where no handler's frame is: no thread is switched away from in one.
    pub(crate) fn look_if_in_doubt(&self) {
        if self.in_doubt.replace(false) {
            self.look();
        }
    }
}

/// Runs `f` with every signal blocked. So they are in an OS thread that it starts, too, and the program's handlers never run there. The calling thread does not park in
/// `f`, by other people's code neither: the signals are blocked here alone.
pub(crate) fn while_blocked<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: valid sets of our own; the second call puts back what the first has found.
    unsafe {
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        let blocked = libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) == 0;
        let result = waiting(f);
        if blocked {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        }
        result
    }
}
