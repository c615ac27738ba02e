//! State machines, by the rules of `gen_statem`.

use std::time::Duration;

use green::actor::{
    Actor, Addr, Backoff, Child, Context, Exit, Machine, On, SendError, Signal, StateMachine, Step, Supervisor,
    dead_letters, messages,
};

use crate::LONG;
use crate::help::{Gate, everywhere, until};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Door {
    Open,
    Closed,
    Locked,
}

messages! {
    #[derive(Clone, Debug)]
    struct Put(Door);
    /// Is put off while the door is locked.
    #[derive(Clone, Debug)]
    struct Pass(u32) -> u32;
    #[derive(Clone, Debug)]
    struct Again;
    struct Seen -> Vec<String>;
    struct Sleep(Gate, Gate);
    #[derive(Clone, Debug)]
    struct Break;
}

struct House {
    seen: Vec<String>,
    open_for: Option<Duration>,
}

impl StateMachine for House {
    type State = Door;
    const ASK_TIMEOUT: Duration = LONG;
    const POSTPONED: usize = 4;

    fn enter(&mut self, state: &Door, _: &mut Context<Machine<Self>>) -> Option<Duration> {
        self.seen.push(format!("{state:?}"));
        self.open_for.filter(|_| *state == Door::Open)
    }

    fn timed_out(&mut self, state: &Door, _: &mut Context<Machine<Self>>) -> Door {
        self.seen.push(format!("out of {state:?}"));
        if *state == Door::Open { Door::Closed } else { *state }
    }
}

impl On<Put> for House {
    fn on(&mut self, _: &Door, Put(door): Put, _: &mut Context<Machine<Self>>) -> Step<Door, Put> {
        Step::Go(door, ())
    }
}
impl On<Pass> for House {
    fn on(&mut self, state: &Door, pass: Pass, _: &mut Context<Machine<Self>>) -> Step<Door, Pass> {
        if *state == Door::Locked {
            return Step::Postpone(pass);
        }
        self.seen.push(format!("pass {}", pass.0));
        // Each closes a closed door: the first one locks it again.
        match (pass.0, state) {
            (100, _) => Step::Go(Door::Locked, 100),
            (number, _) => Step::Stay(number),
        }
    }
}
impl On<Again> for House {
    fn on(&mut self, _: &Door, _: Again, _: &mut Context<Machine<Self>>) -> Step<Door, Again> {
        Step::Again(())
    }
}
impl On<Seen> for House {
    fn on(&mut self, _: &Door, _: Seen, _: &mut Context<Machine<Self>>) -> Step<Door, Seen> {
        Step::Stay(self.seen.clone())
    }
}
impl On<Sleep> for House {
    fn on(&mut self, _: &Door, Sleep(begun, gate): Sleep, _: &mut Context<Machine<Self>>) -> Step<Door, Sleep> {
        begun.open();
        gate.wait();
        Step::Stay(())
    }
}
impl On<Break> for House {
    fn on(&mut self, _: &Door, _: Break, ctx: &mut Context<Machine<Self>>) -> Step<Door, Break> {
        ctx.fail("broken");
        Step::Stay(())
    }
}

fn house(state: Door, open_for: Option<Duration>) -> Addr<Machine<House>> {
    Machine::new(state, House { seen: vec![], open_for }).start()
}

fn seen(house: &Addr<Machine<House>>) -> Vec<String> {
    house.send(Seen).unwrap()
}

#[test]
fn a_state_is_entered_once_however_often_it_is_gone_to() {
    everywhere(|| {
        let house = house(Door::Closed, None);
        for door in [Door::Closed, Door::Open, Door::Open, Door::Locked, Door::Closed] {
            house.send(Put(door)).unwrap();
        }
        assert_eq!(seen(&house), ["Closed", "Open", "Locked", "Closed"]);
        house.send(Again).unwrap();
        assert_eq!(seen(&house).len(), 5, "but it can be entered anew");
    });
}

