//! What libc and the kernel keep by thread: keys, owners of mutexes, fork, setuid, signals, libraries.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use green::{Runtime, ThreadLocals};

use crate::help::{self, in_a_child};
use crate::{many, runtime};

#[test]
fn values_of_keys_are_the_threads_own_and_destroyed_at_its_end() {
    static DESTROYED: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn destroy(value: *mut libc::c_void) {
        green::yield_now();
        DESTROYED.fetch_add(value.addr(), Ordering::Relaxed);
    }
    let mut keys = [0; 50];
    for key in &mut keys {
        // SAFETY: it writes one number; the destructor takes any value.
        assert_eq!(unsafe { libc::pthread_key_create(key, Some(destroy)) }, 0);
    }
    for _ in 0..3 {
        many(20, |number| {
            for (at, key) in keys.iter().enumerate() {
                // SAFETY: the keys are there.
                unsafe {
                    assert!(libc::pthread_getspecific(*key).is_null());
                    libc::pthread_setspecific(*key, std::ptr::without_provenance(number * 100 + at + 1));
                    if at % 10 == 0 {
                        green::yield_now();
                    }
                    assert_eq!(libc::pthread_getspecific(*key).addr(), number * 100 + at + 1);
                }
            }
        });
    }
    let of_one: usize = (0..20).map(|number| (0..50).map(|at| number * 100 + at + 1).sum::<usize>()).sum();
    if ThreadLocals::supported().is_ok() {
        assert_eq!(DESTROYED.load(Ordering::Relaxed), 3 * of_one);
    }
    for key in keys {
        // SAFETY: nobody uses it any more.
        unsafe { libc::pthread_key_delete(key) };
    }
}

#[test]
fn a_pthread_mutex_knows_its_owner() {
    struct Lock(std::cell::UnsafeCell<libc::pthread_mutex_t>);
    // SAFETY: it is used by libc's functions.
    unsafe impl Sync for Lock {}
    for kind in [libc::PTHREAD_MUTEX_RECURSIVE, libc::PTHREAD_MUTEX_ERRORCHECK] {
        let lock = Lock(std::cell::UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));
        // SAFETY: the attributes are made before they are used, and the mutex before it is locked.
        unsafe {
            let mut attributes = std::mem::zeroed();
            libc::pthread_mutexattr_init(&raw mut attributes);
            libc::pthread_mutexattr_settype(&raw mut attributes, kind);
            libc::pthread_mutex_init(lock.0.get(), &raw const attributes);
        }
        let lock = &lock;
        many(10, |_| {
            // SAFETY: the mutex lives until all threads have ended.
            unsafe {
                // Tried only: this kind of lock blocks the worker.
                while libc::pthread_mutex_trylock(lock.0.get()) != 0 {
                    assert_ne!(libc::pthread_mutex_unlock(lock.0.get()), 0, "another one's");
                    green::yield_now();
                }
                green::yield_now();
                let again = libc::pthread_mutex_lock(lock.0.get());
                assert_eq!(again == 0, kind == libc::PTHREAD_MUTEX_RECURSIVE);
                green::yield_now();
                if again == 0 {
                    assert_eq!(libc::pthread_mutex_unlock(lock.0.get()), 0);
                }
                assert_eq!(libc::pthread_mutex_unlock(lock.0.get()), 0);
            }
        });
    }
}

#[test]
fn a_child_of_fork_is_a_plain_thread_with_all_it_had() {
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(7) };
    }
    let Some(runtime) = runtime() else { return };
    runtime.run(|| {
        NUMBER.set(8);
        // SAFETY: the child uses what a child of fork may, and ends by `_exit`.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::alarm(20);
                let text = Box::new(NUMBER.get().to_string());
                let other = std::thread::spawn(move || *text == "8" && NUMBER.get() == 7).join();
                green::sleep(Duration::from_millis(1));
                libc::_exit(if matches!(other, Ok(true)) { 0 } else { 1 });
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            assert_eq!(status, 0);
        }
        green::yield_now();
        assert_eq!(NUMBER.get(), 8);
    });
}

#[test]
fn setuid_reaches_all_threads_from_wherever_it_is_called() {
    let Some(runtime) = Runtime::builder().workers(2).thread_locals(ThreadLocals::PerThread).build().ok() else {
        return;
    };
    // SAFETY: it changes nothing: the user is the one that it is.
    let same = || assert_eq!(unsafe { libc::setuid(libc::getuid()) }, 0);
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            runtime.run(|| {
                let spin = || {
                    while done.load(Ordering::Relaxed) < 2 {
                        green::yield_now();
                    }
                };
                green::scope(|scope| {
                    scope.spawn(spin);
                    scope.spawn(spin);
                    scope.spawn(|| {
                        (0..20).for_each(|_| same());
                        done.fetch_add(1, Ordering::Relaxed);
                    });
                });
            });
        });
        (0..20).for_each(|_| same());
        done.fetch_add(1, Ordering::Relaxed);
    });
}

#[test]
fn a_childs_process_and_an_os_thread_start_from_a_green_one() {
    many(5, |number| {
        let output = std::process::Command::new("echo").arg(number.to_string()).output().unwrap();
        assert_eq!(output.stdout, format!("{number}\n").as_bytes());
        assert_eq!(std::thread::spawn(move || number).join().unwrap(), number);
    });
}

