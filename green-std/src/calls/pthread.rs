//! Mutexes, read-write locks and condition variables of pthread, with which libraries in C and C++ wait. libc's own functions do all that does not wait; a green thread
//! that would have to waits in green's table of futexes, by the address of the lock.
//!
//! **A lock.** "The word was changed" is libc's own unlock, "word changed?" is libc's try: so no end of a lock is lost, by the proof of that table. But libc unlocks a mutex
//! by itself when an OS thread begins to wait for a condition variable, and nobody sees it. So a wait for a mutex looks again at times.
//!
//! **A condition variable** has no try. So there is a count of signals for each (some share one), which goes up before anybody is woken:
//!
//! ```text
//!  a green thread that waits                        who signals
//!  C1 reads the count                               S1 the count goes up
//!  C2 unlocks the mutex                             S2 wakes green threads, by the address; and libc's own waiters
//!  C3 waits by the address, unless the count
//!     is another than in C1
//!  C4 locks the mutex
//! ```
//!
//! A signal that has to be seen comes after C2, and so after C1. Either C3 sees another count, or S2 finds who waits: S1 and the look in C3 are K1 and W3 of that proof. Each
//! kind of waiter gets the signal, one green and one OS thread: a wait may end for no reason.
//!
//! **Allocators.** Memory is allocated where nothing may park. An allocator with mutexes of pthread (jemalloc) is found out before `main`: it unlocks one while it gives large
//! blocks and small ones, or when a thread is new. Then no lock of pthread parks anybody.

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::mem::{transmute, zeroed};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use green::__interposed::{FutexEnd, address_wait, futex_wake};
use libc::{CLOCK_MONOTONIC, CLOCK_REALTIME, clockid_t, pthread_cond_t, pthread_mutex_t, pthread_rwlock_t, timespec};

use crate::calls::counters::{BLOCKED, FUTEXES};
use crate::calls::hidden::{
    COND_BROADCAST, COND_CLOCKWAIT, COND_SIGNAL, COND_TIMEDWAIT, COND_WAIT, Hidden, MUTEX_CLOCKLOCK, MUTEX_LOCK,
    MUTEX_UNLOCK, PTHREAD_JOIN, RWLOCK_CLOCKRDLOCK, RWLOCK_CLOCKWRLOCK, RWLOCK_RDLOCK, RWLOCK_UNLOCK, RWLOCK_WRLOCK,
};
use crate::calls::raw::address;
use crate::calls::sleep::deadline_at;
use crate::calls::waits::{NEVER, after, hand_on, has_passed, may_park_anywhere};

type Of<T> = unsafe extern "C-unwind" fn(*mut T) -> c_int;
type ByClock<T> = unsafe extern "C-unwind" fn(*mut T, clockid_t, *const timespec) -> c_int;

/// What is known of the program's allocators.
static ALLOCATORS: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const WATCHED: u8 = 1;
const HAVE_NO_MUTEX: u8 = 2;
const HAVE_MUTEXES: u8 = 3;

/// Before `main`: do the allocators lock mutexes of pthread, here or when a thread is new?
pub fn watch_allocators() {
    type Start = extern "C" fn(*mut c_void) -> *mut c_void;
    type Join = unsafe extern "C-unwind" fn(libc::pthread_t, *mut *mut c_void) -> c_int;
    extern "C" fn in_a_new_thread(nothing: *mut c_void) -> *mut c_void {
        allocate();
        nothing
    }
    ALLOCATORS.store(WATCHED, Ordering::Relaxed);
    allocate();
    // SAFETY: a thread of this function's, which has ended then; the type of the function of this name.
    unsafe {
        let (mut thread, start) = (zeroed(), in_a_new_thread as Start);
        if libc::pthread_create(&raw mut thread, null(), start, null_mut()) == 0 {
            transmute::<*mut c_void, Join>(PTHREAD_JOIN.get())(thread, null_mut());
        }
    }
    _ = ALLOCATORS.compare_exchange(WATCHED, HAVE_NO_MUTEX, Ordering::Relaxed, Ordering::Relaxed);
}

