//! What a header tells from outside of its thread: what that has noted of its wait, number and name.
#![forbid(unsafe_code)]

use std::ptr;

use crate::base::atomic::Ordering;
use crate::sys::peek::Peek;
use crate::task::Header;
use crate::task::header::Reason;
use crate::task::id::ThreadId;
use crate::task::offsets::OFFSETS;

impl Header {
    /// What exactly the thread waits for: see `park::waits_on`. For the thread itself, before it begins the wait (invariant 4 of the header).
    #[inline(always)]
    pub(crate) fn set_waits_on(&self, on: usize) {
        // ORDERING: Relaxed: whoever reads it finds out whether the wait was on all the time.
        self.link().store(ptr::without_provenance_mut(on), Ordering::Relaxed);
    }

    /// As the thread itself has noted it: why it waits, if that is one of `reasons`, and on what. For `park::waits_on`, between two looks.
    pub(crate) fn noted(&self, reasons: &[Reason]) -> (Option<Reason>, usize) {
        let reason = self.reason.load(Ordering::Relaxed);
        let reason = reasons.iter().copied().find(|known| *known as u8 == reason);
        (reason, self.link().load(Ordering::Relaxed).addr())
    }
}

/// Number and name of the thread whose header is at `header`, if one is: any word may stand for that. (So the sums here may go around.)
pub(crate) fn identity(header: usize, peek: &Peek) -> Option<(ThreadId, Option<Box<str>>)> {
    let id = ThreadId::new(peek.u64(header.wrapping_add(OFFSETS.id))?)?;
    let name = match peek.word(header.wrapping_add(OFFSETS.extra))? {
        0 => None,
        extra => peek.text(extra.wrapping_add(OFFSETS.name))?,
    };
    Some((id, name))
}
