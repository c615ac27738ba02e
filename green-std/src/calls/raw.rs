//! System calls, made by the instruction: libc's function `syscall` is one of those that this crate defines.

use std::ffi::{c_int, c_long};

/// A result below zero is an error: its number, negative.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) unsafe fn call(number: c_long, args: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the kernel's convention: it changes rax, rcx and r11; what the call does with memory is the caller's promise.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// A result below zero is an error: its number, negative.
#[cfg(target_arch = "aarch64")]
#[inline]
pub(crate) unsafe fn call(number: c_long, args: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the kernel's convention: it changes x0; what the call does with memory is the caller's promise.
    unsafe {
        std::arch::asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") args[0] as isize => result,
            in("x1") args[1],
            in("x2") args[2],
            in("x3") args[3],
            in("x4") args[4],
            in("x5") args[5],
            options(nostack),
        );
    }
    result
}

/// A call whose result libc gives as it is.
pub(crate) const fn error(number: c_int) -> isize {
    -(number as isize)
}

pub(crate) const AGAIN: isize = error(libc::EAGAIN);

/// What libc's functions return: -1 and `errno` for an error.
#[inline]
pub(crate) fn returned(result: isize) -> isize {
    if (-4095..0).contains(&result) {
        // SAFETY: the calling thread's own.
        unsafe { *libc::__errno_location() = -result as c_int };
        return -1;
    }
    result
}

/// The same, of functions that return an `int`.
pub(crate) fn returned_int(result: isize) -> c_int {
    returned(result) as c_int
}

/// The address of something, as an argument; of nothing, zero.
pub(crate) fn address<T>(of: *const T) -> usize {
    of.expose_provenance()
}