/// Has blocks given, and gives them back: small ones, some of which glibc keeps, and one of which it learns nothing for the next ones, as it would of those between.
fn allocate() {
    for (len, count) in [(64, 8), (1 << 12, 8), (1 << 16, 8), (1 << 26, 1)] {
        let layout = Layout::from_size_align(len, 16).expect("lengths that can be");
        let mut blocks = [(null_mut(), null_mut()); 8];
        // SAFETY: blocks of this function's, given back to whom they are from.
        unsafe {
            for (one, other) in &mut blocks[..count] {
                (*one, *other) = (black_box(alloc(layout)), black_box(libc::malloc(len)));
            }
            for (one, other) in blocks {
                if !one.is_null() {
                    dealloc(one, layout);
                }
                libc::free(other);
            }
        }
    }
}

/// Memory is allocated where nothing may park: do the allocators leave pthread alone?
pub(crate) fn allocators_have_no_mutex() -> bool {
    ALLOCATORS.load(Ordering::Relaxed) == HAVE_NO_MUTEX
}

/// May the caller, who has tried in vain, park?
pub(crate) fn may_wait(is_shared: bool) -> bool {
    let parks = !is_shared && allocators_have_no_mutex();
    if !parks {
        BLOCKED.add();
    }
    parks
}

/// Waits as a green thread until `attempt`, which does not wait, says something other than "busy". `unseen`: the lock may become free and nobody tells.
fn until_free(at: usize, deadline_ns: u64, unseen: bool, attempt: impl Fn() -> c_int) -> c_int {
    FUTEXES.add();
    let mut pause = Duration::from_millis(1);
    loop {
        let mut result = libc::EBUSY;
        let look = || {
            result = attempt();
            result != libc::EBUSY
        };
        let looks_again = if unseen { after(pause) } else { NEVER };
        let end = address_wait(at, deadline_ns.min(looks_again), look);
        if result == libc::EBUSY && end == FutexEnd::TimedOut {
            result = attempt();
            if result == libc::EBUSY && has_passed(deadline_ns) {
                return libc::ETIMEDOUT;
            }
        }
        if result != libc::EBUSY {
            return result;
        }
        pause = (pause * 2).min(Duration::from_millis(16));
    }
}

/// The time until which a call waits, as its caller gives it.
#[derive(Clone, Copy)]
enum Until {
    Ever,
    Moment(clockid_t, *const timespec),
}

impl Until {
    /// `None`: no such clock, or no such time.
    ///
    /// # Safety
    ///
    /// The moment is valid.
    unsafe fn deadline(self) -> Option<u64> {
        match self {
            Self::Ever => Some(NEVER),
            Self::Moment(clock @ (CLOCK_REALTIME | CLOCK_MONOTONIC), moment) => {
                // SAFETY: as the caller promises.
                deadline_at(clock, unsafe { &*moment })
            }
            Self::Moment(..) => None,
        }
    }
}

/// libc's functions that lock something in one way.
struct Locks<T> {
    lock: &'static Hidden,
    by_clock: &'static Hidden,
    attempt: unsafe extern "C" fn(*mut T) -> c_int,
    /// Libc unlocks it by itself as well.
    unseen: bool,
    /// It cannot be waited for here: it is shared between processes, or more than that.
    is_shared: fn(*mut T) -> bool,
}

impl<T> Locks<T> {
    /// # Safety
    ///
    /// As of libc's function.
    unsafe fn block(&self, lock: *mut T, until: Until) -> c_int {
        // SAFETY: the types of the functions of these names; as the caller promises.
        unsafe {
            match until {
                Until::Ever => transmute::<*mut c_void, Of<T>>(self.lock.get())(lock),
                Until::Moment(clock, moment) => {
                    transmute::<*mut c_void, ByClock<T>>(self.by_clock.get())(lock, clock, moment)
                }
            }
        }
    }

    /// # Safety
    ///
    /// As of libc's function.
    #[inline]
    unsafe fn lock(&self, lock: *mut T, until: Until) -> c_int {
        if !may_park_anywhere() {
            // SAFETY: as the caller promises.
            return unsafe { self.block(lock, until) };
        }
        // SAFETY: the same.
        match unsafe { (self.attempt)(lock) } {
            // SAFETY: the same.
            libc::EBUSY => unsafe { self.wait(lock, until) },
            result => result,
        }
    }

