// SPDX-License-Identifier: GPL-2.0-only
/*
 * The CPU, and who owns it.
 *
 * Exactly one host thread owns the CPU (ob_cpu.lock == 1) and runs kernel code.
 * A context (struct ob_ctx) is what can be woken to own it: it belongs to one
 * task at most, and a task that sleeps in the kernel waits in its own context.
 *
 * The CPU is free (lock == 0) in two states:
 *   - current is the idle task: nothing to do, the tick is stopped;
 *   - current is a task that left the kernel and was left as current, in the
 *     hope that it comes back first ("lazy").
 * Whoever takes a free CPU acts on behalf of current: it may call schedule()
 * for it.  The frames of such a schedule() are not those of current, so they
 * are thrown away: a switch that does not end in its own frames jumps to the
 * base of the context (self->jb), where it goes on, waits, or leaves.
 *
 * The idle task has no context at all.  It runs on the stack of whoever
 * switches to it, down to the point where it frees the CPU.
 *
 * A task outside of the kernel sleeps in TASK_PARKED, from which nothing but
 * its own entry wakes it, or it is the lazy current.
 */
#include <linux/hardirq.h>
#include <linux/init_task.h>
#include <linux/kernel.h>
#include <linux/sched.h>
#include <linux/sched/debug.h>
#include <linux/sched/stat.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/tick.h>
#include <asm/switch_to.h>

#include "cpu.h"
#include "sched.h"		/* kernel/sched: the run queue */

struct ob_cpu ob_cpu = {
	.curr	= &init_task,
	.prev	= &init_task,
};
EXPORT_SYMBOL(ob_cpu);

#define idle_task_p	(&init_task)

/* --- switching --- */

static noinline void __noreturn ob_jump(struct ob_ctx *self, int code)
{
	self->code = code;
	__builtin_longjmp(self->jb, 1);
}

/* Sleep current, which is outside of the kernel, and go on with what is next. */
static void __noreturn ob_park_current(void)
{
	local_irq_disable();
	__set_current_state(TASK_PARKED);
	schedule();
	panic("outboard: a parked task was run");
}

/*
 * The idle task, on the stack of self, until the CPU goes to somebody.
 * entered: the tick has been stopped for it already.
 */
static void __noreturn ob_idle(struct ob_ctx *self, bool entered)
{
	if (!entered)
		goto fresh;
	for (;;) {
		local_irq_disable();
		while (!need_resched() && !irqs_pending()) {
			tick_nohz_idle_stop_tick();
			ob_cpu.ctx = NULL;
			cpu_unlock();
			if (!irqs_pending() || !cpu_trylock())
				ob_jump(self, OB_AWAY);
			ob_cpu.ctx = self;
			/* somebody may have come and gone in between */
			if (current != idle_task_p)
				ob_jump(self, OB_AGAIN);
		}
		local_irq_enable();	/* runs what is pending */
		if (!need_resched())
			continue;
		tick_nohz_idle_exit();
		schedule_idle();	/* returns if there was nothing */
fresh:
		current->flags |= PF_IDLE;
		local_irq_enable();
		tick_nohz_idle_enter();
	}
}

/* The CPU was free and self took it: do what is pending. */
static void __noreturn ob_on_behalf(struct ob_ctx *self)
{
	ob_cpu.ctx = self;
	if (current == idle_task_p)
		ob_idle(self, true);
	ob_park_current();
}

/* Go to next; the frames of this call are never used again. */
static noinline void __noreturn ob_dispatch(struct ob_ctx *self,
					    struct task_struct *next)
{
	struct ob_ctx *n;

	if (next == idle_task_p) {
		schedule_tail(ob_cpu.prev);
		ob_idle(self, false);
	}
	n = next->thread.ctx;
	if (n == self)
		ob_jump(self, OB_RESUMED);
	ob_cpu.ctx = n;
	ob_host_wake(n);
	ob_jump(self, OB_AWAY);
}

/*
 * After a jump to the base of self: true if self owns the CPU.  False: it is
 * leaving, or the kernel has been halted.
 */
bool ob_settle(struct ob_ctx *self)
{
	int why;

	if (self->code == OB_RESUMED)
		return true;
	if (self->code == OB_AGAIN)
		ob_on_behalf(self);
	if (self->leaving)
		return false;
	while ((why = ob_host_wait(self)) != OB_WOKEN) {
		if (why == OB_HALTED)
			return false;
		/* kicked: a task that left the kernel keeps the CPU for itself */
		if (!cpu_trylock()) {
			irq_pend(OB_IRQ_RESCHED);
			if (!cpu_trylock())
				continue;
		}
		ob_on_behalf(self);
	}
	return true;
}

/* The task of self sleeps in the kernel. */
static noinline void ob_block(struct ob_ctx *self, struct task_struct *next)
{
	self->own = 0;
	if (!__builtin_setjmp(self->jb))
		ob_dispatch(self, next);
	else
		ob_settle(self);
	self->own = 1;
}

struct task_struct *__switch_to(struct task_struct *prev,
				struct task_struct *next)
{
	struct ob_ctx *self = ob_cpu.ctx;

