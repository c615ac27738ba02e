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

/// Each auto trait, of green's type and of std's.
macro_rules! same_traits {
    ($($name:ident $(<$($arg:ty),*>)?),* $(,)?) => {$(
        same_trait!(green::sync::$name $(<$($arg),*>)?, std::sync::$name $(<$($arg),*>)?, Send, Sync, UnwindSafe, RefUnwindSafe, Unpin);
    )*};
}

macro_rules! same_trait {
    ($ours:ty, $theirs:ty, $($bound:ident),*) => {$(
        let (ours, theirs) = (implements!($ours: $bound), implements!($theirs: $bound));
        assert_eq!(ours, theirs, "{} for {}", stringify!($bound), stringify!($ours));
    )*};
}

type NotSend = Rc<()>;
type NotSync = std::cell::Cell<u32>;
type NotUnwindSafe = &'static mut u32;

#[test]
fn auto_traits_are_those_of_std() {
    assert!(implements!(u32: Send) && !implements!(Rc<()>: Send), "the probe works");
    same_traits!(Mutex<u32>, Mutex<NotSend>, Mutex<NotSync>, Mutex<NotUnwindSafe>, Mutex<dyn Send>, Mutex<[u8]>);
    same_traits!(MutexGuard<u32>, MutexGuard<NotSend>, MutexGuard<NotSync>, MutexGuard<NotUnwindSafe>, Condvar);
    same_traits!(RwLock<u32>, RwLock<NotSend>, RwLock<NotSync>, RwLock<NotUnwindSafe>, RwLock<dyn Send>, RwLock<[u8]>);
    same_traits!(RwLockReadGuard<u32>, RwLockReadGuard<NotSend>, RwLockReadGuard<NotSync>);
    same_traits!(RwLockReadGuard<NotUnwindSafe>, RwLockReadGuard<std::cell::UnsafeCell<u32>>);
    same_traits!(RwLockWriteGuard<u32>, RwLockWriteGuard<NotSend>, RwLockWriteGuard<NotSync>);
    same_traits!(RwLockWriteGuard<NotUnwindSafe>, Barrier, BarrierWaitResult, Once, OnceState);
    same_traits!(OnceLock<u32>, OnceLock<NotSend>, OnceLock<NotSync>, OnceLock<NotUnwindSafe>);
    same_traits!(LazyLock<u32>, LazyLock<NotSend>, LazyLock<NotSync>, LazyLock<NotUnwindSafe>);
    same_traits!(LazyLock<u32, NotSend>, LazyLock<u32, NotSync>, LazyLock<u32, NotUnwindSafe>);
}

/// Compiles only if the lifetime in the type may be shortened.
#[test]
fn variance_is_that_of_std() {
    fn _read_guard<'a: 'b, 'b>(
        guard: green::sync::RwLockReadGuard<'a, &'a str>,
    ) -> green::sync::RwLockReadGuard<'b, &'b str> {
        guard
    }
    fn _guard<'a: 'b, 'b, T>(guard: green::sync::MutexGuard<'a, T>) -> green::sync::MutexGuard<'b, T> {
        guard
    }
    fn _write_guard<'a: 'b, 'b, T>(
        guard: green::sync::RwLockWriteGuard<'a, T>,
    ) -> green::sync::RwLockWriteGuard<'b, T> {
        guard
    }
    // What is borrowed may end before the cell that holds it is dropped: no destructor of ours looks at it.
    let (mutex, lock, cell);
    let short = String::new();
    mutex = green::sync::Mutex::new(&short);
    lock = green::sync::RwLock::new(&short);
    cell = green::sync::OnceLock::from(&short);
    assert!(mutex.lock().is_ok() && lock.read().is_ok() && cell.get().is_some());
}

#[test]
fn everything_can_stand_in_a_static() {
    static MUTEX: green::sync::Mutex<u32> = green::sync::Mutex::new(1);
    static RWLOCK: green::sync::RwLock<u32> = green::sync::RwLock::new(1);
    static CONDVAR: green::sync::Condvar = green::sync::Condvar::new();
    static BARRIER: green::sync::Barrier = green::sync::Barrier::new(1);
    static ONCE: green::sync::Once = green::sync::Once::new();
    static CELL: green::sync::OnceLock<u32> = green::sync::OnceLock::new();
    static LAZY: green::sync::LazyLock<u32> = green::sync::LazyLock::new(|| 1);
    static SEMAPHORE: green::sync::Semaphore = green::sync::Semaphore::new(1);
    CONDVAR.notify_all();
    ONCE.call_once(|| ());
    let _permit = SEMAPHORE.acquire();
    assert!(BARRIER.wait().is_leader());
    let (cell, lazy) = (*CELL.get_or_init(|| 1), *LAZY);
    assert_eq!(*MUTEX.lock().unwrap() + *RWLOCK.read().unwrap() + cell + lazy, 4);
}

macro_rules! same_debug {
    ($($expression:expr),* $(,)?) => {$(
        assert_eq!(
            { use green::sync::*; $expression },
            { use std::sync::*; $expression },
            "{}", stringify!($expression),
        );
    )*};
}

#[test]
fn debug_and_display_are_those_of_std() {
    same_debug!(
        format!("{:?}", Mutex::new("a")),
        format!("{:#?}", Mutex::new(Some(1))),
        {
            let mutex = Mutex::new(1);
            let _guard = mutex.lock();
            format!("{mutex:?}")
        },
        {
            let mutex = Mutex::new(1);
            format!("{:?} {}", mutex.lock().unwrap(), mutex.try_lock().is_err())
        },
        {
            let mutex = Mutex::new("x");
            format!("{}", mutex.lock().unwrap())
        },
        {
            let mutex = Mutex::new(());
            poison(|| mutex.lock());
            format!("{mutex:?} {:?} {:?}", mutex.lock(), mutex.try_lock())
        },
        format!("{:?}", Mutex::<u8>::default()),
        format!("{:?} {:#?}", RwLock::new(1), RwLock::new(1)),
        {
            let lock = RwLock::new(1);
            let _guard = lock.write();
            format!("{lock:?}")
        },
        {
            let lock = RwLock::new(1);
            let _guard = lock.read();
            format!("{lock:?} {:?} {}", lock.read().unwrap(), lock.read().unwrap())
        },
        {
            let lock = RwLock::new(1);
            format!("{:?}", lock.write().unwrap())
        },
        {
            let lock = RwLock::new(1);
            format!("{}", lock.write().unwrap())
        },
        {
            let lock = RwLock::new(());
            poison(|| lock.write());
            format!("{lock:?}")
        },
        format!("{:?}", Condvar::new()),
        format!("{:?} {:?}", Barrier::new(2), Barrier::new(1).wait()),
        {
            let once = Once::new();
            let mut seen = String::new();
            once.call_once_force(|state| seen = format!("{state:?}"));
            format!("{once:?} {seen}")
        },
        format!("{:?} {:?}", OnceLock::<u8>::new(), OnceLock::from(1)),
        {
            let lazy = LazyLock::new(|| 1);
            let before = format!("{lazy:?}");
            LazyLock::force(&lazy);
            format!("{before} {lazy:?}")
        },
        {
            let (mutex, condvar) = (Mutex::new(()), Condvar::new());
            format!("{:?}", condvar.wait_timeout(mutex.lock().unwrap(), std::time::Duration::ZERO))
        },
    );
}

/// Unwinds while the guard that `lock` gives is held.
fn poison<G>(lock: impl Fn() -> G) {
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _guard = lock();
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(unwound.is_err());
}
