//! Unix domain sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use green::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use crate::{echo, everywhere, pattern};

/// A path of its own, removed at the end.
pub struct Place(pub PathBuf);

impl Place {
    pub fn new() -> Place {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Place(std::env::temp_dir().join(format!("green-net-{}-{number}", std::process::id())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn an_echo_over_a_path_and_over_an_address_gives_back_every_byte() {
    everywhere(|| {
        let place = Place::new();
        let listener = UnixListener::bind(&place.0).unwrap();
        let server = green::spawn(move || {
            let streams = listener.incoming().take(2).map(|stream| green::spawn(|| echo(stream.unwrap()).unwrap()));
            streams.collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).sum::<u64>()
        });
        let addr = SocketAddr::from_pathname(&place.0).unwrap();
        for mut client in [UnixStream::connect(&place.0).unwrap(), UnixStream::connect_addr(&addr).unwrap()] {
            let sent = pattern(100_000);
            let (mut writer, text) = (client.try_clone().unwrap(), sent.clone());
            let writes = green::spawn(move || writer.write_all(&text).unwrap());
            let mut back = vec![0; sent.len()];
            client.read_exact(&mut back).unwrap();
            assert!(sent == back);
            writes.join().unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        }
        assert_eq!(server.join().unwrap(), 200_000);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn abstract_addresses_are_connected_to() {
    use std::os::linux::net::SocketAddrExt;
    everywhere(|| {
        let name = format!("green-{}-{:?}", std::process::id(), std::thread::current().id());
        let addr = SocketAddr::from_abstract_name(name).unwrap();
        let listener = UnixListener::bind_addr(&addr).unwrap();
        let client = UnixStream::connect_addr(&addr).unwrap();
        let (server, _) = listener.accept().unwrap();
        (&server).write_all(b"x").unwrap();
        assert_eq!((&client).read(&mut [0; 4]).unwrap(), 1);
        assert!(client.peer_addr().unwrap().as_abstract_name().is_some());
    });
}

#[test]
fn a_connect_to_a_full_queue_waits_until_there_is_room() {
    everywhere(|| {
        let place = Place::new();
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        socket.bind(&socket2::SockAddr::unix(&place.0).unwrap()).unwrap();
        socket.listen(0).unwrap();
        let listener = UnixListener::from(std::os::fd::OwnedFd::from(socket));
        let _first = UnixStream::connect(&place.0).unwrap();
        let path = place.0.clone();
        let waits = green::spawn(move || UnixStream::connect(path).unwrap());
        listener.accept().unwrap();
        listener.accept().unwrap();
        waits.join().unwrap();
        drop(listener);
        assert_eq!(UnixStream::connect(&place.0).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_stream_that_passes_its_time_out_loses_nothing() {
    everywhere(|| {
        let (a, b) = UnixStream::pair().unwrap();
        a.set_read_timeout(Some(Duration::from_millis(3))).unwrap();
        assert_eq!((&a).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        (&b).write_all(b"late").unwrap();
        let mut buf = [0; 8];
        assert_eq!((&a).read(&mut buf).unwrap(), 4);
        assert!(a.take_error().unwrap().is_none() && a.local_addr().unwrap().is_unnamed());
        drop(b);
        assert_eq!((&a).read(&mut buf).unwrap(), 0);
        assert_eq!((&a).write(&buf).unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn datagrams_arrive_whole_between_paths_and_wait_for_room() {
    everywhere(|| {
        let place = Place::new();
        let (a, b) = (UnixDatagram::unbound().unwrap(), UnixDatagram::bind(&place.0).unwrap());
        let path = place.0.clone();
        // More than any queue holds: the sender has to wait for the receiver.
        let count = 2000 / crate::SCALE;
        let sends = green::spawn(move || {
            for i in 0..count {
                match i % 2 {
                    0 => a.send_to(&i.to_le_bytes(), &path).unwrap(),
                    _ => a.send_to_addr(&i.to_le_bytes(), &SocketAddr::from_pathname(&path).unwrap()).unwrap(),
                };
            }
            a.connect(&path).unwrap();
            for i in count..2 * count {
                a.send(&i.to_le_bytes()).unwrap();
            }
        });
        let mut buf = [0; 8];
        for i in 0..2 * count {
            assert_eq!(b.recv(&mut buf).unwrap(), 8);
            assert_eq!(usize::from_le_bytes(buf), i);
        }
        sends.join().unwrap();
    });
}

#[test]
fn datagram_pairs_time_out_and_tell_where_things_come_from() {
    everywhere(|| {
        let (a, b) = UnixDatagram::pair().unwrap();
        a.set_read_timeout(Some(Duration::from_millis(3))).unwrap();
        assert_eq!(a.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        b.send(b"hello").unwrap();
        let (len, from) = a.recv_from(&mut [0; 8]).unwrap();
        assert!(len == 5 && from.is_unnamed());
        a.shutdown(Shutdown::Both).unwrap();
        assert!(b.send(b"x").is_err());
        let missing = UnixDatagram::unbound().unwrap().send_to(b"x", "/nonexistent/socket").unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    });
}

/// What a call says of a name that the system cannot take.
fn says<T>(result: std::io::Result<T>) -> Result<(), (ErrorKind, String)> {
    result.map(|_| ()).map_err(|error| (error.kind(), error.to_string()))
}

/// All calls that take a path or an address, with the same names.
macro_rules! answers {
    ($($module:ident)::+, $paths:expr, $addrs:expr) => {{
        use $($module)::+::{UnixDatagram, UnixListener, UnixStream};
        let datagram = UnixDatagram::unbound().unwrap();
        let mut answers = Vec::new();
        for path in $paths {
            answers.push(says(UnixStream::connect(path)));
            answers.push(says(UnixListener::bind(path)));
            answers.push(says(UnixDatagram::bind(path)));
            answers.push(says(datagram.connect(path)));
            answers.push(says(datagram.send_to(b"x", path)));
        }
        for addr in $addrs {
            answers.push(says(UnixStream::connect_addr(addr)));
            answers.push(says(datagram.connect_addr(addr)));
            answers.push(says(datagram.send_to_addr(b"x", addr)));
        }
        answers
    }};
}

#[test]
fn a_path_with_a_nul_leads_to_no_other_socket() {
    everywhere(|| {
        let place = Place::new();
        let listener = std::os::unix::net::UnixListener::bind(&place.0).unwrap();
        let path = place.0.to_str().unwrap();
        let name = format!("green-nul-{}", path.replace('/', "-"));
        let long = |len: usize| format!("{path}{}", "x".repeat(len - path.len()));
        let paths = [
            format!("\0{name}"),
            format!("{path}\0.allowed"),
            format!("{path}\0"),
            "\0".to_owned(),
            String::new(),
            long(107),
            long(108),
            long(109),
            long(200),
        ];
        #[cfg(target_os = "linux")]
        let (_abstract_listener, addrs) = {
            use std::os::linux::net::SocketAddrExt;
            let addr = |name: &[u8]| SocketAddr::from_abstract_name(name).unwrap();
            let inner = format!("{name}\0inner");
            let listeners = [name.as_bytes(), inner.as_bytes()]
                .map(|name| std::os::unix::net::UnixListener::bind_addr(&addr(name)).unwrap());
            let addrs = [name.as_bytes(), inner.as_bytes(), b"green-nobody", b"green\0nobody", &[7; 107]].map(addr);
            (listeners, addrs.to_vec())
        };
        #[cfg(not(target_os = "linux"))]
        let addrs = Vec::new();
        let addrs = [addrs, vec![SocketAddr::from_pathname("").unwrap()]].concat();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let clean = || paths.iter().for_each(|path| _ = std::fs::remove_file(path));
        let ours = answers!(green::os::unix::net, &paths, &addrs);
        clean();
        let stds = answers!(std::os::unix::net, &paths, &addrs);
        clean();
        assert_eq!(ours, stds);
        assert!(ours[0].as_ref().is_err_and(|(kind, _)| *kind == ErrorKind::InvalidInput), "{:?}", ours[0]);
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "nobody has come");
    });
}
