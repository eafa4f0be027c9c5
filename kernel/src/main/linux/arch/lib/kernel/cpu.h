/* SPDX-License-Identifier: GPL-2.0-only */
/* Owning, entering and leaving the CPU: what switch.c and task.c share. */
#ifndef _ARCH_LIB_KERNEL_CPU_H
#define _ARCH_LIB_KERNEL_CPU_H
#include <linux/bits.h>
#include <linux/irqflags.h>
#include <linux/sched.h>
#include <linux/sched/stat.h>
#include <asm/ob_port.h>

/* how a jump to the base of a context ends */
enum {
	OB_RESUMED = 1,	/* we own the CPU and current is our task */
	OB_AWAY,	/* the CPU is not ours any more */
	OB_AGAIN,	/* the CPU was free and we took it again */
};

/*
 * --- the lock of the CPU; pairs with itself, release to acquire ---
 * The look at it is SEQ_CST, too, for who has raised an interrupt: see below.
 * arm64 would read it before the interrupt is there for others to see; x86 would
 * not, and reads it by the same instruction either way.
 */

static __always_inline bool cpu_trylock(void)
{
	return !__atomic_load_n(&ob_cpu.lock, __ATOMIC_SEQ_CST) &&
	       !__atomic_exchange_n(&ob_cpu.lock, 1, __ATOMIC_SEQ_CST);
}

static __always_inline void cpu_unlock(void)
{
	__atomic_store_n(&ob_cpu.lock, 0, __ATOMIC_SEQ_CST);
}

/*
 * Whoever frees the CPU looks for interrupts afterwards, whoever raises one
 * tries the CPU afterwards: one of the two sees the other (both SEQ_CST).
 */
static __always_inline bool irqs_pending(void)
{
	return __atomic_load_n(&ob_cpu.pending, __ATOMIC_SEQ_CST);
}

static __always_inline void irq_pend(unsigned int irq)
{
	__atomic_fetch_or(&ob_cpu.pending, BIT(irq), __ATOMIC_SEQ_CST);
}

/* --- switch.c --- */

bool ob_enter_slow(struct ob_ctx *self, bool owned);
void ob_leave_slow(struct ob_ctx *self, bool again);
bool ob_soft_leave(struct ob_ctx **kick);
bool ob_settle(struct ob_ctx *self);
void ob_first_run(struct ob_ctx *self);

/* How often a thread that enters tries a taken CPU before it queues. */
#define OB_ENTER_SPINS	200

/*
 * Own the CPU, with the task of self as current.  False: the kernel has been
 * halted.
 */
static __always_inline bool ob_enter(struct ob_ctx *self)
{
	unsigned int i = 0;

	while (unlikely(!cpu_trylock())) {
		if (++i > OB_ENTER_SPINS)
			return ob_enter_slow(self, false);
		ob_spin();
	}
	if (likely(current == self->task)) {
		ob_cpu.ctx = self;
		self->own = 1;
		local_irq_enable();
		return true;
	}
	return ob_enter_slow(self, true);
}

/* Give the CPU to whoever needs it; the task of self is outside. */
static __always_inline void ob_leave(struct ob_ctx *self)
{
	struct ob_ctx *kick = NULL;

	if (likely(!need_resched() && single_task_running()) ||
	    ob_soft_leave(&kick)) {
		self->own = 0;
		ob_cpu.ctx = NULL;
		cpu_unlock();
		if (unlikely(kick))
			ob_host_kick(kick);
		if (likely(!irqs_pending()) || !cpu_trylock())
			return;
		ob_leave_slow(self, true);
		return;
	}
	ob_leave_slow(self, false);
}

#endif
