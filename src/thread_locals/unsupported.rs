//! Why there are no blocks here.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;

/// Says why [`ThreadLocals::PerThread`](crate::ThreadLocals::PerThread) is not to be had.
///
/// As an [`io::Error`] its kind is `Unsupported`.
///
/// ```
/// if let Err(unsupported) = green::ThreadLocals::supported() {
///     assert_eq!(std::io::Error::from(unsupported).kind(), std::io::ErrorKind::Unsupported);
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unsupported {
    reason: String,
}

impl Unsupported {
    #[cold]
    pub(crate) fn new(reason: String) -> Self {
        Self { reason }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "green threads cannot have thread-locals of their own here: {}", self.reason)
    }
}

impl std::error::Error for Unsupported {}

impl From<Unsupported> for io::Error {
    fn from(unsupported: Unsupported) -> Self {
        io::Error::new(io::ErrorKind::Unsupported, unsupported)
    }
}
