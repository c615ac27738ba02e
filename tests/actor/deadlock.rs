//! Nobody waits in a cycle; re-entrancy where it is asked for.

use std::time::Duration;

use green::actor::{Actor, Addr, Builder, Context, Handler, Mailbox, Message, SendError};

use crate::{Do, Gate, LONG, Puppet, everywhere, hold};

/// Asks along a ring.
struct Link {
    next: Option<Addr<Link>>,
    reenters: bool,
    seen: u32,
}
impl Actor for Link {
    const MAILBOX: Mailbox = Mailbox::bounded(2);
    /// A chain of thousands takes its time, where others have the processors. Who asks the first says how long.
    const ASK_TIMEOUT: Duration = Duration::from_secs(3600);
}

struct Next(Addr<Link>);
impl Message for Next {
    type Reply = ();
}
impl Handler<Next> for Link {
    fn handle(&mut self, m: Next, _: &mut Context<Self>) {
        self.next = Some(m.0);
    }
}

/// How many more actors to ask; the reply says how many were told of a deadlock, and of how long a cycle.
struct Round(u32);
impl Message for Round {
    type Reply = (u32, usize);
}
impl Handler<Round> for Link {
    fn handle(&mut self, m: Round, ctx: &mut Context<Self>) -> (u32, usize) {
        self.seen += 1;
        let Some(next) = self.next.clone().filter(|_| m.0 > 0) else { return (0, 0) };
        let round = Round(m.0 - 1);
        let answer = if self.reenters { ctx.reenter(self).send(&next, round) } else { next.send(round) };
        match answer {
            Ok(answer) => answer,
            Err(SendError::Deadlock { msg: Some(_), cycle }) => (1, cycle.len()),
            Err(error) => panic!("{error}"),
        }
    }
}

struct Seen;
impl Message for Seen {
    type Reply = u32;
}
impl Handler<Seen> for Link {
    fn handle(&mut self, _: Seen, _: &mut Context<Self>) -> u32 {
        self.seen
    }
}

fn ring(len: usize, reenters: bool) -> Vec<Addr<Link>> {
    let links: Vec<_> = (0..len).map(|_| Link { next: None, reenters, seen: 0 }.start()).collect();
    for at in 0..len {
        links[at].send(Next(links[(at + 1) % len].clone())).unwrap();
    }
    links
}

/// Rings keep themselves alive.
fn end(links: Vec<Addr<Link>>) {
    links.iter().for_each(Addr::kill);
}

#[test]
fn a_cycle_of_asks_is_answered_at_once_with_its_members() {
    everywhere(|| {
        for len in 1..6 {
            let links = ring(len, false);
            assert_eq!(links[0].send_timeout(Round(100), LONG).unwrap(), (1, len));
            assert_eq!(links[0].send_timeout(Round(len as u32 - 1), LONG).unwrap(), (0, 0), "no cycle");
            end(links);
        }
    });
}

/// Only the one that closes the cycle is told: its handler goes on, and the others get what it answers.
#[test]
fn the_message_names_the_cycle_and_only_the_one_that_closes_it_is_told() {
    everywhere(|| {
        let named = |name: &str| Builder::new().name(name).start(Puppet::new().0).unwrap();
        let (one, two, three) = (named("one"), named("two"), Puppet::new().0.start());
        let text = |error: &dyn std::error::Error| error.to_string();
        let closes = {
            let one = one.clone();
            Do::new(move |_: &mut Puppet, _| text(&one.send(Do::new(|_, _| ())).unwrap_err()))
        };
        let last = three.clone();
        let middle = Do::new(move |_: &mut Puppet, _| last.send(closes).unwrap());
        let next = two.clone();
        let first = Do::new(move |_: &mut Puppet, _| next.send(middle).unwrap());
        let (a, b, c) = (one.id(), two.id(), three.id());
        let expected =
            format!("waiting would close a cycle: {c} waits for {a} \"one\" waits for {b} \"two\" waits for {c}");
        assert_eq!(one.send_timeout(first, LONG).unwrap(), expected);
        [one, two, three].iter().for_each(Addr::kill);
    });
}

#[test]
fn a_cycle_of_thousands_is_told_as_well() {
    let runtime = crate::help::builder().workers(2).build().unwrap();
    runtime.run(|| {
        let len = crate::help::scaled(6000);
        let links = ring(len, false);
        // One that is not told ends by the time-out.
        assert_eq!(links[0].send_timeout(Round(len as u32), 5 * LONG).unwrap(), (1, len));
        end(links);
    });
}

