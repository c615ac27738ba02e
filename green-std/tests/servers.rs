//! Clients of real servers, as they are, on many green threads of one worker. `.ci/green-std` installs and starts the servers.
#![cfg(green_std)]

mod help;

use std::env::var;
use std::time::{Duration, Instant};

use help::{many, on_one_worker, on_two_workers};
use redis::Commands;

green_std::interpose!();

const CLIENTS: usize = 100;

/// `test` is a part of the keys: the tests share a server.
fn redis_clients(test: &str) {
    let client = redis::Client::open(var("GREEN_TEST_REDIS").unwrap()).unwrap();
    let begun = Instant::now();
    many(CLIENTS, |number| {
        let mut connection = client.get_connection().unwrap();
        let key = format!("{test}-{number}");
        for turn in 0..10 {
            let () = connection.set(&key, turn).unwrap();
            assert_eq!(connection.get::<_, u32>(&key).unwrap(), turn);
        }
        // It waits in the server.
        let nothing: Option<(String, String)> = connection.blpop(format!("{test}-empty-{number}"), 0.2).unwrap();
        assert_eq!(nothing, None);
    });
    assert!(begun.elapsed() < Duration::from_secs(10), "one after the other they take twenty seconds");
}

#[test]
#[ignore = "needs a server: .ci/green-std"]
fn redis_on_one_worker() {
    on_one_worker(|| redis_clients("one"));
}

#[test]
#[ignore = "needs a server: .ci/green-std"]
fn redis_while_threads_move() {
    on_two_workers(|| redis_clients("moving"));
}

fn postgres_clients() {
    let parameters = var("GREEN_TEST_POSTGRES").unwrap();
    let begun = Instant::now();
    many(CLIENTS, |number| {
        let mut client = postgres::Client::connect(&parameters, postgres::NoTls).unwrap();
        for turn in 0..5_i64 {
            let row = client.query_one("select $1::int8 * 2, pg_sleep(0.04)", &[&(number as i64 + turn)]).unwrap();
            assert_eq!(row.get::<_, i64>(0), (number as i64 + turn) * 2);
        }
    });
    assert!(begun.elapsed() < Duration::from_secs(10), "one after the other they take twenty seconds");
}

#[test]
#[ignore = "needs a server: .ci/green-std"]
fn postgres_on_one_worker() {
    on_one_worker(postgres_clients);
}

#[test]
#[ignore = "needs a server: .ci/green-std"]
fn postgres_while_threads_move() {
    on_two_workers(postgres_clients);
}
