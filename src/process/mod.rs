//! [`std::process`] whose waits park: the same names and meanings.
//!
//! A child is started by the OS thread that the caller runs on, its worker: so whatever the system keeps by thread, and hands to a
//! child, is as it is with std: the signal mask, the affinity and the niceness, namespaces, the timer slack, and who dies with
//! whom (`PR_SET_PDEATHSIG`: with the worker, that is, with the runtime). It holds the worker up for half a millisecond or
//! so, and longer where the program is on a slow disk, or where std has to `fork` (with `pre_exec`, a user, a group) a process that
//! has gigabytes mapped.
//!
//! A child's end is waited for through its pidfd (Linux 5.3 and later), else by asking now and then; its pipes park as sockets do.
//! As in std, a child that is dropped, or whose waiter is cancelled, goes on running.
//!
//! ```
//! green::run(|| {
//!     let output = green::process::Command::new("echo").arg("hello").output().unwrap();
//!     assert!(output.status.success());
//!     assert_eq!(output.stdout, b"hello\n");
//! });
//! ```

#![forbid(unsafe_code)]

// Floor 9: it needs `scope`, which is on floor 8.
mod pipes;

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process as inner;

use crate::io::wait_readable;
use crate::park::checkpoint;
use crate::park::no_park::assert_may_park;
use crate::rt::blocking::may_block;
use crate::rt::scope::scope;
use crate::sys::process::pidfd;
use crate::time::Pauses;

pub use pipes::{ChildStderr, ChildStdin, ChildStdout};
pub use std::process::{CommandArgs, CommandEnvs, ExitCode, ExitStatus, Output, Stdio, Termination, abort, exit, id};

/// What to run, and how: [`std::process::Command`]. What std has in `CommandExt` can be set through
/// [`as_std_mut`](Self::as_std_mut).
pub struct Command {
    inner: inner::Command,
    /// Which of its streams have been set here: `output` has defaults of its own.
    set: [bool; 3],
    /// Some may have been set behind our back, by `as_std_mut`.
    lent: bool,
    /// Which of its streams `output` has left to be inherited.
    reset: [bool; 3],
}

impl Command {
    /// Runs `program`, found on the `PATH`, with this process's environment and directory.
    pub fn new<S: AsRef<OsStr>>(program: S) -> Command {
        Command { inner: inner::Command::new(program), set: [false; 3], lent: false, reset: [false; 3] }
    }