#[test]
fn actors_that_close_a_cycle_at_once_do_not_hang() {
    everywhere(|| {
        let rounds = crate::help::scaled(100);
        let links = ring(3, false);
        for _ in 0..rounds {
            let pending: Vec<_> = links.iter().map(|link| link.call(Round(3)).unwrap()).collect();
            let answers: Vec<_> = pending.into_iter().map(|reply| reply.wait_timeout(LONG).unwrap()).collect();
            assert!(answers.iter().all(|(told, len)| (*told == 0) == (*len == 0)), "{answers:?}");
        }
        end(links);
    });
}

#[test]
fn a_reentrant_ring_goes_round_and_round() {
    everywhere(|| {
        for len in 1..5 {
            let links = ring(len, true);
            assert_eq!(links[0].send_timeout(Round(20), LONG).unwrap(), (0, 0));
            let seen: u32 = links.iter().map(|link| link.send(Seen).unwrap()).sum();
            assert_eq!(seen, 21);
            end(links);
        }
    });
}

#[test]
fn reenter_lets_in_its_own_chain_only() {
    everywhere(|| {
        let ((one, log), (two, _)) = (Puppet::new(), Puppet::new());
        let (one, two) = (one.start(), two.start());
        let (me, other) = (one.clone(), two.clone());
        let outer = Do::new(move |puppet: &mut Puppet, ctx: &mut Context<Puppet>| {
            let stranger = me.clone();
            let inner = Do::new(move |_: &mut Puppet, _: &mut Context<Puppet>| {
                // Not of the chain: it stays queued.
                stranger.tell(Do::new(|me, _| me.write("stranger"))).unwrap();
                me.send(Do::new(|me, _| me.write("of the chain"))).unwrap();
                5
            });
            let n = ctx.reenter(puppet).send(&other, inner).unwrap();
            puppet.write("outer");
            n
        });
        assert_eq!(one.send_timeout(outer, LONG).unwrap(), 5);
        one.send(Do::new(|_, _| ())).unwrap();
        assert_eq!(log.try_iter().collect::<Vec<_>>(), ["of the chain", "outer", "stranger"]);
    });
}

#[test]
fn a_call_of_the_chain_is_let_in_too() {
    everywhere(|| {
        let ((one, _l1), (two, _l2)) = (Puppet::new(), Puppet::new());
        let (one, two) = (one.start(), two.start());
        let (me, other) = (one.clone(), two.clone());
        let outer = Do::new(move |puppet: &mut Puppet, ctx: &mut Context<Puppet>| {
            let inner = Do::new(move |_: &mut Puppet, _: &mut Context<Puppet>| {
                let pending: Vec<_> = (0..3).map(|n| me.call(Do::new(move |_, _| n)).unwrap()).collect();
                pending.into_iter().map(|reply| reply.wait().unwrap()).sum::<i32>()
            });
            ctx.reenter(puppet).send(&other, inner).unwrap()
        });
        assert_eq!(one.send_timeout(outer, LONG).unwrap(), 3);
    });
}

#[test]
fn a_panic_in_a_handler_that_was_let_in_ends_the_outer_one_too() {
    everywhere(|| {
        let ((one, _l1), (two, _l2)) = (Puppet::new(), Puppet::new());
        let (one, two) = (one.start(), two.start());
        let (me, other) = (one.clone(), two.clone());
        let outer = Do::new(move |puppet: &mut Puppet, ctx: &mut Context<Puppet>| {
            let inner = Do::new(move |_: &mut Puppet, _: &mut Context<Puppet>| {
                let bang = Do::<()>::new(|_, _| std::panic::resume_unwind(Box::new("bang")));
                assert!(matches!(me.send(bang), Err(SendError::Died(_))));
            });
            ctx.reenter(puppet).send(&other, inner).unwrap();
        });
        match one.send_timeout(outer, LONG) {
            Err(SendError::Died(green::actor::Exit::Panic(text))) => assert_eq!(text, "bang"),
            other => panic!("{other:?}"),
        }
        assert_eq!(two.send(Do::new(|_, _| 1)).unwrap(), 1);
    });
}

