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
//! Linux, x86_64 and aarch64, glibc linked dynamically. Elsewhere [`interpose!`] is an error of compilation, and it is a link error to have it twice in a program, be it once in a library of that.
//! Libraries leave it to the program. It works for all code of the program and for shared libraries that are linked with it.
//!
//! # What parks
//!
//! | | threads with thread-locals of their own ([`PerThread`]) | the others |
//! | --- | --- | --- |
//! | sockets, also by the names that `_FORTIFY_SOURCE` gives some (`__recv_chk`): `recv`, `send`, `recvfrom`, `sendto`, `recvmsg`, `sendmsg`, `read`, `write`, `readv`, `writev`, `connect`, `accept`, `accept4`; `recvmmsg`, `sendmmsg` | yes | yes |
//! | `poll`, `ppoll`, `select`, `pselect`, `epoll_wait`, `epoll_pwait` | yes | yes |
//! | `nanosleep`, `clock_nanosleep`, `usleep`, `sleep`, `thrd_sleep` | yes | yes |
//! | `sendfile`, which reads and sends, part by part; `splice` between pipes and files | yes | to sockets |
//! | `waitpid`, `wait4` and `waitid` for the end of one child, `flock` | yes; the latter tries again at times | the same |
//! | `getaddrinfo`, other waits for children (`wait`, `wait3`), the opening of a FIFO (`open`, `openat`, `creat`; a FIFO is found by one look more at the name) | while a thread of a pool of their own blocks | the same |
//! | `pthread_join`: `std::thread::JoinHandle::join`; `pthread_timedjoin_np`, `pthread_clockjoin_np`, `thrd_join`; `pthread_barrier_wait` | the same, a thread for each that waits | no |
//! | `sched_yield`: `std::thread::yield_now`; `thrd_yield` | lets its neighbours run, and each eighth time other OS threads, too | no |
//! | `read`, `write`, `readv`, `writev` on pipes, terminals, eventfds; `eventfd_read`, `eventfd_write` | yes | no: std's locks of output belong to an OS thread |
//! | `write` and its kind to a terminal or another device that is ready, and to an eventfd that has room, though perhaps not for all | while a thread of a pool of their own blocks | no |
//! | semaphores: `sem_wait`, `sem_timedwait`, `sem_clockwait` | yes, where processes do not share them | no |
//! | futexes, by `syscall`: std's `Mutex`, `RwLock`, `Condvar`, `Once`, `thread::park`, `mpsc`, scopes; crossbeam-channel, parking_lot, rayon; libstdc++'s `std::future` and guards of `static`s, whose futexes are not marked as private | yes | no: who holds such a lock across a park would block its neighbours for ever |
//! | locks of libraries in C and C++: `pthread_mutex_lock`, `pthread_rwlock_rdlock`, `pthread_rwlock_wrlock`, `pthread_cond_wait`, and those with times: `pthread_mutex_timedlock`, `pthread_mutex_clocklock`, `pthread_rwlock_timedrdlock`, `pthread_rwlock_clockrdlock`, `pthread_rwlock_timedwrlock`, `pthread_rwlock_clockwrlock`, `pthread_cond_timedwait`, `pthread_cond_clockwait`; those of C11: `mtx_lock`, `mtx_timedlock`, `cnd_wait`, `cnd_timedwait` | yes, where processes do not share them | no |
//! | `pthread_once`, `call_once`: C++'s `std::call_once` | yes, while another thread is in the function | no |
//!
//! **Threads that share thread-locals** must hold no lock of std over a call that parks: a neighbour that wants it blocks the worker, and so its holder, for ever. Where
//! other people's code does that (a logger that writes to a socket under a lock), use threads with thread-locals of their own.
//!
//! Time-outs hold (`SO_RCVTIMEO`, `SO_SNDTIMEO`, those of `poll` and of futexes), and `O_NONBLOCK` and `MSG_DONTWAIT` do what they say.
//!
//! # What does not
//!
//! * What libc itself does by calls of its own, which no program can define: its streams, where they are pipes or sockets (`fgets`, `fread`, `getline`, `printf`, `fopen` of a FIFO), `popen`,
//!   `pclose` and `system`; `getnameinfo`, `gethostbyname` and its kind, `res_query`; `syslog`. They block the worker, as do files; use [`green::fs`], [`green::process`] or [`green::blocking`].
//! * Calls that this crate does not define: `fcntl` with `F_SETLKW`, and `lockf` (the kernel finds deadlocks of such locks only for who waits in it); `sigwait`, `sigwaitinfo`, `sigtimedwait`, `pause`;
//!   queues of messages (`mq_receive`, `mq_send`, `msgrcv`, `msgsnd`), `semop`, `semtimedop`; `tee`, `vmsplice`, `preadv2`, `pwritev2`, `epoll_pwait2`; `aio_suspend`, `lio_listio` with `LIO_WAIT`,
//!   `gai_suspend`; `tcdrain`; `close` of a socket that lingers (`SO_LINGER`). They block the worker.
//! * System calls by `syscall`, other than futexes: a `read` that is made so blocks. And glibc's other names of its functions: `__read`, `__poll`, `__nanosleep` and the like.
//! * Sleeps until, or for, a time of a processor (`clock_nanosleep` by `CLOCK_PROCESS_CPUTIME_ID`, or the clock of another thread).
//! * A clock that is set: a wait until a moment (`clock_nanosleep` with `TIMER_ABSTIME`, `sem_timedwait`, `pthread_cond_timedwait`, futexes) is one for as long as it is until then when it begins. Where
//!   `CLOCK_REALTIME` is set meanwhile, or steps, it ends too early or too late. And so for `CLOCK_BOOTTIME` while the machine is suspended.
//! * What belongs to the calling OS thread, in `getaddrinfo`, which another one makes: changes of the caller's `_res`, and its `uselocale`, do not count there.
//! * Locks of pthread in a program whose allocator has such locks, as jemalloc does: memory is allocated where nothing may park. That is found out before `main`, by some
//!   blocks that are allocated, and then these locks block; [`counters`] counts those that were waited for. So does a wait for who is in the function of
//!   `pthread_once`, and `sched_yield` lets nobody run. Robust mutexes, and mutexes with priorities block always. So do the locks inside of libc (of `FILE`, of the loader), which no program can define. Green threads that wait to write do not count as writers of a lock, so
//!   that readers who come and go may keep them out, whatever its kind; green threads that wait for a mutex or to read look again each 16 ms, and a thousand of them are
//!   sixty thousand looks a second.
//! * `splice` with a socket that blocks at one end is refused (`EINVAL`), and callers copy themselves, as std does.
//! * glibc linked statically: threads cannot have thread-locals of their own there, and no lock of std could be held over a call that parks. So [`interpose!`] does not
//!   compile there, nor with musl.
//! * Two `sendfile`s at once of one open file from its own position, which is read first and set at the end: both may send the same. (So it is in the kernel, for a shorter while.)
//! * Wake-ups (`sem_post`, futexes) in a signal handler, of a green thread or an OS thread, while green threads wait for a word that shares a part of the table with this one, or have
//!   waited since a wake-up found nobody there (there are 16384 parts): they take the part's lock for a few instructions, and where the interrupted code has just that, they spin for ever.
//!   The wake-up of a futex whose word is zero, as it is at the end of a lock, gives the woken thread its turn even in a handler that has no stack of its own: no lock may end there. `sem_post` does not.
//! * A descriptor that is closed while a green thread waits for it: the wait goes on until it is cancelled or its time is over. (An OS thread stays in such a call as
//!   well. What ends a wait is `shutdown`, on both.)
//! * The newer calls for words of memory (`futex_wait`, `futex_wake`, `futex_waitv`, `futex_requeue`): they go to the kernel, and wake no green thread.
//! * `ppoll`, `pselect`, `epoll_pwait` with a signal mask; `sigsuspend`; `select` of more than 1024 descriptors; `waitpid` with `__WNOTHREAD`; `recvmsg` with `MSG_WAITALL`; futexes with priorities.
//!   [`counters`] counts them as blocked.
//! * `pthread_cancel` of an OS thread while it is in one of the functions that this crate makes as system calls (`read`, `recv`, `open`, `poll`, `nanosleep`, and all others that
//!   work on descriptors, sleep or wait for children): they are no points of cancellation any more. Semaphores, condition variables, `pthread_join` and `getaddrinfo` are. Green threads must not
//!   be cancelled so.
//! * A global allocator that waits for a lock of std, or of another crate that uses futexes: it must not be used together with this crate, as `green` itself
//!   allocates where nothing may park. (Those of glibc, jemalloc and mimalloc have locks of other kinds. Those of pthread, which newer versions of mimalloc lock when a thread first
//!   allocates, are found out as above; ones that are locked more seldom still are not.)
//! * A panic's report, while a neighbour on the same worker holds the lock of `stderr` across a park: a panic hook must not park, so it blocks the worker for ever.
//! * Loops that wait by `sched_yield`, or `std::thread::yield_now`, for what another thread of the same worker shall do, in threads that share thread-locals. Loops that wait by nothing at all
//!   (`pthread_spin_lock`), in all.
//! * Code that is inside of [`off`] or [`green::no_park`], or in a panic hook.
//! * Signal handlers. One that has a stack of its own is known by that (std's and `green`'s have). One without is known by its signal, which is blocked as long as it runs, and which the
//!   program has not blocked itself (by `pthread_sigmask`, `sigprocmask`, that system call by `syscall`, or for a wait by `ppoll`, `pselect`, `epoll_pwait`, `sigsuspend`, which are defined for that): functions that a handler may call by POSIX, such as `read`, `write`, `poll`, `nanosleep` or `waitpid`,
//!   block in it, and do not give its turn away. So it is not known for one if its own signal may interrupt it: with `SA_NODEFER`, once it has unblocked that, or where
//!   another way has let it in that had been blocked by those (`sigrelse`, `sigpause`, `epoll_pwait2`, `setcontext`). Who blocks a signal in another way (`sighold`, a `longjmp` out of a handler) is taken for a
//!   handler, and blocks, until the worker next looks at its timers and events; a thread that never lets its neighbours run stays so.
//! * `waitpid` and `wait4` for one child that is traced (`ptrace`): they wait for its end, and do not see that it stops meanwhile.
//! * Calls that need an OS thread to wait in the caller's place, when the system refuses one: they wait until another such call is over, or the next one gets OS threads for all. A `pthread_barrier_wait` of more green threads than there can be OS
//!   threads does not end; with not one of them there, the call blocks the worker.
//! * A library that a program loads: what it defines nobody finds, itself included, and when it is loaded it says so on standard error. [`interpose!`] belongs into the program.
//! * What opens libc by `dlsym`, makes the instruction itself (as the crate `rustix` does on Linux, unless it is built to use libc), or is a library that is loaded with `RTLD_DEEPBIND`.
//!
//! # Cancels, time-outs, signals
//!
//! Nothing unwinds out of these calls: their callers, which have them as `extern "C"`, are compiled for functions that do not. When a thread is cancelled, or a
//! [`green::timeout`] around the call is over,
//!
//! * a call that waits for a descriptor fails with `ECANCELED`;
//! * a look-up of a name fails with `EAI_SYSTEM` and `ECANCELED`;
//! * a sleep ends early, as if the time were over;
//! * what else an OS thread waits for in the thread's place (`pthread_join` and its kind, `waitpid` of more than one child, `pthread_barrier_wait`, the opening of a FIFO, a write to a
//!   terminal) goes on until that comes;
//! * a wait for a futex goes on: whoever holds the lock has to come;
//!
//! and the thread is unwound at its next blocking call of `green`. A runtime that is dropped waits for threads that wait for futexes. A signal that arrives while a
//! thread is parked ends no call with `EINTR`: the thread has no call then that it could end.
//!
//! # Costs
//!
//! A call that has to wait makes four small system calls more than a socket of [`green::net`]: it reads the descriptor's flags, its time-out and which signals are blocked, and asks the poller
//! of a worker to look anew, which knows the descriptor from its first wait on. A `poll` of a descriptor that does not block keeps a duplicate meanwhile. Green
//! threads that wait to accept at one listener do not disturb each other. Another process, or an OS thread, that accepts there, too,
//! may be quicker between a look and the call for which it was: then that one call blocks its worker until the next connection comes, and the other green threads look again each 16 ms
//! at most. (The same holds for reads of terminals, reads and writes of eventfds, and others in older kernels: of what the kernel cannot be told not to wait for.) A wake-up of a futex costs a fence and some loads more. A futex that is not marked
//! as private may be another process's to wake: a wait for one ends each 16 ms, for no reason, and its caller waits anew.
//!
//! `read` and `write` look first what the descriptor is: two system calls more for a file. Where the end of a lock of std or pthread, or a post to a semaphore, wakes a green thread that is the next
//! on its worker, that thread runs at once: a second switch for each turn of a lock that is held across parks.
//!
//! `.ci/green-std figures` measures (here on two cores that others used as well, so that the ratios of wall time are rough):
//!
//! | on one worker | against | ratio |
//! | --- | --- | --- |
//! | a std `Mutex` that is held over a yield, 2000 threads or 20: time of a processor | `green`'s | 1.4; 1.5 |
//! | one that is free before the yield | the same | 0.9 |
//! | a std `mpsc` channel from 2000 threads, or 20, to one: the same | the same | 1.9; 1.6, as hardly anybody waits |
//! | the same messages without anybody who waits, std's own code alone | `green`'s with all its waits | 1.5; 1.7 |
//! | two of them between two threads, there and back, 2000 threads or 20: time of a processor | `green`'s | 2.4 to 2.7; 4.1 to 4.7 |
//! | 200 clients of Redis: time of a processor | 200 OS threads | 0.3 to 0.4 |
//! | 200 clients of PostgreSQL: time of a processor | the same | 0.95 to 1.6 |
//! | memory of the process, either client | the same | 1.0 |
//! | the same with the kernel's stacks of all processes, those of the server as well | the same | 0.6 Redis, 0.85 PostgreSQL |
//!
//! The one that receives from all parks once for each sender that has its turn, not for each message: 0.02 times a message at 50 messages a turn. So what is left there is std's own code, five exchanges and
//! fences for each message, and a ratio of 1.5 is out of reach. Of the instructions of a message from thread to thread, some 1170 by `mpsc`, 560 are std's own (two locks, counts of references), 150 the
//! switch; `green`'s channel has 430 with its switch: out of reach as well. A turn of a std lock that is held over a yield is three switches; one of `green`'s is two, as it can hand the lock over,
//! where std's woken thread has to run before its waker goes on. `perf record -e cpu-clock cargo bench -p green-std --bench locks -- pair`, and `held over`, with `perf report`, say how the
//! time is spread over these functions.
//!
//! **Memory** of a client is what its code touches on the stack and keeps on the heap, and that is the same on both. An OS thread's stack is address space, too, until it is
//! touched: of the 26 KiB that a client of Redis has on either, 10 are its own (they are there without a thread), and 15 are stack and thread-locals. What a green thread
//! saves is the kernel's part, a stack of 16 KiB and what belongs to it. A tenth is out of reach for clients as these.
//!
//! [`PerThread`]: green::ThreadLocals::PerThread

