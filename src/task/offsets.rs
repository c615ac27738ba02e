//! Where a debugger finds the parts of a header, and who else looks from outside.
#![forbid(unsafe_code)]

use std::mem::offset_of;

use crate::base::list::Links;
use crate::task::header::{Extra, Header};

/// In bytes from its begin.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct HeaderOffsets {
    next_live: usize,
    fiber: usize,
    wait: usize,
    reason: usize,
    pub(super) id: usize,
    size: usize,
    pub(super) extra: usize,
    /// In the rarely used part: address and length.
    pub(super) name: usize,
    /// What a thread that waits has noted of that: see `park::waits_on`.
    link: usize,
}

pub(crate) const OFFSETS: HeaderOffsets = HeaderOffsets {
    next_live: offset_of!(Header, live) + Links::<Header>::NEXT,
    fiber: offset_of!(Header, fiber),
    wait: offset_of!(Header, wait),
    reason: offset_of!(Header, reason),
    id: offset_of!(Header, id),
    size: offset_of!(Header, size),
    extra: offset_of!(Header, extra),
    name: offset_of!(Extra, name),
    link: offset_of!(Header, link),
};