#[test]
fn a_reenter_that_is_left_by_a_time_out_lets_nothing_in_any_more() {
    everywhere(|| {
        let ((one, _l1), (two, _l2)) = (Puppet::new(), Puppet::new());
        let (one, two) = (one.start(), two.start());
        let (begun, gate) = (Gate::new(), Gate::new());
        let (me, other, begins, until) = (one.clone(), two.clone(), begun.clone(), gate.clone());
        let (sender, answer) = std::sync::mpsc::channel();
        let outer = Do::new(move |puppet: &mut Puppet, ctx: &mut Context<Puppet>| {
            // Of the chain that was let in, and sent when nobody waits there any more.
            let inner = Do::new(move |_: &mut Puppet, _: &mut Context<Puppet>| {
                begins.open();
                until.wait();
                sender.send(me.send(Do::new(|_, _| 3)).map_err(|error| error.to_string())).unwrap();
            });
            let mut reenter = ctx.reenter(puppet);
            assert!(green::timeout(Duration::from_millis(10), || reenter.send(&other, inner)).is_err());
            gate.open();
        });
        one.send_timeout(outer, LONG).unwrap();
        // On a machine with much else to do the time may be over before `two` has begun; then nothing was let in.
        if begun.is_open() {
            assert_eq!(crate::next(&answer), Ok(3));
        }
    });
}

#[test]
fn a_time_out_around_a_reenter_waits_for_the_handler_that_was_let_in() {
    everywhere(|| {
        let ((one, _l1), (two, _l2)) = (Puppet::new(), Puppet::new());
        let (one, two) = (one.start(), two.start());
        let begun = Gate::new();
        let (me, other, begins) = (one.clone(), two.clone(), begun.clone());
        let (sender, answer) = std::sync::mpsc::channel();
        let outer = Do::new(move |puppet: &mut Puppet, ctx: &mut Context<Puppet>| {
            let inner = Do::new(move |_: &mut Puppet, _: &mut Context<Puppet>| {
                begins.open();
                let slow = Do::new(|_, _| green::sleep(Duration::from_millis(20)));
                sender.send(me.send(slow).map_err(|error| error.to_string())).unwrap();
                green::thread::park();
            });
            let mut reenter = ctx.reenter(puppet);
            green::timeout(Duration::from_millis(10), || reenter.send(&other, inner)).is_err()
        });
        assert!(one.send_timeout(outer, LONG).unwrap());
        if begun.is_open() {
            assert_eq!(crate::next(&answer), Ok(()));
        }
        assert_eq!(one.send(Do::new(|_, _| 1)).unwrap(), 1, "it lives");
        two.kill();
    });
}

#[test]
fn an_ask_that_is_answered_but_not_resumed_closes_no_cycle() {
    let runtime = crate::help::builder().workers(1).build().unwrap();
    runtime.run(|| {
        let ((one, _l1), (two, _l2)) = (Puppet::new(), Puppet::new());
        let (one, two) = (one.start(), two.start());
        let gate = hold(&one);
        let (to_one, to_two) = (one.clone(), two.clone());
        let asks = two.call(Do::new(move |_, _| to_one.send(Do::new(|_, _| 1)).unwrap())).unwrap();
        while one.queued() == 0 {
            green::yield_now();
        }
        // In the same run as the answer to `two`, which cannot go on before this one waits.
        let back = one.call(Do::new(move |_, _| to_two.send(Do::new(|_, _| 2)).is_ok())).unwrap();
        gate.open();
        assert!(back.wait_timeout(LONG).unwrap());
        assert_eq!(asks.wait().unwrap(), 1);
    });
}

/// The first waits for the second, which puts the reply off and asks back: only the deadline sees that. As another thread may
/// have the reply, the first is not told of a cycle either.
fn waits_for_a_reply_that_was_put_off(wait: impl Fn(&Addr<Puppet>, Do<i32>) -> i32 + Send + Sync + Copy + 'static) {
    everywhere(move || {
        let ((first, _log), (second, _other_log)) = (Puppet::new(), Puppet::new());
        let (first, second) = (first.start(), second.start());
        let (put_off, gate) = (Gate::new(), Gate::new());
        let (ask, until, done) = (second.clone(), gate.clone(), put_off.clone());
        let asks = move |_: &mut Puppet, _: &mut Context<Puppet>| {
            let puts_off = move |_: &mut Puppet, ctx: &mut Context<Puppet>| {
                let reply = ctx.defer::<Do<i32>>();
                ctx.spawn(move || {
                    until.wait();
                    reply.reply(7);
                });
                done.open();
                0
            };
            wait(&ask, Do::new(puts_off))
        };
        let reply = first.call(Do::new(asks)).unwrap();
        put_off.wait();
        let asks_back = move |_: &mut Puppet, _: &mut Context<Puppet>| {
            matches!(first.send_timeout(Do::new(|_, _| 1), Duration::from_millis(20)), Err(SendError::Timeout(Some(_))))
        };
        assert!(second.send(Do::new(asks_back)).unwrap());
        gate.open();
        assert_eq!(reply.wait_timeout(LONG).unwrap(), 7);
    });
}

