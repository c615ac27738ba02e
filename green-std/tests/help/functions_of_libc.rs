//! Functions of libc that the crate `libc` does not have.

use std::ffi::{c_char, c_int, c_uint, c_void};

use libc::{
    clockid_t, pollfd, pthread_barrier_t, pthread_cond_t, pthread_mutex_t, pthread_rwlock_t, pthread_t, sem_t,
    sigset_t, size_t, sockaddr, socklen_t, ssize_t, timespec,
};

unsafe extern "C-unwind" {
    pub(crate) fn wait3(status: *mut c_int, options: c_int, used: *mut libc::rusage) -> libc::pid_t;
    pub(crate) fn __open_2(path: *const c_char, flags: c_int) -> c_int;
    pub(crate) fn __open64_2(path: *const c_char, flags: c_int) -> c_int;
    pub(crate) fn __openat_2(folder: c_int, path: *const c_char, flags: c_int) -> c_int;
    pub(crate) fn __openat64_2(folder: c_int, path: *const c_char, flags: c_int) -> c_int;
    pub(crate) fn __read_chk(fd: c_int, buf: *mut c_void, len: size_t, buf_len: size_t) -> ssize_t;
    pub(crate) fn __recv_chk(fd: c_int, buf: *mut c_void, len: size_t, buf_len: size_t, flags: c_int) -> ssize_t;
    pub(crate) fn __recvfrom_chk(
        fd: c_int,
        buf: *mut c_void,
        len: size_t,
        buf_len: size_t,
        flags: c_int,
        from: *mut sockaddr,
        from_len: *mut socklen_t,
    ) -> ssize_t;
    pub(crate) fn __poll_chk(fds: *mut pollfd, count: libc::nfds_t, millis: c_int, fds_len: size_t) -> c_int;
    pub(crate) fn __ppoll_chk(
        fds: *mut pollfd,
        count: libc::nfds_t,
        time: *const timespec,
        mask: *const sigset_t,
        fds_len: size_t,
    ) -> c_int;
    pub(crate) fn sem_clockwait(sem: *mut sem_t, clock: clockid_t, moment: *const timespec) -> c_int;
    pub(crate) fn pthread_mutex_clocklock(
        mutex: *mut pthread_mutex_t,
        clock: clockid_t,
        moment: *const timespec,
    ) -> c_int;
    pub(crate) fn pthread_rwlock_timedrdlock(lock: *mut pthread_rwlock_t, moment: *const timespec) -> c_int;
    pub(crate) fn pthread_rwlock_timedwrlock(lock: *mut pthread_rwlock_t, moment: *const timespec) -> c_int;
    pub(crate) fn pthread_rwlock_clockrdlock(
        lock: *mut pthread_rwlock_t,
        clock: clockid_t,
        moment: *const timespec,
    ) -> c_int;
    pub(crate) fn pthread_rwlock_clockwrlock(
        lock: *mut pthread_rwlock_t,
        clock: clockid_t,
        moment: *const timespec,
    ) -> c_int;
    pub(crate) fn pthread_cond_clockwait(
        condition: *mut pthread_cond_t,
        mutex: *mut pthread_mutex_t,
        clock: clockid_t,
        moment: *const timespec,
    ) -> c_int;
    pub(crate) fn mtx_lock(mutex: *mut pthread_mutex_t) -> c_int;
    pub(crate) fn mtx_timedlock(mutex: *mut pthread_mutex_t, moment: *const timespec) -> c_int;
    pub(crate) fn cnd_wait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t) -> c_int;
    pub(crate) fn cnd_timedwait(
        condition: *mut pthread_cond_t,
        mutex: *mut pthread_mutex_t,
        moment: *const timespec,
    ) -> c_int;
    pub(crate) fn cnd_signal(condition: *mut pthread_cond_t) -> c_int;
    pub(crate) fn cnd_broadcast(condition: *mut pthread_cond_t) -> c_int;
    pub(crate) fn pthread_once(control: *mut c_int, routine: unsafe extern "C-unwind" fn()) -> c_int;
    pub(crate) fn call_once(control: *mut c_int, routine: unsafe extern "C-unwind" fn());
    pub(crate) fn pthread_barrier_init(
        barrier: *mut pthread_barrier_t,
        attributes: *const c_void,
        count: c_uint,
    ) -> c_int;
    pub(crate) fn pthread_barrier_wait(barrier: *mut pthread_barrier_t) -> c_int;
    pub(crate) fn pthread_timedjoin_np(thread: pthread_t, value: *mut *mut c_void, moment: *const timespec) -> c_int;
    pub(crate) fn pthread_clockjoin_np(
        thread: pthread_t,
        value: *mut *mut c_void,
        clock: clockid_t,
        moment: *const timespec,
    ) -> c_int;
    pub(crate) fn thrd_create(
        thread: *mut pthread_t,
        start: extern "C" fn(*mut c_void) -> c_int,
        of: *mut c_void,
    ) -> c_int;
    pub(crate) fn thrd_join(thread: pthread_t, value: *mut c_int) -> c_int;
    pub(crate) fn thrd_sleep(time: *const timespec, left: *mut timespec) -> c_int;
    pub(crate) fn thrd_yield();
}
