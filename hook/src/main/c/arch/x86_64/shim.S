// SPDX-License-Identifier: MIT
//
// The shim: what the hook puts into a program's memory, so that calls on descriptors of the host need
// no trap. docs/adr/0025-the-shim.md says how it comes there and why it is safe; ShimLayout.java has
// the same addresses, and ShimBlobTest compares them.
//
// It is linked at a fixed address. The seccomp filter lets calls pass whose `syscall` instruction lies
// in the stubs or in .text up to `gate`; the one in `gate` traps, whatever the fd, and asks the hook.
// Integer instructions only, and no use of the program's stack but below its red zone.

#include "../../layout.h"

        // A forked child asks for a table of its own when it has made so many calls from patched
        // sites: most children execute another program before.
        .set    PATIENCE, 8

        // Offsets in a stub: of the address of the site's `syscall`, and of the one behind it.
        .set    STUB_TRAP, 112
        .set    STUB_BACK, 120
        .set    STUB_PASS, 96           // a `syscall`, in stubs that always ask

        .set    SYS_close, 3
        .set    SYS_mmap, 9
        .set    SYS_munmap, 11
        .set    SYS_madvise, 28
        .set    SYS_getpid, 39
        .set    PROT_READ_EXEC, 5
        .set    PROT_READ_WRITE, 3
        .set    SHARED_NOREPLACE, 0x100001
        .set    PRIVATE_ANONYMOUS_NOREPLACE, 0x100022
        .set    MADV_DONTFORK, 10
        .set    MADV_WIPEONFORK, 18
        .set    RED_ZONE, 128
        .set    EINTR, 4
        .set    EAGAIN, 11

// The registers of a call's arguments.
        .macro  save_arguments
        push    %rdi
        push    %rsi
        push    %rdx
        push    %r10
        push    %r8
        push    %r9
        .endm
        .macro  restore_arguments
        pop     %r9
        pop     %r8
        pop     %r10
        pop     %rdx
        pop     %rsi
        pop     %rdi
        .endm

        .section .text.header, "ax"
        .globl  header
header:
        .ascii  "outboard"
        .long   slow - header
        .long   setup - header
        .long   inject - header
        .long   inject_parameters - header
        .long   inject_end - header
        .long   special - header

// A stub cannot tell that its descriptor is the host's. r11 = the stub, eax = the call's number, all
// else as the program left it; rcx and r11 are the call's to destroy.
slow:
        cmpl    $ATTACHED, SELF
        je      attached
        cmpl    $DETACHED, SELF
        jne     1f
        incl    SELF + 4
        cmpl    $PATIENCE, SELF + 4
        jae     attach
1:      jmp     *STUB_TRAP(%r11)

// The same of a call of which device.c finds out itself whose it is.
special:
        xor     %ecx, %ecx
        cmpl    $ATTACHED, SELF
        je      try
        jmp     *STUB_TRAP(%r11)

// The descriptor may be a socket of the device, or one of which nothing is known; then device.c has a
// try. ecx = whether nothing is.
attached:
        cmp     $MAX_FD, %edi
        jae     1b
        mov     %edi, %ecx
        movzbl  TABLE(, %rcx, 4), %ecx
        xor     $STATE_DEVICE, %ecx
        je      try
        cmp     $STATE_DEVICE, %ecx
        jne     1b
try:    lea     -RED_ZONE(%rsp), %rsp
        push    %r11
        push    %rax
        save_arguments
        push    %rbx
        mov     %rsp, %rbx
        lea     8(%rsp), %rdi           // struct call
        mov     %ecx, %edx
        sub     $16, %rsp
        and     $-16, %rsp
        mov     %rsp, %rsi
        cld
        call    device_call
        mov     (%rsp), %ecx
        mov     %rbx, %rsp
        pop     %rbx
        restore_arguments
        cmp     $DONE, %ecx
        jb      2f
        ja      3f
        lea     8(%rsp), %rsp           // the number: rax is the result
        pop     %r11
        lea     RED_ZONE(%rsp), %rsp
        jmp     *STUB_BACK(%r11)
2:      pop     %rax
        pop     %r11
        lea     RED_ZONE(%rsp), %rsp
        jmp     *STUB_TRAP(%r11)
3:      cmp     $PASSED, %ecx           // none of what follows changes the flags
        pop     %rax
        pop     %r11
        lea     RED_ZONE(%rsp), %rsp
        ja      4f
        lea     STUB_PASS(%r11), %r11
4:      jmp     *%r11

// A forked child asks for its own table. This call traps in any case; later ones may not.
attach:
        lea     -RED_ZONE(%rsp), %rsp
        push    %r11
        push    %rax
        save_arguments
        xor     %eax, %eax
        mov     $ASKING, %ecx
        lock cmpxchgl %ecx, SELF
        jne     9f
        mov     $ASK_ATTACH, %edi
        mov     $SYS_close, %eax
        call    gate
        test    %rax, %rax
        jns     2f
        // A signal, or a moment at which it cannot be told: try again later.
        cmp     $-EINTR, %rax
        je      1f
        cmp     $-EAGAIN, %rax
        je      1f
        movl    $TRAPS, SELF
        jmp     9f
1:      movl    $0, SELF + 4
        movl    $DETACHED, SELF
        jmp     9f
        // The descriptor in the low 20 bits, above them the number of this process's table in it.
2:      mov     %eax, %r8d
        and     $0xfffff, %r8d
        shr     $20, %rax
        imul    $TABLE_BYTES, %rax, %r9
        mov     $TABLE, %edi
        mov     $TABLE_BYTES, %esi
        mov     $PROT_READ_WRITE, %edx
        mov     $SHARED_NOREPLACE, %r10d
        mov     $SYS_mmap, %eax
        syscall
        cmp     $TABLE, %rax
        mov     $TRAPS, %eax
        jne     3f
        mov     $SYS_getpid, %eax
        syscall
        mov     %eax, SELF + 4 * SELF_PROCESS
        call    keep_table
