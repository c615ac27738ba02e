//! Timers by key, strict cancels, receive time-outs, streams that fail, the bound of the stash, a tell with a time-out.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use green::actor::{Actor, Builder, Context, Exit, Handler, Mailbox, Overflow, SendError, Signal, Timers, messages};

use crate::help::everywhere;
use crate::{Add, Counter, Do, LONG, Puppet, hold, next};

const SOON: Duration = Duration::from_millis(1);
const LATE: Duration = Duration::from_secs(3600);

fn line(text: &'static str) -> Do<()> {
    Do::new(move |me: &mut Puppet, _: &mut Context<Puppet>| me.write(text))
}

fn until(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < LONG);
        green::sleep(Duration::from_micros(100));
    }
}

#[test]
fn a_cancelled_timer_never_comes_although_it_was_queued() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let cancels = Do::new(|_, ctx: &mut Context<Puppet>| {
            let (once, beats) = (ctx.send_after(SOON, line("once")), ctx.interval(SOON, || line("beat")));
            let last = ctx.send_after(SOON, line("last"));
            // They are queued: this handler is on.
            until(|| once.is_over() && last.is_over());
            once.cancel();
            beats.cancel();
        });
        puppet.send(cancels).unwrap();
        assert_eq!(next(&log), "last");
        puppet.send(line("done")).unwrap();
        assert_eq!(next(&log), "done");
        puppet.kill();
        puppet.join();
        let rest: Vec<_> = log.try_iter().collect();
        assert_eq!(rest, ["stopping: was killed", "dropped"]);
    });
}

/// Keeps timers by key.
#[derive(Default)]
struct Keyed {
    timers: Timers<u32>,
    fired: Vec<(u32, u32)>,
}
impl Actor for Keyed {}
messages! {
    impl Keyed {
        fn Set(&mut self, ctx: &mut Context<Self>, key: u32, number: u32, d: Duration) {
            self.timers.set(key, ctx.send_after(d, Fired(key, number)));
            assert!(self.timers.is_set(&key));
        }
        /// Replaces a timer whose message is queued already.
        fn Reset(&mut self, ctx: &mut Context<Self>, key: u32) {
            let first = ctx.send_after(Duration::ZERO, Fired(key, 1));
            self.timers.set(key, first.clone());
            until(|| first.is_over());
            self.timers.set(key, ctx.send_after(Duration::ZERO, Fired(key, 2)));
        }
        fn Unset(&mut self, key: u32) {
            self.timers.cancel(&key);
            assert!(!self.timers.is_set(&key));
        }
        fn Clear(&mut self) { self.timers.cancel_all() }
        fn Fired(&mut self, key: u32, number: u32) { self.fired.push((key, number)) }
        fn All(&self) -> Vec<(u32, u32)> { self.fired.clone() }
        fn IsSet(&self, key: u32) -> bool { self.timers.is_set(&key) }
    }
}

#[test]
fn a_new_timer_replaces_the_old_one_of_its_key() {
    everywhere(|| {
        let keyed = Keyed::default().start();
        for number in 0..100 {
            keyed.send(Set(1, number, LATE)).unwrap();
            keyed.send(Set(2, number, LATE)).unwrap();
        }
        keyed.send(Set(1, 100, SOON)).unwrap();
        keyed.send(Unset(2)).unwrap();
        until(|| !keyed.send(All).unwrap().is_empty());
        assert_eq!(keyed.send(All).unwrap(), [(1, 100)]);
        assert!(!keyed.send(IsSet(1)).unwrap());
        for key in 0..100 {
            keyed.send(Set(key, key, Duration::ZERO)).unwrap();
        }
        until(|| keyed.send(All).unwrap().len() == 101);
        keyed.send(Set(5, 5, LATE)).unwrap();
        keyed.send(Clear).unwrap();
        assert!(!keyed.send(IsSet(5)).unwrap());
    });
}

#[test]
fn what_a_replaced_timer_has_queued_does_not_come() {
    everywhere(|| {
        let keyed = Keyed::default().start();
        for round in 0..20 {
            keyed.send(Reset(1)).unwrap();
            until(|| keyed.send(All).unwrap().last() == Some(&(1, 2)) && keyed.send(All).unwrap().len() == round + 1);
        }
        assert!(keyed.send(All).unwrap().iter().all(|fired| *fired == (1, 2)));
    });
}

#[test]
fn the_first_beat_comes_at_once_if_asked_for() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        puppet.send(Do::new(|_, ctx| ctx.interval_after(Duration::ZERO, LATE, || line("beat")))).unwrap();
        assert_eq!(next(&log), "beat");
        puppet.send(Do::new(|_, ctx| ctx.interval_after(SOON, SOON, || line("beats")))).unwrap();
        (0..3).for_each(|_| assert_eq!(next(&log), "beats"));
    });
}

