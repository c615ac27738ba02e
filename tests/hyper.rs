//! hyper on green: sockets by `green::net::Async`, tasks by `GreenExecutor`, time-outs by `GreenTimer`.
#![cfg(feature = "hyper")]
#![allow(missing_docs)]

use std::convert::Infallible;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use green::future::{GreenExecutor, GreenTimer};
use green::net::{Async, SocketAddr, TcpListener, TcpStream};
use green::thread::JoinHandle;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1 as client;
use hyper::rt::{Executor, Timer};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response};

const LONG: Duration = Duration::from_secs(60);

/// Accepts a connection for each time-out of its heads, and serves it in a thread of its own; says how the connections ended.
fn serve<const N: usize>(header_timeouts: [Duration; N]) -> (SocketAddr, JoinHandle<Vec<hyper::Result<()>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let connection = |stream, header_timeout| {
        let respond = |request: Request<Incoming>| async move {
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let text = format!("{path}: {} bytes", body.len());
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
        };
        let mut builder = server::Builder::new();
        builder.timer(GreenTimer::new()).header_read_timeout(header_timeout);
        green::block_on(builder.serve_connection(Async::new(stream), service_fn(respond)))
    };
    let accepts = green::spawn(move || {
        let threads: Vec<_> = header_timeouts
            .into_iter()
            .map(|header_timeout| {
                let (stream, _) = listener.accept().unwrap();
                green::spawn(move || connection(stream, header_timeout))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    (addr, accepts)
}

fn on_workers(f: impl Fn() + Send + Sync) {
    for workers in [1, 2] {
        green::Runtime::builder().workers(workers).build().unwrap().run(|| green::timeout(LONG, &f).unwrap());
    }
}

#[test]
fn a_client_sends_many_requests_over_one_connection() {
    on_workers(|| {
        let (addr, served) = serve([LONG]);
        green::block_on(async {
            let stream = Async::new(TcpStream::connect(addr).unwrap());
            let (mut sender, connection) = client::handshake(stream).await.unwrap();
            GreenExecutor::new().execute(async move { connection.await.unwrap() });
            for (number, len) in [0, 10, 100_000].into_iter().enumerate() {
                sender.ready().await.unwrap();
                let body = Full::new(Bytes::from(vec![7; len]));
                let request = Request::post(format!("/{number}")).header("host", "here").body(body).unwrap();
                let response = sender.send_request(request).await.unwrap();
                let text = response.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(text, format!("/{number}: {len} bytes"));
            }
        });
        assert!(served.join().unwrap().iter().all(Result::is_ok));
    });
}

#[test]
fn a_head_that_does_not_end_is_given_up_and_one_that_does_is_answered() {
    on_workers(|| {
        let start = Instant::now();
        let limit = Duration::from_millis(20);
        let (addr, served) = serve([limit, LONG]);
        let mut slow = TcpStream::connect(addr).unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nhost: he").unwrap();
        let mut quick = TcpStream::connect(addr).unwrap();
        quick.write_all(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        quick.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
        let ended = slow.read_to_end(&mut Vec::new());
        assert!(start.elapsed() >= limit, "{ended:?}");
        let [slow, quick] = served.join().unwrap().try_into().unwrap();
        assert!(slow.unwrap_err().is_timeout());
        assert!(quick.is_ok());
    });
}

#[test]
fn a_request_that_gets_no_answer_ends_at_its_deadline() {
    on_workers(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let answer = green::timeout(Duration::from_millis(20), || {
            green::block_on(async {
                let stream = Async::new(TcpStream::connect(addr).unwrap());
                let (mut sender, connection) = client::handshake(stream).await.unwrap();
                GreenExecutor::new().execute(async move {
                    let _ = connection.await;
                });
                sender.send_request(Request::new(Empty::<Bytes>::new())).await.is_ok()
            })
        });
        assert!(answer.is_err());
    });
}

#[test]
fn a_sleep_ends_at_its_deadline_wherever_it_is_polled() {
    let sleeps = || {
        let (timer, start) = (GreenTimer::new(), Instant::now());
        let d = Duration::from_millis(5);
        green::block_on(timer.sleep(d));
        assert!(start.elapsed() >= d);
        green::block_on(timer.sleep_until(start + d * 2));
        assert!(start.elapsed() >= d * 2);
        let mut sleep = timer.sleep(LONG);
        timer.reset(&mut sleep, start + d * 3);
        green::block_on(sleep);
        assert!(start.elapsed() >= d * 3 && start.elapsed() < LONG);
    };
    sleeps();
    futures::executor::block_on(GreenTimer::new().sleep(Duration::from_millis(1)));
    on_workers(sleeps);
}

#[test]
fn a_runtime_that_ends_ends_what_was_executed() {
    struct Tells(green::channel::Sender<()>);
    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }
    let (sender, dropped) = green::channel::bounded(1);
    let runtime = green::Runtime::builder().workers(1).build().unwrap();
    runtime.run(|| {
        let tells = Tells(sender);
        GreenExecutor::new().execute(async move {
            let _tells = tells;
            GreenTimer::new().sleep(LONG).await;
        });
        green::yield_now();
    });
    drop(runtime);
    dropped.recv_timeout(LONG).unwrap();
}
