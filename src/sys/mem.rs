//! Address space: reserving it, guarding it, giving its pages back.
//!
//! Linux has four things that the others lack and that every caller can do without: guards that cost no mapping
//! (`MADV_GUARD_INSTALL`, 6.13), advice for many ranges in one call on oneself (`process_madvise` with `PIDFD_SELF`,
//! 6.14), pages on request (`MADV_POPULATE_WRITE`, 5.14) and `MAP_NORESERVE` that means something.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};

use crate::base::atomic::{AtomicUsize, Ordering};

/// A range of whole pages: laid out as the system's `iovec`, so that a slice of them is handed over as it is.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pages {
    pub(crate) base: NonNull<u8>,
    pub(crate) len: usize,
}

/// The most ranges that one call of [`discard`] or [`install_guards`] takes.
pub(crate) const MAX_RANGES: usize = 64;

/// The system's page size. Safe in a signal handler.
pub(crate) fn page_size() -> usize {
    static SIZE: AtomicUsize = AtomicUsize::new(0);
    // ORDERING: Relaxed: the value is all there is, and every thread computes the same.
    let known = SIZE.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    // SAFETY: no requirements.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    SIZE.store(size, Ordering::Relaxed);
    size
}

/// Reserves `len` bytes of private, zeroed memory that costs pages only where it is touched, never huge ones.
pub(crate) fn reserve(len: usize) -> io::Result<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANON | os::MAP_NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let base = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    os::refuse_huge_pages(base, len);
    Ok(NonNull::new(base.cast()).expect("the kernel maps nothing at address zero unasked"))
}

/// Maps a page at `address` for ever, which nobody may touch, unless something is there. True: it is this call's.
#[cfg(green_thread_locals)]
pub(crate) fn claim(address: usize) -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: nothing that exists is replaced.
    let at = unsafe { libc::mmap(ptr::without_provenance_mut(address), page_size(), libc::PROT_NONE, flags, -1, 0) };
    if at == libc::MAP_FAILED || at.addr() == address {
        return at != libc::MAP_FAILED;
    }
    // Linux before 4.17 takes the address for a wish.
    // SAFETY: it was just mapped, and nobody knows of it.
    unsafe { libc::munmap(at, page_size()) };
    false
}

/// Unmaps `pages`.
///
/// # Safety
///
/// They come from [`reserve`] and nobody uses them any more.
pub(crate) unsafe fn unmap(pages: Pages) {
    // SAFETY: the caller vouches that the range is ours and unused.
    unsafe { libc::munmap(pages.base.as_ptr().cast(), pages.len) };
}

