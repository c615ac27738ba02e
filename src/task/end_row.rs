//! Which actors end on a thread's stack when there are no workers for them, each in the one before.
#![forbid(unsafe_code)]

use std::cell::RefCell;

/// The first at the bottom.
pub(crate) type EndRow = RefCell<Vec<EndOnTop>>;

/// One of them.
#[derive(Debug)]
pub(crate) struct EndOnTop {
    /// 0: it is not known yet.
    pub(crate) id: u64,
    pub(crate) name: Option<Box<str>>,
}