const QUIET: Duration = Duration::from_millis(10);

/// Tells when a message was handled, and when it was silent for long.
struct Quiet {
    handled: Option<Instant>,
    told: mpsc::Sender<Option<Duration>>,
}
impl Actor for Quiet {
    const RECEIVE_TIMEOUT: Option<Duration> = Some(QUIET);

    fn signal(&mut self, signal: Signal, _: &mut Context<Self>) {
        assert_eq!(signal, Signal::ReceiveTimeout);
        let _ = self.told.send(self.handled.map(|handled| handled.elapsed()));
    }
}
messages! {
    impl Quiet {
        fn Work(&mut self, d: Duration) {
            green::sleep(d);
            self.handled = Some(Instant::now());
        }
        fn Beats(&mut self, ctx: &mut Context<Self>) { ctx.interval(SOON, || Beat); }
        fn Beat(&mut self) {}
    }
}

#[test]
fn a_silent_actor_is_told_so_again_and_again() {
    everywhere(|| {
        let (told, silences) = mpsc::channel();
        let quiet = Quiet { handled: None, told }.start();
        assert_eq!(next(&silences), None);
        assert_eq!(next(&silences), None);
        // A handler that works is not silent.
        for send in [true, false, true] {
            let work = Work(3 * QUIET);
            if send { quiet.send(work).unwrap() } else { quiet.call(work).unwrap().wait().unwrap() }
        }
        quiet.tell(Work(3 * QUIET)).unwrap();
        let silent = std::iter::repeat_with(|| next(&silences)).flatten().next().unwrap();
        assert!(silent >= QUIET / 2, "{silent:?}");
        // Timers of its own do not count.
        quiet.send(Beats).unwrap();
        let _ = silences.try_iter().count();
        next(&silences);
        next(&silences);
        quiet.stop();
        assert_eq!(quiet.join(), Exit::Shutdown);
    });
}

/// Takes numbers from a stream, and tells how it ended.
struct Reads {
    error: mpsc::Sender<Option<Exit>>,
    by_default: bool,
}
impl Actor for Reads {
    const MAILBOX: Mailbox = Mailbox::bounded(1).overflow(Overflow::Reject);

    fn signal(&mut self, signal: Signal, ctx: &mut Context<Self>) {
        if let Signal::StreamEnded { error, .. } = &signal {
            self.error.send(error.clone()).unwrap();
        }
        if self.by_default {
            ctx.default_signal(signal);
        }
    }
}
messages! {
    impl Reads {
        fn Number(&mut self, _number: u32) {}
        fn Read(&mut self, ctx: &mut Context<Self>, items: Vec<Result<u32, &'static str>>) {
            ctx.attach_results(items.into_iter().map(|item| item.map(Number)));
        }
        fn Flood(&mut self, ctx: &mut Context<Self>) {
            let (over, is_over) = mpsc::channel::<()>();
            let numbers = (0..2).map(move |number| {
                let _ = &over;
                Number(number)
            });
            ctx.attach(numbers);
            // Its second message is refused while this handler is on.
            until(|| is_over.try_recv() == Err(mpsc::TryRecvError::Disconnected));
        }
    }
}

#[test]
fn an_attached_stream_tells_of_its_end_and_of_its_error() {
    everywhere(|| {
        let (error, errors) = mpsc::channel();
        let reads = Reads { error: error.clone(), by_default: false }.start();
        reads.send(Read(vec![Ok(1)])).unwrap();
        assert_eq!(next(&errors), None);
        reads.send(Read(vec![Ok(1), Err("torn"), Ok(3)])).unwrap();
        let torn = next(&errors);
        // The mailbox holds one: so the stream may have failed there before.
        assert!(matches!(&torn, Some(Exit::Error(text)) if text == "torn" || text.contains("full")), "{torn:?}");
        let by_default = Reads { error, by_default: true }.start();
        by_default.send(Read(vec![Err("torn")])).unwrap();
        assert_eq!(by_default.join(), Exit::Error("torn".to_owned()));
    });
}

#[test]
fn a_stream_whose_message_is_refused_tells_so() {
    everywhere(|| {
        let (error, errors) = mpsc::channel();
        let reads = Reads { error, by_default: false }.start();
        reads.send(Flood).unwrap();
        let error = next(&errors);
        assert!(matches!(&error, Some(Exit::Error(text)) if text.contains("full")), "{error:?}");
    });
}

