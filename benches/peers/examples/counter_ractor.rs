//! A counter in ractor: as it is on the page on migration, src/actor/MIGRATING.md, so that it is compiled and run.

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, call, cast};

enum Msg {
    Add(i64),
    Double,
    Get(RpcReplyPort<i64>),
    Take(RpcReplyPort<i64>),
}

struct Counter;

impl Actor for Counter {
    type Msg = Msg;
    type State = i64;
    type Arguments = i64;

    async fn pre_start(&self, _: ActorRef<Msg>, n: i64) -> Result<i64, ActorProcessingErr> {
        Ok(n)
    }

    async fn handle(
        &self,
        _: ActorRef<Msg>,
        msg: Msg,
        sum: &mut i64,
    ) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Add(n) => *sum += n,
            Msg::Double => *sum *= 2,
            Msg::Get(reply) => reply.send(*sum)?,
            Msg::Take(reply) => reply.send(std::mem::take(sum))?,
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (counter, _) = Actor::spawn(None, Counter, 0).await?;
    cast!(counter, Msg::Add(5))?;
    cast!(counter, Msg::Double)?;
    assert_eq!(call!(counter, Msg::Get)?, 10);
    assert_eq!(call!(counter, Msg::Take)?, 10);
    Ok(())
}
