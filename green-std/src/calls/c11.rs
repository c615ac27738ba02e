//! Locks of C11: in glibc they are those of pthread, with other numbers for their results.

use std::ffi::c_int;

use libc::{pthread_cond_t, pthread_mutex_t, timespec};

use crate::calls::pthread::{
    pthread_cond_broadcast, pthread_cond_signal, pthread_cond_timedwait, pthread_cond_wait, pthread_mutex_lock,
    pthread_mutex_timedlock, pthread_mutex_unlock,
};

/// `thrd_success` and so on, as libc makes them.
fn result(error: c_int) -> c_int {
    match error {
        0 => 0,
        libc::EBUSY => 1,
        libc::ENOMEM => 3,
        libc::ETIMEDOUT => 4,
        _ => 2,
    }
}

/// Functions that do what those of pthread do.
macro_rules! as_pthread {
    ($($name:ident($($arg:ident: $type:ty),*) = $real:ident;)*) => {
        $(
            /// # Safety
            ///
            /// As of libc's function.
            pub unsafe fn $name($($arg: $type),*) -> c_int {
                // SAFETY: as the caller promises.
                result(unsafe { $real($($arg),*) })
            }
        )*
    };
}

as_pthread! {
    mtx_lock(mutex: *mut pthread_mutex_t) = pthread_mutex_lock;
    mtx_timedlock(mutex: *mut pthread_mutex_t, moment: *const timespec) = pthread_mutex_timedlock;
    mtx_unlock(mutex: *mut pthread_mutex_t) = pthread_mutex_unlock;
    cnd_wait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t) = pthread_cond_wait;
    cnd_timedwait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t, moment: *const timespec) = pthread_cond_timedwait;
    cnd_signal(condition: *mut pthread_cond_t) = pthread_cond_signal;
    cnd_broadcast(condition: *mut pthread_cond_t) = pthread_cond_broadcast;
}
