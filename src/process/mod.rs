//! Child processes whose waits park: [`std::process`], with the same names and meanings.
//!
//! ```
//! green::run(|| {
//!     let output = green::process::Command::new("echo").arg("hello").output().unwrap();
//!     assert!(output.status.success());
//!     assert_eq!(output.stdout, b"hello\n");
//! });
//! ```
//!
//! # How it blocks
//!
//! A child's end is waited for through its pidfd (Linux 5.3 and later), else by asking now and then; its pipes park as
//! sockets do. Starting a child does not wait, but holds the worker up for half a millisecond or so, and longer where the
//! program is on a slow disk, or where std has to `fork` (with `pre_exec`, a user, a group) a process that has gigabytes
//! mapped.
//!
//! # What a cancel does
//!
//! Every call that may wait is a cancellation point. As in std a child that is dropped, or whose waiter is cancelled, goes on
//! running: [`Child`] shows a guard that kills it.
//!
//! # What differs from std
//!
//! Nothing in the interface; what std has in extension traits is set through [`Command::as_std_mut`]. A child is started by
//! the OS thread that the caller runs on, its worker. So whatever the system keeps by thread, and hands to a child, is the worker's:
//! the signal mask, the affinity and the niceness, namespaces, the timer slack; and a child with a parent-death signal
//! (`PR_SET_PDEATHSIG`) gets that when the worker ends, that is, with the runtime.

#![forbid(unsafe_code)]

// Floor 11: it needs `scope`, which is on floor 10.
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

/// What to run, and how: [`std::process::Command`].
///
/// Arguments go to the program as they are; no shell sees them. What std has in `CommandExt` can be set through
/// [`as_std_mut`](Self::as_std_mut). A command can be run more than once.
///
/// ```
/// use green::process::{Command, Stdio};
/// use std::io::Write;
///
/// let mut sort = Command::new("sort").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// sort.stdin.take().expect("it is piped").write_all(b"pear\napple\n")?;
/// let output = sort.wait_with_output()?;
/// assert_eq!(output.stdout, b"apple\npear\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Command {
    inner: inner::Command,
    /// Which of its streams have been set here: `output` has defaults of its own.
    set: [bool; 3],
    /// Some may have been set behind our back, by `as_std_mut`.
    lent: bool,
    /// Which of its streams `output` has left to be inherited.
    reset: [bool; 3],
}

