/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The state of the one CPU.
 *
 * Plain C, included by the kernel everywhere (current, irqflags) and by the
 * host layer.  The first part is touched only by the owner of the CPU, the
 * second by any host thread, with real atomic operations.
 */
#ifndef _ASM_LIB_OB_CPU_H
#define _ASM_LIB_OB_CPU_H

struct task_struct;
struct ob_ctx;

struct ob_cpu {
	struct task_struct	*curr;		/* current */
	unsigned long		irqs_on;	/* interrupts are enabled */
	struct ob_ctx		*ctx;		/* context that owns the CPU */
	struct task_struct	*prev;		/* last task switched from */
	unsigned int		kicked;		/* a waiting context was asked to come */
	unsigned int		urgent;		/* ... and has come in vain */
	/* any thread: */
	unsigned int		pending __attribute__((aligned(64)));	/* interrupts */
	unsigned int		lock;		/* 1: somebody owns the CPU */
	unsigned int		closing;	/* no more system calls */
	struct ob_ctx		*entering;	/* stack, by ctx->entry_next */
	struct ob_ctx		*interrupted;	/* stack, by ctx->interrupt_next */
} __attribute__((aligned(64)));

/* The interrupt lines.  OB_IRQ_DEV0 and above belong to devices. */
#define OB_IRQ_TIMER	0	/* the host's timer has fired */
#define OB_IRQ_ENTRY	1	/* contexts want to enter the kernel */
#define OB_IRQ_RESCHED	2	/* a kicked context found the CPU taken */
#define OB_IRQ_SIGNAL	3	/* calls are to be interrupted */
#define OB_IRQ_DEV0	4
#define OB_NR_IRQS	32

#endif
