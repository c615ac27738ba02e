//! One source, compiled twice: with `std::{net, os::unix::net, fs, process}` and with green's. Every method that std's types
//! have on stable Rust is called here, and answers the same. On a plain OS thread; what waits is tested elsewhere.
#![cfg(target_os = "linux")]
#![allow(missing_docs)]

macro_rules! suite {
    ($name:ident, $root:ident) => {
        mod $name {
            use std::ffi::OsStr;
            use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Seek, Write};
            use std::net::{Ipv4Addr, Ipv6Addr, Shutdown};
            use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
            use std::os::unix::fs::{FileExt, PermissionsExt};
            use std::path::PathBuf;
            use std::sync::atomic::{AtomicUsize, Ordering};
            use std::time::{Duration, SystemTime};

            use $root::fs;
            use $root::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
            use $root::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
            use $root::process::{Command, Stdio};

            const SECOND: Option<Duration> = Some(Duration::from_secs(1));

            fn descriptor<T: AsFd + AsRawFd + IntoRawFd + From<OwnedFd> + Into<OwnedFd> + std::fmt::Debug>(it: T) -> T {
                assert_eq!(it.as_fd().as_raw_fd(), it.as_raw_fd());
                assert!(format!("{it:?}").contains(&format!("fd: {}", it.as_raw_fd())), "{it:?}");
                let owned: OwnedFd = it.into();
                T::from(owned)
            }

            /// A directory that is removed in the end.
            struct Dir(PathBuf);

            impl Dir {
                fn new() -> Dir {
                    static NEXT: AtomicUsize = AtomicUsize::new(0);
                    let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
                    let path = std::env::temp_dir().join(format!("green-io-{}-{process}-{number}", stringify!($name)));
                    fs::create_dir(&path).unwrap();
                    Dir(path)
                }

                fn file(&self, name: &str) -> PathBuf {
                    self.0.join(name)
                }
            }

            impl Drop for Dir {
                fn drop(&mut self) {
                    let _ = fs::remove_dir_all(&self.0);
                }
            }

            #[test]
            fn tcp() {
                let listener = descriptor(TcpListener::bind("127.0.0.1:0").unwrap());
                let addr = listener.local_addr().unwrap();
                listener.set_ttl(9).unwrap();
                assert_eq!(listener.ttl().unwrap(), 9);
                let mut client = descriptor(TcpStream::connect(addr).unwrap());
                let (mut server, from) = listener.accept().unwrap();
                assert_eq!((client.local_addr().unwrap(), client.peer_addr().unwrap()), (from, addr));
                client.set_nodelay(true).unwrap();
                client.set_ttl(7).unwrap();
                assert_eq!((client.nodelay().unwrap(), client.ttl().unwrap()), (true, 7));
                client.set_read_timeout(SECOND).unwrap();
                client.set_write_timeout(SECOND).unwrap();
                assert_eq!((client.read_timeout().unwrap(), client.write_timeout().unwrap()), (SECOND, SECOND));
                let zero = client.set_read_timeout(Some(Duration::ZERO)).unwrap_err();
                assert_eq!(zero.to_string(), "cannot set a 0 duration timeout");
                assert!(client.take_error().unwrap().is_none() && listener.take_error().unwrap().is_none());

                let sent = client.write_vectored(&[IoSlice::new(b"he"), IoSlice::new(b"llo")]).unwrap();
                assert_eq!(sent, 5);
                let (mut one, mut two) = ([0; 2], [0; 3]);
                assert_eq!(server.peek(&mut one).unwrap(), 2);
                (&server).read_exact(&mut one).unwrap();
                assert_eq!(server.read_vectored(&mut [IoSliceMut::new(&mut two)]).unwrap(), 3);
                assert_eq!((&one, &two), (b"he", b"llo"));
                (&server).write_all(b"bye").unwrap();
                server.flush().unwrap();
                server.try_clone().unwrap().shutdown(Shutdown::Write).unwrap();
                let mut text = String::new();
                client.read_to_string(&mut text).unwrap();
                assert_eq!(text, "bye");

                listener.try_clone().unwrap().set_nonblocking(true).unwrap();
                assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
                assert_eq!(listener.incoming().next().unwrap().unwrap_err().kind(), ErrorKind::WouldBlock);
                server.set_nonblocking(true).unwrap();
                assert_eq!(server.read(&mut one).unwrap_err().kind(), ErrorKind::WouldBlock);
                drop(listener);
                // A port that is taken, so that nobody else gets it, and that nobody listens on.
                let (domain, kind) = (socket2::Domain::IPV4, socket2::Type::STREAM);
                let taken = socket2::Socket::new(domain, kind, None).unwrap();
                taken.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
                let closed = taken.local_addr().unwrap().as_socket().unwrap();
                let refused = TcpStream::connect_timeout(&closed, Duration::from_secs(5)).unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
                assert_eq!(
                    TcpStream::connect_timeout(&addr, Duration::ZERO).unwrap_err().kind(),
                    ErrorKind::InvalidInput
                );
                assert_eq!(TcpStream::connect("nowhere").unwrap_err().to_string(), "invalid socket address");
                let none: [std::net::SocketAddr; 0] = [];
                assert_eq!(
                    TcpStream::connect(&none[..]).unwrap_err().to_string(),
                    "could not resolve to any addresses"
                );
                // SAFETY: the descriptor was given up by its owner just now.
                let back = unsafe { TcpStream::from_raw_fd(client.into_raw_fd()) };
                assert_eq!(back.peer_addr().unwrap(), addr);
                assert_eq!(("::1", 80).to_socket_addrs().unwrap().next(), Some((Ipv6Addr::LOCALHOST, 80).into()));
            }

            #[test]
            fn udp() {
                let a = descriptor(UdpSocket::bind("127.0.0.1:0").unwrap());
                let b = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                let (at_a, at_b) = (a.local_addr().unwrap(), b.local_addr().unwrap());
                assert_eq!(a.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
                assert_eq!(a.send_to(b"one", at_b).unwrap(), 3);
                let mut buf = [0; 8];
                assert_eq!(b.peek_from(&mut buf).unwrap(), (3, at_a));
                assert_eq!(b.recv_from(&mut buf).unwrap(), (3, at_a));
                a.connect(at_b).unwrap();
                b.connect(at_a).unwrap();
                assert_eq!(a.peer_addr().unwrap(), at_b);
                assert_eq!(a.send(b"two").unwrap(), 3);
                assert_eq!((b.peek(&mut buf).unwrap(), b.try_clone().unwrap().recv(&mut buf).unwrap()), (3, 3));
                a.set_broadcast(true).unwrap();
                a.set_multicast_loop_v4(false).unwrap();
                a.set_multicast_ttl_v4(3).unwrap();
                a.set_ttl(5).unwrap();
                assert_eq!((a.broadcast().unwrap(), a.multicast_loop_v4().unwrap()), (true, false));
                assert_eq!((a.multicast_ttl_v4().unwrap(), a.ttl().unwrap()), (3, 5));
                assert!(a.multicast_loop_v6().is_err() && a.set_multicast_loop_v6(true).is_err());
                let (group, nobody) = (Ipv4Addr::new(10, 0, 0, 1), Ipv6Addr::LOCALHOST);
                let any = Ipv4Addr::UNSPECIFIED;
                assert!(a.join_multicast_v4(&group, &any).is_err() && a.leave_multicast_v4(&group, &any).is_err());
                assert!(a.join_multicast_v6(&nobody, 0).is_err() && a.leave_multicast_v6(&nobody, 0).is_err());
                b.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
                b.set_write_timeout(SECOND).unwrap();
                assert!(b.read_timeout().unwrap().is_some() && b.write_timeout().unwrap() == SECOND);
                assert_eq!(b.recv(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
                b.set_nonblocking(true).unwrap();
                assert_eq!(b.recv(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
                assert!(b.take_error().unwrap().is_none());
                let none: [std::net::SocketAddr; 0] = [];
                assert_eq!(a.send_to(b"", &none[..]).unwrap_err().to_string(), "no addresses to send data to");
            }

            #[test]
            fn unix() {
                let dir = Dir::new();
                let listener = descriptor(UnixListener::bind(dir.file("s")).unwrap());
                let addr = listener.local_addr().unwrap();
                assert_eq!(UnixListener::bind_addr(&addr).unwrap_err().kind(), ErrorKind::AddrInUse);
                let mut client = descriptor(UnixStream::connect_addr(&addr).unwrap());
                let (mut server, from) = listener.accept().unwrap();
                assert!(from.is_unnamed() && client.local_addr().unwrap().is_unnamed());
                assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(&*dir.file("s")));
                client.set_read_timeout(SECOND).unwrap();
                client.set_write_timeout(SECOND).unwrap();
                assert_eq!((client.read_timeout().unwrap(), client.write_timeout().unwrap()), (SECOND, SECOND));
                assert_eq!((&client).write_vectored(&[IoSlice::new(b"hello")]).unwrap(), 5);
                client.try_clone().unwrap().shutdown(Shutdown::Write).unwrap();
                let mut text = String::new();
                server.read_to_string(&mut text).unwrap();
                assert_eq!((&*text, client.take_error().unwrap().is_none()), ("hello", true));
                server.set_nonblocking(true).unwrap();
                client.set_nonblocking(true).unwrap();
                assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
                listener.set_nonblocking(true).unwrap();
                assert_eq!((&listener).into_iter().next().unwrap().unwrap_err().kind(), ErrorKind::WouldBlock);
                assert!(listener.take_error().unwrap().is_none() && listener.try_clone().is_ok());
                assert_eq!(UnixStream::connect(dir.file("t")).unwrap_err().kind(), ErrorKind::NotFound);
                assert_eq!(UnixStream::connect("x".repeat(200)).unwrap_err().kind(), ErrorKind::InvalidInput);
                let (mut a, mut b) = UnixStream::pair().unwrap();
                a.write_all(b"!").unwrap();
                b.read_exact(&mut [0]).unwrap();
            }

            #[test]
            fn unix_datagrams() {
                let dir = Dir::new();
                let a = descriptor(UnixDatagram::bind(dir.file("a")).unwrap());
                let addr = a.local_addr().unwrap();
                assert_eq!(UnixDatagram::bind_addr(&addr).unwrap_err().kind(), ErrorKind::AddrInUse);
                let b = UnixDatagram::unbound().unwrap();
                let mut buf = [0; 8];
                assert_eq!(b.send_to(b"one", dir.file("a")).unwrap(), 3);
                assert_eq!(b.send_to_addr(b"two", &addr).unwrap(), 3);
                assert_eq!(a.recv_from(&mut buf).unwrap().0, 3);
                assert!(a.recv_from(&mut buf).unwrap().1.is_unnamed());
                assert_eq!(b.send(b"").unwrap_err().kind(), ErrorKind::NotConnected);
                b.connect(dir.file("a")).unwrap();
                b.try_clone().unwrap().connect_addr(&addr).unwrap();
                assert_eq!(b.peer_addr().unwrap().as_pathname(), addr.as_pathname());
                assert_eq!((b.send(b"three").unwrap(), a.recv(&mut buf).unwrap()), (5, 5));
                a.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
                a.set_write_timeout(SECOND).unwrap();
                assert!(a.read_timeout().unwrap().is_some() && a.write_timeout().unwrap() == SECOND);
                assert_eq!(a.recv(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
                a.set_nonblocking(true).unwrap();
                assert_eq!(a.recv(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
                a.shutdown(Shutdown::Both).unwrap();
                assert!(a.take_error().unwrap().is_none() && UnixDatagram::pair().is_ok());
            }

            #[test]
            fn files() {
                let dir = Dir::new();
                let path = dir.file("x");
                let mut file = descriptor(fs::File::create_new(&path).unwrap());
                assert_eq!(fs::File::create_new(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
                file.write_all(b"hello").unwrap();
                file.flush().unwrap();
                file.rewind().unwrap();
                let mut text = String::new();
                (&file).read_to_string(&mut text).unwrap();
                file.write_all_at(b"J", 0).unwrap();
                let mut byte = [0];
                file.read_exact_at(&mut byte, 0).unwrap();
                assert_eq!((&*text, byte, file.stream_position().unwrap()), ("hello", *b"J", 5));
                file.sync_all().unwrap();
                file.sync_data().unwrap();
                file.set_len(2).unwrap();
                file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
                file.set_times(fs::FileTimes::new().set_accessed(SystemTime::UNIX_EPOCH)).unwrap();
                file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
                let metadata = file.try_clone().unwrap().metadata().unwrap();
                assert_eq!((metadata.len(), metadata.modified().unwrap()), (2, SystemTime::UNIX_EPOCH));
                assert_eq!(metadata.permissions().mode() & 0o777, 0o600);

                let other = fs::File::options().read(true).append(true).open(&path).unwrap();
                file.lock().unwrap();
                assert!(matches!(other.try_lock(), Err(fs::TryLockError::WouldBlock)));
                file.unlock().unwrap();
                file.lock_shared().unwrap();
                other.try_lock_shared().unwrap();
                assert!(other.try_lock().is_err());
                file.unlock().unwrap();
                let mut options = fs::OpenOptions::new();
                let options = options.write(true).truncate(true).create(true).create_new(false);
                assert_eq!(options.open(dir.file("y")).unwrap().metadata().unwrap().len(), 0);
                assert_eq!(fs::File::open(dir.file("z")).unwrap_err().kind(), ErrorKind::NotFound);
                assert_eq!(fs::File::create(&path).unwrap().metadata().unwrap().len(), 0);

                fs::DirBuilder::new().recursive(true).create(dir.file("a/b")).unwrap();
                let again = fs::DirBuilder::new().create(dir.file("a")).unwrap_err();
                assert_eq!(again.kind(), ErrorKind::AlreadyExists);
                std::os::unix::fs::symlink("a", dir.file("link")).unwrap();
                assert_eq!(fs::read_link(dir.file("link")).unwrap(), PathBuf::from("a"));
                assert!(fs::symlink_metadata(dir.file("link")).unwrap().is_symlink());
                fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
                let mut names: Vec<_> = fs::read_dir(&dir.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
                names.sort();
                assert_eq!(names, ["a", "link", "x", "y"]);
            }

            #[test]
            fn children() {
                let mut command = Command::new("sh");
                command.args(["-c", "cat; echo $A$B >&2; exit 3"]).env_clear().envs([("A", "1")]).env("B", "2");
                command.env_remove("C").current_dir("/");
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
                assert_eq!(command.get_program(), "sh");
                assert_eq!(command.get_args().collect::<Vec<_>>(), ["-c", "cat; echo $A$B >&2; exit 3"]);
                let two = Some(OsStr::new("2"));
                assert!(command.get_envs().any(|(key, value)| key == "B" && value == two));
                assert_eq!(command.get_current_dir().unwrap(), "/");
                let shown = format!("{:?}", Command::new("echo").arg("a b"));
                assert_eq!(shown, "\"echo\" \"a b\"");
                let mut child = command.spawn().unwrap();
                assert!(child.id() > 0 && child.try_wait().unwrap().is_none());
                let stdin = child.stdin.take().unwrap();
                assert_eq!(stdin.as_fd().as_raw_fd(), stdin.as_raw_fd());
                (&stdin).write_all(b"in").unwrap();
                drop(stdin);
                let output = child.wait_with_output().unwrap();
                assert_eq!(
                    (output.status.code(), &*output.stdout, &*output.stderr),
                    (Some(3), &b"in"[..], &b"12\n"[..])
                );
                let mut sleeper = Command::new("sleep").arg("1000").spawn().unwrap();
                sleeper.kill().unwrap();
                assert_eq!(sleeper.wait().unwrap().code(), None);
                assert!(Command::new("true").status().unwrap().success());
                assert_eq!(Command::new("echo").arg("x").output().unwrap().stdout, b"x\n");
                // An emulator reports it as an exit status.
                #[cfg(not(green_emulated))]
                assert_eq!(Command::new("no such program").spawn().unwrap_err().kind(), ErrorKind::NotFound);
                let mut first = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn().unwrap();
                let second = Command::new("cat").stdin(first.stdout.take().unwrap()).output().unwrap();
                assert_eq!(second.stdout, b"hello\n");
                assert!(first.wait().unwrap().success());
            }

            #[test]
            fn names_with_a_nul_lead_nowhere() {
                fn refused<T>(result: std::io::Result<T>) -> bool {
                    result.is_err_and(|error| error.kind() == ErrorKind::InvalidInput)
                }
                let dir = Dir::new();
                let good = dir.file("good");
                fs::write(&good, "x").unwrap();
                let with_nul = [&*good.to_string_lossy(), "\0.bad"].concat();
                let bad = std::path::Path::new(&with_nul);
                assert!(refused(fs::File::open(bad)) && refused(fs::File::create(bad)) && refused(fs::read(bad)));
                assert!(
                    refused(fs::write(bad, "y")) && refused(fs::copy(&good, bad)) && refused(fs::rename(bad, &good))
                );
                assert!(
                    refused(fs::remove_file(bad)) && refused(fs::metadata(bad)) && refused(fs::hard_link(&good, bad))
                );
                assert!(
                    refused(fs::create_dir_all(bad)) && refused(fs::read_dir(bad)) && refused(fs::canonicalize(bad))
                );
                assert_eq!(fs::read(&good).unwrap(), b"x");
                assert!(refused(Command::new("true\0bad").status()));
                assert!(refused(Command::new("true").arg("a\0b").output()));
                assert!(refused(Command::new("true").env("A", "a\0b").spawn()));
                assert!(refused(Command::new("true").current_dir(bad).spawn()));
                assert!(refused("localhost\0bad:80".to_socket_addrs()));
                assert!(refused(UnixStream::connect(bad)) && refused(UnixListener::bind(bad)));
            }
        }
    };
}

suite!(with_std, std);
suite!(with_green, green);
