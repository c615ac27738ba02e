//! The spans of the crate `tracing` follow a green thread.
#![forbid(unsafe_code)]

use tracing::dispatcher::{self, DefaultGuard};
use tracing::span::Id;
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Span};

use crate::park::on_switch::OnSwitch;
use crate::rt::thread::current;

/// No thread has entered more at one time; a subscriber that never runs out of a current span is left after so many.
const DEEPEST: usize = 1024;

/// Has the current spans of [`tracing`], and the current dispatcher, follow a green thread across its waits.
///
/// A subscriber keeps them by OS thread. So a span that a green thread has entered would be the current one of its neighbours while it waits, and a neighbour's
/// might be its own. This takes the thread's away when it suspends, gives back those that the OS thread had before, and enters the thread's own when it goes on:
/// the subscriber is told of an exit and an enter at each wait. A thread with a name is in a span `thread` of level `INFO` with the fields `name` and `id` besides.
///
/// For one thread that goes by [`thread::Builder::on_switch`](crate::thread::Builder::on_switch), for an actor by
/// [`actor::Builder::on_switch`](crate::actor::Builder::on_switch), for all threads and actors of a runtime by
/// [`RuntimeBuilder::on_switch`](crate::RuntimeBuilder::on_switch), also of the default one ([`build_default`](crate::RuntimeBuilder::build_default)). Threads and actors with
/// thread-locals of their own have no need of it. An actor is in its spans whenever it handles messages; one with a name is in a span `actor`, with the same fields, as long as it lives.
///
/// It knows the spans of the dispatcher that is current when the thread suspends; those that the thread has entered by another dispatcher stay behind. What a
/// neighbour without such calls has entered is seen by the thread's own calls only, not by the thread.
///
/// ```
/// use green::tracing::Spans;
/// use tracing::{Span, info_span};
/// # let _registry = tracing::subscriber::set_default(tracing_subscriber::registry());
/// let runtime = green::Runtime::builder().workers(1).on_switch(Spans::inherited).build()?;
/// runtime.run(|| {
///     let request = |number| {
///         let span = info_span!("request", number);
///         span.in_scope(|| {
///             green::yield_now(); // the other request
///             assert_eq!(Span::current().id(), span.id());
///         });
///     };
///     green::scope(|scope| (1..=2).for_each(|number| drop(scope.spawn(move || request(number)))));
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Spans {
    /// The thread's, while it is suspended: the outermost last.
    own: Vec<Entered>,
    /// Those of the OS thread, while the thread runs.
    host: Vec<Entered>,
    /// The thread's dispatcher, while it is suspended.
    dispatch: Option<Dispatch>,
    /// Gives the OS thread its dispatcher back.
    guard: Option<DefaultGuard>,
    /// Of a thread with a name, from its begin on.
    thread: Option<Span>,
    has_begun: bool,
}

/// A span that was entered, and is held as long as it is not.
#[derive(Debug)]
struct Entered {
    dispatch: Dispatch,
    id: Id,
}

impl Spans {
    /// For a thread that begins in no span, with the OS thread's dispatcher.
    ///
    /// ```
    /// use green::tracing::Spans;
    /// let thread = green::thread::Builder::new().on_switch(Spans::new()).spawn(|| tracing::Span::current().is_none())?;
    /// assert!(thread.join().unwrap());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self { own: Vec::new(), host: Vec::new(), dispatch: None, guard: None, thread: None, has_begun: false }
    }

    /// For a thread that begins in the span that is current now, with the dispatcher that is current now: those of the thread that spawns it.
    ///
    /// ```
    /// use green::tracing::Spans;
    /// # let _registry = tracing::subscriber::set_default(tracing_subscriber::registry());
    /// let span = tracing::info_span!("request");
    /// let thread = span.in_scope(|| {
    ///     green::thread::Builder::new().on_switch(Spans::inherited()).spawn(|| tracing::Span::current().id())
    /// })?;
    /// assert_eq!(thread.join().unwrap(), span.id());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn inherited() -> Self {
        dispatcher::get_default(|dispatch| {
            let current = dispatch.current_span();
            let entered = current.id().map(|id| Entered { dispatch: dispatch.clone(), id: dispatch.clone_span(id) });
            Self { own: entered.into_iter().collect(), dispatch: scoped(dispatch), ..Self::new() }
        })
    }

    fn begin(&mut self) {
        self.has_begun = true;
        let thread = current();
        if let Some(name) = thread.name() {
            let span = if thread.0.vtable.after_run.is_some() {
                tracing::info_span!("actor", name, id = ?thread.id())
            } else {
                tracing::info_span!("thread", name, id = ?thread.id())
            };
            span.with_subscriber(|(id, dispatch)| dispatch.enter(id));
            self.thread = Some(span);
        }
    }
}

impl Default for Spans {
    fn default() -> Self {
        Self::new()
    }
}

impl OnSwitch for Spans {
    fn resume(&mut self) {
        self.host = leave_all();
        // Set in any case: what the thread sets is undone for the OS thread when it suspends.
        let dispatch = self.dispatch.take().unwrap_or_else(|| dispatcher::get_default(Dispatch::clone));
        self.guard = Some(dispatcher::set_default(&dispatch));
        enter_all(&mut self.own);
        if !self.has_begun {
            self.begin();
        }
    }

    fn suspend(&mut self) {
        self.own = leave_all();
        self.dispatch = dispatcher::get_default(scoped);
        self.guard = None;
        enter_all(&mut self.host);
    }
}

/// The dispatcher, if it is one.
fn scoped(dispatch: &Dispatch) -> Option<Dispatch> {
    (!dispatch.is::<NoSubscriber>()).then(|| dispatch.clone())
}

/// Leaves the spans of the current dispatcher that this OS thread is in, the innermost first.
fn leave_all() -> Vec<Entered> {
    let mut left = Vec::new();
    dispatcher::get_default(|dispatch| {
        while left.len() < DEEPEST
            && let Some(id) = dispatch.current_span().id()
        {
            let id = dispatch.clone_span(id);
            dispatch.exit(&id);
            left.push(Entered { dispatch: dispatch.clone(), id });
        }
    });
    left
}

/// Enters them again, the outermost first.
fn enter_all(spans: &mut Vec<Entered>) {
    while let Some(entered) = spans.pop() {
        entered.dispatch.enter(&entered.id);
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.dispatch.try_close(self.id.clone());
    }
}
