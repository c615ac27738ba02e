//! What AddressSanitizer is told, in a build that has it: which stack code runs on, and which memory is free.
//!
//! It keeps a shadow of each stack: which bytes no frame owns, and, for locals whose address is taken, a heap of frames beside
//! the stack (the *fake stack*), so that it sees a use of one after its function's return. So code that leaves a stack says
//! which one it goes to, and code that arrives fetches its own fake stack. Untold, AddressSanitizer takes the frames of all
//! green threads for those of one stack: after an unwinding, which clears the shadow from here to the end of the stack, it
//! reports what is right.
//!
//! ThreadSanitizer keeps a list of the frames of each OS thread, by the calls and returns that it sees. Untold, it takes what green threads call for calls of one another: then a report shows
//! the frames of others, and the list, of 65 536, is full when some thousands of threads wait. So each is a *fiber* to it ([`KnownFiber`]). What happens on an OS thread
//! stays one order, as each switch is one that it may take for that. It knows some eight thousand of them; those beyond are not told.
//!
//! In other builds nothing of this is there: [`Bounds`], [`Left`] and [`KnownFiber`] are empty.

#[cfg(green_backend = "asm")]
pub(crate) use fibers::KnownFiber;
pub(crate) use imp::Bounds;
#[cfg(green_backend = "asm")]
pub(crate) use imp::Left;
#[cfg(green_thread_locals)]
pub(crate) use imp::{IS_THERE, thread_key};

#[cfg(all(green_sanitized, green_sanitizer = "address"))]
mod imp {
    use std::ffi::c_void;
    use std::ptr::{self, NonNull};

    unsafe extern "C" {
        #[cfg(green_backend = "asm")]
        fn __sanitizer_start_switch_fiber(save: *mut *mut c_void, bottom: *const c_void, len: usize);
        #[cfg(green_backend = "asm")]
        fn __sanitizer_finish_switch_fiber(save: *mut c_void, bottom: *mut *const c_void, len: *mut usize);
        fn __asan_poison_memory_region(base: *const c_void, len: usize);
        fn __asan_unpoison_memory_region(base: *const c_void, len: usize);
    }

    /// Where a stack is.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Bounds {
        bottom: *const c_void,
        len: usize,
    }

    /// A stack that was left, and its fake stack.
    #[cfg(green_backend = "asm")]
    #[derive(Debug)]
    #[must_use]
    pub(crate) struct Left(*mut c_void);

    impl Bounds {
        /// Of the stack that a fiber's hub is on, before it has a hub.
        pub(crate) const UNKNOWN: Bounds = Bounds { bottom: ptr::null(), len: 0 };

        #[inline(always)]
        pub(crate) fn new(limit: NonNull<u8>, top: NonNull<u8>) -> Bounds {
            Bounds { bottom: limit.as_ptr().cast(), len: top.addr().get() - limit.addr().get() }
        }

        /// From now on nobody may use the stack.
        pub(crate) fn forbid(self) {
            // SAFETY: it changes the shadow of memory that the caller owns, and has no content in.
            unsafe { __asan_poison_memory_region(self.bottom, self.len) };
        }

        /// Somebody may use it.
        pub(crate) fn allow(self) {
            // SAFETY: as above.
            unsafe { __asan_unpoison_memory_region(self.bottom, self.len) };
        }
    }

    /// Is there a sanitizer that keeps a record of each OS thread?
    #[cfg(green_thread_locals)]
    pub(crate) const IS_THERE: bool = true;

    /// The pthread key under which it keeps what it knows of the calling thread.
    #[cfg(green_thread_locals)]
    pub(crate) fn thread_key() -> Option<u32> {
        const KEYS: u32 = 1024;
        (0..KEYS).find(|&key| {
            // SAFETY: any number will do. It gets its value back at once; what stands between does not look for any key but the sanitizer's.
            unsafe {
                let value = libc::pthread_getspecific(key);
                if value.is_null() {
                    return false;
                }
                libc::pthread_setspecific(key, ptr::null());
                let known = is_known();
                libc::pthread_setspecific(key, value);
                !known
            }
        })
    }

    /// Does it know the calling thread? Only then it notes what it is told.
    #[cfg(green_thread_locals)]
    fn is_known() -> bool {
        let unknown = ptr::dangling_mut();
        let (mut left, mut here) = (unknown, Bounds::UNKNOWN);
        // SAFETY: the stack is not left: it is told of a switch to some stack and of one back.
        unsafe {
            __sanitizer_start_switch_fiber(&raw mut left, ptr::null(), 0);
            if left == unknown {
                return false;
            }
            __sanitizer_finish_switch_fiber(left, &raw mut here.bottom, &raw mut here.len);
            __sanitizer_start_switch_fiber(&raw mut left, here.bottom, here.len);
            __sanitizer_finish_switch_fiber(left, ptr::null_mut(), ptr::null_mut());
        }
        true
    }

    #[cfg(green_backend = "asm")]
    impl Left {
        /// Before a stack is left for another one.
        #[inline(always)]
        pub(crate) fn to(other: Bounds) -> Left {
            let mut left = ptr::null_mut();
            // SAFETY: the switch to that stack comes next.
            unsafe { __sanitizer_start_switch_fiber(&raw mut left, other.bottom, other.len) };
            Left(left)
        }

        /// Before a stack is left for good.
        #[inline(always)]
        pub(crate) fn for_good(other: Bounds) {
            // SAFETY: as above; null gives the fake stack up, in which no frame is left.
            unsafe { __sanitizer_start_switch_fiber(ptr::null_mut(), other.bottom, other.len) };
        }

        /// On a stack that nobody was on before. Says where control came from.
        #[inline(always)]
        pub(crate) fn never() -> Bounds {
            Left(ptr::null_mut()).back()
        }

        /// Back on this stack. Says where control came from.
        #[inline(always)]
        pub(crate) fn back(self) -> Bounds {
            let mut from = Bounds::UNKNOWN;
            // SAFETY: the switch to this stack came last; both locations are written.
            unsafe { __sanitizer_finish_switch_fiber(self.0, &raw mut from.bottom, &raw mut from.len) };
            from
        }
    }
}

