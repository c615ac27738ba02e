//! The load generator: many connections from few OS threads, each connection in a closed loop of request and answer.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

const REQUEST: usize = 64;

struct Connection {
    stream: TcpStream,
    sent: Instant,
    received: usize,
}

/// The connections of one thread.
struct Share {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
}

pub struct Load {
    shares: Vec<Share>,
}

impl Load {
    pub fn connect(addr: SocketAddr, connections: usize, threads: usize) -> Load {
        let share = |count: usize| {
            let poll = Poll::new().expect("a poller");
            let connect = |at: usize| {
                let stream = std::net::TcpStream::connect(addr).expect("the server accepts");
                stream.set_nodelay(true).expect("a TCP option");
                stream.set_nonblocking(true).expect("an option");
                let mut stream = TcpStream::from_std(stream);
                poll.registry().register(&mut stream, Token(at), Interest::READABLE).expect("a registration");
                Connection { stream, sent: Instant::now(), received: 0 }
            };
            let connections = (0..count).map(connect).collect();
            Share { poll, events: Events::with_capacity(1024), connections }
        };
        let of = |thread: usize| connections / threads + usize::from(thread < connections % threads);
        Load { shares: (0..threads).map(|thread| share(of(thread))).collect() }
    }

    /// Keeps a request under way on every connection for `time`, then takes the last answers in. The latencies in
    /// nanoseconds, and how long it took.
    pub fn run(&mut self, time: Duration) -> (Histogram<u64>, Duration) {
        let begin = Instant::now();
        let until = begin + time;
        let histograms: Vec<Histogram<u64>> = std::thread::scope(|scope| {
            let threads: Vec<_> = self.shares.iter_mut().map(|share| scope.spawn(move || share.run(until))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a load thread")).collect()
        });
        let elapsed = begin.elapsed();
        let mut all = Histogram::new(3).expect("a histogram");
        histograms.iter().for_each(|one| all.add(one).expect("of one kind"));
        (all, elapsed)
    }
}

impl Share {
    fn run(&mut self, until: Instant) -> Histogram<u64> {
        let mut histogram = Histogram::new(3).expect("a histogram");
        self.connections.iter_mut().for_each(Connection::send);
        let mut under_way = self.connections.len();
        while under_way > 0 {
            self.poll.poll(&mut self.events, Some(Duration::from_secs(10))).expect("a poll");
            assert!(!self.events.is_empty(), "the server has not answered for ten seconds");
            for event in &self.events {
                let connection = &mut self.connections[event.token().0];
                while let Some(latency) = connection.receive() {
                    histogram.record(latency.as_nanos() as u64).expect("it grows");
                    if Instant::now() >= until {
                        under_way -= 1;
                        break;
                    }
                    connection.send();
                }
            }
        }
        histogram
    }
}

impl Connection {
    fn send(&mut self) {
        self.sent = Instant::now();
        self.received = 0;
        let sent = self.stream.write(&[7; REQUEST]).expect("the server reads");
        assert_eq!(sent, REQUEST, "a request fits into an empty buffer");
    }

    /// How long the answer took, if it is complete.
    fn receive(&mut self) -> Option<Duration> {
        let mut buf = [0; REQUEST];
        while self.received < REQUEST {
            match self.stream.read(&mut buf) {
                Ok(0) => panic!("the server has closed a connection"),
                Ok(n) => self.received += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => panic!("{error}"),
            }
        }
        Some(self.sent.elapsed())
    }
}
