//! Other people's blocking code on green threads.
//!
//! A green thread of [`green`] parks in `green`'s own locks, channels and sockets. Code that knows nothing of it, a database client or std's `Mutex`, calls libc, and
//! blocks the worker with all its threads. This crate defines the functions of libc that block in *your program*, where such code finds them in the place of
//! libc's: called by a green thread, they park it; called by anybody else, they do what they always did.
//!
//! ```
//! use std::sync::{Arc, Mutex, mpsc};
//!
//! green_std::interpose!(); // once in a program, outside of all functions
//!
//! fn main() {
//!     let runtime = green::Runtime::builder().workers(1).thread_locals(green::ThreadLocals::PerThread).build();
//!     let Ok(runtime) = runtime else { return }; // not to be had on this machine
//!     runtime.run(|| {
//!         let (sender, receiver) = mpsc::channel();
//!         let sum = Arc::new(Mutex::new(0));
//!         let adds = Arc::clone(&sum);
//!         let thread = green::spawn(move || receiver.iter().for_each(|n: u32| *adds.lock().unwrap() += n));
//!         (1..=10).for_each(|n| sender.send(n).unwrap());
//!         drop(sender);
//!         thread.join().unwrap();
//!         assert_eq!(*sum.lock().unwrap(), 55);
//!     });
//! }
//! ```
//!
//! Linux, x86_64 and aarch64, glibc linked dynamically. Elsewhere [`interpose!`] is an error of compilation, and it is a link error to have it twice in a program.
//! Libraries leave it to the program. It works for all code of the program and for shared libraries that are linked with it.
//!
//! # What parks
//!
//! | | threads with thread-locals of their own ([`PerThread`]) | the others |
//! | --- | --- | --- |
//! | sockets: `recv`, `send`, `recvfrom`, `sendto`, `recvmsg`, `sendmsg`, `read`, `write`, `readv`, `writev`, `connect`, `accept`, `accept4` | yes | yes |
//! | `poll`, `ppoll`, `select`, `pselect`, `epoll_wait`, `epoll_pwait` | yes | yes |
//! | `nanosleep`, `clock_nanosleep`, `usleep`, `sleep` | yes | yes |
//! | `getaddrinfo`, `waitpid`, `flock` | while a thread of the blocking pool blocks | the same |
//! | `pthread_join`: `std::thread::JoinHandle::join` | the same | no |
//! | `read`, `write`, `readv`, `writev` on pipes, terminals, eventfds | yes | no: std's locks of output belong to an OS thread |
//! | futexes: std's `Mutex`, `RwLock`, `Condvar`, `Once`, `thread::park`, `mpsc`, scopes; crossbeam-channel, parking_lot, rayon | yes | no: who holds such a lock across a park would block its neighbours for ever |
//!
//! **Threads that share thread-locals** must hold no lock of std over a call that parks: a neighbour that wants it blocks the worker, and so its holder, for ever. Where
//! other people's code does that (a logger that writes to a socket under a lock), use threads with thread-locals of their own.
//!
//! Time-outs hold (`SO_RCVTIMEO`, `SO_SNDTIMEO`, those of `poll` and of futexes), and `O_NONBLOCK` and `MSG_DONTWAIT` do what they say.
//!
//! # What does not
//!
//! * Files, opening a FIFO, `sendmmsg`, `recvmmsg`, `sigwait`: they block the worker; use [`green::fs`], [`green::process`] or
//!   [`green::blocking`].
//! * pthread's mutexes and condition variables, semaphores (`sem_wait`): C and C++ libraries that wait so for another green thread block the worker. glibc makes
//!   these system calls itself.
//! * `ppoll`, `pselect`, `epoll_pwait` with a signal mask; `recvmsg` with `MSG_WAITALL`; futexes with priorities, or shared between processes.
//!   [`counters`] counts them as blocked.
//! * A global allocator that waits for a lock of std, or of another crate that uses futexes: it must not be used together with this crate, as `green` itself
//!   allocates where nothing may park. (Those of glibc, jemalloc and mimalloc have locks of other kinds.)
//! * A panic's report, while a neighbour on the same worker holds the lock of `stderr` across a park: a panic hook must not park, so it blocks the worker for ever.
//! * Loops that wait by `sched_yield`, or `std::thread::yield_now`, for what another thread of the same worker shall do.
//! * Code that is inside of [`off`] or [`green::no_park`], in a panic hook, or in a signal handler that has a stack of its own (std's and `green`'s have). A handler
//!   without one must not block, as ever.
//! * What opens libc by `dlsym`, makes the instruction itself, or is a library that is loaded with `RTLD_DEEPBIND`.
//!
//! # Cancels, time-outs, signals
//!
//! Nothing unwinds out of these calls: their callers, which have them as `extern "C"`, are compiled for functions that do not. When a thread is cancelled, or a
//! [`green::timeout`] around the call is over,
//!
//! * a call that waits for a descriptor fails with `ECANCELED`;
//! * a sleep ends early, as if the time were over;
//! * a wait for a futex goes on: whoever holds the lock has to come;
//!
//! and the thread is unwound at its next blocking call of `green`. A runtime that is dropped waits for threads that wait for futexes. A signal that arrives while a
//! thread is parked ends no call with `EINTR`: the thread has no call then that it could end.
//!
//! # Costs
//!
//! A call that has to wait keeps a duplicate of the descriptor meanwhile, which its worker's poller knows: six small system calls more, some five microseconds for each
//! wait, than a socket of [`green::net`]. Green threads that wait to accept at one descriptor do not disturb each other; another process that accepts there, too,
//! may leave one of them blocked in `accept` until the next connection comes. A wake-up of a futex costs a fence and two loads more.
//!
//! `read` and `write` look first what the descriptor is: two system calls more for a file. std's locks spin before they wait, as they do between OS threads: a
//! `Mutex` of std that is held across a park costs a neighbour some microseconds each time, one of [`green::sync`] less than one.
//!
//! [`PerThread`]: green::ThreadLocals::PerThread

