//! Actors whose runtime is over before they have ended: who meets one ends it, on its own stack.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use green::actor::{Actor, Addr, Builder, Child, Context, Exit, Handler, JoinError, Message, Supervisor};
use green::{Runtime, ThreadLocals, channel};

use crate::help::{bounded, until, within};
use crate::{Add, LONG, next};

/// Does that in its `stopping`.
struct Orphan(Option<Box<dyn FnOnce() + Send>>);
impl Actor for Orphan {
    fn stopping(&mut self, _: &Exit, _: &mut Context<Self>) {
        if let Some(words) = self.0.take() {
            words();
        }
    }
}
impl Handler<Add> for Orphan {
    fn handle(&mut self, _: Add, _: &mut Context<Self>) {}
}

/// Nobody handles it.
struct Carries<T>(T);
impl<T: Send + 'static> Message for Carries<T> {
    type Reply = ();
}
impl<T: Send + 'static> Handler<Carries<T>> for Orphan {
    fn handle(&mut self, _: Carries<T>, _: &mut Context<Self>) {
        panic!("its runtime is over");
    }
}

/// An actor that rests in `runtime`.
fn orphan(runtime: &Runtime, words: impl FnOnce() + Send + 'static) -> Addr<Orphan> {
    let orphan = Builder::new().runtime(runtime).start(Orphan(Some(Box::new(words)))).unwrap();
    orphan.send(Add(1)).unwrap();
    orphan
}

fn one_worker() -> Runtime {
    Runtime::builder().workers(1).thread_locals(ThreadLocals::PerWorker).build().unwrap()
}

/// Begins to end `runtime`, whose youngest actor ends first: the end goes on when the sender goes.
fn begin_to_end(runtime: Runtime) -> (mpsc::Sender<()>, std::thread::JoinHandle<()>) {
    let (go_on, until) = mpsc::channel::<()>();
    let (is_over, over) = mpsc::channel();
    let youngest = orphan(&runtime, move || {
        is_over.send(()).unwrap();
        let _ = until.recv();
    });
    let ends = std::thread::spawn(move || {
        drop(runtime);
        drop(youngest);
    });
    over.recv_timeout(LONG).unwrap();
    (go_on, ends)
}

/// How many end on one stack was counted for the OS thread, and set back by each to what it had found: two that waited in turn left the count one higher.
/// From 32 on no more than its mailbox ended.
#[test]
fn actors_that_end_on_green_threads_which_take_turns_do_not_count_as_nested() {
    bounded(|| {
        let runtime = one_worker();
        let mut pairs = Vec::new();
        for _ in 0..40 {
            let (second_is_in, first_waits) = channel::bounded::<()>(1);
            let (first_is_out, second_waits) = channel::bounded::<()>(1);
            let first = orphan(&runtime, move || first_waits.recv().unwrap());
            let second = orphan(&runtime, move || {
                second_is_in.send(()).unwrap();
                second_waits.recv().unwrap();
            });
            pairs.push((first, second, first_is_out));
        }
        let last = orphan(&runtime, || ());
        let (go_on, ends) = begin_to_end(runtime);
        one_worker().run(move || {
            for (first, second, first_is_out) in pairs {
                let other = green::spawn(move || {
                    let _ = second.try_tell(Add(1));
                    assert!(second.is_ended());
                });
                let _ = first.try_tell(Add(1));
                assert!(first.is_ended());
                first_is_out.send(()).unwrap();
                other.join().unwrap();
            }
            let _ = last.try_tell(Add(1));
            assert!(last.is_ended());
        });
        drop(go_on);
        ends.join().unwrap();
    });
}

struct Last(Option<Box<dyn FnOnce()>>);
impl Drop for Last {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(|tells| tells());
    }
}

/// The only worker's thread does that when it is about to be gone: so what it tells is queued when the runtime is over.
fn at_the_end_of_the_worker(runtime: &Runtime, tells: impl FnOnce() + Send + 'static) {
    thread_local!(static LAST: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) });
    runtime.spawn(|| LAST.set(Some(Last(Some(Box::new(tells)))))).join().unwrap();
}

