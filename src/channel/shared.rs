//! What all handles of a channel share: the channel, and how many handles there are.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::base::atomic::{AtomicUsize, Ordering};

/// The same for a handle of each flavour that has a `SharedChannel`; for the others, as is said after that.
macro_rules! each_flavor {
    ($handle:ident: $flavor:ident, $shared:ident => $same:expr $(, $other:pat => $result:expr)*) => {
        match &$handle.flavor {
            $flavor::Bounded($shared) => $same,
            $flavor::Unbounded($shared) => $same,
            $flavor::Zero($shared) => $same,
            $($other => $result,)*
        }
    };
}

pub(super) use each_flavor;

/// A channel and how many handles of each kind there are.
pub(super) struct SharedChannel<C> {
    senders: AtomicUsize,
    receivers: AtomicUsize,
    pub(super) channel: C,
}

impl<C> SharedChannel<C> {
    pub(super) fn new(channel: C) -> Arc<Self> {
        Arc::new(Self { senders: AtomicUsize::new(1), receivers: AtomicUsize::new(1), channel })
    }

    pub(super) fn add_sender(self: &Arc<Self>) -> Arc<Self> {
        // ORDERING: Relaxed: the caller has a handle, so the count is not zero. (The count cannot overflow: `Arc`'s own
        // would have before.)
        self.senders.fetch_add(1, Ordering::Relaxed);
        Arc::clone(self)
    }

    pub(super) fn add_receiver(self: &Arc<Self>) -> Arc<Self> {
        // ORDERING: as above.
        self.receivers.fetch_add(1, Ordering::Relaxed);
        Arc::clone(self)
    }

    /// True: it was the last one.
    pub(super) fn drop_sender(&self) -> bool {
        // ORDERING: AcqRel: what all senders did comes before the channel is closed by the last one.
        self.senders.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// True: it was the last one.
    pub(super) fn drop_receiver(&self) -> bool {
        // ORDERING: as above.
        self.receivers.fetch_sub(1, Ordering::AcqRel) == 1
    }
}
