//! What goes wrong in networks, and what a server has to survive.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use green::net::{TcpListener, TcpStream};

use crate::{connection, echo, everywhere, pattern};

/// Ends the connection by a reset.
fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

#[test]
fn a_reset_wakes_a_reader_and_a_writer_with_the_error() {
    everywhere(|| {
        let (client, server) = connection();
        let clone = server.try_clone().unwrap();
        let reads = green::spawn(move || (&clone).read(&mut [0]).map_err(|error| error.kind()));
        let writes = green::spawn(move || {
            loop {
                if let Err(error) = (&server).write(&[0; 65536]) {
                    return error.kind();
                }
            }
        });
        for _ in 0..10 {
            green::yield_now();
        }
        reset(client);
        let (read, write) = (reads.join().unwrap(), writes.join().unwrap());
        // The socket tells of the reset once; the other of the two learns that the connection is over.
        match read {
            Err(ErrorKind::ConnectionReset) => {
                assert!(matches!(write, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset))
            }
            Ok(0) => assert_eq!(write, ErrorKind::ConnectionReset),
            other => panic!("{other:?}, {write:?}"),
        }
    });
}

#[test]
fn a_server_goes_on_after_clients_that_reset_half_close_or_say_nothing() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let server = green::spawn(move || {
            let threads: Vec<_> = listener.incoming().take(40).map(|s| green::spawn(|| echo(s.unwrap()))).collect();
            threads.into_iter().filter(|_| true).map(|thread| thread.join().unwrap().is_ok()).filter(|ok| *ok).count()
        });
        for round in 0..10 {
            let mut silent = TcpStream::connect(addr).unwrap();
            reset(TcpStream::connect(addr).unwrap());
            let half = TcpStream::connect(addr).unwrap();
            (&half).write_all(b"half").unwrap();
            half.shutdown(Shutdown::Write).unwrap();
            let mut text = String::new();
            (&half).read_to_string(&mut text).unwrap();
            assert_eq!(text, "half");
            let good = TcpStream::connect(addr).unwrap();
            let sent = pattern(1000 + round);
            (&good).write_all(&sent).unwrap();
            let mut back = vec![0; sent.len()];
            (&good).read_exact(&mut back).unwrap();
            assert_eq!(sent, back);
            silent.flush().unwrap();
        }
        assert!(server.join().unwrap() >= 30);
    });
}

#[test]
fn a_slow_reader_holds_its_writer_up_and_nobody_else() {
    everywhere(|| {
        let (slow, to_slow) = connection();
        let (client, server) = connection();
        let len = (8 << 20) / crate::SCALE;
        let writes = green::spawn(move || (&to_slow).write_all(&pattern(len)).unwrap());
        let echoing = green::spawn(move || echo(server).unwrap());
        // While the writer is stuck, the others go on.
        for _ in 0..20 {
            (&client).write_all(b"x").unwrap();
            (&client).read_exact(&mut [0]).unwrap();
        }
        drop(client);
        echoing.join().unwrap();
        let (mut got, mut buf) = (Vec::new(), [0; 5000]);
        loop {
            match (&slow).read(&mut buf).unwrap() {
                0 => break,
                n => got.extend_from_slice(&buf[..n]),
            }
            green::yield_now();
        }
        writes.join().unwrap();
        assert!(got == pattern(len));
    });
}

#[test]
fn out_of_band_data_do_not_hide_what_comes_after_them() {
    everywhere(|| {
        for _ in 0..20 {
            let (client, server) = connection();
            let reads = green::spawn(move || {
                let (mut buf, mut got) = ([0; 64], Vec::new());
                while got.len() < 10 {
                    let n = (&server).read(&mut buf).unwrap();
                    got.extend_from_slice(&buf[..n]);
                }
                got
            });
            green::yield_now();
            (&client).write_all(b"first").unwrap();
            socket2::SockRef::from(&client).send_out_of_band(b"!").unwrap();
            (&client).write_all(b"later").unwrap();
            assert_eq!(reads.join().unwrap(), b"firstlater");
        }
    });
}

/// In a process of its own, whose descriptors are few.
#[cfg(target_os = "linux")]
#[test]
fn without_descriptors_accept_rests_and_serves_again_when_there_are_some() {
    const NAME: &str = "faults::without_descriptors_accept_rests_and_serves_again_when_there_are_some";
    if std::env::var_os("GREEN_FEW_DESCRIPTORS").is_none() {
        let child = crate::help::itself()
            .args([NAME, "--exact", "--nocapture"])
            .env("GREEN_FEW_DESCRIPTORS", "1")
            .output()
            .unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    // Connected, not accepted: they wait in the listener's queue.
    let clients: Vec<_> = (0..4).map(|_| std::net::TcpStream::connect(addr).unwrap()).collect();
    let cpu = || {
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
        // SAFETY: the call fills the struct in.
        let usage = unsafe {
            assert_eq!(libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()), 0);
            usage.assume_init()
        };
        let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
        time(usage.ru_utime) + time(usage.ru_stime)
    };
    // Not watched: the monitor, too, opens a file now and then.
    crate::help::unwatched(1).run(|| {
        let listener = TcpListener::from(listener);
        // The poller's own descriptors are there before the rest is used up.
        let _ = green::timeout(Duration::from_millis(1), || green::io::wait_readable(std::io::pipe().unwrap().0));
        let limit = crate::descriptors() as u64 + 8;
        let few = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        // SAFETY: a valid limit.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &few) }, 0);
        let mut hogs = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            hogs.push(file);
        }
        let begin = (std::time::Instant::now(), cpu());
        let mut refused = 0;
        while begin.0.elapsed() < Duration::from_millis(200) {
            let error = listener.accept().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            refused += 1;
        }
        assert!((1..=20).contains(&refused), "{refused} refusals in 200 ms");
        let spent = cpu() - begin.1;
        assert!(spent < Duration::from_millis(100), "a busy loop: {spent:?}");
        drop(hogs);
        for client in clients {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"x").unwrap();
            drop(client);
        }
    });
}
