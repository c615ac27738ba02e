// entry: the first pc of a fresh fiber, reached by the jump of switch.s with rsp at the frame that is drawn there under
// FRESH. aarch64/entry.s mirrors this file.
//   in   rdi  the hub's save area
//        rsi  our own
FUNCTION entry
        // The oldest frame of this stack. An undefined return address is how DWARF says so; rbp is 0 for tools
        // that follow frame pointers.
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
        SWITCH

        // A finished fiber was resumed: a bug in the runtime; going on would run whatever comes next in memory.
        ud2
END entry
