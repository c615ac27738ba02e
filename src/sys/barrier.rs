//! Two fences for two sides that each write a word and then read the other's, where one side is there often and the other seldom.
//!
//! As of two SeqCst fences, at least one side sees what the other has written. On Linux the light one costs nothing: it only keeps the
//! compiler from moving anything over it, and the heavy one has all processors on which threads of the process run do the fence for the other side
//! (membarrier(2), since 4.14). Where the system knows no such call both are plain fences.

use crate::base::atomic::{Ordering, fence};

/// On the side that is there often.
#[inline(always)]
pub(crate) fn light() {
    // ORDERING: SeqCst either way: the partner of the fence in `heavy`.
    if imp::is_asymmetric() {
        std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// On the side that is there seldom: some microseconds.
pub(crate) fn heavy() {
    // ORDERING: the partner of the fence in `light`.
    fence(Ordering::SeqCst);
    imp::fence_all();
}

pub(crate) use imp::prepare;

#[cfg(target_os = "linux")]
mod imp {
    use crate::base::abort::fatal;
    use crate::base::atomic::{AtomicBool, Ordering};

    static ASYMMETRIC: AtomicBool = AtomicBool::new(false);

    fn membarrier(command: libc::c_int) -> bool {
        // SAFETY: the call touches no memory of ours.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }

    fn register() -> bool {
        membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
    }

    /// Makes the light fence light, if the system can do that. Called before there is anybody on either side.
    pub(crate) fn prepare() {
        if register() {
            ASYMMETRIC.store(true, Ordering::Relaxed);
        }
    }

    #[inline(always)]
    pub(super) fn is_asymmetric() -> bool {
        ASYMMETRIC.load(Ordering::Relaxed)
    }

    pub(super) fn fence_all() {
        let fence = || membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED);
        // The second try: a child of fork registers for itself.
        if is_asymmetric() && !(fence() || register() && fence()) {
            fatal(format_args!("membarrier has failed: {}", std::io::Error::last_os_error()));
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    pub(crate) fn prepare() {}

    pub(super) fn is_asymmetric() -> bool {
        false
    }

    pub(super) fn fence_all() {}
}
