//! The test kit: what it expects, what it says when that does not come, and hours that take no time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use green::actor::testkit::{Mock, TestProbe, assert_no_actors_left, run};
use green::actor::{
    Actor, Addr, Backoff, Child, Context, Exit, Handler, Message, Recipient, Restart, SendError, Supervisor, Timer,
    messages,
};
use green::time::now;

use crate::help::{bounded, everywhere};
use crate::{Add, Counter, Get};

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

messages! {
    #[derive(Debug, PartialEq)]
    struct Line(u32);
    struct Ask(u32) -> u32;
}

/// What `f` panics with. It may be inside of `run`.
#[track_caller]
fn complaint(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it does not complain");
    payload.downcast_ref::<String>().cloned().unwrap_or_else(|| payload.downcast_ref::<&str>().unwrap().to_string())
}

#[test]
fn a_probe_gives_messages_in_order_and_tells_when_none_comes() {
    run(|| {
        let probe = TestProbe::<Line>::new();
        (1..=3).for_each(|n| probe.recipient().tell(Line(n)).unwrap());
        assert_eq!(probe.expect(), Line(1));
        assert_eq!(probe.expect_within(SECOND), Line(2));
        assert!(complaint(|| probe.expect_none(SECOND)).contains("Line came after 0ns"));
        probe.expect_none(HOUR);
        let start = now();
        assert!(complaint(|| _ = probe.expect()).ends_with("Line came within 10s"));
        assert!(now() - start >= 10 * SECOND);
    });
}

#[test]
fn fishing_drops_what_is_not_wanted_and_counts_it() {
    run(|| {
        let probe = TestProbe::<Line>::new();
        (1..=5).for_each(|n| probe.recipient().tell(Line(n)).unwrap());
        assert_eq!(probe.fish_for(|line| line.0 == 3), Line(3));
        assert_eq!(probe.expect(), Line(4));
        let said = complaint(|| _ = probe.fish_for(|line| line.0 == 3));
        assert!(said.ends_with("that was wanted came within 10s, but 1 others"), "{said}");
    });
}

#[test]
fn a_probe_answers_asks() {
    run(|| {
        let probe = TestProbe::replying(|ask: &Ask| ask.0 * 2);
        assert_eq!(probe.recipient().send(Ask(4)).unwrap(), 8);
        assert_eq!(probe.expect().0, 4);
        assert_eq!(TestProbe::<Ask>::new().recipient().send(Ask(4)).unwrap(), 0);
    });
}

#[test]
fn a_probe_sees_the_ends_of_actors_in_whatever_order_it_expects_them() {
    everywhere(|| {
        let probe = TestProbe::<Line>::new();
        let (a, b, c) = (Counter(0).start(), Counter(0).start(), Counter(0).start());
        probe.watch(&a);
        probe.watch(&b.recipient::<Add>());
        b.kill();
        a.stop();
        assert_eq!(probe.expect_down(&a), Exit::Shutdown);
        assert_eq!(probe.expect_down(&b), Exit::Killed);
        c.stop();
        c.join();
        assert_eq!(probe.expect_down(&c), Exit::Shutdown, "it was over before it was watched");
    });
}

#[test]
fn threads_that_expect_ends_by_one_probe_all_get_them() {
    everywhere(|| {
        let probe = TestProbe::<Line>::new();
        let actors: Vec<_> = (0..8).map(|_| Counter(0).start()).collect();
        green::scope(|s| {
            // Each end is expected by two, and comes while all wait.
            let expect = |n: usize| (probe.expect_down(&actors[n]), n);
            let threads: Vec<_> = (0..16).map(|n| s.spawn(move || expect(n / 2))).collect();
            for (n, actor) in actors.iter().enumerate().rev() {
                green::yield_now();
                if n % 2 == 0 { actor.stop() } else { actor.kill() }
            }
            for (exit, n) in threads.into_iter().map(|thread| thread.join().unwrap()) {
                assert_eq!(exit, if n % 2 == 0 { Exit::Shutdown } else { Exit::Killed });
            }
        });
    });
}

