// The context switch for x86_64, System V ABI. aarch64/switch.s mirrors this file line for line.
//
// This file is not a routine. The shim (`switch` in src/arch/x86_64.rs) inlines its text, by `asm!`, at every suspension
// point. Every point therefore has an indirect jump of its own, and the branch predictor learns one target for each: a
// worker's loop jumps to many fibers, but a fiber always jumps back to that loop. (As one routine, with one jump for
// both directions, a switch took 2.85 ns on a processor where the inlined text takes 1.2 ns.)
//
// WHAT IS SAVED, AND WHERE
//
// Each side of a switch (the hub, the fiber) has a save area of 32 bytes, `MachineContext` in src/arch/mod.rs:
//
//      0         8         16        24        32
//      +---------+---------+---------+---------+
//      | sp      | pc      | fp      | base    |
//      | rsp     | rip     | rbp     | rbx     |
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
//      | frame that holds |             |        v         | <- rsp      +------------------+
//      | this text        | <- sp       +------------------+
//      +------------------+
//
// The shim is inlined into its caller. It declares every register clobbered that inline assembly can declare, so the
// compiler saves just the live ones, in the caller's own frame. What remains is what it cannot declare: rsp, rip, and
// rbp and rbx, which LLVM keeps for itself.
//
// Neither `call` nor `ret` is on the path: a `ret` onto another stack is mispredicted every time, and a `call` without
// its `ret` (or the reverse) shifts the return predictor for all the frames above. With neither, the predictor does
// not notice that a switch took place.
//
// SPECIAL STATE
//
//   red zone     the shim does not say `nostack`, so its caller keeps nothing below rsp.
//   DF           clear at every call boundary by the ABI, and the shim is one: not saved.
//   xmm, ymm,    all caller-saved in this ABI, and the shim declares them clobbered: not saved.
//   zmm, k, st
//   MXCSR,       control bits are callee-saved by the ABI, but Rust code runs in the default floating-point environment
//   x87 CW       only and has no business to change it: not saved and not touched (saving costs twice the rest of the
//                switch). Code that changes it through C or assembly restores it before anything that suspends.
//   fs, gs       belong to the OS thread; fiber and hub run on the same one: not touched. A fiber with thread-locals of
//                its own sets the base of fs before this text and after it (src/fiber/own.rs).
//   CET, IBT     every address that is jumped to indirectly starts with `endbr64`.
//   CET, SHSTK   a shadow stack would need its pointer switched as well; not supported. The object does not carry the
//                SHSTK mark, so the loader leaves the feature off.
//   MSR, PKRU    belong to the OS thread: not touched.

// switch: leaves one context and continues another.
//   in   rdi  save area to fill             out  rdi  as in: the area of the side that has just been left
//        rsi  save area to continue               rsi  as in: the area that the new side continues from
//        rdx  the word to carry over              rdx  the word

        // Leave: four stores into one line. rcx is where this side goes on.
        lea     rcx, [rip + 2f]
        mov     [rdi], rsp
        mov     [rdi + 8], rcx
        mov     [rdi + 16], rbp
        mov     [rdi + 24], rbx

        // Continue: between here and the jump the registers belong to neither side, so a profiler's unwinder that
        // stops here must not go on. (Code that is built without unwinding may have no tables to say so in.)
        .if     {unwinds}
        .cfi_remember_state
        .cfi_undefined rip
        .endif
        mov     rcx, [rsi + 8]
        mov     rbp, [rsi + 16]
        mov     rbx, [rsi + 24]
        mov     rsp, [rsi]
        jmp     rcx
        .if     {unwinds}
        .cfi_restore_state
        .endif

        // Here the other side's jump leads: everything is as it was left.
2:      endbr64
