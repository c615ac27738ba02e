//! What a running program does, in numbers, for Prometheus: `cargo run --bin metrics -- [address]`, then
//! `curl http://127.0.0.1:9100/metrics`.
//!
//! So that there is something to see, a thousand threads sleep, wake and send each other numbers. The page is written by hand:
//! Prometheus' text format is lines of a name, labels and a number. Ctrl-c or SIGTERM stops the server in good order.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use green::channel::bounded;
use green::net::TcpStream;

#[path = "metrics/page.rs"]
mod page;
mod serve;

use page::page;

/// Bytes of a request's head that are read.
const HEAD: u64 = 16 << 10;
/// How long a client may take for it.
const PATIENCE: Duration = Duration::from_secs(10);

fn answer(stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new((&stream).take(HEAD)).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    for header in lines {
        if header?.is_empty() {
            break;
        }
    }
    let mut words = request.split(' ');
    let (status, page) = match (words.next(), words.next()) {
        (Some("GET"), Some("/metrics")) => ("200 OK", page(&green::metrics(), &green::actor::metrics())),
        (Some("GET"), Some(_)) => ("404 Not Found", "look at /metrics\n".to_owned()),
        _ => ("400 Bad Request", "GET /metrics\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        page.len()
    );
    (&stream).write_all(head.as_bytes())?;
    (&stream).write_all(page.as_bytes())
}

/// A ring of threads that pass a number on, each after a pause.
fn work() {
    let (first, mut last) = bounded::<u64>(1);
    for n in 0..1000 {
        let (next, receiver) = bounded(1);
        green::spawn(move || {
            for number in last {
                green::sleep(Duration::from_millis(n % 7));
                if next.send(number + 1).is_err() {
                    return;
                }
            }
        });
        last = receiver;
    }
    green::spawn(move || {
        (0..20).for_each(|number| _ = first.send(number));
        last.iter().for_each(|number| _ = first.send(number));
    });
}

fn main() -> ExitCode {
    green::run(|| {
        work();
        serve::serve("127.0.0.1:9100", answer, || {})
    })
}