#[cfg(green_std)]
mod calls;

#[cfg(green_std)]
pub use calls::{
    counters::{Counters, counters},
    waits::off,
};

/// What [`interpose!`] names.
#[cfg(green_std)]
#[doc(hidden)]
pub mod __private {
    pub use crate::calls::c11::{
        cnd_broadcast, cnd_signal, cnd_timedwait, cnd_wait, mtx_lock, mtx_timedlock, mtx_unlock,
    };
    pub use crate::calls::checked::{
        __open_2, __open_2 as __open64_2, __openat_2, __openat_2 as __openat64_2, __poll_chk, __ppoll_chk, __read_chk,
        __recv_chk, __recvfrom_chk,
    };
    pub use crate::calls::copy::{sendfile, sendfile as sendfile64, splice};
    pub use crate::calls::file::{eventfd_read, eventfd_write, read, readv, write, writev};
    pub use crate::calls::futex::syscall;
    pub use crate::calls::handed_over::{
        flock, getaddrinfo, pthread_barrier_wait, pthread_clockjoin_np, pthread_join, pthread_timedjoin_np, thrd_join,
        wait, wait3, wait4, waitid, waitpid,
    };
    pub use crate::calls::hidden::{find_hidden, is_found};
    pub use crate::calls::mask::{pthread_sigmask, sigprocmask, sigsuspend};
    pub use crate::calls::messages::{recvmmsg, sendmmsg};
    pub use crate::calls::once::{call_once, pthread_once};
    pub use crate::calls::open::{creat, creat as creat64, open, open as open64, openat, openat as openat64};
    pub use crate::calls::poll::{epoll_pwait, epoll_wait, poll, ppoll, pselect, select};
    pub use crate::calls::pthread::{
        pthread_cond_broadcast, pthread_cond_clockwait, pthread_cond_signal, pthread_cond_timedwait, pthread_cond_wait,
        pthread_mutex_clocklock, pthread_mutex_lock, pthread_mutex_timedlock, pthread_mutex_unlock,
        pthread_rwlock_clockrdlock, pthread_rwlock_clockwrlock, pthread_rwlock_rdlock, pthread_rwlock_timedrdlock,
        pthread_rwlock_timedwrlock, pthread_rwlock_unlock, pthread_rwlock_wrlock, watch_allocators,
    };
    pub use crate::calls::semaphore::{sem_clockwait, sem_post, sem_timedwait, sem_wait};
    pub use crate::calls::sleep::{clock_nanosleep, nanosleep, sched_yield, sleep, thrd_sleep, thrd_yield, usleep};
    pub use crate::calls::socket::{accept, accept4, connect, recv, recvfrom, recvmsg, send, sendmsg, sendto};
    pub use libc;
}

