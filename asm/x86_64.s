// The context switch for x86_64, System V ABI.  aarch64.s mirrors this file line for line.
//
// WHAT IS SAVED, AND WHERE
//
// Each side of a switch (the hub, the fiber) has a save area of 32 bytes, `Context` in src/arch/mod.rs:
//
//      0         8         16        24        32
//      +---------+---------+---------+---------+
//      | sp      | pc      | fp      | base    |
//      | rsp     | rip     | rbp     | rbx     |
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
//      | frame that holds |             |        v         | <- rsp      +------------------+
//      | the shim         | <- sp       +------------------+
//      +------------------+
//
// The shim (`switch` in src/arch/x86_64.rs) is inlined into its caller. It jumps here and declares every register
// clobbered that inline assembly can declare, so the compiler saves just the live ones, in the caller's own frame.
// What remains is what it cannot declare: rsp, rip, and rbp and rbx, which LLVM keeps for itself.
//
// Neither `call` nor `ret` is on the path: a `ret` onto another stack is mispredicted every time, and a `call` without
// its `ret` (or the reverse) shifts the return predictor for all the frames above. With neither, the predictor does
// not notice that a switch took place.
//
// SPECIAL STATE
//
//   red zone     the shim does not say `nostack`, so its caller keeps nothing below rsp; this file writes nothing there.
//   DF           clear at every call boundary by the ABI, and the shim is one: not saved.
//   xmm, ymm,    all caller-saved in this ABI, and the shim declares them clobbered: not saved.
//   zmm, k, st
//   MXCSR,       control bits are callee-saved by the ABI, but Rust code runs in the default floating-point environment
//   x87 CW       only and has no business to change it: not saved and not touched (saving costs twice the rest of the
//                switch). Who changes it through C or assembly restores it before anything that suspends.
//   fs, gs       belong to the OS thread; fiber and hub run on the same one: not touched.
//   CET, IBT     every address that is jumped to indirectly starts with `endbr64`.
//   CET, SHSTK   a shadow stack would need its pointer switched as well; not supported. The object does not carry the
//                SHSTK mark, so the loader leaves the feature off.
//   MSR, PKRU    belong to the OS thread: not touched.

// switch: leaves one context and continues another.
//   in   rdi  save area to fill             out  rdi  as in: the area of the side that has just been left
//        rsi  save area to continue               rsi  as in: the area that the new side continues from
//        rdx  the word to carry over              rdx  the word
//        rcx  where the side that is left goes on
FUNCTION switch
        // For an unwinder we are part of the shim's caller: nothing is pushed, the way back is in rcx.
        .cfi_def_cfa rsp, 0
        .cfi_register rip, rcx

        // Leave: four stores into one line.
        mov     [rdi], rsp
        mov     [rdi + 8], rcx
        mov     [rdi + 16], rbp
        mov     [rdi + 24], rbx

        // Continue: between here and the jump the registers belong to neither side, so a profiler's unwinder that
        // stops here must not go on.
        .cfi_undefined rip
        mov     rcx, [rsi + 8]
        mov     rbp, [rsi + 16]
        mov     rbx, [rsi + 24]
        mov     rsp, [rsi]

        // All of it is the new side's now; rcx is the way back again.
        .cfi_register rip, rcx
        jmp     rcx
END switch

// entry: the first pc of a fresh fiber, reached by the jump above with rsp at the frame drawn under FRESH.
//   in   rdi  the hub's save area
//        rsi  our own
FUNCTION entry
        // The oldest frame of this stack. An undefined return address is how DWARF says so; rbp is 0 for those who
        // follow frame pointers.
        .cfi_undefined rip
        endbr64

        // Both areas are needed again at the end: keep them where the callee must preserve them. A fresh fiber has
        // nothing of its own in these registers.
        mov     r12, rdi
        mov     r13, rsi

        // Call and return are both ours, so the return predictor stays right. rsp is a multiple of 16 here, as the ABI
        // wants it before a call.
        mov     rdi, [rsp + 8]
        call    [rsp]

        // The function's result is the last word that the hub gets.
        mov     rdi, r13
        mov     rsi, r12
        mov     rdx, rax
        lea     rcx, [rip + 2f]
        REFER   jmp, switch

        // A finished fiber was resumed: a bug in the runtime; going on would run whatever comes next in memory.
2:      endbr64
        ud2
END entry
