//! An actor that answers by closures.

#![forbid(unsafe_code)]

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;

use crate::actor::{Actor, Context, Handler, Message};

type MockAnswer<M> = Box<dyn FnMut(M) -> <M as Message>::Reply + Send>;

/// Stands for an actor in a test: answers each type of message by a closure.
///
/// Its address takes messages of every type, so it fits wherever code asks for an actor that handles some, by its
/// [`Recipient`](crate::actor::Recipient)s or by a type parameter. A message without a closure is a panic of the mock: its asker gets
/// [`SendError::Died`](crate::actor::SendError::Died), and the text names the type.
///
/// ```
/// use green::actor::testkit::{Mock, run};
/// use green::actor::{Actor, Addr, Handler, messages};
///
/// messages! {
///     struct Price(&'static str) -> Option<u32>;
///     struct Buy(&'static str);
/// }
/// /// What is to be tested: the cheapest item, bought.
/// fn shop<S: Handler<Price> + Handler<Buy>>(shop: &Addr<S>, items: &[&'static str]) -> Option<u32> {
///     let priced = items.iter().filter_map(|item| Some((shop.send(Price(item)).ok()??, item)));
///     let (price, item) = priced.min()?;
///     shop.send(Buy(item)).ok()?;
///     Some(price)
/// }
///
/// run(|| {
///     let (bought, seen) = green::channel::unbounded();
///     let mock = Mock::new()
///         .on(|Price(item)| (item != "gold").then_some(item.len() as u32))
///         .on(move |Buy(item)| bought.send(item).unwrap())
///         .start();
///     assert_eq!(shop(&mock, &["milk", "gold", "tea"]), Some(3));
///     assert_eq!(seen.recv(), Ok("tea"));
/// });
/// ```
#[derive(Default)]
#[must_use = "it answers when it has been started"]
pub struct Mock {
    /// An [`MockAnswer`] for each type.
    answers: HashMap<TypeId, Box<dyn Any + Send>>,
}

impl Mock {
    /// Makes a mock that answers nothing.
    ///
    /// ```
    /// use green::actor::{Actor, messages, testkit::Mock};
    /// messages! { struct Ping; }
    /// assert!(Mock::new().start().send(Ping).is_err());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Has messages of type `M` answered by `answer`, which replaces an earlier one for that type.
    ///
    /// It is called for one message at a time, and may wait, as a handler may.
    ///
    /// ```
    /// use green::actor::{Actor, messages, testkit::Mock};
    /// messages! { struct Next -> u32; }
    /// let mut n = 0;
    /// let counter = Mock::new().on(move |_: Next| { n += 1; n }).start();
    /// assert_eq!(counter.send(Next).unwrap(), 1);
    /// assert_eq!(counter.send(Next).unwrap(), 2);
    /// ```
    pub fn on<M: Message>(mut self, answer: impl FnMut(M) -> M::Reply + Send + 'static) -> Self {
        let answer: MockAnswer<M> = Box::new(answer);
        self.answers.insert(TypeId::of::<M>(), Box::new(answer));
        self
    }
}

impl Actor for Mock {}

impl<M: Message> Handler<M> for Mock {
    fn handle(&mut self, msg: M, _: &mut Context<Self>) -> M::Reply {
        let answer = self.answers.get_mut(&TypeId::of::<M>()).and_then(|answer| answer.downcast_mut::<MockAnswer<M>>());
        let answer = answer.unwrap_or_else(|| panic!("the mock has no answer to {}", type_name::<M>()));
        answer(msg)
    }
}

impl fmt::Debug for Mock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mock").field("answers", &self.answers.len()).finish()
    }
}
