//! What the compiler and a reader of logs see: the same as of std's types.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;

/// Does a type implement an auto trait? Written as a method that the bound one shadows, so that both answers compile.
macro_rules! implements {
    ($type:ty: $bound:path) => {{
        #[allow(dead_code)]
        trait Fallback {
            const ANSWER: bool = false;
        }
        impl<T: ?Sized> Fallback for T {}
        struct Probe<T: ?Sized>(std::marker::PhantomData<T>);
        #[allow(dead_code)]
        impl<T: ?Sized + $bound> Probe<T> {
            const ANSWER: bool = true;
        }
        <Probe<$type>>::ANSWER
    }};
}

macro_rules! same_traits {
    ($($name:ident<$($arg:ty),*>),* $(,)?) => {$(
        assert_eq!(implements!(green::sync::$name<$($arg),*>: Send), implements!(std::sync::$name<$($arg),*>: Send), "Send for {}<{}>", stringify!($name), stringify!($($arg),*));
        assert_eq!(implements!(green::sync::$name<$($arg),*>: Sync), implements!(std::sync::$name<$($arg),*>: Sync), "Sync for {}<{}>", stringify!($name), stringify!($($arg),*));
        assert_eq!(implements!(green::sync::$name<$($arg),*>: UnwindSafe), implements!(std::sync::$name<$($arg),*>: UnwindSafe), "UnwindSafe for {}<{}>", stringify!($name), stringify!($($arg),*));
        assert_eq!(implements!(green::sync::$name<$($arg),*>: RefUnwindSafe), implements!(std::sync::$name<$($arg),*>: RefUnwindSafe), "RefUnwindSafe for {}<{}>", stringify!($name), stringify!($($arg),*));
        assert_eq!(implements!(green::sync::$name<$($arg),*>: Unpin), implements!(std::sync::$name<$($arg),*>: Unpin), "Unpin for {}<{}>", stringify!($name), stringify!($($arg),*));
    )*};
}

type NotSend = Rc<()>;
type NotSync = std::cell::Cell<u32>;
type NotUnwindSafe = &'static mut u32;

#[test]
fn auto_traits_are_those_of_std() {
    assert!(implements!(u32: Send) && !implements!(Rc<()>: Send), "the probe works");
    same_traits!(Mutex<u32>, Mutex<NotSend>, Mutex<NotSync>, Mutex<NotUnwindSafe>, Mutex<dyn Send>, Mutex<[u8]>);
    same_traits!(MutexGuard<u32>, MutexGuard<NotSend>, MutexGuard<NotSync>);
    same_traits!(MutexGuard<NotUnwindSafe>, Condvar);
}
