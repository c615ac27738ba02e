//! A counter in green: as it is on the page on migration, src/actor/MIGRATING.md, so that it is compiled and run.

use green::actor::{Actor, messages};

struct Counter(i64);
impl Actor for Counter {}

messages! {
    impl Counter {
        fn Add(&mut self, n: i64) {
            self.0 += n;
        }
        fn Double(&mut self) {
            self.0 *= 2;
        }
        fn Get(&self) -> i64 {
            self.0
        }
        fn Take(&mut self) -> i64 {
            std::mem::take(&mut self.0)
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let counter = Counter(0).start();
    counter.tell(Add(5))?;
    counter.tell(Double)?;
    assert_eq!(counter.send(Get)?, 10);
    assert_eq!(counter.send(Take)?, 10);
    Ok(())
}
