//! The servers. Each prints its address and serves until it is killed.

use std::io::{Read, Write};

use green::recorder::Detail;

const WORKERS: usize = 2;
const BUFFER: usize = 256;

pub fn serve(name: &str) {
    match name {
        "green" => green(Detail::default()),
        "green-off" => green(Detail::Off),
        "green-all" => green(Detail::All),
        "tokio" => tokio(),
        "std" => std(),
        _ => panic!("there is no server {name:?}"),
    }
}

fn echo(mut stream: impl Read + Write) {
    let mut buf = [0; BUFFER];
    loop {
        match stream.read(&mut buf) {
            Ok(n) if n > 0 && stream.write_all(&buf[..n]).is_ok() => {}
            _ => return,
        }
    }
}

fn green(recorder: Detail) {
    let runtime = green::Runtime::builder().workers(WORKERS).recorder(recorder).build().expect("a runtime");
    runtime.run(|| {
        let listener = green::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        println!("{}", listener.local_addr().expect("it is bound"));
        for stream in listener.incoming().flatten() {
            green::spawn(move || {
                let _ = stream.set_nodelay(true);
                echo(stream);
            });
        }
    });
}

fn tokio() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_io().build();
    runtime.expect("a runtime").block_on(async {
        // The accept loop is a task of a worker, as it is with green.
        let accepts = tokio::spawn(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            println!("{}", listener.local_addr().expect("it is bound"));
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { continue };
                tokio::spawn(async move {
                    let _ = stream.set_nodelay(true);
                    let mut buf = [0; BUFFER];
                    loop {
                        match stream.read(&mut buf).await {
                            Ok(n) if n > 0 && stream.write_all(&buf[..n]).await.is_ok() => {}
                            _ => return,
                        }
                    }
                });
            }
        });
        let _: Result<(), _> = accepts.await;
    });
}

/// A thread of the system for each connection.
fn std() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("it is bound"));
    for stream in listener.incoming().flatten() {
        std::thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(move || {
                let _ = stream.set_nodelay(true);
                echo(stream);
            })
            .expect("a thread");
    }
}
