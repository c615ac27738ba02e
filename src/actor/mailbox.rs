//! The settings of a mailbox: how many messages may wait, and what happens beyond.

#![forbid(unsafe_code)]

/// Chooses what becomes of a message that finds the mailbox full: see [`Mailbox::overflow`].
///
/// ```
/// use green::actor::{Actor, Builder, Context, Exit, Handler, Mailbox, Message, Overflow, SendError};
///
/// # struct Park;
/// # impl Actor for Park {
/// #     fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> { green::thread::park(); Ok(()) }
/// # }
/// # struct Ping;
/// # impl Message for Ping { type Reply = (); }
/// # impl Handler<Ping> for Park { fn handle(&mut self, _: Ping, _: &mut Context<Self>) {} }
/// let mailbox = Mailbox::bounded(1).overflow(Overflow::Reject);
/// let busy = Builder::new().mailbox(mailbox).start(Park).unwrap(); // handles nothing
/// busy.tell(Ping).unwrap();
/// assert!(matches!(busy.tell(Ping), Err(SendError::Full(_)))); // does not wait
/// # busy.kill();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Overflow {
    /// The sender waits for room, first come, first served.
    #[default]
    Block,
    /// The sender gets the message back: [`SendError::Full`](crate::actor::SendError::Full).
    Reject,
    /// The message that has waited longest is dropped to make room. If it was told, it is a [dead
    /// letter](crate::actor::dead_letters); the sender of an ask gets [`SendError::Full`](crate::actor::SendError::Full).
    DropOldest,
    /// The new message is dropped. If it was told, it is a dead letter, and its sender is not told; the sender of an
    /// ask gets [`SendError::Full`](crate::actor::SendError::Full).
    DropNewest,
}

/// Sets how many messages may wait for an actor, and what happens to one more.
///
/// It is the value of [`Actor::MAILBOX`](crate::actor::Actor::MAILBOX), or given to
/// [`Builder::mailbox`](crate::actor::Builder::mailbox). What the system itself sends does not count against it: stop,
/// kill, signals and timers; nor do `notify`, forwarded and unstashed messages.
///
/// ```
/// use green::actor::{Actor, Mailbox, Overflow};
///
/// struct Telemetry;
/// impl Actor for Telemetry {
///     // The newest values matter.
///     const MAILBOX: Mailbox = Mailbox::bounded(100).overflow(Overflow::DropOldest);
/// }
/// # let _ = Telemetry::MAILBOX;
/// ```
///
/// A bound of zero does not compile: a mailbox that holds nothing would make every `tell` an ask.
///
/// ```compile_fail
/// const RENDEZVOUS: green::actor::Mailbox = green::actor::Mailbox::bounded(0);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mailbox {
    pub(crate) capacity: u32,
    pub(crate) overflow: Overflow,
}

impl Mailbox {
    /// Makes a mailbox for exactly `n` waiting messages. The message that is being handled does not count.
    ///
    /// A sender that finds it full waits, unless [`overflow`](Self::overflow) says otherwise.
    ///
    /// ```
    /// use green::actor::{Actor, Builder, Context, Exit, Handler, Mailbox, Message};
    ///
    /// # struct Park;
    /// # impl Actor for Park {
    /// #     fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> { green::thread::park(); Ok(()) }
    /// # }
    /// # struct Ping;
    /// # impl Message for Ping { type Reply = (); }
    /// # impl Handler<Ping> for Park { fn handle(&mut self, _: Ping, _: &mut Context<Self>) {} }
    /// let busy = Builder::new().mailbox(Mailbox::bounded(2)).start(Park).unwrap(); // handles nothing
    /// assert!(busy.try_tell(Ping).is_ok());
    /// assert!(busy.try_tell(Ping).is_ok());
    /// assert!(busy.try_tell(Ping).is_err());
    /// # busy.kill();
    /// ```
    ///
    /// # Panics
    ///
    /// If `n` is zero or 2³² - 1 and more; in a `const` that is an error of the compiler.
    #[must_use]
    pub const fn bounded(n: usize) -> Self {
        assert!(n > 0, "a mailbox has to hold one message at least");
        assert!(n < u32::MAX as usize, "a mailbox holds less than 2^32 messages");
        Self { capacity: n as u32, overflow: Overflow::Block }
    }

    /// Makes a mailbox for as many waiting messages as there is memory for. A send never waits for room.
    ///
    /// ```
    /// use green::actor::{Actor, Mailbox};
    /// struct Log;
    /// impl Actor for Log {
    ///     const MAILBOX: Mailbox = Mailbox::unbounded();
    /// }
    /// # let _ = Log::MAILBOX;
    /// ```
    #[must_use]
    pub const fn unbounded() -> Self {
        Self { capacity: u32::MAX, overflow: Overflow::Block }
    }

    /// Chooses what happens to a message that finds the mailbox full; without this call, [`Overflow::Block`].
    ///
    /// ```
    /// use green::actor::{Mailbox, Overflow};
    /// const NEWEST: Mailbox = Mailbox::bounded(1).overflow(Overflow::DropOldest);
    /// # let _ = NEWEST;
    /// ```
    #[must_use]
    pub const fn overflow(self, overflow: Overflow) -> Self {
        Self { overflow, ..self }
    }
}