    /// # Safety
    ///
    /// The same.
    #[cold]
    unsafe fn wait(&self, lock: *mut T, until: Until) -> c_int {
        if !may_wait((self.is_shared)(lock)) {
            // SAFETY: as the caller promises.
            return unsafe { self.block(lock, until) };
        }
        // Does the caller have it? libc says so where it is an error, and does not wait for a moment that has passed.
        let past = timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the same.
        match unsafe { self.block(lock, Until::Moment(CLOCK_REALTIME, &raw const past)) } {
            libc::ETIMEDOUT => {}
            result => return result,
        }
        // SAFETY: the same.
        let Some(deadline_ns) = (unsafe { until.deadline() }) else { return libc::EINVAL };
        // SAFETY: the same.
        until_free(address(lock), deadline_ns, self.unseen, || unsafe { (self.attempt)(lock) })
    }
}

/// libc's function that unlocks something, and then green threads are woken.
///
/// # Safety
///
/// As of libc's function, whose name `unlock` is.
unsafe fn unlock<T>(unlock: &Hidden, lock: *mut T, most: u32) -> c_int {
    let at = address(lock);
    // SAFETY: the type of the function of this name; as the caller promises.
    let result = unsafe { transmute::<*mut c_void, Of<T>>(unlock.get())(lock) };
    if result == 0 {
        // By the address alone: it may be gone.
        hand_on(futex_wake(at, most, u32::MAX).count);
    }
    result
}

static MUTEX: Locks<pthread_mutex_t> = Locks {
    lock: &MUTEX_LOCK,
    by_clock: &MUTEX_CLOCKLOCK,
    attempt: libc::pthread_mutex_trylock,
    unseen: true,
    is_shared: |mutex| {
        // The fifth number is the kind: static initialisers have it there. Above the type: robust, with priorities, shared.
        // SAFETY: a mutex of the caller's; it is written when the mutex is made.
        unsafe { mutex.cast::<u32>().add(4).read_volatile() & 0xf0 != 0 }
    },
};

fn is_shared_lock(lock: *mut pthread_rwlock_t) -> bool {
    // The eighth number says whether processes share it.
    // SAFETY: a lock of the caller's; it is written when the lock is made.
    unsafe { lock.cast::<u32>().add(7).read_volatile() != 0 }
}

static READ: Locks<pthread_rwlock_t> = Locks {
    lock: &RWLOCK_RDLOCK,
    by_clock: &RWLOCK_CLOCKRDLOCK,
    attempt: libc::pthread_rwlock_tryrdlock,
    // An OS thread that waits to write may keep readers out, and then its time is over.
    unseen: true,
    is_shared: is_shared_lock,
};
static WRITE: Locks<pthread_rwlock_t> = Locks {
    lock: &RWLOCK_WRLOCK,
    by_clock: &RWLOCK_CLOCKWRLOCK,
    attempt: libc::pthread_rwlock_trywrlock,
    unseen: false,
    is_shared: is_shared_lock,
};

/// Functions that lock: until ever, until a moment, until a moment of a clock.
macro_rules! locks {
    ($type:ty, $ways:expr, $lock:ident, $until:ident, $by_clock:ident) => {
        /// # Safety
        ///
        /// As of libc's function.
        pub unsafe fn $lock(lock: *mut $type) -> c_int {
            // SAFETY: as the caller promises.
            unsafe { $ways.lock(lock, Until::Ever) }
        }

        /// # Safety
        ///
        /// As of libc's function.
        pub unsafe fn $until(lock: *mut $type, moment: *const timespec) -> c_int {
            // SAFETY: as the caller promises.
            unsafe { $ways.lock(lock, Until::Moment(CLOCK_REALTIME, moment)) }
        }

        /// # Safety
        ///
        /// As of libc's function.
        pub unsafe fn $by_clock(lock: *mut $type, clock: clockid_t, moment: *const timespec) -> c_int {
            // SAFETY: as the caller promises.
            unsafe { $ways.lock(lock, Until::Moment(clock, moment)) }
        }
    };
}

