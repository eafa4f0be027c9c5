/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interrupts are function calls made by the thread that owns the CPU, and only
 * from the points where they are enabled.  So the flag is a plain word.
 */
#ifndef _ASM_LIB_IRQFLAGS_H
#define _ASM_LIB_IRQFLAGS_H
#ifndef __ASSEMBLY__
#include <asm/ob_cpu.h>
#include <linux/compiler.h>

extern struct ob_cpu ob_cpu;
void ob_run_irqs(void);

static __always_inline unsigned long arch_local_save_flags(void)
{
	return ob_cpu.irqs_on;
}

static __always_inline void arch_local_irq_restore(unsigned long flags)
{
	barrier();
	ob_cpu.irqs_on = flags;
	if (flags && __builtin_expect(*(volatile unsigned int *)&ob_cpu.pending, 0))
		ob_run_irqs();
}

static __always_inline void arch_local_irq_enable(void)
{
	arch_local_irq_restore(1);
}

static __always_inline void arch_local_irq_disable(void)
{
	ob_cpu.irqs_on = 0;
	barrier();
}

static __always_inline unsigned long arch_local_irq_save(void)
{
	unsigned long f = ob_cpu.irqs_on;

	ob_cpu.irqs_on = 0;
	barrier();
	return f;
}

static __always_inline bool arch_irqs_disabled_flags(unsigned long flags)
{
	return !flags;
}

static __always_inline bool arch_irqs_disabled(void)
{
	return !ob_cpu.irqs_on;
}
#endif
#endif