#[cfg(all(
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(target_feature = "crt-static")
))]
mod calls;

#[cfg(all(
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(target_feature = "crt-static")
))]
pub use calls::{
    counters::{Counters, counters},
    waits::off,
};

/// What [`interpose!`] names.
#[cfg(all(
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(target_feature = "crt-static")
))]
#[doc(hidden)]
pub mod __private {
    pub use crate::calls::file::{read, readv, write, writev};
    pub use crate::calls::futex::syscall;
    pub use crate::calls::handed_over::{flock, getaddrinfo, pthread_join, waitpid};
    pub use crate::calls::poll::{epoll_pwait, epoll_wait, poll, ppoll, pselect, select};
    pub use crate::calls::sleep::{clock_nanosleep, nanosleep, sleep, usleep};
    pub use crate::calls::socket::{accept, accept4, connect, recv, recvfrom, recvmsg, send, sendmsg, sendto};
    pub use libc;
}

/// Defines functions of libc in the program that it stands in: once in a program, outside of all functions. See the [crate](crate).
///
/// ```
/// green_std::interpose!();
/// # fn main() {}
/// ```
#[cfg(all(
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(target_feature = "crt-static")
))]
#[macro_export]
macro_rules! interpose {
    () => {
        const _: () = {
            use ::core::ffi::{c_char, c_int, c_long, c_uint, c_void};

            use $crate::__private::libc::{
                addrinfo, clockid_t, epoll_event, fd_set, iovec, msghdr, nfds_t, pid_t, pollfd, pthread_t, sigset_t,
                size_t, sockaddr, socklen_t, ssize_t, timespec, timeval, useconds_t,
            };

            /// libc's has any number of arguments, and passes six on.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn syscall(
                number: c_long,
                a: usize,
                b: usize,
                c: usize,
                d: usize,
                e: usize,
                f: usize,
            ) -> c_long {
                // SAFETY: as of libc's function.
                unsafe { $crate::__private::syscall(number, [a, b, c, d, e, f]) }
            }

            $crate::__define! {
                fn recv(fd: c_int, buf: *mut c_void, len: size_t, flags: c_int) -> ssize_t;
                fn send(fd: c_int, buf: *const c_void, len: size_t, flags: c_int) -> ssize_t;
                fn recvfrom(
                    fd: c_int,
                    buf: *mut c_void,
                    len: size_t,
                    flags: c_int,
                    from: *mut sockaddr,
                    from_len: *mut socklen_t,
                ) -> ssize_t;
                fn sendto(
                    fd: c_int,
                    buf: *const c_void,
                    len: size_t,
                    flags: c_int,
                    to: *const sockaddr,
                    to_len: socklen_t,
                ) -> ssize_t;
                fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t;
                fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t;
                fn connect(fd: c_int, to: *const sockaddr, len: socklen_t) -> c_int;
                fn accept(fd: c_int, from: *mut sockaddr, len: *mut socklen_t) -> c_int;
                fn accept4(fd: c_int, from: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> c_int;
                fn read(fd: c_int, buf: *mut c_void, len: size_t) -> ssize_t;
                fn write(fd: c_int, buf: *const c_void, len: size_t) -> ssize_t;
                fn readv(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t;
                fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t;
                fn poll(fds: *mut pollfd, count: nfds_t, millis: c_int) -> c_int;
                fn ppoll(fds: *mut pollfd, count: nfds_t, time: *const timespec, mask: *const sigset_t) -> c_int;
                fn select(
                    count: c_int,
                    read: *mut fd_set,
                    write: *mut fd_set,
                    except: *mut fd_set,
                    time: *mut timeval,
                ) -> c_int;
                fn pselect(
                    count: c_int,
                    read: *mut fd_set,
                    write: *mut fd_set,
                    except: *mut fd_set,
                    time: *const timespec,
                    mask: *const sigset_t,
                ) -> c_int;
                fn epoll_wait(fd: c_int, events: *mut epoll_event, most: c_int, millis: c_int) -> c_int;
                fn epoll_pwait(
                    fd: c_int,
                    events: *mut epoll_event,
                    most: c_int,
                    millis: c_int,
                    mask: *const sigset_t,
                ) -> c_int;
                fn nanosleep(time: *const timespec, left: *mut timespec) -> c_int;
                fn clock_nanosleep(
                    clock: clockid_t,
                    flags: c_int,
                    time: *const timespec,
                    left: *mut timespec,
                ) -> c_int;
                fn usleep(micros: useconds_t) -> c_int;
                fn sleep(seconds: c_uint) -> c_uint;
                fn getaddrinfo(
                    node: *const c_char,
                    service: *const c_char,
                    hints: *const addrinfo,
                    found: *mut *mut addrinfo,
                ) -> c_int;
                fn pthread_join(thread: pthread_t, value: *mut *mut c_void) -> c_int;
                fn waitpid(child: pid_t, status: *mut c_int, options: c_int) -> pid_t;
                fn flock(fd: c_int, operation: c_int) -> c_int;
            }
        };
    };
}

/// Functions that pass on to those of the same names in [`__private`].
#[doc(hidden)]
#[macro_export]
macro_rules! __define {
    ($(fn $name:ident($($arg:ident: $type:ty),* $(,)?) -> $result:ty;)*) => {
        $(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name($($arg: $type),*) -> $result {
                // SAFETY: as of libc's function.
                unsafe { $crate::__private::$name($($arg),*) }
            }
        )*
    };
}

/// Cannot be had here.
#[cfg(not(all(
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(target_feature = "crt-static")
)))]
#[macro_export]
macro_rules! interpose {
    () => {
        compile_error!("green_std::interpose! needs Linux on x86_64 or aarch64, and glibc linked dynamically");
    };
}