/// Puts everything aside.
struct Hoard;
impl Actor for Hoard {
    const STASH: usize = 2;
}
messages! { struct Coin(u32) -> Option<u32>; }
impl Handler<Coin> for Hoard {
    fn handle(&mut self, m: Coin, ctx: &mut Context<Self>) -> Option<u32> {
        if m.0 == 0 {
            ctx.unstash();
            return None;
        }
        match ctx.stash(m) {
            Ok(()) => None,
            Err(SendError::Full(back)) => Some(back.into_inner().0),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn the_stash_has_a_bound_of_its_own() {
    everywhere(|| {
        let hoard = Hoard.start();
        let kept = [hoard.call(Coin(1)).unwrap(), hoard.call(Coin(2)).unwrap()];
        assert_eq!(hoard.send(Coin(3)).unwrap(), Some(3));
        // They are put aside again, in the room that they have left.
        assert_eq!(hoard.send(Coin(0)).unwrap(), None);
        assert_eq!(hoard.send(Coin(4)).unwrap(), Some(4));
        hoard.kill();
        for pending in kept {
            assert!(matches!(pending.wait(), Err(SendError::Died(Exit::Killed))));
        }
    });
}

#[test]
fn a_tell_with_a_time_out_gives_its_message_back_wherever_it_comes_from() {
    everywhere(|| {
        let puppet = Builder::new().mailbox(Mailbox::bounded(1)).start(Puppet::new().0).unwrap();
        let gate = hold(&puppet);
        let write = || line("told");
        puppet.tell_timeout(write(), LONG).unwrap();
        assert!(matches!(puppet.tell_timeout(write(), SOON), Err(SendError::Timeout(Some(_)))));
        assert!(matches!(puppet.recipient().tell_timeout(write(), SOON), Err(SendError::Timeout(Some(_)))));
        let to = puppet.clone();
        let outside = std::thread::spawn(move || to.tell_timeout(line("told"), SOON).is_err());
        until(|| outside.is_finished());
        assert!(outside.join().unwrap());
        assert_eq!(puppet.queued(), 1);
        gate.open();
        puppet.tell_timeout(write(), LONG).unwrap();
        let counter = Counter(0).start();
        counter.stop();
        assert!(matches!(counter.tell_timeout(Add(1), LONG), Err(SendError::Closed(_))));
    });
}

/// Its destructor waits until the sender has gone.
struct WaitsAtItsEnd(mpsc::Receiver<()>);
impl Drop for WaitsAtItsEnd {
    fn drop(&mut self) {
        let _ = self.0.recv();
    }
}

/// Stops itself, and is busy until a timer is over: what that sends is refused.
struct Refuses;
impl Actor for Refuses {}
messages! {
    #[expect(dead_code, reason = "it is dropped")]
    struct Held(WaitsAtItsEnd);
    impl Refuses {
        fn RefuseOnce(&mut self, ctx: &mut Context<Self>, until_gone: mpsc::Receiver<()>) {
            let timer = ctx.send_after(SOON, Held(WaitsAtItsEnd(until_gone)));
            ctx.addr().stop();
            until(|| timer.is_over());
        }
        fn RefuseBeats(&mut self, ctx: &mut Context<Self>, until_gone: mpsc::Receiver<()>) {
            let mut waits = Some(WaitsAtItsEnd(until_gone));
            let timer = ctx.interval(SOON, move || Held(waits.take().expect("one beat is refused")));
            ctx.addr().stop();
            until(|| timer.is_over());
        }
    }
}
impl Handler<Held> for Refuses {
    fn handle(&mut self, _: Held, _: &mut Context<Self>) {
        panic!("its mailbox is closed");
    }
}

/// It was dropped by the thread of all timers: none of the process fired while its destructor waited.
#[test]
fn timers_go_on_while_what_a_timer_sends_is_refused_and_waits_in_its_destructor() {
    everywhere(|| {
        let ((once, first), (beats, second)) = (mpsc::channel::<()>(), mpsc::channel::<()>());
        let refuses = [Refuses.start(), Refuses.start()];
        refuses[0].tell(RefuseOnce(first)).unwrap();
        refuses[1].tell(RefuseBeats(second)).unwrap();
        refuses.iter().for_each(|refuses| _ = refuses.join());
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let beats_on = Do::new(|_, ctx: &mut Context<Puppet>| _ = ctx.interval(SOON, || line("beat")));
        puppet.send(beats_on).unwrap();
        for _ in 0..3 {
            assert_eq!(next(&log), "beat");
        }
        drop((once, beats));
    });
}
