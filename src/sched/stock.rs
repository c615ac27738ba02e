//! A worker's stock of weak pointers to its runtime.
//!
//! Each actor has one, which keeps the address of its runtime from being that of another. To make one and to drop it costs a locked instruction each; so
//! those of actors that end on a worker are kept for those that are made there.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use crate::sched::Shared;

/// So many are kept.
const MOST: usize = 256;

/// See the module's text.
#[derive(Default)]
pub(crate) struct Stock(RefCell<Vec<Weak<Shared>>>);

impl Stock {
    /// One to `shared`, which is the worker's own runtime.
    #[inline]
    pub(crate) fn take(&self, shared: &Arc<Shared>) -> Weak<Shared> {
        self.0.borrow_mut().pop().unwrap_or_else(|| Arc::downgrade(shared))
    }

    /// One to the worker's own runtime goes back.
    #[inline]
    pub(crate) fn put(&self, weak: Weak<Shared>) {
        let mut kept = self.0.borrow_mut();
        if kept.len() < MOST {
            kept.push(weak);
        }
    }
}
