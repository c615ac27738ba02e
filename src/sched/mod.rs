#![doc = include_str!("PROTOCOL.md")]

pub(crate) mod arriving;
pub(crate) mod biased;
pub(crate) mod clock;
pub(crate) mod counted;
pub(crate) mod counters;
pub(crate) mod debug;
pub(crate) mod doorbell;
pub(crate) mod entry;
pub(crate) mod errand;
pub(crate) mod events;
pub(crate) mod idle;
pub(crate) mod inbox;
pub(crate) mod listing;
pub(crate) mod live;
pub(crate) mod monitor;
pub(crate) mod moving;
#[cfg_attr(not(green_thread_locals), path = "no_own.rs")]
pub(crate) mod own;
pub(crate) mod policy;
pub(crate) mod queues;
pub(crate) mod ready;
pub(crate) mod remote;
pub(crate) mod sample;
pub(crate) mod search;
pub(crate) mod shared;
pub(crate) mod siblings;
pub(crate) mod spare;
pub(crate) mod switched;
pub(crate) mod tidy;
pub(crate) mod turn;
mod virtual_time;
pub(crate) mod watched;
pub(crate) mod worker;

pub(crate) use shared::Shared;
pub(crate) use worker::Worker;
