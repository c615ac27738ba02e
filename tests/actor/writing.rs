//! What makes actors short to write.

use std::cell::Cell;
use std::error::Error;
use std::fmt;

use green::actor::{Actor, Context, Exit, Handler, Message, SendError};

use crate::help::everywhere;
use crate::{Do, Puppet};

type AnyError = Box<dyn Error + Send + Sync>;

/// `Send`, and not `Sync`.
struct Parcel(Cell<u32>);
impl Message for Parcel {
    type Reply = ();
}
impl Handler<Parcel> for Puppet {
    fn handle(&mut self, m: Parcel, _: &mut Context<Self>) {
        self.write(format!("parcel {}", m.0.get()));
    }
}

#[test]
fn an_error_of_a_message_that_is_send_only_goes_through_a_question_mark() {
    fn is_for_anyhow(_: &(impl Error + Send + Sync + 'static)) {}
    fn sends(puppet: &green::actor::Addr<Puppet>) -> Result<(), AnyError> {
        puppet.send(Parcel(Cell::new(1)))?;
        puppet.kill();
        puppet.join();
        is_for_anyhow(&puppet.send(Parcel(Cell::new(2))).unwrap_err());
        puppet.tell(Parcel(Cell::new(3)))?;
        Ok(())
    }
    everywhere(|| {
        let puppet = Puppet::new().0.start();
        assert_eq!(sends(&puppet).unwrap_err().to_string(), "the actor has ended or is stopping");
        let Err(SendError::Closed(back)) = puppet.send(Parcel(Cell::new(4))) else { panic!("it has ended") };
        assert_eq!(back.into_inner().0.get(), 4);
    });
}

/// An error with a source, which does not say what the source says.
#[derive(Debug)]
struct Loading(std::num::ParseIntError);
impl fmt::Display for Loading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("loading the limit")
    }
}
impl Error for Loading {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn an_actor_fails_with_a_text_a_box_or_any_error() {
    struct Config(&'static str);
    impl Config {
        fn check(&self) -> Result<u32, Exit> {
            if self.0.is_empty() {
                return Err("no config".into());
            }
            if self.0 == "boxed" {
                Err(AnyError::from("from a box"))?;
            }
            Ok(self.0.parse().map_err(Loading)?)
        }
    }
    impl Actor for Config {
        fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> {
            self.check().map(drop)
        }
    }
    everywhere(|| {
        let ends = |config| Config(config).start().join().to_string();
        assert_eq!(ends(""), "failed: no config");
        assert_eq!(ends("boxed"), "failed: from a box");
        assert_eq!(ends("x"), "failed: loading the limit: invalid digit found in string");
        let puppet = Puppet::new().0.start();
        puppet.tell(Do::new(|_, ctx| ctx.fail("no luck"))).unwrap();
        assert_eq!(puppet.join(), Exit::Error("no luck".to_owned()));
    });
}
