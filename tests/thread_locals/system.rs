//! What libc and the kernel keep by thread: keys, owners of mutexes, fork, setuid, signals, libraries.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use green::{Runtime, ThreadLocals};

use crate::help::{self, in_a_child};
use crate::{many, runtime};

/// Some of the values stand in the descriptor, the rest in tables of their own.
#[test]
fn values_of_keys_are_the_threads_own_and_destroyed_by_it_before_it_is_joined() {
    const KEYS: usize = 50;
    const THREADS: usize = 20;
    static DESTROYED: [AtomicUsize; THREADS] = [const { AtomicUsize::new(0) }; THREADS];
    static ITSELF: [AtomicUsize; THREADS] = [const { AtomicUsize::new(0) }; THREADS];
    fn itself() -> usize {
        // SAFETY: no conditions.
        unsafe { libc::pthread_self() as usize }
    }
    extern "C" fn destroy(value: *mut libc::c_void) {
        let number = value.addr() / 100;
        let is_own = || ITSELF[number].load(Ordering::Relaxed) == itself();
        let before = is_own();
        green::yield_now();
        // Any other number: it was not the thread that destroys it, or it was destroyed twice.
        let counts = if before && is_own() { value.addr() % 100 } else { 100_000 };
        DESTROYED[number].fetch_add(counts, Ordering::Relaxed);
    }
    let mut keys = [0; KEYS];
    for key in &mut keys {
        // SAFETY: it writes one number; the destructor takes any value.
        assert_eq!(unsafe { libc::pthread_key_create(key, Some(destroy)) }, 0);
    }
    let sets_all = move |number: usize| {
        ITSELF[number].store(itself(), Ordering::Relaxed);
        for (at, key) in keys.iter().enumerate() {
            // SAFETY: the keys are there.
            unsafe {
                assert!(libc::pthread_getspecific(*key).is_null(), "another thread's");
                libc::pthread_setspecific(*key, std::ptr::without_provenance(number * 100 + at + 1));
            }
            if at % 10 == 0 {
                green::yield_now();
            }
        }
        for (at, key) in keys.iter().enumerate() {
            // SAFETY: as above.
            assert_eq!(unsafe { libc::pthread_getspecific(*key) }.addr(), number * 100 + at + 1);
        }
    };
    let Some(runtime) = runtime() else { return };
    runtime.run(|| {
        for _ in 0..3 {
            let threads: Vec<_> = (0..THREADS).map(|number| green::spawn(move || sets_all(number))).collect();
            for (thread, destroyed) in threads.into_iter().zip(&DESTROYED) {
                thread.join().unwrap();
                assert_eq!(destroyed.swap(0, Ordering::Relaxed), (1..=KEYS).sum::<usize>(), "each once, and by now");
            }
        }
    });
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

/// A handler of `pthread_atfork` that came before the crate's runs while the thread that forks is on its worker's thread-locals.
#[test]
fn a_handler_of_fork_waits_for_a_green_lock_and_wakes_green_threads() {
    static LOCK: green::sync::Mutex<u32> = green::sync::Mutex::new(0);
    static WOKEN: green::sync::Semaphore = green::sync::Semaphore::new(0);
    unsafe extern "C" fn prepare() {
        drop(LOCK.lock().unwrap());
        WOKEN.add_permits(1);
    }
    for workers in ["1", "2"] {
        let ended = in_a_child(&[("GREEN_WORKERS", workers)], || {
            // SAFETY: the handler lives as long as the program.
            unsafe { libc::pthread_atfork(Some(prepare), None, None) };
            let workers = std::env::var("GREEN_WORKERS").unwrap().parse().unwrap();
            let builder = Runtime::builder().workers(workers).thread_locals(ThreadLocals::PerThread);
            let Ok(runtime) = builder.build() else { return };
            let (held, holds) = std::sync::mpsc::channel();
            let os = std::thread::spawn(move || {
                let lock = LOCK.lock().unwrap();
                held.send(()).unwrap();
                std::thread::sleep(Duration::from_millis(50));
                drop(lock);
            });
            holds.recv().unwrap();
            runtime.run(|| {
                let waits = green::spawn(|| drop(WOKEN.acquire()));
                green::yield_now();
                // SAFETY: the child ends by `_exit`.
                unsafe {
                    let child = libc::fork();
                    if child == 0 {
                        libc::_exit(0);
                    }
                    let mut status = 0;
                    assert_eq!((libc::waitpid(child, &raw mut status, 0), status), (child, 0));
                }
                waits.join().unwrap();
                // It is green again.
                green::sleep(Duration::from_millis(1));
                assert!(green::thread::current().waits_for().is_none());
            });
            os.join().unwrap();
        });
        ended.assert_success();
    }
}

/// The user (`Uid:`), or the group (`Gid:`), that each thread of this process works as, to the kernel.
fn effective(which: &str) -> Vec<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let group = |task: std::fs::DirEntry| {
        // None: the thread has just ended.
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(which)).expect("it has both");
        Some(line.split_whitespace().nth(1).expect("the effective one").parse().unwrap())
    };
    tasks.filter_map(|task| group(task.unwrap())).collect()
}

