//! Sockets that park: what std promises, from green threads and plain ones, on one worker and on several; and faults.
//!
//! Loopback only. Nothing sleeps to put threads in order: what has to come first is waited for.
#![allow(missing_docs, missing_debug_implementations, unreachable_pub)]

mod churn;
mod ends;
mod faults;
#[path = "../help/mod.rs"]
mod help;
mod names;
mod poller;
mod stream;
mod udp;
mod unix;
mod waits;

use std::io::{Read, Write};
use std::time::Duration;

use green::net::{TcpListener, TcpStream};
use help::{everywhere, runtime};

/// Nothing here takes as long on any machine, unless it hangs.
pub const LONG: Duration = Duration::from_secs(60);

/// Slow under emulation.
pub const SCALE: usize = if help::EMULATED { 4 } else { 1 };

/// Both ends of a connection.
pub fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, from) = listener.accept().unwrap();
    assert_eq!(from, client.local_addr().unwrap());
    (client, server)
}

/// Sends every byte back until the end.
pub fn echo(mut stream: impl Read + Write) -> std::io::Result<u64> {
    let (mut buf, mut total) = ([0; 4096], 0);
    loop {
        match stream.read(&mut buf)? {
            0 => return Ok(total),
            n => {
                stream.write_all(&buf[..n])?;
                total += n as u64;
            }
        }
    }
}

/// Bytes that tell where they belong.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect()
}

/// Descriptors that this process has open.
#[cfg(target_os = "linux")]
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
