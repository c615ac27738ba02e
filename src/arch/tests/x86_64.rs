//! For x86_64.

use std::arch::{asm, naked_asm};

use super::Call;

/// The callee-saved registers of the System V ABI. No vector register is among them.
pub(crate) const HELD: [&str; 6] = ["rbp", "rbx", "r12", "r13", "r14", "r15"];

/// Fills [`HELD`] from `registers`, calls `call(arg)`, and stores them back.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn hold(registers: *mut u64, call: Call, arg: *mut ()) {
    naked_asm!(
        // With the return address eight words: the stack is aligned for the call.
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rdi",
        "mov rbp, [rdi]",
        "mov rbx, [rdi + 8]",
        "mov r12, [rdi + 16]",
        "mov r13, [rdi + 24]",
        "mov r14, [rdi + 32]",
        "mov r15, [rdi + 40]",
        "mov rdi, rdx",
        "call rsi",
        "pop rdi",
        "mov [rdi], rbp",
        "mov [rdi + 8], rbx",
        "mov [rdi + 16], r12",
        "mov [rdi + 24], r13",
        "mov [rdi + 32], r14",
        "mov [rdi + 40], r15",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// MXCSR without its sticky flags in the low half, the x87 control word in the high half.
pub(super) const CONTROL_BITS: u64 = 0xffff_0000_ffc0;
/// Both rounding fields, to be flipped together.
pub(super) const ROUNDING: [u64; 3] = [0x0400_0000_2000, 0x0800_0000_4000, 0x0c00_0000_6000];

pub(super) fn control() -> u64 {
    let mut word = 0_u64;
    // SAFETY: both instructions store into `word`, six bytes in all.
    unsafe { asm!("stmxcsr [{word}]", "fnstcw [{word} + 4]", word = in(reg) &raw mut word, options(nostack)) };
    word
}

/// Sets both control words from `control`, calls `call(arg)`, stores them back, and restores the former.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn with_control(control: *mut u64, call: Call, arg: *mut ()) {
    naked_asm!(
        // With the return address four words: the stack is aligned for the call.
        "push rbx",
        "sub rsp, 16",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov rbx, rdi",
        "ldmxcsr [rbx]",
        "fldcw [rbx + 4]",
        "mov rdi, rdx",
        "call rsi",
        "stmxcsr [rbx]",
        "fnstcw [rbx + 4]",
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "add rsp, 16",
        "pop rbx",
        "ret",
    )
}

/// Stores a vector where the ABI says that it is aligned, which faults if it is not; returns by how much it is off.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn aligned_store(arg: *mut ()) -> usize {
    naked_asm!("sub rsp, 24", "movaps [rsp], xmm0", "mov rax, rsp", "and rax, 15", "add rsp, 24", "ret",)
}
