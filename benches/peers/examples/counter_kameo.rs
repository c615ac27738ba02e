//! A counter in kameo: as it is on the page on migration, src/actor/MIGRATING.md, so that it is compiled and run.

use kameo::prelude::*;

#[derive(Actor)]
struct Counter(i64);

#[messages]
impl Counter {
    #[message]
    fn add(&mut self, n: i64) {
        self.0 += n;
    }

    #[message]
    fn double(&mut self) {
        self.0 *= 2;
    }

    #[message]
    fn get(&self) -> i64 {
        self.0
    }

    #[message]
    fn take(&mut self) -> i64 {
        std::mem::take(&mut self.0)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let counter = Counter::spawn(Counter(0));
    counter.tell(Add { n: 5 }).await?;
    counter.tell(Double).await?;
    assert_eq!(counter.ask(Get).await?, 10);
    assert_eq!(counter.ask(Take).await?, 10);
    Ok(())
}
