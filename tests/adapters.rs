//! `green::net::Async`: green's streams under the traits of async code. hyper's are tested by `tests/hyper.rs`.
#![cfg(feature = "futures-io")]
#![allow(missing_docs)]

use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use green::net::{Async, TcpListener, TcpStream};

fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn one_future_reads_and_writes_at_the_same_time_and_loses_nothing() {
    for workers in [1, 2] {
        green::Runtime::builder().workers(workers).build().unwrap().run(|| {
            let (client, server) = connection();
            let echo = green::spawn(move || {
                let (mut buf, mut stream) = ([0; 5000], &server);
                while let Ok(n @ 1..) = stream.read(&mut buf) {
                    stream.write_all(&buf[..n]).unwrap();
                }
            });
            let sent: Vec<u8> = (0..2_000_000_u32).map(|i| (i % 251) as u8).collect();
            let (mut written, mut got) = (0, Vec::new());
            let mut client = Async::new(client);
            let mut buf = vec![0; 10_000];
            green::block_on(poll_fn(|cx| {
                loop {
                    let mut moved = false;
                    if written < sent.len() {
                        let part = &sent[written..sent.len().min(written + 30_000)];
                        if let Poll::Ready(n) = Pin::new(&mut client).poll_write(cx, part) {
                            written += n.unwrap();
                            moved = true;
                        }
                    }
                    if let Poll::Ready(n) = Pin::new(&mut client).poll_read(cx, &mut buf) {
                        got.extend_from_slice(&buf[..n.unwrap()]);
                        moved = true;
                    }
                    if got.len() == sent.len() {
                        return Poll::Ready(());
                    }
                    if !moved {
                        return Poll::Pending;
                    }
                }
            }));
            assert!(got == sent);
            green::block_on(poll_fn(|cx| Pin::new(&mut client).poll_close(cx))).unwrap();
            echo.join().unwrap();
            // The other side's end may still be under way.
            let end = green::block_on(poll_fn(|cx| Pin::new(&mut client).poll_read(cx, &mut buf)));
            assert_eq!(end.unwrap(), 0);
            assert_eq!(client.get_ref().peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
            drop(client.into_inner());
        });
    }
}

#[test]
fn a_cancel_ends_an_async_read() {
    green::run(|| {
        let (client, server) = connection();
        let reads = green::spawn(move || {
            let mut server = Async::new(server);
            green::block_on(poll_fn(|cx| Pin::new(&mut server).poll_read(cx, &mut [0]))).map_err(|error| error.kind())
        });
        green::yield_now();
        reads.cancel();
        assert!(reads.join().unwrap_err().is::<green::Cancelled>());
        drop(client);
    });
}

#[test]
fn on_a_plain_os_thread_a_call_that_has_to_wait_is_an_error() {
    let (client, _server) = connection();
    let mut client = Async::new(client);
    let result = green::block_on(poll_fn(|cx| Pin::new(&mut client).poll_read(cx, &mut [0])));
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Unsupported);
}

/// Calls a closure at every wake.
struct Calls<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Calls<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn calls(f: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(Calls(f)))
}

const LONG: Duration = Duration::from_secs(60);

/// Waits, with `waker`, for `stream` to become readable.
fn poll(stream: &mut Async<TcpStream>, waker: &Waker) -> Poll<Result<usize, ErrorKind>> {
    Pin::new(stream).poll_read(&mut Context::from_waker(waker), &mut [0; 8]).map_err(|error| error.kind())
}

fn workers(f: impl Fn() + Send + Sync) {
    for workers in [1, 2] {
        green::Runtime::builder().workers(workers).build().unwrap().run(|| green::timeout(LONG, &f).unwrap());
    }
}

#[test]
fn a_foreign_waker_may_wait_for_a_lock() {
    workers(|| {
        let shared = Arc::new((green::sync::Mutex::new(false), green::sync::Condvar::new()));
        let (client, server) = connection();
        let mut server = Async::new(server);
        let waker = calls({
            let shared = shared.clone();
            move || {
                *shared.0.lock().unwrap() = true;
                shared.1.notify_one();
            }
        });
        assert!(poll(&mut server, &waker).is_pending());
        let mut woken = shared.0.lock().unwrap();
        (&client).write_all(b"x").unwrap();
        // The event comes while the lock is held by a thread that waits.
        green::sleep(Duration::from_millis(10));
        while !*woken {
            woken = shared.1.wait(woken).unwrap();
        }
        assert_eq!(poll(&mut server, &waker), Poll::Ready(Ok(1)));
    });
}