#[test]
fn libraries_may_be_loaded_meanwhile() {
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(7) };
    }
    // By itself, as it changes what is loaded.
    let ended = in_a_child(&[], || {
        many(10, |number| {
            NUMBER.set(number);
            green::yield_now();
            // Some of them are there on most machines; the second has thread-locals.
            for name in [c"libutil.so.1", c"libstdc++.so.6", c"libgomp.so.1"] {
                // SAFETY: libraries of the system, whose initialisers do no harm.
                unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
                green::yield_now();
            }
            assert_eq!(NUMBER.get(), number);
        });
        for _ in 0..3 {
            many(20, |number| {
                assert_eq!(NUMBER.replace(number), 7);
                green::yield_now();
                assert_eq!(NUMBER.get(), number);
            });
        }
    });
    ended.assert_success();
}

green::pthread_getattr_np!();

#[test]
fn pthread_getattr_np_says_where_the_stack_is() {
    fn stack() -> (usize, usize) {
        let (mut attributes, mut base, mut len) = (std::mem::MaybeUninit::uninit(), std::ptr::null_mut(), 0);
        // SAFETY: the attributes are made before they are used; then two words and a set are written.
        unsafe {
            assert_eq!(libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()), 0);
            assert_eq!(libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut base, &raw mut len), 0);
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
        }
        let here = (&raw const len).addr();
        assert!((base.addr()..base.addr() + len).contains(&here), "{here:#x} in {base:?}+{len:#x}");
        (base.addr(), len)
    }
    let outside = stack();
    let Some(runtime) = runtime() else { return };
    runtime.run(|| {
        for size in [16 << 10, 64 << 10, 1 << 20] {
            let inside = green::thread::Builder::new().stack_size(size).spawn(stack).unwrap().join().unwrap();
            assert!(inside.0 != outside.0 && inside.1 <= size);
            assert_ne!(stack().0, inside.0);
        }
    });
    assert_eq!(stack(), outside);
}

#[test]
fn an_overflow_is_reported_as_on_any_stack() {
    fn deep(n: usize) -> usize {
        let frame = [n; 64];
        if n == 0 { 0 } else { deep(n - 1) + std::hint::black_box(frame)[n % 64] }
    }
    if ThreadLocals::supported().is_err() {
        return;
    }
    let ended = in_a_child(&[], || {
        let Some(runtime) = runtime() else { return };
        runtime.run(|| {
            let thread = green::thread::Builder::new().name("deep one".into()).stack_size(64 << 10);
            let _ = thread.spawn(|| std::hint::black_box(deep(1_000_000))).unwrap().join();
        });
    });
    assert_eq!(ended.signal, Some(6), "{}", ended.output);
    assert!(ended.output.contains("green thread 'deep one' (id "), "{}", ended.output);
}

#[test]
fn a_signals_handler_finds_the_thread_that_it_interrupts() {
    thread_local! {
        static COUNT: Cell<usize> = const { Cell::new(0) };
    }
    static ALL: AtomicUsize = AtomicUsize::new(0);
    static ENDED: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn count(_: libc::c_int) {
        COUNT.set(COUNT.get() + 1);
        ALL.fetch_add(1, Ordering::Relaxed);
    }
    let ended = in_a_child(&[], || {
        let Some(runtime) = runtime() else { return };
        let set_timer = |timer, ns| {
            let time = libc::timespec { tv_sec: 0, tv_nsec: ns };
            let every = libc::itimerspec { it_interval: time, it_value: time };
            // SAFETY: the timer was made.
            assert_eq!(unsafe { libc::timer_settime(timer, 0, &raw const every, std::ptr::null_mut()) }, 0);
        };
        // SAFETY: no conditions.
        let worker = runtime.run(|| unsafe { libc::syscall(libc::SYS_gettid) });
        let mut timer = std::ptr::null_mut();
        // SAFETY: the handler touches a thread-local and an atomic; the event is one for a thread.
        unsafe {
            libc::signal(libc::SIGPROF, count as *const () as usize);
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = libc::SIGPROF;
            event.sigev_notify_thread_id = worker as i32;
            assert_eq!(libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer), 0);
        }
        set_timer(timer, 50_000);
        runtime.run(|| {
            let body = || {
                while ALL.load(Ordering::Relaxed) < help::scaled(2000) {
                    green::yield_now();
                }
                ENDED.fetch_add(COUNT.get(), Ordering::Relaxed);
            };
            green::scope(|scope| (0..10).for_each(|_| drop(scope.spawn(body))));
        });
        set_timer(timer, 0);
        // What came to the worker's loop was counted there.
        let (all, ended) = (ALL.load(Ordering::Relaxed), ENDED.load(Ordering::Relaxed));
        assert!(ended > 0 && ended <= all, "{ended} of {all}");
    });
    ended.assert_success();
}

#[test]
fn blocks_that_are_used_again_do_not_grow() {
    fn resident() -> usize {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4
    }
    thread_local! {
        static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
    }
    let ended = in_a_child(&[], || {
        let Some(runtime) = runtime() else { return };
        let threads = |n: usize| {
            runtime.run(|| {
                for _ in 0..n / 100 {
                    green::scope(|scope| {
                        for _ in 0..100 {
                            scope.spawn(|| {
                                TEXT.with_borrow_mut(|text| text.push_str("something that is allocated"));
                                green::yield_now();
                                std::hint::black_box(std::thread::current().id());
                                // glibc 2.41 keeps something by thread for this.
                                let mut byte = 0_u8;
                                // SAFETY: it writes one byte.
                                assert_eq!(unsafe { libc::getrandom((&raw mut byte).cast(), 1, 0) }, 1);
                            });
                        }
                    });
                }
            });
        };
        threads(help::scaled(5_000));
        let before = resident();
        threads(help::scaled(100_000));
        let grown = resident().saturating_sub(before);
        // (Under emulation the emulator's memory is in it.)
        let limit = if help::EMULATED { 8 * 1024 } else { 512 };
        assert!(grown < limit, "{grown} KiB");
    });
    ended.assert_success();
}
