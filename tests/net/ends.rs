//! A system call that says "not now" on a socket that has an end or a message to tell of: the thread waits, or gets what
//! std gives. Nothing spins.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(all(target_os = "linux", not(green_emulated)))]
use green::net::TcpStream;
use green::net::UdpSocket;
use green::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use socket2::SockRef;

use crate::unix::Place;
use crate::{LONG, everywhere};
#[cfg(all(target_os = "linux", not(green_emulated)))]
use crate::{connection, pattern};

type Answer = Result<usize, ErrorKind>;

fn answer(result: std::io::Result<usize>) -> Answer {
    result.map_err(|error| error.kind())
}

fn in_time<R>(f: impl FnOnce() -> R) -> R {
    green::timeout(LONG, f).unwrap()
}

/// Every way to receive, after `prepare` has been done to a pair, by std and here.
macro_rules! receives {
    ($pair:expr, $prepare:expr, $time_out:expr) => {{
        let received = |receive: usize| -> (Vec<Answer>, Duration) {
            let (a, b) = $pair;
            $prepare(&a, &b);
            a.set_read_timeout($time_out).unwrap();
            let begin = Instant::now();
            let answers = (0..3).map(|_| in_time(|| answer(receive_by(&a, receive)))).collect();
            (answers, begin.elapsed())
        };
        (0..2).map(received).collect::<Vec<_>>()
    }};
}

#[test]
fn a_unix_datagram_receiver_gets_stds_answer_after_shutdown() {
    for time_out in [None, Some(Duration::from_secs(30))] {
        for how in [Shutdown::Read, Shutdown::Both] {
            for queued in [0, 2] {
                let expected = {
                    use std::os::unix::net::UnixDatagram;
                    fn receive_by(a: &UnixDatagram, by: usize) -> std::io::Result<usize> {
                        if by == 0 { a.recv(&mut [0; 8]) } else { a.recv_from(&mut [0; 8]).map(|(n, _)| n) }
                    }
                    receives!(
                        UnixDatagram::pair().unwrap(),
                        |a: &UnixDatagram, b: &UnixDatagram| {
                            (0..queued).for_each(|_| _ = b.send(b"abc").unwrap());
                            a.shutdown(how).unwrap();
                        },
                        time_out
                    )
                };
                let expected: Vec<Vec<Answer>> = expected.into_iter().map(|(answers, _)| answers).collect();
                everywhere(move || {
                    fn receive_by(a: &UnixDatagram, by: usize) -> std::io::Result<usize> {
                        if by == 0 { a.recv(&mut [0; 8]) } else { a.recv_from(&mut [0; 8]).map(|(n, _)| n) }
                    }
                    let got = receives!(
                        UnixDatagram::pair().unwrap(),
                        |a: &UnixDatagram, b: &UnixDatagram| {
                            (0..queued).for_each(|_| _ = b.send(b"abc").unwrap());
                            a.shutdown(how).unwrap();
                        },
                        time_out
                    );
                    for ((got, took), expected) in got.into_iter().zip(&expected) {
                        assert_eq!(&got, expected, "{how:?}, {queued} queued, {time_out:?}");
                        assert!(took < Duration::from_secs(20), "{took:?}");
                    }
                });
            }
        }
    }
}

#[test]
fn a_unix_datagram_receiver_that_waits_is_woken_by_shutdown() {
    everywhere(|| {
        for from in [false, true] {
            let (a, _b) = UnixDatagram::pair().unwrap();
            let a = Arc::new(a);
            let waits = {
                let a = a.clone();
                let receive = move || {
                    if from { a.recv_from(&mut [0; 8]).map(|(n, _)| n) } else { a.recv(&mut [0; 8]) }
                };
                green::spawn(move || answer(receive()))
            };
            for _ in 0..10 {
                green::yield_now();
            }
            a.shutdown(Shutdown::Read).unwrap();
            assert_eq!(in_time(|| waits.join().unwrap()), Ok(0));
        }
    });
}

/// Writes, to a socket whose peer does not read, until there is an error: `$ends` is done to it while the writer waits.
macro_rules! write_that_waits {
    ($pair:expr, $ends:expr) => {{
        let (a, b) = $pair;
        let (a, b) = (Arc::new(a), Arc::new(b));
        let ends = {
            let (a, b) = (a.clone(), b.clone());
            green::spawn(move || {
                for _ in 0..20 {
                    green::sleep(Duration::from_millis(1));
                }
                $ends(&a, &b);
            })
        };
        let answer = in_time(|| {
            loop {
                if let Err(error) = a.write_some() {
                    break error.kind();
                }
            }
        });
        ends.join().unwrap();
        drop(b);
        answer
    }};
}

trait WriteSome {
    fn write_some(&self) -> std::io::Result<usize>;
}
impl WriteSome for UnixStream {
    fn write_some(&self) -> std::io::Result<usize> {
        (&*self).write(&[7; 2000])
    }
}
impl WriteSome for UnixDatagram {
    fn write_some(&self) -> std::io::Result<usize> {
        self.send(&[7; 2000])
    }
}

