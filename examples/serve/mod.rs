//! A server that stops in good order: what the network examples have in common.
//!
//! One green thread accepts, one serves each connection. Ctrl-c and SIGTERM stop the accepting; connections may then finish until a
//! deadline; what is left is cancelled, and its destructors run.

mod running;

use std::fmt::Display;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use green::net::{TcpListener, TcpStream};
use green::thread::JoinHandle;
use running::Running;

/// How long connections may go on after that.
const GRACE: Duration = Duration::from_secs(3);

/// Serves until ctrl-c or SIGTERM, in a green thread. The address is the program's argument, or `default`. `on_stop` tells the
/// connections that they should come to an end, if they can be told.
pub(crate) fn serve<E: Display>(
    default: &str,
    connection: impl Fn(TcpStream) -> Result<(), E> + Send + Sync + 'static,
    on_stop: impl FnOnce(),
) -> ExitCode {
    const NAME: &str = env!("CARGO_BIN_NAME");
    let mut args = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    let (address, None) = (args.next(), args.next()) else {
        eprintln!("usage: {NAME} [ADDRESS]");
        return ExitCode::from(2);
    };
    let address = address.unwrap_or_else(|| default.to_owned());
    match TcpListener::bind(&*address).and_then(|listener| accept_until_told(listener, connection, on_stop)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{NAME}: {address}: {error}");
            ExitCode::from(2)
        }
    }
}

fn accept_until_told<E: Display>(
    listener: TcpListener,
    connection: impl Fn(TcpStream) -> Result<(), E> + Send + Sync + 'static,
    on_stop: impl FnOnce(),
) -> io::Result<()> {
    // The signals are ours before anybody knows where we are.
    let _ = green::timeout(Duration::ZERO, green::signal::terminate);
    println!("listening on {}", listener.local_addr()?);
    let (connection, running) = (Arc::new(connection), Running::default());
    let started = running.clone();
    let accepting = green::spawn(move || {
        for (number, stream) in (0..).zip(listener.incoming()) {
            match stream {
                Ok(stream) => {
                    let connection = connection.clone();
                    started.start(number, move || {
                        if let Err(error) = connection(stream) {
                            eprintln!("a connection ended: {error}");
                        }
                    });
                }
                // A connection that was given up, or no more descriptors: then `accept` has rested.
                Err(error) => eprintln!("accept: {error}"),
            }
        }
    });
    green::signal::terminate()?;
    println!("stopping");
    accepting.cancel();
    let _ = accepting.join();
    on_stop();
    finish(running.take());
    Ok(())
}

/// Waits for the connections to end by themselves, then cancels the rest.
fn finish(running: Vec<JoinHandle<()>>) {
    let finished = green::timeout(GRACE, || {
        while running.iter().any(|thread| !thread.is_finished()) {
            green::sleep(Duration::from_millis(10));
        }
    });
    if finished.is_err() {
        running.iter().for_each(JoinHandle::cancel);
    }
    let all = running.len();
    let well = running.into_iter().map(JoinHandle::join).filter(Result::is_ok).count();
    println!("{well} of {all} connections finished by themselves");
}
