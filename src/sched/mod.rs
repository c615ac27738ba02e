#![doc = include_str!("PROTOCOL.md")]

pub(crate) mod arriving;
pub(crate) mod biased;
pub(crate) mod clock;
pub(crate) mod counted;
pub(crate) mod counters;
pub(crate) mod debug;
pub(crate) mod deque;
pub(crate) mod doorbell;
pub(crate) mod entry;
pub(crate) mod errand;
pub(crate) mod events;
pub(crate) mod given;
pub(crate) mod glance;
pub(crate) mod idle;
pub(crate) mod inbox;
pub(crate) mod listing;
pub(crate) mod live;
pub(crate) mod monitor;
pub(crate) mod moving;
mod nap;
pub(crate) mod obey;
#[cfg_attr(not(green_thread_locals), path = "no_own.rs")]
pub(crate) mod own;
mod owners_fence;
pub(crate) mod policy;
pub(crate) mod queues;
pub(crate) mod ready;
pub(crate) mod recording;
pub(crate) mod remote;
pub(crate) mod roster;
mod rostered;
pub(crate) mod runs;
pub(crate) mod runtime_name;
pub(crate) mod sample;
pub(crate) mod schedule;
pub(crate) mod search;
pub(crate) mod shared;
pub(crate) mod siblings;
pub(crate) mod spare;
pub(crate) mod standstill;
mod starts;
pub(crate) mod stock;
pub(crate) mod stop_word;
pub(crate) mod switched;
#[cfg(test)]
mod tests_deque;
#[cfg(test)]
mod tests_roster;
#[cfg(test)]
mod tests_standstill;
pub(crate) mod tidy;
pub(crate) mod turn;
mod virtual_time;
pub(crate) mod wake_probe;
pub(crate) mod watched;
pub(crate) mod worker;

pub(crate) use shared::Shared;
pub(crate) use worker::Worker;
