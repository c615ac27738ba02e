//! An echo server: `cargo run --bin echo -- [address]`, then `nc 127.0.0.1 7000`. Ctrl-c or SIGTERM stops it in good order.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use green::net::TcpStream;

mod serve;

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = [0; 4096];
    loop {
        match stream.read(&mut buf)? {
            0 => return Ok(()),
            n => stream.write_all(&buf[..n])?,
        }
    }
}

fn main() -> ExitCode {
    green::run(|| serve::serve("127.0.0.1:7000", echo, || {}))
}
