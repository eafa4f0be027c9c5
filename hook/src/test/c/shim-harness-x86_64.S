// SPDX-License-Identifier: MIT
//
// int64_t invoke(void *place, const int64_t in[REGISTERS], int64_t out[REGISTERS]): calls code with all
// registers as given, and tells how they were left. In their order: rax, rdi, rsi, rdx, r10, r8, r9,
// rbx, rbp, r12 to r15, the flags, then xmm0 to xmm15, the low half of each. A call may change rcx, r11.
        .set    GENERAL, 13
        .globl  invoke
invoke:
        push    %rbx
        push    %rbp
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        push    %rdx
        push    %rdi
        mov     %rsi, %r11
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movq    (GENERAL + 1 + \n) * 8(%r11), %xmm\n
        .endr
        mov     0(%r11), %rax
        mov     8(%r11), %rdi
        mov     16(%r11), %rsi
        mov     24(%r11), %rdx
        mov     32(%r11), %r10
        mov     40(%r11), %r8
        mov     48(%r11), %r9
        mov     56(%r11), %rbx
        mov     64(%r11), %rbp
        mov     72(%r11), %r12
        mov     80(%r11), %r13
        mov     88(%r11), %r14
        mov     96(%r11), %r15
        pop     %r11
        call    *%r11
        pop     %r11
        mov     %rax, 0(%r11)
        mov     %rdi, 8(%r11)
        mov     %rsi, 16(%r11)
        mov     %rdx, 24(%r11)
        mov     %r10, 32(%r11)
        mov     %r8, 40(%r11)
        mov     %r9, 48(%r11)
        mov     %rbx, 56(%r11)
        mov     %rbp, 64(%r11)
        mov     %r12, 72(%r11)
        mov     %r13, 80(%r11)
        mov     %r14, 88(%r11)
        mov     %r15, 96(%r11)
        movq    $0, 104(%r11)
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movq    %xmm\n, (GENERAL + 1 + \n) * 8(%r11)
        .endr
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %rbp
        pop     %rbx
        ret
        .section .note.GNU-stack, "", @progbits
