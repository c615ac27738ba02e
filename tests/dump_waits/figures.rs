//! What dumps of many threads take: time and memory.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::help;
use super::help::dump::{alone, text, until_shown};

/// Bytes of memory that the process has had at most (`VmHWM`), or has (`VmRSS`).
fn memory(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// Dumps `count` threads that wait for one mutex: when that began, the time, and the memory more than before.
fn dump_many(runtime: &green::Runtime, count: usize) -> (Instant, Duration, usize) {
    let mutex = Arc::new(green::sync::Mutex::new(()));
    let held = mutex.lock().unwrap();
    let waits = || {
        let mutex = Arc::clone(&mutex);
        green::spawn(move || drop(mutex.lock().unwrap()))
    };
    let threads: Vec<_> = runtime.run(|| (0..count).map(|_| waits()).collect());
    until_shown(threads.iter().map(|thread| thread.thread()), "mutex");
    let before = memory("VmRSS");
    let begun = Instant::now();
    let text = text();
    let took = begun.elapsed();
    let more = memory("VmHWM").saturating_sub(before);
    assert!(text.contains(&format!("\n{count} threads, waits: mutex")), "{text}");
    drop(held);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    println!("{count} threads: {took:?}, {} KiB more", more >> 10);
    (begun, took, more)
}

/// Of a release build, on a machine that has nothing else to do.
#[test]
#[ignore = "figures: a minute, 5 GB"]
fn figures_of_many_threads_beside_an_echo() {
    let _alone = alone();
    let runtime = help::runtime(2);
    let listener = green::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let echo = runtime.spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut byte = [0];
        while stream.read(&mut byte).unwrap() > 0 {
            stream.write_all(&byte).unwrap();
        }
    });
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut stream = std::net::TcpStream::connect(addr).unwrap();
            let mut times = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                stream.write_all(b"x").unwrap();
                stream.read_exact(&mut [0]).unwrap();
                times.push((begun, begun.elapsed()));
            }
            times
        });
        let (begun, took, _) = dump_many(&runtime, 100_000);
        // The echo goes on beside this one, too.
        let (.., more) = dump_many(&runtime, 1_000_000);
        stop.store(true, Ordering::Relaxed);
        // Of the round trips that fell into the first dump, wholly or in part.
        let beside = |(at, time): &(Instant, Duration)| (*at < begun + took && *at + *time > begun).then_some(*time);
        let mut times: Vec<_> = client.join().unwrap().iter().filter_map(beside).collect();
        times.sort();
        let (p99, longest) = (times[times.len() * 99 / 100], times[times.len() - 1]);
        println!("echo beside it: {} round trips, p99 {p99:?}, the longest {longest:?}", times.len());
        assert!(took < Duration::from_secs(2) && p99 < Duration::from_millis(50), "{took:?}, {p99:?}");
        // A dump that stops the echo is one long round trip.
        assert!(longest < Duration::from_millis(250), "{longest:?}");
        assert!(more < 200 << 20, "{more} bytes");
    });
    echo.join().unwrap();
}

/// What is written, counted: its bytes, and the lines that are of a thread. What it begins with.
#[derive(Default)]
struct Counted {
    bytes: usize,
    threads: usize,
    line: Vec<u8>,
    head: Vec<u8>,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        const OF_A_THREAD: &[u8] = br#"{"id":"#;
        self.bytes += bytes.len();
        self.head.extend(&bytes[..bytes.len().min(1000 - self.head.len().min(1000))]);
        for byte in bytes {
            if *byte == b'\n' {
                self.threads += usize::from(self.line == OF_A_THREAD);
                self.line.clear();
            } else if self.line.len() < OF_A_THREAD.len() {
                self.line.push(*byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Dumps in both forms, and says what memory each took: how the text begins, and how many threads the lines of JSON tell of.
fn dump_both(what: &str, most: usize) -> (String, usize) {
    let measured = |form: &str, dump: fn(&mut Counted) -> io::Result<()>| {
        let mut counted = Counted::default();
        // What is free goes back, and the most memory so far is forgotten.
        // SAFETY: no requirements.
        unsafe { libc::malloc_trim(0) };
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let (before, begun) = (memory("VmRSS"), Instant::now());
        dump(&mut counted).unwrap();
        let (took, more) = (begun.elapsed(), memory("VmHWM").saturating_sub(before));
        println!("{what}, {form}: {took:?}, {} KiB more, {} KiB written", more >> 10, counted.bytes >> 10);
        (counted, more)
    };
    let (said, more_text) = measured("text", green::dump::text);
    let (lines, more_json) = measured("JSON", green::dump::json);
    assert!(more_text.max(more_json) < most, "{more_text} and {more_json} bytes");
    (String::from_utf8_lossy(&said.head).into_owned(), lines.threads)
}

/// Of a release build, on a machine that has nothing else to do.
#[test]
#[ignore = "figures: 1 GB"]
fn figures_of_a_million_threads_that_have_not_started() {
    const COUNT: usize = 1_000_000;
    let _alone = alone();
    let runtime = help::runtime(1);
    // The only worker starts no other while this one runs.
    runtime.run(|| {
        // So that what names functions is there.
        dump_both("before a million threads", usize::MAX);
        let threads: Vec<_> = (0..COUNT).map(|_| green::spawn(|| ())).collect();
        let (text, told) = dump_both("a million threads that have not started", 40 << 20);
        assert!(text.contains(&format!("\n{COUNT} threads, unstarted")), "{text}");
        // And the one that asks.
        assert_eq!(told, COUNT + 1);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Calls `wait` below calls that are others for each `path`.
#[inline(never)]
fn left(path: u64, depth: u32, wait: &mut dyn FnMut()) {
    step(path, depth, wait);
    black_box(1);
}

#[inline(never)]
fn right(path: u64, depth: u32, wait: &mut dyn FnMut()) {
    step(path, depth, wait);
    black_box(2);
}

fn step(path: u64, depth: u32, wait: &mut dyn FnMut()) {
    // The innermost calls tell the most paths apart.
    match depth.checked_sub(1) {
        None => wait(),
        Some(depth) if path >> depth & 1 == 0 => left(path, depth, wait),
        Some(depth) => right(path, depth, wait),
    }
}

/// Each stands somewhere else, and waits for a message of a channel of its own. Of a release build, on a machine that has nothing else to do.
#[test]
#[ignore = "figures: 1 GB"]
fn figures_of_threads_of_which_no_two_do_the_same() {
    const COUNT: u64 = 40_000;
    let _alone = alone();
    let runtime = help::runtime(1);
    let waits = |path| {
        let (sender, receiver) = green::channel::bounded::<()>(1);
        let thread = green::spawn(move || left(path, 40, &mut || receiver.recv().unwrap()));
        (sender, thread)
    };
    // So that what names functions is there.
    let first = runtime.run(|| waits(COUNT));
    until_shown([first.1.thread()], "channel receive");
    dump_both("one of them", usize::MAX);
    let (senders, threads): (Vec<_>, Vec<_>) = runtime.run(|| (0..COUNT).map(waits).unzip());
    until_shown(threads.iter().map(|thread| thread.thread()), "channel receive");
    let (text, told) = dump_both("40 000 threads of which no two do the same", 24 << 20);
    assert!(text.starts_with(&format!("green threads: {}\n", COUNT + 1)), "{text}");
    assert_eq!(told as u64, COUNT + 1);
    senders.into_iter().chain([first.0]).for_each(|sender| sender.send(()).unwrap());
    threads.into_iter().chain([first.1]).for_each(|thread| thread.join().unwrap());
}