#[test]
fn postponed_messages_are_handled_in_their_order_at_the_change_of_the_state_before_others() {
    everywhere(|| {
        let (house, begun, gate) = (house(Door::Locked, None), Gate::new(), Gate::new());
        let early: Vec<_> = (0..3).map(|number| house.call(Pass(number)).unwrap()).collect();
        house.tell(Sleep(begun.clone(), gate.clone())).unwrap();
        begun.wait();
        // Queued before the state changes.
        house.tell(Put(Door::Open)).unwrap();
        house.tell(Pass(7)).unwrap();
        gate.open();
        for (number, reply) in early.into_iter().enumerate() {
            assert_eq!(reply.wait().unwrap() as usize, number);
        }
        assert_eq!(seen(&house), ["Locked", "Open", "pass 0", "pass 1", "pass 2", "pass 7"]);
    });
}

#[test]
fn a_message_may_be_postponed_again_and_keeps_its_place() {
    everywhere(|| {
        let house = house(Door::Locked, None);
        // The second locks the door again.
        for number in [1, 100, 2, 3] {
            house.tell(Pass(number)).unwrap();
        }
        house.send(Put(Door::Open)).unwrap();
        assert_eq!(seen(&house), ["Locked", "Open", "pass 1", "pass 100", "Locked"]);
        house.send(Put(Door::Closed)).unwrap();
        assert_eq!(seen(&house)[5..], ["Closed", "pass 2", "pass 3"]);
    });
}

#[test]
fn messages_that_do_not_change_the_state_leave_what_is_postponed() {
    everywhere(|| {
        let house = house(Door::Locked, None);
        let early = house.call(Pass(1)).unwrap();
        house.send(Put(Door::Locked)).unwrap();
        assert_eq!(seen(&house), ["Locked"]);
        house.send(Again).unwrap();
        assert_eq!(seen(&house), ["Locked", "Locked"], "tried again, and postponed again");
        house.send(Put(Door::Open)).unwrap();
        assert_eq!(early.wait().unwrap(), 1);
    });
}

#[test]
fn a_state_that_lasts_too_long_is_timed_out_and_what_was_postponed_comes_then() {
    everywhere(|| {
        let house = house(Door::Open, Some(Duration::from_millis(1)));
        until(|| seen(&house).len() == 3);
        assert_eq!(seen(&house), ["Open", "out of Open", "Closed"]);
    });
}

#[test]
fn a_change_of_the_state_takes_the_time_out_back_even_one_that_is_due() {
    everywhere(|| {
        let (house, begun, gate) = (house(Door::Closed, Some(Duration::from_millis(1))), Gate::new(), Gate::new());
        house.tell(Sleep(begun.clone(), gate.clone())).unwrap();
        begun.wait();
        house.tell(Put(Door::Open)).unwrap();
        house.tell(Put(Door::Locked)).unwrap();
        gate.open();
        // Open and locked follow each other at once, or the time-out comes first; never out of what has been left.
        until(|| seen(&house).last().is_some_and(|last| last == "Locked"));
        green::sleep(Duration::from_millis(3));
        let seen = seen(&house);
        assert!(
            seen == ["Closed", "Open", "Locked"] || seen == ["Closed", "Open", "out of Open", "Closed", "Locked"],
            "{seen:?}"
        );
    });
}

/// Goes from one state to the next, and sleeps through the time-out of the first.
struct Late {
    /// The states that were left by their time-outs.
    outs: Vec<u32>,
    is_away: bool,
}
messages! { struct Go(u32); struct Outs -> Vec<u32>; }
impl StateMachine for Late {
    type State = u32;
    fn enter(&mut self, _: &u32, _: &mut Context<Machine<Self>>) -> Option<Duration> {
        Some(Duration::from_millis(1)).filter(|_| !self.is_away)
    }
    fn timed_out(&mut self, state: &u32, _: &mut Context<Machine<Self>>) -> u32 {
        self.outs.push(*state);
        *state
    }
}
impl On<Go> for Late {
    fn on(&mut self, _: &u32, Go(to): Go, _: &mut Context<Machine<Self>>) -> Step<u32, Go> {
        // The time-out of the state that is left is due when this returns.
        green::sleep(Duration::from_millis(3));
        self.is_away = true;
        Step::Go(to, ())
    }
}
impl On<Outs> for Late {
    fn on(&mut self, _: &u32, _: Outs, _: &mut Context<Machine<Self>>) -> Step<u32, Outs> {
        Step::Stay(self.outs.clone())
    }
}

