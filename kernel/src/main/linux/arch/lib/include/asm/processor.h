/* SPDX-License-Identifier: GPL-2.0-only */
/* What a thread is: a context of the host layer. */
#ifndef _ASM_LIB_PROCESSOR_H
#define _ASM_LIB_PROCESSOR_H
#ifndef __ASSEMBLY__
#include <asm/ob_cpu.h>
#include <asm/ptrace.h>

#define TASK_SIZE		(~0UL)
#define TASK_UNMAPPED_BASE	0UL
#define STACK_TOP		TASK_SIZE
#define STACK_TOP_MAX		TASK_SIZE

struct task_struct;

struct thread_struct {
	struct ob_ctx	*ctx;
	struct pt_regs	regs;
};
#define INIT_THREAD	{ }

#define task_pt_regs(t)	(&(t)->thread.regs)
#define KSTK_EIP(t)	(0UL)
#define KSTK_ESP(t)	(0UL)

static inline void start_thread(struct pt_regs *r, unsigned long pc,
				unsigned long sp) { }
static inline unsigned long __get_wchan(struct task_struct *p) { return 0; }

void ob_cpu_relax(void);
#define cpu_relax()	ob_cpu_relax()
#endif
#endif
