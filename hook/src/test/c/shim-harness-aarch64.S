// SPDX-License-Identifier: MIT
//
// int64_t invoke(void *place, const int64_t in[REGISTERS], int64_t out[REGISTERS]): calls code with all
// registers as given, and tells how they were left. In their order: x0 to x29, the flags, then d0 to
// d31. That x30 is left alone shows by its coming back.
        .set    FLAGS, 30
        .globl  invoke
invoke:
        stp     x29, x30, [sp, #-192]!
        stp     x19, x20, [sp, #16]
        stp     x21, x22, [sp, #32]
        stp     x23, x24, [sp, #48]
        stp     x25, x26, [sp, #64]
        stp     x27, x28, [sp, #80]
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        str     x2, [sp, #160]
        mov     x30, x0
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        ldr     d\n, [x1, #(FLAGS + 1 + \n) * 8]
        .endr
        ldr     x0, [x1, #FLAGS * 8]
        msr     nzcv, x0
        .irp    n, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 1
        ldr     x\n, [x1, #\n * 8]
        .endr
        blr     x30
        str     x1, [sp, #168]
        ldr     x1, [sp, #160]
        .irp    n, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29
        str     x\n, [x1, #\n * 8]
        .endr
        ldr     x2, [sp, #168]
        str     x2, [x1, #8]
        mrs     x2, nzcv
        str     x2, [x1, #FLAGS * 8]
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        str     d\n, [x1, #(FLAGS + 1 + \n) * 8]
        .endr
        ldp     x19, x20, [sp, #16]
        ldp     x21, x22, [sp, #32]
        ldp     x23, x24, [sp, #48]
        ldp     x25, x26, [sp, #64]
        ldp     x27, x28, [sp, #80]
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        ldp     x29, x30, [sp], #192
        ret

// What stands in the gate's place, as there is no filter under qemu-user: it has the hook make the
// call, and changes x0 and x16 alone.
        .globl  gate_of_hook
gate_of_hook:
        sub     sp, sp, #704
        stp     x29, x30, [sp]
        mov     x29, sp
        stp     x0, x1, [sp, #16]
        stp     x2, x3, [sp, #32]
        stp     x4, x5, [sp, #48]
        stp     x6, x7, [sp, #64]
        stp     x8, x9, [sp, #80]
        stp     x10, x11, [sp, #96]
        stp     x12, x13, [sp, #112]
        stp     x14, x15, [sp, #128]
        stp     x17, x18, [sp, #144]
        mrs     x16, nzcv
        str     x16, [sp, #160]
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        add     x16, sp, #(176 + \n * 16)
        str     q\n, [x16]
        .endr
        mov     x0, x8
        add     x1, sp, #16
        bl      hook
        str     x0, [sp, #16]
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        add     x16, sp, #(176 + \n * 16)
        ldr     q\n, [x16]
        .endr
        ldr     x16, [sp, #160]
        msr     nzcv, x16
        ldp     x0, x1, [sp, #16]
        ldp     x2, x3, [sp, #32]
        ldp     x4, x5, [sp, #48]
        ldp     x6, x7, [sp, #64]
        ldp     x8, x9, [sp, #80]
        ldp     x10, x11, [sp, #96]
        ldp     x12, x13, [sp, #112]
        ldp     x14, x15, [sp, #128]
        ldp     x17, x18, [sp, #144]
        ldp     x29, x30, [sp]
        add     sp, sp, #704
        ret
        .section .note.GNU-stack, "", %progbits
