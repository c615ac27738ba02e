//! A recipient that keeps what it gets until the test asks for it.

#![forbid(unsafe_code)]

use std::any::type_name;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::PATIENCE;
use crate::actor::engine::mailbox_state::EndQueue;
use crate::actor::engine::monitor::monitor;
use crate::actor::engine::weak::Weak;
use crate::actor::{Actor, ActorId, Addr, Address, Context, Exit, Handler, Message, MonitorRef, Recipient, Signal};
use crate::channel::{Receiver, RecvTimeoutError, unbounded};
use crate::park::Wait;
use crate::park::queue::WaitQueue;
use crate::sys::clock::after_ns;
use crate::task::header::Reason;
use crate::time::now;

/// Queues the messages that it gets, and the ends of the actors that it watches, for a test that expects them.
///
/// Hand its [`recipient`](Self::recipient) to what is to be tested. Messages are taken in the order in which they came; what a test does
/// not ask for stays queued, and is no fault. An ask is answered at once: by the default value of its reply ([`new`](Self::new)),
/// or by a closure ([`replying`](Self::replying)).
///
/// ```
/// use green::actor::testkit::{TestProbe, run};
/// use green::actor::messages;
/// use std::time::Duration;
///
/// messages! {
///     #[derive(Debug, PartialEq)]
///     struct Line(String);
/// }
/// run(|| {
///     let probe = TestProbe::<Line>::new();
///     let out = probe.recipient();
///     green::spawn(move || {
///         green::sleep(Duration::from_secs(3600));
///         out.tell(Line("an hour later".into())).unwrap();
///     });
///     probe.expect_none(Duration::from_secs(3599));
///     assert_eq!(probe.expect().0, "an hour later");
/// });
/// ```
pub struct TestProbe<M: Message> {
    recipient: Recipient<M>,
    messages: Receiver<M>,
    watcher: Addr<Watcher>,
}

/// Monitors actors, and keeps their ends for those that wait for them.
#[derive(Default)]
struct Watcher {
    /// Until the end was expected: so whoever expects it meanwhile waits for the same one.
    watched: HashMap<ActorId, (MonitorRef, EndQueue)>,
}

impl Actor for Watcher {
    fn signal(&mut self, signal: Signal, ctx: &mut Context<Self>) {
        let Signal::Down(down) = signal else { return ctx.default_signal(signal) };
        if let Some((monitor, end)) = self.watched.get(&down.actor)
            && *monitor == down.monitor
        {
            end.notify_all(|end| end.replace(down.reason).is_none());
        }
    }
}

/// Watches an actor, and gives where its end will be.
struct WatchActor(Weak);

impl Message for WatchActor {
    type Reply = EndQueue;
}

impl Handler<WatchActor> for Watcher {
    fn handle(&mut self, WatchActor(actor): WatchActor, ctx: &mut Context<Self>) -> EndQueue {
        let monitors = || (monitor(ctx.core(), actor.core()), Arc::new(WaitQueue::new(None)));
        let (_, end) = self.watched.entry(actor.core().id()).or_insert_with(monitors);
        Arc::clone(end)
    }
}

/// That end was expected: the next one is another.
struct EndExpected(ActorId, EndQueue);

impl Message for EndExpected {
    type Reply = ();
}

impl Handler<EndExpected> for Watcher {
    fn handle(&mut self, EndExpected(actor, end): EndExpected, _: &mut Context<Self>) {
        if self.watched.get(&actor).is_some_and(|(_, watched)| Arc::ptr_eq(watched, &end)) {
            self.watched.remove(&actor);
        }
    }
}

impl<M: Message> TestProbe<M> {
    /// Makes a probe that answers each ask by the default value of its reply.
    ///
    /// ```
    /// use green::actor::{messages, testkit::TestProbe};
    /// messages! { struct Stock(&'static str) -> u32; }
    /// let probe = TestProbe::<Stock>::new();
    /// assert_eq!(probe.recipient().send(Stock("tea")).unwrap(), 0);
    /// assert_eq!(probe.expect().0, "tea");
    /// ```
    ///
    /// # Panics
    ///
    /// If there is no memory for it, or the default runtime cannot start.
    #[must_use]
    pub fn new() -> Self
    where
        M::Reply: Default,
    {
        Self::replying(|_| M::Reply::default())
    }

    /// Makes a probe that answers each ask by `reply`.
    ///
    /// ```
    /// use green::actor::{messages, testkit::TestProbe};
    /// messages! { struct Stock(&'static str) -> u32; }
    /// let probe = TestProbe::replying(|stock: &Stock| stock.0.len() as u32);
    /// assert_eq!(probe.recipient().send(Stock("tea")).unwrap(), 3);
    /// assert_eq!(probe.expect().0, "tea");
    /// ```
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    #[must_use]
    pub fn replying(reply: impl FnMut(&M) -> M::Reply + Send + 'static) -> Self {
        let (sender, messages) = unbounded();
        let mut reply = reply;
        let recipient = Recipient::from_fn(move |msg| {
            let answer = reply(&msg);
            // The probe may be gone.
            let _ = sender.send(msg);
            answer
        });
        Self { recipient, messages, watcher: Watcher::default().start() }
    }

    /// Returns where the probe gets its messages.
    ///
    /// ```
    /// use green::actor::{messages, testkit::TestProbe};
    /// messages! { struct News(&'static str); }
    /// let probe = TestProbe::<News>::new();
    /// probe.recipient().tell(News("tea is ready")).unwrap();
    /// assert_eq!(probe.expect().0, "tea is ready");
    /// ```
    #[must_use]
    pub fn recipient(&self) -> Recipient<M> {
        self.recipient.clone()
    }

