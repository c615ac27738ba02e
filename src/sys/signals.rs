//! Signals that ask a process for something, as bytes in a pipe: a handler may do little more than write one.

use std::io::{self, PipeReader};
use std::os::fd::IntoRawFd;

use crate::base::atomic::{AtomicU32, Ordering};
use crate::sys::library;

/// The signals that can be taken over. Each is a byte in the pipe: its place here.
pub(crate) const SIGNALS: [libc::c_int; 5] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];

/// What `ctrl-\\` sends.
pub(crate) const QUIT: libc::c_int = libc::SIGQUIT;

/// The writing end of the pipe, which is never closed.
static PIPE: AtomicU32 = AtomicU32::new(u32::MAX);

extern "C" fn handle(signal: libc::c_int) {
    let place = SIGNALS.iter().position(|known| *known == signal).unwrap_or_default() as u8;
    // ORDERING: Acquire pairs with the Release in `open_pipe`; there was a descriptor before there was a handler.
    tell(PIPE.load(Ordering::Acquire) as libc::c_int, place);
}

/// The writing end of the pipe of [`take`], which is never closed.
static TAKEN: AtomicU32 = AtomicU32::new(u32::MAX);

extern "C" fn handle_taken(_: libc::c_int) {
    // ORDERING: Acquire pairs with the Release in `open_pipe`.
    tell(TAKEN.load(Ordering::Acquire) as libc::c_int, 0);
}

/// Makes the pipe for [`take`]. Called once.
///
/// # Errors
///
/// There are no more descriptors.
pub(crate) fn open_for_taken() -> io::Result<PipeReader> {
    open_pipe(&TAKEN)
}

/// Takes over a signal that nobody has, for the rest of the process: each time it comes, a byte comes out of the pipe.
///
/// # Errors
///
/// `ResourceBusy`: the signal has a handler, or is ignored. Those of `sigaction`: there is no such signal.
pub(crate) fn take(signal: libc::c_int) -> io::Result<()> {
    // SAFETY: a zeroed `sigaction` is a valid one, and is written here.
    let now = unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(signal, std::ptr::null(), &raw mut now) != 0 {
            return Err(io::Error::last_os_error());
        }
        now
    };
    if now.sa_sigaction == handle_taken as *const () as usize {
        return Ok(());
    }
    if now.sa_sigaction != libc::SIG_DFL {
        let message = format!("signal {signal} is taken: it has a handler, or is ignored");
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
    }
    set_handler(signal, handle_taken)
}

/// Writes a byte into a pipe, in a handler. A full pipe is as good as another byte. errno is kept for the code that was interrupted.
fn tell(pipe: libc::c_int, byte: u8) {
    // SAFETY: the location is this thread's; `write` may be called in a handler, with one valid byte.
    unsafe {
        let errno = errno();
        let before = *errno;
        libc::write(pipe, [byte].as_ptr().cast(), 1);
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

fn open_pipe(place: &AtomicU32) -> io::Result<PipeReader> {
    let (reader, writer) = io::pipe()?;
    socket2::SockRef::from(&writer).set_nonblocking(true)?;
    // ORDERING: Release pairs with the Acquires in the handlers.
    place.store(writer.into_raw_fd() as u32, Ordering::Release);
    Ok(reader)
}

/// Takes a signal over for the rest of the process, by its place in [`SIGNALS`]; the pipe is there.
///
/// The handler runs on the thread's signal stack, if it has one: which thread the kernel picks is not known, and a green
/// stack may have no room for it.
///
/// # Errors
///
/// Those of `sigaction`.
pub(crate) fn install(place: usize) -> io::Result<()> {
    set_handler(SIGNALS[place], handle)
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

/// Runs `f`, which starts an OS thread, with every signal blocked: so they are in that thread, too, and the program's handlers never run there.
pub(crate) fn while_blocked<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: valid sets of our own; the second call puts back what the first has found.
    unsafe {
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        let blocked = libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) == 0;
        let result = f();
        if blocked {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        }
        result
    }
}
