//! Floor 1: the context switch, in assembly. All of the crate's assembly is here and in `asm/`.
//!
//! `asm/` holds the text of the switch, which the shim in each architecture's file puts wherever a thread is left, and the
//! entry routine, which is assembled here under a name of its own. What a fiber is, is the business of `fiber`.
//!
//! # Invariants
//!
//! 1. A [`MachineContext`] that is continued was filled by a switch away from it, or by [`MachineContext::fresh`], and has not been
//!    continued since: a saved context is good for one use.
//! 2. It is continued on the OS thread that filled it: the code behind it may hold addresses of thread-locals.
//! 3. Its stack is not touched, unmapped or reused while it is suspended.

use std::mem::offset_of;
use std::ptr::NonNull;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64 as imp;
#[cfg(target_arch = "x86_64")]
use x86_64 as imp;

#[cfg(test)]
pub(crate) mod tests;

#[cfg(green_valgrind)]
pub(crate) use imp::ask_valgrind;
#[cfg(target_arch = "aarch64")]
pub(crate) use imp::counter;
pub(crate) use imp::{peek, prefetch, switch};
#[cfg(green_thread_locals)]
pub(crate) use imp::{set_thread_pointer, stack_pointer, thread_pointer};

unsafe extern "C" {
    #[link_name = symbol!("entry")]
    fn entry_routine();
}

/// May the text of the switch describe itself to unwinders? Without unwinding there may be no tables.
const UNWINDS: u8 = cfg!(panic = "unwind") as u8;

/// What one side of a switch leaves behind. The assembly reads and writes it by offset.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct MachineContext {
    /// The stack pointer.
    sp: *mut u8,
    /// Where the side goes on.
    pc: *const u8,
    /// The frame pointer: rbp, x29.
    fp: *mut u8,
    /// The register that the compiler keeps for itself and so cannot be declared clobbered: rbx, x19.
    base: *mut u8,
}

/// What the entry routine finds at the stack pointer of a fresh context.
#[derive(Debug)]
#[repr(C, align(16))]
struct EntryFrame {
    function: Function,
    arg: *mut (),
}

/// What runs first on a fresh stack. Its result is the last word that the other side gets.
pub(crate) type Function = unsafe extern "C" fn(arg: *mut ()) -> usize;

// The offsets that asm/ draws and uses.
const _: () = assert!(offset_of!(MachineContext, sp) == 0);
const _: () = assert!(offset_of!(MachineContext, pc) == 8);
const _: () = assert!(offset_of!(MachineContext, fp) == 16);
const _: () = assert!(offset_of!(MachineContext, base) == 24);
const _: () = assert!(size_of::<MachineContext>() == 32);
const _: () = assert!(offset_of!(EntryFrame, function) == 0);
const _: () = assert!(offset_of!(EntryFrame, arg) == 8);
// The stack pointer of a fresh context keeps the alignment of the frame's address.
const _: () = assert!(align_of::<EntryFrame>() == 16 && size_of::<EntryFrame>() == 16);

impl MachineContext {
    /// Where the stack pointer of a suspended context is.
    pub(crate) fn sp(&self) -> usize {
        self.sp.addr()
    }

    /// A context that, once continued, calls `function(arg)` on the stack that ends below `top`, and then switches for
    /// good to the side that continued it first.
    ///
    /// # Safety
    ///
    /// * `top` is a multiple of 16, and the stack below it is writable, unused, and guarded at its low end.
    /// * `function` may be called with `arg` when the context is first continued.
    #[inline(always)]
    pub(crate) unsafe fn fresh(top: NonNull<u8>, function: Function, arg: *mut ()) -> MachineContext {
        debug_assert!(top.addr().get().is_multiple_of(align_of::<EntryFrame>()));
        // SAFETY: the caller owns the memory below `top`; the frame is at its very end, aligned as `top` is.
        let frame = unsafe {
            let frame = top.cast::<EntryFrame>().sub(1);
            frame.write(EntryFrame { function, arg });
            frame
        };
        let pc = entry_routine as *const u8;
        MachineContext { sp: frame.as_ptr().cast(), pc, fp: std::ptr::null_mut(), base: std::ptr::null_mut() }
    }
}

/// The name of a routine in the object file. It carries the crate's version: two versions of the crate may be linked
/// into one program.
macro_rules! symbol {
    ($name:literal) => {
        concat!(
            "green_",
            env!("CARGO_PKG_VERSION_MAJOR"),
            "_",
            env!("CARGO_PKG_VERSION_MINOR"),
            "_",
            env!("CARGO_PKG_VERSION_PATCH"),
            "_",
            $name
        )
    };
}
use symbol;

/// Assembles a file of `asm/` with the macros that it is written in.
///
/// * `FUNCTION name` and `END name` open and close a routine. It is hidden: only this crate's code, wherever it is
///   inlined to in the same program or library, refers to it.
/// * `SWITCH` is the text of the switch.
///
/// The object formats differ in how a symbol is spelled and declared. The macros are purged at the end, because with
/// link-time optimisation the assembly of all crates of a program is read as one file.
macro_rules! assemble {
    ($file:literal, $switch:literal) => {
        #[cfg(not(target_vendor = "apple"))]
        std::arch::global_asm!(
            concat!(".macro FUNCTION name\n", ".globl ", symbol!("\\name"), "\n", ".hidden ", symbol!("\\name"), "\n"),
            concat!(".type ", symbol!("\\name"), ", %function\n", ".text\n", ".p2align 6\n"),
            concat!(symbol!("\\name"), ":\n", ".cfi_startproc\n", ".endm\n"),
            concat!(".macro END name\n", ".cfi_endproc\n"),
            concat!(".size ", symbol!("\\name"), ", . - ", symbol!("\\name"), "\n", ".endm\n"),
            concat!(".macro SWITCH\n", include_str!($switch), ".endm\n"),
            include_str!($file),
            ".purgem FUNCTION\n.purgem END\n.purgem SWITCH\n",
            unwinds = const UNWINDS,
        );
        #[cfg(target_vendor = "apple")]
        std::arch::global_asm!(
            concat!(".macro FUNCTION name\n", ".globl _", symbol!("\\name"), "\n"),
            concat!(".private_extern _", symbol!("\\name"), "\n", ".text\n", ".p2align 6\n"),
            concat!("_", symbol!("\\name"), ":\n", ".cfi_startproc\n", ".endm\n"),
            concat!(".macro END name\n", ".cfi_endproc\n", ".endm\n"),
            concat!(".macro SWITCH\n", include_str!($switch), ".endm\n"),
            include_str!($file),
            ".purgem FUNCTION\n.purgem END\n.purgem SWITCH\n",
            unwinds = const UNWINDS,
        );
    };
}
use assemble;
