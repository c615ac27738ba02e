//! A web server made of other people's blocking code, on one OS thread: for each request a query to PostgreSQL, a count in Redis, connections from a pool that is a
//! crossbeam channel. It asks itself for 200 pages at once, by ureq, and ends.
//!
//! ```text
//! GREEN_TEST_REDIS=redis://127.0.0.1 GREEN_TEST_POSTGRES="host=localhost user=me" cargo run -p green-std --example guestbook
//! ```

use std::env::var;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use postgres::NoTls;
use redis::Commands;

green_std::interpose!();

const PAGES: usize = 200;
const CONNECTIONS: usize = 20;

/// Clients of both servers, for whoever has a request to answer: a thread that finds none parks in `recv`.
struct Pool {
    give: Sender<(postgres::Client, redis::Connection)>,
    take: Receiver<(postgres::Client, redis::Connection)>,
}

impl Pool {
    fn connect() -> Result<Pool, Box<dyn Error>> {
        let (give, take) = bounded(CONNECTIONS);
        let redis = redis::Client::open(var("GREEN_TEST_REDIS")?)?;
        for _ in 0..CONNECTIONS {
            give.send((postgres::Client::connect(&var("GREEN_TEST_POSTGRES")?, NoTls)?, redis.get_connection()?))?;
        }
        Ok(Pool { give, take })
    }
}

fn answer(mut stream: TcpStream, pool: &Pool) -> Result<(), Box<dyn Error>> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut first = String::new();
    BufReader::new(&stream).read_line(&mut first)?;
    let name = first.split(['/', ' ']).nth(2).unwrap_or("nobody").to_owned();

    let (mut postgres, mut redis) = pool.take.recv()?;
    let greeting: String = postgres.query_one("select 'hello ' || $1::text, pg_sleep(0.02)", &[&name])?.get(0);
    let visits: u64 = redis.incr(format!("visits:{name}"), 1)?;
    pool.give.send((postgres, redis))?;

    let page = format!("{greeting}, visit {visits}");
    let len = page.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{page}")?;
    Ok(())
}

fn ask(address: SocketAddr, number: usize) -> String {
    let page = ureq::get(format!("http://{address}/guest-{number}")).call();
    page.and_then(|mut page| page.body_mut().read_to_string()).expect("the server answers")
}

fn serve_and_ask() {
    let pool = Pool::connect().expect("both servers run");
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let begun = Instant::now();
    let last = green::scope(|scope| {
        let pool = &pool;
        scope.spawn(move || {
            green::scope(|scope| {
                for stream in listener.incoming().take(PAGES) {
                    scope.spawn(move || answer(stream.expect("a client"), pool).expect("an answer"));
                }
            });
        });
        let asks: Vec<_> = (0..PAGES).map(|number| scope.spawn(move || ask(address, number))).collect();
        asks.into_iter().map(|ask| ask.join().expect("a page")).last()
    });
    println!("{PAGES} pages in {:.1?}, on one OS thread; the last: {}", begun.elapsed(), last.unwrap_or_default());
    println!("{:?}", green_std::counters());
}

fn main() -> std::io::Result<()> {
    let runtime = green::Runtime::builder().workers(1).thread_locals(green::ThreadLocals::PerThread).build()?;
    runtime.run(serve_and_ask);
    Ok(())
}
