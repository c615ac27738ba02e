//! The variance of every public type with a parameter: what a value of `T<A>` may be taken for where `A` is a subtype of another
//! type. Wrong variance is unsoundness without a line of `unsafe`: an address of an actor of one type would pass for one of
//! another. `tests/tidy` counts the public generic types against these rows.
//!
//! The subtype is `Any`, a function that takes every `&str`; its supertype is `Static`, one that takes a `&'static str`.
//! Invariant types convert neither way, covariant ones only to the supertype. std's counterparts are the measure, and
//! crossbeam's. ([`JoinHandle`](crate::thread::JoinHandle)'s is invariant by accident: it only gives its value out.)

macro_rules! preamble {
    () => {
        "# #![allow(dead_code, unused)]
# use green::actor::{Actor, Context, Handler, Message};
# struct W<F>(F);
# impl<F: Send + 'static> Actor for W<F> {}
# impl<F: Send + 'static> Message for W<F> { type Reply = (); }
# impl<F: Send + 'static> green::actor::StateMachine for W<F> {
#     type State = ();
#     fn timed_out(&mut self, _: &(), _: &mut Context<green::actor::Machine<Self>>) {}
# }
# type Any = for<'a> fn(&'a str);
# type Static = fn(&'static str);
"
    };
}

macro_rules! invariant {
    ($($row:ident: $type:literal)*) => { $(
        #[doc = concat!("```\n", preamble!(), "type T<'l, F> = ", $type, ";\nfn same(t: T<Any>) -> T<Any> { t }\n```")]
        #[doc = concat!("```compile_fail,E0308\n", preamble!(), "type T<'l, F> = ", $type, ";\nfn up(t: T<Any>) -> T<Static> { t }\n```")]
        #[doc = concat!("```compile_fail,E0308\n", preamble!(), "type T<'l, F> = ", $type, ";\nfn down(t: T<Static>) -> T<Any> { t }\n```")]
        mod $row {}
    )* };
}

macro_rules! covariant {
    ($($row:ident: $type:literal)*) => { $(
        #[doc = concat!("```\n", preamble!(), "type T<'l, F> = ", $type, ";\nfn up(t: T<Any>) -> T<Static> { t }\n```")]
        #[doc = concat!("```compile_fail,E0308\n", preamble!(), "type T<'l, F> = ", $type, ";\nfn down(t: T<Static>) -> T<Any> { t }\n```")]
        mod $row {}
    )* };
}

/// `'l` is the lifetime.
macro_rules! covariant_in_lifetime {
    ($($row:ident: $type:literal)*) => { $(
        #[doc = concat!("```\n", preamble!(), "type T<'l> = ", $type, ";\nfn shorter<'a: 'b, 'b>(t: T<'a>) -> T<'b> { t }\n```")]
        #[doc = concat!("```compile_fail\n", preamble!(), "type T<'l> = ", $type, ";\nfn longer<'a: 'b, 'b>(t: T<'b>) -> T<'a> { t }\n```")]
        mod $row {}
    )* };
}

macro_rules! invariant_in_lifetime {
    ($($row:ident: $type:literal)*) => { $(
        #[doc = concat!("```\n", preamble!(), "type T<'l, 'e> = ", $type, ";\nfn same<'r, 'l, 'e>(t: &'r T<'l, 'e>) -> &'r T<'l, 'e> { t }\n```")]
        #[doc = concat!("```compile_fail\n", preamble!(), "type T<'l, 'e> = ", $type, ";\nfn shorter<'a: 'b, 'b, 'r>(t: &'r T<'a, 'a>) -> &'r T<'b, 'a> { t }\n```")]
        #[doc = concat!("```compile_fail\n", preamble!(), "type T<'l, 'e> = ", $type, ";\nfn longer<'a: 'b, 'b, 'r>(t: &'r T<'b, 'a>) -> &'r T<'a, 'a> { t }\n```")]
        mod $row {}
    )* };
}

