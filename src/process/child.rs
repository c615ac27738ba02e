//! A child that has been started.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::process as inner;
use std::process::{ExitStatus, Output};

use super::pipes::{ChildStderr, ChildStdin, ChildStdout};
use crate::io::wait_readable;
use crate::park::no_park::assert_may_park;
use crate::rt::blocking::may_block;
use crate::rt::scope::scope;
use crate::sys::process::pidfd;
use crate::time::Pauses;

/// A child: [`std::process::Child`] whose waits park.
#[derive(Debug)]
pub struct Child {
    /// Its standard input, if that is a pipe.
    pub stdin: Option<ChildStdin>,
    /// Its standard output, if that is a pipe.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, if that is a pipe.
    pub stderr: Option<ChildStderr>,
    pub(super) inner: inner::Child,
}

impl Child {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.inner.id()
    }

    /// Kills it. Never waits.
    ///
    /// # Errors
    ///
    /// Those of [`std::process::Child::kill`].
    pub fn kill(&mut self) -> io::Result<()> {
        self.inner.kill()
    }

    /// How it ended, if it has. Never waits.
    ///
    /// # Errors
    ///
    /// Those of [`std::process::Child::try_wait`].
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.inner.try_wait()
    }

    /// Closes its standard input, and waits until it has ended. A cancellation point.
    ///
    /// # Errors
    ///
    /// Those of [`std::process::Child::wait`].
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

    /// Closes its standard input, collects what it writes, and waits until it has ended. A cancellation point.
    ///
    /// # Errors
    ///
    /// Those of [`std::process::Child::wait_with_output`].
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let (out, err) = (self.stdout.take(), self.stderr.take());
        if may_block() {
            // std does without a second thread, and so without a runtime.
            assert_may_park("Child::wait_with_output");
            self.inner.stdout = out.map(|out| OwnedFd::from(out).into());
            self.inner.stderr = err.map(|err| OwnedFd::from(err).into());
            return self.inner.wait_with_output();
        }
        // Both at once: a child that fills one pipe waits until somebody reads it.
        scope(|s| {
            let errors = err.map(|mut err| s.spawn(|| err.read_to_end(&mut stderr).map(|_| err)));
            out.map(|mut out| out.read_to_end(&mut stdout)).transpose()?;
            errors.map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).transpose()
        })?;
        Ok(Output { status: self.wait()?, stdout, stderr })
    }
}
