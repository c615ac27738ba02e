//! std's own sockets and pipes, and libc's calls on them: they park green threads, and keep their time-outs and flags.
#![cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod help;

use std::ffi::c_int;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use help::{many, on_one_worker, on_shared_thread_locals, on_two_workers, until};

green_std::interpose!();

/// Reads lines of eight bytes and sends them back.
fn echo(mut stream: TcpStream) {
    let mut line = [0; 8];
    while stream.read_exact(&mut line).is_ok() {
        stream.write_all(&line).unwrap();
    }
}

fn clients_and_a_server() {
    const CLIENTS: usize = 100;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    green::scope(|scope| {
        scope.spawn(move || {
            green::scope(|scope| {
                for _ in 0..CLIENTS {
                    let (stream, _) = listener.accept().unwrap();
                    scope.spawn(move || echo(stream));
                }
            });
        });
        for number in 0..CLIENTS as u64 {
            scope.spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                for turn in 0..20 {
                    let sent = (number * 1000 + turn).to_le_bytes();
                    stream.write_all(&sent).unwrap();
                    let mut got = [0; 8];
                    stream.read_exact(&mut got).unwrap();
                    assert_eq!(got, sent);
                }
            });
        }
    });
}

#[test]
fn clients_and_a_server_talk_on_one_worker() {
    on_one_worker(clients_and_a_server);
}

#[test]
fn clients_and_a_server_talk_while_threads_move() {
    on_two_workers(clients_and_a_server);
}

#[test]
fn clients_and_a_server_talk_on_shared_thread_locals() {
    on_shared_thread_locals(clients_and_a_server);
}

