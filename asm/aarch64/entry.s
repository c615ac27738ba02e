// entry: the first pc of a fresh fiber, reached by the jump of switch.s with sp at the frame that is drawn there under
// FRESH. x86_64/entry.s mirrors this file.
//   in   x0   the hub's save area
//        x1   our own
FUNCTION entry
        // The oldest frame of this stack. An undefined return address is how DWARF says so; x29 is 0 for tools
        // that follow frame pointers.
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
        SWITCH

        // A finished fiber was resumed: a bug in the runtime; going on would run whatever comes next in memory.
        brk     #1
END entry
