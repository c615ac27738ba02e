//! Loads that reach outside of the process's own memory, actors, and whole runtimes.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use green::Runtime;
use green::actor::{Actor, Addr, Context, Handler, Message, Signal};
use green::net::{TcpListener, TcpStream};
use green::os::unix::net::UnixStream;
use green::process::{Command, Stdio};
use green::sync::Arc;

use super::micros;
use crate::help::Random;

/// What `fill` writes at this place of a stream.
fn byte(seed: u64, at: usize) -> u8 {
    (seed as usize).wrapping_add(at).wrapping_mul(31) as u8
}

/// Sends `len` bytes by one thread and reads them back by another.
fn talk<S: Read + Write + Send + 'static>(mut reader: S, mut writer: S, seed: u64, len: usize, close: impl Fn(&S)) {
    let writes = green::spawn(move || {
        let bytes: Vec<_> = (0..len).map(|at| byte(seed, at)).collect();
        bytes.chunks(1 + seed as usize % 5000).for_each(|chunk| writer.write_all(chunk).unwrap());
        writer.flush().unwrap();
        writer
    });
    let mut back = vec![0; len];
    reader.read_exact(&mut back).unwrap();
    assert!(back.iter().enumerate().all(|(at, b)| *b == byte(seed, at)));
    close(&writes.join().unwrap());
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
}

/// An echo server over TCP, and a pair of Unix sockets; some clients go away in the middle.
pub(super) fn echo(mut random: Random) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = green::spawn(move || {
        for stream in listener.incoming() {
            green::spawn(move || {
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                // A client that goes away is no error here.
                let _ = std::io::copy(&mut &stream, &mut &stream);
            });
        }
    });
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let (seed, len, leaves) = (random.next(), random.below(60_000) as usize, random.below(4) == 0);
            green::spawn(move || {
                let stream = TcpStream::connect(address).unwrap();
                if leaves {
                    let mut buf = [0; 16];
                    let late = green::timeout(micros(seed % 2000), || (&stream).read_exact(&mut buf));
                    return assert!(late.is_err());
                }
                talk(stream.try_clone().unwrap(), stream, seed, len, |s| s.shutdown(Shutdown::Write).unwrap());
            })
        })
        .collect();
    let (near, far) = UnixStream::pair().unwrap();
    let mirror = green::spawn(move || _ = std::io::copy(&mut &far, &mut &far));
    talk(near.try_clone().unwrap(), near, random.next(), random.below(100_000) as usize, |s| {
        s.shutdown(Shutdown::Write).unwrap();
    });
    mirror.join().unwrap();
    clients.into_iter().for_each(|client| client.join().unwrap());
    server.cancel();
    assert!(server.join().is_err());
}

/// Counts what it is told, and passes some of it on.
struct Counter {
    next: Option<Addr<Counter>>,
    sum: u64,
    downs: Arc<AtomicU64>,
}

impl Actor for Counter {
    fn signal(&mut self, signal: Signal, _: &mut Context<Self>) {
        if matches!(signal, Signal::Down(_)) {
            self.downs.fetch_add(1, Ordering::SeqCst);
        }
    }
}

struct Add(u64);
impl Message for Add {
    type Reply = ();
}
impl Handler<Add> for Counter {
    fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) {
        self.sum += n;
        if n > 0
            && let Some(next) = &self.next
        {
            next.tell(Add(n - 1)).unwrap();
        }
    }
}

struct Sum;
impl Message for Sum {
    type Reply = u64;
}
impl Handler<Sum> for Counter {
    fn handle(&mut self, _: Sum, _: &mut Context<Self>) -> u64 {
        self.sum
    }
}

struct Watch(Addr<Counter>);
impl Message for Watch {
    type Reply = ();
}
impl Handler<Watch> for Counter {
    fn handle(&mut self, Watch(other): Watch, ctx: &mut Context<Self>) {
        ctx.monitor(&other);
    }
}

