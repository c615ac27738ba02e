//! For aarch64.

use std::arch::{asm, naked_asm};

use super::Call;

/// The callee-saved registers of AAPCS64. Of v8 to v15 the low halves are.
pub(crate) const HELD: [&str; 19] = [
    "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "d8", "d9", "d10", "d11", "d12",
    "d13", "d14", "d15",
];

/// Fills [`HELD`] from `registers`, calls `call(arg)`, and stores them back.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn hold(registers: *mut u64, call: Call, arg: *mut ()) {
    naked_asm!(
        "stp x29, x30, [sp, #-176]!",
        "stp x19, x20, [sp, #16]",
        "stp x21, x22, [sp, #32]",
        "stp x23, x24, [sp, #48]",
        "stp x25, x26, [sp, #64]",
        "stp x27, x28, [sp, #80]",
        "stp d8, d9, [sp, #96]",
        "stp d10, d11, [sp, #112]",
        "stp d12, d13, [sp, #128]",
        "stp d14, d15, [sp, #144]",
        "str x0, [sp, #160]",
        "ldp x19, x20, [x0]",
        "ldp x21, x22, [x0, #16]",
        "ldp x23, x24, [x0, #32]",
        "ldp x25, x26, [x0, #48]",
        "ldp x27, x28, [x0, #64]",
        "ldr x29, [x0, #80]",
        "ldp d8, d9, [x0, #88]",
        "ldp d10, d11, [x0, #104]",
        "ldp d12, d13, [x0, #120]",
        "ldp d14, d15, [x0, #136]",
        "mov x0, x2",
        "blr x1",
        "ldr x0, [sp, #160]",
        "stp x19, x20, [x0]",
        "stp x21, x22, [x0, #16]",
        "stp x23, x24, [x0, #32]",
        "stp x25, x26, [x0, #48]",
        "stp x27, x28, [x0, #64]",
        "str x29, [x0, #80]",
        "stp d8, d9, [x0, #88]",
        "stp d10, d11, [x0, #104]",
        "stp d12, d13, [x0, #120]",
        "stp d14, d15, [x0, #136]",
        "ldp x19, x20, [sp, #16]",
        "ldp x21, x22, [sp, #32]",
        "ldp x23, x24, [sp, #48]",
        "ldp x25, x26, [sp, #64]",
        "ldp x27, x28, [sp, #80]",
        "ldp d8, d9, [sp, #96]",
        "ldp d10, d11, [sp, #112]",
        "ldp d12, d13, [sp, #128]",
        "ldp d14, d15, [sp, #144]",
        "ldp x29, x30, [sp], #176",
        "ret",
    )
}

/// The rounding mode of FPCR.
pub(super) const CONTROL_BITS: u64 = 0x00c0_0000;
/// To be flipped.
pub(super) const ROUNDING: [u64; 3] = [0x0040_0000, 0x0080_0000, 0x00c0_0000];

pub(super) fn control() -> u64 {
    let word: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {word}, fpcr", word = out(reg) word, options(nostack)) };
    word
}

/// Sets FPCR from `control`, calls `call(arg)`, stores it back, and restores the former.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn with_control(control: *mut u64, call: Call, arg: *mut ()) {
    naked_asm!(
        "stp x29, x30, [sp, #-32]!",
        "mrs x9, fpcr",
        "stp x9, x19, [sp, #16]",
        "mov x19, x0",
        "ldr x9, [x19]",
        "msr fpcr, x9",
        "mov x0, x2",
        "blr x1",
        "mrs x9, fpcr",
        "str x9, [x19]",
        "ldp x9, x19, [sp, #16]",
        "msr fpcr, x9",
        "ldp x29, x30, [sp], #32",
        "ret",
    )
}

/// Stores a vector at the stack pointer, which the hardware wants aligned; returns by how much it is off.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn aligned_store(arg: *mut ()) -> usize {
    naked_asm!("str q0, [sp, #-16]!", "mov x0, sp", "and x0, x0, #15", "add sp, sp, #16", "ret",)
}