	ob_cpu.prev = prev;
	ob_cpu.curr = next;
	ob_cpu.kicked = 0;
	ob_cpu.urgent = 0;
	if (!self->own)
		ob_dispatch(self, next);
	if (READ_ONCE(prev->__state) == TASK_DEAD) {
		self->own = 0;
		self->leaving = 1;
		self->task = NULL;
		memcpy(self->jb, self->base_jb, sizeof(self->jb));
		ob_dispatch(self, next);
	}
	ob_block(self, next);
	return ob_cpu.prev;
}

/* --- entering --- */

/* The interrupt of those that enter: their tasks become runnable. */
void ob_entry_irq(void)
{
	struct ob_ctx *c, *next;

	/* pairs with ob_entry_push() */
	c = __atomic_exchange_n(&ob_cpu.entering, NULL, __ATOMIC_SEQ_CST);
	for (; c; c = next) {
		next = c->entry_next;
		if (!wake_up_state(c->task, TASK_PARKED))
			panic("outboard: %s/%d enters and is not parked (%x)",
			      c->task->comm, c->task->pid, c->task->__state);
	}
}

static void ob_entry_push(struct ob_ctx *self)
{
	self->entry_next = __atomic_load_n(&ob_cpu.entering, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&ob_cpu.entering,
					    &self->entry_next, self, 1,
					    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		;
	irq_pend(OB_IRQ_ENTRY);
}

/*
 * owned: self has the CPU already, but current is another task.  False: the
 * kernel has been halted.
 */
bool ob_enter_slow(struct ob_ctx *self, bool owned)
{
	self->leaving = 0;
	if (!__builtin_setjmp(self->jb)) {
		if (!owned) {
			ob_entry_push(self);
			if (cpu_trylock())
				ob_on_behalf(self);
			ob_jump(self, OB_AWAY);
		}
		ob_cpu.ctx = self;
		if (current == idle_task_p) {
			local_irq_enable();
			tick_nohz_idle_exit();
			local_irq_disable();
			wake_up_state(self->task, TASK_PARKED);
			schedule_idle();
			panic("outboard: the idle task went on");
		}
		local_irq_disable();
		wake_up_state(self->task, TASK_PARKED);
		ob_park_current();
	}
	if (!ob_settle(self))
		return false;
	schedule_tail(ob_cpu.prev);
	self->own = 1;
	return true;
}

/* The first run of a task, on the thread that drives its context. */
void ob_first_run(struct ob_ctx *self)
{
	self->leaving = 0;
	if (!__builtin_setjmp(self->jb))
		ob_jump(self, OB_AWAY);
	ob_settle(self);
	schedule_tail(ob_cpu.prev);
	self->own = 1;
}

/* --- leaving --- */

/* again: the CPU was freed, and taken once more for a pending interrupt. */
noinline void ob_leave_slow(struct ob_ctx *self, bool again)
{
	self->leaving = 1;
	self->own = 0;
	if (!__builtin_setjmp(self->jb)) {
		if (again)
			ob_on_behalf(self);
		ob_park_current();
	}
	ob_settle(self);
}

/*
 * Other tasks can run.  A thread that leaves the kernel is often back at once,
 * and to hand over the CPU costs a wake up on the host: so the CPU is freed,
 * left to self, and a thread that waits is asked to come.  When it comes it
 * either finds the CPU free, or makes the next leave a real one.
 */
noinline bool ob_soft_leave(struct ob_ctx **kick)
{
	struct sched_entity *se;
	struct rb_node *node;

	*kick = NULL;
	if (ob_cpu.urgent || this_rq()->rt.rt_nr_running)
		return false;
	/* those that are delayed sleep: they are not waiting for the CPU */
	for (node = rb_first_cached(&this_rq()->cfs.tasks_timeline); node;
	     node = rb_next(node)) {
		se = rb_entry(node, struct sched_entity, run_node);
		if (se->sched_delayed || !entity_is_task(se))
			continue;
		if (!ob_cpu.kicked)
			*kick = container_of(se, struct task_struct,
					     se)->thread.ctx;
		ob_cpu.kicked = 1;
		return true;
	}
	return !need_resched();
}

/* --- interrupts from outside --- */

void ob_k_irq(struct ob_ctx *self, unsigned int irq)
{
	irq_pend(irq);
	if (!cpu_trylock())
		return;
	self->leaving = 1;
	self->own = 0;
	if (!__builtin_setjmp(self->jb))
		ob_on_behalf(self);
	ob_settle(self);
}

/* --- boot and end --- */

void ob_k_boot(struct ob_ctx *self, const struct ob_memory *memory,
	       const char *cmdline)
{
	ob_cpu.lock = 1;
	ob_cpu.ctx = self;
	self->leaving = 1;
	self->own = 0;
	if (!__builtin_setjmp(self->jb)) {
		ob_boot_main(memory, cmdline);
		panic("outboard: start_kernel() returned");
	}
	ob_settle(self);
}

void ob_k_stop(void)
{
	while (!cpu_trylock())
		ob_spin();
}
