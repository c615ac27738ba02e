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
mod child;
mod pipes;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::Path;
use std::process as inner;

use crate::park::checkpoint;

pub use child::Child;
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
