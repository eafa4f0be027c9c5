/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Vector registers.  The kernel is ordinary user code on threads of the host,
 * which saves all registers of a thread when it switches to another or runs a
 * signal handler.  Inside of a thread nothing takes the CPU away between two
 * instructions: interrupts and switches are C calls from known points, and a
 * call of C may clobber all vector registers, so that nobody keeps anything in
 * them over one.  So there is nothing to save, and never a moment at which the
 * registers cannot be used.
 */
#ifndef _ASM_LIB_SIMD_H
#define _ASM_LIB_SIMD_H
#include <linux/compiler.h>
#include <linux/types.h>
#ifdef CONFIG_X86_64
/* x86's code finds it by way of this header, too */
#include <asm/cpufeature.h>
#endif

static __must_check inline bool may_use_simd(void)
{
	return true;
}

static inline void kernel_fpu_begin(void)
{
}

static inline void kernel_fpu_end(void)
{
}
#endif
