//! TLS by rustls over plain `Read` and `Write`: `cargo run --bin tls --features web -- [address]`, then
//! `curl --insecure https://127.0.0.1:7443/` or `openssl s_client -connect 127.0.0.1:7443`.
//!
//! It answers a line or a request with what it was sent, and a certificate that it has just made itself. Input that is no
//! TLS ends that connection with an alert; the server stays. Ctrl-c or SIGTERM stops it in good order.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;

use green::net::TcpStream;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

mod serve;

fn config() -> Result<ServerConfig, Box<dyn Error>> {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key)?)
}

fn answer(config: &Arc<ServerConfig>, stream: TcpStream) -> io::Result<()> {
    let connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
    let mut tls = BufReader::new(StreamOwned::new(connection, stream));
    let mut line = String::new();
    tls.by_ref().take(8192).read_line(&mut line)?;
    let body = format!("you said: {}\n", line.trim_end());
    if line.ends_with("HTTP/1.1\r\n") {
        // The rest of the request's head.
        while line.trim_end() != "" {
            line.clear();
            tls.by_ref().take(8192).read_line(&mut line)?;
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n";
        write!(tls.get_mut(), "{head}content-length: {}\r\n\r\n{body}", body.len())?;
    } else {
        tls.get_mut().write_all(body.as_bytes())?;
    }
    tls.get_mut().conn.send_close_notify();
    tls.get_mut().flush()
}

fn main() -> ExitCode {
    let config = match config() {
        Ok(config) => Arc::new(config),
        Err(error) => {
            eprintln!("tls: {error}");
            return ExitCode::FAILURE;
        }
    };
    green::run(|| serve::serve("127.0.0.1:7443", move |stream| answer(&config, stream), || {}))
}