#[test]
fn a_unix_writer_that_waits_is_woken_when_the_writing_side_ends() {
    everywhere(|| {
        // No event tells of it, and std returns at once.
        let own = |a: &UnixStream, _: &UnixStream| a.shutdown(Shutdown::Write).unwrap();
        let clones = |a: &UnixStream, _: &UnixStream| a.try_clone().unwrap().shutdown(Shutdown::Write).unwrap();
        let peers = |_: &UnixStream, b: &UnixStream| b.shutdown(Shutdown::Read).unwrap();
        assert_eq!(write_that_waits!(UnixStream::pair().unwrap(), own), ErrorKind::BrokenPipe);
        assert_eq!(write_that_waits!(UnixStream::pair().unwrap(), clones), ErrorKind::BrokenPipe);
        assert_eq!(write_that_waits!(UnixStream::pair().unwrap(), peers), ErrorKind::BrokenPipe);
        let own = |a: &UnixDatagram, _: &UnixDatagram| a.shutdown(Shutdown::Write).unwrap();
        assert_eq!(write_that_waits!(UnixDatagram::pair().unwrap(), own), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_non_blocking_datagram_receiver_gets_stds_answer_after_shutdown() {
    let (a, _b) = std::os::unix::net::UnixDatagram::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    a.shutdown(Shutdown::Read).unwrap();
    let expected = answer(a.recv(&mut [0; 8]));
    everywhere(move || {
        let (a, _b) = UnixDatagram::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        a.shutdown(Shutdown::Read).unwrap();
        assert_eq!(answer(a.recv(&mut [0; 8])), expected);
        a.set_nonblocking(false).unwrap();
        assert_eq!(in_time(|| answer(a.recv(&mut [0; 8]))), Ok(0));
    });
}

fn udp_pair() -> (std::net::UdpSocket, std::net::UdpSocket) {
    let (a, b) = (std::net::UdpSocket::bind("127.0.0.1:0").unwrap(), std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    a.connect(b.local_addr().unwrap()).unwrap();
    b.connect(a.local_addr().unwrap()).unwrap();
    (a, b)
}

/// What receiving gives after a shutdown, and when a datagram comes later. Not those that tell the sender: the system gives no
/// address then, std looks all the same, and what it finds there is chance.
macro_rules! udp_answers {
    ($socket:expr, $how:expr, $queued:expr) => {{
        let (a, b) = udp_pair();
        let a = $socket(a);
        if $queued {
            b.send(b"abc").unwrap();
        }
        let _ = SockRef::from(&a).shutdown($how);
        let first = in_time(|| answer(a.recv(&mut [0; 8])));
        let mut all = vec![first, in_time(|| answer(a.recv(&mut [0; 8]))), in_time(|| answer(a.peek(&mut [0; 8])))];
        let _ = b.send(b"later");
        all.push(in_time(|| answer(a.recv(&mut [0; 8]))));
        all.push(in_time(|| answer(a.recv(&mut [0; 8]))));
        all
    }};
}

#[test]
fn a_udp_receiver_gets_stds_answers_after_shutdown() {
    for how in [Shutdown::Read, Shutdown::Both] {
        for queued in [false, true] {
            let expected = udp_answers!(|a| a, how, queued);
            everywhere(move || {
                let got = udp_answers!(UdpSocket::from, how, queued);
                assert_eq!(got, expected, "{how:?}, queued: {queued}");
            });
        }
    }
}

#[test]
fn a_udp_receiver_that_waits_is_woken_by_shutdown() {
    everywhere(|| {
        let (a, _b) = udp_pair();
        let a = Arc::new(UdpSocket::from(a));
        let waits = {
            let a = a.clone();
            green::spawn(move || answer(a.recv(&mut [0; 8])))
        };
        for _ in 0..10 {
            green::yield_now();
        }
        SockRef::from(&*a).shutdown(Shutdown::Both).unwrap();
        assert_eq!(in_time(|| waits.join().unwrap()), Ok(0));
    });
}

#[test]
fn accept_on_a_unix_listener_that_was_shut_down_gives_stds_error() {
    let place = Place::new();
    let listener = std::os::unix::net::UnixListener::bind(&place.0).unwrap();
    SockRef::from(&listener).shutdown(Shutdown::Read).unwrap();
    let expected = listener.accept().map(|_| ()).unwrap_err().raw_os_error();
    everywhere(move || {
        let place = Place::new();
        let listener = UnixListener::bind(&place.0).unwrap();
        let accepts = {
            let listener = listener.try_clone().unwrap();
            green::spawn(move || listener.accept().map(|_| ()).unwrap_err().raw_os_error())
        };
        for _ in 0..10 {
            green::yield_now();
        }
        SockRef::from(&listener).shutdown(Shutdown::Read).unwrap();
        let accept = || listener.accept().map(|_| ()).unwrap_err().raw_os_error();
        assert_eq!(in_time(accept), expected);
        assert_eq!(in_time(|| accepts.join().unwrap()), expected);
    });
}

/// Every acknowledged byte now leaves a message in the socket's error queue, which nobody empties. (An emulator may not know
/// the option.)
#[cfg(all(target_os = "linux", not(green_emulated)))]
fn take_time_stamps(stream: &TcpStream) {
    use std::os::fd::AsRawFd;
    let flags: u32 = libc::SOF_TIMESTAMPING_TX_SOFTWARE
        | libc::SOF_TIMESTAMPING_TX_ACK
        | libc::SOF_TIMESTAMPING_SOFTWARE
        | libc::SOF_TIMESTAMPING_OPT_TSONLY;
    let len = size_of::<u32>() as libc::socklen_t;
    let fd = stream.as_raw_fd();
    // SAFETY: the option takes a number of this size.
    let result =
        unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, (&raw const flags).cast(), len) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[cfg(all(target_os = "linux", not(green_emulated)))]
#[test]
fn a_writer_whose_error_queue_is_not_empty_waits_for_its_reader() {
    everywhere(|| {
        let (client, server) = connection();
        take_time_stamps(&client);
        let len = (4 << 20) / crate::SCALE;
        let reads = green::spawn(move || {
            let (mut got, mut buf) = (Vec::new(), [0; 5000]);
            while let n @ 1.. = (&server).read(&mut buf).unwrap() {
                got.extend_from_slice(&buf[..n]);
            }
            got
        });
        in_time(|| (&client).write_all(&pattern(len)).unwrap());
        drop(client);
        assert!(in_time(|| reads.join().unwrap()) == pattern(len));
    });
}

#[cfg(all(target_os = "linux", not(green_emulated)))]
#[test]
fn time_outs_hold_and_nothing_spins_while_the_error_queue_is_not_empty() {
    everywhere(|| {
        const SHORT: Duration = Duration::from_millis(100);
        let (client, server) = connection();
        take_time_stamps(&client);
        SockRef::from(&client).set_send_buffer_size(16384).unwrap();
        SockRef::from(&server).set_recv_buffer_size(16384).unwrap();
        client.set_write_timeout(Some(SHORT)).unwrap();
        client.set_read_timeout(Some(SHORT)).unwrap();
        // Nobody reads: sooner or later the buffers are full.
        while (&client).write(&[0; 65536]).is_ok() {}
        let computed = crate::help::cpu_of_this_thread();
        for round in 0..4 {
            let begin = Instant::now();
            let result = if round % 2 == 0 { (&client).write(&[0; 65536]) } else { (&client).read(&mut [0; 8]) };
            assert_eq!(answer(result), Err(ErrorKind::WouldBlock));
            assert!(begin.elapsed() >= SHORT, "{:?}", begin.elapsed());
            let limited = green::timeout(SHORT, || {
                client.set_write_timeout(None).unwrap();
                (&client).write(&[0; 65536])
            });
            assert!(limited.is_err());
            client.set_write_timeout(Some(SHORT)).unwrap();
        }
        let computed = crate::help::cpu_of_this_thread() - computed;
        assert!(computed < Duration::from_millis(300), "a busy loop: {computed:?}");
        drop(server);
    });
}

#[test]
fn a_pipe_with_a_new_writer_is_waited_for_after_its_end() {
    everywhere(|| {
        let place = Place::new();
        let path = &place.0;
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a string that ends with a NUL.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let open = || std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        // Opened for both it does not wait for the other side.
        let keeps_open = open();
        let reader = std::fs::File::open(path).unwrap();
        drop(keeps_open);
        green::io::wait_readable(&reader).unwrap();
        assert_eq!((&reader).read(&mut [0; 8]).unwrap(), 0);
        let writer = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        let waits = green::spawn(move || {
            green::io::wait_readable(&reader).unwrap();
            (&reader).read(&mut [0; 8]).unwrap()
        });
        for _ in 0..10 {
            green::yield_now();
        }
        (&writer).write_all(b"abc").unwrap();
        assert_eq!(in_time(|| waits.join().unwrap()), 3);
    });
}

/// What is behind a `UnixStream` may be a socket of another type, which deals in messages.
#[cfg(target_os = "linux")]
#[test]
fn a_sequence_of_packets_ends_with_a_shutdown_too() {
    use std::os::fd::{FromRawFd, OwnedFd};
    let pair = || -> [OwnedFd; 2] {
        let mut fds = [0; 2];
        // SAFETY: room for two descriptors, which are nobody else's.
        unsafe {
            assert_eq!(libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0, fds.as_mut_ptr()), 0);
            fds.map(|fd| OwnedFd::from_raw_fd(fd))
        }
    };
    everywhere(move || {
        let [a, b] = pair().map(green::os::unix::net::UnixStream::from);
        let a = Arc::new(a);
        let waits = {
            let a = a.clone();
            green::spawn(move || [(); 2].map(|()| answer((&*a).read(&mut [0; 8]))))
        };
        for _ in 0..10 {
            green::yield_now();
        }
        (&b).write_all(b"abc").unwrap();
        a.shutdown(Shutdown::Read).unwrap();
        assert_eq!(in_time(|| waits.join().unwrap()), [Ok(3), Ok(0)]);
        assert_eq!(in_time(|| answer((&*a).read(&mut [0; 8]))), Ok(0));
    });
}
