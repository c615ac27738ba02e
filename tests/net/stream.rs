//! TCP streams and listeners.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::time::{Duration, Instant};

use green::net::{TcpListener, TcpStream, ToSocketAddrs};

use crate::{connection, echo, everywhere, pattern};

#[test]
fn an_echo_gives_back_every_byte_in_order_to_many_clients_at_one_time() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let server = green::spawn(move || {
            let connections: Vec<_> = listener.incoming().take(16).map(|s| green::spawn(|| echo(s.unwrap()))).collect();
            connections.into_iter().map(|c| c.join().unwrap().unwrap()).sum::<u64>()
        });
        let clients: Vec<_> = (0..16)
            .map(|client| {
                green::spawn(move || {
                    let mut stream = TcpStream::connect(addr).unwrap();
                    for round in 1..50 {
                        let sent = pattern(client * 7 + round * 13);
                        stream.write_all(&sent).unwrap();
                        let mut back = vec![0; sent.len()];
                        stream.read_exact(&mut back).unwrap();
                        assert_eq!(sent, back);
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        let sent: usize = (0..16).map(|client| (1..50).map(|round| client * 7 + round * 13).sum::<usize>()).sum();
        assert_eq!(server.join().unwrap(), sent as u64);
    });
}

#[test]
fn much_data_goes_both_ways_at_once_through_one_stream_with_a_reader_and_a_writer() {
    everywhere(|| {
        let (client, server) = connection();
        let len = (4 << 20) / crate::SCALE;
        let echoing = green::spawn(move || echo(server).unwrap());
        let writer = client.try_clone().unwrap();
        let writes = green::spawn(move || {
            (&writer).write_all(&pattern(len)).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        (&client).read_to_end(&mut back).unwrap();
        assert!(back == pattern(len));
        writes.join().unwrap();
        assert_eq!(echoing.join().unwrap(), len as u64);
    });
}

#[test]
fn one_stream_serves_a_reader_and_a_writer_by_reference() {
    everywhere(|| {
        let (client, server) = connection();
        let len = (1 << 20) / crate::SCALE;
        let echoing = green::spawn(move || echo(server).unwrap());
        green::scope(|s| {
            s.spawn(|| {
                (&client).write_all(&pattern(len)).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
            });
            let mut back = Vec::new();
            (&client).read_to_end(&mut back).unwrap();
            assert!(back == pattern(len));
        });
        echoing.join().unwrap();
    });
}

#[test]
fn a_half_close_ends_the_readers_stream_and_leaves_the_other_half_open() {
    everywhere(|| {
        let (client, server) = connection();
        let reads = green::spawn(move || {
            let mut text = String::new();
            (&server).read_to_string(&mut text).unwrap();
            (&server).write_all(text.to_uppercase().as_bytes()).unwrap();
        });
        (&client).write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        (&client).read_to_string(&mut text).unwrap();
        assert_eq!(text, "HELLO");
        reads.join().unwrap();
        assert_eq!((&client).write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn bytes_and_the_end_that_come_together_are_both_seen() {
    everywhere(|| {
        for _ in 0..100 / crate::SCALE {
            let (client, server) = connection();
            let reads = green::spawn(move || {
                let mut buf = [0; 64];
                let first = (&server).read(&mut buf).unwrap();
                let rest = (&server).read(&mut buf[first..]).unwrap();
                (first, rest)
            });
            green::yield_now();
            (&client).write_all(b"bye").unwrap();
            drop(client);
            assert_eq!(reads.join().unwrap(), (3, 0));
        }
    });
}

#[test]
fn a_shutdown_wakes_a_reader_that_waits() {
    everywhere(|| {
        let (client, _server) = connection();
        let other = client.try_clone().unwrap();
        let reads = green::spawn(move || (&other).read(&mut [0; 8]).unwrap());
        green::yield_now();
        client.shutdown(Shutdown::Both).unwrap();
        assert_eq!(reads.join().unwrap(), 0);
    });
}

#[test]
fn a_read_time_out_is_would_block_as_in_std_and_loses_nothing() {
    everywhere(|| {
        let (client, server) = connection();
        client.set_read_timeout(Some(Duration::from_millis(8))).unwrap();
        assert_eq!(client.read_timeout().unwrap(), Some(Duration::from_millis(8)));
        let begin = Instant::now();
        let error = (&client).read(&mut [0; 8]).unwrap_err();
        assert!(begin.elapsed() >= Duration::from_millis(8));
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert_eq!(client.peek(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        (&server).write_all(b"late").unwrap();
        client.set_read_timeout(None).unwrap();
        let mut buf = [0; 8];
        assert_eq!((&client).read(&mut buf).unwrap(), 4);
        assert_eq!(&buf[..4], b"late");
    });
}

#[test]
fn a_write_time_out_ends_a_write_into_full_buffers() {
    everywhere(|| {
        let (client, server) = connection();
        client.set_write_timeout(Some(Duration::from_millis(8))).unwrap();
        let block = pattern(1 << 16);
        let mut sent = 0;
        let error = loop {
            match (&client).write(&block[sent % block.len()..]) {
                Ok(n) => sent += n,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        client.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        (&server).read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), sent);
        assert!(got.chunks(block.len()).all(|chunk| chunk == &block[..chunk.len()]));
    });
}

#[test]
fn zero_time_outs_are_invalid_input() {
    everywhere(|| {
        let (client, _server) = connection();
        let zero = Some(Duration::ZERO);
        assert_eq!(client.set_read_timeout(zero).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(client.set_write_timeout(zero).unwrap_err().kind(), ErrorKind::InvalidInput);
        let addr = client.peer_addr().unwrap();
        assert_eq!(TcpStream::connect_timeout(&addr, Duration::ZERO).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_connect_time_out_is_timed_out() {
    everywhere(|| {
        // A listener whose queue is full drops what comes: the connection is never made.
        let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        full.listen(0).unwrap();
        let addr = full.local_addr().unwrap().as_socket().unwrap();
        let mut kept = Vec::new();
        let error = loop {
            match TcpStream::connect_timeout(&addr, Duration::from_millis(20)) {
                Ok(stream) => kept.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(kept.len() < 10);
    });
}

#[test]
fn errors_of_connect_and_bind_are_those_of_std() {
    everywhere(|| {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(TcpStream::connect(free).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(TcpStream::connect("127.0.0.1").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(TcpStream::connect(&[][..]).unwrap_err().kind(), ErrorKind::InvalidInput);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = TcpListener::bind(listener.local_addr().unwrap()).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        assert_eq!(TcpListener::bind("192.0.2.1:1").unwrap_err().kind(), ErrorKind::AddrNotAvailable);
        // The second address answers.
        let addrs = [free, listener.local_addr().unwrap()];
        assert_eq!(TcpStream::connect(&addrs[..]).unwrap().peer_addr().unwrap(), addrs[1]);
    });
}

#[test]
fn names_are_looked_up_and_the_worker_goes_on_meanwhile() {
    everywhere(|| {
        let listener = TcpListener::bind("localhost:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = TcpStream::connect(("localhost", port)).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
        assert!("localhost:80".to_owned().to_socket_addrs().unwrap().all(|addr| addr.ip().is_loopback()));
        assert!(("no.such.name.invalid", 1).to_socket_addrs().is_err());
    });
}

#[test]
fn non_blocking_is_would_block_at_once_and_holds_for_clones() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        let (client, server) = connection();
        let clone = client.try_clone().unwrap();
        client.set_nonblocking(true).unwrap();
        assert_eq!((&clone).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        (&server).write_all(b"x").unwrap();
        while (&client).read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
            green::yield_now();
        }
        clone.set_nonblocking(false).unwrap();
        let writes = green::spawn(move || (&server).write_all(b"y").unwrap());
        assert_eq!((&client).read(&mut [0]).unwrap(), 1);
        writes.join().unwrap();
    });
}

#[test]
fn settings_are_stored_and_read_back() {
    everywhere(|| {
        let (client, server) = connection();
        assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
        client.set_nodelay(true).unwrap();
        assert!(client.nodelay().unwrap());
        client.set_ttl(42).unwrap();
        assert_eq!(client.ttl().unwrap(), 42);
        assert!(client.take_error().unwrap().is_none());
        assert_eq!(client.write_timeout().unwrap(), None);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_ttl(43).unwrap();
        assert_eq!(listener.ttl().unwrap(), 43);
        assert!(listener.take_error().unwrap().is_none());
        assert!(format!("{listener:?} {client:?}").contains("TcpStream"));
    });
}

#[test]
fn peek_leaves_the_bytes_and_vectored_calls_use_all_buffers() {
    everywhere(|| {
        let (client, server) = connection();
        let writes = green::spawn(move || {
            let parts = [IoSlice::new(b"ab"), IoSlice::new(b"cdef")];
            assert_eq!((&server).write_vectored(&parts).unwrap(), 6);
        });
        let mut buf = [0; 6];
        while client.peek(&mut buf).unwrap() < 6 {
            green::yield_now();
        }
        assert_eq!(&buf, b"abcdef");
        let (mut a, mut b) = ([0; 4], [0; 9]);
        let mut parts = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
        assert_eq!((&client).read_vectored(&mut parts).unwrap(), 6);
        assert_eq!((&a, &b[..2]), (b"abcd", &b"ef"[..]));
        writes.join().unwrap();
    });
}

#[test]
fn streams_come_from_std_and_go_back_with_their_state() {
    everywhere(|| {
        let (client, server) = connection();
        let wait = Some(Duration::from_millis(8));
        client.set_read_timeout(wait).unwrap();
        assert_eq!((&client).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let plain = std::net::TcpStream::from(client);
        assert_eq!(plain.read_timeout().unwrap(), wait);
        assert_eq!((&plain).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        plain.set_read_timeout(None).unwrap();
        (&server).write_all(b"1").unwrap();
        assert_eq!((&plain).read(&mut [0]).unwrap(), 1, "it blocks again");

        plain.set_nonblocking(true).unwrap();
        let ours = TcpStream::from(plain);
        assert_eq!((&ours).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "it stays non-blocking");
        ours.set_nonblocking(false).unwrap();
        let fd: OwnedFd = ours.into();
        let ours = TcpStream::from(fd);
        assert_eq!(ours.as_fd().as_raw_fd(), ours.as_raw_fd());
        let raw = ours.into_raw_fd();
        // SAFETY: it was just given away.
        let ours = unsafe { TcpStream::from_raw_fd(raw) };
        let writes = green::spawn(move || (&server).write_all(b"2").unwrap());
        assert_eq!((&ours).read(&mut [0]).unwrap(), 1);
        writes.join().unwrap();

        let listener = TcpListener::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let addr = listener.local_addr().unwrap();
        let connects = green::spawn(move || TcpStream::connect(addr).unwrap());
        listener.accept().unwrap();
        connects.join().unwrap();
        assert_eq!(std::net::TcpListener::from(listener).local_addr().unwrap(), addr);
    });
}

#[test]
fn a_socket_of_the_wrong_kind_gives_the_systems_error() {
    everywhere(|| {
        let file = std::fs::File::open("Cargo.toml").unwrap();
        let stream = TcpStream::from(OwnedFd::from(file));
        assert!((&stream).read(&mut [0]).is_err());
        assert!(stream.peer_addr().is_err());
    });
}

#[test]
fn several_threads_accept_from_one_listener_and_each_connection_comes_once() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let count = 40;
        green::scope(|s| {
            let acceptors: Vec<_> = (0..4)
                .map(|_| s.spawn(|| (0..count / 4).map(|_| listener.accept().unwrap().1.port()).collect()))
                .collect();
            let clients: Vec<_> = (0..count).map(|_| TcpStream::connect(addr).unwrap()).collect();
            let mut taken: Vec<u16> = acceptors.into_iter().flat_map(|a| -> Vec<u16> { a.join().unwrap() }).collect();
            let mut made: Vec<u16> = clients.iter().map(|client| client.local_addr().unwrap().port()).collect();
            taken.sort_unstable();
            made.sort_unstable();
            assert_eq!(taken, made);
        });
    });
}
