/* SPDX-License-Identifier: GPL-2.0-only */
/* Registers of a task outside of the kernel: there are none. */
#ifndef _ASM_LIB_PTRACE_H
#define _ASM_LIB_PTRACE_H
#include <uapi/asm/ptrace.h>
#ifndef __ASSEMBLY__
struct pt_regs {
	long		nr;
	long		ret;
	long		args[6];
	unsigned long	user;		/* was outside of the kernel */
};
#define user_mode(regs)			((regs)->user)
#define instruction_pointer(regs)	(0UL)
#define profile_pc(regs)		(0UL)
#define user_stack_pointer(regs)	(0UL)
#define kernel_stack_pointer(regs)	(0UL)
#define arch_has_single_step()		(0)
#endif
#endif
