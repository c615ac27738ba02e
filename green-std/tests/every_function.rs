//! Each function that `interpose!` defines parks the green thread that has to wait in it; and the documentation names each.
#![cfg(green_std)]
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "each call gets what it needs, made by the function that makes it"
)]

mod help;

use std::ffi::c_int;
use std::fs::File;
use std::io::Write;
use std::mem::zeroed;
use std::os::fd::AsRawFd;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use help::{alone_on_one_worker, alone_on_two_workers};
use libc::{pollfd, ssize_t, timespec, timeval};

green_std::interpose!();

#[path = "help/functions_of_libc.rs"]
mod c;
#[path = "help/tries.rs"]
mod tries;

use tries::*;

const READ: c_int = libc::O_RDONLY;
const HERE: c_int = libc::AT_FDCWD;

/// One call of each, by its name, and what becomes of it after a cancel. Those that only wake are in the calls of others.
type Case = (&'static str, OnCancel, fn(&Try));

macro_rules! cases {
    ($($name:ident, $on_cancel:ident: $how:expr;)*) => {
        unsafe { &[$((stringify!($name), OnCancel::$on_cancel, $how)),*] }
    };
}

fn time(d: Duration) -> timespec {
    timespec { tv_sec: d.as_secs() as libc::time_t, tv_nsec: d.subsec_nanos().into() }
}

static CASES: &[Case] = cases! {
    syscall, GoesOn: |case| waits_for_a_word(case);
    read, Fails: |case| reads(case, |fd, at| libc::read(fd, at, 1));
    __read_chk, Fails: |case| reads(case, |fd, at| c::__read_chk(fd, at, 1, 1));
    readv, Fails: |case| reads(case, |fd, at| libc::readv(fd, &part(at), 1));
    recv, Fails: |case| reads(case, |fd, at| libc::recv(fd, at, 1, 0));
    __recv_chk, Fails: |case| reads(case, |fd, at| c::__recv_chk(fd, at, 1, 1, 0));
    recvfrom, Fails: |case| reads(case, |fd, at| libc::recvfrom(fd, at, 1, 0, null_mut(), null_mut()));
    __recvfrom_chk, Fails: |case| reads(case, |fd, at| c::__recvfrom_chk(fd, at, 1, 1, 0, null_mut(), null_mut()));
    recvmsg, Fails: |case| reads(case, |fd, at| libc::recvmsg(fd, &mut message(&mut part(at)), 0));
    recvmmsg, Fails: |case| reads(case, |fd, at| {
        let mut part = part(at);
        let mut one = libc::mmsghdr { msg_hdr: message(&mut part), msg_len: 0 };
        libc::recvmmsg(fd, &raw mut one, 1, 0, null_mut()) as ssize_t
    });
    write, Fails: |case| writes(case, |fd, at| libc::write(fd, at, 1));
    writev, Fails: |case| writes(case, |fd, at| libc::writev(fd, &part(at), 1));
    eventfd_read, Fails: |case| {
        let counter = eventfd(0);
        let fd = counter.as_raw_fd();
        let takes = move || {
            let mut value = 0;
            let result = libc::eventfd_read(fd, &raw mut value);
            assert_eq!(value, if result == 0 { 2 } else { 0 });
            result as isize
        };
        parks(case, takes, 0, || assert_eq!(libc::eventfd_write(fd, 2), 0));
    };
    eventfd_write, Fails: |case| {
        let counter = eventfd(u64::MAX - 1);
        let fd = counter.as_raw_fd();
        parks(case, move || libc::eventfd_write(fd, 1) as isize, 0, || assert_eq!(libc::eventfd_read(fd, &mut 0), 0));
    };
    send, Fails: |case| writes(case, |fd, at| libc::send(fd, at, 1, 0));
    sendto, Fails: |case| writes(case, |fd, at| libc::sendto(fd, at, 1, 0, null(), 0));
    sendmsg, Fails: |case| writes(case, |fd, at| libc::sendmsg(fd, &message(&mut part(at)), 0));
    sendmmsg, Fails: |case| writes(case, |fd, at| {
        let mut part = part(at);
        let mut one = libc::mmsghdr { msg_hdr: message(&mut part), msg_len: 0 };
        libc::sendmmsg(fd, &raw mut one, 1, 0) as ssize_t
    });
    sendfile, Fails: |case| writes(case, |fd, _| libc::sendfile(fd, a_file().as_raw_fd(), &mut 0, 1));
    sendfile64, Fails: |case| writes(case, |fd, _| libc::sendfile64(fd, a_file().as_raw_fd(), &mut 0, 1));
    splice, Fails: |case| {
        let (from, mut to) = std::io::pipe().unwrap();
        let file = a_file();
        let splices = move || {
            let (from, to) = (from.as_raw_fd(), file.as_raw_fd());
            libc::splice(from, null_mut(), to, null_mut(), 1, 0)
        };
        parks(case, splices, 1, || to.write_all(b"1").unwrap());
    };
    poll, Fails: |case| polls(case, |fd| libc::poll(&mut readable(fd), 1, -1));
    __poll_chk, Fails: |case| polls(case, |fd| c::__poll_chk(&mut readable(fd), 1, -1, size_of::<pollfd>()));
    ppoll, Fails: |case| polls(case, |fd| libc::ppoll(&mut readable(fd), 1, null(), null()));
    __ppoll_chk, Fails: |case| polls(case, |fd| {
        c::__ppoll_chk(&mut readable(fd), 1, null(), null(), size_of::<pollfd>())
    });
    select, Fails: |case| polls(case, |fd| {
        let ((mut set, count), mut time) = (one_of(fd), timeval { tv_sec: 1000, tv_usec: 0 });
        libc::select(count, &raw mut set, null_mut(), null_mut(), &raw mut time)
    });
    pselect, Fails: |case| polls(case, |fd| {
        let (mut set, count) = one_of(fd);
        libc::pselect(count, &raw mut set, null_mut(), null_mut(), null(), null())
    });
    epoll_wait, Fails: |case| polls(case, |fd| epolls(fd, |epoll, event| libc::epoll_wait(epoll, event, 1, -1)));
    epoll_pwait, Fails: |case| polls(case, |fd| {
        epolls(fd, |epoll, event| libc::epoll_pwait(epoll, event, 1, -1, null()))
    });
    open, GoesOn: |case| opens(case, |path| libc::open(path, READ));
    open64, GoesOn: |case| opens(case, |path| libc::open64(path, READ));
    openat, GoesOn: |case| opens(case, |path| libc::openat(HERE, path, READ));
    openat64, GoesOn: |case| opens(case, |path| libc::openat64(HERE, path, READ));
    creat, GoesOn: |case| opens(case, |path| libc::creat(path, 0o600));
    creat64, GoesOn: |case| opens(case, |path| libc::creat64(path, 0o600));
    __open_2, GoesOn: |case| opens(case, |path| c::__open_2(path, READ));
    __open64_2, GoesOn: |case| opens(case, |path| c::__open64_2(path, READ));
    __openat_2, GoesOn: |case| opens(case, |path| c::__openat_2(HERE, path, READ));
    __openat64_2, GoesOn: |case| opens(case, |path| c::__openat64_2(HERE, path, READ));
    connect, Fails: |case| connects(case);
    accept, Fails: |case| accepts(case, |fd| libc::accept(fd, null_mut(), null_mut()));
    accept4, Fails: |case| accepts(case, |fd| libc::accept4(fd, null_mut(), null_mut(), libc::SOCK_CLOEXEC));
    nanosleep, Early: |case| sleeps(case, |d| libc::nanosleep(&time(d), null_mut()));
    clock_nanosleep, Early: |case| sleeps(case, |d| libc::clock_nanosleep(MONOTONIC, 0, &time(d), null_mut()));
    usleep, Early: |case| sleeps(case, |d| libc::usleep(d.as_micros() as u32));
    sleep, Early: |case| sleeps(case, |d| libc::sleep(d.as_secs().max(1) as u32) as c_int);
    thrd_sleep, Early: |case| sleeps(case, |d| c::thrd_sleep(&time(d), null_mut()));
    sched_yield, Untried: |case| yields(case, || assert_eq!(libc::sched_yield(), 0));
    thrd_yield, Untried: |case| yields(case, || c::thrd_yield());
    pthread_mutex_lock, GoesOn: |case| mutex(case, |at| libc::pthread_mutex_lock(at));
    pthread_mutex_timedlock, GoesOn: |case| mutex(case, |at| {
        libc::pthread_mutex_timedlock(at, &far(libc::CLOCK_REALTIME))
    });
    pthread_mutex_clocklock, GoesOn: |case| mutex(case, |at| {
        c::pthread_mutex_clocklock(at, MONOTONIC, &far(MONOTONIC))
    });
    mtx_lock, GoesOn: |case| mutex(case, |at| c::mtx_lock(at));
    mtx_timedlock, GoesOn: |case| mutex(case, |at| c::mtx_timedlock(at, &far(libc::CLOCK_REALTIME)));
    pthread_rwlock_rdlock, GoesOn: |case| rwlock(case, |at| libc::pthread_rwlock_rdlock(at));
    pthread_rwlock_timedrdlock, GoesOn: |case| rwlock(case, |at| {
        c::pthread_rwlock_timedrdlock(at, &far(libc::CLOCK_REALTIME))
    });
    pthread_rwlock_clockrdlock, GoesOn: |case| rwlock(case, |at| {
        c::pthread_rwlock_clockrdlock(at, MONOTONIC, &far(MONOTONIC))
    });
    pthread_rwlock_wrlock, GoesOn: |case| rwlock(case, |at| libc::pthread_rwlock_wrlock(at));
    pthread_rwlock_timedwrlock, GoesOn: |case| rwlock(case, |at| {
        c::pthread_rwlock_timedwrlock(at, &far(libc::CLOCK_REALTIME))
    });
    pthread_rwlock_clockwrlock, GoesOn: |case| rwlock(case, |at| {
        c::pthread_rwlock_clockwrlock(at, MONOTONIC, &far(MONOTONIC))
    });
    sem_wait, GoesOn: |case| posts(case, |at| libc::sem_wait(at));
    sem_timedwait, GoesOn: |case| posts(case, |at| libc::sem_timedwait(at, &far(libc::CLOCK_REALTIME)));
    sem_clockwait, GoesOn: |case| posts(case, |at| c::sem_clockwait(at, MONOTONIC, &far(MONOTONIC)));
    pthread_cond_wait, GoesOn: |case| signals(case, |at, mutex| libc::pthread_cond_wait(at, mutex), signal);
    pthread_cond_timedwait, GoesOn: |case| {
        let far = far(libc::CLOCK_REALTIME);
        signals(case, |at, mutex| libc::pthread_cond_timedwait(at, mutex, &raw const far), broadcast);
    };
    pthread_cond_clockwait, GoesOn: |case| {
        let far = far(MONOTONIC);
        signals(case, |at, mutex| c::pthread_cond_clockwait(at, mutex, MONOTONIC, &raw const far), signal);
    };
    cnd_wait, GoesOn: |case| signals(case, |at, mutex| c::cnd_wait(at, mutex), c::cnd_signal);
    cnd_timedwait, GoesOn: |case| {
        let far = far(libc::CLOCK_REALTIME);
        signals(case, |at, mutex| c::cnd_timedwait(at, mutex, &raw const far), c::cnd_broadcast);
    };
    pthread_once, GoesOn: |case| once(case, |at, routine| c::pthread_once(at, routine));
    call_once, GoesOn: |case| once(case, |at, routine| {
        c::call_once(at, routine);
        0
    });
    pthread_barrier_wait, GoesOn: |case| {
        let barrier = Zeros::<libc::pthread_barrier_t>::new();
        let barrier = barrier.address();
        {
            assert_eq!(c::pthread_barrier_init(at(barrier), null(), 2), 0);
            // One of the two says that it is the last one.
            let waits = move || c::pthread_barrier_wait(at(barrier)).min(0) as isize;
            parks(case, waits, 0, || _ = c::pthread_barrier_wait(at(barrier)));
        }
    };
    pthread_join, GoesOn: |case| joins(case, false, |thread| libc::pthread_join(thread, null_mut()));
    pthread_timedjoin_np, GoesOn: |case| joins(case, false, |thread| {
        c::pthread_timedjoin_np(thread, null_mut(), &far(libc::CLOCK_REALTIME))
    });
    pthread_clockjoin_np, GoesOn: |case| joins(case, false, |thread| {
        c::pthread_clockjoin_np(thread, null_mut(), MONOTONIC, &far(MONOTONIC))
    });
    thrd_join, GoesOn: |case| joins(case, true, |thread| c::thrd_join(thread, null_mut()));
    wait, GoesOn: |case| children(case, |_, status| libc::wait(status));
    wait3, GoesOn: |case| children(case, |_, status| c::wait3(status, 0, null_mut()));
    wait4, Fails: |case| children(case, |child, status| libc::wait4(child, status, 0, &raw mut *Box::new(zeroed())));
    waitid, Fails: |case| children(case, |child, status| {
        let mut info = zeroed::<libc::siginfo_t>();
        if libc::waitid(libc::P_PID, child as u32, &raw mut info, libc::WEXITED) != 0 {
            return -1;
        }
        status.write(info.si_status() << 8);
        info.si_pid()
    });
    waitpid, Fails: |case| children(case, |child, status| libc::waitpid(child, status, 0));
    flock, Fails: |case| {
        let path = case.path();
        let [one, other] = [(); 2].map(|()| File::create(&path).unwrap());
        {
            assert_eq!(libc::flock(one.as_raw_fd(), libc::LOCK_EX), 0);
            parks(case, move || libc::flock(other.as_raw_fd(), libc::LOCK_EX) as isize, 0, || drop(one));
        }
        std::fs::remove_file(path).unwrap();
    };
    getaddrinfo, Untried: |case| {
        let before = green_std::counters().handed_over;
        {
            let mut found = null_mut();
            assert_eq!(libc::getaddrinfo(c"127.0.0.1".as_ptr(), null(), null(), &raw mut found), 0, "{case}");
            libc::freeaddrinfo(found);
        }
        assert!(green_std::counters().handed_over > before);
    };
};

fn each(by: By, but: &[OnCancel]) {
    let cases = CASES.iter().filter(|case| !but.contains(&case.1));
    cases.for_each(|&(name, on_cancel, case)| case(&Try { name, on_cancel, by }));
}

#[test]
fn every_function_parks() {
    alone_on_one_worker(|| each(By::Neighbour, &[]));
}

#[test]
fn after_a_cancel_each_call_fails_or_ends_early_or_goes_on() {
    alone_on_one_worker(|| each(By::Cancel, &[OnCancel::Untried]));
}

#[test]
fn after_a_time_out_each_call_fails_or_ends_early_or_goes_on() {
    alone_on_one_worker(|| each(By::TimeOut, &[OnCancel::Untried]));
}

/// Threads that keep the workers busy, so that others go on elsewhere, until `f` is over.
fn beside_load(f: impl FnOnce()) {
    let over = AtomicBool::new(false);
    green::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    while begun.elapsed() < Duration::from_micros(200) {
                        std::hint::spin_loop();
                    }
                    green::sleep(Duration::from_micros(100));
                }
            });
        }
        f();
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn cancels_and_time_outs_find_a_call_whose_thread_moves() {
    alone_on_two_workers(|| {
        let all = || {
            // Whom a sleep lets run may be kept from it by the machine, on a worker of its own.
            each(By::Neighbour, &[OnCancel::Untried, OnCancel::Early]);
            [By::Cancel, By::TimeOut].iter().for_each(|by| each(*by, &[OnCancel::Untried]));
        };
        all();
        let (before, begun) = (MOVES.load(Ordering::Relaxed), Instant::now());
        let moves = || MOVES.load(Ordering::Relaxed) - before;
        while moves() < 5 && begun.elapsed() < Duration::from_secs(60) {
            beside_load(all);
        }
        assert!(moves() >= 5, "{} moves", moves());
    });
}

