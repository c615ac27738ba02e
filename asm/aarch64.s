// The context switch for aarch64, AAPCS64 and Apple's variant.  x86_64.s mirrors this file line for line.
//
// WHAT IS SAVED, AND WHERE
//
// Each side of a switch (the hub, the fiber) has a save area of 32 bytes, `Context` in src/arch/mod.rs:
//
//      0         8         16        24        32
//      +---------+---------+---------+---------+
//      | sp      | pc      | fp      | base    |
//      | sp      | pc      | x29     | x19     |
//      +---------+---------+---------+---------+
//
// The two areas of a fiber share one cache line at the top of its own stack (src/fiber/asm.rs), so a switch touches
// one line, and who debugs a suspended fiber finds its sp, pc and fp at a known place.
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
//      | the shim         | <- sp       +------------------+
//      +------------------+
//
// The shim (`switch` in src/arch/aarch64.rs) is inlined into its caller. It jumps here and declares every register
// clobbered that inline assembly can declare, so the compiler saves just the live ones, in the caller's own frame.
// What remains is what it cannot declare: sp, pc, and x29 and x19, which LLVM keeps for itself.
//
// Neither `bl` nor `ret` is on the path: a `ret` onto another stack is mispredicted every time, and a `bl` without
// its `ret` (or the reverse) shifts the return predictor for all the frames above. With neither, the predictor does
// not notice that a switch took place.
//
// SPECIAL STATE
//
//   red zone     none on Linux, 128 bytes at Apple's. The shim does not say `nostack`, so its caller keeps nothing below
//                sp; this file writes nothing there. sp is a multiple of 16 at all times: the hardware checks it.
//   x16, x17     a linker may put a veneer into the `b` to `switch`, which destroys these two: nothing is kept in them.
//   x18          the platform's (Apple, Android's shadow call stack), or an ordinary caller-saved register: not touched.
//   x30          clobbered for the shim's caller, which saves it like any other register that it needs.
//   v8 - v15     the low halves are callee-saved in this ABI; the shim declares them clobbered in full: not saved here.
//   FPCR, FPSR   the control bits are callee-saved by the ABI, but Rust code runs in the default floating-point
//                environment only and has no business to change it: not saved and not touched. Who changes it through
//                C or assembly restores it before anything that suspends.
//   tpidr_el0    belongs to the OS thread; fiber and hub run on the same one: not touched.
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
//        x9   where the side that is left goes on
FUNCTION switch
        // For an unwinder we are part of the shim's caller: nothing is pushed, the way back is in x9.
        .cfi_def_cfa sp, 0
        .cfi_register x30, x9

        // Leave: two paired stores into one line.
        mov     x10, sp
        stp     x10, x9, [x0]
        stp     x29, x19, [x0, #16]

        // Continue: between here and the jump the registers belong to neither side, so a profiler's unwinder that
        // stops here must not go on.
        .cfi_undefined x30
        ldp     x10, x9, [x1]
        ldp     x29, x19, [x1, #16]
        mov     sp, x10

        // All of it is the new side's now; x9 is the way back again.
        .cfi_register x30, x9
        br      x9
END switch

// entry: the first pc of a fresh fiber, reached by the jump above with sp at the frame drawn under FRESH.
//   in   x0   the hub's save area
//        x1   our own
FUNCTION entry
        // The oldest frame of this stack. An undefined return address is how DWARF says so; x29 is 0 for those who
        // follow frame pointers.
        .cfi_undefined x30
        hint    #36

        // Both areas are needed again at the end: keep them where the callee must preserve them. A fresh fiber has
        // nothing of its own in these registers.
        mov     x20, x0
        mov     x21, x1

        // Call and return are both ours, so the return predictor stays right. sp is a multiple of 16 here, as it must
        // always be.
        ldp     x9, x0, [sp]
        blr     x9

        // The function's result is the last word that the hub gets.
        mov     x2, x0
        mov     x0, x21
        mov     x1, x20
        adr     x9, 2f
        REFER   b, switch

        // A finished fiber was resumed: a bug in the runtime; going on would run whatever comes next in memory.
2:      hint    #36
        brk     #1
END entry
