//! Names that nobody answers for: whoever waits for a look-up can leave it at any time.
#![cfg(target_os = "linux")]

use std::ffi::CString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use green::Cancelled;
use green::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

use crate::help::{in_a_child, until_parked};

/// Gives this OS thread, and those that it starts, a resolver that never answers. An error: that is not for everybody to do.
fn silence() -> io::Result<std::net::UdpSocket> {
    let done = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    let resolver = std::net::UdpSocket::bind((Ipv4Addr::new(127, 9, 9, 9), 53))?;
    // SAFETY: a number.
    done(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    // SAFETY: strings that end in NUL, and null where nothing is needed.
    done(unsafe {
        libc::mount(
            c"none".as_ptr(),
            c"/".as_ptr(),
            std::ptr::null(),
            libc::MS_REC | libc::MS_PRIVATE,
            std::ptr::null(),
        )
    })?;
    for (file, text) in [
        ("/etc/resolv.conf", "nameserver 127.9.9.9\noptions timeout:30\n"),
        ("/etc/nsswitch.conf", "hosts: files dns\n"),
    ] {
        let ours = std::env::temp_dir().join(format!("green-names-{}", std::process::id()));
        std::fs::write(&ours, text)?;
        let path = |path: &Path| CString::new(path.to_str().unwrap()).unwrap();
        let (from, to) = (path(&ours), path(Path::new(file)));
        // SAFETY: as above.
        done(unsafe { libc::mount(from.as_ptr(), to.as_ptr(), std::ptr::null(), libc::MS_BIND, std::ptr::null()) })?;
        std::fs::remove_file(&ours)?;
    }
    Ok(resolver)
}

const SHORT: Duration = Duration::from_millis(100);
/// Sooner than a look-up gives an answer up.
const AT_ONCE: Duration = Duration::from_secs(20);

type Call = fn() -> io::Result<()>;

/// Every call that takes a name.
fn calls() -> Vec<(&'static str, Call)> {
    fn udp() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").unwrap()
    }
    vec![
        ("connect", || TcpStream::connect("nobody.example:80").map(drop)),
        ("connect to a pair", || TcpStream::connect(("nobody.example", 80)).map(drop)),
        ("connect to a pair with a String", || TcpStream::connect((String::from("nobody.example"), 80)).map(drop)),
        ("bind", || TcpListener::bind("nobody.example:80").map(drop)),
        ("bind UDP", || UdpSocket::bind(String::from("nobody.example:80")).map(drop)),
        ("send_to", || udp().send_to(b"x", "nobody.example:80").map(drop)),
        ("connect UDP", || udp().connect("nobody.example:80")),
        ("look-up", || "nobody.example:80".to_socket_addrs().map(drop)),
    ]
}

fn each_is_left_at_once() {
    for (what, call) in calls() {
        let start = Instant::now();
        let result = green::timeout(SHORT, call);
        let took = start.elapsed();
        assert!(result.is_err(), "{what}: {result:?}");
        assert!(took >= SHORT && took < AT_ONCE, "{what}: left after {took:?}");
    }
    // What needs no answer is as it was.
    let local: Vec<SocketAddr> = "localhost:80".to_socket_addrs().unwrap().collect();
    assert!(local.contains(&([127, 0, 0, 1], 80).into()), "{local:?}");
    assert_eq!("no port".to_socket_addrs().unwrap_err().to_string(), "invalid socket address");
    assert_eq!("x:99999".to_socket_addrs().unwrap_err().to_string(), "invalid port value");
}

#[test]
fn a_look_up_that_nobody_answers_is_left_by_a_time_out_and_by_a_cancel() {
    // Each in a process of its own: those that were left before would have the threads for look-ups, and the next ones wait for these.
    for workers in [0, 1, 2] {
        let ended = in_a_child(&[("WORKERS", &workers.to_string())], || {
            let _resolver = match silence() {
                Ok(resolver) => resolver,
                Err(error) => return eprintln!("not tried, there is no resolver of our own: {error}"),
            };
            match std::env::var("WORKERS").unwrap().parse().unwrap() {
                0 => each_is_left_at_once(),
                workers => all_are_left_at_once(workers),
            }
        });
        ended.assert_success();
        eprintln!("{}", ended.output);
    }
}

fn all_are_left_at_once(workers: usize) {
    let runtime = crate::help::builder().workers(workers).blocking_threads(1).build().unwrap();
    runtime.run(|| {
        each_is_left_at_once();
        let start = Instant::now();
        let threads: Vec<_> =
            (0..100).map(|_| green::spawn(|| TcpStream::connect("nobody.example:80").map(drop))).collect();
        threads.iter().for_each(|thread| until_parked(thread.thread(), "blocking"));
        // Files go on meanwhile.
        assert!(green::fs::exists("/").unwrap());
        threads.iter().for_each(|thread| thread.cancel());
        for thread in threads {
            assert!(thread.join().unwrap_err().is::<Cancelled>());
        }
        assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    });
    let start = Instant::now();
    drop(runtime);
    assert!(start.elapsed() < AT_ONCE, "the runtime does not wait for what was left");
}
