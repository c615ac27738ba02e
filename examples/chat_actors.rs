//! A chat server: `cargo run --bin chat_actors -- [address]`, then `nc 127.0.0.1 7003`, as many as you like.
//!
//! The first line is your nick; then `/join room`, `/who`, `/quit`, or something to say. The hub, each room and each member
//! is an actor. A member's handler writes to its socket and waits while that is full: only that member falls behind, and
//! what does not fit into its mailbox it misses. Ctrl-c or SIGTERM says good-bye to all, and ends when they have heard it, or after
//! three seconds.

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufReader, Write};
use std::net::Shutdown;
use std::process::ExitCode;

use green::actor::{Actor, Addr, Context, Exit, Handler, Mailbox, Message, Overflow, SendError, Signal};
use green::net::TcpStream;

#[path = "serve/lines.rs"]
mod lines;
mod serve;

use lines::line;

/// One client, as others see it.
struct Member {
    socket: TcpStream,
}

impl Actor for Member {
    // Who reads too slowly misses what is old.
    const MAILBOX: Mailbox = Mailbox::bounded(64).overflow(Overflow::DropOldest);

    /// The thread that reads sees the end of the stream.
    fn stopping(&mut self, _: &Exit, _: &mut Context<Self>) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// A line for a client.
#[derive(Clone)]
struct Line(String);
impl Message for Line {
    type Reply = ();
}

impl Handler<Line> for Member {
    fn handle(&mut self, m: Line, ctx: &mut Context<Self>) {
        if let Err(error) = self.socket.write_all(format!("{}\n", m.0).as_bytes()) {
            ctx.fail(error);
        }
    }
}

/// Who is in it.
struct Room {
    name: String,
    members: HashMap<String, Addr<Member>>,
}

struct Enter {
    nick: String,
    member: Addr<Member>,
}
impl Message for Enter {
    type Reply = ();
}

struct Leave(String);
impl Message for Leave {
    type Reply = ();
}

struct Say {
    nick: String,
    text: String,
}
impl Message for Say {
    type Reply = ();
}

struct Who;
impl Message for Who {
    type Reply = Vec<String>;
}

impl Actor for Room {
    /// A member that has ended leaves by itself.
    fn signal(&mut self, signal: Signal, _: &mut Context<Self>) {
        let Signal::Down(down) = signal else { return };
        let nick = self.members.iter().find(|(_, member)| member.id() == down.actor).map(|(nick, _)| nick.clone());
        if let Some(nick) = nick {
            self.leave(&nick);
        }
    }
}

impl Room {
    fn leave(&mut self, nick: &str) {
        if self.members.remove(nick).is_some() {
            let text = format!("* {nick} has left {}", self.name);
            self.broadcast(&text);
        }
    }

