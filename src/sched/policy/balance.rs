//! Where does the thread that serves a new connection start?
//!
//! A started thread stays where it is, and a connection's thread lives as long as the connection. Started by the worker that
//! accepts, one after the other as connections come, all of them would stay there: none is ever stolen, because each
//! starts as soon as the accepting thread waits again. So the first thread that the accepting thread spawns before it waits again
//! goes to the worker with the fewest threads, if that has fewer than this one. The accepting worker then has a message to send (and a
//! sleeper to wake) for every second connection, and the load of all workers is the same from then on.
//!
//! Such a thread is claimed when it is sent, so nobody steals it if its worker computes without a pause.
//!
//! # What it buys
//!
//! Without it (`green_without = "balance"`) a connection stays where it was accepted. `benches/without balance echo -- --connections 8,64
//! --servers green`, on two CPUs with the client on the same two, median of two rounds:
//!
//! | load | with | without |
//! | --- | --- | --- |
//! | 8 connections | 99 100 requests/s, half within 32 µs, 99 % within 0.74 ms | 117 400, 49 µs, 0.42 ms |
//! | 64 connections | 163 500 requests/s, half within 0.22 ms, 99 % within 1.0 ms | 134 600, 0.42 ms, 1.1 ms |
//!
//! With few connections one worker would do, and leave a CPU to the client.

use crate::sched::remote::Remote;

const ON: bool = cfg!(not(green_without = "balance"));

/// The worker that should have the next connection, if it is another one than `own`, which has `load` threads; it expects the thread.
pub(crate) fn less_loaded(remotes: &[&'static Remote], own: &Remote, load: u32) -> Option<&'static Remote> {
    let others = remotes.iter().copied().filter(|remote| ON && remote.index != own.index);
    let (least, remote) = others.filter_map(|remote| Some((remote.load()?, remote))).min_by_key(|(load, _)| *load)?;
    (least + 1 < load && remote.arriving.expect()).then_some(remote)
}
