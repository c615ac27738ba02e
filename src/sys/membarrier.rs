//! A pair of fences of which one costs nothing: what a thread does often is fenced by [`light`], what another does seldom by [`heavy`].
//!
//! Two fences, one of each kind, order what stands before and behind them as two sequentially consistent fences would. On Linux
//! membarrier(2) has every processor that runs a thread of this process make a full fence, so the other side needs to hold back the
//! compiler only. Elsewhere, and under Miri, both are fences.

use std::io;

use crate::base::atomic::Ordering;
#[cfg(all(target_os = "linux", not(miri)))]
use crate::base::atomic::compiler_fence;
#[cfg(any(not(target_os = "linux"), miri))]
use crate::base::atomic::fence;

/// The side that passes often.
#[inline(always)]
pub(crate) fn light() {
    // ORDERING: SeqCst pairs with `heavy`.
    #[cfg(all(target_os = "linux", not(miri)))]
    compiler_fence(Ordering::SeqCst);
    // ORDERING: the same.
    #[cfg(any(not(target_os = "linux"), miri))]
    fence(Ordering::SeqCst);
}

/// The side that passes seldom: some microseconds.
///
/// # Errors
///
/// `Unsupported`: the kernel has no membarrier(2), or forbids it.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn heavy() -> io::Result<()> {
    const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;
    // SAFETY: membarrier takes no pointer.
    let call = |command: libc::c_int| unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 };
    // A process has to register before its first call, and again after a fork: a refused call says so.
    if call(PRIVATE_EXPEDITED) || call(REGISTER_PRIVATE_EXPEDITED) && call(PRIVATE_EXPEDITED) {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    Err(io::Error::new(io::ErrorKind::Unsupported, format!("membarrier(2) is refused: {error}")))
}

/// As above; never an error.
#[cfg(any(not(target_os = "linux"), miri))]
pub(crate) fn heavy() -> io::Result<()> {
    // ORDERING: SeqCst pairs with `light`.
    fence(Ordering::SeqCst);
    Ok(())
}
