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

/// Asks Valgrind for something (its manual, "The Client Request mechanism"): it knows these instructions, which nobody else would write. Without it, 0.
#[cfg(green_valgrind)]
pub(crate) fn ask_valgrind(request: [usize; 6]) -> usize {
    let answer;
    // SAFETY: what the processor does leaves all as it was: the rotations by 128 bits together, and the or of a register with itself.
    unsafe {
        std::arch::asm!(
            "ror x12, x12, #3",
            "ror x12, x12, #13",
            "ror x12, x12, #51",
            "ror x12, x12, #61",
            "orr x10, x10, x10",
            in("x4") request.as_ptr(),
            inout("x3") 0_usize => answer,
            options(nostack)
        );
    }
    answer
}

/// A word that others may change meanwhile: read so that neither the compiler nor a sanitizer makes anything of it.
///
/// # Safety
///
/// The word is mapped, and aligned.
#[inline(always)]
pub(crate) unsafe fn peek(address: *const usize) -> usize {
    let word;
    // SAFETY: as the caller promises.
    unsafe {
        std::arch::asm!("ldr {}, [{}]", out(reg) word, in(reg) address, options(nostack, preserves_flags, readonly))
    };
    word
}

/// The counter that all processors share.
#[inline(always)]
pub(crate) fn counter() -> u64 {
    let ticks;
    // SAFETY: reads a register.
    unsafe { std::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nostack, preserves_flags, nomem)) };
    ticks
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
