//! Each send that an actor is refused, as the wait for it would close a cycle, is reported, whatever the wait would have been for.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use green::actor::{Addr, Builder, Context, Group, Handler, Lag, Mailbox, Message, Overflow, SendError, Topic};
use green::dump::{ThreadInfo, ThreadStatus};

use super::{Do, Puppet, WAYS, Way, full_at_one, help, puppet, told};

/// Asks another, whose handler asks back, where there is no room.
fn is_asked_back_when_full(way: Way) -> String {
    let (full, asked) = (full_at_one(&format!("full {way:?}")), puppet(&format!("asked {way:?}")));
    let back = full.clone();
    told(full.send(Do(Box::new(move |_, _| {
        let _fills = back.call(Do(Box::new(|_, _| String::new()))).unwrap();
        told(asked.send(Do(Box::new(move |me, ctx| way.ask(me, ctx, &back, Box::new(|_, _| String::new()))))))
    }))))
}

#[test]
fn an_ask_that_is_refused_before_it_waits_for_room_is_reported() {
    let ways = [Way::Plain, Way::Large, Way::LettingIn];
    let ended = help::in_a_child(&[("GREEN_WORKERS", "1")], || {
        for way in ways {
            let answer = is_asked_back_when_full(way);
            assert!(answer.starts_with("waiting would close a cycle: "), "{way:?}: {answer}");
        }
    });
    ended.assert_success();
    let said = ended.output;
    assert_eq!(said.matches("green: deadlock: 2 threads wait for one another\n").count(), ways.len(), "{said}");
    for (way, (waits, owes)) in ways.iter().flat_map(|way| [(way, ("full", "asked")), (way, ("asked", "full"))]) {
        let begins = format!("\"{waits} {way:?}\" waits at tests/deadlock_asks");
        let line = said.lines().find(|line| line.contains(&begins)).unwrap_or_else(|| panic!("{way:?}: {said}"));
        assert!(line.contains(" for a reply of actor "), "{said}");
        assert!(line.ends_with(&format!("\"{owes} {way:?}\"")), "{said}");
    }
}

/// Where the asked one asks back before the first waits, it is refused by what the actors know, and the table has one edge at most.
#[test]
fn each_refusal_of_an_ask_is_reported() {
    const ROUNDS: usize = 5;
    let ended = help::in_a_child(&[("GREEN_WORKERS", "2")], || {
        for _ in 0..ROUNDS {
            let (ping, pong) = (puppet("ping"), puppet("pong"));
            let (there, back) = (pong.clone(), ping.clone());
            let asks_back = Do(Box::new(move |_, _| told(back.send(Do(Box::new(|_, _| String::new()))))));
            let answer = told(ping.send(Do(Box::new(move |_, _| told(there.send(asks_back))))));
            assert!(answer.starts_with("waiting would close a cycle: "), "{answer}");
        }
    });
    ended.assert_success();
    let reports = ended.output.matches("green: deadlock: 2 threads wait for one another\n").count();
    assert!(reports >= ROUNDS, "{}", ended.output);
    let named = ["ping", "pong"].map(|asks| ended.output.matches(&format!("{asks:?} waits")).count());
    assert!(named.iter().all(|count| *count >= ROUNDS), "{}", ended.output);
}

/// Sends without waiting for the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ForRoom {
    Call,
    Tell,
}

impl ForRoom {
    fn send(self, to: &Addr<Puppet>) -> String {
        let nothing = Do(Box::new(|_, _| String::new()));
        let sent = match self {
            ForRoom::Call => to.call(nothing).map(drop),
            ForRoom::Tell => to.tell(nothing),
        };
        told(sent.map(|()| "sent".to_owned()))
    }
}

/// The line of the report that says for what the actor with this name waits for the other.
fn line<'a>(said: &'a str, waits: &str, wanted: &str, owes: &str) -> &'a str {
    let is_it = |line: &&str| {
        line.contains(&format!("{waits:?} waits")) && line.contains(wanted) && line.ends_with(&format!("{owes:?}"))
    };
    said.lines().find(is_it).unwrap_or_else(|| panic!("{waits} {wanted} {owes}: {said}"))
}

