/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of the port need of each other. */
#ifndef _ASM_LIB_OB_PORT_H
#define _ASM_LIB_OB_PORT_H
#include <linux/types.h>
#include <asm/ob_host.h>

/* irq.c: run the pending interrupts, where they get enabled */
void ob_run_irqs(void);
/* switch.c, task.c, time.c: the bodies of the internal interrupts */
void ob_entry_irq(void);
void ob_interrupt_irq(void);
void ob_timer_irq(void);
/* task.c: run a function as a call of the task of self; its result */
long ob_run(struct ob_ctx *self, long (*fn)(void *), void *arg);
/* setup.c: start_kernel(), which never returns in the normal way */
void ob_boot_main(const struct ob_memory *memory, const char *cmdline);
/*
 * memory.c: note where it is; set up memblock; cover the user region by a VMA
 * of current
 */
void ob_memory_init(const struct ob_memory *memory);
void ob_memory_setup(void);
int  ob_map_user_region(void);
/* xdp.c: the call of asm/ob_xdp.h */
long ob_xdp(int fd, int operation, unsigned long a, unsigned long b,
	    unsigned long c);

#endif
