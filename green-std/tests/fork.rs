//! fork, while neighbours wait in functions of libc: the child has a runtime of its own, in which each of these waits and is woken.
// Not under an emulator: that has threads of its own, which a child lacks.
#![cfg(green_std)]

mod help;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use green::{Runtime, ThreadLocals};
use help::on_two_workers;

green_std::interpose!();

/// A lock and a condition variable of pthread, and a number under them.
struct Conditional {
    mutex: libc::pthread_mutex_t,
    condition: libc::pthread_cond_t,
    turns: u32,
}

#[derive(Clone, Copy)]
struct Shared(*mut Conditional);

// SAFETY: used under its lock.
unsafe impl Send for Shared {}
// SAFETY: the same.
unsafe impl Sync for Shared {}

impl Shared {
    fn new() -> Self {
        Self(Box::into_raw(Box::new(Conditional {
            mutex: libc::PTHREAD_MUTEX_INITIALIZER,
            condition: libc::PTHREAD_COND_INITIALIZER,
            turns: 0,
        })))
    }

    /// Waits until `turns` is what `is_meant` says, and counts it up.
    fn turn(self, is_meant: impl Fn(u32) -> bool) -> u32 {
        // SAFETY: a lock that lives for ever, and what it guards.
        unsafe {
            let Conditional { mutex, condition, turns } = &mut *self.0;
            assert_eq!(libc::pthread_mutex_lock(mutex), 0);
            while !is_meant(*turns) {
                assert_eq!(libc::pthread_cond_wait(condition, mutex), 0);
            }
            *turns += 1;
            let turn = *turns;
            assert_eq!(libc::pthread_cond_broadcast(condition), 0);
            assert_eq!(libc::pthread_mutex_unlock(mutex), 0);
            turn
        }
    }
}

/// Two threads have a condition variable of pthread in turns, as long as `goes_on`.
fn take_turns(shared: Shared, is_odd: bool, goes_on: impl Fn(u32) -> bool) {
    while goes_on(shared.turn(|turns| (turns % 2 == 1) == is_odd)) {}
}

/// Serves clients until one says "0".
fn serve(listener: &TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        stream.write_all(&byte).unwrap();
        if byte == *b"0" {
            return;
        }
    }
}

fn ask(address: SocketAddr, byte: u8) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&[byte]).unwrap();
    stream.read_exact(&mut [0]).unwrap();
}

/// Each of the waits, with an end, in the calling green thread's runtime.
fn each_wait() {
    const TURNS: u32 = 20;
    let (shared, listener) = (Shared::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    let (pair, listener) = (&(Mutex::new(0), Condvar::new()), &listener);
    green::scope(|scope| {
        for is_odd in [false, true] {
            scope.spawn(move || take_turns(shared, is_odd, |turn| turn < TURNS - 1));
        }
        for mine in 0..2 {
            scope.spawn(move || {
                for _ in 0..TURNS {
                    let mut number = pair.0.lock().unwrap();
                    while *number % 2 != mine {
                        number = pair.1.wait(number).unwrap();
                    }
                    *number += 1;
                    pair.1.notify_all();
                }
            });
        }
        scope.spawn(|| serve(listener));
        (0..3).for_each(|_| ask(address, b'1'));
        ask(address, b'0');
    });
}

/// Is an OS thread of the child's still without its name? std has a lock of what is known of each thread's stack: where one of the parent's threads began or ended as it
/// forked, nobody lets go of that in the child, and no thread begins there.
fn has_a_thread_that_does_not_begin(child: i32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{child}/task")).into_iter().flatten().flatten();
    let others = tasks.filter(|task| task.file_name().to_str() != Some(&*child.to_string()));
    let mut names = others.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.any(|name| !name.starts_with("green"))
}

/// Forks; the child does each of the waits, in a runtime of its own.
fn fork_once(number: u32) {
    // Such children of all.
    static LOCKED: AtomicU32 = AtomicU32::new(0);
    // SAFETY: the child ends here; a pidfd that is nobody else's; the last call writes one number.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::alarm(60);
            let done = std::panic::catch_unwind(|| {
                let runtime = Runtime::builder().workers(1).thread_locals(ThreadLocals::PerThread).build();
                let runtime = runtime.unwrap();
                runtime.run(each_wait);
            });
            libc::_exit(i32::from(done.is_err()));
        }
        assert!(child > 0);
        let ended = OwnedFd::from_raw_fd(libc::syscall(libc::SYS_pidfd_open, child, 0) as i32);
        let mut one = libc::pollfd { fd: ended.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let mut std_has_locked = false;
        while libc::poll(&raw mut one, 1, 20_000) == 0 {
            if has_a_thread_that_does_not_begin(child) {
                std_has_locked = true;
                libc::kill(child, libc::SIGKILL);
            }
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        let is_locked = std_has_locked && status == libc::SIGKILL && LOCKED.fetch_add(1, Ordering::Relaxed) < 2;
        assert!(status == 0 || is_locked, "child {number}: {status}");
    }
}

#[test]
fn a_child_waits_in_each_way_that_its_parents_threads_waited_in_as_it_was_forked() {
    on_two_workers(|| {
        let (is_over, shared) = (AtomicBool::new(false), Shared::new());
        let (is_over, mutex) = (&is_over, &Mutex::new(0_u64));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        green::scope(|scope| {
            for is_odd in [false, true] {
                scope.spawn(move || {
                    // The last turn of each, so that the other one does not wait for it.
                    take_turns(shared, is_odd, |_| !is_over.load(Ordering::Relaxed));
                });
            }
            for _ in 0..4 {
                scope.spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        let mut number = mutex.lock().unwrap();
                        *number += 1;
                        std::thread::yield_now();
                    }
                });
            }
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    ask(address, b'1');
                    std::thread::sleep(Duration::from_micros(100));
                }
                ask(address, b'0');
            });
            scope.spawn(|| serve(&listener));
            (0..100).for_each(fork_once);
            is_over.store(true, Ordering::Relaxed);
        });
    });
}
