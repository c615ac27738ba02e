//! Where a debugger finds the parts of a header.
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
    id: usize,
    size: usize,
    extra: usize,
    /// In the rarely used part: address and length.
    name: usize,
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
};