#[test]
fn an_end_that_was_expected_is_not_taken_for_the_next() {
    run(|| {
        let probe = TestProbe::<Line>::new();
        let sup =
            Supervisor::one_for_one().intensity(10, SECOND).child(Child::new("c", || Counter(0))).start().unwrap();
        let counter = sup.get::<Counter>("c").unwrap();
        counter.kill();
        assert_eq!(probe.expect_down(&counter), Exit::Killed);
        green::sleep(HOUR);
        probe.watch(&counter);
        probe.watch(&counter);
        counter.stop();
        assert_eq!(probe.expect_down(&counter), Exit::Shutdown);
        sup.shutdown(SECOND);
    });
}

#[test]
fn an_end_that_does_not_come_is_told_with_the_name() {
    run(|| {
        let probe = TestProbe::<Line>::new();
        let lasting = green::actor::Builder::new().name("lasting").start(Counter(0)).unwrap();
        let said = complaint(|| _ = probe.expect_down(&lasting));
        assert!(said.starts_with("actor ") && said.ends_with("\"lasting\" has not ended within 10s"), "{said}");
        lasting.stop();
        assert_eq!(probe.expect_down(&lasting), Exit::Shutdown);
    });
}

#[test]
fn a_mock_answers_by_type_and_dies_of_what_it_does_not_know() {
    fn sum<A: Handler<Add> + Handler<Get>>(counter: &Addr<A>) -> Result<i64, SendError<Get>> {
        counter.tell(Add(1)).unwrap();
        counter.send(Get)
    }
    run(|| {
        let mock = Mock::new().on(|_: Get| 1).on(|_: Add| ()).on(|_: Get| 7).start();
        assert_eq!(sum(&mock).unwrap(), 7, "the later answer counts");
        let Err(SendError::Died(Exit::Panic(why))) = mock.send(Ask(1)) else { panic!("it has an answer") };
        assert!(why.starts_with("the mock has no answer to ") && why.ends_with("Ask"), "{why}");
    });
}

#[test]
fn actors_that_are_left_are_named() {
    let said = complaint(|| {
        run(|| {
            let named = green::actor::Builder::new().name("forgotten").start(Counter(0)).unwrap();
            std::mem::forget(named);
            std::mem::forget(Counter(0).start());
        });
    });
    assert!(said.starts_with("2 of the test's actors are left: actor ") && said.contains("\"forgotten\""), "{said}");
}

#[test]
fn actors_that_are_about_to_end_are_waited_for_and_a_caller_does_not_wait_for_itself() {
    struct Checks;
    impl Actor for Checks {}
    impl Handler<Get> for Checks {
        fn handle(&mut self, _: Get, _: &mut Context<Self>) -> i64 {
            let counter = Counter(0).start();
            counter.tell(Add(1)).unwrap();
            drop(counter);
            assert_no_actors_left();
            1
        }
    }
    run(|| Checks.start().send(Get).unwrap());
}

#[test]
fn a_test_that_fails_says_so_and_not_that_actors_are_left() {
    let said = complaint(|| {
        run(|| {
            std::mem::forget(Counter(0).start());
            panic!("the test's own");
        });
    });
    assert_eq!(said, "the test's own");
}

/// Says when it starts, and fails at once when it does not have what it needs.
struct Flaky {
    born: Recipient<Line>,
    lives: u32,
}

impl Actor for Flaky {
    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
        self.born.tell(Line(self.lives))?;
        ctx.send_after(SECOND, Fail);
        Ok(())
    }
}

struct Fail;
impl Message for Fail {
    type Reply = ();
}
impl Handler<Fail> for Flaky {
    fn handle(&mut self, _: Fail, ctx: &mut Context<Self>) {
        ctx.fail("as always");
    }
}

#[test]
fn hours_of_back_off_pass_in_no_time_and_to_the_second() {
    let real = Instant::now();
    run(|| {
        let probe = TestProbe::<Line>::new();
        let (born, mut lives) = (probe.recipient(), 0);
        let flaky = Child::new("flaky", move || {
            lives += 1;
            Flaky { born: born.clone(), lives }
        });
        let sup = Supervisor::one_for_one()
            .backoff(Backoff::exponential(HOUR..=64 * HOUR))
            .intensity(1000, HOUR)
            .child(flaky.restart(Restart::Permanent))
            .start()
            .unwrap();
        assert_eq!(probe.expect(), Line(1));
        // A second of life, then the pause: 1, 2, 4, … hours, 64 at most.
        for (n, hours) in [1, 2, 4, 8, 16, 32, 64, 64, 64].into_iter().enumerate() {
            let start = now();
            assert_eq!(probe.expect_within(HOUR * 100), Line(n as u32 + 2));
            let passed = now() - start;
            let due = SECOND + HOUR * hours;
            assert!(passed >= due && passed < due + Duration::from_millis(1), "{passed:?}, not {due:?}");
        }
        sup.shutdown(HOUR);
    });
    // It is some milliseconds, on a machine that is not stopped or slow.
    assert!(real.elapsed() < Duration::from_secs(60), "a fortnight took {:?}", real.elapsed());
}