locks!(pthread_mutex_t, MUTEX, pthread_mutex_lock, pthread_mutex_timedlock, pthread_mutex_clocklock);
locks!(pthread_rwlock_t, READ, pthread_rwlock_rdlock, pthread_rwlock_timedrdlock, pthread_rwlock_clockrdlock);
locks!(pthread_rwlock_t, WRITE, pthread_rwlock_wrlock, pthread_rwlock_timedwrlock, pthread_rwlock_clockwrlock);

/// # Safety
///
/// As of libc's function.
pub unsafe fn pthread_mutex_unlock(mutex: *mut pthread_mutex_t) -> c_int {
    if ALLOCATORS.load(Ordering::Relaxed) == WATCHED {
        ALLOCATORS.store(HAVE_MUTEXES, Ordering::Relaxed);
    }
    // SAFETY: as the caller promises.
    unsafe { unlock(&MUTEX_UNLOCK, mutex, 1) }
}

/// # Safety
///
/// As of libc's function.
pub unsafe fn pthread_rwlock_unlock(lock: *mut pthread_rwlock_t) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { unlock(&RWLOCK_UNLOCK, lock, u32::MAX) }
}

/// How many signals there have been.
fn signals(at: usize) -> &'static AtomicU32 {
    const COUNTS: usize = 64;
    static SIGNALS: [AtomicU32; COUNTS] = [const { AtomicU32::new(0) }; COUNTS];
    &SIGNALS[at / size_of::<pthread_cond_t>() % COUNTS]
}

/// What a condition variable was made with: whether processes share it (1), whether it is the monotonic clock's (2). `None`: this libc is not known.
fn attributes(condition: *const pthread_cond_t) -> Option<u32> {
    const WORDS: usize = size_of::<pthread_cond_t>() / size_of::<u32>();
    /// What is found out, and is the same whoever finds it: one more than the number of the word. No lock, which a fork may leave locked.
    static FOUND: AtomicUsize = AtomicUsize::new(0);
    const IN_NONE: usize = usize::MAX;
    /// One that is made so.
    fn made(clock: clockid_t, shared: c_int) -> [u32; WORDS] {
        // SAFETY: attributes and a condition variable of this function's, which nobody waits for.
        unsafe {
            let (mut attributes, mut condition) = (zeroed::<libc::pthread_condattr_t>(), zeroed::<pthread_cond_t>());
            libc::pthread_condattr_init(&raw mut attributes);
            libc::pthread_condattr_setclock(&raw mut attributes, clock);
            libc::pthread_condattr_setpshared(&raw mut attributes, shared);
            libc::pthread_cond_init(&raw mut condition, &raw const attributes);
            transmute::<pthread_cond_t, [u32; WORDS]>(condition)
        }
    }
    let mut found = FOUND.load(Ordering::Relaxed);
    if found == 0 {
        let none = made(CLOCK_REALTIME, libc::PTHREAD_PROCESS_PRIVATE);
        let both = made(CLOCK_MONOTONIC, libc::PTHREAD_PROCESS_SHARED);
        let clock = made(CLOCK_MONOTONIC, libc::PTHREAD_PROCESS_PRIVATE);
        let word = (0..WORDS).find(|&at| (none[at], clock[at], both[at]) == (0, 2, 3));
        found = word.map_or(IN_NONE, |word| word + 1);
        FOUND.store(found, Ordering::Relaxed);
    }
    let word = (found != IN_NONE).then(|| found - 1)?;
    // SAFETY: the caller's condition variable. Other bits of the word are written by those who wait.
    Some(unsafe { &*condition.cast::<AtomicU32>().add(word) }.load(Ordering::Relaxed) & 3)
}

