//! Many connections, and connections that come and go.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use green::net::{TcpListener, TcpStream};

use crate::help::{until_parked, unwatched};
use crate::{SCALE, echo};

#[cfg(target_os = "linux")]
fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The tests here count descriptors and memory of the whole process: each runs in a process of its own.
#[cfg(target_os = "linux")]
fn alone(name: &str) -> bool {
    if std::env::var_os("GREEN_ALONE").is_some() {
        return true;
    }
    let child = crate::help::itself().args([name, "--exact", "--nocapture"]).env("GREEN_ALONE", "1").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(child.status.success(), "{}{}", text(&child.stdout), text(&child.stderr));
    false
}

/// How many descriptors there are when those are closed that close soon: the server's ends, when their threads have seen the end, and files in which the monitor
/// looks what a worker does.
#[cfg(target_os = "linux")]
fn settled(want: usize) -> usize {
    let begin = Instant::now();
    loop {
        let now = crate::descriptors();
        if now <= want || begin.elapsed() > Duration::from_secs(20) {
            return now;
        }
        green::sleep(Duration::from_millis(1));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    if !alone("churn::connections_that_come_and_go_leave_nothing_behind") {
        return;
    }
    let before_all = crate::descriptors();
    for workers in [1, 2] {
        let runtime = unwatched(workers);
        runtime.run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = listener.local_addr().unwrap();
            let server = green::spawn(move || {
                for stream in listener.incoming() {
                    green::spawn(|| echo(stream.unwrap()));
                }
            });
            let round = |count: usize| {
                let clients: Vec<_> = (0..count)
                    .map(|_| {
                        green::spawn(move || {
                            let mut stream = TcpStream::connect(addr).unwrap();
                            stream.write_all(b"hello").unwrap();
                            stream.read_exact(&mut [0; 5]).unwrap();
                        })
                    })
                    .collect();
                clients.into_iter().for_each(|client| client.join().unwrap());
            };
            round(50);
            // What stays are the listener and the pollers, three descriptors each.
            let descriptors = settled(before_all + 1 + 3 * workers);
            let memory = resident_kib();
            let begin = Instant::now();
            let mut rounds = 0;
            while begin.elapsed() < Duration::from_millis(700) || rounds < 40 / SCALE {
                round(50);
                rounds += 1;
            }
            let after = settled(descriptors);
            assert!(after <= descriptors, "{after} descriptors, {descriptors} before {rounds} rounds");
            let grown = resident_kib().saturating_sub(memory);
            // How many of the hundred threads of a round are alive at once is chance, so their stacks (two or three pages each)
            // may be new to any round. What a connection left behind would be there two thousand times.
            // (Under emulation the emulator's memory is in it.)
            let own = usize::from(crate::help::own_thread_locals());
            let limit = (1 + own) * 4096 * SCALE * SCALE;
            assert!(grown < limit, "{grown} KiB more after {rounds} rounds of 50 connections");
            server.cancel();
            assert!(server.join().unwrap_err().is::<green::Cancelled>());
        });
        drop(runtime);
        let left = settled(before_all);
        assert!(left <= before_all, "{left} descriptors, {before_all} before the runtime");
    }
}

/// The clients are in this process, the server in another: each has as many descriptors as the limit allows.
#[cfg(target_os = "linux")]
#[test]
fn ten_thousand_idle_connections_are_held_and_all_of_them_answer() {
    const NAME: &str = "churn::ten_thousand_idle_connections_are_held_and_all_of_them_answer";
    let count = 10_000 / (SCALE * SCALE);
    if std::env::var_os("GREEN_SERVER").is_some() {
        return serve(count);
    }
    let mut server = crate::help::itself()
        .args([NAME, "--exact", "--nocapture"])
        .env("GREEN_SERVER", "1")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(server.stdout.take().unwrap()));
    let mut answer = |key: &str| {
        let of = |line: String| line.split_once(key).map(|(_, value)| value.trim().to_owned());
        lines.by_ref().map_while(Result::ok).find_map(of).unwrap_or_else(|| panic!("the server ended before {key}"))
    };
    let addr: std::net::SocketAddr = answer("address=").parse().unwrap();
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(std::net::TcpStream::connect(addr).unwrap());
    }
    let bytes: usize = answer("bytes=").parse().unwrap();
    for client in &mut clients {
        client.set_read_timeout(Some(crate::LONG)).unwrap();
        client.write_all(b"x").unwrap();
    }
    for client in &mut clients {
        client.read_exact(&mut [0]).unwrap();
    }
    drop(clients);
    assert_eq!(answer("served="), count.to_string());
    assert!(server.wait().unwrap().success());
    // Frames of a debug build reach into a second page.
    let limit = if cfg!(debug_assertions) { 10 * 1024 } else { 6 * 1024 };
    let limit = limit + if crate::help::own_thread_locals() { 6 * 1024 } else { 0 };
    assert!(bytes < limit || cfg!(not(target_arch = "x86_64")), "{bytes} bytes a connection");
}

#[cfg(target_os = "linux")]
fn serve(count: usize) {
    let runtime = unwatched(2);
    runtime.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        println!("\naddress={}", listener.local_addr().unwrap());
        let before = resident_kib();
        // A debug build's frames are several times those of a release build: the buffer comes when there are bytes.
        let connection = |stream: TcpStream| {
            let mut byte = [0];
            while stream.peek(&mut byte).is_ok_and(|n| n > 0) {
                (&stream).read_exact(&mut byte).unwrap();
                (&stream).write_all(&byte).unwrap();
            }
        };
        let threads: Vec<_> = (0..count)
            .map(|_| {
                let (stream, _) = listener.accept().unwrap();
                green::spawn(move || connection(stream))
            })
            .collect();
        threads.iter().for_each(|thread| until_parked(thread.thread(), "readable"));
        println!("\nbytes={}", (resident_kib() - before) * 1024 / count);
        let served = threads.into_iter().map(|thread| thread.join()).filter(|result| result.is_ok()).count();
        println!("\nserved={served}");
    });
}
