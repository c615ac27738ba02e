//! How an actor is started with settings of its own.

#![forbid(unsafe_code)]

use std::io;
use std::panic::Location;

use crate::actor::engine::cell::Plan;
use crate::actor::glue::start;
use crate::actor::{Actor, Addr, Mailbox};
use crate::park::on_switch::{OnSwitch, SwitchCalls};
use crate::rt::default::with_shared;
use crate::rt::runtime::Runtime;
use crate::rt::spawn::Custom;
use crate::sched::Shared;
use crate::thread_locals::ThreadLocals;

/// Starts an actor with a name, a mailbox or a stack size of its own, or in a runtime of its own.
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
    custom: Custom,
    runtime: Option<&'a Runtime>,
}

impl<'a> Builder<'a> {
    /// Makes a builder with the actor type's mailbox, the runtime's stack size and no name.
    ///
    /// ```
    /// # use green::actor::{Actor, Builder};
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// let idle = Builder::new().start(Idle)?; // what `Idle.start()` does
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the actor, for [`Addr::name`] and for reports. Registers nothing: that does [`Name`](crate::actor::Name).
    ///
    /// ```
    /// # use green::actor::{Actor, Builder};
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// let idle = Builder::new().name(format!("idle {}", 3)).start(Idle)?;
    /// assert_eq!(idle.name(), Some("idle 3"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Gives the actor another mailbox than [`Actor::MAILBOX`].
    ///
    /// ```
    /// # use green::actor::{Actor, Builder, Mailbox};
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// let idle = Builder::new().mailbox(Mailbox::bounded(16)).start(Idle)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn mailbox(mut self, mailbox: Mailbox) -> Self {
        self.mailbox = Some(mailbox);
        self
    }

    /// Sets the size of the stack that the handlers run on, in bytes of address space.
    ///
    /// Bounds and rounding are those of [`thread::Builder::stack_size`](crate::thread::Builder::stack_size). The actor
    /// has the stack only while a handler runs. What a large message takes of it: see
    /// [`Message`](crate::actor::Message).
    ///
    /// ```
    /// # use green::actor::{Actor, Builder};
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// let deep = Builder::new().stack_size(8 << 20).start(Idle)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.custom.stack_size = Some(bytes);
        self
    }

    /// Sets whose thread-locals the handlers use; without this call, as the runtime's threads do.
    ///
    /// Of its own, the actor has them for one run: a few messages, handled in a row. Then their destructors run, and it rests.
    ///
    /// ```
    /// # use green::actor::{Actor, Builder};
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// let idle = Builder::new().thread_locals(green::ThreadLocals::PerWorker).start(Idle)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn thread_locals(mut self, thread_locals: ThreadLocals) -> Self {
        self.custom.thread_locals = Some(thread_locals);
        self
    }

    /// Sets what is called whenever the actor gets to run and lets go of its worker: see [`OnSwitch`].
    ///
    /// It is for what a library keeps for each OS thread, such as the current span: with the feature `tracing`, `green::tracing::Spans`. `resume` is called
    /// when the actor begins to handle what is in its mailbox, a few messages in a row, and when a handler goes on after a wait; `suspend` when it rests, and when a
    /// handler waits. In between other actors and threads run on the worker. The last `suspend` comes when [`Actor::stopping`] has returned; a supervised actor keeps what is called over its
    /// restarts. Of one that is ended after the workers of its runtime are gone, the calls are made by the thread that ends it, around
    /// its `stopping`; if that is a green thread, which may have to wait there, before that.
    ///
    /// [`OnSwitch`] says what becomes of this where actors have thread-locals of their own.
    ///
    /// An actor without this call pays nothing for it. One with it runs on top of an asker as others do, but no other runs on top of it: what it asks is
    /// queued.
    ///
    /// ```
    /// # use green::actor::{Actor, Builder};
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// use std::cell::Cell;
    /// thread_local!(static USER: Cell<u32> = const { Cell::new(0) });
    ///
    /// /// Keeps `USER` for an actor.
    /// struct Mine(u32);
    /// impl green::thread::OnSwitch for Mine {
    ///     fn resume(&mut self) { self.0 = USER.replace(self.0) }
    ///     fn suspend(&mut self) { self.0 = USER.replace(self.0) }
    /// }
    /// let idle = Builder::new().on_switch(Mine(7)).start(Idle)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_switch(mut self, calls: impl OnSwitch + 'static) -> Self {
        self.custom.on_switch = Some(SwitchCalls(Box::new(calls)));
        self
    }

    /// Starts the actor in `runtime`; without this call, in the caller's runtime, or the default one.
    ///
    /// The actor ends with its runtime.
    ///
    /// ```
    /// use green::actor::{Actor, Builder, Exit};
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// let runtime = green::Runtime::new()?;
    /// let idle = Builder::new().runtime(&runtime).start(Idle)?;
    /// drop(runtime);
    /// assert_eq!(idle.join(), Exit::Shutdown);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn runtime(mut self, runtime: &'a Runtime) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Starts the actor and returns its address. Does not wait for [`Actor::started`].
    ///
    /// ```
    /// # use green::actor::{Actor, Builder};
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// let refused = Builder::new().stack_size(1).start(Idle);
    /// assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidInput`: a stack size out of its bounds, a name with a NUL byte, [`on_switch`](Self::on_switch) with [`thread_locals`](Self::thread_locals) of its own. `OutOfMemory`. `Unsupported`: thread-locals of its own are not to be had. In a child of
    /// fork, if the runtime is the parent's. Or the error for which the default runtime cannot start.
    #[track_caller]
    pub fn start<A: Actor>(self, actor: A) -> io::Result<Addr<A>> {
        if self.name.as_ref().is_some_and(|name| name.contains('\0')) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an actor's name must not contain a NUL byte"));
        }
        let name = self.name.map(String::into_boxed_str);
        let mailbox = self.mailbox.unwrap_or(A::MAILBOX);
        let started_at = Location::caller();
        let start = |shared: &std::sync::Arc<Shared>| {
            let (size, begins) = self.custom.begins(shared)?;
            start(shared, Plan { name, size, mailbox, begins, started_at }, actor)
        };
        let strong = match self.runtime {
            Some(runtime) => start(&runtime.shared),
            None => with_shared(start),
        };
        strong.map(Addr::new)
    }
}
