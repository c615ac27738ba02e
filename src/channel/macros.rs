//! `select!` and `select_biased!`.
//!
//! In four steps, each a recursion over the cases: `@list` gives every case a block as its body and every `default` an
//! argument list; `@check` parses the arguments; `@bind` evaluates the channel expressions, in order, each in a scope
//! around the next; `@complete` completes the case that was chosen and runs its body. A name that a step of the
//! recursion introduces is a name of its own, so any number of cases can have one called `channel`.
//!
//! A body may assign to the handles of the cases, or give them away. So what borrows them is gone before a body begins: the
//! operation that was chosen is passed on as a whole, to `recv`, `send` or `drop`. (A `match` that takes it out of a `Result`
//! would leave a place behind that is dropped after the bodies.)

#![forbid(unsafe_code)]

#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    (@list $biased:tt () $cases:tt) => {
        $crate::__select!(@check $biased $cases () ())
    };
    (@list $biased:tt (default => $($tail:tt)*) $cases:tt) => {
        $crate::__select!(@list $biased (default() => $($tail)*) $cases)
    };
    (@list $biased:tt
        ($case:ident $args:tt $(-> $result:pat)? => { $($body:tt)* }, $($tail:tt)*) ($($cases:tt)*)
    ) => {
        $crate::__select!(@list $biased ($($tail)*) ($($cases)* $case $args $(-> $result)? => { $($body)* },))
    };
    (@list $biased:tt ($case:ident $args:tt $(-> $result:pat)? => $body:expr, $($tail:tt)*) ($($cases:tt)*)) => {
        $crate::__select!(@list $biased ($($tail)*) ($($cases)* $case $args $(-> $result)? => { $body },))
    };
    (@list $biased:tt ($case:ident $args:tt $(-> $result:pat)? => { $($body:tt)* }) ($($cases:tt)*)) => {
        $crate::__select!(@list $biased () ($($cases)* $case $args $(-> $result)? => { $($body)* },))
    };
    (@list $biased:tt ($case:ident $args:tt $(-> $result:pat)? => $body:expr) ($($cases:tt)*)) => {
        $crate::__select!(@list $biased () ($($cases)* $case $args $(-> $result)? => { $body },))
    };
    (@list $biased:tt
        ($case:ident $args:tt $(-> $result:pat)? => { $($body:tt)* } $($tail:tt)*) ($($cases:tt)*)
    ) => {
        $crate::__select!(@list $biased ($($tail)*) ($($cases)* $case $args $(-> $result)? => { $($body)* },))
    };
    (@list $biased:tt ($($wrong:tt)*) $cases:tt) => {
        compile_error!(concat!(
            "expected a case of `select!`: `recv(channel) -> result => body`, `send(channel, message) -> result => body`, \
             `default => body` or `default(timeout) => body`, with a comma after a body that is not a block; found `",
            stringify!($($wrong)*),
            "`"
        ))
    };

    (@check $biased:tt () $cases:tt $default:tt) => {
        $crate::__select!(@start $biased $cases $default)
    };
    (@check $biased:tt
        (recv($channel:expr $(,)?) -> $result:pat => $body:tt, $($tail:tt)*) ($($cases:tt)*) $default:tt
    ) => {
        $crate::__select!(@check $biased
            ($($tail)*) ($($cases)* recv($channel) -> $result => $body,) $default)
    };
    (@check $biased:tt
        (send($channel:expr, $message:expr $(,)?) -> $result:pat => $body:tt, $($tail:tt)*) ($($cases:tt)*) $default:tt
    ) => {
        $crate::__select!(@check $biased
            ($($tail)*) ($($cases)* send($channel, $message) -> $result => $body,) $default)
    };
    (@check $biased:tt (default() => $body:tt, $($tail:tt)*) $cases:tt ()) => {
        $crate::__select!(@check $biased ($($tail)*) $cases (() $body))
    };
    (@check $biased:tt (default($timeout:expr $(,)?) => $body:tt, $($tail:tt)*) $cases:tt ()) => {
        $crate::__select!(@check $biased ($($tail)*) $cases (($timeout) $body))
    };
    (@check $biased:tt (default $($tail:tt)*) $cases:tt ($($default:tt)+)) => {
        compile_error!("there can be only one `default` case in a `select!` block")
    };
    (@check $biased:tt ($case:ident $args:tt $(-> $result:pat)? => $body:tt, $($tail:tt)*) $cases:tt $default:tt) => {
        compile_error!(concat!(
            "expected `recv(channel) -> result`, `send(channel, message) -> result`, `default` or `default(timeout)`, \
             found `",
            stringify!($case $args $(-> $result)?),
            "`"
        ))
    };

    // One receive is the method.
    (@start $biased:tt (recv($channel:expr) -> $result:pat => $body:tt,) ()) => {
        match &$channel {
            channel => {
                let channel: &$crate::channel::Receiver<_> = channel;
                let result = channel.recv();
                let $result = result;
                $body
            }
        }
    };
    (@start $biased:tt (recv($channel:expr) -> $result:pat => $body:tt,) (() $default:tt)) => {
        match &$channel {
            channel => {
                let channel: &$crate::channel::Receiver<_> = channel;
                match channel.try_recv() {
                    ::core::result::Result::Err($crate::channel::TryRecvError::Empty) => $default,
                    result => {
                        let $result = result.map_err(|_| $crate::channel::RecvError);
                        $body
                    }
                }
            }
        }
    };
    (@start $biased:tt (recv($channel:expr) -> $result:pat => $body:tt,) (($timeout:expr) $default:tt)) => {
        match &$channel {
            channel => {
                let channel: &$crate::channel::Receiver<_> = channel;
                match channel.recv_timeout($timeout) {
                    ::core::result::Result::Err($crate::channel::RecvTimeoutError::Timeout) => $default,
                    result => {
                        let $result = result.map_err(|_| $crate::channel::RecvError);
                        $body
                    }
                }
            }
        }
    };
    (@start $biased:tt $cases:tt $default:tt) => {
        $crate::__select!(@bind $biased (0usize) $cases $default () ())
    };

    (@bind $biased:tt $index:tt
        (recv($channel:expr) -> $result:pat => $body:tt, $($tail:tt)*) $default:tt ($($entries:tt)*) ($($bound:tt)*)
    ) => {
        match &$channel {
            channel => {
                let channel: &$crate::channel::Receiver<_> = channel;
                $crate::__select!(@bind $biased ($index + 1usize) ($($tail)*) $default
                    ($($entries)* $crate::channel::internal::recv(channel, $index),)
                    ($($bound)* $index recv(channel) -> $result => $body,))
            }
        }
    };
    (@bind $biased:tt $index:tt
        (send($channel:expr, $message:expr) -> $result:pat => $body:tt, $($tail:tt)*) $default:tt
        ($($entries:tt)*) ($($bound:tt)*)
    ) => {
        match &$channel {
            channel => {
                let channel: &$crate::channel::Sender<_> = channel;
                $crate::__select!(@bind $biased ($index + 1usize) ($($tail)*) $default
                    ($($entries)* $crate::channel::internal::send(channel, $index),)
                    ($($bound)* $index send(channel, $message) -> $result => $body,))
            }
        }
    };
    (@bind $biased:tt $index:tt () () ($($entries:tt)*) $bound:tt) => {{
        let chosen = $crate::channel::internal::select(&mut [$($entries)*], $biased);
        $crate::__select!(@complete chosen $bound)
    }};
    (@bind $biased:tt $index:tt () (() $default:tt) ($($entries:tt)*) $bound:tt) => {{
        let chosen = $crate::channel::internal::try_select(&mut [$($entries)*], $biased);
        if ::core::result::Result::is_err(&chosen) {
            ::core::mem::drop(chosen);
            $default
        } else {
            let chosen = ::core::result::Result::unwrap(chosen);
            $crate::__select!(@complete chosen $bound)
        }
    }};
    (@bind $biased:tt $index:tt () (($timeout:expr) $default:tt) ($($entries:tt)*) $bound:tt) => {{
        let chosen = $crate::channel::internal::select_timeout(&mut [$($entries)*], $timeout, $biased);
        if ::core::result::Result::is_err(&chosen) {
            ::core::mem::drop(chosen);
            $default
        } else {
            let chosen = ::core::result::Result::unwrap(chosen);
            $crate::__select!(@complete chosen $bound)
        }
    }};

    (@complete $chosen:ident
        ($index:tt recv($channel:ident) -> $result:pat => $body:tt, $($tail:tt)*)
    ) => {
        if $chosen.index() == $index {
            let result = $chosen.recv($channel);
            let $result = result;
            $body
        } else {
            $crate::__select!(@complete $chosen ($($tail)*))
        }
    };
    (@complete $chosen:ident
        ($index:tt send($channel:ident, $message:expr) -> $result:pat => $body:tt, $($tail:tt)*)
    ) => {
        if $chosen.index() == $index {
            let result = $chosen.send($channel, $message);
            let $result = result;
            $body
        } else {
            $crate::__select!(@complete $chosen ($($tail)*))
        }
    };
    (@complete $chosen:ident ()) => {
        unreachable!("`select!` has chosen operation {}, which is not among its cases", $chosen.index())
    };
}

