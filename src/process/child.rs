//! A child that has been started.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::process as inner;
use std::process::{ExitStatus, Output};

use super::pipes::{ChildStderr, ChildStdin, ChildStdout};
use crate::io::wait_readable;
use crate::park::no_park::assert_may_park;
use crate::rt::blocking::may_block;
use crate::rt::handle::Thread;
use crate::rt::thread::spawn;
use crate::sched::remote;
use crate::sys::process::pidfd;
use crate::time::Pauses;

/// A child: [`std::process::Child`] whose waits park. Made by [`Command::spawn`](super::Command::spawn).
///
/// A child whose handle is dropped goes on running. Its pid stays taken from its end until it has been waited for, or until this
/// process ends. [`kill`](Self::kill) and [`wait`](Self::wait) end it in good order:
///
/// ```
/// struct Killed(green::process::Child);
///
/// impl Drop for Killed {
///     fn drop(&mut self) {
///         let _ = self.0.kill();
///         let _ = self.0.wait();
///     }
/// }
///
/// let sleep = Killed(green::process::Command::new("sleep").arg("1000").spawn()?);
/// let ended = green::timeout(std::time::Duration::from_millis(5), move || { let mut sleep = sleep; sleep.0.wait() });
/// assert!(ended.is_err()); // and the child has been killed on the way out
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Child {
    /// The pipe to its standard input, if that is one. Take it out, and drop it to tell the child that there is no more.
    pub stdin: Option<ChildStdin>,
    /// The pipe from its standard output, if that is one.
    pub stdout: Option<ChildStdout>,
    /// The pipe from its standard error, if that is one.
    pub stderr: Option<ChildStderr>,
    pub(super) inner: inner::Child,
}

impl Child {
    /// Returns the child's number: its pid. It may be another process's once the child has ended and has been waited for.
    ///
    /// ```
    /// let mut child = green::process::Command::new("true").spawn()?;
    /// assert_ne!(child.id(), green::process::id());
    /// child.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> u32 {
        self.inner.id()
    }

    /// Kills the child: SIGKILL. That it has ended, if it has, is no error. Never waits.
    ///
    /// The child is to be waited for after that as well. For another signal take [`id`](Self::id) and `kill` of libc.
    ///
    /// # Errors
    ///
    /// Those of [`std::process::Child::kill`].
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    /// let mut child = green::process::Command::new("sleep").arg("1000").spawn()?;
    /// child.kill()?;
    /// assert_eq!(child.wait()?.signal(), Some(libc::SIGKILL));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn kill(&mut self) -> io::Result<()> {
        self.inner.kill()
    }

    /// Returns how the child has ended, `None` if it has not. Never waits, and leaves standard input open.
    ///
    /// # Errors
    ///
    /// Those of [`std::process::Child::try_wait`].
    ///
    /// ```
    /// let mut child = green::process::Command::new("sleep").arg("1000").spawn()?;
    /// assert!(child.try_wait()?.is_none());
    /// child.kill()?;
    /// child.wait()?;
    /// assert!(child.try_wait()?.is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.inner.try_wait()
    }

    /// Waits until the child has ended, and returns how. Again, once it has ended, it returns the same.
    ///
    /// Standard input is closed first, since the child may wait for more. What the child writes into pipes is not read: a child
    /// that fills one never ends, so take [`wait_with_output`](Self::wait_with_output), or read. A cancellation point; the child
    /// goes on.
    ///
    /// # Errors
    ///
    /// Those of [`std::process::Child::wait`].
    ///
    /// ```
    /// let mut child = green::process::Command::new("sh").args(["-c", "exit 3"]).spawn()?;
    /// assert_eq!(child.wait()?.code(), Some(3));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        let mut pauses = Pauses::default();
        loop {
            if let Some(status) = self.inner.try_wait()? {
                return Ok(status);
            }
            // An error: the system has no such thing, or no descriptor for it.
            if pidfd(self.inner.id()).and_then(wait_readable).is_err() {
                pauses.next();
            }
        }
    }

    /// Reads what the child writes into its pipes, waits until it has ended, and returns all of that.
    ///
    /// Standard input is closed first. Both pipes are read at once; what is not a pipe is empty in the result. A grandchild that keeps a
    /// pipe open keeps this waiting. A cancellation point; the child goes on, with its pipes closed.
    ///
    /// # Errors
    ///
    /// Those of [`std::process::Child::wait_with_output`].
    ///
    /// # Panics
    ///
    /// If there is no memory for the thread that reads the second pipe.
    ///
    /// ```
    /// use green::process::{Command, Stdio};
    /// let child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
    /// let output = child.wait_with_output()?;
    /// assert_eq!((output.stdout, output.stderr), (b"hello\n".to_vec(), vec![]));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let (out, err) = (self.stdout.take(), self.stderr.take());
        if may_block() {
            // std does without a second thread, and so without a runtime.
            assert_may_park("Child::wait_with_output");
            self.inner.stdout = out.map(|out| OwnedFd::from(out).into());
            self.inner.stderr = err.map(|err| OwnedFd::from(err).into());
            return self.inner.wait_with_output();
        }
        // Both at once: a child that fills one pipe waits until somebody reads it.
        let errors = err.map(|mut err| {
            spawn(move || {
                let mut stderr = Vec::new();
                err.read_to_end(&mut stderr).map(|_| (stderr, err))
            })
        });
        let _ends_with_this = errors.as_ref().map(|reader| CancelOnDrop(reader.thread().clone()));
        let (mut stdout, mut stderr) = (Vec::new(), None);
        out.map(|mut out| out.read_to_end(&mut stdout)).transpose()?;
        if let Some(reader) = errors {
            stderr = Some(reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        let stderr = stderr.map(|(text, _pipe)| text).unwrap_or_default();
        Ok(Output { status: self.wait()?, stdout, stderr })
    }
}

/// Cancels a thread when its maker has no use for it any more, as when that is unwound.
struct CancelOnDrop(Thread);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        remote::cancel(&self.0.0);
    }
}
