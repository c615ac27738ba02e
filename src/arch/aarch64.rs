//! The shim for `asm/aarch64/`.

use super::{MachineContext, UNWINDS, assemble, symbol};

assemble!("../../asm/aarch64/entry.s", "../../asm/aarch64/switch.s");

/// Leaves the running side in `from`, continues `to`, and returns the word that comes with the jump back to `from`.
///
/// # Safety
///
/// * `from` is writable until it is continued; `to` is readable, and the module's invariants 1 to 3 hold for it.
/// * Both may be any address: no Rust reference is made of them.
#[inline(always)]
pub(crate) unsafe fn switch(from: *mut MachineContext, to: *const MachineContext, mut word: usize) -> usize {
    // SAFETY: the text changes what is declared here, and sp, x29 and x19, which it brings back from `from`. Without
    // `nostack` the compiler keeps nothing below sp. The caller vouches for `from` and `to`.
    unsafe {
        std::arch::asm!(
            include_str!("../../asm/aarch64/switch.s"),
            unwinds = const UNWINDS,
            inlateout("x0") from => _,
            inlateout("x1") to => _,
            inlateout("x2") word,
            lateout("x20") _,
            lateout("x21") _,
            lateout("x22") _,
            lateout("x23") _,
            lateout("x24") _,
            lateout("x25") _,
            lateout("x26") _,
            lateout("x27") _,
            lateout("x28") _,
            lateout("v8") _,
            lateout("v9") _,
            lateout("v10") _,
            lateout("v11") _,
            lateout("v12") _,
            lateout("v13") _,
            lateout("v14") _,
            lateout("v15") _,
            clobber_abi("C"),
        );
    }
    word
}

/// Asks for the cache line at `address`, which need not be valid.
#[inline(always)]
pub(crate) fn prefetch(address: *const u8) {
    // SAFETY: a hint: any address will do.
    unsafe { std::arch::asm!("prfm pldl1keep, [{address}]", address = in(reg) address, options(nostack, readonly)) };
}

/// The thread pointer of the calling thread.
#[cfg(green_thread_locals)]
#[inline(always)]
pub(crate) fn thread_pointer() -> usize {
    let pointer;
    // SAFETY: reads a register.
    unsafe { std::arch::asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, preserves_flags, readonly)) };
    pointer
}

/// Where the caller's stack ends.
#[cfg(green_thread_locals)]
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let pointer;
    // SAFETY: reads a register.
    unsafe { std::arch::asm!("mov {}, sp", out(reg) pointer, options(nostack, preserves_flags, nomem)) };
    pointer
}

/// Makes thread-locals those at `pointer`.
///
/// # Safety
///
/// `pointer` is the thread pointer of a thread's block, on which no other code runs. The caller uses no thread-local of the one before in
/// the same function.
#[cfg(green_thread_locals)]
#[inline(always)]
pub(crate) unsafe fn set_thread_pointer(pointer: usize) {
    // SAFETY: as the caller promises. The text may change any memory, as far as the compiler knows: it moves no access over it.
    unsafe { std::arch::asm!("msr tpidr_el0, {}", in(reg) pointer, options(nostack, preserves_flags)) };
}