/// Makes every access to `pages` fault, at the price of splitting their mapping.
///
/// # Safety
///
/// They come from [`reserve`] and nobody accesses them any more.
pub(crate) unsafe fn protect(pages: Pages) -> io::Result<()> {
    // SAFETY: the caller vouches that the range is ours and unused.
    match unsafe { libc::mprotect(pages.base.as_ptr().cast(), pages.len, libc::PROT_NONE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes every access to the given ranges fault without splitting their mapping. Says how many ranges, from the first
/// on, have been done; the rest the kernel refused. Only where [`guard_advice_works`].
///
/// # Safety
///
/// As for [`protect`].
pub(crate) unsafe fn install_guards(ranges: &[Pages]) -> usize {
    // SAFETY: the caller vouches that the ranges are ours and unused.
    unsafe { advise(ranges, os::GUARD_INSTALL) }
}

/// Gives the memory of the ranges back; it reads as zeros, or as before, until it is written again.
///
/// # Safety
///
/// They come from [`reserve`] and nobody needs their content.
pub(crate) unsafe fn discard(ranges: &[Pages]) {
    // SAFETY: the caller vouches for the ranges. A refusal leaves the memory resident, which is allowed.
    unsafe { advise(ranges, os::DISCARD) };
}

/// Which of the pages are in memory: an odd byte in `states` for each that is. False: the system does not say.
pub(crate) fn residency(pages: Pages, states: &mut [u8]) -> bool {
    debug_assert!(states.len() >= pages.len / page_size());
    // SAFETY: it accesses none of the pages, and writes a byte for each.
    unsafe { libc::mincore(pages.base.as_ptr().cast(), pages.len, states.as_mut_ptr().cast()) == 0 }
}

/// Does the kernel really install guards on request?
///
/// qemu-user answers success to any advice and does nothing. So an advice that does not exist must be refused, and a
/// guard must make the kernel refuse to read from the page.
pub(crate) fn guard_advice_works() -> bool {
    const NO_SUCH_ADVICE: libc::c_int = 0x7ffe;
    let Ok(base) = reserve(page_size()) else { return false };
    let page = Pages { base, len: page_size() };
    // SAFETY: the page was just reserved here and nobody else knows it.
    unsafe {
        let honest = advise(&[page], NO_SUCH_ADVICE) == 0;
        let works = honest && install_guards(&[page]) == 1 && faults(base);
        unmap(page);
        works
    }
}

/// Would an access to this byte fault? Asks the kernel to read it, so nothing happens if it does.
pub(crate) fn faults(byte: NonNull<u8>) -> bool {
    let Ok((_reader, writer)) = io::pipe() else { return false };
    // SAFETY: the kernel checks the address itself and answers EFAULT if it cannot be read.
    let wrote = unsafe { libc::write(writer.as_raw_fd(), byte.as_ptr().cast(), 1) };
    wrote == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

/// Gives one advice for all ranges, in one call where the kernel takes them so.
///
/// # Safety
///
/// The ranges are the caller's, and the advice is one whose effect it wants.
unsafe fn advise(ranges: &[Pages], advice: libc::c_int) -> usize {
    debug_assert!(ranges.len() <= MAX_RANGES);
    // SAFETY: passed on.
    let mut done = if ranges.len() > 1 { unsafe { os::advise_at_once(ranges, advice) } } else { 0 };
    while let Some(range) = ranges.get(done) {
        // SAFETY: passed on.
        if unsafe { libc::madvise(range.base.as_ptr().cast(), range.len, advice) } != 0 {
            break;
        }
        done += 1;
    }
    done
}

/// Has the pages that lie wholly in `block` brought into memory by one system call, where there is such a one: a first touch
/// of each would cost a fault.
pub(crate) fn populate(block: &mut [MaybeUninit<u8>]) {
    let mask = page_size() - 1;
    let begin = block.as_mut_ptr().map_addr(|address| (address + mask) & !mask);
    let end = block.as_mut_ptr_range().end.addr() & !mask;
    if let Some(len) = end.checked_sub(begin.addr())
        && len > 0
    {
        os::populate(begin.cast(), len);
    }
}

#[cfg(target_os = "linux")]
mod os {
    use std::mem::{align_of, offset_of, size_of};

    use super::Pages;
    use crate::base::atomic::{AtomicUsize, Ordering};

    pub(super) const MAP_NORESERVE: libc::c_int = libc::MAP_NORESERVE;
    pub(super) const DISCARD: libc::c_int = libc::MADV_DONTNEED;
    /// `MADV_GUARD_INSTALL`, which libc does not name yet.
    pub(super) const GUARD_INSTALL: libc::c_int = 102;
    /// `PIDFD_SELF`, which libc does not name yet.
    const PIDFD_SELF: libc::c_int = -10_000;

    const _: () = assert!(
        size_of::<Pages>() == size_of::<libc::iovec>()
            && align_of::<Pages>() == align_of::<libc::iovec>()
            && offset_of!(Pages, base) == offset_of!(libc::iovec, iov_base)
            && offset_of!(Pages, len) == offset_of!(libc::iovec, iov_len)
    );

    pub(super) fn refuse_huge_pages(base: *mut libc::c_void, len: usize) {
        // SAFETY: the range is the caller's new mapping. A kernel without huge pages refuses, which is as good.
        unsafe { libc::madvise(base, len, libc::MADV_NOHUGEPAGE) };
    }

    pub(super) fn populate(base: *mut libc::c_void, len: usize) {
        // SAFETY: the range is the caller's, and keeps its content. Older kernels refuse, which is as good.
        unsafe { libc::madvise(base, len, libc::MADV_POPULATE_WRITE) };
    }

    /// One system call for all ranges. Says how many were done: none where the kernel does not know the call.
    ///
    /// # Safety
    ///
    /// As for `advise`.
    pub(super) unsafe fn advise_at_once(ranges: &[Pages], advice: libc::c_int) -> usize {
        static REFUSED: AtomicUsize = AtomicUsize::new(0);
        // ORDERING: Relaxed: a hint; a caller that misses it asks the kernel once more.
        if REFUSED.load(Ordering::Relaxed) != 0 {
            return 0;
        }
        // SAFETY: the kernel reads `len` iovecs, which `Pages` is laid out as; the caller vouches for the rest.
        let advised =
            unsafe { libc::syscall(libc::SYS_process_madvise, PIDFD_SELF, ranges.as_ptr(), ranges.len(), advice, 0) };
        let Ok(mut advised) = usize::try_from(advised) else {
            let error = std::io::Error::last_os_error().raw_os_error();
            if matches!(error, Some(libc::ENOSYS | libc::EBADF | libc::EPERM)) {
                REFUSED.store(1, Ordering::Relaxed);
            }
            return 0;
        };
        let whole = |range: &&Pages| {
            let done = range.len <= advised;
            advised = advised.saturating_sub(range.len);
            done
        };
        ranges.iter().take_while(whole).count()
    }
}

#[cfg(not(target_os = "linux"))]
mod os {
    use super::Pages;

    /// These systems do not set memory aside for a mapping before it is touched.
    pub(super) const MAP_NORESERVE: libc::c_int = 0;
    /// `MADV_DONTNEED` keeps the pages here; this one lets the system take them when it wants them.
    pub(super) const DISCARD: libc::c_int = libc::MADV_FREE;
    /// Nothing that exists, so that the probe fails.
    pub(super) const GUARD_INSTALL: libc::c_int = 0x7ffe;

    pub(super) fn refuse_huge_pages(_base: *mut libc::c_void, _len: usize) {}

    pub(super) fn populate(_base: *mut libc::c_void, _len: usize) {}

    /// # Safety
    ///
    /// None; it does nothing.
    pub(super) unsafe fn advise_at_once(_ranges: &[Pages], _advice: libc::c_int) -> usize {
        0
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::io;
    use std::num::NonZeroUsize;

    use super::{NonNull, Pages, page_size, residency};

    /// Locks `pages` in memory, which makes the kernel refuse guards by advice there.
    pub(crate) fn lock(pages: Pages) -> io::Result<()> {
        // SAFETY: it changes no content.
        match unsafe { libc::mlock(pages.base.as_ptr().cast(), pages.len) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Is the page that holds `byte` in memory?
    pub(crate) fn is_resident(byte: NonNull<u8>) -> bool {
        let mut state = [0];
        let base = byte.map_addr(|address| {
            NonZeroUsize::new(address.get() & !(page_size() - 1)).expect("nothing is mapped at address zero")
        });
        residency(Pages { base, len: page_size() }, &mut state) && state[0] & 1 == 1
    }
}