/// These are queued, in this order.
fn queue_at_the_end(runtime: &Runtime, actors: Vec<Addr<Orphan>>) {
    at_the_end_of_the_worker(runtime, move || actors.iter().for_each(|actor| actor.try_tell(Add(1)).unwrap()));
}

/// `runtime` ends; one of its actors ends first, and goes on when the sender goes. These others are queued behind it then.
fn begin_to_end_before(
    runtime: Runtime,
    others: &[Addr<Orphan>],
) -> (Addr<Orphan>, mpsc::Sender<()>, std::thread::JoinHandle<()>) {
    let (is_over, over) = mpsc::channel();
    let (go_on, until) = mpsc::channel::<()>();
    let first = orphan(&runtime, move || {
        is_over.send(()).unwrap();
        let _ = until.recv();
    });
    let queued = std::iter::once(&first).chain(others).cloned().collect();
    queue_at_the_end(&runtime, queued);
    let ends = std::thread::spawn(move || drop(runtime));
    over.recv_timeout(LONG).unwrap();
    (first, go_on, ends)
}

/// Who joined one of them ended the others that were queued, however long those waited.
#[test]
fn a_join_with_a_time_out_ends_by_it_although_others_are_queued_for_the_runtime_that_is_over() {
    bounded(|| {
        let runtime = one_worker();
        let (later, waits) = channel::bounded::<()>(1);
        let other = orphan(&runtime, move || _ = waits.recv());
        let (first, go_on, ends) = begin_to_end_before(runtime, std::slice::from_ref(&other));
        let own = one_worker();
        let joiner = own.spawn(move || {
            let begin = Instant::now();
            // It ends the other, which is unwound where it waits.
            assert!(first.join_timeout(Duration::from_millis(10)).is_err());
            assert!(begin.elapsed() < LONG / 4, "{:?}", begin.elapsed());
            later.send(()).unwrap_err();
        });
        joiner.join().unwrap();
        assert!(other.is_ended());
        drop(go_on);
        ends.join().unwrap();
    });
}

/// However long those computed.
#[test]
fn a_join_with_a_time_out_ends_by_it_although_many_that_compute_are_queued_for_the_runtime_that_is_over() {
    bounded(|| {
        let runtime = one_worker();
        let computes = || std::thread::sleep(Duration::from_millis(50));
        let others: Vec<_> = (0..20).map(|_| orphan(&runtime, computes)).collect();
        let (first, go_on, ends) = begin_to_end_before(runtime, &others);
        let own = one_worker();
        let joiner = own.spawn(move || assert!(first.join_timeout(Duration::from_millis(1)).is_err()));
        joiner.join().unwrap();
        let ended = others.iter().filter(|other| other.is_ended()).count();
        assert!((1..=3).contains(&ended), "{ended}");
        drop(go_on);
        ends.join().unwrap();
        assert!(others.iter().all(Addr::is_ended));
    });
}

/// The teller ended all others that were queued, perhaps under a lock of its own.
#[test]
fn who_tells_one_of_a_runtime_that_is_over_something_ends_that_one_only() {
    bounded(|| {
        let runtime = one_worker();
        let other = orphan(&runtime, || ());
        let told = orphan(&runtime, || ());
        let (_, go_on, ends) = begin_to_end_before(runtime, std::slice::from_ref(&other));
        std::thread::spawn({
            let told = told.clone();
            move || told.try_tell(Add(1)).unwrap()
        });
        until(|| told.is_ended());
        assert!(!other.is_ended());
        drop(go_on);
        ends.join().unwrap();
        assert!(other.is_ended());
    });
}

/// Its `stopping` went on for as long as it liked.
#[test]
fn a_join_with_a_time_out_ends_by_it_although_the_one_that_is_joined_waits_at_its_end() {
    bounded(|| {
        let runtime = one_worker();
        let (later, waits) = channel::bounded::<()>(1);
        let joined = orphan(&runtime, move || _ = waits.recv());
        let (go_on, ends) = begin_to_end(runtime);
        let own = one_worker();
        let (says, said) = mpsc::channel();
        let joiner = own.spawn(move || {
            let begin = Instant::now();
            while joined.join_timeout(Duration::from_millis(10)).is_err() {}
            says.send(begin.elapsed()).unwrap();
            later.send(()).unwrap_err();
        });
        assert!(next(&said) < LONG / 2);
        joiner.join().unwrap();
        drop(go_on);
        ends.join().unwrap();
    });
}

