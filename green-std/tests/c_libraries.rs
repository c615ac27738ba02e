//! Libraries in C, by crates that only call them: SQLite, and OpenSSL. They find this program's functions in the place of libc's.
#![cfg(green_std)]

mod help;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use help::{many, on_one_worker, on_two_workers};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{SslAcceptor, SslConnector, SslMethod};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};
use rusqlite::Connection;

green_std::interpose!();

/// A folder that is gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("green-std-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A number is read, and written a while later, in a transaction; the others are told that the database is busy, sleep, and try again.
fn busy_connections(test: &str) {
    const THREADS: usize = 20;
    let folder = Folder::new(test);
    let open = || {
        let connection = Connection::open(folder.0.join("db")).unwrap();
        connection.busy_timeout(Duration::from_secs(200)).unwrap();
        connection
    };
    let first = open();
    first
        .execute_batch("pragma synchronous = off; create table sums (n integer); insert into sums values (0)")
        .unwrap();
    many(THREADS, |_| {
        let connection = open();
        connection.execute_batch("pragma synchronous = off; begin immediate").unwrap();
        let n: i64 = connection.query_row("select n from sums", [], |row| row.get(0)).unwrap();
        green::sleep(Duration::from_millis(1));
        connection.execute("update sums set n = ?1", [n + 1]).unwrap();
        connection.execute_batch("commit").unwrap();
    });
    assert_eq!(first.query_row("select n from sums", [], |row| row.get(0)), Ok(THREADS as i64));
}

#[test]
fn rusqlite_waits_for_a_busy_database() {
    on_one_worker(|| busy_connections("one"));
}

#[test]
fn rusqlite_waits_for_a_busy_database_while_threads_move() {
    on_two_workers(|| busy_connections("moving"));
}

#[test]
fn a_connection_of_rusqlite_behind_a_lock() {
    const THREADS: usize = 100;
    on_one_worker(|| {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("create table sums (n integer); insert into sums values (0)").unwrap();
        let connection = Mutex::new(connection);
        many(THREADS, |_| {
            let mut connection = connection.lock().unwrap();
            let transaction = connection.transaction().unwrap();
            let n: i64 = transaction.query_row("select n from sums", [], |row| row.get(0)).unwrap();
            green::yield_now();
            transaction.execute("update sums set n = ?1", [n + 1]).unwrap();
            transaction.commit().unwrap();
        });
        let n = connection.lock().unwrap().query_row("select n from sums", [], |row| row.get(0));
        assert_eq!(n, Ok(THREADS as i64));
    });
}

/// A server with a certificate that it has signed itself, and a client that trusts it.
fn both_ends() -> (SslAcceptor, SslConnector) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "green").unwrap();
    let name = name.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    certificate.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(2).unwrap()).unwrap();
    let names = SubjectAlternativeName::new().dns("green.test").build(&certificate.x509v3_context(None, None)).unwrap();
    certificate.append_extension(names).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    let certificate = certificate.build();

    let mut server = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    server.set_private_key(&key).unwrap();
    server.set_certificate(&certificate).unwrap();
    let mut client = SslConnector::builder(SslMethod::tls_client()).unwrap();
    client.cert_store_mut().add_cert(certificate).unwrap();
    (server.build(), client.build())
}

fn tls_clients_and_a_server() {
    const CLIENTS: usize = 40;
    const LEN: usize = 300_000;
    let (server, client) = both_ends();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    green::scope(|scope| {
        let (server, client) = (&server, &client);
        scope.spawn(move || {
            green::scope(|scope| {
                for _ in 0..CLIENTS {
                    let (stream, _) = listener.accept().unwrap();
                    scope.spawn(move || {
                        let mut stream = server.accept(stream).unwrap();
                        let mut got = vec![0; LEN];
                        stream.read_exact(&mut got).unwrap();
                        // More than the buffers of both ends have room for: writers wait, too.
                        got.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
                        stream.write_all(&got).unwrap();
                        stream.shutdown().unwrap();
                    });
                }
            });
        });
        for number in 0..CLIENTS {
            scope.spawn(move || {
                let mut stream = client.connect("green.test", TcpStream::connect(address).unwrap()).unwrap();
                stream.write_all(&vec![number as u8; LEN]).unwrap();
                let mut got = Vec::new();
                stream.read_to_end(&mut got).unwrap();
                assert!(got.len() == LEN && got.iter().all(|byte| *byte == number as u8 + 1));
            });
        }
    });
}

#[test]
fn openssl_on_one_worker() {
    on_one_worker(tls_clients_and_a_server);
}

#[test]
fn openssl_while_threads_move() {
    on_two_workers(tls_clients_and_a_server);
}