/// Settings that are std's.
macro_rules! settings {
    ($($(#[$doc:meta])* $visible:vis fn $name:ident
        $(<$($param:ident: $bound:path),+>)?($($arg:ident: $type:ty),*);)+) => {$(
        $(#[$doc])*
        $visible fn $name $(<$($param: $bound),+>)? (&mut self $(, $arg: $type)*) -> &mut Command {
            self.inner.$name($($arg),*);
            self
        }
    )+};
}

impl Command {
    /// Makes a command that runs `program`, without arguments, in this process's environment and directory.
    ///
    /// A name without a `/` is looked for on the `PATH`: on the child's, if that is set here. The streams are inherited by
    /// [`spawn`](Self::spawn) and [`status`](Self::status), piped by [`output`](Self::output).
    ///
    /// ```
    /// let status = green::process::Command::new("true").status()?;
    /// assert!(status.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new<S: AsRef<OsStr>>(program: S) -> Command {
        Command { inner: inner::Command::new(program), set: [false; 3], lent: false, reset: [false; 3] }
    }

    settings! {
        /// Adds an argument. It goes to the program as it is: no quotes, no globs.
        ///
        /// ```
        /// let output = green::process::Command::new("echo").arg("two words").arg("*").output()?;
        /// assert_eq!(output.stdout, b"two words *\n");
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn arg<S: AsRef<OsStr>>(arg: S);

        /// Adds several arguments.
        ///
        /// ```
        /// let output = green::process::Command::new("echo").args(["one", "two"]).output()?;
        /// assert_eq!(output.stdout, b"one two\n");
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(args: I);

        /// Sets a variable of the child's environment.
        ///
        /// ```
        /// let output = green::process::Command::new("sh").args(["-c", "echo $COLOUR"]).env("COLOUR", "green").output()?;
        /// assert_eq!(output.stdout, b"green\n");
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn env<K: AsRef<OsStr>, V: AsRef<OsStr>>(key: K, val: V);

        /// Sets several variables of the child's environment.
        ///
        /// ```
        /// let output = green::process::Command::new("sh").args(["-c", "echo $A$B"]).envs([("A", "1"), ("B", "2")]).output()?;
        /// assert_eq!(output.stdout, b"12\n");
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn envs<I: IntoIterator<Item = (K, V)>, K: AsRef<OsStr>, V: AsRef<OsStr>>(vars: I);

        /// Keeps a variable from the child, whether it was set here or would be inherited.
        ///
        /// ```
        /// let output = green::process::Command::new("sh").args(["-c", "echo $HOME"]).env_remove("HOME").output()?;
        /// assert_eq!(output.stdout, b"\n");
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn env_remove<K: AsRef<OsStr>>(key: K);

        /// Keeps all of this process's variables from the child, and forgets those that were set here before.
        ///
        /// ```
        /// let output = green::process::Command::new("/usr/bin/env").env_clear().env("A", "1").output()?;
        /// assert_eq!(output.stdout, b"A=1\n");
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn env_clear();

        /// Sets the directory that the child starts in. A path to the program should be absolute then.
        ///
        /// ```
        /// let output = green::process::Command::new("pwd").current_dir("/").output()?;
        /// assert_eq!(output.stdout, b"/\n");
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn current_dir<P: AsRef<Path>>(dir: P);
    }

    /// Sets the child's standard input: [`Stdio::piped`], `null`, `inherit`, a file, or another child's output.
    ///
    /// ```
    /// use green::process::{Command, Stdio};
    /// let mut echo = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
    /// let output = Command::new("wc").arg("-c").stdin(echo.stdout.take().expect("it is piped")).output()?;
    /// assert_eq!(output.stdout.trim_ascii(), b"6");
    /// echo.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stdin<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.inner.stdin(cfg);
        self.set[0] = true;
        self
    }

    /// Sets the child's standard output: [`Stdio::piped`], `null`, `inherit`, or a file.
    ///
    /// ```
    /// use green::process::{Command, Stdio};
    /// let status = Command::new("echo").arg("to nowhere").stdout(Stdio::null()).status()?;
    /// assert!(status.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stdout<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.inner.stdout(cfg);
        self.set[1] = true;
        self
    }

    /// Sets the child's standard error: [`Stdio::piped`], `null`, `inherit`, or a file.
    ///
    /// ```
    /// use green::process::{Command, Stdio};
    /// let output = Command::new("cat").arg("no such file").stderr(Stdio::null()).output()?;
    /// assert!(!output.status.success() && output.stderr.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stderr<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.inner.stderr(cfg);
        self.set[2] = true;
        self
    }

    /// Returns the program, as [`new`](Self::new) was told.
    ///
    /// ```
    /// assert_eq!(green::process::Command::new("echo").get_program(), "echo");
    /// ```
    #[must_use]
    pub fn get_program(&self) -> &OsStr {
        self.inner.get_program()
    }

    /// Returns an iterator over the arguments, without the program's name.
    ///
    /// ```
    /// let mut echo = green::process::Command::new("echo");
    /// assert!(echo.args(["one", "two"]).get_args().eq(["one", "two"]));
    /// ```
    pub fn get_args(&self) -> CommandArgs<'_> {
        self.inner.get_args()
    }

    /// Returns an iterator over the variables that have been set, or removed: then without a value.
    ///
    /// ```
    /// let mut command = green::process::Command::new("true");
    /// command.env("A", "1").env_remove("HOME");
    /// let all: Vec<_> = command.get_envs().collect();
    /// assert_eq!(all, [("A".as_ref(), Some("1".as_ref())), ("HOME".as_ref(), None)]);
    /// ```
    pub fn get_envs(&self) -> CommandEnvs<'_> {
        self.inner.get_envs()
    }

    /// Returns the directory that the child starts in, if that has been set.
    ///
    /// ```
    /// let mut command = green::process::Command::new("true");
    /// assert_eq!(command.get_current_dir(), None);
    /// assert_eq!(command.current_dir("/").get_current_dir(), Some("/".as_ref()));
    /// ```
    #[must_use]
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.inner.get_current_dir()
    }

    /// Returns std's command, to ask and to set what is not here: user and group, process group, `pre_exec`.
    ///
    /// ```
    /// use std::os::unix::process::CommandExt;
    /// let mut command = green::process::Command::new("sh");
    /// command.args(["-c", "echo $0"]).as_std_mut().arg0("another name");
    /// assert_eq!(command.output()?.stdout, b"another name\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn as_std_mut(&mut self) -> &mut inner::Command {
        self.lent = true;
        &mut self.inner
    }

    /// Starts the program as a child, and returns a handle to it.
    ///
    /// Streams that have not been set are inherited. The child is started on the caller's OS thread, see the
    /// [module's page](self). Does not wait, but may take a millisecond. A cancellation point, before the child is started. A child whose
    /// handle is dropped goes on, and is a zombie from its end until this process ends: [`wait`](Child::wait) for it.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such program, `PermissionDenied` for what may not be executed; no more processes, memory or descriptors; those of
    /// [`std::process::Command::spawn`].
    ///
    /// ```
    /// let mut child = green::process::Command::new("sleep").arg("0.01").spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
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

    /// Runs the program to its end, and returns how it ended and what it has written.
    ///
    /// Streams that have not been set are piped, and standard input is empty. Both pipes are read at once, so a child that fills one
    /// is not stuck; all of it is kept in memory. An [`ExitStatus`] that is no success is not an error here. Waits; a
    /// cancellation point: a caller that is cancelled or whose time is over leaves the child running, with its pipes closed.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn); those of [`std::process::Command::output`].
    ///
    /// ```
    /// let output = green::process::Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]).output()?;
    /// assert_eq!(output.status.code(), Some(3));
    /// assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b"err\n"[..]));
    /// # Ok::<(), std::io::Error>(())
    /// ```
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

    /// Runs the program to its end, and returns how it ended.
    ///
    /// Streams that have not been set are inherited. A stream that is piped is not read, so a child that fills it never ends. Waits; a
    /// cancellation point: a caller that is cancelled leaves the child running.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn); those of [`std::process::Command::status`].
    ///
    /// ```
    /// let status = green::process::Command::new("sh").args(["-c", "exit 7"]).status()?;
    /// assert_eq!(status.code(), Some(7));
    /// # Ok::<(), std::io::Error>(())
    /// ```
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
