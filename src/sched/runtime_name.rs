//! Which of the process's runtimes: what a stall's report, a dump and a trace call it.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What the OS threads of a runtime are called that has been given no name.
pub(crate) const DEFAULT_NAME: &str = "green";

/// Which runtime: by its number in this process, and by its name, if it has been given one. As text `runtime 1 "db"`, or `runtime 0`.
///
/// ```
/// green::stall::set_hook(|stall| {
///     let runtime = stall.runtime();
///     eprintln!("worker {} of {}: {stall}", stall.worker(), runtime.name().unwrap_or("a nameless runtime"));
/// });
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RuntimeName {
    number: u32,
    name: Option<Arc<str>>,
}

impl RuntimeName {
    /// Of the next runtime.
    pub(crate) fn next(thread_name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = (thread_name != DEFAULT_NAME).then(|| thread_name.into());
        Self { number: NEXT.fetch_add(1, Ordering::Relaxed), name }
    }

    /// Returns its number: 0 for the first runtime that the process has made, and so on. In a child of fork they go on.
    ///
    /// ```
    /// green::stall::set_hook(|stall| eprintln!("runtime {}", stall.runtime().number()));
    /// ```
    #[must_use]
    pub fn number(&self) -> usize {
        self.number as usize
    }

    /// Returns the name that [`thread_name`](crate::RuntimeBuilder::thread_name) gave it; `None`: none did.
    ///
    /// ```
    /// green::stall::set_hook(|stall| eprintln!("{}", stall.runtime().name().unwrap_or("nameless")));
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl fmt::Display for RuntimeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "runtime {}", self.number)?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, " {name:?}"))
    }
}