#[test]
fn a_foreign_waker_may_wait_for_what_another_one_does() {
    workers(|| {
        for first in [0, 1] {
            let (sender, receiver) = green::channel::bounded(0);
            let (done, is_done) = green::channel::unbounded();
            let mut pairs = [connection(), connection()].map(|(client, server)| (client, Async::new(server)));
            let other = done.clone();
            let sends = calls(move || {
                sender.send(7).unwrap();
                done.send(1).unwrap();
            });
            let receives = calls(move || other.send(receiver.recv().unwrap()).unwrap());
            assert!(poll(&mut pairs[0].1, &sends).is_pending() && poll(&mut pairs[1].1, &receives).is_pending());
            // Both events come together.
            (&pairs[first].0).write_all(b"x").unwrap();
            (&pairs[1 - first].0).write_all(b"x").unwrap();
            assert_eq!(is_done.recv().unwrap() + is_done.recv().unwrap(), 8);
        }
    });
}

#[test]
fn a_foreign_waker_may_panic_and_drop_the_last_handle_of_something_that_waits() {
    struct Waits(Arc<AtomicUsize>);
    impl Drop for Waits {
        fn drop(&mut self) {
            green::sleep(Duration::from_millis(1));
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    workers(|| {
        let count = Arc::new(AtomicUsize::new(0));
        let mut pairs: Vec<_> =
            (0..20).map(|_| connection()).map(|(client, server)| (client, Async::new(server))).collect();
        for (number, (_, server)) in pairs.iter_mut().enumerate() {
            let waits = Waits(count.clone());
            let waker = calls(move || {
                let _ = &waits;
                if number % 3 == 0 {
                    std::panic::resume_unwind(Box::new("bang"));
                }
                green::yield_now();
            });
            assert!(poll(server, &waker).is_pending());
        }
        for (client, _) in &pairs {
            (&*client).write_all(b"x").unwrap();
        }
        while count.load(Ordering::Relaxed) < pairs.len() {
            green::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn foreign_wakers_of_a_runtime_that_ends_are_called_and_may_wait() {
    for event in [false, true] {
        let (done, is_done) = green::channel::unbounded();
        let lock = Arc::new(green::sync::Mutex::new(()));
        let held = lock.clone();
        let runtime = green::Runtime::builder().workers(1).build().unwrap();
        let kept = runtime.run(|| {
            let (client, server) = connection();
            let mut server = Async::new(server);
            let waker = calls(move || {
                drop(held.lock());
                done.send(()).unwrap();
            });
            assert!(poll(&mut server, &waker).is_pending());
            if event {
                (&client).write_all(b"x").unwrap();
            }
            (client, server)
        });
        // A thread that is cancelled lets go of the lock late.
        let holder = runtime.spawn(move || {
            let _guard = lock.lock().unwrap();
            green::thread::park();
        });
        drop(runtime);
        assert!(holder.join().is_err());
        is_done.recv_timeout(LONG).unwrap();
        drop(kept);
    }
}

#[test]
fn a_foreign_waker_that_waits_in_its_clone_holds_nobody_up() {
    static TABLE: RawWakerVTable = RawWakerVTable::new(
        |data| {
            green::sleep(Duration::from_millis(5));
            RawWaker::new(data, &TABLE)
        },
        |_| (),
        |_| (),
        |_| green::yield_now(),
    );
    workers(|| {
        let (client, server) = connection();
        let mut server = Async::new(server);
        assert!(poll(&mut server, Waker::noop()).is_pending(), "registered");
        let writes = green::spawn(move || {
            (&client).write_all(b"x").unwrap();
            client
        });
        // SAFETY: the data are null and never used.
        let waker = unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &TABLE)) };
        // The event comes while the waker is cloned.
        while poll(&mut server, &waker).is_pending() {
            green::sleep(Duration::from_millis(1));
        }
        drop(writes.join().unwrap());
    });
}

#[cfg(all(target_os = "linux", not(green_emulated)))]
#[test]
fn an_async_writer_whose_error_queue_is_not_empty_lets_its_reader_run() {
    use std::os::fd::AsRawFd;
    workers(|| {
        let (client, server) = connection();
        let flags: u32 =
            libc::SOF_TIMESTAMPING_TX_ACK | libc::SOF_TIMESTAMPING_SOFTWARE | libc::SOF_TIMESTAMPING_OPT_TSONLY;
        let (fd, len) = (client.as_raw_fd(), size_of::<u32>() as libc::socklen_t);
        // SAFETY: the option takes a number of this size.
        let set =
            unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, (&raw const flags).cast(), len) };
        assert_eq!(set, 0);
        let reads = green::spawn(move || {
            let (mut total, mut buf) = (0, [0; 5000]);
            while let n @ 1.. = (&server).read(&mut buf).unwrap() {
                total += n;
            }
            total
        });
        let (mut client, sent) = (Async::new(client), vec![7; 4 << 20]);
        let mut written = 0;
        while written < sent.len() {
            written += green::block_on(poll_fn(|cx| Pin::new(&mut client).poll_write(cx, &sent[written..]))).unwrap();
        }
        drop(client);
        assert_eq!(reads.join().unwrap(), sent.len());
    });
}
