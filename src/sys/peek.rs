//! Reads memory of this process that may be gone.
//!
//! A look at what somebody else uses may come too late: the memory is used for something else by then, or is mapped no more. The kernel
//! does not mind: asked to write from there into a pipe, it copies what is there, or says `EFAULT`. What is read means something only if it is known
//! *afterwards* that the memory was still what it is taken for.
//!
//! A process that has used up its descriptors, which is one to be looked at, has none for a pipe. Linux reads there by `process_vm_readv` on the process itself, too, which needs none. It is not the
//! first way: a container may have it refused, as it is a debugger's call.
//!
//! # Invariants
//!
//! 1. The pipe is empty between two calls, and has room for [`MOST`] bytes: no call waits.
//!
//! The calls are the kernel's own, not those of libc, which a program may have defined anew so that they park: whoever reads here has locks.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsRawFd;

/// Bytes that are read at a time.
pub(crate) const MOST: usize = 512;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Peek {
    /// `None`: the system has no two descriptors left.
    pipe: Option<(PipeReader, PipeWriter)>,
}

impl Peek {
    pub(crate) fn new() -> Self {
        Self { pipe: io::pipe().ok() }
    }

    /// Fills `into`, which is no longer than [`MOST`], with the bytes at `address`. False: there is no memory any more.
    #[must_use]
    pub(crate) fn read(&self, address: usize, into: &mut [u8]) -> bool {
        assert!(into.len() <= MOST);
        let Some((from, to)) = &self.pipe else { return read_without(address, into) };
        let place = std::ptr::without_provenance::<libc::c_void>(address);
        // SAFETY: only the kernel reads there, and it takes any address. Invariant 1: this does not wait.
        let written = unsafe { write(to.as_raw_fd(), place, into.len()) };
        let Ok(written) = usize::try_from(written) else { return false };
        // Some, if the mapped memory ends in between: they leave the pipe, too.
        // SAFETY: as many bytes are in the pipe, and `into` has room for them.
        let read = unsafe { read(from.as_raw_fd(), into.as_mut_ptr().cast(), written) };
        usize::try_from(read) == Ok(written) && written == into.len()
    }

    /// The word at `address`.
    pub(crate) fn word(&self, address: usize) -> Option<usize> {
        let mut bytes = [0; size_of::<usize>()];
        self.read(address, &mut bytes).then(|| usize::from_ne_bytes(bytes))
    }

    /// The 64 bits at `address`.
    pub(crate) fn u64(&self, address: usize) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes).then(|| u64::from_ne_bytes(bytes))
    }

    /// The `str` whose address and length are at `address`; no longer than [`MOST`] bytes. `Some(None)`: null is.
    pub(crate) fn text(&self, address: usize) -> Option<Option<Box<str>>> {
        let start = self.word(address)?;
        if start == 0 {
            return Some(None);
        }
        let mut bytes = [0; MOST];
        let len = self.word(address.wrapping_add(size_of::<usize>()))?.min(MOST);
        self.read(start, &mut bytes[..len]).then(|| Some(String::from_utf8_lossy(&bytes[..len]).into()))
    }
}

/// As [`Peek::read`], without a descriptor.
#[cfg(target_os = "linux")]
fn read_without(address: usize, into: &mut [u8]) -> bool {
    let from = libc::iovec { iov_base: std::ptr::without_provenance_mut(address), iov_len: into.len() };
    let to = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let (process, no_flags) = (std::process::id() as libc::pid_t, 0 as libc::c_ulong);
    // SAFETY: it writes to `into`, as much as there is room for; only the kernel reads at `address`, and it takes any.
    let read = unsafe {
        libc::syscall(libc::SYS_process_vm_readv, process, &raw const to, 1_usize, &raw const from, 1_usize, no_flags)
    };
    usize::try_from(read) == Ok(into.len())
}

/// There is no such call.
#[cfg(not(target_os = "linux"))]
fn read_without(_: usize, _: &mut [u8]) -> bool {
    false
}

/// # Safety
///
/// None but what the kernel checks.
#[cfg(target_os = "linux")]
unsafe fn write(to: libc::c_int, from: *const libc::c_void, len: usize) -> isize {
    // SAFETY: the kernel reads there, or says that it cannot.
    unsafe { libc::syscall(libc::SYS_write, to, from, len) as isize }
}

/// # Safety
///
/// There is room for so many bytes.
#[cfg(target_os = "linux")]
unsafe fn read(from: libc::c_int, into: *mut libc::c_void, len: usize) -> isize {
    // SAFETY: as the caller promises.
    unsafe { libc::syscall(libc::SYS_read, from, into, len) as isize }
}

/// Nobody defines these anew here.
#[cfg(not(target_os = "linux"))]
use libc::{read, write};

#[cfg(all(test, not(miri), not(green_sanitized)))]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn what_is_there_is_read_and_what_is_not_is_no_fault() {
        reads_what_is_there(&Peek::new());
    }

    /// An emulator may not know the call.
    #[cfg(all(target_os = "linux", not(green_emulated)))]
    #[test]
    fn without_a_descriptor_what_is_there_is_read_and_what_is_not_is_no_fault() {
        reads_what_is_there(&Peek { pipe: None });
    }

    fn reads_what_is_there(peek: &Peek) {
        let value = black_box(0x1234_5678_9abc_def0_u64);
        assert_eq!(peek.u64((&raw const value).addr()), Some(value));
        assert_eq!(peek.u64(8), None);
        assert_eq!(peek.u64(usize::MAX - 7), None);
        let text: Box<str> = black_box("a name".into());
        assert_eq!(peek.text((&raw const text).addr()), Some(Some("a name".into())));
        let none: Option<Box<str>> = black_box(None);
        assert_eq!(peek.text((&raw const none).addr()), Some(None));
    }

    #[test]
    fn a_read_beyond_the_end_of_a_mapping_leaves_nothing_for_the_next_one() {
        let peek = Peek::new();
        let page = crate::sys::mem::page_size();
        // SAFETY: fresh mappings, of which one page is given back; nothing else is there.
        let end = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let base = libc::mmap(std::ptr::null_mut(), 2 * page, libc::PROT_READ, flags, -1, 0);
            assert_ne!(base, libc::MAP_FAILED);
            assert_eq!(libc::munmap(base.byte_add(page), page), 0);
            base.addr() + page
        };
        assert!(!peek.read(end - 4, &mut [0; 8]));
        let value = black_box(7_u64);
        assert_eq!(peek.u64((&raw const value).addr()), Some(7));
    }
}
