//! FIFOs, terminals, eventfds, and several messages in one call.
#![cfg(green_std)]

mod help;

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::mem::zeroed;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use help::{alone_on_one_worker, many, on_one_worker, on_shared_thread_locals, until};

green_std::interpose!();

/// A FIFO that is gone at the end.
struct Fifo(std::path::PathBuf);

impl Fifo {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("green-std-fifo-{name}-{}", std::process::id()));
        let text = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: a string.
        assert_eq!(unsafe { libc::mkfifo(text.as_ptr(), 0o600) }, 0);
        Self(path)
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn opening_a_fifo_blocked_the_worker_that_has_its_other_end() {
    for (name, on) in [("own", on_one_worker as fn(_)), ("shared", on_shared_thread_locals)] {
        on(|| {
            let fifo = Fifo::new(name);
            let path = fifo.0.clone();
            let opens = green::spawn(move || File::open(path).unwrap());
            until(|| opens.thread().waits_for() == Some("blocking"));
            let mut writer = OpenOptions::new().write(true).open(&fifo.0).unwrap();
            let mut reader = opens.join().unwrap();
            // Where thread-locals are shared it does not park: so all is there.
            writer.write_all(b"hello").unwrap();
            drop(writer);
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello");
            drop(reader);
            // Flags are what they were, and errors, too.
            let blocks_not = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&fifo.0);
            assert_eq!(blocks_not.unwrap_err().raw_os_error(), Some(libc::ENXIO));
            let other = fifo.0.with_extension("none");
            assert_eq!(File::open(&other).unwrap_err().raw_os_error(), Some(libc::ENOENT));
            let made = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&other).unwrap();
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(made.metadata().unwrap().permissions().mode() & 0o700, 0o600);
            std::fs::remove_file(&other).unwrap();
        });
    }
}

/// As many messages as buffers.
fn headers(parts: &mut [libc::iovec]) -> Vec<libc::mmsghdr> {
    parts
        .iter_mut()
        .map(|part| {
            // SAFETY: zeros are a message without content.
            let mut message: libc::mmsghdr = unsafe { zeroed() };
            (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (part, 1);
            message
        })
        .collect()
}

fn parts(buffers: &mut [Vec<u8>]) -> Vec<libc::iovec> {
    buffers.iter_mut().map(|buf| libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() }).collect()
}

#[test]
fn a_call_that_receives_several_messages_blocked_its_worker() {
    on_one_worker(|| {
        let (one, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        one.connect(other.local_addr().unwrap()).unwrap();
        other.connect(one.local_addr().unwrap()).unwrap();
        let receives = |flags: libc::c_int, count: usize| {
            let mut buffers = vec![vec![0; 4]; count];
            let mut parts = parts(&mut buffers);
            let mut messages = headers(&mut parts);
            // SAFETY: messages of this function's.
            let n = unsafe {
                libc::recvmmsg(one.as_raw_fd(), messages.as_mut_ptr(), count as u32, flags as _, std::ptr::null_mut())
            };
            assert!(messages[..n as usize].iter().all(|message| message.msg_len == 4));
            assert!(buffers[..n as usize].iter().all(|buf| buf == b"test"));
            n
        };
        green::scope(|scope| {
            let all = scope.spawn(|| receives(0, 5));
            for _ in 0..5 {
                until(|| all.thread().waits_for() == Some("readable"));
                other.send(b"test").unwrap();
                green::yield_now();
            }
            assert_eq!(all.join().unwrap(), 5);
            let first = scope.spawn(|| receives(libc::MSG_WAITFORONE, 5));
            until(|| first.thread().waits_for() == Some("readable"));
            other.send(b"test").unwrap();
            assert_eq!(first.join().unwrap(), 1);
        });
        one.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        many(10, |_| assert_eq!(receives_nothing(&one), Some(libc::EAGAIN)));
    });
}

fn receives_nothing(socket: &UdpSocket) -> Option<i32> {
    let mut buffers = [vec![0; 4]];
    let mut parts = parts(&mut buffers);
    let mut messages = headers(&mut parts);
    // SAFETY: a message of this function's.
    let n = unsafe { libc::recvmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), 1, 0, std::ptr::null_mut()) };
    assert_eq!(n, -1);
    std::io::Error::last_os_error().raw_os_error()
}

