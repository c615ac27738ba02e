#![doc = include_str!("README.md")]

pub(crate) mod arriving;
pub(crate) mod counted;
pub(crate) mod errand;
pub(crate) mod idle;
pub(crate) mod inbox;
pub(crate) mod mailbox;
pub(crate) mod pace;
pub(crate) mod place;
pub(crate) mod pool;
pub(crate) mod ready;
pub(crate) mod search;
pub(crate) mod shared;
pub(crate) mod tidy;
pub(crate) mod turn;
pub(crate) mod way;
pub(crate) mod worker;

pub(crate) use shared::Shared;
pub(crate) use worker::Worker;