#[test]
fn a_supervisor_bears_deaths_that_are_hours_apart_and_not_those_within_its_window() {
    run(|| {
        let probe = TestProbe::<Line>::new();
        let start = |pause: Duration| {
            let born = probe.recipient();
            let one = Supervisor::one_for_one().backoff(Backoff::exponential(pause..=pause)).intensity(2, HOUR);
            one.child(Child::new("flaky", move || Flaky { born: born.clone(), lives: 0 })).start().unwrap()
        };
        let patient = start(HOUR);
        green::sleep(1000 * HOUR);
        assert!(!patient.is_ended());
        patient.shutdown(HOUR);
        let hasty = start(SECOND);
        let begin = now();
        assert!(matches!(hasty.join(), Exit::Escalated { .. }));
        assert!(now() - begin < Duration::from_secs(10));
    });
}

/// Notes the beats of its timers.
struct Clockwork {
    out: Recipient<Line>,
    beat: Option<Timer>,
}
impl Actor for Clockwork {
    const RECEIVE_TIMEOUT: Option<Duration> = Some(Duration::from_secs(24 * 3600));
    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
        self.beat = Some(ctx.interval(HOUR, || Beat));
        Ok(())
    }
    fn signal(&mut self, _: green::actor::Signal, _: &mut Context<Self>) {
        let _ = self.out.tell(Line(24));
    }
}
messages! {
    impl Clockwork {
        fn Beat(&mut self) { let _ = self.out.tell(Line(1)); }
        fn Halt(&mut self) { self.beat.take().unwrap().cancel() }
    }
}

#[test]
fn actors_timers_and_receive_time_outs_go_by_virtual_time_and_can_be_cancelled() {
    run(|| {
        let probe = TestProbe::<Line>::new();
        let clockwork = Clockwork { out: probe.recipient(), beat: None }.start();
        let start = now();
        for n in 1..=10 {
            assert_eq!(probe.expect_within(HOUR + SECOND), Line(1));
            let passed = now() - start;
            assert!(passed >= n * HOUR && passed < n * HOUR + SECOND, "{passed:?}");
        }
        clockwork.send(Halt).unwrap();
        let halted = now();
        assert_eq!(probe.expect_within(25 * HOUR), Line(24), "silent for a day");
        assert!(now() - halted >= 24 * HOUR - SECOND, "{:?}", now() - halted);
        clockwork.stop();
        assert_eq!(probe.expect_down(&clockwork), Exit::Shutdown);
        probe.expect_none(100 * HOUR);
    });
}

#[test]
fn an_ask_times_out_after_its_time() {
    struct Deaf;
    impl Actor for Deaf {
        const ASK_TIMEOUT: Duration = HOUR;
    }
    impl Handler<Get> for Deaf {
        fn handle(&mut self, _: Get, _: &mut Context<Self>) -> i64 {
            green::sleep(2 * HOUR);
            0
        }
    }
    run(|| {
        let start = now();
        let deaf = Deaf.start();
        assert!(matches!(deaf.send(Get), Err(SendError::Timeout(None))));
        let passed = now() - start;
        assert!(passed >= HOUR && passed < HOUR + SECOND, "{passed:?}");
        deaf.kill();
    });
}

#[test]
fn a_probe_works_outside_of_virtual_time() {
    bounded(|| {
        let probe = TestProbe::<Line>::new();
        let out = probe.recipient();
        let thread = std::thread::spawn(move || out.tell(Line(1)).unwrap());
        assert_eq!(probe.expect(), Line(1));
        thread.join().unwrap();
        probe.expect_none(Duration::from_millis(1));
    });
}
