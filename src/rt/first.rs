//! What the first runtime of a process makes for all.

use crate::flight;
use crate::park::current;
use crate::park::fork::{FirstGate, hold_for_first};
use crate::rt::{at_exit, hook};
use crate::stack::overflow;

/// A runtime is about to be made. Until the first one is there, no thread forks.
pub(super) fn begin() -> FirstGate {
    let first = hold_for_first();
    // Else the workers would be the first to ask for it, later.
    flight::begin();
    hook::install();
    at_exit::install();
    overflow::install(current::describe);
    first
}