/// Who waited for its child ended what was queued before that, too, on top of itself; and one of these waited for it.
#[test]
fn of_a_family_that_is_queued_when_its_runtime_is_over_each_waits_for_its_child_only() {
    bounded(|| {
        within(Duration::from_secs(3), || {
            let runtime = one_worker();
            let (sender, ended) = mpsc::channel();
            let mut family = Vec::<Addr<Orphan>>::new();
            for age in 0..4 {
                let (child, sender) = (family.last().cloned(), sender.clone());
                family.push(orphan(&runtime, move || {
                    child.inspect(|child| _ = child.join());
                    sender.send(age).unwrap();
                }));
            }
            // The second of them ends first; both of its elders are queued before its child.
            let queued = [1, 3, 2, 0].map(|age| family[age].clone()).to_vec();
            queue_at_the_end(&runtime, queued);
            let begin = Instant::now();
            drop(runtime);
            let took = begin.elapsed();
            assert_eq!(ended.try_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
            took
        })
    });
}

/// What it told was ended on the stack of whoever had that one in his hands, and waited for it for ever: no time was set.
#[test]
fn who_is_told_by_a_message_that_is_refused_as_the_runtime_ends_may_join_the_one_that_it_was_for() {
    bounded(|| {
        within(Duration::from_secs(3), || {
            let runtime = one_worker();
            let queued = orphan(&runtime, || ());
            let joined = queued.clone();
            let (says, said) = mpsc::channel();
            let told = orphan(&runtime, move || says.send(joined.join()).unwrap());
            // The last address of `told`.
            at_the_end_of_the_worker(&runtime, move || queued.try_tell(Carries(told)).unwrap());
            let begin = Instant::now();
            drop(runtime);
            let took = begin.elapsed();
            next(&said);
            took
        })
    });
}

struct WaitsAsItIsDropped(channel::Receiver<()>);
impl Drop for WaitsAsItIsDropped {
    fn drop(&mut self) {
        _ = self.0.recv();
    }
}

/// Nothing bounded that wait.
#[test]
fn a_runtime_ends_although_a_message_that_is_refused_then_waits_for_ever_as_it_is_dropped() {
    bounded(|| {
        let runtime = one_worker();
        let (later, waits) = channel::bounded::<()>(1);
        let queued = orphan(&runtime, || ());
        let is_queued = queued.clone();
        at_the_end_of_the_worker(&runtime, move || queued.try_tell(Carries(WaitsAsItIsDropped(waits))).unwrap());
        drop(runtime);
        assert!(is_queued.is_ended());
        later.send(()).unwrap_err();
    });
}

/// It did so for ever.
#[test]
fn who_tells_one_of_a_runtime_that_is_over_something_waits_for_its_last_words_no_longer_than_others_do() {
    bounded(|| {
        let runtime = one_worker();
        let (later, waits) = channel::bounded::<()>(1);
        let told = orphan(&runtime, move || _ = waits.recv());
        let (go_on, ends) = begin_to_end(runtime);
        let (says, said) = mpsc::channel();
        std::thread::spawn(move || {
            let _ = told.try_tell(Add(1));
            says.send(told.is_ended()).unwrap();
        });
        assert!(said.recv_timeout(LONG).unwrap());
        later.send(()).unwrap_err();
        drop(go_on);
        ends.join().unwrap();
    });
}

/// A timer beats for it.
struct Beaten(mpsc::Receiver<()>);
impl Actor for Beaten {
    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
        ctx.interval(BEAT, || Add(1));
        Ok(())
    }
    fn stopping(&mut self, _: &Exit, _: &mut Context<Self>) {
        // Elsewhere, one that a beat has queued just before ends before its runtime's youngest.
        if std::thread::current().name() == Some("green-timers") {
            let _ = self.0.recv_timeout(LONG);
        }
    }
}
impl Handler<Add> for Beaten {
    fn handle(&mut self, _: Add, _: &mut Context<Self>) {}
}
const BEAT: Duration = Duration::from_millis(5);

