#![doc = include_str!("PROTOCOL.md")]

mod event;
mod registry;
mod ring;
mod scribe;
#[cfg(test)]
mod tests;
mod ticks;

pub(crate) use event::{EventKind, FlightEntry, stall_number};
pub(crate) use registry::{JournalCopy, RingOwner, journals, record_outside};
pub(crate) use ring::MOST_EVENTS;
pub(crate) use scribe::{Recording, Scribe, records_all};
pub(crate) use ticks::{TickScale, begin};