#[test]
fn a_time_out_that_was_due_before_the_state_changed_is_not_told_to_the_next() {
    everywhere(|| {
        for _ in 0..20 {
            let late = Machine::new(0, Late { outs: vec![], is_away: false }).start();
            late.send(Go(1)).unwrap();
            green::sleep(Duration::from_millis(2));
            // That of the first state may have come before the message.
            let outs = late.send(Outs).unwrap();
            assert!(!outs.contains(&1), "{outs:?}");
        }
    });
}

#[test]
fn what_is_postponed_beyond_the_bound_is_a_dead_letter_or_a_reply_that_does_not_come() {
    everywhere(|| {
        let house = house(Door::Locked, None);
        let early: Vec<_> = (0..4).map(|number| house.call(Pass(number)).unwrap()).collect();
        assert!(matches!(house.send(Pass(4)), Err(SendError::NoReply)));
        let before = dead_letters().count();
        house.tell(Pass(5)).unwrap();
        house.send(Put(Door::Open)).unwrap();
        assert!(dead_letters().count() > before);
        for (number, reply) in early.into_iter().enumerate() {
            assert_eq!(reply.wait().unwrap() as usize, number);
        }
    });
}

#[test]
fn a_machine_that_is_started_again_begins_in_its_first_state_and_keeps_what_was_postponed() {
    everywhere(|| {
        let make = || Machine::new(Door::Locked, House { seen: vec![], open_for: None });
        let child = Child::new("house", make).backoff(Backoff::none());
        let sup = Supervisor::one_for_one().child(child).start().unwrap();
        let house = sup.get::<Machine<House>>("house").unwrap();
        let early = house.call(Pass(1)).unwrap();
        house.send(Break).unwrap();
        until(|| sup.tree().find("house").unwrap().restarts == 1);
        assert_eq!(seen(&house), ["Locked"]);
        house.send(Put(Door::Open)).unwrap();
        assert_eq!(early.wait().unwrap(), 1);
    });
}

#[test]
fn what_is_postponed_when_the_machine_ends_goes_back() {
    everywhere(|| {
        let house = house(Door::Locked, None);
        let early = house.call(Pass(1)).unwrap();
        seen(&house);
        house.kill();
        assert_eq!(house.join(), Exit::Killed);
        assert!(matches!(early.wait(), Err(SendError::Died(Exit::Killed))));
    });
}

/// Outlives what it is linked to, and notices when nobody writes.
struct Guard(Addr<Machine<House>>, green::channel::Sender<Signal>);
impl StateMachine for Guard {
    type State = ();
    const TRAPS_EXITS: bool = true;
    const RECEIVE_TIMEOUT: Option<Duration> = Some(Duration::from_millis(1));

    fn enter(&mut self, (): &(), ctx: &mut Context<Machine<Self>>) -> Option<Duration> {
        ctx.link(&self.0);
        None
    }

    fn timed_out(&mut self, (): &(), _: &mut Context<Machine<Self>>) {}

    fn signal(&mut self, signal: Signal, _: &mut Context<Machine<Self>>) {
        self.1.send(signal).unwrap();
    }
}

#[test]
fn a_machine_may_trap_exits_and_have_a_receive_time_out() {
    everywhere(|| {
        let (house, (sender, signals)) = (house(Door::Open, None), green::channel::unbounded());
        let guard = Machine::new((), Guard(house.clone(), sender)).start();
        assert_eq!(signals.recv_timeout(LONG), Ok(Signal::ReceiveTimeout));
        house.kill();
        let is_exit = |signal| matches!(signal, Signal::LinkExit { reason: Exit::Killed, .. });
        assert!(signals.iter().take(1000).any(is_exit) && !guard.is_ended());
        guard.kill();
    });
}
