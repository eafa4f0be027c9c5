/* SPDX-License-Identifier: GPL-2.0-only */
/* The host layer: what its files share. */
#ifndef OUTBOARD_HOST_H
#define OUTBOARD_HOST_H
#include <stdbool.h>
#include "ob_host.h"
#include "outboard_kernel.h"

#define API __attribute__((visibility("default")))

extern struct ob_cpu ob_cpu;

/* threads.c */
extern int ob_halted;			/* threads of the kernel end */
long ob_futex(void *word, int op, int value);
int ob_thread_start(struct ob_ctx *c, void (*fn)(struct ob_ctx *));
void ob_threads_join(void);

/* time.c */
int ob_timer_start(void);
void ob_timer_stop(void);

/* kicks.c */
void ob_kicks_release(void);

/* memory.c */
int ob_memory_map(const struct obk_config *config, struct ob_memory *m);
void ob_memory_unmap(void);

/* console.c */
void ob_console_open(struct obk_console *c);
void ob_console_close(void);

#endif