#[test]
fn a_call_or_a_tell_that_is_refused_before_it_waits_for_room_is_reported() {
    let ways = [ForRoom::Call, ForRoom::Tell];
    let ended = help::in_a_child(&[("GREEN_WORKERS", "1")], || {
        for way in ways {
            let (full, asked) = (full_at_one(&format!("full {way:?}")), puppet(&format!("asked {way:?}")));
            let back = full.clone();
            let answer = told(full.send(Do(Box::new(move |_, _| {
                let _fills = back.call(Do(Box::new(|_, _| String::new()))).unwrap();
                told(asked.send(Do(Box::new(move |_, _| way.send(&back)))))
            }))));
            assert!(answer.starts_with("waiting would close a cycle: "), "{way:?}: {answer}");
        }
    });
    ended.assert_success();
    let said = ended.output;
    assert_eq!(said.matches("green: deadlock: 2 threads wait for one another\n").count(), ways.len(), "{said}");
    for way in ways {
        let (full, asked) = (format!("full {way:?}"), format!("asked {way:?}"));
        line(&said, &full, " for a reply of actor ", &asked);
        let refused = line(&said, &asked, " for room in the mailbox of actor ", &full);
        assert!(refused.contains(" waits at tests/deadlock_asks/refused.rs:"), "{refused}");
    }
}

/// One waits for room of another, and that joins it: who waits for room is told, and has not known before.
#[test]
fn who_waits_for_room_of_one_that_joins_it_is_in_the_report() {
    let ways = [ForRoom::Call, ForRoom::Tell];
    let ended = help::in_a_child(&[("GREEN_WORKERS", "1")], || {
        for way in ways {
            let (full, sends) = (full_at_one(&format!("full {way:?}")), puppet(&format!("sends {way:?}")));
            let (to, waits) = (full.clone(), help::Spot::default());
            let (joined, waits_there) = (sends.clone(), waits.clone());
            let joins = full.call(Do(Box::new(move |_, _| {
                help::until(|| waits_there.waits_for() == Some("mailbox"));
                joined.stop();
                format!("{:?}", joined.join())
            })));
            help::until(|| full.queued() == 0);
            let _fills = full.call(Do(Box::new(|_, _| String::new()))).unwrap();
            let answer = told(sends.send(Do(Box::new(move |_, _| {
                waits.mark();
                way.send(&to)
            }))));
            assert!(answer.starts_with("waiting would close a cycle: "), "{way:?}: {answer}");
            assert_eq!(told(joins.unwrap().wait()), "Shutdown", "{way:?}");
        }
    });
    ended.assert_success();
    let said = ended.output;
    assert_eq!(said.matches("green: deadlock: 2 threads wait for one another\n").count(), ways.len(), "{said}");
    for way in ways {
        let (full, sends) = (format!("full {way:?}"), format!("sends {way:?}"));
        line(&said, &full, " waits for actor ", &sends);
        let refused = line(&said, &sends, " for room in the mailbox of actor ", &full);
        assert!(refused.contains(" waits at tests/deadlock_asks/refused.rs:"), "{refused}");
    }
}

/// There an ask is no edge for others, but actors find the cycle themselves.
#[test]
fn an_ask_that_is_refused_by_a_mailbox_that_drops_the_oldest_is_reported() {
    let ended = help::in_a_child(&[("GREEN_WORKERS", "1")], || {
        for way in WAYS {
            let newest = Mailbox::bounded(2).overflow(Overflow::DropOldest);
            let asks = Builder::new().name(format!("asks {way:?}")).mailbox(newest).start(Puppet).unwrap();
            let (back, asked) = (asks.clone(), puppet(&format!("asked {way:?}")));
            let asks_back = move |me: &mut Puppet, ctx: &mut Context<Puppet>| {
                way.ask(me, ctx, &back, Box::new(|_, _| String::new()))
            };
            let answer = told(asks.send(Do(Box::new(move |_, _| told(asked.send(Do(Box::new(asks_back))))))));
            assert!(answer.starts_with("waiting would close a cycle: "), "{way:?}: {answer}");
        }
    });
    ended.assert_success();
    let said = ended.output;
    assert_eq!(said.matches("green: deadlock: 2 threads wait for one another\n").count(), WAYS.len(), "{said}");
    for way in WAYS {
        let (asks, asked) = (format!("asks {way:?}"), format!("asked {way:?}"));
        line(&said, &asks, " for a reply of actor ", &asked);
        line(&said, &asked, " for a reply of actor ", &asks);
    }
}

