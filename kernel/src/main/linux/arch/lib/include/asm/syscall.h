/* SPDX-License-Identifier: GPL-2.0-only */
/* The table of system calls, and what tracers may ask. */
#ifndef _ASM_LIB_SYSCALL_H
#define _ASM_LIB_SYSCALL_H
#include <uapi/linux/audit.h>
#include <linux/err.h>
#include <linux/sched.h>
#include <asm/ptrace.h>

typedef long (*syscall_fn)(long, long, long, long, long, long);
extern const syscall_fn sys_call_table[];

static inline int syscall_get_nr(struct task_struct *t, struct pt_regs *r)
{
	return r->nr;
}
static inline void syscall_get_arguments(struct task_struct *t,
					 struct pt_regs *r, unsigned long *a)
{
	memcpy(a, r->args, sizeof(r->args));
}
static inline long syscall_get_error(struct task_struct *t, struct pt_regs *r)
{
	return IS_ERR_VALUE(r->ret) ? r->ret : 0;
}
static inline long syscall_get_return_value(struct task_struct *t,
					    struct pt_regs *r)
{
	return r->ret;
}
static inline int syscall_get_arch(struct task_struct *t)
{
	return AUDIT_ARCH_X86_64;
}
#endif
