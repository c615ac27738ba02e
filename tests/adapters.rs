//! `green::net::Async`: green's streams under the traits of async code. hyper's are tested by `examples/http`.
#![cfg(feature = "futures-io")]
#![allow(missing_docs)]

use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::pin::Pin;
use std::task::Poll;

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
