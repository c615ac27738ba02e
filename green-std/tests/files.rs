//! FIFOs, and several messages in one call.
#![cfg(green_std)]

mod help;

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::mem::zeroed;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use help::{many, on_one_worker, on_shared_thread_locals, until};

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