struct Ticks(mpsc::Sender<()>);
impl Actor for Ticks {
    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
        ctx.interval(BEAT, || Add(1));
        Ok(())
    }
}
impl Handler<Add> for Ticks {
    fn handle(&mut self, _: Add, _: &mut Context<Self>) {
        let _ = self.0.send(());
    }
}

/// The thread of all timers ended it, and waited in its `stopping`: no timer of the process fired meanwhile.
#[test]
fn timers_go_on_when_one_has_beaten_for_an_actor_whose_runtime_is_over_and_that_waits_at_its_end() {
    bounded(|| {
        let runtime = one_worker();
        let (later, waits) = mpsc::channel();
        let beaten = Builder::new().runtime(&runtime).start(Beaten(waits)).unwrap();
        beaten.send(Add(1)).unwrap();
        let (go_on, ends) = begin_to_end(runtime);
        let (ticks, ticked) = mpsc::channel();
        let own = one_worker();
        let _ticks = Builder::new().runtime(&own).start(Ticks(ticks)).unwrap();
        for _ in 0..40 {
            ticked.recv_timeout(LONG / 4).expect("a timer does not fire");
        }
        let _ = later.send(());
        drop(go_on);
        ends.join().unwrap();
        assert!(beaten.is_ended());
    });
}

const HOUR: Duration = Duration::from_secs(3600);

/// Waits for ever as it is dropped by the thread of the timers.
#[derive(Clone)]
struct StopsTimers(std::sync::Arc<std::sync::Mutex<mpsc::Receiver<()>>>);
impl Message for StopsTimers {
    type Reply = ();
}
impl Handler<StopsTimers> for Orphan {
    fn handle(&mut self, _: StopsTimers, _: &mut Context<Self>) {}
}
impl Drop for StopsTimers {
    fn drop(&mut self) {
        if std::thread::current().name() == Some("green-timers") {
            let _ = self.0.lock().unwrap().recv();
        }
    }
}
/// Has a timer send it copies of that.
struct Beat(StopsTimers);
impl Message for Beat {
    type Reply = ();
}
impl Handler<Beat> for Orphan {
    fn handle(&mut self, Beat(copied): Beat, ctx: &mut Context<Self>) {
        ctx.interval(BEAT, move || copied.clone());
    }
}

/// The thread of the timers refused what was in the mailbox, its own beat too.
#[test]
fn timers_go_on_when_one_has_beaten_for_an_actor_whose_runtime_is_over_and_the_beat_waits_as_it_is_dropped() {
    bounded(|| {
        let runtime = one_worker();
        let (later, waits) = mpsc::channel();
        let waits = std::sync::Arc::new(std::sync::Mutex::new(waits));
        let beaten = orphan(&runtime, || ());
        beaten.send(Beat(StopsTimers(waits))).unwrap();
        let (go_on, ends) = begin_to_end(runtime);
        let (ticks, ticked) = mpsc::channel();
        let own = one_worker();
        let _ticks = Builder::new().runtime(&own).start(Ticks(ticks)).unwrap();
        for _ in 0..10 {
            next(&ticked);
        }
        drop(later);
        drop(go_on);
        ends.join().unwrap();
        assert!(beaten.is_ended());
    });
}

/// A runtime that waits for last words as good as for ever.
fn patient() -> Runtime {
    Runtime::builder().workers(1).thread_locals(ThreadLocals::PerWorker).stopping_timeout(HOUR).build().unwrap()
}

/// `runtime` ends, by that a child, and in its `stopping` it stops its parent, which does that with the child in its own.
fn stops_its_parent<T: Send + 'static>(
    runtime: Runtime,
    does: impl FnOnce(&Addr<Orphan>) -> T + Send + 'static,
) -> (T, Addr<Orphan>, Addr<Orphan>) {
    let (tells, told) = mpsc::channel::<Addr<Orphan>>();
    let (says, said) = mpsc::channel();
    let parent = orphan(&runtime, move || says.send(does(&told.recv().unwrap())).unwrap());
    let stopped = parent.clone();
    // The younger one ends first.
    let child = orphan(&runtime, move || stopped.stop());
    tells.send(child.clone()).unwrap();
    drop(runtime);
    (said.try_recv().unwrap(), parent, child)
}