#[test]
fn a_read_time_out_ends_a_read_and_lets_others_run() {
    on_one_worker(|| {
        many(50, |_| {
            let (mut one, _other) = UnixStream::pair().unwrap();
            one.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let begun = Instant::now();
            assert_eq!(one.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
            let took = begun.elapsed();
            assert!(took >= Duration::from_millis(100) && took < Duration::from_secs(4), "{took:?}");
        });
    });
}

#[test]
fn a_write_time_out_ends_a_write() {
    on_one_worker(|| {
        let (mut one, _other) = UnixStream::pair().unwrap();
        one.set_write_timeout(Some(Duration::from_millis(30))).unwrap();
        let mut whole = 0;
        let error = loop {
            match one.write(&[0; 100_000]) {
                Ok(n) => whole += n,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(whole > 0);
    });
}

#[test]
fn a_call_that_sends_comes_back_when_all_is_sent() {
    const LEN: usize = 3_000_000;
    on_one_worker(|| {
        let (one, mut other) = UnixStream::pair().unwrap();
        let sends = green::spawn(move || {
            let bytes: Vec<u8> = (0..LEN).map(|at| at as u8).collect();
            let halves = bytes.split_at(LEN / 3);
            let parts = [io::IoSlice::new(halves.0), io::IoSlice::new(halves.1)];
            assert_eq!((&one).write_vectored(&parts).unwrap(), LEN);
            // SAFETY: a buffer of that length.
            let sent = unsafe { libc::send(one.as_raw_fd(), bytes.as_ptr().cast(), LEN, 0) };
            assert_eq!(sent, LEN as isize);
        });
        let mut got = vec![1; LEN];
        // SAFETY: a buffer of that length.
        let n = unsafe { libc::recv(other.as_raw_fd(), got.as_mut_ptr().cast(), LEN, libc::MSG_WAITALL) };
        assert_eq!(n, LEN as isize);
        assert!(got.iter().enumerate().all(|(at, byte)| *byte == at as u8));
        other.read_exact(&mut got).unwrap();
        assert!(got.iter().enumerate().all(|(at, byte)| *byte == at as u8));
        sends.join().unwrap();
    });
}

#[test]
fn a_descriptor_that_does_not_block_says_so_at_once() {
    on_one_worker(|| {
        let before = green_std::counters().descriptors;
        let (mut one, _other) = UnixStream::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        assert_eq!(one.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        let (one, _other) = UnixStream::pair().unwrap();
        // SAFETY: a buffer of one byte.
        let n = unsafe { libc::recv(one.as_raw_fd(), [0_u8].as_mut_ptr().cast(), 1, libc::MSG_DONTWAIT) };
        assert_eq!((n, io::Error::last_os_error().kind()), (-1, ErrorKind::WouldBlock));
        assert!(green_std::counters().descriptors >= before);
    });
}

#[test]
fn datagrams_are_received() {
    on_one_worker(|| {
        let (one, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let to = one.local_addr().unwrap();
        let receives = green::spawn(move || {
            let mut buf = [0; 16];
            let (len, from) = one.recv_from(&mut buf).unwrap();
            (buf[..len].to_vec(), from)
        });
        green::yield_now();
        other.send_to(b"hello", to).unwrap();
        assert_eq!(receives.join().unwrap(), (b"hello".to_vec(), other.local_addr().unwrap()));
        let (one, other) = UnixDatagram::pair().unwrap();
        let receives = green::spawn(move || one.recv(&mut [0; 16]).unwrap());
        green::yield_now();
        other.send(b"hello").unwrap();
        assert_eq!(receives.join().unwrap(), 5);
    });
}

#[test]
fn a_shutdown_ends_a_read() {
    on_one_worker(|| {
        let (one, _other) = UnixStream::pair().unwrap();
        let reads = one.try_clone().unwrap();
        let reads = green::spawn(move || (&reads).read(&mut [0]).unwrap());
        green::yield_now();
        one.shutdown(std::net::Shutdown::Read).unwrap();
        assert_eq!(reads.join().unwrap(), 0);
    });
}

#[test]
fn a_peer_that_stops_reading_ends_a_write() {
    on_one_worker(|| {
        let (mut one, other) = UnixStream::pair().unwrap();
        let writes = green::spawn(move || one.write_all(&vec![0; 4_000_000]).unwrap_err().kind());
        green::yield_now();
        other.shutdown(std::net::Shutdown::Read).unwrap();
        assert_eq!(writes.join().unwrap(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn connecting_fails_as_it_does() {
    on_one_worker(|| {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(TcpStream::connect(free).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect_timeout(&listener.local_addr().unwrap(), Duration::from_secs(20)).unwrap();
        // The flag is as it was.
        // SAFETY: reads flags.
        let flags = unsafe { libc::fcntl(stream.as_raw_fd(), libc::F_GETFL) };
        assert_eq!(flags & libc::O_NONBLOCK, 0);
    });
}

#[test]
fn several_threads_accept_at_one_listener() {
    for on in [on_one_worker, on_two_workers] {
        on(|| {
            const CLIENTS: usize = 60;
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let accepted = AtomicUsize::new(0);
            let (accepted, listener) = (&accepted, &listener);
            green::scope(|scope| {
                for _ in 0..6 {
                    scope.spawn(move || {
                        while accepted.load(Ordering::Relaxed) < CLIENTS {
                            let (mut stream, _) = listener.accept().unwrap();
                            let _ = stream.write_all(b"x");
                            if accepted.fetch_add(1, Ordering::Relaxed) + 1 == CLIENTS {
                                // The others wait; each gets a connection and ends.
                                (0..5).for_each(|_| drop(TcpStream::connect(address).unwrap()));
                            }
                        }
                    });
                }
                for _ in 0..CLIENTS {
                    scope.spawn(move || TcpStream::connect(address).unwrap().read_exact(&mut [0]).unwrap());
                }
            });
        });
    }
}

fn pollfd(fd: &impl AsRawFd, events: i16) -> libc::pollfd {
    libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }
}

fn poll(fds: &mut [libc::pollfd], millis: c_int) -> c_int {
    // SAFETY: as many descriptors as are said.
    unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, millis) }
}

#[test]
fn poll_and_select_and_epoll_wait_park() {
    for on in [on_one_worker, on_shared_thread_locals] {
        on(|| {
            let (one, first) = UnixStream::pair().unwrap();
            let (two, second) = UnixStream::pair().unwrap();
            let begun = Instant::now();
            let mut fds = [pollfd(&one, libc::POLLIN), pollfd(&two, libc::POLLIN), pollfd(&one, libc::POLLPRI)];
            assert_eq!(poll(&mut fds, 20), 0);
            assert_eq!(poll(&mut [], 20), 0);
            assert!(begun.elapsed() >= Duration::from_millis(40));
            let writes = green::spawn(move || (&second).write_all(b"x").map(|()| second).unwrap());
            assert_eq!(poll(&mut fds, -1), 1);
            assert_eq!([fds[0].revents, fds[1].revents], [0, libc::POLLIN]);
            let _second = writes.join().unwrap();

            // SAFETY: sets and events of this function's.
            unsafe {
                let mut set: libc::fd_set = std::mem::zeroed();
                libc::FD_SET(one.as_raw_fd(), &mut set);
                let null = std::ptr::null_mut::<libc::fd_set>;
                let mut time = libc::timeval { tv_sec: 0, tv_usec: 20_000 };
                assert_eq!(libc::select(one.as_raw_fd() + 1, &mut set, null(), null(), &mut time), 0);
                assert!(!libc::FD_ISSET(one.as_raw_fd(), &set) && time.tv_usec == 0);
                libc::FD_SET(one.as_raw_fd(), &mut set);
                let writes = green::spawn(move || (&first).write_all(b"x").map(|()| first).unwrap());
                assert_eq!(libc::select(one.as_raw_fd() + 1, &mut set, null(), null(), null().cast()), 1);
                assert!(libc::FD_ISSET(one.as_raw_fd(), &set));
                let first = writes.join().unwrap();
                (&one).read_exact(&mut [0]).unwrap();

                let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
                let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 7 };
                assert_eq!(libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, one.as_raw_fd(), &mut event), 0);
                assert_eq!(libc::epoll_wait(epoll, &mut event, 1, 20), 0);
                let writes = green::spawn(move || (&first).write_all(b"x").map(|()| first).unwrap());
                assert_eq!((libc::epoll_wait(epoll, &mut event, 1, -1), event.u64), (1, 7));
                writes.join().unwrap();
                libc::close(epoll);
            }
        });
    }
}

#[test]
fn pipes_park_on_both_sides() {
    on_one_worker(|| {
        const LEN: usize = 1_000_000;
        let (mut reader, mut writer) = io::pipe().unwrap();
        let writes = green::spawn(move || {
            let bytes = vec![7; LEN];
            // SAFETY: a buffer of that length.
            let n = unsafe { libc::write(writer.as_raw_fd(), bytes.as_ptr().cast(), LEN) };
            assert_eq!(n, LEN as isize);
            writer.write_all(b"end").unwrap();
        });
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), LEN + 3);
        writes.join().unwrap();
    });
}

#[test]
fn several_readers_of_one_pipe_do_not_block_each_other() {
    on_one_worker(|| {
        let (reader, mut writer) = io::pipe().unwrap();
        let got = AtomicUsize::new(0);
        let (reader, got) = (&reader, &got);
        green::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(move || {
                    let mut byte = [0];
                    while (&*reader).read(&mut byte).unwrap() == 1 {
                        got.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for sent in 1..=50 {
                writer.write_all(b"x").unwrap();
                until(|| got.load(Ordering::Relaxed) == sent);
            }
            drop(writer);
        });
    });
}

#[test]
fn a_file_is_read_and_written_as_ever() {
    on_one_worker(|| {
        let mut text = String::new();
        File::open("Cargo.toml").unwrap().read_to_string(&mut text).unwrap();
        assert!(text.contains("green-std"));
        File::options().write(true).open("/dev/null").unwrap().write_all(text.as_bytes()).unwrap();
    });
}

#[test]
fn a_child_is_waited_for_while_others_run() {
    on_one_worker(|| {
        let before = green_std::counters().handed_over;
        let (alive, lives) = io::pipe().unwrap();
        green::scope(|scope| {
            scope.spawn(move || {
                // It ends when its neighbour has written to it.
                let status = Command::new("cat").stdin(alive).stdout(Stdio::null()).status();
                assert!(status.unwrap().success());
            });
            scope.spawn(move || {
                until(|| green_std::counters().handed_over > before);
                drop(lives);
            });
        });
    });
}

#[test]
fn a_name_is_looked_up_by_the_pool() {
    on_one_worker(|| {
        let before = green_std::counters().handed_over;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        TcpStream::connect(("localhost", listener.local_addr().unwrap().port())).unwrap();
        assert!(green_std::counters().handed_over > before);
    });
}
