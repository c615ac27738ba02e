//! A WebSocket echo by tungstenite, which knows nothing of green: `cargo run --bin websocket --features web -- [address]`.
//!
//! Input that is no WebSocket ends that connection with the protocol's own error; the server stays. Ctrl-c or SIGTERM stops it in
//! good order.

use std::process::ExitCode;

use green::net::TcpStream;
use tungstenite::{Error, HandshakeError, accept};

mod serve;

fn echo(stream: TcpStream) -> Result<(), Error> {
    let mut socket = accept(stream).map_err(|error| match error {
        HandshakeError::Failure(error) => error,
        HandshakeError::Interrupted(_) => unreachable!("the stream blocks"),
    })?;
    loop {
        match socket.read() {
            // tungstenite answers pings and closes itself.
            Ok(message) if message.is_text() || message.is_binary() => socket.send(message)?,
            Ok(_) => {}
            Err(Error::ConnectionClosed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn main() -> ExitCode {
    green::run(|| serve::serve("127.0.0.1:7002", echo, || {}))
}