/// What wakes those that others have parked; and what does not wait, or blocks in any case, but has to be known.
const WAKERS: [&str; 11] = [
    "cnd_broadcast",
    "cnd_signal",
    "mtx_unlock",
    "pthread_cond_broadcast",
    "pthread_cond_signal",
    "pthread_mutex_unlock",
    "pthread_rwlock_unlock",
    "pthread_sigmask",
    "sem_post",
    "sigprocmask",
    "sigsuspend",
];

const SOURCE: &str = include_str!("../src/lib.rs");

/// The names that `interpose!` defines.
fn defined() -> Vec<&'static str> {
    let (_, after) = SOURCE.split_once("macro_rules! interpose ").unwrap();
    let (code, _) = after.split_once("macro_rules! __define ").unwrap();
    let name = |line: &'static str| {
        line.trim().trim_start_matches("unsafe extern \"C\" ").strip_prefix("fn ")?.split('(').next()
    };
    code.lines().filter_map(name).collect()
}

#[test]
fn a_function_was_defined_that_no_test_calls() {
    let mut tried: Vec<_> = CASES.iter().map(|case| case.0).chain(WAKERS).collect();
    let mut defined = defined();
    tried.sort_unstable();
    defined.sort_unstable();
    assert_eq!(defined, tried);
}

#[test]
fn the_table_of_what_parks_was_not_what_is_defined() {
    let (_, after) = SOURCE.split_once("# What parks").unwrap();
    let (table, _) = after.split_once("# What does not").unwrap();
    let named: Vec<_> = table.split('`').skip(1).step_by(2).map(|name| name.trim_end_matches("()")).collect();
    let defined = defined();
    for name in &defined {
        let plain =
            name.trim_start_matches("__").trim_end_matches("_chk").trim_end_matches("_2").trim_end_matches("64");
        assert!(WAKERS.contains(name) || named.contains(&plain), "{name} is not in the table");
    }
    // Those that begin as the functions do.
    for name in named.iter().filter(|name| {
        ["pthread_", "sem_", "mtx_", "cnd_", "thrd_", "send", "recv"].iter().any(|start| name.starts_with(start))
    }) {
        assert!(defined.contains(name), "{name} is not defined");
    }
}
