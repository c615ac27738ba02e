//! The network examples, each against a real client: it answers, it survives what is malformed, and it stops in good order.
#![cfg(target_os = "linux")]
#![allow(missing_docs)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

#[path = "../../tests/help/mod.rs"]
mod help;
#[path = "../serve/running.rs"]
mod running;

use help::example;

/// An example that runs; it prints where it listens.
struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    fn start(name: &str) -> Server {
        let mut child = example(name).arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim().strip_prefix("listening on ").expect("it says where").parse().unwrap();
        Server { child, addr }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    fn interrupt(&self) {
        self.signal(libc::SIGINT);
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: the call takes two numbers; the child has not been waited for.
        assert_eq!(unsafe { libc::kill(self.child.id() as libc::pid_t, signal) }, 0);
    }

    /// Ctrl-c, until it has had effect: the first may come before the server asks for it.
    fn stop(self) -> ExitStatus {
        self.stop_by(libc::SIGINT)
    }

    fn stop_by(mut self, signal: libc::c_int) -> ExitStatus {
        let begin = Instant::now();
        self.signal(signal);
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status,
                None => assert!(begin.elapsed() < Duration::from_secs(30), "it does not stop"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn round_trip(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).unwrap();
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, text);
}

fn client(program: &str, args: &[&str], input: &[u8]) -> String {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn echo_answers_and_after_ctrl_c_lets_a_connection_finish() {
    let server = Server::start("echo");
    let mut one = server.connect();
    round_trip(&mut one, b"hello");
    server.interrupt();
    // No new ones: the listener closes.
    let begin = Instant::now();
    while TcpStream::connect(server.addr).is_ok() {
        assert!(begin.elapsed() < Duration::from_secs(20), "it still accepts");
        std::thread::sleep(Duration::from_millis(5));
    }
    round_trip(&mut one, b"still here");
    drop(one);
    assert!(server.stop().success());
}

#[test]
fn servers_stop_in_good_order_by_sigterm_and_by_ctrl_c() {
    for program in ["echo", "chat", "chat_actors", "http", "tls", "websocket", "metrics"] {
        for signal in [libc::SIGTERM, libc::SIGINT] {
            let server = Server::start(program);
            assert!(server.stop_by(signal).success(), "{program}");
        }
    }
}

#[test]
fn metrics_answers_curl_with_numbers_that_prometheus_reads() {
    let server = Server::start("metrics");
    let page = |path: &str| client("curl", &["-s", "-i", &format!("http://{}{path}", server.addr)], b"");
    let begin = Instant::now();
    let page_of = loop {
        let text = page("/metrics");
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
        // The threads of its ring have begun, and the one that sleeps between rounds, on whichever worker, has slept.
        let live = number(&text, "green_threads_live");
        let mut timers = text.lines().filter(|line| line.starts_with("green_worker_timers_total{"));
        if live >= 1001.0 && timers.any(|line| !line.ends_with(" 0")) {
            break text;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{text}");
    };
    let (_, body) = page_of.split_once("\r\n\r\n").unwrap();
    for line in body.lines().filter(|line| !line.starts_with("# ")) {
        let (name, value) = line.rsplit_once(' ').expect(line);
        assert!(name.starts_with("green_") && value.parse::<f64>().is_ok(), "{line}");
        let family = name.split('{').next().unwrap();
        let family = family.trim_end_matches("_bucket").trim_end_matches("_count").trim_end_matches("_sum");
        assert!(body.contains(&format!("# TYPE {family} ")), "{line}");
    }
    assert!(number(&page_of, "green_threads{state=\"parked\"}") <= number(&page_of, "green_threads_live"));
    assert!(
        page_of.contains("green_stack_guards{by=\"") && page_of.contains("\ngreen_worker_started_total{worker=\"0\"} ")
    );
    assert_eq!(number(&page_of, "green_actors{state=\"waiting\"}"), 0.0);
    assert!(page("/").starts_with("HTTP/1.1 404"));
    let mut other = server.connect();
    other.write_all(b"what is this\r\n\r\n").unwrap();
    let mut text = String::new();
    other.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 400"), "{text}");
    assert!(server.stop().success());
}

#[path = "../metrics/page.rs"]
mod page;

#[test]
fn a_page_of_metrics_escapes_what_prometheus_wants_to_have_escaped_and_nothing_else() {
    use green::actor::{Actor, Builder, Context, Handler, Message};

    struct Busy(std::sync::mpsc::Receiver<()>);
    struct Wait;
    impl Actor for Busy {}
    impl Message for Wait {
        type Reply = ();
    }
    impl Handler<Wait> for Busy {
        fn handle(&mut self, Wait: Wait, _: &mut Context<Self>) {
            let _ = self.0.recv();
        }
    }
    let runtime = green::Runtime::builder().workers(1).build().unwrap();
    let (go_on, goes_on) = std::sync::mpsc::channel();
    let name = "a\\b \"c\"\td\ne\u{301}'";
    let actor = Builder::new().runtime(&runtime).name(name).start(Busy(goes_on)).unwrap();
    (0..2).for_each(|_| actor.tell(Wait).unwrap());
    let page = page::page(&runtime.metrics(), &runtime.actor_metrics());
    drop(go_on);
    let line = page.lines().find(|line| line.starts_with("green_actor_queue{")).unwrap_or_else(|| panic!("{page}"));
    assert!(line.contains(r#",name="a\\b \"c\""#) && line.contains("\td\\ne\u{301}'\"} "), "{line}");
    assert!(page.contains("\ngreen_delay_seconds_sum{worker=\"0\"} "), "{page}");
}

/// The number behind a name, in Prometheus' format.
fn number(page: &str, name: &str) -> f64 {
    let line = page.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} is not in {page}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn echo_cancels_a_connection_that_does_not_finish_in_time() {
    let server = Server::start("echo");
    let mut one = server.connect();
    round_trip(&mut one, b"hello");
    let begin = Instant::now();
    assert!(server.stop().success());
    assert!(begin.elapsed() > Duration::from_secs(2), "it had three seconds");
    assert!(matches!(one.read(&mut [0]), Ok(0) | Err(_)));
}

#[test]
fn chat_passes_lines_on_and_says_good_bye() {
    let server = Server::start("chat");
    let line = |reader: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line
    };
    let join = |name: &str| {
        let mut stream = server.connect();
        let mut prompt = [0; 11];
        stream.read_exact(&mut prompt).unwrap();
        assert_eq!(&prompt, b"your name? ");
        writeln!(stream, "{name}").unwrap();
        let mut reader = BufReader::new(stream);
        assert_eq!(line(&mut reader), format!("* welcome, {name}\n"));
        reader
    };
    let mut alice = join("alice");
    let mut bob = join("bob");
    assert_eq!(line(&mut alice), "* bob has come\n");
    writeln!(alice.get_mut(), "hi").unwrap();
    assert_eq!(line(&mut bob), "alice: hi\n");
    drop(bob);
    assert_eq!(line(&mut alice), "* bob has left\n");
    server.interrupt();
    assert_eq!(line(&mut alice), "* good-bye\n");
    assert_eq!(line(&mut alice), "");
    drop(alice);
    assert!(server.stop().success());
}

/// A client of the chat of actors.
struct Member {
    socket: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Member {
    fn new(server: &Server) -> Self {
        let socket = server.connect();
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

#[test]
fn chat_actors_members_of_a_room_hear_each_other_and_nobody_else_does() {
    let server = Server::start("chat_actors");
    let (mut ann, mut bob, mut eve) = (Member::new(&server), Member::new(&server), Member::new(&server));
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
}

#[test]
fn chat_actors_who_hangs_up_leaves_and_the_nick_is_free_again() {
    let server = Server::start("chat_actors");
    let (mut ann, mut bob) = (Member::new(&server), Member::new(&server));
    ann.say("ann");
    ann.expect("* ann has come to lobby");
    bob.say("bob");
    ann.expect("* bob has come to lobby");
    drop(bob);
    ann.expect("* bob has left lobby");
    let mut again = Member::new(&server);
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
}

#[test]
fn chat_actors_say_good_bye_after_ctrl_c() {
    let server = Server::start("chat_actors");
    // One that has no nick yet is not waited for longer than the three seconds.
    let (mut ann, mut silent) = (Member::new(&server), Member::new(&server));
    ann.say("ann");
    ann.expect("* ann has come to lobby");
    server.interrupt();
    ann.expect("* good-bye");
    let mut rest = String::new();
    assert_eq!(ann.lines.read_line(&mut rest).unwrap(), 0, "{rest}");
    assert!(server.stop().success());
    assert!(matches!(silent.lines.read_line(&mut rest), Ok(0) | Err(_)), "{rest}");
}

#[test]
fn websocket_echoes_and_survives_what_is_no_websocket() {
    use tungstenite::Message;
    let server = Server::start("websocket");
    let mut bad = server.connect();
    bad.write_all(b"this is not HTTP\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = bad.read_to_end(&mut answer);
    let url = format!("ws://{}/", server.addr);
    let (mut socket, _) = tungstenite::client(url, server.connect()).unwrap();
    for message in [Message::text("hello"), Message::binary(vec![7; 100_000])] {
        socket.send(message.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), message);
    }
    // A frame with reserved bits is a protocol error: the server says so and closes.
    socket.get_mut().write_all(&[0xf1, 0x80, 0, 0, 0, 0]).unwrap();
    assert!(matches!(socket.read(), Ok(Message::Close(_)) | Err(_)));
    drop(socket);
    let (mut socket, _) = tungstenite::client(format!("ws://{}/", server.addr), server.connect()).unwrap();
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    drop((socket, bad));
    assert!(server.stop().success());
}

#[test]
fn tls_answers_curl_and_openssl_and_survives_what_is_no_tls() {
    let server = Server::start("tls");
    let mut bad = server.connect();
    bad.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut alert = Vec::new();
    let _ = bad.read_to_end(&mut alert);
    drop(bad);
    let url = format!("https://{}/path", server.addr);
    assert_eq!(client("curl", &["--silent", "--insecure", &url], b""), "you said: GET /path HTTP/1.1\n");
    let args = ["s_client", "-quiet", "-connect", &server.addr.to_string()];
    assert!(client("openssl", &args, b"hello\n").contains("you said: hello"));
    assert!(server.stop().success());
}

#[test]
fn http_answers_curl_and_survives_what_is_no_http() {
    let server = Server::start("http");
    let mut bad = server.connect();
    bad.write_all(b"\x16\x03\x01 this is not HTTP\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    bad.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    let url = |path: &str| format!("http://{}{path}", server.addr);
    // Two requests on one connection.
    let twice = client("curl", &["--silent", &url("/"), &url("/")], b"");
    assert_eq!(twice, "hello from a green thread\n".repeat(2));
    let big = "x".repeat(300_000);
    let args = ["--silent", "--data-binary", "@-", &url("/echo")];
    assert_eq!(client("curl", &args, big.as_bytes()), big);
    assert!(client("curl", &["--silent", &url("/nowhere")], b"").contains("nothing at /nowhere"));
    assert!(server.stop().success());
}

#[test]
fn http_does_not_wait_for_an_idle_connection_that_is_kept_alive() {
    // It says so. Where the machine stops for the three seconds for which it waits, it has to cancel a connection that is about to end.
    let does_not_wait = || {
        let mut server = Server::start("http");
        let mut idle = server.connect();
        idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut line = String::new();
        BufReader::new(&idle).read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 200"));
        server.interrupt();
        let mut said = String::new();
        server.child.stdout.as_mut().unwrap().read_to_string(&mut said).unwrap();
        assert!(server.child.wait().unwrap().success());
        // Or it has ended before they were counted.
        said.contains("1 of 1 connections") || said.contains("0 of 0 connections")
    };
    assert!((0..5).any(|_| does_not_wait()));
}

#[test]
fn nothing_is_kept_of_connections_that_are_over_however_they_ended() {
    help::on_workers(|| {
        let (running, lives) = (running::Running::default(), std::sync::Arc::new(()));
        for number in 0..3000 {
            let alive = lives.clone();
            running.start(number, move || {
                let _alive = alive;
                match number % 3 {
                    0 => {}
                    1 => green::yield_now(),
                    _ => std::panic::resume_unwind(Box::new("bang")),
                }
            });
        }
        let start = Instant::now();
        while std::sync::Arc::strong_count(&lives) > 1 || running.len() > 0 {
            assert!(start.elapsed() < Duration::from_secs(20), "{} are left", running.len());
            green::yield_now();
        }
        running.start(3000, green::thread::park);
        let open = running.take();
        assert_eq!(open.len(), 1);
        open.into_iter().for_each(|thread| {
            thread.cancel();
            assert!(thread.join().is_err());
        });
    });
}
