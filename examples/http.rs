//! HTTP/1.1 by hyper: `cargo run --bin http --features web -- [address]`, then `curl http://127.0.0.1:8080/`, or
//! `wrk -c 64 -t 1 http://127.0.0.1:8080/`.
//!
//! A green thread a connection, which waits for hyper's future by `block_on`; the socket is hyper's by an adapter of
//! `green::net`. Malformed input is answered as hyper does; the server stays. Ctrl-c or SIGTERM lets requests finish.

use std::convert::Infallible;
use std::pin::pin;
use std::process::ExitCode;
use std::task::Poll;
use std::time::Duration;

use green::future::GreenTimer;
use green::net::{Async, TcpStream};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};

mod serve;

/// How long a client may take for the head of a request.
const HEAD: Duration = Duration::from_secs(10);

async fn respond(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = |status, text: String| {
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        Ok(response)
    };
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => text(StatusCode::OK, "hello from a green thread\n".to_owned()),
        (&Method::POST, "/echo") => match request.into_body().collect().await {
            Ok(body) => Ok(Response::new(Full::new(body.to_bytes()))),
            Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
        },
        (_, path) => text(StatusCode::NOT_FOUND, format!("there is nothing at {path}\n")),
    }
}

fn main() -> ExitCode {
    green::run(|| {
        let (stop, stopping) = async_channel::bounded::<()>(1);
        let connection = move |stream: TcpStream| {
            let _ = stream.set_nodelay(true);
            let stopping = stopping.clone();
            green::block_on(async move {
                let mut builder = http1::Builder::new();
                builder.timer(GreenTimer::new()).header_read_timeout(HEAD);
                let mut connection = pin!(builder.serve_connection(Async::new(stream), service_fn(respond)));
                let mut stopped = pin!(async move { while stopping.recv().await.is_ok() {} });
                let mut told = false;
                std::future::poll_fn(|cx| {
                    if !told && stopped.as_mut().poll(cx).is_ready() {
                        told = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    match connection.as_mut().poll(cx) {
                        Poll::Ready(result) => Poll::Ready(result),
                        Poll::Pending => Poll::Pending,
                    }
                })
                .await
            })
        };
        serve::serve("127.0.0.1:8080", connection, move || drop(stop))
    })
}
