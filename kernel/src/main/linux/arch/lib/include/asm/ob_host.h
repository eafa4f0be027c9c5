/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The seam between the library kernel and its host layer (../../../../host).
 *
 * Included by both sides: only plain C in it.  ob_host_*() are supplied by the
 * host layer and called by the owner of the CPU; they do not block, but for
 * ob_host_wait().  ob_k_*() are supplied by the kernel and called by host
 * threads that do not own the CPU.
 */
#ifndef _ASM_LIB_OB_HOST_H
#define _ASM_LIB_OB_HOST_H
#include "ob_cpu.h"

/*
 * A context can own the CPU.  It belongs to at most one task and is driven by
 * one host thread at a time, but it is not tied to a thread.  Contexts are
 * never given back to the host: a late kick may still hit one.
 */
struct ob_ctx {
	int			wake;		/* futex: see ob_host_wait() */
	int			code;		/* why a jump to jb was made */
	struct task_struct	*task;		/* NULL: none, or it has died */
	int			leaving;	/* do not wait when switched away */
	int			own;		/* runs its own frames */
	struct ob_ctx		*entry_next;	/* list of those that enter */

	/*
	 * Odd while a system call is in progress.  Made odd by the thread that
	 * calls, before it owns the CPU; made even while it owns the CPU.
	 */
	unsigned int		calls;
	unsigned int		interrupt;	/* the value of calls it is for */
	unsigned int		interrupt_queued;
	int			interrupt_hit;	/* owner only: the call was hit */
	struct ob_ctx		*interrupt_next;

	void			(*fn)(struct ob_ctx *);	/* body of its thread */
	void			*fn_fn, *fn_arg;	/* of a kernel thread */
	void			*jb[8];		/* base of the waiting frames */
	void			*base_jb[8];	/* where a dead task ends */

	/* of the host layer */
	void			*host;
	unsigned int		spins;		/* see ob_host_wait() */
	unsigned int		probes;
};

/* Where the memory of the kernel and that of its callers lie. */
struct ob_memory {
	void			*ram;
	unsigned long		ram_bytes;
	void			*user;		/* == ram + ram_bytes */
	unsigned long		user_bytes;
};

/* Tell the processor that a loop waits for another thread. */
static inline __attribute__((always_inline)) void ob_spin(void)
{
#ifdef __aarch64__
	__asm__ volatile("isb" ::: "memory");
#else
	__builtin_ia32_pause();
#endif
}

/* ---- supplied by the host layer ---- */

/* Write to the console. */
void ob_host_print(const char *s, unsigned int len);
/* The kernel has panicked: report, and end the process. */
void ob_host_panic(void) __attribute__((noreturn));
/* Print the frames of the caller. */
void ob_host_backtrace(void);
/* The kernel has powered itself off, which nobody may ask it for. */
void ob_host_halted(void) __attribute__((noreturn));
/* Nanoseconds of CLOCK_MONOTONIC, of CLOCK_REALTIME. */
unsigned long long ob_host_mono_ns(void);
unsigned long long ob_host_real_ns(void);
/* Raise OB_IRQ_TIMER at this moment of CLOCK_MONOTONIC. */
void ob_host_timer(unsigned long long deadline_ns);
/* Random bytes; returns how many. */
unsigned long ob_host_random(void *p, unsigned long n);
/*
 * Wait until c is woken (OB_WOKEN: it owns the CPU), kicked (OB_KICKED), or the
 * kernel is halted (OB_HALTED; threads of the kernel do not return then).
 */
enum { OB_WOKEN = 1, OB_KICKED, OB_HALTED };
int  ob_host_wait(struct ob_ctx *c);
void ob_host_wake(struct ob_ctx *c);
void ob_host_kick(struct ob_ctx *c);
/* A zeroed context, NULL without memory; and its end. */
struct ob_ctx *ob_host_ctx_new(void);
void ob_host_ctx_free(struct ob_ctx *c);
/* Run c->fn(c) on a host thread of its own; 0 or an error. */
int  ob_host_thread_start(struct ob_ctx *c);
/* Process 1 is there: the boot is done. */
void ob_host_booted(void);
/* Add 1 to an eventfd of the host.  Never blocks; 0 or -errno. */
int  ob_host_eventfd_signal(int fd);
/* The same for a queue's, unless the calling thread keeps it: obk_keep_kicks(). */
void ob_host_kick_queue(int fd);

/* ---- supplied by the kernel ---- */

/* Boot on the stack of the caller; returns when the kernel first idles. */
void ob_k_boot(struct ob_ctx *self, const struct ob_memory *memory,
	       const char *cmdline);
/* The release of this kernel (uname -r). */
const char *ob_k_release(void);
/*
 * A system call by the task of self: its result, as the kernel gave it.
 * self->task is NULL afterwards if the task has died in it.
 */
long ob_k_syscall(struct ob_ctx *self, long nr, const long *args);
/*
 * Make a task for self.  One caller at a time.  like: the task whose files,
 * directories and namespaces it shares; 0: a fresh file table.  Returns its
 * thread id or -errno.
 */
int  ob_k_task_enter(struct ob_ctx *self, int like);
/* End the task of self. */
void ob_k_task_leave(struct ob_ctx *self);
/* Interrupt call number `call` of target, if it is still in progress. */
void ob_k_interrupt(struct ob_ctx *self, struct ob_ctx *target,
		    unsigned int call);
/* Raise an interrupt line. */
void ob_k_irq(struct ob_ctx *self, unsigned int irq);
/* Probe a virtual device: obk_virtio_register(). */
struct obk_virtio_page;
long ob_k_virtio_add(struct ob_ctx *self, struct obk_virtio_page *page);
/* Take the CPU for ever. */
void ob_k_stop(void);

#endif
