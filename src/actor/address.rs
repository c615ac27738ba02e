//! What addresses of all kinds have: they lead to an actor.

#![forbid(unsafe_code)]

use crate::actor::engine::cell::Core;

/// Stands for an address of an actor, whatever it knows of the actor: an [`Addr`](crate::actor::Addr) or a
/// [`Recipient`](crate::actor::Recipient). Nothing else can be one.
///
/// This is what [`Context::monitor`](crate::actor::Context::monitor) and [`Context::link`](crate::actor::Context::link) take.
///
/// ```
/// use green::actor::{Actor, Address, Context, Down, Exit, Message, Recipient, Signal};
///
/// struct News(&'static str);
/// impl Message for News { type Reply = (); }
///
/// /// Knows of its subscribers nothing but that they take news.
/// struct Publisher { subscribers: Vec<Recipient<News>> }
/// impl Actor for Publisher {
///     fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
///         self.subscribers.iter().for_each(|subscriber| _ = ctx.monitor(subscriber));
///         Ok(())
///     }
///     fn signal(&mut self, signal: Signal, ctx: &mut Context<Self>) {
///         match signal {
///             Signal::Down(Down { actor, .. }) => self.subscribers.retain(|subscriber| subscriber.id() != actor),
///             other => ctx.default_signal(other),
///         }
///     }
/// }
/// # Publisher { subscribers: vec![] }.start();
/// ```
#[allow(private_bounds, reason = "nobody else can make one")]
pub trait Address: Addressed {}

impl<T: Addressed> Address for T {}

/// What all of them have.
pub(crate) trait Addressed {
    fn core(&self) -> &Core;
}

/// What can be done with the actor behind an address, whatever messages it takes.
macro_rules! impl_life {
    ($Address:ident<$T:ident: $Bound:ident>) => {
        impl<$T: $Bound> $Address<$T> {
            /// Stops the actor in good order: closes the mailbox now, has what is queued handled, then ends the actor.
            ///
            #[doc = include_str!("docs/addr_stop.md")]
            pub fn stop(&self) {
                self.strong.core().stop($crate::actor::Exit::Shutdown, $crate::actor::engine::lifecycle::DRAIN);
            }

            /// Stops the actor as [`stop`](Self::stop) does, but gives it `drain`, not five seconds, for what is queued.
            ///
            /// With a `drain` of zero nothing that is queued is handled; the handler that runs returns.
            ///
            /// ```
            #[doc = include_str!("docs/counter.md")]
            /// let counter = Counter(0).start();
            /// counter.stop_within(Duration::from_millis(10));
            /// assert_eq!(counter.join(), Exit::Shutdown);
            /// ```
            pub fn stop_within(&self, drain: Duration) {
                self.strong.core().stop($crate::actor::Exit::Shutdown, drain);
            }

            /// Ends the actor as soon as possible: what is queued goes back, and a handler that waits is unwound where it
            /// waits.
            ///
            /// A handler that computes goes on until it waits or returns: nothing pre-empts it. [`Actor::stopping`](crate::actor::Actor::stopping) is called.
            /// Does not wait.
            ///
            #[doc = include_str!("docs/addr_kill.md")]
            pub fn kill(&self) {
                self.strong.core().kill();
            }

            /// Stops the actor and waits for its end; kills it if that has not come within `deadline`, and waits again, for five
            /// seconds at most.
            ///
            /// What is queued is handled, until the deadline. The answer counts this actor, of a [`Pool`](crate::actor::Pool) also the workers. A handler that computes cannot be killed: then the answer says that one is `left`.
            /// Of a [supervised](crate::actor::Supervisor) actor this ends its present life, and its supervisor may start it again; it is ended for
            /// good by [`SupervisorAddr::terminate`](crate::actor::SupervisorAddr::terminate). Called by the actor itself, this waits for nobody: the
            /// actor ends when it has handled what is queued, and the answer says that it is left. A cancellation point.
            ///
            /// ```
            #[doc = include_str!("docs/counter.md")]
            /// let counter = Counter(0).start();
            /// counter.tell(Add(1)).unwrap();
            /// let end = counter.shutdown(Duration::from_secs(1));
            /// assert_eq!((end.stopped, end.lost), (1, 0));
            /// assert_eq!(counter.join(), Exit::Shutdown);
            /// ```
            pub fn shutdown(&self, deadline: Duration) -> $crate::actor::Shutdown {
                $crate::actor::shutdown::end_one(self.strong.core(), deadline)
            }

            /// Waits until the actor has ended, and returns why.
            ///
            #[doc = include_str!("docs/addr_join.md")]
            #[track_caller]
            pub fn join(&self) -> $crate::actor::Exit {
                match $crate::actor::engine::lifecycle::join(self.strong.core(), $crate::sys::clock::NEVER) {
                    Ok(exit) => exit,
                    Err(error) => panic!("cannot join {}: {error}", self.id()),
                }
            }

            /// Waits until the actor has ended, for at most `d`, and not beyond the deadline of the handler that calls this.
            ///
            #[doc = include_str!("docs/addr_join_timeout.md")]
            pub fn join_timeout(&self, d: Duration) -> Result<$crate::actor::Exit, $crate::actor::JoinError> {
                $crate::actor::engine::lifecycle::join(
                    self.strong.core(),
                    $crate::sys::clock::after_ns(d).min($crate::actor::engine::origin::SendOrigin::limit_ns()),
                )
            }

            /// Returns whether the actor has ended; then [`join`](Self::join) does not wait.
            ///
            /// ```
            #[doc = include_str!("docs/counter.md")]
            /// let counter = Counter(0).start();
            /// assert!(!counter.is_ended());
            /// counter.kill();
            /// counter.join();
            /// assert!(counter.is_ended());
            /// ```
            #[must_use]
            pub fn is_ended(&self) -> bool {
                self.strong.core().is_ended()
            }

            /// Returns the actor's number, which no other actor of this process has or will have.
            ///
            /// ```
            #[doc = include_str!("docs/counter.md")]
            /// assert_ne!(Counter(0).start().id(), Counter(0).start().id());
            /// ```
            #[must_use]
            pub fn id(&self) -> $crate::actor::ActorId {
                self.strong.core().id()
            }

            /// Returns the name that [`Builder::name`](crate::actor::Builder::name) gave to the actor.
            ///
            /// ```
            #[doc = include_str!("docs/counter.md")]
            /// assert_eq!(Counter(0).start().name(), None);
            /// assert_eq!(Builder::new().name("sums").start(Counter(0)).unwrap().name(), Some("sums"));
            /// ```
            #[must_use]
            pub fn name(&self) -> Option<&str> {
                self.strong.core().header.name()
            }

            /// Returns how many messages wait in the mailbox.
            ///
            /// For diagnosis: the number may have changed already, and of more than 1000 it may be only those that take room. The message that is being handled does
            /// not count. Those that take no room do, as those that were forwarded, or that a pool has handed on; not those that were put aside.
            ///
            /// ```
            #[doc = include_str!("docs/counter.md")]
            /// let counter = Counter(0).start();
            /// counter.send(Add(1)).unwrap();
            /// assert_eq!(counter.queued(), 0);
            /// ```
            #[must_use]
            pub fn queued(&self) -> usize {
                self.strong.core().mailbox.lock().queued()
            }
        }
    };
}
pub(crate) use impl_life;
