//! How an actor is started with settings of its own.

#![forbid(unsafe_code)]

use std::io;

use crate::actor::engine::cell::Plan;
use crate::actor::glue::start;
use crate::actor::{Actor, Addr, Mailbox};
use crate::rt::runtime::{Runtime, with_shared};
use crate::sched::Shared;
use crate::stack::StackSize;

/// Starts an actor with a name, a mailbox, a stack size or in a runtime of its own.
///
/// ```
/// use green::actor::{Actor, Builder, Mailbox};
/// struct Idle;
/// impl Actor for Idle {}
/// let idle = Builder::new().name("idle").mailbox(Mailbox::unbounded()).stack_size(64 << 10).start(Idle)?;
/// assert_eq!(idle.name(), Some("idle"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "must eventually start the actor"]
pub struct Builder<'a> {
    name: Option<String>,
    mailbox: Option<Mailbox>,
    stack_size: Option<usize>,
    runtime: Option<&'a Runtime>,
}

impl<'a> Builder<'a> {
    /// A builder with the actor's own mailbox, the runtime's stack size and no name.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the actor: for [`Addr::name`] and for reports.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Another mailbox than [`Actor::MAILBOX`].
    pub fn mailbox(mut self, mailbox: Mailbox) -> Self {
        self.mailbox = Some(mailbox);
        self
    }

    /// The stack that its handlers run on, in bytes of address space; as
    /// [`thread::Builder::stack_size`](crate::thread::Builder::stack_size). The actor owns it only while a handler runs.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// The runtime to start it in. Default: the caller's, or the default one.
    pub fn runtime(mut self, runtime: &'a Runtime) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Starts the actor. Does not wait for [`Actor::started`].
    ///
    /// # Errors
    ///
    /// `InvalidInput`: a stack size out of its bounds, a name with a NUL byte. `OutOfMemory`. Whatever the default runtime says
    /// that cannot start.
    pub fn start<A: Actor>(self, actor: A) -> io::Result<Addr<A>> {
        if self.name.as_ref().is_some_and(|name| name.contains('\0')) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an actor's name must not contain a NUL byte"));
        }
        let size = self.stack_size.map(StackSize::new).transpose()?;
        let name = self.name.map(String::into_boxed_str);
        let mailbox = self.mailbox.unwrap_or(A::MAILBOX);
        let start = |shared: &std::sync::Arc<Shared>| {
            start(shared, Plan { name, size: size.unwrap_or(shared.stack_size), mailbox }, actor)
        };
        let strong = match self.runtime {
            Some(runtime) => start(&runtime.shared),
            None => with_shared(start),
        };
        strong.map(Addr::new)
    }
}
