//! The payloads by which a cancel or a time-out unwinds a thread. They travel by `resume_unwind`, so no panic hook runs
//! and nothing is printed.

use std::fmt;

/// Says that a thread was cancelled: the payload in the `Err` that [`join`](crate::thread::JoinHandle::join) gives.
///
/// ```
/// let thread = green::spawn(|| green::thread::park());
/// thread.cancel();
/// assert!(thread.join().unwrap_err().is::<green::Cancelled>());
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cancelled {
    _private: (),
}

impl Cancelled {
    pub(crate) fn payload() -> Box<dyn std::any::Any + Send> {
        Box::new(Self { _private: () })
    }
}

/// Of a time-out, and private: which limit it is for, by address.
pub(crate) struct TimedOut(pub(crate) usize);

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cancelled")
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the green thread was cancelled")
    }
}

impl std::error::Error for Cancelled {}

/// Without unwinding there is no way out of a blocking call: under `panic = "abort"` a cancel takes effect only on
/// threads that have not started.
pub(crate) const CAN_UNWIND: bool = cfg!(panic = "unwind");