#[cfg(not(all(green_sanitized, green_sanitizer = "address")))]
mod imp {
    use std::ptr::NonNull;

    /// Where a stack is: nobody asks.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Bounds;

    /// A stack that was left: nothing to remember.
    #[cfg(green_backend = "asm")]
    #[derive(Debug)]
    pub(crate) struct Left;

    #[cfg(green_thread_locals)]
    pub(crate) const IS_THERE: bool = false;

    #[cfg(green_thread_locals)]
    pub(crate) fn thread_key() -> Option<u32> {
        None
    }

    impl Bounds {
        /// The one value.
        pub(crate) const UNKNOWN: Bounds = Bounds;

        #[inline(always)]
        pub(crate) fn new(_limit: NonNull<u8>, _top: NonNull<u8>) -> Bounds {
            Bounds
        }

        #[inline(always)]
        pub(crate) fn forbid(self) {}

        #[inline(always)]
        pub(crate) fn allow(self) {}
    }

    #[cfg(green_backend = "asm")]
    impl Left {
        #[inline(always)]
        pub(crate) fn to(_other: Bounds) -> Left {
            Left
        }

        #[inline(always)]
        pub(crate) fn for_good(_other: Bounds) {}

        #[inline(always)]
        pub(crate) fn never() -> Bounds {
            Bounds
        }

        #[inline(always)]
        pub(crate) fn back(self) -> Bounds {
            Bounds
        }
    }
}

#[cfg(all(green_sanitized, green_sanitizer = "thread", green_backend = "asm"))]
mod fibers {
    use std::cell::Cell;
    use std::ffi::{c_uint, c_void};
    use std::ptr;

    use crate::base::atomic::{AtomicU32, Ordering};

    unsafe extern "C" {
        fn __tsan_get_current_fiber() -> *mut c_void;
        fn __tsan_create_fiber(flags: c_uint) -> *mut c_void;
        fn __tsan_destroy_fiber(fiber: *mut c_void);
        fn __tsan_switch_to_fiber(fiber: *mut c_void, flags: c_uint);
    }

    /// So many are told at a time: it has room for 8128, OS threads included.
    const MOST: u32 = 6000;

    thread_local! {
        /// The OS thread's own; null: no fiber has run on it.
        static PLAIN: Cell<*mut c_void> = const { Cell::new(ptr::null_mut()) };
    }

    static TOLD: AtomicU32 = AtomicU32::new(0);

    /// A fiber, as the sanitizer knows it.
    #[derive(Debug)]
    pub(crate) struct KnownFiber {
        /// Null: it is not told of this one, whose frames are then its OS thread's, wherever it is resumed.
        own: *mut c_void,
        /// That of the side which has resumed it.
        hub: Cell<*mut c_void>,
    }

    impl KnownFiber {
        pub(crate) fn new() -> Self {
            let room = |told: u32| (told < MOST).then_some(told + 1);
            let is_told = TOLD.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok();
            // SAFETY: it has no conditions.
            let own = if is_told { unsafe { __tsan_create_fiber(0) } } else { ptr::null_mut() };
            Self { own, hub: Cell::new(ptr::null_mut()) }
        }

        /// Before the fiber is resumed.
        #[inline(always)]
        pub(crate) fn is_resumed(&self) {
            // SAFETY: it has no conditions.
            let hub = unsafe { __tsan_get_current_fiber() };
            self.hub.set(hub);
            if PLAIN.get().is_null() {
                PLAIN.set(hub);
            }
            let own = if self.own.is_null() { PLAIN.get() } else { self.own };
            if own != hub {
                // SAFETY: the switch to that fiber comes next, and no other OS thread runs it.
                unsafe { __tsan_switch_to_fiber(own, 0) };
            }
        }

        /// Before it goes back to its hub, on the fiber.
        #[inline(always)]
        pub(crate) fn suspends(&self) {
            let hub = self.hub.get();
            // SAFETY: as above.
            unsafe {
                if __tsan_get_current_fiber() != hub {
                    __tsan_switch_to_fiber(hub, 0);
                }
            }
        }

        /// The hub goes on, as the fiber's first function has returned. Told before, that return would count as one of the hub's.
        #[inline(always)]
        pub(crate) fn has_ended(&self) {
            self.suspends();
        }

        /// It has ended, or never begun.
        pub(crate) fn is_over(&self) {
            if !self.own.is_null() {
                // SAFETY: nobody runs it.
                unsafe { __tsan_destroy_fiber(self.own) };
                TOLD.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(all(not(all(green_sanitized, green_sanitizer = "thread")), green_backend = "asm"))]
mod fibers {
    /// A fiber: nobody knows it.
    #[derive(Debug)]
    pub(crate) struct KnownFiber;

    impl KnownFiber {
        #[inline(always)]
        pub(crate) fn new() -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn is_resumed(&self) {}

        #[inline(always)]
        pub(crate) fn suspends(&self) {}

        #[inline(always)]
        pub(crate) fn has_ended(&self) {}

        #[inline(always)]
        pub(crate) fn is_over(&self) {}
    }
}
