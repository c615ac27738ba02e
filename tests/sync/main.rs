//! `green::sync` from green threads, OS threads and both at once: the properties that std promises, and the ones that
//! green adds.

#![cfg(not(miri))]

mod condvar;
mod counting;
#[path = "../help/mod.rs"]
mod help;
mod mutex;
mod once;
mod rwlock;
mod same_as_std;
mod stress;
mod world;
