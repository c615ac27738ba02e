//! One source, compiled twice: with `use std::thread` and with `use green::thread`. What a program may say to the one it may
//! say to the other, and gets the same answers.
#![allow(missing_docs)]

macro_rules! suite {
    ($name:ident, $thread:path, $local:path) => {
        mod $name {
            use std::any::Any;
            use std::cell::{Cell, RefCell};
            use std::collections::HashSet;
            use std::io;
            use std::panic::{RefUnwindSafe, UnwindSafe};
            use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
            use std::time::{Duration, Instant};

            use $local as local;
            use $thread as thread;

            use thread::{
                AccessError, Builder, JoinHandle, LocalKey, Scope, ScopedJoinHandle, Thread, ThreadId, current, spawn,
            };

            #[test]
            fn a_name_with_a_nul_is_a_panic_that_says_so_and_drops_the_closure() {
                let says = |f: &dyn Fn()| {
                    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).unwrap_err();
                    panic.downcast::<String>().map_or_else(|_| String::new(), |text| *text)
                };
                let held = std::sync::Arc::new(());
                let bad = || Builder::new().name("a\0b".to_owned());
                let expected = "thread name may not contain interior null bytes: NulError(1, [97, 0, 98])";
                for stack_size in [64 << 10, usize::MAX] {
                    let held = || held.clone();
                    let spawn = || _ = bad().stack_size(stack_size).spawn({ let held = held(); move || held });
                    assert_eq!(says(&spawn), expected);
                    let spawn_scoped = || {
                        thread::scope(|scope| _ = bad().stack_size(stack_size).spawn_scoped(scope, || held()));
                    };
                    assert_eq!(says(&spawn_scoped), expected);
                }
                assert_eq!(std::sync::Arc::strong_count(&held), 1);
                let good = Builder::new().name("ab".to_owned()).spawn(|| current().name().map(str::to_owned)).unwrap();
                assert_eq!(good.join().unwrap().as_deref(), Some("ab"));
            }

            #[test]
            fn an_optional_thread_id_is_as_small_as_an_id() {
                assert_eq!(size_of::<Option<ThreadId>>(), size_of::<ThreadId>());
            }

            #[test]
            fn signatures() {
                let _: fn(fn() -> u8) -> JoinHandle<u8> = spawn::<fn() -> u8, u8>;
                let _: fn() -> Thread = current;
                let _: fn() = thread::park;
                let _: fn(Duration) = thread::park_timeout;
                let _: fn(Duration) = thread::sleep;
                let _: fn() = thread::yield_now;
                let _: fn() -> bool = thread::panicking;
                let _: fn() -> io::Result<std::num::NonZero<usize>> = thread::available_parallelism;
                let _: fn(&JoinHandle<u8>) -> &Thread = JoinHandle::thread;
                let _: fn(JoinHandle<u8>) -> thread::Result<u8> = JoinHandle::join;
                let _: fn(&JoinHandle<u8>) -> bool = JoinHandle::is_finished;
                let _: fn(&Thread) -> ThreadId = Thread::id;
                let _: fn(&Thread) -> Option<&str> = Thread::name;
                let _: fn(&Thread) = Thread::unpark;
                let _: fn(Builder, String) -> Builder = Builder::name;
                let _: fn(Builder, usize) -> Builder = Builder::stack_size;
                let _: fn(Builder, fn() -> u8) -> io::Result<JoinHandle<u8>> = Builder::spawn::<fn() -> u8, u8>;
                let _: unsafe fn(Builder, fn() -> u8) -> io::Result<JoinHandle<u8>> =
                    Builder::spawn_unchecked::<fn() -> u8, u8>;
                let _: fn(ScopedJoinHandle<'static, u8>) -> thread::Result<u8> = ScopedJoinHandle::join;
            }

            #[test]
            fn traits() {
                fn all<T: Send + Sync + std::fmt::Debug>() {}
                fn safe<T: UnwindSafe + RefUnwindSafe>() {}
                fn error<T: std::error::Error + Clone + Copy + Eq>() {}
                fn id<T: Clone + Copy + Eq + std::hash::Hash>() {}
                all::<JoinHandle<Cell<u8>>>();
                all::<ScopedJoinHandle<'static, Cell<u8>>>();
                all::<Thread>();
                all::<ThreadId>();
                all::<Scope<'static, 'static>>();
                all::<LocalKey<u8>>();
                all::<Builder>();
                safe::<Thread>();
                error::<AccessError>();
                id::<ThreadId>();
            }

            #[test]
            fn idioms() -> io::Result<()> {
                let named = Builder::new().name("worker".into()).stack_size(256 << 10).spawn(|| {
                    let name = current().name().map(str::to_owned);
                    (name, current().id())
                })?;
                let id = named.thread().id();
                assert_eq!(named.thread().name(), Some("worker"));
                let (name, own_id) = named.join().unwrap();
                assert_eq!((name.as_deref(), own_id), (Some("worker"), id));
                let ids: HashSet<_> = (0..4).map(|_| spawn(|| current().id()).join().unwrap()).collect();
                assert_eq!(ids.len(), 4);
                let handles = (0..8).map(|n| spawn(move || n * n)).collect::<Vec<_>>();
                let sum: i32 = handles.into_iter().map(|handle| handle.join().expect("it does not panic")).sum();
                assert_eq!(sum, 140);
                let payload: Box<dyn Any + Send> = spawn::<_, ()>(|| std::panic::resume_unwind(Box::new("why"))).join().unwrap_err();
                assert_eq!(payload.downcast_ref::<&str>(), Some(&"why"));
                let text = String::from("lent");
                // SAFETY: it is joined while `text` is there.
                let unchecked = unsafe { Builder::new().spawn_unchecked(|| text.len())? };
                assert_eq!(unchecked.join().unwrap(), 4);
                Ok(())
            }

            #[test]
            fn parking() {
                static READY: AtomicBool = AtomicBool::new(false);
                let parked = spawn(|| {
                    while !READY.load(Ordering::Acquire) {
                        thread::park();
                    }
                });
                READY.store(true, Ordering::Release);
                parked.thread().unpark();
                parked.join().unwrap();
                current().unpark();
                thread::park();
                let start = Instant::now();
                thread::park_timeout(Duration::from_millis(1));
                thread::sleep(Duration::from_millis(1));
                assert!(start.elapsed() >= Duration::from_millis(1));
                assert!(!thread::panicking());
            }

            #[test]
            fn scopes() {
                let mut numbers = vec![1, 2, 3];
                let seen = AtomicU32::new(0);
                let length = thread::scope(|scope| {
                    scope.spawn(|| seen.fetch_add(numbers.len() as u32, Ordering::Relaxed));
                    let named = Builder::new().name("scoped".to_string()).spawn_scoped(scope, || numbers.len()).unwrap();
                    scope.spawn(|| scope.spawn(|| seen.fetch_add(1, Ordering::Relaxed)).join().unwrap());
                    assert_eq!(named.thread().name(), Some("scoped"));
                    while !named.is_finished() {
                        thread::yield_now();
                    }
                    named.join().unwrap()
                });
                numbers.push(length as i32);
                assert_eq!((seen.into_inner(), numbers.len()), (4, 4));
            }

            local! {
                static COUNT: Cell<u32> = const { Cell::new(1) };
                pub(super) static LIST: RefCell<Vec<u32>> = RefCell::new(vec![]);
                static LAZY: Cell<u32> = panic!("`set` does not run this");
                static LAZY_LIST: RefCell<Vec<u32>> = panic!("nor does this");
                static PLAIN: String = String::from("plain")
            }

            #[test]
            fn locals() {
                COUNT.set(5);
                assert_eq!((COUNT.get(), COUNT.replace(6), COUNT.take(), COUNT.get()), (5, 5, 6, 0));
                assert_eq!(spawn(|| COUNT.get()).join().unwrap(), 1);
                LIST.with_borrow_mut(|list| list.push(1));
                assert_eq!(LIST.with_borrow(Vec::len), 1);
                assert_eq!(LIST.replace(vec![2, 3]), [1]);
                LIST.set(vec![4]);
                assert_eq!((LIST.take(), LIST.take()), (vec![4], vec![]));
                LAZY.set(7);
                LAZY.set(8);
                assert_eq!(LAZY.get(), 8);
                LAZY_LIST.set(vec![7]);
                assert_eq!(LAZY_LIST.take(), [7]);
                assert_eq!(PLAIN.with(|text| text.len()) + PLAIN.try_with(String::len).unwrap(), 10);
            }

            #[test]
            fn a_local_is_gone_when_its_destructor_runs() {
                struct Late;
                impl Drop for Late {
                    fn drop(&mut self) {
                        let gone = LATE.try_with(|_| ()).map_err(|error: AccessError| error.to_string());
                        GONE.store(gone.is_err(), Ordering::Relaxed);
                    }
                }
                local!(static LATE: Late = const { Late });
                static GONE: AtomicBool = AtomicBool::new(false);
                spawn(|| LATE.with(|_| ())).join().unwrap();
                assert!(GONE.load(Ordering::Relaxed));
            }
        }
    };
}

suite!(of_std, std::thread, std::thread_local);
suite!(of_green, green::thread, green::local);
