// SPDX-License-Identifier: MIT
//
// The shim on arm64: as arch/x86_64/shim.S. docs/adr/0069-the-shim-on-arm64.md says what is different.
//
// A patched place is a `b` where the `svc` was. It leads to a trampoline of its own near by, which the
// hook writes (Arm64Site.java):
//
//         stp     x16, x30, [sp, #-16]!
//         ldr     x16, =entry
//         blr     x16
//         ldp     x16, x30, [sp], #16
//         b       behind the place
//
// So here x30 names the place, and x16 is free. A call changes x0 and no other register, nor the flags:
// neither does this. Nobody may write below the stack pointer but handlers of signals, so the program
// has nothing there.
//
// It is linked at a fixed address. The seccomp filter lets calls pass whose `svc` lies in .text up to
// `gate`; the one in `gate` traps, whatever the fd. General registers only.

#include "../../layout.h"

        // A forked child asks for a table of its own when it has made so many calls from patched
        // places: most children execute another program before.
        .set    PATIENCE, 8

        .set    SYS_close, 57
        .set    SYS_mmap, 222
        .set    PROT_READ_EXEC, 5
        .set    SHARED_NOREPLACE, 0x100001

        .set    KIND_CLOSE_BIT, 1
        .set    KIND_ASK_BIT, 2

        // What is saved around C: a struct call, which is x0 to x8; x9 to x14 and x18; then these.
        .set    FRAME, 160
        .set    FRAME_LINK, 128
        .set    FRAME_DONE, 144

        // An address of layout.h that has nothing in its low half.
        .macro  address register, value
        .if     (\value) & 0xffff
        .error  "not a multiple of 64 KiB"
        .endif
        movz    \register, #((\value) >> 16), lsl #16
        .endm