    fn broadcast(&mut self, text: &str) {
        let line = Line(text.to_owned());
        self.members.retain(|_, member| !matches!(member.try_tell(line.clone()), Err(SendError::Closed(_))));
    }
}

impl Handler<Enter> for Room {
    fn handle(&mut self, m: Enter, ctx: &mut Context<Self>) {
        ctx.monitor(&m.member);
        self.members.insert(m.nick.clone(), m.member);
        let text = format!("* {} has come to {}", m.nick, self.name);
        self.broadcast(&text);
    }
}

impl Handler<Leave> for Room {
    fn handle(&mut self, m: Leave, _: &mut Context<Self>) {
        self.leave(&m.0);
    }
}

impl Handler<Say> for Room {
    fn handle(&mut self, m: Say, _: &mut Context<Self>) {
        self.broadcast(&format!("<{}> {}", m.nick, m.text));
    }
}

impl Handler<Who> for Room {
    fn handle(&mut self, _: Who, _: &mut Context<Self>) -> Vec<String> {
        let mut nicks: Vec<_> = self.members.keys().cloned().collect();
        nicks.sort();
        nicks
    }
}

/// Knows the nicks and the rooms.
#[derive(Default)]
struct Hub {
    members: HashMap<String, Addr<Member>>,
    rooms: HashMap<String, Addr<Room>>,
}

/// Takes a nick, if nobody has it.
struct Register {
    nick: String,
    member: Addr<Member>,
}
impl Message for Register {
    type Reply = bool;
}

struct FindRoom(String);
impl Message for FindRoom {
    type Reply = Addr<Room>;
}

impl Actor for Hub {
    fn signal(&mut self, signal: Signal, _: &mut Context<Self>) {
        if let Signal::Down(down) = signal {
            self.members.retain(|_, member| member.id() != down.actor);
        }
    }
}

impl Handler<Register> for Hub {
    fn handle(&mut self, m: Register, ctx: &mut Context<Self>) -> bool {
        // Someone whose end has not been told yet does not hold the nick either.
        if self.members.get(&m.nick).is_some_and(|holder| !holder.is_ended()) {
            return false;
        }
        ctx.monitor(&m.member);
        self.members.insert(m.nick, m.member);
        true
    }
}

impl Handler<FindRoom> for Hub {
    fn handle(&mut self, m: FindRoom, _: &mut Context<Self>) -> Addr<Room> {
        let name = m.0.clone();
        self.rooms.entry(m.0).or_insert_with(|| Room { name, members: HashMap::new() }.start()).clone()
    }
}

/// Everybody hears good-bye, and goes.
struct Close;
impl Message for Close {
    type Reply = ();
}

impl Handler<Close> for Hub {
    fn handle(&mut self, _: Close, _: &mut Context<Self>) {
        for member in self.members.values() {
            // Who has gone already need not hear it.
            let _ = member.try_tell(Line("* good-bye".to_owned()));
            member.stop();
        }
    }
}

fn client(socket: TcpStream, hub: &Addr<Hub>) -> Result<(), Box<dyn Error>> {
    let member = Member { socket: socket.try_clone()? }.start();
    let mut reader = BufReader::new(socket);
    let nick = loop {
        let Some(nick) = line(&mut reader)? else { return Ok(()) };
        let nick = nick.trim().to_owned();
        if !nick.is_empty() && hub.send(Register { nick: nick.clone(), member: member.clone() })? {
            break nick;
        }
        member.tell(Line("* that nick is taken, choose another".into()))?;
    };
    let result = talk(&mut reader, hub, &member, &nick);
    member.stop();
    match member.join() {
        Exit::Shutdown => result,
        exit => Err(format!("the member {exit}").into()),
    }
}

fn talk(
    reader: &mut BufReader<TcpStream>,
    hub: &Addr<Hub>,
    member: &Addr<Member>,
    nick: &str,
) -> Result<(), Box<dyn Error>> {
    let nick = || nick.to_owned();
    let mut room = hub.send(FindRoom("lobby".into()))?;
    room.send(Enter { nick: nick(), member: member.clone() })?;
    while let Some(line) = line(reader)? {
        match line.trim().split_once(' ').unwrap_or((line.trim(), "")) {
            ("", _) => {}
            ("/quit", _) => break,
            ("/join", name) if !name.is_empty() => {
                room.send(Leave(nick()))?;
                room = hub.send(FindRoom(name.to_owned()))?;
                room.send(Enter { nick: nick(), member: member.clone() })?;
            }
            ("/who", _) => member.tell(Line(format!("* here: {}", room.send(Who)?.join(", "))))?,
            _ => room.tell(Say { nick: nick(), text: line.trim().to_owned() })?,
        }
    }
    room.send(Leave(nick()))?;
    Ok(())
}

fn main() -> ExitCode {
    green::run(|| {
        let hub = Hub::default().start();
        let members = hub.clone();
        serve::serve(
            "127.0.0.1:7003",
            move |stream| client(stream, &members),
            move || {
                if let Err(error) = hub.send(Close) {
                    eprintln!("the hub: {error}");
                }
            },
        )
    })
}
