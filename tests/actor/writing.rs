//! What makes actors short to write.

use std::cell::Cell;
use std::error::Error;
use std::fmt;

use green::actor::{Actor, Context, Deferred, Exit, Handler, Message, Recipient, SendError, messages};

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

/// Those that wait for a number, and the numbers.
#[derive(Default)]
struct Desk {
    waiting: Vec<Deferred<i64>>,
    last: i64,
}
impl Actor for Desk {}

messages! {
    impl Desk {
        /// Waits for the next number.
        #[derive(Debug, PartialEq)]
        pub fn Next(&mut self, reply: Deferred<i64>) { self.waiting.push(reply) }
        fn Announce(&mut self, number: i64, twice: bool) {
            self.last = if twice { 2 * number } else { number };
            for waiting in self.waiting.drain(..) {
                waiting.reply(self.last);
            }
        }
        pub(crate) fn Last(&self) -> i64 { self.last }
        fn NextOf(&mut self, ctx: &mut Context<Self>, reply: Deferred<i64>, other: Recipient<Last>,) {
            ctx.forward_reply(&other, Last, reply).ok();
        }
        fn Break(&mut self, ctx: &mut Context<Self>) -> bool {
            ctx.fail("broken");
            ctx.deadline().is_some()
        }
        fn Drop(&mut self, _reply: Deferred<Vec<Vec<u8>>>, how: &'static str) { assert_eq!(how, "quietly", "{how}") }
    }

    struct Empty;
    pub(crate) struct Pair(pub(crate) i64, i64) -> i64;
    struct Named { one: i64, two: i64 } -> Result<i64, String>;
}

impl Handler<Pair> for Desk {
    fn handle(&mut self, m: Pair, _: &mut Context<Self>) -> i64 {
        m.0 + m.1
    }
}
impl Handler<Named> for Desk {
    fn handle(&mut self, m: Named, _: &mut Context<Self>) -> Result<i64, String> {
        Ok(m.one - m.two)
    }
}
impl Handler<Empty> for Desk {
    fn handle(&mut self, _: Empty, _: &mut Context<Self>) {}
}

#[test]
fn messages_and_handlers_are_written_as_functions() {
    everywhere(|| {
        let desk = Desk::default().start();
        desk.send(Announce(4, true)).unwrap();
        assert_eq!(desk.send(Last).unwrap(), 8);
        assert_eq!(desk.send(Pair(1, 2)).unwrap(), 3);
        assert_eq!(desk.send(Named { one: 1, two: 2 }).unwrap(), Ok(-1));
        desk.send(Empty).unwrap();
        assert!(desk.send(Break).unwrap());
        assert_eq!(desk.join(), Exit::Error("broken".to_owned()));
    });
}

#[test]
fn a_handler_with_the_right_to_reply_returns_nothing() {
    everywhere(|| {
        let desk = Desk::default().start();
        desk.tell(Next).unwrap();
        let (first, second) = (desk.call(Next).unwrap(), desk.call(Next).unwrap());
        let asker = desk.clone();
        let asks = green::spawn(move || asker.send(Next).unwrap());
        while desk.send(Last).is_ok() && !asks.is_finished() {
            desk.send(Announce(5, false)).unwrap();
        }
        assert_eq!((first.wait().unwrap(), second.wait().unwrap(), asks.join().unwrap()), (5, 5, 5));

        let other = Desk { last: 9, ..Desk::default() }.start();
        assert_eq!(desk.send(NextOf(other.recipient())).unwrap(), 9);
        desk.tell(NextOf(other.recipient())).unwrap();
        other.kill();
        other.join();
        assert!(matches!(desk.send(NextOf(other.recipient())), Err(SendError::Died(Exit::Killed))));
        assert!(matches!(desk.send(Drop("quietly")), Err(SendError::NoReply)));
    });
}

#[test]
fn a_panic_of_a_handler_with_the_right_to_reply_tells_the_cause() {
    everywhere(|| {
        let desk = Desk::default().start();
        let waits = desk.call(Next).unwrap();
        let cause = Exit::Panic("loudly".to_owned());
        let lost = desk.send(Drop("loudly"));
        assert!(matches!(lost, Err(SendError::Died(Exit::Panic(text))) if text.contains("loudly")), "{cause}");
        assert!(matches!(waits.wait(), Err(SendError::Died(Exit::Panic(_)))));
    });
}

#[test]
fn a_stashed_or_forwarded_ask_reaches_a_handler_with_the_right_to_reply() {
    struct Front(Recipient<Next>);
    impl Actor for Front {}
    impl Handler<Next> for Front {
        fn handle(&mut self, m: Next, ctx: &mut Context<Self>) -> i64 {
            ctx.forward(&self.0, m).unwrap();
            0
        }
    }
    everywhere(|| {
        let desk = Desk::default().start();
        let front = Front(desk.recipient()).start();
        let pending = front.call(Next).unwrap();
        front.stop();
        front.join();
        desk.send(Announce(3, false)).unwrap();
        assert_eq!(pending.wait().unwrap(), 3);
    });
}

/// The page on migration counts the lines of one program, written four times.
#[test]
fn the_same_counter_has_as_many_lines_as_the_page_says_and_no_more_than_thirty_here() {
    let page = include_str!("../../src/actor/MIGRATING.md");
    let (_, page) = page.split_once("# One counter, four times").unwrap();
    let programs: Vec<_> = page.split("```").skip(1).step_by(2).collect();
    let is_written = |line: &&str| !line.trim().is_empty();
    for (library, program) in ["green", "kameo", "ractor", "actix"].into_iter().zip(programs) {
        // The first line is that of the fence.
        let lines = program.lines().skip(1).filter(is_written).count();
        let row = page.lines().find(|line| line.starts_with(&format!("| {library} |"))).unwrap();
        let said: usize = row.split('|').nth(2).unwrap().trim().parse().unwrap();
        assert_eq!(lines, said, "{library}");
        assert!(library != "green" || lines <= 30);
    }
}