invariant! {
    addr: "green::actor::Addr<W<F>>"
    weak_addr: "green::actor::WeakAddr<W<F>>"
    child: "green::actor::Child<W<F>>"
    recipient: "green::actor::Recipient<W<F>>"
    weak_recipient: "green::actor::WeakRecipient<W<F>>"
    name: "green::actor::Name<W<F>>"
    group: "green::actor::Group<W<F>>"
    topic: "green::actor::Topic<W<F>>"
    pool: "green::actor::Pool<W<F>>"
    machine: "green::actor::Machine<W<F>>"
    step_of_message: "green::actor::Step<(), W<F>>"
    context: "green::actor::Context<W<F>>"
    reenter: "green::actor::Reenter<'l, W<F>>"
    pending: "green::actor::Pending<W<F>>"
    test_probe: "green::actor::testkit::TestProbe<W<F>>"
    deferred: "green::actor::Deferred<F>"
    sender: "green::channel::Sender<F>"
    receiver: "green::channel::Receiver<F>"
    iter: "green::channel::Iter<'l, F>"
    try_iter: "green::channel::TryIter<'l, F>"
    into_iter: "green::channel::IntoIter<F>"
    recv_future: "green::future::RecvFuture<'l, F>"
    mpsc_sender: "green::sync::mpsc::Sender<F>"
    sync_sender: "green::sync::mpsc::SyncSender<F>"
    mpsc_receiver: "green::sync::mpsc::Receiver<F>"
    mpsc_iter: "green::sync::mpsc::Iter<'l, F>"
    mpsc_try_iter: "green::sync::mpsc::TryIter<'l, F>"
    mpsc_into_iter: "green::sync::mpsc::IntoIter<F>"
    mutex: "green::sync::Mutex<F>"
    mutex_guard: "green::sync::MutexGuard<'l, F>"
    rwlock: "green::sync::RwLock<F>"
    rwlock_write_guard: "green::sync::RwLockWriteGuard<'l, F>"
    once_lock: "green::sync::OnceLock<F>"
    lazy_lock: "green::sync::LazyLock<F>"
    lazy_lock_closure: "green::sync::LazyLock<(), F>"
    local_key: "green::thread::LocalKey<F>"
}

covariant! {
    step: "green::actor::Step<F, W<u8>>"
    rwlock_read_guard: "green::sync::RwLockReadGuard<'l, F>"
    join_handle: "green::thread::JoinHandle<F>"
    scoped_join_handle: "green::thread::ScopedJoinHandle<'l, F>"
    returned: "green::actor::Returned<F>"
    timers: "green::actor::Timers<F>"
    send_error: "green::actor::SendError<F>"
    async_stream: "green::net::Async<F>"
    blocking: "green::future::Blocking<F>"
}

covariant_in_lifetime! {
    reenter_lifetime: "green::actor::Reenter<'l, W<Any>>"
    builder: "green::actor::Builder<'l>"
    iter_lifetime: "green::channel::Iter<'l, Any>"
    try_iter_lifetime: "green::channel::TryIter<'l, Any>"
    recv_future_lifetime: "green::future::RecvFuture<'l, Any>"
    mpsc_iter_lifetime: "green::sync::mpsc::Iter<'l, Any>"
    mpsc_try_iter_lifetime: "green::sync::mpsc::TryIter<'l, Any>"
    select: "green::channel::Select<'l>"
    entry: "green::channel::internal::SelectCase<'l>"
    selected_operation: "green::channel::SelectedOperation<'l>"
    mutex_guard_lifetime: "green::sync::MutexGuard<'l, Any>"
    rwlock_read_guard_lifetime: "green::sync::RwLockReadGuard<'l, Any>"
    rwlock_write_guard_lifetime: "green::sync::RwLockWriteGuard<'l, Any>"
    semaphore_guard: "green::sync::SemaphoreGuard<'l>"
    scoped_join_handle_lifetime: "green::thread::ScopedJoinHandle<'l, Any>"
    tcp_incoming: "green::net::Incoming<'l>"
    unix_incoming: "green::os::unix::net::Incoming<'l>"
}

invariant_in_lifetime! {
    scope: "green::thread::Scope<'l, 'e>"
}
