//! A chat: `cargo run --bin chat -- [address]`, then `nc 127.0.0.1 7001` a few times. Every line goes to all the others.
//!
//! Each client has a thread that reads and one that writes. A client that does not read what it is sent is left behind
//! when its queue is full: nobody else waits for it. Ctrl-c or SIGTERM says good-bye to all, and ends when they have heard it, or
//! after three seconds.

use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::net::Shutdown;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use green::channel::{Receiver, Sender, bounded};
use green::net::TcpStream;
use green::sync::Mutex;

/// Lines that may wait for one client.
const QUEUE: usize = 64;

#[path = "serve/lines.rs"]
mod lines;
mod serve;

use lines::line;

struct Client {
    name: String,
    lines: Sender<Arc<str>>,
    stream: TcpStream,
}

#[derive(Default)]
struct Room {
    clients: Mutex<HashMap<u64, Client>>,
}

impl Room {
    /// Queues `line` for all but `from`. A full queue closes that client.
    fn say(&self, from: Option<u64>, line: &str) {
        let line: Arc<str> = line.into();
        let clients = self.clients.lock().unwrap();
        for (id, client) in clients.iter().filter(|(id, _)| Some(**id) != from) {
            if client.lines.try_send(line.clone()).is_err() {
                eprintln!("{} ({id}) does not listen", client.name);
                let _ = client.stream.shutdown(Shutdown::Both);
            }
        }
    }

    fn leave(&self, id: u64) {
        let client = self.clients.lock().unwrap().remove(&id);
        if let Some(client) = client {
            self.say(None, &format!("* {} has left\n", client.name));
        }
    }
}

struct Leaves<'a>(&'a Room, u64);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

fn write_lines(mut stream: &TcpStream, lines: &Receiver<Arc<str>>) -> io::Result<()> {
    for line in lines {
        stream.write_all(line.as_bytes())?;
    }
    stream.shutdown(Shutdown::Write)
}

fn talk(room: &Room, id: u64, stream: &TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    (&*stream).write_all(b"your name? ")?;
    let Some(name) = line(&mut reader)?.filter(|name| !name.is_empty()) else { return Ok(()) };
    let (lines, queue) = bounded(QUEUE);
    let client = Client { name: name.clone(), lines, stream: stream.try_clone()? };
    room.clients.lock().unwrap().insert(id, client);
    room.say(Some(id), &format!("* {name} has come\n"));
    // The thread that writes the others' lines has not begun.
    writeln!(&*stream, "* welcome, {name}")?;
    green::scope(|s| {
        // It ends when the room has dropped the queue's other end.
        let writer = s.spawn(|| write_lines(stream, &queue));
        let result = loop {
            match line(&mut reader) {
                Ok(Some(text)) => room.say(Some(id), &format!("{name}: {text}\n")),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        room.leave(id);
        let _ = writer.join();
        result
    })
}

fn main() -> ExitCode {
    green::run(|| {
        let room = Arc::new(Room::default());
        let (clients, ids) = (room.clone(), AtomicU64::new(0));
        let connection = move |stream| {
            let id = ids.fetch_add(1, Ordering::Relaxed);
            // However its thread ends, it has left.
            let _left = Leaves(&clients, id);
            talk(&clients, id, &stream)
        };
        serve::serve("127.0.0.1:7001", connection, || {
            room.say(None, "* good-bye\n");
            // Without the queues' ends the writers close the connections; the readers see it and end.
            room.clients.lock().unwrap().clear();
        })
    })
}
