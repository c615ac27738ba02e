//! A recipient that keeps what it gets until the test asks for it.

#![forbid(unsafe_code)]

use std::any::type_name;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use super::PATIENCE;
use crate::actor::engine::monitor::monitor;
use crate::actor::engine::weak::Weak;
use crate::actor::{Actor, ActorId, Addr, Address, Context, Down, Exit, Handler, Message, Recipient, Signal};
use crate::base::lock::lock;
use crate::channel::{Receiver, Sender, unbounded};
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
    downs: Receiver<Down>,
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    /// Those whose end was not expected yet.
    actors: Vec<ActorId>,
    /// Ends that came while another was expected.
    downs: Vec<Down>,
}

/// Has the ends of others told to a channel.
struct Watcher(Sender<Down>);

impl Actor for Watcher {
    fn signal(&mut self, signal: Signal, ctx: &mut Context<Self>) {
        match signal {
            Signal::Down(down) => _ = self.0.send(down),
            other => ctx.default_signal(other),
        }
    }
}

struct WatchActor(Weak);

impl Message for WatchActor {
    type Reply = ();
}

impl Handler<WatchActor> for Watcher {
    fn handle(&mut self, WatchActor(actor): WatchActor, ctx: &mut Context<Self>) {
        let _ = monitor(ctx.core(), actor.core());
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
        let (sender, downs) = unbounded();
        Self { recipient, messages, watcher: Watcher(sender).start(), downs, watched: Mutex::default() }
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
    /// If one comes, or has come already.
    #[track_caller]
    pub fn expect_none(&self, d: Duration) {
        let begin = now();
        if self.messages.recv_timeout(d).is_ok() {
            panic!("a {} came after {:?}, and none was to come within {d:?}", type_name::<M>(), now() - begin);
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
        let actor = actor.core();
        if !self.with_watched(|watched| watched.add(actor.id())) {
            return;
        }
        let watched = self.watcher.send_timeout(WatchActor(actor.weak()), Duration::MAX);
        watched.expect("the watcher answers at once");
    }

    /// Waits for the end of an actor, and returns why it ended. One that has ended already is no fault.
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
        self.watch(actor);
        let (id, until) = (actor.core().id(), now() + PATIENCE);
        loop {
            if let Some(exit) = self.with_watched(|watched| watched.take(id)) {
                return exit;
            }
            match self.downs.recv_deadline(until) {
                Ok(down) => self.with_watched(|watched| watched.downs.push(down)),
                Err(_) => panic!("{:?} has not ended within {PATIENCE:?}", actor.core()),
            }
        }
    }

    fn with_watched<R>(&self, f: impl FnOnce(&mut Watched) -> R) -> R {
        f(&mut lock(&self.watched))
    }
}

impl Watched {
    /// False: it is watched already.
    fn add(&mut self, actor: ActorId) -> bool {
        let is_new = !self.actors.contains(&actor);
        if is_new {
            self.actors.push(actor);
        }
        is_new
    }

    /// Its end, if that has come: then it is watched no more.
    fn take(&mut self, actor: ActorId) -> Option<Exit> {
        let at = self.downs.iter().position(|down| down.actor == actor)?;
        self.actors.retain(|watched| *watched != actor);
        Some(self.downs.remove(at).reason)
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
