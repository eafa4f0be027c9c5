// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts.  Any thread may set a bit of ob_cpu.pending; the owner of the
 * CPU runs what is pending at the points where it enables interrupts.
 */
#include <linux/hardirq.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqdesc.h>
#include <linux/kernel_stat.h>
#include <asm/irq_regs.h>
#include <asm/ob_port.h>

/*
 * Called by the owner of the CPU, with interrupts enabled in its flag, where
 * they get enabled.  Returns in the same state.
 */
void ob_run_irqs(void)
{
	struct pt_regs *regs = task_pt_regs(current), *old;
	unsigned int lines;

	ob_cpu.irqs_on = 0;
	/* pairs with the threads that set bits: what they wrote before is seen */
	while ((lines = __atomic_exchange_n(&ob_cpu.pending, 0,
					    __ATOMIC_SEQ_CST))) {
		old = set_irq_regs(regs);
		irq_enter();
		if (lines & BIT(OB_IRQ_ENTRY))
			ob_entry_irq();
		if (lines & BIT(OB_IRQ_SIGNAL))
			ob_interrupt_irq();
		if (lines & BIT(OB_IRQ_TIMER)) {
			kstat_incr_irq_this_cpu(OB_IRQ_TIMER);
			ob_timer_irq();
		}
		if (lines & BIT(OB_IRQ_RESCHED))
			ob_cpu.urgent = 1;
		lines &= ~(BIT(OB_IRQ_DEV0) - 1);
		while (lines) {
			unsigned int irq = __ffs(lines);

			lines &= lines - 1;
			generic_handle_irq(irq);
		}
		irq_exit();
		set_irq_regs(old);
	}
	ob_cpu.irqs_on = 1;
}
EXPORT_SYMBOL(ob_run_irqs);

/* Loops that wait for an interrupt's effect would never see it otherwise. */
void ob_cpu_relax(void)
{
	barrier();
	if (ob_cpu.irqs_on && READ_ONCE(ob_cpu.pending))
		ob_run_irqs();
}
EXPORT_SYMBOL(ob_cpu_relax);

void __init init_IRQ(void)
{
	int i;

	for (i = 0; i < NR_IRQS; i++)
		irq_set_chip_and_handler(i, &dummy_irq_chip, handle_simple_irq);
}
