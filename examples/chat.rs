//! A chat: `cargo run --example chat -- [address]`, then `nc 127.0.0.1 7001` a few times. Every line goes to all the others.
//!
//! Each client has a thread that reads and one that writes. A client that does not read what it is sent is left behind
//! when its queue is full: nobody else waits for it. Ctrl-c says good-bye to all, and ends when they have heard it, or
//! after three seconds.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use green::channel::{Receiver, Sender, bounded};
use green::net::{TcpListener, TcpStream};
use green::sync::Mutex;

/// Lines that may wait for one client.
const QUEUE: usize = 64;
/// Bytes of a line that are taken; the rest is another line.
const LINE: usize = 1024;
const GRACE: Duration = Duration::from_secs(3);

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

/// One line, without its end; `None` at the end of the stream.
fn line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    if io::Read::take(&mut *reader, LINE as u64).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&bytes).trim_end().to_owned()))
}

fn write_lines(mut stream: &TcpStream, lines: &Receiver<Arc<str>>) -> io::Result<()> {
    for line in lines {
        stream.write_all(line.as_bytes())?;
    }
    stream.shutdown(Shutdown::Write)
}

fn serve(room: &Room, id: u64, stream: &TcpStream) -> io::Result<()> {
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

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7001".to_owned());
    green::run(|| {
        let listener = TcpListener::bind(&*address)?;
        // Ctrl-c is ours before anybody knows where we are.
        let _ = green::timeout(Duration::ZERO, green::signal::ctrl_c);
        println!("listening on {}", listener.local_addr()?);
        let room = Arc::new(Room::default());
        let (all_gone, until_all_gone) = bounded::<()>(0);
        let accepting = {
            let room = room.clone();
            green::spawn(move || {
                for (id, stream) in (0..).zip(listener.incoming()) {
                    let Ok(stream) = stream else { continue };
                    let (room, gone) = (room.clone(), all_gone.clone());
                    green::spawn(move || {
                        if let Err(error) = serve(&room, id, &stream) {
                            eprintln!("client {id}: {error}");
                        }
                        room.leave(id);
                        drop(gone);
                    });
                }
            })
        };
        green::signal::ctrl_c()?;
        println!("stopping");
        accepting.cancel();
        let _ = accepting.join();
        room.say(None, "* good-bye\n");
        // Without the queues' ends the writers close the connections; the readers see it and end.
        room.clients.lock().unwrap().clear();
        let _ = until_all_gone.recv_timeout(GRACE);
        Ok(())
    })
}
