//! The shim for `asm/x86_64/`.

use super::{MachineContext, UNWINDS, assemble, symbol};

assemble!("../../asm/x86_64/entry.s", "../../asm/x86_64/switch.s");

/// Leaves the running side in `from`, continues `to`, and returns the word that comes with the jump back to `from`.
///
/// # Safety
///
/// * `from` is writable until it is continued; `to` is readable, and the module's invariants 1 to 3 hold for it.
/// * Both may be any address: no Rust reference is made of them.
#[inline(always)]
pub(crate) unsafe fn switch(from: *mut MachineContext, to: *const MachineContext, mut word: usize) -> usize {
    // SAFETY: the text changes what is declared here, and rsp, rbp and rbx, which it brings back from `from`. Without
    // `nostack` the compiler keeps nothing below rsp. The caller vouches for `from` and `to`.
    unsafe {
        std::arch::asm!(
            include_str!("../../asm/x86_64/switch.s"),
            unwinds = const UNWINDS,
            inlateout("rdi") from => _,
            inlateout("rsi") to => _,
            inlateout("rdx") word,
            lateout("r12") _,
            lateout("r13") _,
            lateout("r14") _,
            lateout("r15") _,
            clobber_abi("sysv64"),
        );
    }
    word
}

/// Asks for the cache line at `address`, which need not be valid.
#[inline(always)]
pub(crate) fn prefetch(address: *const u8) {
    // SAFETY: a hint: any address will do.
    unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast()) };
}

/// Asks Valgrind for something (its manual, "The Client Request mechanism"): it knows these instructions, which nobody else would write. Without it, 0.
#[cfg(green_valgrind)]
pub(crate) fn ask_valgrind(request: [usize; 6]) -> usize {
    let answer;
    // SAFETY: what the processor does leaves all as it was, but for the flags: the rotations by 128 bits together, and the exchange of a register with itself.
    unsafe {
        std::arch::asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") request.as_ptr(),
            inout("rdx") 0_usize => answer,
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
        std::arch::asm!("mov {}, [{}]", out(reg) word, in(reg) address, options(nostack, preserves_flags, readonly))
    };
    word
}

/// The thread pointer of the calling thread.
#[cfg(green_thread_locals)]
#[inline(always)]
pub(crate) fn thread_pointer() -> usize {
    let pointer;
    // SAFETY: the ABI keeps the thread pointer's own value in the word that it points to.
    unsafe { std::arch::asm!("mov {}, fs:0", out(reg) pointer, options(nostack, preserves_flags, readonly)) };
    pointer
}

/// Where the caller's stack ends.
#[cfg(green_thread_locals)]
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let pointer;
    // SAFETY: reads a register.
    unsafe { std::arch::asm!("mov {}, rsp", out(reg) pointer, options(nostack, preserves_flags, nomem)) };
    pointer
}

/// Makes thread-locals those at `pointer`.
///
/// # Safety
///
/// The processor has FSGSBASE, and the kernel allows it. `pointer` is the thread pointer of a thread's block, on which no other code runs.
/// The caller uses no thread-local of the one before in the same function.
#[cfg(green_thread_locals)]
#[inline(always)]
pub(crate) unsafe fn set_thread_pointer(pointer: usize) {
    // SAFETY: as the caller promises. The text may change any memory, as far as the compiler knows: it moves no access over it.
    unsafe { std::arch::asm!("wrfsbase {}", in(reg) pointer, options(nostack, preserves_flags)) };
}