/// Waits for one of several channel operations, completes it and runs its body: crossbeam-channel's macro.
///
/// | case | chosen when |
/// | --- | --- |
/// | `recv(channel) -> result => body` | there is a message, or there can be none any more |
/// | `send(channel, message) -> result => body` | there is room or a receiver, or all receivers are gone |
/// | `default => body`, `default() => body` | none of the others can be completed without waiting |
/// | `default(timeout) => body` | none of them could be for that long |
///
/// `result` is a pattern for what [`recv`](crate::channel::Receiver::recv) or
/// [`send`](crate::channel::Sender::send) returns. `channel` is any expression for a handle or a reference to one; all of
/// them are evaluated first, in order. `message` is evaluated only when its case has been chosen. A body that is no
/// block is followed by a comma, and may assign to the handles or give them away. Of several operations that need not wait a random one is chosen;
/// [`select_biased!`](crate::channel::select_biased) takes the first. `break`, `continue`, `return` and `?` in a body
/// mean what they mean outside.
///
/// A cancellation point, unless there is a `default` without a time-out: a cancelled select has neither sent nor received
/// anything. For a number of operations that is not known when the program is written, there is
/// [`Select`](crate::channel::Select).
///
/// ```
/// use green::channel::{bounded, select, unbounded};
/// use std::time::Duration;
///
/// let (s1, r1) = unbounded();
/// let (s2, r2) = bounded(1);
/// s1.send(10).unwrap();
/// let got = select! {
///     recv(r1) -> message => message.unwrap(),
///     send(s2, 20) -> result => {
///         result.unwrap();
///         r2.recv().unwrap()
///     }
///     default(Duration::from_secs(1)) => 0,
/// };
/// assert!(got == 10 || got == 20);
/// ```
#[macro_export]
macro_rules! select {
    () => { compile_error!("empty `select!` block") };
    ($($cases:tt)*) => { $crate::__select!(@list false ($($cases)*) ()) };
}

/// Waits for one of several channel operations like [`select!`](crate::channel::select), but prefers those that are
/// written first.
///
/// Of several operations that need not wait it takes the first. So a case that is always ready keeps all later ones
/// from ever being taken.
///
/// ```
/// use green::channel::{select_biased, unbounded};
/// let (s, r) = unbounded();
/// let (stop, stopped) = unbounded::<()>();
/// s.send(1).unwrap();
/// drop(stop);
/// let first = select_biased! {
///     recv(stopped) -> _ => "stop",
///     recv(r) -> _ => "work",
/// };
/// assert_eq!(first, "stop");
/// ```
#[macro_export]
macro_rules! select_biased {
    () => { compile_error!("empty `select_biased!` block") };
    ($($cases:tt)*) => { $crate::__select!(@list true ($($cases)*) ()) };
}
