//! `green::local!`: values that each green thread has for itself.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::base::atomic::AtomicU32;
use crate::park::current::with_header;
use crate::task::local::LocalSlot;

/// Declares green-thread-local values: [`std::thread_local!`] for green threads.
///
/// Each green thread, and each plain OS thread, gets a value of its own at first use. It is dropped when the thread ends,
/// before `join` returns. A `thread_local!` would be shared by all green threads of a worker.
///
/// ```
/// use std::cell::Cell;
/// green::local! {
///     static COUNT: Cell<u32> = Cell::new(0);
/// }
/// COUNT.set(5);
/// green::spawn(|| assert_eq!(COUNT.get(), 0)).join().unwrap();
/// assert_eq!(COUNT.get(), 5);
/// ```
#[macro_export]
macro_rules! local {
    () => {};
    ($(#[$attribute:meta])* $visibility:vis static $name:ident : $type:ty = $init:expr; $($rest:tt)*) => {
        $crate::local! { $(#[$attribute])* $visibility static $name: $type = $init }
        $crate::local! { $($rest)* }
    };
    ($(#[$attribute:meta])* $visibility:vis static $name:ident : $type:ty = $init:expr) => {
        $(#[$attribute])*
        $visibility static $name: $crate::thread::LocalKey<$type> = $crate::thread::LocalKey::__new(|| $init);
    };
}

/// Gives each green thread a value of its own: what [`local!`](crate::local!) declares, [`std::thread::LocalKey`].
///
/// The macro makes a `static` of it, and so has any other code to do: a key is known by its address, and two constants
/// that look alike could have the same one.
///
/// ```compile_fail,E0716
/// const KEY: green::thread::LocalKey<u8> = green::thread::LocalKey::__new(|| 1);
/// KEY.with(|n| assert_eq!(*n, 1));
/// ```
pub struct LocalKey<T: 'static> {
    init: fn() -> T,
    /// Invariant, as std's.
    _value: PhantomData<fn(T) -> T>,
    /// Takes no room, and keeps a constant from becoming a `&'static` by itself.
    _place: [AtomicU32; 0],
}

/// Says that a thread's value has been dropped already, because the thread is ending: the error of
/// [`LocalKey::try_with`].
///
/// ```
/// green::local!(static LAST: Last = Last);
/// struct Last;
/// impl Drop for Last {
///     fn drop(&mut self) {
///         let error: green::thread::AccessError = LAST.try_with(|_| ()).unwrap_err();
///         assert!(error.to_string().contains("dropped already"));
///     }
/// }
/// green::spawn(|| LAST.with(|_| ())).join().unwrap();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AccessError {
    _private: (),
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the green-thread-local value has been dropped already")
    }
}

impl std::error::Error for AccessError {}

impl<T: 'static> LocalKey<T> {
    #[doc(hidden)]
    #[must_use]
    pub const fn __new(init: fn() -> T) -> Self {
        Self { init, _value: PhantomData, _place: [] }
    }

    /// Calls `f` with the thread's value, and returns what `f` returns. The value is made if there is none yet.
    ///
    /// The reference does not leave `f`. `f` may park; no other thread has this value. A destructor of such a value may
    /// use others, which are then made, as long as they have not been dropped.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// green::local! {
    ///     static SEEN: RefCell<Vec<u32>> = RefCell::new(Vec::new());
    /// }
    /// SEEN.with(|seen| seen.borrow_mut().push(1));
    /// assert_eq!(SEEN.with(|seen| seen.borrow().len()), 1);
    /// green::spawn(|| SEEN.with(|seen| assert!(seen.borrow().is_empty()))).join().unwrap();
    /// ```
    ///
    /// # Panics
    ///
    /// If the value has been dropped already; with what `f` or the initialiser panics with.
    #[track_caller]
    pub fn with<F, R>(&'static self, f: F) -> R
    where
        F: FnOnce(&T) -> R,
    {
        self.try_with(f).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Calls `f` with the thread's value, unless the value has been dropped already because the thread is ending.
    ///
    /// ```
    /// green::local! {
    ///     static ID: u32 = 7;
    /// }
    /// assert_eq!(ID.try_with(|id| *id), Ok(7));
    /// ```
    ///
    /// # Errors
    ///
    /// If the value has been dropped already.
    pub fn try_with<F, R>(&'static self, f: F) -> Result<R, AccessError>
    where
        F: FnOnce(&T) -> R,
    {
        self.try_with_or(self.init, f)
    }

    /// As `try_with`, with another initialiser.
    fn try_with_or<R>(&'static self, init: impl FnOnce() -> T, f: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        let key = std::ptr::from_ref(self).addr();
        with_header(|thread| {
            let locals = &thread.extra_or_new().locals;
            // SAFETY: the thread itself calls (invariant 2 of `task::local`); the borrow is over at once.
            let find = || unsafe { &*locals.get() }.get(key);
            let fresh: Option<Box<dyn Any>> = match find() {
                None => Some(Box::new(init())),
                Some(_) => None,
            };
            // The initialiser may have used the key itself: then its value stands.
            let value = match (find(), fresh) {
                (Some(LocalSlot::Value(value)), _) => value,
                // SAFETY: as above.
                (None, Some(fresh)) => unsafe { &mut *locals.get() }.insert(key, fresh),
                _ => return Err(AccessError { _private: () }),
            };
            let value: NonNull<T> = value.cast();
            // SAFETY: a value lives until the thread ends, in a box of its own; under this key they are of type `T`.
            Ok(f(unsafe { value.as_ref() }))
        })
    }
}

impl<T: 'static> LocalKey<Cell<T>> {
    /// Sets the thread's value. The initialiser is not run.
    ///
    /// ```
    /// use std::cell::Cell;
    /// green::local! {
    ///     static LEVEL: Cell<u32> = panic!("set it first");
    /// }
    /// LEVEL.set(3);
    /// assert_eq!(LEVEL.get(), 3);
    /// ```
    ///
    /// # Panics
    ///
    /// If the value has been dropped already.
    #[track_caller]
    pub fn set(&'static self, value: T) {
        let value = Cell::new(Some(value));
        let init = || Cell::new(value.take().expect("it is taken once"));
        let set = |cell: &Cell<T>| value.take().map_or((), |value| cell.set(value));
        self.try_with_or(init, set).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Returns a copy of the thread's value.
    ///
    /// ```
    /// use std::cell::Cell;
    /// green::local! {
    ///     static LEVEL: Cell<u32> = Cell::new(1);
    /// }
    /// assert_eq!(LEVEL.get(), 1);
    /// ```
    ///
    /// # Panics
    ///
    /// If the value has been dropped already.
    #[must_use]
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(Cell::get)
    }

    /// Takes the thread's value out, and leaves the type's default.
    ///
    /// ```
    /// use std::cell::Cell;
    /// green::local! {
    ///     static LEFT: Cell<Option<u32>> = Cell::new(Some(1));
    /// }
    /// assert_eq!((LEFT.take(), LEFT.take()), (Some(1), None));
    /// ```
    ///
    /// # Panics
    ///
    /// If the value has been dropped already.
    #[must_use]
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(Cell::take)
    }

    /// Replaces the thread's value, and returns the old one.
    ///
    /// ```
    /// use std::cell::Cell;
    /// green::local! {
    ///     static LEVEL: Cell<u32> = Cell::new(1);
    /// }
    /// assert_eq!(LEVEL.replace(2), 1);
    /// assert_eq!(LEVEL.get(), 2);
    /// ```
    ///
    /// # Panics
    ///
    /// If the value has been dropped already.
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> LocalKey<RefCell<T>> {
    /// Calls `f` with the thread's value borrowed.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// green::local! {
    ///     static NAMES: RefCell<Vec<&'static str>> = RefCell::new(vec!["green"]);
    /// }
    /// assert_eq!(NAMES.with_borrow(|names| names.len()), 1);
    /// ```
    ///
    /// # Panics
    ///
    /// If the value is mutably borrowed, or has been dropped already.
    #[track_caller]
    pub fn with_borrow<F, R>(&'static self, f: F) -> R
    where
        F: FnOnce(&T) -> R,
    {
        self.with(|cell| f(&cell.borrow()))
    }

    /// Calls `f` with the thread's value mutably borrowed.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// green::local! {
    ///     static NAMES: RefCell<Vec<&'static str>> = RefCell::new(Vec::new());
    /// }
    /// NAMES.with_borrow_mut(|names| names.push("green"));
    /// assert_eq!(NAMES.take(), ["green"]);
    /// ```
    ///
    /// # Panics
    ///
    /// If the value is borrowed, or has been dropped already.
    #[track_caller]
    pub fn with_borrow_mut<F, R>(&'static self, f: F) -> R
    where
        F: FnOnce(&mut T) -> R,
    {
        self.with(|cell| f(&mut cell.borrow_mut()))
    }

    /// Sets the thread's value. The initialiser is not run.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// green::local! {
    ///     static NAME: RefCell<String> = panic!("set it first");
    /// }
    /// NAME.set("green".to_owned());
    /// assert_eq!(NAME.take(), "green");
    /// ```
    ///
    /// # Panics
    ///
    /// If the value is borrowed, or has been dropped already.
    #[track_caller]
    pub fn set(&'static self, value: T) {
        let value = Cell::new(Some(value));
        let init = || RefCell::new(value.take().expect("it is taken once"));
        let set = |cell: &RefCell<T>| value.take().map(|value| cell.replace(value));
        drop(self.try_with_or(init, set).unwrap_or_else(|error| panic!("{error}")));
    }

    /// Takes the thread's value out, and leaves the type's default.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// green::local! {
    ///     static NAMES: RefCell<Vec<u32>> = RefCell::new(vec![1, 2]);
    /// }
    /// assert_eq!(NAMES.take(), [1, 2]);
    /// assert!(NAMES.take().is_empty());
    /// ```
    ///
    /// # Panics
    ///
    /// If the value is borrowed, or has been dropped already.
    #[must_use]
    #[track_caller]
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(RefCell::take)
    }

    /// Replaces the thread's value, and returns the old one.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// green::local! {
    ///     static NAMES: RefCell<Vec<u32>> = RefCell::new(vec![1]);
    /// }
    /// assert_eq!(NAMES.replace(vec![2]), [1]);
    /// ```
    ///
    /// # Panics
    ///
    /// If the value is borrowed, or has been dropped already.
    #[track_caller]
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}