    /// One more argument.
    pub fn arg<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.inner.arg(arg);
        self
    }

    /// More arguments.
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&mut self, args: I) -> &mut Command {
        self.inner.args(args);
        self
    }

    /// A variable of its environment.
    pub fn env<K: AsRef<OsStr>, V: AsRef<OsStr>>(&mut self, key: K, val: V) -> &mut Command {
        self.inner.env(key, val);
        self
    }

    /// Variables of its environment.
    pub fn envs<I: IntoIterator<Item = (K, V)>, K: AsRef<OsStr>, V: AsRef<OsStr>>(&mut self, vars: I) -> &mut Command {
        self.inner.envs(vars);
        self
    }

    /// It does not get this variable.
    pub fn env_remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Command {
        self.inner.env_remove(key);
        self
    }

    /// It gets none of this process's variables.
    pub fn env_clear(&mut self) -> &mut Command {
        self.inner.env_clear();
        self
    }

    /// The directory that it starts in.
    pub fn current_dir<P: AsRef<Path>>(&mut self, dir: P) -> &mut Command {
        self.inner.current_dir(dir);
        self
    }

    /// Its standard input.
    pub fn stdin<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.inner.stdin(cfg);
        self.set[0] = true;
        self
    }

    /// Its standard output.
    pub fn stdout<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.inner.stdout(cfg);
        self.set[1] = true;
        self
    }

    /// Its standard error.
    pub fn stderr<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.inner.stderr(cfg);
        self.set[2] = true;
        self
    }

    /// The program, as [`new`](Self::new) was told.
    #[must_use]
    pub fn get_program(&self) -> &OsStr {
        self.inner.get_program()
    }

    /// Its arguments, without the program's name.
    pub fn get_args(&self) -> CommandArgs<'_> {
        self.inner.get_args()
    }

    /// The variables that have been set, or removed: then without a value.
    pub fn get_envs(&self) -> CommandEnvs<'_> {
        self.inner.get_envs()
    }

    /// The directory that it starts in, if that has been set.
    #[must_use]
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.inner.get_current_dir()
    }

    /// std's command, to ask and to set what is not here.
    pub fn as_std_mut(&mut self) -> &mut inner::Command {
        self.lent = true;
        &mut self.inner
    }

    /// Starts it, on the caller's OS thread: see the module's text. Does not wait, but may take a millisecond. A cancellation
    /// point, before it is started.
    ///
    /// # Errors
    ///
    /// Those of [`std::process::Command::spawn`].
    pub fn spawn(&mut self) -> io::Result<Child> {
        checkpoint();
        let mut child = self.inner.spawn()?;
        Ok(Child {
            stdin: child.stdin.take().map(ChildStdin::new).transpose()?,
            stdout: child.stdout.take().map(ChildStdout::new).transpose()?,
            stderr: child.stderr.take().map(ChildStderr::new).transpose()?,
            inner: child,
        })
    }

    /// Runs it to its end, and collects what it writes. Waits; a cancellation point.
    ///
    /// # Errors
    ///
    /// Those of [`std::process::Command::output`].
    pub fn output(&mut self) -> io::Result<Output> {
        let unset = self.unset();
        self.set_streams(unset, Stdio::null, Stdio::piped);
        let child = self.spawn();
        self.set_streams(unset, Stdio::inherit, Stdio::inherit);
        self.reset = unset;
        child?.wait_with_output()
    }

    /// Sets those of the streams that `which` says.
    fn set_streams(&mut self, [stdin, stdout, stderr]: [bool; 3], input: fn() -> Stdio, output: fn() -> Stdio) {
        if stdin {
            self.inner.stdin(input());
        }
        if stdout {
            self.inner.stdout(output());
        }
        if stderr {
            self.inner.stderr(output());
        }
    }

    /// Which of the streams nobody has set.
    fn unset(&self) -> [bool; 3] {
        let shown = if self.lent { shown_streams(&self.inner) } else { [Shown::Unset; 3] };
        std::array::from_fn(|at| {
            let by_std = match shown[at] {
                Shown::Unset => false,
                Shown::Inherited => !self.reset[at],
                Shown::Set => true,
            };
            !(self.set[at] || by_std)
        })
    }

    /// Runs it to its end. Waits; a cancellation point.
    ///
    /// # Errors
    ///
    /// Those of [`std::process::Command::status`].
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn()?.wait()
    }
}

/// What std's command shows of a stream.
#[derive(Clone, Copy)]
enum Shown {
    Unset,
    Inherited,
    Set,
}

/// std's command tells whether a stream of it is set in its `{:#?}` only. (Would it no longer, they would all look unset, and what was
/// set through std count for `spawn` and `status` alone; `tests/process.rs` would say so.)
fn shown_streams(command: &inner::Command) -> [Shown; 3] {
    let text = format!("{command:#?}");
    // Whatever else has a line break is further to the right, or has it escaped.
    ["    stdin: Some(", "    stdout: Some(", "    stderr: Some("].map(|field| {
        let mut after = text.lines().skip_while(|line| *line != field).skip(1);
        match after.next() {
            None => Shown::Unset,
            Some(value) if value.trim_start().starts_with("Inherit") => Shown::Inherited,
            Some(_) => Shown::Set,
        }
    })
}

impl fmt::Debug for Command {
    /// The command line, as std.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// A child: [`std::process::Child`] whose waits park.
#[derive(Debug)]
pub struct Child {
    /// Its standard input, if that is a pipe.
    pub stdin: Option<ChildStdin>,
    /// Its standard output, if that is a pipe.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, if that is a pipe.
    pub stderr: Option<ChildStderr>,
    inner: inner::Child,
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