/// # Safety
///
/// As of libc's function; `clock`: `None` is that of the condition variable.
unsafe fn wait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    clock: Option<clockid_t>,
    moment: *const timespec,
    block: impl FnOnce() -> c_int,
) -> c_int {
    if !may_park_anywhere() {
        return block();
    }
    let attributes = attributes(condition);
    let shared = (MUTEX.is_shared)(mutex) || attributes.is_none_or(|attributes| attributes & 1 != 0);
    if !may_wait(shared) {
        return block();
    }
    let own = if attributes.is_some_and(|attributes| attributes & 2 != 0) { CLOCK_MONOTONIC } else { CLOCK_REALTIME };
    let until = if moment.is_null() { Until::Ever } else { Until::Moment(clock.unwrap_or(own), moment) };
    // SAFETY: as the caller promises.
    let Some(deadline_ns) = (unsafe { until.deadline() }) else { return libc::EINVAL };
    let at = address(condition);
    // ORDERING: SeqCst: before the mutex is unlocked; its partner is the count in `tell`.
    let before = signals(at).load(Ordering::SeqCst);
    // SAFETY: as the caller promises.
    let unlocked = unsafe { pthread_mutex_unlock(mutex) };
    if unlocked != 0 {
        return unlocked;
    }
    FUTEXES.add();
    // ORDERING: SeqCst: the same.
    let end = address_wait(at, deadline_ns, || signals(at).load(Ordering::SeqCst) != before);
    // SAFETY: as the caller promises.
    match unsafe { pthread_mutex_lock(mutex) } {
        0 if end == FutexEnd::TimedOut => libc::ETIMEDOUT,
        result => result,
    }
}

/// # Safety
///
/// As of libc's function.
pub unsafe fn pthread_cond_wait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t) -> c_int {
    type Wait = unsafe extern "C-unwind" fn(*mut pthread_cond_t, *mut pthread_mutex_t) -> c_int;
    // SAFETY: the type of the function of this name; as the caller promises.
    unsafe {
        let block = || transmute::<*mut c_void, Wait>(COND_WAIT.get())(condition, mutex);
        wait(condition, mutex, None, null(), block)
    }
}

/// # Safety
///
/// As of libc's function.
pub unsafe fn pthread_cond_timedwait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    moment: *const timespec,
) -> c_int {
    type Wait = unsafe extern "C-unwind" fn(*mut pthread_cond_t, *mut pthread_mutex_t, *const timespec) -> c_int;
    // SAFETY: the type of the function of this name; as the caller promises.
    unsafe {
        let block = || transmute::<*mut c_void, Wait>(COND_TIMEDWAIT.get())(condition, mutex, moment);
        wait(condition, mutex, None, moment, block)
    }
}

/// # Safety
///
/// As of libc's function.
pub unsafe fn pthread_cond_clockwait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    moment: *const timespec,
) -> c_int {
    type Wait =
        unsafe extern "C-unwind" fn(*mut pthread_cond_t, *mut pthread_mutex_t, clockid_t, *const timespec) -> c_int;
    // SAFETY: the type of the function of this name; as the caller promises.
    unsafe {
        let block = || transmute::<*mut c_void, Wait>(COND_CLOCKWAIT.get())(condition, mutex, clock, moment);
        wait(condition, mutex, Some(clock), moment, block)
    }
}

/// # Safety
///
/// As of libc's function, which `signal` is.
unsafe fn tell(signal: &Hidden, condition: *mut pthread_cond_t, most: u32) -> c_int {
    let at = address(condition);
    // ORDERING: SeqCst: the fence in `futex_wake` is after it, and its partner is the look in `wait`.
    signals(at).fetch_add(1, Ordering::SeqCst);
    // SAFETY: the type of the function of this name; as the caller promises.
    let result = unsafe { transmute::<*mut c_void, Of<pthread_cond_t>>(signal.get())(condition) };
    // By the address alone: it may be gone.
    futex_wake(at, most, u32::MAX);
    result
}

/// # Safety
///
/// As of libc's function.
pub unsafe fn pthread_cond_signal(condition: *mut pthread_cond_t) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { tell(&COND_SIGNAL, condition, 1) }
}

/// # Safety
///
/// As of libc's function.
pub unsafe fn pthread_cond_broadcast(condition: *mut pthread_cond_t) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { tell(&COND_BROADCAST, condition, u32::MAX) }
}