// All that C may change, but for x15 to x17.
        .macro  save_all
        sub     sp, sp, #FRAME
        stp     x0, x1, [sp]
        stp     x2, x3, [sp, #16]
        stp     x4, x5, [sp, #32]
        stp     x6, x7, [sp, #48]
        stp     x8, x9, [sp, #64]
        stp     x10, x11, [sp, #80]
        stp     x12, x13, [sp, #96]
        stp     x14, x18, [sp, #112]
        mrs     x16, nzcv
        stp     x30, x16, [sp, #FRAME_LINK]
        .endm
// The same but for x0.
        .macro  restore_all
        ldp     x30, x16, [sp, #FRAME_LINK]
        msr     nzcv, x16
        ldr     x1, [sp, #8]
        ldp     x2, x3, [sp, #16]
        ldp     x4, x5, [sp, #32]
        ldp     x6, x7, [sp, #48]
        ldp     x8, x9, [sp, #64]
        ldp     x10, x11, [sp, #80]
        ldp     x12, x13, [sp, #96]
        ldp     x14, x18, [sp, #112]
        .endm

// Counts a call that passes; some are lost among threads.
        .macro  count
        address x16, TABLE + COUNTERS_OFFSET
        add     x16, x16, x8, lsl #3
        ldr     x15, [x16]
        add     x15, x15, #1
        str     x15, [x16]
        .endm

        .section .text.header, "ax"
        .globl  header
header:
        .ascii  "outboard"
        .long   entry - header
        .long   setup - header
        .long   inject - header
        .long   inject_parameters - header
        .long   inject_end - header
        .long   entry - header

// x8 = the call's number; a restarted one may have another than before.
entry:
        stp     x15, x17, [sp, #-16]!
again:  lsr     x16, x8, #9
        cbnz    x16, trap
        address x16, KINDS
        ldrb    w16, [x16, x8]
        cbz     w16, trap
        // Acquires the table, which another thread may have mapped just now.
        address x17, SELF
        ldar    w17, [x17]
        sub     w17, w17, #ATTACHED
        tbnz    w16, #KIND_ASK_BIT, special
        cbnz    w17, detached
        lsr     w17, w0, #16
        cbnz    w17, trap
        address x17, TABLE
        bfi     x17, x0, #2, #16
        tbnz    w16, #KIND_CLOSE_BIT, close
        ldarb   w15, [x17]
        sub     w15, w15, #STATE_HOST
        cbnz    w15, maybe
        count
pass:   ldp     x15, x17, [sp], #16
        svc     #0
        ret

// One more close and one more change, and nothing is known, in one step; and then, before the kernel
// closes, everybody else sees that. ShimTable.java has the word.
close:  ldaxr   w15, [x17]
        and     w16, w15, #0xff
        sub     w16, w16, #STATE_HOST
        cbnz    w16, 2f
        add     w15, w15, #0x10, lsl #12
        add     w15, w15, #0x100
        and     w15, w15, #0xffffff00
        stlxr   w16, w15, [x17]
        cbnz    w16, close
        dmb     ish
        count
        svc     #0
1:      ldxr    w15, [x17]
        sub     w15, w15, #0x100
        stlxr   w16, w15, [x17]
        cbnz    w16, 1b
        ldp     x15, x17, [sp], #16
        ret
2:      clrex
        mov     w15, w16

// The descriptor may be a socket of the device, or one of which nothing is known; then device.c has a
// try. w15 = what is known, less STATE_HOST.
maybe:  sub     w16, w15, #(STATE_DEVICE - STATE_HOST)
        add     w15, w15, #STATE_HOST
        cbz     w16, known
        cbnz    w15, trap
        mov     w15, #1
        b       try

// A call of which device.c finds out itself whose it is.
special:
        cbnz    w17, trap
known:  mov     w15, #0

// w15 = whether nothing is known of the descriptor.
try:    save_all
        mov     x0, sp
        add     x1, sp, #FRAME_DONE
        mov     w2, w15
        bl      device_call
        ldr     w15, [sp, #FRAME_DONE]
        restore_all
        sub     w16, w15, #DONE
        cbz     w16, 1f                 // x0 is the result
        ldr     x0, [sp]
        add     sp, sp, #FRAME
        cbz     w15, trap
        sub     w16, w15, #PASSED
        cbz     w16, pass
        b       again
1:      add     sp, sp, #FRAME
        ldp     x15, x17, [sp], #16
        ret

// A forked child asks for its own table. This call traps in any case; later ones may not.
detached:
        add     w17, w17, #(ATTACHED - DETACHED)
        cbnz    w17, trap
        address x17, SELF
        ldr     w15, [x17, #4]
        add     w15, w15, #1
        str     w15, [x17, #4]
        sub     w15, w15, #PATIENCE
        tbnz    w15, #31, trap
        save_all
        bl      attach
        restore_all
        ldr     x0, [sp]
        add     sp, sp, #FRAME
trap:   ldp     x15, x17, [sp], #16
        b       gate

// What the hook writes over the code behind a trapped `svc`, with the parameters filled in. The trapped
// call was answered without having been made, by its own first argument, as that is where the answer
// is; the last jump makes it again, and when that traps, the hook puts the program's own code back. It
// goes to the program's text, which may be checked for landing pads, hence not through a register.
inject:
        stp     x15, x17, [sp, #-16]!
        str     x16, [sp, #-16]!
        save_all
        ldr     w9, inject_tables
        tbnz    w9, #31, 1f
        address x0, BASE
        movz    x1, #(FILE_BYTES >> 16), lsl #16
        movk    x1, #(FILE_BYTES & 0xffff)
        mov     x2, #PROT_READ_EXEC
        movz    x3, #(SHARED_NOREPLACE >> 16), lsl #16
        movk    x3, #(SHARED_NOREPLACE & 0xffff)
        ldr     w4, inject_image
        mov     x5, #0
        mov     x8, #SYS_mmap
        svc     #0
        address x9, BASE
        cmp     x0, x9
        b.ne    1f
        ldr     w0, inject_tables
        ldr     w1, inject_image
        ldr     x2, inject_offset
        ldr     x9, inject_setup
        blr     x9
        b       2f
        // It cannot be: only the descriptors are given back.
1:      ldr     w0, inject_image
        mov     x8, #SYS_close
        svc     #0
        ldr     w0, inject_tables
        svc     #0
2:      restore_all
        ldr     x0, [sp]
        add     sp, sp, #FRAME
        ldr     x16, [sp], #16
        ldp     x15, x17, [sp], #16
        b       inject - 4
        .balign 8
inject_setup:   .quad   setup
inject_parameters:
inject_site:    .quad   0               // as on x86-64; it is 4 bytes before `inject`
inject_offset:  .quad   0               // where in the tables this process's one is
inject_tables:  .long   0               // a descriptor; -1: give the other one back, no more
inject_image:   .long   0
inject_number:  .long   0               // as on x86-64; x8 still has it
        .long   0
inject_end:

// trapping_call(number, a, b, c, d) for C
        .globl  trapping_call
trapping_call:
        mov     x8, x0
        mov     x0, x1
        mov     x1, x2
        mov     x2, x3
        mov     x3, x4
        mov     x4, xzr
        mov     x5, xzr
        b       gate

// memset(to, byte, bytes), which the compiler calls for a structure of zeros.
        .globl  memset
memset: mov     x3, x0
1:      cbz     x2, 2f
        strb    w1, [x3], #1
        sub     x2, x2, #1
        b       1b
2:      ret

        .section .text.gate, "ax"
        .globl  gate
gate:
        svc     #0
        ret
        .section .note.GNU-stack, "", %progbits
