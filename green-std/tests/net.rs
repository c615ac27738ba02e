//! std's own sockets and pipes, and libc's calls on them: they park green threads, and keep their time-outs and flags.
#![cfg(green_std)]

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

use help::{alone_on_one_worker, beside_others, many, on_one_worker, on_shared_thread_locals, on_two_workers, until};

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
        let time_out = Duration::from_millis(200);
        many(100, |_| {
            let (mut one, _other) = UnixStream::pair().unwrap();
            one.set_read_timeout(Some(time_out)).unwrap();
            let begun = Instant::now();
            assert_eq!(one.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
            let took = begun.elapsed();
            // One after the other they take twenty seconds.
            assert!(took >= time_out && took < Duration::from_secs(10), "{took:?}");
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
    alone_on_one_worker(|| {
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
        assert_eq!(green_std::counters().descriptors, before);
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

/// By a descriptor, which takes no OS thread.
fn waits_for_a_child() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    // It ends when this is closed.
    let input = child.stdin.take();
    let waits = green::spawn(move || assert!(child.wait().unwrap().success()));
    until(|| waits.thread().waits_for() == Some("readable"));
    drop(input);
    waits.join().unwrap();
}

#[test]
fn a_child_is_waited_for_while_others_run() {
    on_one_worker(waits_for_a_child);
}

#[test]
fn a_name_is_looked_up_by_the_pool() {
    alone_on_one_worker(|| {
        let before = green_std::counters().handed_over;
        assert!(std::net::ToSocketAddrs::to_socket_addrs("localhost:80").unwrap().count() > 0);
        assert_eq!(green_std::counters().handed_over, before + 1);
    });
}

/// A descriptor of another file under the number of `old`, which is closed by a way that nobody sees.
fn replace(old: UnixStream, new: impl Into<std::os::fd::OwnedFd>) -> std::os::fd::RawFd {
    use std::os::fd::IntoRawFd;
    let (old, new) = (old.into_raw_fd(), new.into());
    // SAFETY: the number was this function's, as is the new descriptor.
    let result = unsafe { libc::syscall(libc::SYS_dup3, new.as_raw_fd(), old, libc::O_CLOEXEC) };
    assert_eq!(result, old.into());
    old
}

#[test]
fn a_number_that_is_used_again_is_waited_for_anew() {
    use std::os::fd::FromRawFd;
    on_one_worker(|| {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        // The open file stays, and so what was registered for it.
        let kept = one.try_clone().unwrap();
        for turn in 0..20 {
            let reads = green::spawn(move || {
                let mut got = [0];
                one.read_exact(&mut got).unwrap();
                (one, got)
            });
            until(|| reads.thread().waits_for() == Some("readable"));
            other.write_all(&[turn]).unwrap();
            let (before, got) = reads.join().unwrap();
            assert_eq!(got, [turn]);
            let (next, peer) = UnixStream::pair().unwrap();
            let number = replace(before, next);
            // SAFETY: it is nobody else's.
            one = unsafe { UnixStream::from_raw_fd(number) };
            other = peer;
        }
        drop(kept);
    });
}

#[test]
fn who_polls_one_of_greens_own_sockets_does_not_take_its_events() {
    on_one_worker(|| {
        // The number has been waited for, and is known here.
        let (one, mut other) = UnixStream::pair().unwrap();
        let reads = green::spawn(move || {
            (&one).read_exact(&mut [0]).unwrap();
            one
        });
        until(|| reads.thread().waits_for() == Some("readable"));
        other.write_all(b"1").unwrap();
        let one = reads.join().unwrap();
        let (next, mut peer) = UnixStream::pair().unwrap();
        let number = replace(one, next);
        // SAFETY: it is nobody else's.
        let next = unsafe { <UnixStream as std::os::fd::FromRawFd>::from_raw_fd(number) };
        let own = green::os::unix::net::UnixStream::from(next);
        green::scope(|scope| {
            let own = &own;
            let reads = scope.spawn(move || {
                let mut got = [0; 2];
                let mut own = own;
                own.read_exact(&mut got).unwrap();
                got
            });
            until(|| reads.thread().waits_for() == Some("readable"));
            for _ in 0..2 {
                let polls = scope.spawn(move || poll(&mut [pollfd(own, libc::POLLIN)], 100_000));
                until(|| polls.thread().waits_for() == Some("readable"));
                peer.write_all(b"2").unwrap();
                assert_eq!(polls.join().unwrap(), 1);
            }
            assert_eq!(&reads.join().unwrap(), b"22");
        });
    });
}

#[test]
fn both_directions_of_a_socket_are_waited_for_at_once() {
    const LEN: usize = 3_000_000;
    for on in [on_one_worker, on_two_workers] {
        on(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (other, _) = listener.accept().unwrap();
            green::scope(|scope| {
                for stream in [&one, &other] {
                    scope.spawn(move || {
                        let (mut left, mut part, mut stream) = (LEN, [0; 10_000], stream);
                        while left > 0 {
                            left -= stream.read(&mut part).unwrap();
                        }
                    });
                    scope.spawn(move || {
                        let mut stream = stream;
                        stream.write_all(&vec![1; LEN]).unwrap();
                    });
                }
            });
        });
    }
}

#[test]
fn threads_that_accept_by_duplicates_of_a_listener_do_not_block_each_other() {
    const TURNS: usize = 300;
    on_two_workers(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = AtomicUsize::new(0);
        green::scope(|scope| {
            let accepted = &accepted;
            for _ in 0..4 {
                let own = listener.try_clone().unwrap();
                scope.spawn(move || {
                    while accepted.load(Ordering::Relaxed) < TURNS {
                        drop(own.accept().unwrap());
                        accepted.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for turn in 1..=TURNS {
                drop(TcpStream::connect(address).unwrap());
                // One that has been let in wrongly blocks a worker until the next comes, and with it this thread or the one that counts.
                until(|| accepted.load(Ordering::Relaxed) >= turn);
            }
            (0..4).for_each(|_| drop(TcpStream::connect(address)));
        });
    });
}

#[test]
fn std_copies_from_files_and_pipes_to_sockets() {
    const LEN: usize = 3_000_000;
    on_one_worker(|| {
        let bytes: Vec<u8> = (0..LEN).map(|at| (at % 251) as u8).collect();
        let path = std::env::temp_dir().join(format!("green-std-copy-{}", std::process::id()));
        std::fs::write(&path, &bytes).unwrap();
        let mut file = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (mut from_file, mut to) = UnixStream::pair().unwrap();
        // `sendfile`.
        let copies = green::spawn(move || io::copy(&mut file, &mut to).unwrap());
        let mut got = Vec::new();
        from_file.read_to_end(&mut got).unwrap();
        assert!(copies.join().unwrap() == LEN as u64 && got == bytes);

        // `splice`, from a pipe to a socket and from one to the next.
        let ((mut end, mut begin), (mut socket, mut to_socket)) = (io::pipe().unwrap(), UnixStream::pair().unwrap());
        let (mut last, mut to_last) = io::pipe().unwrap();
        let (mut middle, mut to_middle) = io::pipe().unwrap();
        let copies = [
            green::spawn(move || io::copy(&mut end, &mut to_socket).unwrap()),
            green::spawn(move || io::copy(&mut socket, &mut to_middle).unwrap()),
            green::spawn(move || io::copy(&mut middle, &mut to_last).unwrap()),
        ];
        let sent = bytes.clone();
        let sends = green::spawn(move || begin.write_all(&sent).unwrap());
        let mut got = Vec::new();
        last.read_to_end(&mut got).unwrap();
        sends.join().unwrap();
        assert!(copies.into_iter().all(|copies| copies.join().unwrap() == LEN as u64) && got == bytes);
    });
}

#[test]
fn what_waits_for_another_does_not_wait_for_its_place_in_a_pool() {
    let _others = beside_others();
    let runtime = green::Runtime::builder().workers(1).blocking_threads(1);
    let Ok(runtime) = runtime.thread_locals(green::ThreadLocals::PerThread).build() else { return };
    runtime.run(|| {
        let (go, goes) = std::sync::mpsc::channel::<()>();
        let (taken, is_taken) = std::sync::mpsc::channel();
        // The pool's one thread is taken until the end.
        let takes = green::spawn(move || {
            green::blocking(move || {
                taken.send(()).unwrap();
                goes.recv().unwrap();
            });
        });
        is_taken.recv().unwrap();
        std::net::ToSocketAddrs::to_socket_addrs(&("localhost", 80)).unwrap().next().unwrap();
        let thread = std::thread::spawn(|| 7);
        assert_eq!(thread.join().unwrap(), 7);
        waits_for_a_child();
        let path = std::env::temp_dir().join(format!("green-std-lock-{}", std::process::id()));
        let [one, other] = [(); 2].map(|()| File::create(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        one.lock().unwrap();
        let locks = green::spawn(move || other.lock().unwrap());
        until(|| locks.thread().waits_for() == Some("sleep"));
        one.unlock().unwrap();
        locks.join().unwrap();
        go.send(()).unwrap();
        takes.join().unwrap();
    });
}
