//! The chat server of `examples/chat_actors.rs`, with clients of std's over real sockets.
#![allow(missing_docs)]

#[path = "../examples/chat_actors.rs"]
mod chat;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

struct Client {
    socket: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { lines: BufReader::new(socket.try_clone().unwrap()), socket }
    }

    fn say(&mut self, line: &str) {
        self.socket.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Reads on until a line is as expected.
    fn expect(&mut self, expected: &str) {
        let mut line = String::new();
        while line.trim() != expected {
            line.clear();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "the server has hung up before {expected:?}");
        }
    }
}

fn start() -> (green::Runtime, SocketAddr) {
    let runtime = green::Runtime::builder().workers(2).build().unwrap();
    let listener = runtime.run(|| green::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    runtime.spawn(move || chat::serve(&listener));
    (runtime, address)
}

#[test]
fn members_of_a_room_hear_each_other_and_nobody_else_does() {
    let (runtime, address) = start();
    let (mut ann, mut bob, mut eve) = (Client::new(address), Client::new(address), Client::new(address));
    ann.say("ann");
    ann.expect("* ann has come to lobby");
    bob.say("ann");
    bob.expect("* that nick is taken, choose another");
    bob.say("bob");
    ann.expect("* bob has come to lobby");
    eve.say("eve");
    ann.expect("* eve has come to lobby");
    eve.say("/join cellar");
    ann.expect("* eve has left lobby");
    eve.expect("* eve has come to cellar");
    ann.say("hello");
    bob.expect("<ann> hello");
    ann.expect("<ann> hello");
    eve.say("/who");
    eve.expect("* here: eve");
    eve.say("alone");
    eve.expect("<eve> alone");
    ann.say("/who");
    ann.expect("* here: ann, bob");
    drop(runtime);
}

#[test]
fn who_hangs_up_leaves_and_the_nick_is_free_again() {
    let (runtime, address) = start();
    let (mut ann, mut bob) = (Client::new(address), Client::new(address));
    ann.say("ann");
    ann.expect("* ann has come to lobby");
    bob.say("bob");
    ann.expect("* bob has come to lobby");
    drop(bob);
    ann.expect("* bob has left lobby");
    let mut again = Client::new(address);
    loop {
        again.say("bob");
        let mut line = String::new();
        again.lines.read_line(&mut line).unwrap();
        if line.trim() == "* bob has come to lobby" {
            break;
        }
        assert!(line.contains("taken"), "{line}"); // The old member is still on its way out.
    }
    ann.expect("* bob has come to lobby");
    drop(runtime);
}
