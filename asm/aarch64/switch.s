// The context switch for aarch64, AAPCS64 and Apple's variant. x86_64/switch.s mirrors this file line for line.
//
// This file is not a routine. The shim (`switch` in src/arch/aarch64.rs) inlines its text, by `asm!`, at every suspension
// point. Every point therefore has an indirect jump of its own, and the branch predictor learns one target for each: a
// worker's loop jumps to many fibers, but a fiber always jumps back to that loop.
//
// WHAT IS SAVED, AND WHERE
//
// Each side of a switch (the hub, the fiber) has a save area of 32 bytes, `MachineContext` in src/arch/mod.rs:
//
//      0         8         16        24        32
//      +---------+---------+---------+---------+
//      | sp      | pc      | fp      | base    |
//      | sp      | pc      | x29     | x19     |
//      +---------+---------+---------+---------+
//
// The two areas of a fiber share one cache line at the top of its own stack (src/fiber/asm.rs), so a switch touches
// one line, and a debugger finds sp, pc and fp of a suspended fiber at a known place.
//
//      SUSPENDED                        RUNNING                          FRESH
//
//      +------------------+ top         +------------------+ top         +------------------+ top
//      | hub area: stale  |             | hub area: in use |             | hub area: stale  |
//      | own area: sp,pc..|             | own area: stale  |             | own area: sp, pc = `entry`,
//      +------------------+             +------------------+             |           fp = 0 |
//      | frames of the    |             | frames of the    |             +------------------+
//      | fiber's code     |             | fiber's code     |             | +8  argument     |
//      |                  |             |        :         |             | +0  function     | <- sp (16-aligned)
//      | frame that holds |             |        v         | <- sp       +------------------+
//      | this text        | <- sp       +------------------+
//      +------------------+
//
// The shim is inlined into its caller. It declares every register clobbered that inline assembly can declare, so the
// compiler saves just the live ones, in the caller's own frame. What remains is what it cannot declare: sp, pc, and
// x29 and x19, which LLVM keeps for itself.
//
// Neither `bl` nor `ret` is on the path: a `ret` onto another stack is mispredicted every time, and a `bl` without
// its `ret` (or the reverse) shifts the return predictor for all the frames above. With neither, the predictor does
// not notice that a switch took place.
//
// SPECIAL STATE
//
//   red zone     none on Linux, 128 bytes at Apple's. The shim does not say `nostack`, so its caller keeps nothing below
//                sp. sp is a multiple of 16 at all times: the hardware checks it.
//   x18          the platform's (Apple, Android's shadow call stack), or an ordinary caller-saved register: not touched.
//   x30          clobbered for the shim's caller, which saves it like any other register that it needs.
//   v8 - v15     the low halves are callee-saved in this ABI; the shim declares them clobbered in full: not saved here.
//   FPCR, FPSR   the control bits are callee-saved by the ABI, but Rust code runs in the default floating-point
//                environment only and has no business to change it: not saved and not touched. Who changes it through
//                C or assembly restores it before anything that suspends.
//   tpidr_el0    belongs to the OS thread; fiber and hub run on the same one: not touched. A fiber with thread-locals of
//                its own sets it before this text and after it (src/fiber/own.rs).
//   BTI          every address that is jumped to indirectly starts with `bti j` (spelled as its hint: a no-op on older
//                processors and assemblers).
//   GCS          a guarded control stack would need its pointer switched as well; not supported. The object does not
//                carry the GCS mark, so the loader leaves the feature off.
//   PAC          nothing is signed here. Addresses that the compiler signed with sp stay valid: sp is the same when the
//                fiber goes on, and the keys are the process's.
//   SVE, SME     z registers are caller-saved above their low 64 bits; streaming mode and ZA are off at any ordinary
//                call boundary, and the shim is one: not saved.

// switch: leaves one context and continues another.
//   in   x0   save area to fill             out  x0   as in: the area of the side that has just been left
//        x1   save area to continue               x1   as in: the area that the new side continues from
//        x2   the word to carry over              x2   the word

        // Leave: two paired stores into one line. x9 is where this side goes on.
        adr     x9, 2f
        mov     x10, sp
        stp     x10, x9, [x0]
        stp     x29, x19, [x0, #16]

        // Continue: between here and the jump the registers belong to neither side, so a profiler's unwinder that
        // stops here must not go on. (Code that is built without unwinding may have no tables to say so in.)
        .if     {unwinds}
        .cfi_remember_state
        .cfi_undefined x30
        .endif
        ldp     x10, x9, [x1]
        ldp     x29, x19, [x1, #16]
        mov     sp, x10
        br      x9
        .if     {unwinds}
        .cfi_restore_state
        .endif

        // Here the other side's jump leads: everything is as it was left.
2:      hint    #36