    /// Waits for the next message, and returns it. A cancellation point, as all that wait here.
    ///
    /// ```
    /// # use green::actor::{messages, testkit::TestProbe};
    /// # messages! { struct News(&'static str); }
    /// let probe = TestProbe::<News>::new();
    /// probe.recipient().tell(News("tea is ready")).unwrap();
    /// probe.expect();
    /// ```
    ///
    /// # Panics
    ///
    /// If none comes.
    #[track_caller]
    pub fn expect(&self) -> M {
        self.expect_within(PATIENCE)
    }

    /// Waits for the next message for at most `d`, and returns it.
    ///
    /// ```
    /// # use green::actor::{messages, testkit::TestProbe};
    /// # use std::time::Duration;
    /// # messages! { struct News(&'static str); }
    /// let probe = TestProbe::<News>::new();
    /// probe.recipient().tell(News("tea is ready")).unwrap();
    /// probe.expect_within(Duration::from_secs(60));
    /// ```
    ///
    /// # Panics
    ///
    /// If none comes.
    #[track_caller]
    pub fn expect_within(&self, d: Duration) -> M {
        match self.messages.recv_timeout(d) {
            Ok(msg) => msg,
            Err(_) => panic!("no {} came within {d:?}", type_name::<M>()),
        }
    }

    /// Waits for `d`, in which no message may come.
    ///
    /// ```
    /// # use green::actor::{messages, testkit::{TestProbe, run}};
    /// # use std::time::Duration;
    /// # messages! { struct News(&'static str); }
    /// run(|| TestProbe::<News>::new().expect_none(Duration::from_secs(86_400))); // takes no time
    /// ```
    ///
    /// # Panics
    ///
    /// If one comes, or has come already. If the probe has ended, for what comes is not seen then.
    #[track_caller]
    pub fn expect_none(&self, d: Duration) {
        let begin = now();
        match self.messages.recv_timeout(d) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(_) => panic!("a {} came after {:?}, and none was to come within {d:?}", type_name::<M>(), now() - begin),
            Err(RecvTimeoutError::Disconnected) => panic!("the probe has ended: no {} can come", type_name::<M>()),
        }
    }

    /// Waits for a message of which `wanted` is true, and returns it. Those that come before it are dropped.
    ///
    /// ```
    /// # use green::actor::{messages, testkit::TestProbe};
    /// # messages! { struct News(&'static str); }
    /// let probe = TestProbe::<News>::new();
    /// ["rain", "more rain", "tea"].map(|text| probe.recipient().tell(News(text)).unwrap());
    /// assert_eq!(probe.fish_for(|news| !news.0.contains("rain")).0, "tea");
    /// ```
    ///
    /// # Panics
    ///
    /// If none comes.
    #[track_caller]
    pub fn fish_for(&self, wanted: impl FnMut(&M) -> bool) -> M {
        let (mut wanted, mut others) = (wanted, 0);
        let until = now() + PATIENCE;
        while let Ok(msg) = self.messages.recv_deadline(until) {
            if wanted(&msg) {
                return msg;
            }
            others += 1;
        }
        panic!("no {} that was wanted came within {PATIENCE:?}, but {others} others", type_name::<M>());
    }

    /// Watches an actor from now on, so that [`expect_down`](Self::expect_down) finds its end, however early that comes.
    ///
    /// A [supervised](crate::actor::Supervisor) actor ends once for each of its lives, and is to be watched anew for the next.
    ///
    /// ```
    /// use green::actor::{Actor, Child, Exit, Supervisor, messages, testkit::{TestProbe, run}};
    /// # messages! { struct News(&'static str); }
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// run(|| {
    ///     let probe = TestProbe::<News>::new();
    ///     let sup = Supervisor::one_for_one().child(Child::new("idle", || Idle)).start().unwrap();
    ///     let idle = sup.get::<Idle>("idle").unwrap();
    ///     for _ in 0..3 {
    ///         probe.watch(&idle);
    ///         idle.kill();
    ///         assert_eq!(probe.expect_down(&idle), Exit::Killed);
    ///         green::sleep(std::time::Duration::from_secs(60)); // the back-off
    ///     }
    ///     sup.shutdown(std::time::Duration::from_secs(1));
    /// });
    /// ```
    pub fn watch(&self, actor: &impl Address) {
        let _ = self.ask_watcher(WatchActor(actor.core().weak()));
    }

    /// Waits for the end of an actor, and returns why it ended. One that has ended already is no fault. Threads that expect the
    /// same end all get it.
    ///
    /// ```
    /// # use green::actor::{Actor, Exit, messages, testkit::TestProbe};
    /// # messages! { struct News(&'static str); }
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// let idle = Idle.start();
    /// idle.stop();
    /// assert_eq!(TestProbe::<News>::new().expect_down(&idle), Exit::Shutdown);
    /// ```
    ///
    /// # Panics
    ///
    /// If it does not come.
    #[track_caller]
    pub fn expect_down(&self, actor: &impl Address) -> Exit {
        let actor = actor.core();
        let end = self.ask_watcher(WatchActor(actor.weak()));
        let Some(exit) = end.wait_until(Wait::new(Reason::End).until(after_ns(PATIENCE)), |end| end.clone()) else {
            panic!("{actor:?} has not ended within {PATIENCE:?}");
        };
        self.ask_watcher(EndExpected(actor.id(), end));
        exit
    }

    fn ask_watcher<Q: Message>(&self, question: Q) -> Q::Reply
    where
        Watcher: Handler<Q>,
    {
        self.watcher.send_timeout(question, Duration::MAX).expect("the watcher answers at once")
    }
}

impl<M: Message> Default for TestProbe<M>
where
    M::Reply: Default,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Message> fmt::Debug for TestProbe<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestProbe").field("queued", &self.messages.len()).finish_non_exhaustive()
    }
}