#[test]
fn an_ask_whose_reply_was_put_off_is_no_edge_and_ends_at_its_deadline() {
    waits_for_a_reply_that_was_put_off(|actor, job| actor.send_timeout(job, LONG).unwrap());
}

#[test]
fn a_call_whose_reply_was_put_off_is_no_edge_either() {
    waits_for_a_reply_that_was_put_off(|actor, job| actor.call(job).unwrap().wait_timeout(LONG).unwrap());
}

fn puppets<const N: usize>() -> [Addr<Puppet>; N] {
    std::array::from_fn(|_| Puppet::new().0.start())
}

/// In a handler of `first`: asks `second` to pass the ask on to `third`, in this or that way.
fn passes_on<R: Send + 'static>(
    second: &Addr<Puppet>,
    third: &Addr<Puppet>,
    before: impl FnOnce() + Send + 'static,
    job: Do<R>,
    otherwise: fn() -> R,
) -> Result<R, SendError<Do<R>>> {
    let to = third.recipient();
    let forwards = move |_: &mut Puppet, ctx: &mut Context<Puppet>| {
        before();
        ctx.forward(&to, job).unwrap();
        otherwise()
    };
    second.send_timeout(Do::new(forwards), LONG)
}

/// Was the asker told of a cycle of two? Then what it had sent is still on its way, or its handler has started.
fn told<M>(answer: Result<u32, SendError<M>>) -> u32 {
    match answer {
        Ok(told) => told,
        Err(SendError::Deadlock { cycle, .. }) => u32::from(cycle.len() == 2),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn whoever_an_ask_was_forwarded_to_closes_a_cycle_by_asking_back() {
    everywhere(|| {
        let [first, second, third] = puppets();
        let (me, to) = (first.clone(), third.clone());
        // Either asks while the other waits; which is the second to wait is not known.
        let asks_back = move |_: &mut Puppet, _: &mut Context<Puppet>| told(me.send_timeout(Do::new(|_, _| 0), LONG));
        let asks = move |_: &mut Puppet, _: &mut Context<Puppet>| {
            told(passes_on(&second, &to, || {}, Do::new(asks_back), || 0))
        };
        assert_eq!(first.send_timeout(Do::new(asks), LONG).unwrap(), 1);
        assert_eq!(third.send_timeout(Do::new(|_, _| 3), LONG).unwrap(), 3, "nobody waits any more");
    });
}

#[test]
fn who_forwards_an_ask_to_one_that_waits_for_the_asker_has_the_asker_told() {
    everywhere(|| {
        let [first, second, third] = puppets();
        let (me, to) = (first.clone(), third.clone());
        // Before it is forwarded, the third asks the first, which waits.
        let before = move || {
            let ask = me.clone();
            to.tell(Do::new(move |_, _| ask.send_timeout(Do::new(|_, _| ()), LONG).unwrap())).unwrap();
            while me.queued() == 0 {
                green::yield_now();
            }
        };
        let back = third.clone();
        let asks = move |_: &mut Puppet, ctx: &mut Context<Puppet>| {
            let me = ctx.id();
            match passes_on(&second, &third, before, Do::new(|_, _| 1), || 2) {
                Err(SendError::Deadlock { msg: None, cycle }) => cycle.len() == 2 && cycle.contains(&me),
                other => panic!("{other:?}"),
            }
        };
        assert!(first.send_timeout(Do::new(asks), LONG).unwrap());
        assert_eq!(back.send_timeout(Do::new(|_, _| 3), LONG).unwrap(), 3, "nobody waits any more");
    });
}

#[test]
fn an_ask_that_is_forwarded_to_its_asker_is_a_cycle_of_one() {
    everywhere(|| {
        let [first, second] = puppets();
        let me = first.clone();
        let asks = move |_: &mut Puppet, _: &mut Context<Puppet>| match passes_on(
            &second,
            &me,
            || {},
            Do::new(|_, _| 1),
            || 2,
        ) {
            Err(SendError::Deadlock { msg: None, cycle }) => *cycle == [me.id()],
            other => panic!("{other:?}"),
        };
        assert!(first.send_timeout(Do::new(asks), LONG).unwrap());
    });
}

#[test]
fn an_ask_that_is_forwarded_to_its_reentrant_asker_is_let_in() {
    everywhere(|| {
        let [first, second] = puppets();
        let asks = move |puppet: &mut Puppet, ctx: &mut Context<Puppet>| {
            let to = ctx.addr().recipient();
            let forwards = move |_: &mut Puppet, ctx: &mut Context<Puppet>| {
                ctx.forward(&to, Do::new(|_, _| 5)).unwrap();
                0
            };
            ctx.reenter(puppet).send(&second, Do::new(forwards)).unwrap()
        };
        assert_eq!(first.send_timeout(Do::new(asks), LONG).unwrap(), 5);
    });
}

/// Puts work aside until it has asked its peer.
struct Lazy {
    peer: Option<Addr<Puppet>>,
    put_aside: Gate,
}
impl Actor for Lazy {}
struct Work;
impl Message for Work {
    type Reply = u32;
}
impl Handler<Work> for Lazy {
    fn handle(&mut self, m: Work, ctx: &mut Context<Self>) -> u32 {
        if !self.put_aside.is_open() {
            ctx.stash(m).unwrap();
            self.put_aside.open();
        }
        0
    }
}
struct AskPeer;
impl Message for AskPeer {
    type Reply = u32;
}
impl Handler<AskPeer> for Lazy {
    fn handle(&mut self, _: AskPeer, ctx: &mut Context<Self>) -> u32 {
        let peer = self.peer.take().expect("it is asked once");
        let told = told(peer.send_timeout(Do::new(|_, _| 0), LONG));
        ctx.unstash();
        told
    }
}

#[test]
fn who_has_put_an_ask_aside_and_asks_back_closes_a_cycle() {
    everywhere(|| {
        let [first] = puppets();
        let put_aside = Gate::new();
        let lazy = Lazy { peer: Some(first.clone()), put_aside: put_aside.clone() }.start();
        let ask = lazy.clone();
        let asks = first.call(Do::new(move |_, _| told(ask.send_timeout(Work, LONG)))).unwrap();
        put_aside.wait();
        let told = lazy.send_timeout(AskPeer, LONG).unwrap() + asks.wait_timeout(LONG).unwrap();
        assert!((1..=2).contains(&told), "{told} were told");
    });
}

#[test]
fn a_ring_of_full_mailboxes_is_answered() {
    everywhere(|| {
        let puppets: Vec<_> =
            (0..3).map(|_| Builder::new().mailbox(Mailbox::bounded(1)).start(Puppet::new().0).unwrap()).collect();
        let gates: Vec<_> = puppets.iter().map(hold).collect();
        // Behind the gate each tells the next one twice: the second finds the mailbox full.
        for at in 0..3 {
            let next = puppets[(at + 1) % 3].clone();
            let flood = Do::new(move |_: &mut Puppet, _: &mut Context<Puppet>| {
                for _ in 0..50 {
                    match next.tell(Do::new(|_, _| ())) {
                        Ok(()) | Err(SendError::Closed(_)) => {}
                        Err(SendError::Deadlock { msg: Some(_), cycle }) => assert!(cycle.len() <= 3),
                        Err(error) => panic!("{error}"),
                    }
                }
            });
            puppets[at].tell(flood).unwrap();
        }
        gates.iter().for_each(|gate| gate.open());
        for puppet in &puppets {
            assert_eq!(puppet.send_timeout(Do::new(|_, _| 1), LONG).unwrap(), 1);
        }
    });
}

#[test]
fn an_actor_that_fills_its_own_mailbox_is_told() {
    everywhere(|| {
        let puppet = Builder::new().mailbox(Mailbox::bounded(1)).start(Puppet::new().0).unwrap();
        let me = puppet.clone();
        let fill = Do::new(move |_, ctx: &mut Context<Puppet>| {
            me.tell(Do::new(|_, _| ())).unwrap();
            let second = me.tell(Do::new(|_, _| ()));
            ctx.notify(Do::new(|_, _| ())).unwrap();
            matches!(second, Err(SendError::Deadlock { msg: Some(_), ref cycle }) if **cycle == [me.id()])
        });
        assert!(puppet.send(fill).unwrap());
        assert_eq!(puppet.send(Do::new(|_, _| 1)).unwrap(), 1);
    });
}
