//! Floor 0: what every floor uses and what knows none of them.

pub(crate) mod abort;
pub(crate) mod atomic;
pub(crate) mod list;
pub(crate) mod lock;
pub(crate) mod spin;