/// A message of a topic, or a group.
#[derive(Clone)]
struct News;
impl Message for News {
    type Reply = ();
}
impl Handler<News> for Puppet {
    fn handle(&mut self, _: News, _: &mut Context<Self>) {}
}

/// Runs an act in a handler of one that an actor without room waits for. What the act says.
fn asked_by_one_without_room(
    name: &str,
    act: impl FnOnce(&mut Puppet, &mut Context<Puppet>, Addr<Puppet>) -> String + Send + 'static,
) -> String {
    let (full, asked) = (full_at_one(&format!("full {name}")), puppet(&format!("asked {name}")));
    let back = full.clone();
    told(full.send(Do(Box::new(move |_, _| {
        let _fills = back.call(Do(Box::new(|_, _| String::new()))).unwrap();
        told(asked.send(Do(Box::new(move |me, ctx| act(me, ctx, back)))))
    }))))
}

#[test]
fn a_send_that_is_refused_within_a_timeout_was_reported() {
    let ended = help::in_a_child(&[("GREEN_WORKERS", "1")], || {
        for way in WAYS {
            let answer = asked_by_one_without_room(&format!("{way:?}"), move |me, ctx, back| {
                let asks = || way.ask(me, ctx, &back, Box::new(|_, _| String::new()));
                green::timeout(Duration::from_secs(60), asks).unwrap()
            });
            assert!(answer.starts_with("waiting would close a cycle: "), "{way:?}: {answer}");
        }
        let answer = asked_by_one_without_room("Tell", |_, _, back| {
            green::timeout(Duration::from_secs(60), || ForRoom::Tell.send(&back)).unwrap()
        });
        assert!(answer.starts_with("waiting would close a cycle: "), "{answer}");
    });
    ended.assert_success();
    assert!(!ended.output.contains("deadlock: "), "{}", ended.output);
}

#[test]
fn the_report_of_a_message_to_all_members_that_is_refused_had_the_place_in_the_library() {
    let ended = help::in_a_child(&[("GREEN_WORKERS", "1")], || {
        let answer = asked_by_one_without_room("group", |_, _, back| {
            let members = Group::<News>::new("told without room");
            members.join(&back.recipient());
            members.tell_all(News).to_string()
        });
        assert_eq!(answer, "0");
    });
    ended.assert_success();
    let refused = line(&ended.output, "asked group", " for room in the mailbox of actor ", "full group");
    assert!(refused.contains(" waits at tests/deadlock_asks/refused.rs:"), "{refused}");
}

/// The subscriber publishes itself, and its relay waits for room there.
#[test]
fn the_report_of_what_is_published_and_refused_had_the_place_in_the_library() {
    let ended = help::in_a_child(&[("GREEN_WORKERS", "1")], || {
        let full = full_at_one("publishes");
        let (topic, back) = (Topic::<News>::new(), full.clone());
        topic.subscribe(&full.recipient(), 1, Lag::Block);
        let published = told(full.send(Do(Box::new(move |_, _| {
            back.tell(News).unwrap();
            assert_eq!(topic.publish(News), 1);
            help::until(has_one_that_waits_for_room);
            [topic.publish(News), topic.publish(News)].map(|count| count.to_string()).concat()
        }))));
        assert_eq!(published, "10");
    });
    ended.assert_success();
    let is_refused = |line: &&str| line.contains("\"publishes\" waits at ") && line.contains(" for room ");
    let refused = ended.output.lines().find(is_refused).unwrap_or_else(|| panic!("{}", ended.output));
    assert!(refused.contains(" waits at tests/deadlock_asks/refused.rs:"), "{refused}");
}

