//! Crates from crates.io, as they are, on many green threads of one worker.
#![cfg(green_std)]

mod help;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded, select, unbounded};
use help::{many, on_one_worker, on_two_workers};
use parking_lot::{Condvar, Mutex, RwLock};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

green_std::interpose!();

#[test]
fn crossbeam_channel() {
    on_one_worker(|| {
        for (sender, receiver) in [bounded(0), bounded(3), unbounded()] {
            let sums = green::spawn(move || receiver.iter().sum::<usize>());
            many(20, |number| (0..50).for_each(|_| sender.send(number).unwrap()));
            drop(sender);
            assert_eq!(sums.join().unwrap(), (0..20).sum::<usize>() * 50);
        }
        let ((one, ones), (_two, twos)) = (bounded(0), bounded::<u32>(0));
        let sends = green::spawn(move || one.send(7).unwrap());
        select! {
            recv(ones) -> got => assert_eq!(got, Ok(7)),
            recv(twos) -> _ => unreachable!("nobody sends"),
        }
        sends.join().unwrap();
        assert_eq!(twos.recv_timeout(Duration::from_millis(5)), Err(RecvTimeoutError::Timeout));
    });
}

fn locks_of_parking_lot() {
    let (count, lock) = (Mutex::new(0), RwLock::new(0));
    let (turn, changed) = (Mutex::new(0), Condvar::new());
    many(100, |number| {
        for _ in 0..10 {
            let mut count = count.lock();
            let before = *count;
            green::yield_now();
            *count = before + 1;
        }
        if number % 10 == 0 {
            let mut value = lock.write();
            green::yield_now();
            *value += 1;
        } else {
            let value = lock.read();
            green::yield_now();
            assert!(*value <= 10);
        }
        let mut turn = turn.lock();
        changed.wait_while(&mut turn, |turn| *turn != number);
        *turn += 1;
        changed.notify_all();
    });
    assert_eq!((count.into_inner(), lock.into_inner(), turn.into_inner()), (1000, 10, 100));
}

#[test]
fn parking_lot() {
    on_one_worker(locks_of_parking_lot);
}

#[test]
fn parking_lot_while_threads_move() {
    on_two_workers(locks_of_parking_lot);
}

#[test]
fn rayon_is_called_by_green_threads() {
    on_one_worker(|| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        many(20, |number| {
            let sum: usize = pool.install(|| (0..1000).into_par_iter().map(|n| n * number).sum());
            assert_eq!(sum, 499_500 * number);
        });
    });
}

#[test]
fn rayons_workers_are_green_threads() {
    on_one_worker(|| {
        let ended = AtomicUsize::new(0);
        let ended: &'static AtomicUsize = Box::leak(Box::new(ended));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).spawn_handler(|thread| {
            drop(green::spawn(move || {
                thread.run();
                ended.fetch_add(1, Ordering::Relaxed);
            }));
            Ok(())
        });
        let pool = pool.build().unwrap();
        many(20, |number| {
            let sum: usize = pool.install(|| (0..1000).into_par_iter().map(|n| n * number).sum());
            assert_eq!(sum, 499_500 * number);
        });
        drop(pool);
        help::until(|| ended.load(Ordering::Relaxed) == 4);
    });
}

/// Answers requests with the path that was asked for.
fn serve(listener: &TcpListener, requests: usize) {
    green::scope(|scope| {
        for _ in 0..requests {
            let (mut stream, _) = listener.accept().unwrap();
            scope.spawn(move || {
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let path = head[0].split(' ').nth(1).unwrap();
                std::thread::sleep(Duration::from_millis(20));
                let len = path.len();
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{path}").unwrap();
            });
        }
    });
}

#[test]
fn ureq() {
    const REQUESTS: usize = 60;
    on_one_worker(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = green::spawn(move || serve(&listener, REQUESTS));
        many(REQUESTS, |number| {
            let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(100))).build();
            let agent = ureq::Agent::new_with_config(config);
            let mut response = agent.get(format!("http://{address}/{number}")).call().unwrap();
            assert_eq!(response.body_mut().read_to_string().unwrap(), format!("/{number}"));
        });
        server.join().unwrap();
    });
}

#[test]
fn attohttpc() {
    const REQUESTS: usize = 60;
    on_one_worker(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = green::spawn(move || serve(&listener, REQUESTS));
        many(REQUESTS, |number| {
            let response = attohttpc::get(format!("http://{address}/{number}")).send().unwrap();
            assert_eq!(response.text().unwrap(), format!("/{number}"));
        });
        server.join().unwrap();
    });
}

/// Its own runtime is in an OS thread, for which the caller waits.
#[test]
fn reqwest_blocking() {
    const REQUESTS: usize = 60;
    on_one_worker(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = green::spawn(move || serve(&listener, REQUESTS));
        let client = reqwest::blocking::Client::builder().timeout(Duration::from_secs(100)).build().unwrap();
        many(REQUESTS, |number| {
            let response = client.get(format!("http://{address}/{number}")).send().unwrap();
            assert_eq!(response.text().unwrap(), format!("/{number}"));
        });
        // Its end is waited for as well.
        drop(client);
        server.join().unwrap();
    });
}

/// Makes connections that are numbers.
struct Numbers(AtomicUsize);

impl r2d2::ManageConnection for Numbers {
    type Connection = usize;
    type Error = std::io::Error;

    fn connect(&self) -> Result<usize, std::io::Error> {
        Ok(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn is_valid(&self, _: &mut usize) -> Result<(), std::io::Error> {
        Ok(())
    }

    fn has_broken(&self, _: &mut usize) -> bool {
        false
    }
}

#[test]
fn r2d2() {
    on_one_worker(|| {
        let pool = r2d2::Pool::builder().max_size(3).build(Numbers(AtomicUsize::new(0))).unwrap();
        many(50, |_| {
            let connection = pool.get().unwrap();
            std::thread::sleep(Duration::from_millis(2));
            assert!(*connection < 3);
        });
        let held: Vec<_> = (0..3).map(|_| pool.get().unwrap()).collect();
        assert!(pool.get_timeout(Duration::from_millis(10)).is_err());
        drop(held);
    });
}
