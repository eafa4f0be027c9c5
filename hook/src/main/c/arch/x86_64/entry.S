// SPDX-License-Identifier: MIT
//
// What runs before a signal handler of the program that was installed without SA_RESTART.
// HandlerEntries.java puts it into the program; docs/adr/0040-entries-of-signal-handlers.md says why.
//
// A signal that comes between a call's trap and its receipt by the hook ends the call with EINTR, which
// some calls never say: nothing was carried out then. If the context that the handler interrupts is
// just that, it is set back to before the `syscall` instruction, so the call is made after the handler.
//
// One page, at any address: header, code, then entries, which the hook appends.

        .set    EINTR, 4
        .set    SYS_fcntl, 72
        .set    F_SETLKW, 7
        .set    F_OFD_SETLKW, 38
        .set    NUMBERS, 512
        .set    PAGE_MASK, -4096

// Offsets in a ucontext: uc_mcontext.gregs (arch/x86/include/uapi/asm/sigcontext.h).
        .set    UC_RSI, 112
        .set    UC_RAX, 144
        .set    UC_RCX, 152
        .set    UC_RIP, 168

        .text
        .ascii  "obentry1"
        .long   common
        .long   entries
scratch:                                // a struct sigaction for the kernel
        .fill   32, 1, 0
repeated:                               // a bit for each call that never says EINTR
        .fill   NUMBERS / 8, 1, 0
        // Bits for bytes before `b8 n n n n` that may make it the end of another instruction: for the
        // byte just before, and for the one before that (PatchSite.java).
prefixes:
        .fill   32, 1, 0
opcodes:
        .fill   32, 1, 0

// As the kernel starts a handler: edi = the signal, rsi = its siginfo, rdx = the context, rsp = the
// address that the handler returns to; and r11 = the handler. All other registers are free but for
// those that a function keeps.
common:
        cmpq    $-EINTR, UC_RAX(%rdx)
        jne     9f
        // `syscall` leaves its return address in rcx: elsewhere the two are not the same.
        mov     UC_RIP(%rdx), %rcx
        cmp     %rcx, UC_RCX(%rdx)
        jne     9f
        // What is before a page may not be mapped.
        lea     -9(%rcx), %r8
        lea     -1(%rcx), %r9
        xor     %r9, %r8
        test    $PAGE_MASK, %r8
        jne     9f
        cmpw    $0x050f, -2(%rcx)
        jne     9f
        cmpb    $0xb8, -7(%rcx)         // mov $number,%eax
        jne     1f
        movzbl  -8(%rcx), %eax
        bt      %eax, prefixes(%rip)
        jc      9f
        movzbl  -9(%rcx), %eax
        bt      %eax, opcodes(%rip)
        jc      9f
        mov     -6(%rcx), %eax
        jmp     2f
        // jmp *0x050fxxxx: the shim's patch, which leads to a stub that begins with such a mov.
1:      cmpb    $0xff, -7(%rcx)
        jne     9f
        cmpw    $0x2524, -6(%rcx)
        jne     9f
        mov     -4(%rcx), %eax
        mov     (%rax), %rcx
        cmpb    $0xb8, (%rcx)
        jne     9f
        mov     1(%rcx), %eax
2:      cmp     $NUMBERS, %eax
        jae     9f
        bt      %eax, repeated(%rip)
        jnc     9f
        cmp     $SYS_fcntl, %eax
        jne     3f
        cmpl    $F_SETLKW, UC_RSI(%rdx)
        je      9f
        cmpl    $F_OFD_SETLKW, UC_RSI(%rdx)
        je      9f
3:      mov     %rax, UC_RAX(%rdx)
        subq    $2, UC_RIP(%rdx)
9:      xor     %eax, %eax              // a handler may be declared with `...`
        jmp     *%r11

// movabs $handler,%r11; jmp common
        .balign 16
entries:
        .section .note.GNU-stack, "", @progbits