/// It waited for what goes on below it on its stack, until its time was over.
#[test]
fn who_is_stopped_by_one_that_ends_and_joins_that_one_is_told_of_the_cycle_at_once() {
    bounded(|| {
        let (joined, parent, child) = stops_its_parent(patient(), |child| child.join_timeout(HOUR));
        let Err(JoinError::Deadlock { cycle }) = joined else { panic!("{joined:?}") };
        assert_eq!(*cycle, [parent.id(), child.id()]);
        assert!(parent.is_ended() && child.is_ended());
    });
}

#[test]
fn who_is_stopped_by_one_that_ends_and_shuts_that_one_down_goes_on_at_once() {
    bounded(|| {
        let (end, parent, child) = stops_its_parent(patient(), |child| child.shutdown(HOUR));
        assert_eq!((end.stopped, end.left), (0, 1));
        assert!(parent.is_ended() && child.is_ended());
    });
}

/// Its panic is its own.
#[test]
fn who_is_stopped_by_one_that_ends_and_joins_that_one_without_a_time_out_panics_at_once() {
    bounded(|| {
        let runtime = patient();
        let (tells, told) = mpsc::channel::<Addr<Orphan>>();
        let (says, said) = mpsc::channel();
        let parent = orphan(&runtime, move || {
            let child = told.recv().unwrap();
            let joined = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| child.join()));
            says.send(joined.unwrap_err().downcast::<String>().map(|text| *text)).unwrap();
            child.join();
        });
        let stopped = parent.clone();
        let child = orphan(&runtime, move || stopped.stop());
        tells.send(child.clone()).unwrap();
        drop(runtime);
        let text = next(&said).unwrap();
        let cycle = format!("{0} waits for {1} waits for {0}", parent.id(), child.id());
        assert!(text.contains(&cycle), "{text}");
        assert!(parent.is_ended() && child.is_ended());
    });
}

/// By way of a third one that ends on top of both.
#[test]
fn all_that_end_on_top_of_one_that_is_joined_are_in_the_cycle() {
    bounded(|| {
        let runtime = patient();
        let (says, said) = mpsc::channel();
        let (tells, told) = mpsc::channel::<Addr<Orphan>>();
        let joins = orphan(&runtime, move || says.send(told.recv().unwrap().join_timeout(HOUR)).unwrap());
        let joined = joins.clone();
        let between = orphan(&runtime, move || _ = joined.join());
        let stopped = between.clone();
        let first = orphan(&runtime, move || stopped.stop());
        tells.send(first.clone()).unwrap();
        drop(runtime);
        let Err(JoinError::Deadlock { cycle }) = next(&said) else { panic!("no deadlock") };
        assert_eq!(*cycle, [joins.id(), first.id(), between.id()]);
    });
}

/// The supervisor waited for that one.
#[test]
fn a_child_that_stops_its_supervisor_as_the_runtime_ends_does_not_keep_that() {
    bounded(|| {
        let runtime = patient();
        let (tells, told) = mpsc::channel::<Addr<green::actor::Team>>();
        let told = std::sync::Arc::new(std::sync::Mutex::new(told));
        let child = Child::new("stops", move || {
            let told = std::sync::Arc::clone(&told);
            Orphan(Some(Box::new(move || told.lock().unwrap().recv().unwrap().stop())))
        });
        let other = Child::new("other", || Orphan(None));
        let sup = Supervisor::one_for_one().child(other.shutdown(HOUR)).child(child.shutdown(HOUR));
        let sup = runtime.run(|| sup.start()).unwrap();
        let other = sup.get::<Orphan>("other").unwrap();
        tells.send(sup.addr().clone()).unwrap();
        drop(runtime);
        assert!(sup.addr().is_ended() && other.is_ended());
    });
}