#[test]
fn a_call_that_sends_several_messages_blocked_its_worker() {
    const LEN: usize = 400_000;
    on_one_worker(|| {
        let (one, mut other) = UnixStream::pair().unwrap();
        let sends = green::spawn(move || {
            let mut buffers = vec![vec![7; LEN]; 3];
            let mut parts = parts(&mut buffers);
            let mut messages = headers(&mut parts);
            // SAFETY: messages of this function's.
            let n = unsafe { libc::sendmmsg(one.as_raw_fd(), messages.as_mut_ptr(), 3, 0) };
            (n, messages.iter().map(|message| message.msg_len as usize).sum::<usize>())
        });
        let mut got = Vec::new();
        other.read_to_end(&mut got).unwrap();
        assert_eq!((sends.join().unwrap(), got.len()), ((3, 3 * LEN), 3 * LEN));
    });
}

/// Both ends of a terminal that passes bytes on as they are.
fn terminal() -> (File, File) {
    let (mut reader, mut writer) = (-1, -1);
    // SAFETY: room for both, which are new and nobody else's; zeros are settings, and are written.
    unsafe {
        let none = std::ptr::null_mut();
        assert_eq!(libc::openpty(&raw mut reader, &raw mut writer, none, none.cast(), none.cast()), 0);
        let mut settings: libc::termios = zeroed();
        assert_eq!(libc::tcgetattr(writer, &raw mut settings), 0);
        libc::cfmakeraw(&raw mut settings);
        assert_eq!(libc::tcsetattr(writer, libc::TCSANOW, &raw const settings), 0);
        (File::from_raw_fd(reader), File::from_raw_fd(writer))
    }
}

#[test]
fn who_wrote_to_a_terminal_more_than_it_takes_blocked_the_worker_with_its_reader() {
    const LEN: usize = 100_000;
    let text: Vec<u8> = (0..LEN).map(|n| (n % 251) as u8).collect();
    let reads_all = |reader: &mut File| {
        let mut got = vec![0; LEN];
        reader.read_exact(&mut got).unwrap();
        got
    };
    on_one_worker(|| {
        let (mut reader, mut writer) = terminal();
        green::scope(|scope| {
            // All at once, and in parts of which the second does not fit.
            let writes = scope.spawn(|| {
                assert_eq!(writer.write(&text).unwrap(), LEN);
                let (first, rest) = text.split_at(10);
                assert_eq!(writer.write_vectored(&[first, rest].map(std::io::IoSlice::new)).unwrap(), LEN);
            });
            assert!(reads_all(&mut reader) == text);
            assert!(reads_all(&mut reader) == text);
            writes.join().unwrap();
        });
    });
}

fn eventfd() -> File {
    // SAFETY: no memory is passed; it is new, and nobody else's.
    File::from(unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, 0)) })
}

fn add(mut to: &File, value: u64) {
    assert_eq!(to.write(&value.to_ne_bytes()).unwrap(), 8);
}

fn take(mut from: &File) -> u64 {
    let mut value = [0; 8];
    from.read_exact(&mut value).unwrap();
    u64::from_ne_bytes(value)
}

#[test]
fn who_added_to_an_eventfd_more_than_it_takes_blocked_the_worker_with_its_reader() {
    alone_on_one_worker(|| {
        let counter = eventfd();
        let before = green_std::counters();
        add(&counter, u64::MAX - 4);
        add(&counter, 1);
        assert_eq!(green_std::counters(), before, "it fits for certain, and no other thread is asked");
        green::scope(|scope| {
            let adds = scope.spawn(|| add(&counter, 5));
            until(|| adds.thread().waits_for().is_some());
            assert_eq!(take(&counter), u64::MAX - 3);
            adds.join().unwrap();
            assert_eq!(take(&counter), 5);
            // Full: nobody else has to wait for room.
            add(&counter, u64::MAX - 1);
            let adds = scope.spawn(|| add(&counter, 1));
            until(|| adds.thread().waits_for() == Some("writable"));
            assert_eq!(take(&counter), u64::MAX - 1);
            adds.join().unwrap();
            assert_eq!(take(&counter), 1);
        });
    });
}

/// What an OS thread adds for one of them comes at any moment: between the other's look at the room and its own write, too.
#[test]
fn of_two_that_added_to_an_eventfd_one_took_the_room_that_the_other_had_seen() {
    const ALL: u64 = u64::MAX - 1;
    alone_on_one_worker(|| {
        let handed_over = || green_std::counters().handed_over;
        let counter = eventfd();
        add(&counter, ALL - 1);
        green::scope(|scope| {
            let adds = scope.spawn(|| add(&counter, ALL));
            until(|| adds.thread().waits_for() == Some("blocking"));
            let before = handed_over();
            // There is room for it at this moment.
            add(&counter, 1);
            let more = handed_over() - before;
            assert_eq!(take(&counter), ALL);
            adds.join().unwrap();
            assert_eq!(take(&counter), ALL);
            assert_eq!(more, 1, "it was made where it may block the worker");
        });
        let before = handed_over();
        add(&counter, 1);
        assert_eq!(handed_over(), before, "nobody else adds");
    });
}