/// Defines functions of libc in the program that it stands in: once in a program, outside of all functions. See the [crate](crate).
///
/// ```
/// green_std::interpose!();
/// # fn main() {}
/// ```
#[cfg(green_std)]
#[macro_export]
macro_rules! interpose {
    () => {
        const _: () = {
            use ::core::ffi::{c_char, c_int, c_long, c_uint, c_void};

            use $crate::__private::libc::{
                addrinfo, clockid_t, epoll_event, eventfd_t, fd_set, id_t, idtype_t, iovec, mmsghdr, msghdr, nfds_t,
                off_t, pid_t, pollfd, pthread_barrier_t, pthread_cond_t, pthread_mutex_t, pthread_rwlock_t, pthread_t,
                rusage, sem_t, siginfo_t, sigset_t, size_t, sockaddr, socklen_t, ssize_t, timespec, timeval,
                useconds_t,
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

            extern "C" fn begin() {
                if $crate::__private::is_found(begin as extern "C" fn() as *const c_void) {
                    $crate::__private::find_hidden();
                    $crate::__private::watch_allocators();
                }
            }

            /// Called before `main`.
            #[used]
            #[unsafe(link_section = ".init_array")]
            static BEGIN: extern "C" fn() = begin;

            $crate::__define! { "C":
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
                fn recvmmsg(
                    fd: c_int,
                    messages: *mut mmsghdr,
                    count: c_uint,
                    flags: c_int,
                    time: *mut timespec,
                ) -> c_int;
                fn sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int;
                fn open(path: *const c_char, flags: c_int, mode: c_uint) -> c_int;
                fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int;
                fn openat(folder: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int;
                fn openat64(folder: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int;
                fn creat(path: *const c_char, mode: c_uint) -> c_int;
                fn creat64(path: *const c_char, mode: c_uint) -> c_int;
                fn __open_2(path: *const c_char, flags: c_int) -> c_int;
                fn __open64_2(path: *const c_char, flags: c_int) -> c_int;
                fn __openat_2(folder: c_int, path: *const c_char, flags: c_int) -> c_int;
                fn __openat64_2(folder: c_int, path: *const c_char, flags: c_int) -> c_int;
                fn connect(fd: c_int, to: *const sockaddr, len: socklen_t) -> c_int;
                fn accept(fd: c_int, from: *mut sockaddr, len: *mut socklen_t) -> c_int;
                fn accept4(fd: c_int, from: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> c_int;
                fn read(fd: c_int, buf: *mut c_void, len: size_t) -> ssize_t;
                fn write(fd: c_int, buf: *const c_void, len: size_t) -> ssize_t;
                fn readv(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t;
                fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t;
                fn eventfd_read(fd: c_int, value: *mut eventfd_t) -> c_int;
                fn eventfd_write(fd: c_int, value: eventfd_t) -> c_int;
                fn __read_chk(fd: c_int, buf: *mut c_void, len: size_t, buf_len: size_t) -> ssize_t;
                fn __recv_chk(fd: c_int, buf: *mut c_void, len: size_t, buf_len: size_t, flags: c_int) -> ssize_t;
                fn __recvfrom_chk(
                    fd: c_int,
                    buf: *mut c_void,
                    len: size_t,
                    buf_len: size_t,
                    flags: c_int,
                    from: *mut sockaddr,
                    from_len: *mut socklen_t,
                ) -> ssize_t;
                fn __poll_chk(fds: *mut pollfd, count: nfds_t, millis: c_int, fds_len: size_t) -> c_int;
                fn __ppoll_chk(
                    fds: *mut pollfd,
                    count: nfds_t,
                    time: *const timespec,
                    mask: *const sigset_t,
                    fds_len: size_t,
                ) -> c_int;
                fn sem_post(sem: *mut sem_t) -> c_int;
                fn sendfile(to: c_int, from: c_int, offset: *mut off_t, count: size_t) -> ssize_t;
                fn sendfile64(to: c_int, from: c_int, offset: *mut off_t, count: size_t) -> ssize_t;
                fn splice(
                    from: c_int,
                    from_offset: *mut off_t,
                    to: c_int,
                    to_offset: *mut off_t,
                    len: size_t,
                    flags: c_uint,
                ) -> ssize_t;
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
                fn thrd_sleep(time: *const timespec, left: *mut timespec) -> c_int;
                fn sched_yield() -> c_int;
                fn thrd_yield() -> ();
                fn pthread_mutex_lock(mutex: *mut pthread_mutex_t) -> c_int;
                fn pthread_mutex_timedlock(mutex: *mut pthread_mutex_t, moment: *const timespec) -> c_int;
                fn pthread_mutex_clocklock(
                    mutex: *mut pthread_mutex_t,
                    clock: clockid_t,
                    moment: *const timespec,
                ) -> c_int;
                fn pthread_mutex_unlock(mutex: *mut pthread_mutex_t) -> c_int;
                fn pthread_rwlock_rdlock(lock: *mut pthread_rwlock_t) -> c_int;
                fn pthread_rwlock_timedrdlock(lock: *mut pthread_rwlock_t, moment: *const timespec) -> c_int;
                fn pthread_rwlock_clockrdlock(
                    lock: *mut pthread_rwlock_t,
                    clock: clockid_t,
                    moment: *const timespec,
                ) -> c_int;
                fn pthread_rwlock_wrlock(lock: *mut pthread_rwlock_t) -> c_int;
                fn pthread_rwlock_timedwrlock(lock: *mut pthread_rwlock_t, moment: *const timespec) -> c_int;
                fn pthread_rwlock_clockwrlock(
                    lock: *mut pthread_rwlock_t,
                    clock: clockid_t,
                    moment: *const timespec,
                ) -> c_int;
                fn pthread_rwlock_unlock(lock: *mut pthread_rwlock_t) -> c_int;
                fn pthread_cond_signal(condition: *mut pthread_cond_t) -> c_int;
                fn pthread_cond_broadcast(condition: *mut pthread_cond_t) -> c_int;
                fn mtx_lock(mutex: *mut pthread_mutex_t) -> c_int;
                fn mtx_timedlock(mutex: *mut pthread_mutex_t, moment: *const timespec) -> c_int;
                fn mtx_unlock(mutex: *mut pthread_mutex_t) -> c_int;
                fn cnd_signal(condition: *mut pthread_cond_t) -> c_int;
                fn cnd_broadcast(condition: *mut pthread_cond_t) -> c_int;
                fn pthread_sigmask(how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int;
                fn sigprocmask(how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int;
                fn wait(status: *mut c_int) -> pid_t;
                fn wait3(status: *mut c_int, options: c_int, used: *mut rusage) -> pid_t;
                fn wait4(child: pid_t, status: *mut c_int, options: c_int, used: *mut rusage) -> pid_t;
                fn waitid(kind: idtype_t, id: id_t, info: *mut siginfo_t, options: c_int) -> c_int;
                fn waitpid(child: pid_t, status: *mut c_int, options: c_int) -> pid_t;
                fn flock(fd: c_int, operation: c_int) -> c_int;
            }

            // OS threads can be cancelled in libc's own, and are unwound then.
            $crate::__define! { "C-unwind":
                fn sigsuspend(mask: *const sigset_t) -> c_int;
                fn sem_wait(sem: *mut sem_t) -> c_int;
                fn sem_timedwait(sem: *mut sem_t, moment: *const timespec) -> c_int;
                fn sem_clockwait(sem: *mut sem_t, clock: clockid_t, moment: *const timespec) -> c_int;
                fn getaddrinfo(
                    node: *const c_char,
                    service: *const c_char,
                    hints: *const addrinfo,
                    found: *mut *mut addrinfo,
                ) -> c_int;
                fn pthread_join(thread: pthread_t, value: *mut *mut c_void) -> c_int;
                fn pthread_timedjoin_np(
                    thread: pthread_t,
                    value: *mut *mut c_void,
                    moment: *const timespec,
                ) -> c_int;
                fn pthread_clockjoin_np(
                    thread: pthread_t,
                    value: *mut *mut c_void,
                    clock: clockid_t,
                    moment: *const timespec,
                ) -> c_int;
                fn thrd_join(thread: pthread_t, value: *mut c_int) -> c_int;
                fn pthread_barrier_wait(barrier: *mut pthread_barrier_t) -> c_int;
                fn pthread_once(control: *mut c_int, routine: unsafe extern "C-unwind" fn()) -> c_int;
                fn call_once(flag: *mut c_int, routine: unsafe extern "C-unwind" fn()) -> ();
                fn pthread_cond_wait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t) -> c_int;
                fn pthread_cond_timedwait(
                    condition: *mut pthread_cond_t,
                    mutex: *mut pthread_mutex_t,
                    moment: *const timespec,
                ) -> c_int;
                fn pthread_cond_clockwait(
                    condition: *mut pthread_cond_t,
                    mutex: *mut pthread_mutex_t,
                    clock: clockid_t,
                    moment: *const timespec,
                ) -> c_int;
                fn cnd_wait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t) -> c_int;
                fn cnd_timedwait(
                    condition: *mut pthread_cond_t,
                    mutex: *mut pthread_mutex_t,
                    moment: *const timespec,
                ) -> c_int;
            }
        };
    };
}

/// Functions that pass on to those of the same names in [`__private`].
#[doc(hidden)]
#[macro_export]
macro_rules! __define {
    ($abi:literal: $(fn $name:ident($($arg:ident: $type:ty),* $(,)?) -> $result:ty;)*) => {
        $(
            #[unsafe(no_mangle)]
            unsafe extern $abi fn $name($($arg: $type),*) -> $result {
                // SAFETY: as of libc's function.
                unsafe { $crate::__private::$name($($arg),*) }
            }
        )*
    };
}

/// Cannot be had here.
#[cfg(not(green_std))]
#[macro_export]
macro_rules! interpose {
    () => {
        compile_error!("green_std::interpose! needs Linux on x86_64 or aarch64, and glibc linked dynamically");
    };
}