/// A chain of actors: every number that is told arrives everywhere behind; each end is told once.
pub(super) fn actors(mut random: Random) {
    let downs = Arc::new(AtomicU64::new(0));
    let mut chain = Vec::<Addr<Counter>>::new();
    for _ in 0..1 + random.below(8) {
        chain.push(Counter { next: chain.last().cloned(), sum: 0, downs: downs.clone() }.start());
    }
    // The last of the chain gets all; each of those before it one less of each number.
    chain.reverse();
    let watcher = Counter { next: None, sum: 0, downs: downs.clone() }.start();
    chain.iter().for_each(|actor| watcher.send(Watch(actor.clone())).unwrap());
    let numbers: Vec<_> = (0..random.below(200)).map(|_| random.below(20)).collect();
    let first = &chain[0];
    green::scope(|scope| {
        for part in numbers.chunks(50) {
            scope.spawn(move || part.iter().for_each(|n| first.tell(Add(*n)).unwrap()));
        }
    });
    let expected = |depth: u64| numbers.iter().map(|n| n.saturating_sub(depth)).sum::<u64>();
    for (depth, actor) in chain.iter().enumerate() {
        // A message that was told before this ask is handled before it; what it passes on, too.
        assert_eq!(actor.send(Sum).unwrap(), expected(depth as u64));
    }
    for actor in &chain {
        if random.below(2) == 0 { actor.kill() } else { actor.stop() }
    }
    chain.iter().for_each(|actor| _ = actor.join());
    // An end is told soon after `join` has come back; each once.
    while downs.load(Ordering::SeqCst) < chain.len() as u64 {
        green::sleep(micros(100));
    }
    watcher.send(Sum).unwrap();
    assert_eq!(downs.load(Ordering::SeqCst), chain.len() as u64);
    watcher.stop();
    watcher.join();
}

/// The blocking pool: closures, files, name look-ups.
pub(super) fn blocking(mut random: Random) {
    let path = std::env::temp_dir().join(format!("green-soak-{}-{}", std::process::id(), random.next()));
    let bytes: Vec<_> = (0..random.below(20_000)).map(|_| random.next() as u8).collect();
    green::fs::write(&path, &bytes).unwrap();
    let threads: Vec<_> = (0..8)
        .map(|n| {
            let (path, bytes) = (path.clone(), bytes.clone());
            green::spawn(move || match n % 3 {
                0 => assert_eq!(green::fs::read(&path).unwrap(), bytes),
                1 => assert_eq!(green::blocking(|| bytes.len() + 1), bytes.len() + 1),
                _ => assert!(green::net::TcpStream::connect("localhost:1").is_err()),
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    green::fs::remove_file(&path).unwrap();
}

/// Children that answer, that are killed, and that are given up by a time-out.
pub(super) fn processes(mut random: Random) {
    let text = random.next().to_string();
    let output = Command::new("echo").arg(&text).output().unwrap();
    assert_eq!(output.stdout, format!("{text}\n").into_bytes());
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let late = green::timeout(micros(random.below(2000)), || green::thread::park_timeout(Duration::from_secs(60)));
    assert!(late.is_err());
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

/// Whole runtimes, of any size, that end while their threads wait.
pub(super) fn runtimes(mut random: Random) {
    let runtime = Runtime::builder().workers(1 + random.below(3) as usize).build().unwrap();
    let dropped = Arc::new(AtomicU64::new(0));
    struct Counts(Arc<AtomicU64>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let threads = random.below(50);
    for n in 0..threads {
        let counts = Counts(dropped.clone());
        runtime.spawn(move || {
            let _counts = counts;
            match n % 3 {
                0 => green::thread::park(),
                1 => green::sleep(Duration::from_secs(1000)),
                _ => {}
            }
        });
    }
    let of_loads = Random::new(random.next());
    runtime.run(move || super::channels(of_loads));
    drop(runtime);
    assert_eq!(dropped.load(Ordering::SeqCst), threads);
}