/// glibc does this for the user and for the group in the same way: it signals each thread, which makes the system call, and notes in its descriptor that it has.
#[test]
fn a_change_of_the_user_or_the_group_reaches_all_threads_from_wherever_it_is_made() {
    // SAFETY: no conditions.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    // Others than root may only change to what they are.
    let other = |id| if user == 0 { id + 4711 } else { id };
    // Which, how, and to what.
    type Change = (&'static str, fn(u32) -> i32, [u32; 2]);
    let changes: [Change; 2] = [
        // SAFETY: they change what this process works as, a child of the test's.
        ("Gid:", |id| unsafe { libc::setegid(id) }, [other(group), group]),
        // SAFETY: the same. The saved user stays, and may come back.
        ("Uid:", |id| unsafe { libc::seteuid(id) }, [other(user), user]),
    ];
    let are = |which: &str, id: u32, from: &str| {
        let ids = effective(which);
        // An emulator has an OS thread of its own.
        let untold = ids.iter().filter(|found| **found != id).count();
        assert!(ids.len() >= 3 && untold <= usize::from(cfg!(green_emulated)), "{from}: {which} {ids:?}");
    };
    let ended = in_a_child(&[], || {
        let Some(runtime) = Runtime::builder().workers(2).thread_locals(ThreadLocals::PerThread).build().ok() else {
            return;
        };
        // By who is in this process's only group of changes at the time.
        let one_at_a_time = std::sync::Mutex::new(());
        let changes = |from| {
            let _one = one_at_a_time.lock().unwrap();
            for (which, set, ids) in changes {
                for id in ids {
                    assert_eq!(set(id), 0, "{from}: {which}");
                    are(which, id, from);
                }
            }
        };
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
                            (0..10).for_each(|_| changes("a green thread"));
                            done.fetch_add(1, Ordering::Relaxed);
                        });
                    });
                });
            });
            (0..10).for_each(|_| changes("an OS thread"));
            done.fetch_add(1, Ordering::Relaxed);
        });
        // And for good.
        runtime.run(|| {
            // SAFETY: the same.
            assert_eq!(unsafe { libc::setuid(other(user)) }, 0);
            are("Uid:", other(user), "for good");
        });
    });
    ended.assert_success();
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
        let loaded = AtomicUsize::new(0);
        many(10, |number| {
            NUMBER.set(number);
            green::yield_now();
            // Some of them are there; the second has thread-locals.
            for name in [c"libutil.so.1", c"libstdc++.so.6", c"libgomp.so.1"] {
                // SAFETY: libraries of the system, whose initialisers do no harm.
                let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
                loaded.fetch_add((!library.is_null()).into(), Ordering::Relaxed);
                green::yield_now();
            }
            assert_eq!(NUMBER.get(), number);
        });
        assert!(loaded.into_inner() > 0 || runtime().is_none(), "there is none to be loaded");
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

/// The handler comes to threads that say who they are, and in all the places between, where it must only do no harm.
#[test]
fn a_signals_handler_finds_the_thread_that_it_interrupts() {
    const THREADS: usize = 10;
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
        static COUNT: Cell<usize> = const { Cell::new(0) };
    }
    static ALL: AtomicUsize = AtomicUsize::new(0);
    static WRONG: AtomicUsize = AtomicUsize::new(0);
    /// Which thread runs, while it does nothing but compute. There is one worker.
    static RUNS: AtomicUsize = AtomicUsize::new(usize::MAX);
    /// How often the handler came to it then.
    static CAME: [AtomicUsize; THREADS] = [const { AtomicUsize::new(0) }; THREADS];
    extern "C" fn count(_: libc::c_int) {
        ALL.fetch_add(1, Ordering::Relaxed);
        if let Some(came) = CAME.get(RUNS.load(Ordering::Relaxed)) {
            came.fetch_add(1, Ordering::Relaxed);
            COUNT.set(COUNT.get() + 1);
            if NUMBER.get() != RUNS.load(Ordering::Relaxed) {
                WRONG.fetch_add(1, Ordering::Relaxed);
            }
        }
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
        // SAFETY: the handler touches thread-locals and atomics; the event is one for a thread.
        unsafe {
            libc::signal(libc::SIGPROF, count as *const () as usize);
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = libc::SIGPROF;
            event.sigev_notify_thread_id = worker as i32;
            assert_eq!(libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer), 0);
        }
        set_timer(timer, 50_000);
        let enough = |came: &AtomicUsize| came.load(Ordering::Relaxed) >= 20;
        let body = |number: usize| {
            NUMBER.set(number);
            while ALL.load(Ordering::Relaxed) < help::scaled(2000) || !CAME.iter().all(enough) {
                RUNS.store(number, Ordering::Relaxed);
                (0..200).for_each(|_| std::hint::spin_loop());
                RUNS.store(usize::MAX, Ordering::Relaxed);
                green::yield_now();
            }
            assert_eq!(
                COUNT.get(),
                CAME[number].load(Ordering::Relaxed),
                "the handler's count is in its own thread-locals"
            );
        };
        runtime.run(|| {
            green::scope(|scope| {
                let body = &body;
                (0..THREADS).for_each(|number| drop(scope.spawn(move || body(number))));
            });
        });
        set_timer(timer, 0);
        assert_eq!(WRONG.load(Ordering::Relaxed), 0);
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
        // A stall that is reported on a busy machine takes megabytes, to name its functions.
        let builder = Runtime::builder().workers(1).thread_locals(ThreadLocals::PerThread).stall_limit(Duration::ZERO);
        let Ok(runtime) = builder.build() else { return };
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