fn has_one_that_waits_for_room() -> bool {
    let mut has = false;
    let look = |thread: &ThreadInfo| {
        has |= matches!(thread.status(), ThreadStatus::Waiting("mailbox"));
        Ok(())
    };
    green::dump::for_each(look).unwrap();
    has
}

/// An act that sends itself to and fro, on top of those before it, while there is stack.
#[cfg(not(green_backend = "threads"))]
fn to_and_fro(to: Addr<Puppet>, from: Addr<Puppet>) -> super::Act {
    Box::new(move |me, ctx| told(ctx.reenter(me).send(&to, Do(to_and_fro(from, to.clone())))))
}

#[cfg(not(green_backend = "threads"))]
#[test]
fn an_ask_that_is_refused_as_its_chain_has_come_back_too_often_was_not_reported() {
    let ended = help::in_a_child(&[("GREEN_WORKERS", "1")], || {
        let (first, second) = (puppet("first"), puppet("second"));
        let answer = told(first.send(Do(to_and_fro(second.clone(), first.clone()))));
        assert!(answer.starts_with("waiting would close a cycle: "), "{answer}");
    });
    ended.assert_success();
    let said = ended.output;
    assert_eq!(said.matches("green: deadlock: 2 threads wait for one another\n").count(), 1, "{said}");
    line(&said, "first", " for a reply of actor ", "second");
    line(&said, "second", " for a reply of actor ", "first");
    assert!(said.contains(" waits at tests/deadlock_asks/refused.rs:"), "{said}");
}

/// Runs `f` while nobody reads standard error, and what is written there blocks. Then it goes on.
fn with_standard_error_full(f: impl FnOnce()) {
    let (mut reads, mut writes) = std::io::pipe().unwrap();
    // SAFETY: descriptors that are open.
    let (len, error) = unsafe { (libc::fcntl(writes.as_raw_fd(), libc::F_GETPIPE_SZ), libc::dup(2)) };
    writes.write_all(&vec![b'\n'; usize::try_from(len).unwrap()]).unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { libc::dup2(writes.as_raw_fd(), 2) }, 2);
    f();
    // SAFETY: as above.
    assert_eq!(unsafe { libc::dup2(error, 2) }, 2);
    drop(writes);
    let mut written = String::new();
    // Who writes has it open still.
    reads.read_to_string(&mut written).unwrap();
    eprintln!("{}", written.trim());
}

#[test]
fn who_got_room_while_its_refusal_was_written_was_in_the_report_and_had_sent() {
    let ended = help::in_a_child(&[("GREEN_WORKERS", "2")], || {
        let (full, sends) = (full_at_one("full"), puppet("sends"));
        let (to, waits, joins) = (full.clone(), help::Spot::default(), help::Gate::new());
        let (joined, waits_there, may_join) = (sends.clone(), waits.clone(), joins.clone());
        let first = full.call(Do(Box::new(move |_, _| {
            may_join.wait();
            joined.stop();
            format!("{:?}", joined.join())
        })));
        help::until(|| full.queued() == 0);
        let second = full.call(Do(Box::new(|_, _| String::new()))).unwrap();
        let third = sends.call(Do(Box::new(move |_, _| {
            waits.mark();
            ForRoom::Tell.send(&to)
        })));
        help::until(|| waits_there.waits_for() == Some("mailbox"));
        with_standard_error_full(|| {
            joins.open();
            help::until(|| waits_there.waits_for() != Some("mailbox"));
            let left = second.wait_timeout(Duration::from_millis(20));
            assert!(matches!(left, Err(SendError::Timeout(_))), "{left:?}");
        });
        eprintln!("answer: {}", told(third.unwrap().wait()));
        assert_eq!(told(first.unwrap().wait()), "Shutdown");
    });
    ended.assert_success();
    let (said, refused) = (&ended.output, "answer: waiting would close a cycle: ");
    assert_eq!(said.contains(refused), said.contains("deadlock: 2 threads wait for one another\n"), "{said}");
}
