//! What a worker remembers of the others of its runtime between two looks at them: see [`moving`](super::moving).
#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};

use crate::park::latch::Turn;

/// What a worker has seen of its siblings, by their positions.
#[derive(Debug, Default)]
pub(crate) struct Siblings {
    /// When it looks again.
    pub(super) due_ns: Cell<u64>,
    pub(super) seen: RefCell<Vec<Sibling>>,
}

/// One of them.
#[derive(Clone, Default, Debug)]
pub(super) struct Sibling {
    /// The turn that it was in, if it was outside, and since when it has been seen there.
    pub(super) turn: Option<Turn>,
    pub(super) since_ns: u64,
    /// A thread stood ready there.
    pub(super) has_ready: bool,
}
