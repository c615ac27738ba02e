//! Programs that are worth a picture.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use green::recorder::{Detail, Trace, snapshot};
use green::sync::Mutex;
use green::thread::Builder;

const THREADS: usize = 8;
const ROUNDS: usize = 20;

/// # Errors
///
/// There is no such program, or the system refuses a thread.
pub(crate) fn run(which: &str) -> io::Result<Trace> {
    let convoy = match which {
        "convoy" => true,
        "clean" => false,
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there is no demo {which:?}"))),
    };
    let runtime = green::Runtime::builder().workers(2).recorder(Detail::All).build()?;
    runtime.run(|| {
        let lock = Arc::new(Mutex::new(0_u32));
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let lock = Arc::clone(&lock);
                let work = move || {
                    for _ in 0..ROUNDS {
                        let held = convoy.then(|| lock.lock().expect("nobody panics"));
                        // As if for a reply, with the lock held.
                        green::sleep(Duration::from_micros(100));
                        drop(held);
                    }
                };
                Builder::new().name(format!("client {number}")).spawn(work)
            })
            .collect::<io::Result<_>>()?;
        for thread in threads {
            thread.join().map_err(|_| io::Error::other("a client has panicked"))?;
        }
        Ok(snapshot())
    })
}
