//! What can be sent.

#![forbid(unsafe_code)]

/// Names what can be sent: a type, with the type of its reply.
///
/// ```
/// use green::actor::Message;
///
/// struct Divide(f64, f64);
/// impl Message for Divide {
///     type Reply = Result<f64, &'static str>; // an error is a reply like any other
/// }
/// ```
///
/// Both travel by value. A send moves its message once, to the heap (an ask with a reply of up to 1 KiB stays on the
/// asker's stack), and the handler gets it once, as its argument. What a large one takes of a sender's stack is what
/// the sender's own frame has of it, and as much again for the result, in which it may come back. A default stack of
/// 256 KiB is enough for a message of 100 KiB and a reply of 48 KiB in a release build (for a message of 64 KiB by
/// `call_async`, whose future's result may take the sender's frame once more), for 16 KiB each without optimisation
/// (8 KiB on riscv64), where the compiler copies at every step; what is larger goes in a [`Box`].
///
/// A message, or a reply, that is not smaller than the whole stack of the actor is a panic of whoever sends it, with both sizes. One that is smaller, and
/// still too large for what the handler needs besides, overflows that stack, which ends the process.
pub trait Message: Send + 'static {
    /// What the handler returns, and the sender of an ask gets. `()` for a message that asks for nothing.
    type Reply: Send + 'static;
}
