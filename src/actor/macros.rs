//! [`messages!`](crate::messages!): messages and their handlers, with less to write.
//!
//! Two kinds of items, `struct` and `impl`, are taken off one by one. Each function of an `impl` goes through three steps, which
//! take its parameters off from the left: `@in` the receiver, `@ctx` the context, `@reply` the right to reply. What is left are
//! the fields of the message, and `@message` and `@handle` or `@receive` write the items.

#![forbid(unsafe_code)]

/// Declares messages, with their replies, and handles them.
///
/// A function in an `impl` of an actor is a message and its [`Handler`](crate::actor::Handler): its name is the message's type, a
/// tuple struct of its parameters (with the function's visibility, and whatever attributes it has), and what it returns is the
/// reply.
///
/// ```
/// use green::actor::{Actor, messages};
///
/// struct Account(i64);
/// impl Actor for Account {}
///
/// messages! {
///     impl Account {
///         pub fn Deposit(&mut self, amount: i64) { self.0 += amount }
///
///         #[derive(Clone, Debug)]
///         pub fn Withdraw(&mut self, amount: i64) -> Result<i64, &'static str> {
///             if amount > self.0 { return Err("not enough") }
///             self.0 -= amount;
///             Ok(self.0)
///         }
///     }
/// }
///
/// let account = Account(0).start();
/// account.tell(Deposit(100)).unwrap();
/// assert_eq!(account.send(Withdraw(30)).unwrap(), Ok(70));
/// ```
///
/// A handler that needs its [`Context`](crate::actor::Context) takes it as its first parameter; one that replies later
/// ([`Receives`](crate::actor::Receives)) takes the right to reply as the next one, and returns nothing. Both are known by their types,
/// which are imported, and spelled as here:
///
/// ```
/// use green::actor::{Actor, Context, Deferred, messages};
///
/// #[derive(Default)]
/// struct Lock { holders: u32, waiting: Vec<Deferred<u32>> }
/// impl Actor for Lock {}
///
/// messages! {
///     impl Lock {
///         fn Acquire(&mut self, reply: Deferred<u32>) { self.waiting.push(reply) }
///         fn Release(&mut self, all: bool) {
///             let up_to = if all { self.waiting.len() } else { self.waiting.len().min(1) };
///             self.waiting.drain(..up_to).for_each(|waiting| waiting.reply(7));
///         }
///         fn Close(&mut self, ctx: &mut Context<Self>) { ctx.stop() }
///     }
/// }
/// let lock = Lock::default().start();
/// let pending = lock.call(Acquire).unwrap();
/// lock.tell(Release(false)).unwrap();
/// assert_eq!(pending.wait().unwrap(), 7);
/// lock.send(Close).unwrap();
/// ```
///
/// A message that several actors handle, or one of a generic actor, is declared alone, and handled by hand:
///
/// ```
/// use green::actor::{Actor, Context, Handler, messages};
///
/// messages! {
///     /// Asks for the number of items.
///     pub struct Len -> usize;
///     pub struct Resize { pub len: usize, pub shrink: bool };
/// }
///
/// struct Items<T>(Vec<T>);
/// impl<T: Send + 'static> Actor for Items<T> {}
/// impl<T: Send + 'static> Handler<Len> for Items<T> {
///     fn handle(&mut self, _: Len, _: &mut Context<Self>) -> usize { self.0.len() }
/// }
/// assert_eq!(Items(vec!['a', 'b']).start().send(Len).unwrap(), 2);
/// ```
#[macro_export]
macro_rules! messages {
    () => {};
    ($(#[$meta:meta])* $vis:vis struct $Name:ident $(-> $R:ty)?; $($rest:tt)*) => {
        $(#[$meta])* $vis struct $Name;
        $crate::messages! { @message $Name ($($R)?) }
        $crate::messages! { $($rest)* }
    };
    ($(#[$meta:meta])* $vis:vis struct $Name:ident ($($fields:tt)*) $(-> $R:ty)?; $($rest:tt)*) => {
        $(#[$meta])* $vis struct $Name($($fields)*);
        $crate::messages! { @message $Name ($($R)?) }
        $crate::messages! { $($rest)* }
    };
    ($(#[$meta:meta])* $vis:vis struct $Name:ident { $($fields:tt)* } $(-> $R:ty)?; $($rest:tt)*) => {
        $(#[$meta])* $vis struct $Name { $($fields)* }
        $crate::messages! { @message $Name ($($R)?) }
        $crate::messages! { $($rest)* }
    };
    (impl $A:ty { $($handlers:tt)* } $($rest:tt)*) => {
        $crate::messages! { @in ($A) $($handlers)* }
        $crate::messages! { $($rest)* }
    };

    (@message $Name:ident ()) => { $crate::messages! { @message $Name (()) } };
    (@message $Name:ident ($R:ty)) => {
        impl $crate::actor::Message for $Name {
            type Reply = $R;
        }
    };

    (@in $A:tt) => {};
    (@in $A:tt
        $(#[$meta:meta])* $vis:vis fn $Name:ident(&mut $this:ident $($params:tt)*) $(-> $R:ty)? $body:block $($rest:tt)*
    ) => {
        $crate::messages! { @ctx $A [$(#[$meta])* $vis] $Name $this ($($params)*) ($($R)?) $body }
        $crate::messages! { @in $A $($rest)* }
    };
    (@in $A:tt
        $(#[$meta:meta])* $vis:vis fn $Name:ident(&$this:ident $($params:tt)*) $(-> $R:ty)? $body:block $($rest:tt)*
    ) => {
        $crate::messages! { @ctx $A [$(#[$meta])* $vis] $Name $this ($($params)*) ($($R)?) $body }
        $crate::messages! { @in $A $($rest)* }
    };

    (@ctx $A:tt $head:tt $Name:ident $this:ident (, $ctx:ident: &mut Context<Self> $($params:tt)*) $R:tt $body:block) => {
        $crate::messages! { @reply $A $head $Name $this ($ctx: &mut Context<Self>) ($($params)*) $R $body }
    };
    (@ctx $A:tt $head:tt $Name:ident $this:ident $params:tt $R:tt $body:block) => {
        $crate::messages! { @reply $A $head $Name $this (_: &mut $crate::actor::Context<Self>) $params $R $body }
    };

    (@reply $A:tt $head:tt $Name:ident $this:ident $ctx:tt
        (, $reply:ident: Deferred<$R:ty> $(, $field:ident: $T:ty)* $(,)?) () $body:block
    ) => {
        $crate::messages! { @struct $head $Name ($($T),*) }
        $crate::messages! { @message $Name ($R) }
        $crate::messages! { @receive $A $Name $this $ctx $reply ($R) ($($field)*) $body }
    };
    (@reply $A:tt $head:tt $Name:ident $this:ident $ctx:tt ($(, $field:ident: $T:ty)* $(,)?) () $body:block) => {
        $crate::messages! { @reply $A $head $Name $this $ctx ($(, $field: $T)*) (()) $body }
    };
    (@reply $A:tt $head:tt $Name:ident $this:ident $ctx:tt ($(, $field:ident: $T:ty)* $(,)?) ($R:ty) $body:block) => {
        $crate::messages! { @struct $head $Name ($($T),*) }
        $crate::messages! { @message $Name ($R) }
        $crate::messages! { @handle $A $Name $this $ctx ($R) ($($field)*) $body }
    };

    (@struct [$(#[$meta:meta])* $vis:vis] $Name:ident ()) => { $(#[$meta])* $vis struct $Name; };
    (@struct [$(#[$meta:meta])* $vis:vis] $Name:ident ($($T:ty),+)) => {
        $(#[$meta])* $vis struct $Name($($vis $T),+);
    };

    (@handle ($A:ty) $Name:ident $this:ident ($($ctx:tt)*) ($R:ty) () $body:block) => {
        impl $crate::actor::Handler<$Name> for $A {
            fn handle(&mut $this, _: $Name, $($ctx)*) -> $R $body
        }
    };
    (@handle ($A:ty) $Name:ident $this:ident ($($ctx:tt)*) ($R:ty) ($($field:ident)+) $body:block) => {
        impl $crate::actor::Handler<$Name> for $A {
            fn handle(&mut $this, $Name($($field),+): $Name, $($ctx)*) -> $R $body
        }
    };
    (@receive ($A:ty) $Name:ident $this:ident ($($ctx:tt)*) $reply:ident ($R:ty) () $body:block) => {
        impl $crate::actor::Receives<$Name> for $A {
            fn receive(
                &mut $this,
                _: $Name,
                $reply: Deferred<$R>,
                $($ctx)*,
            ) $body
        }
    };
    (@receive ($A:ty) $Name:ident $this:ident ($($ctx:tt)*) $reply:ident ($R:ty) ($($field:ident)+) $body:block) => {
        impl $crate::actor::Receives<$Name> for $A {
            fn receive(
                &mut $this,
                $Name($($field),+): $Name,
                $reply: Deferred<$R>,
                $($ctx)*,
            ) $body
        }
    };
}