3:      push    %rax
        mov     %r8d, %edi
        mov     $SYS_close, %eax
        syscall
        pop     %rax
        xor     %esi, %esi
        cmp     $ATTACHED, %eax
        sete    %sil
        // A child that another thread has made meanwhile has the table, too: then it is not used.
4:      mov     $ASK_ATTACHED, %edi
        mov     $SYS_close, %eax
        call    gate
        cmp     $-EINTR, %rax
        je      4b
        test    %rax, %rax
        jne     5f
        movl    $ATTACHED, SELF
        jmp     9f
5:      test    %esi, %esi
        je      6f
        push    %rax
        mov     $TABLE, %edi
        mov     $TABLE_BYTES, %esi
        mov     $SYS_munmap, %eax
        syscall
        pop     %rax
6:      cmp     $-EAGAIN, %rax
        je      1b
        movl    $TRAPS, SELF
9:
        restore_arguments
        pop     %rax
        pop     %r11
        lea     RED_ZONE(%rsp), %rsp
        jmp     *STUB_TRAP(%r11)

// The table is mapped. No child may have it: one with fewer rights could mislead its parent. Returns
// in eax what SELF is to be; leaves r8 alone.
keep_table:
        mov     $TABLE, %edi
        mov     $TABLE_BYTES, %esi
        mov     $MADV_DONTFORK, %edx
        mov     $SYS_madvise, %eax
        syscall
        test    %eax, %eax
        mov     $TRAPS, %ecx
        mov     $ATTACHED, %eax
        cmovne  %ecx, %eax
        ret

// The end of an injection: `inject` has mapped this text. edi = the descriptor of tables, esi = that of
// this mapping, rdx = where in the first the table lies, rcx = the site's `syscall`, eax = the number
// of its call; on the stack what `inject` saved.
setup:
        push    %rax
        push    %rcx
        push    %rdi
        push    %rsi
        push    %rdx
        mov     $SELF, %edi
        mov     $SELF_BYTES, %esi
        mov     $PROT_READ_WRITE, %edx
        mov     $PRIVATE_ANONYMOUS_NOREPLACE, %r10d
        mov     $-1, %r8
        xor     %r9d, %r9d
        mov     $SYS_mmap, %eax
        syscall
        cmp     $SELF, %rax
        jne     2f
        mov     $SELF, %edi
        mov     $SELF_BYTES, %esi
        mov     $MADV_WIPEONFORK, %edx
        mov     $SYS_madvise, %eax
        syscall
        test    %eax, %eax
        jne     1f
        mov     $TABLE, %edi
        mov     $TABLE_BYTES, %esi
        mov     $PROT_READ_WRITE, %edx
        mov     $SHARED_NOREPLACE, %r10d
        mov     16(%rsp), %r8d
        mov     0(%rsp), %r9
        mov     $SYS_mmap, %eax
        syscall
        cmp     $TABLE, %rax
        jne     1f
        call    keep_table
        mov     %eax, SELF
        jmp     2f
1:      movl    $TRAPS, SELF
2:      mov     16(%rsp), %edi
        mov     $SYS_close, %eax
        syscall
        mov     8(%rsp), %edi
        mov     $SYS_close, %eax
        syscall
        pop     %rdx
        pop     %rsi
        pop     %rdi
        pop     %r11                    // the site
        pop     %rax
        restore_arguments
        lea     RED_ZONE(%rsp), %rsp
        jmp     *%r11

// What the hook writes over the code behind a trapped `syscall`, with the parameters filled in. The
// trapped call was answered without having been made; the last jump makes it again, and when that
// traps, the hook puts the program's own code back.
inject:
        lea     -RED_ZONE(%rsp), %rsp
        save_arguments
        mov     inject_image(%rip), %r8d
        cmpl    $0, inject_tables(%rip)
        jl      1f
        mov     $BASE, %edi
        mov     $FILE_BYTES, %esi
        mov     $PROT_READ_EXEC, %edx
        mov     $SHARED_NOREPLACE, %r10d
        xor     %r9d, %r9d
        mov     $SYS_mmap, %eax
        syscall
        cmp     $BASE, %rax
        jne     1f
        mov     inject_tables(%rip), %edi
        mov     %r8d, %esi
        mov     inject_offset(%rip), %rdx
        mov     inject_site(%rip), %rcx
        mov     inject_number(%rip), %eax
        mov     $setup, %r8d
        jmp     *%r8
        // It cannot be: only the descriptors are given back.
1:      mov     %r8d, %edi
        mov     $SYS_close, %eax
        syscall
        mov     inject_tables(%rip), %edi
        mov     $SYS_close, %eax
        syscall
        restore_arguments
        lea     RED_ZONE(%rsp), %rsp
        mov     inject_number(%rip), %eax
        jmp     *inject_site(%rip)
inject_parameters:
inject_site:    .quad   0               // address of the trapped `syscall`
inject_offset:  .quad   0
inject_tables:  .long   0               // a descriptor; -1: give the other one back, no more
inject_image:   .long   0
inject_number:  .long   0
inject_end:

// trapping_call(number, a, b, c, d) for device.c
        .globl  trapping_call
trapping_call:
        mov     %rdi, %rax
        mov     %rsi, %rdi
        mov     %rdx, %rsi
        mov     %rcx, %rdx
        mov     %r8, %r10
        xor     %r8d, %r8d
        xor     %r9d, %r9d
        jmp     gate

        .section .text.gate, "ax"
        .globl  gate
gate:
        syscall
        ret
        .section .note.GNU-stack, "", @progbits
