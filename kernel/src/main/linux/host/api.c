// SPDX-License-Identifier: GPL-2.0-only
/* The contract of outboard_kernel.h: boot, tasks, calls, interrupts, halt. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "host.h"

#define OB_HALT_SECONDS	5

static enum { OB_NEW, OB_BOOTING, OB_RUNNING, OB_CLOSING, OB_STOPPED } state;
static int booted;			/* futex */

/* Makes tasks one at a time, and serialises them with the halt. */
static pthread_mutex_t enter_lock = PTHREAD_MUTEX_INITIALIZER;

/* --- the tasks, by thread id --- */

struct ob_task {
	struct ob_ctx *ctx;
	int tid;
	struct ob_task *next;
};

#define OB_BUCKETS	256
static struct ob_task *tasks[OB_BUCKETS];
static int task_count;
static pthread_mutex_t tasks_lock = PTHREAD_MUTEX_INITIALIZER;

static __thread struct ob_task *self __attribute__((tls_model("initial-exec")));
/* the context of a thread's interrupts, which are not its task's */
static __thread struct ob_ctx *raiser __attribute__((tls_model("initial-exec")));
static pthread_key_t self_key, raiser_key;

static struct ob_task **task_slot(int tid)
{
	return &tasks[(unsigned int)tid % OB_BUCKETS];
}

static void task_add(struct ob_task *t)
{
	struct ob_task **slot = task_slot(t->tid);

	pthread_mutex_lock(&tasks_lock);
	t->next = *slot;
	*slot = t;
	task_count++;
	pthread_mutex_unlock(&tasks_lock);
}

static void task_remove(struct ob_task *t)
{
	struct ob_task **p;

	pthread_mutex_lock(&tasks_lock);
	for (p = task_slot(t->tid); *p != t; p = &(*p)->next)
		;
	*p = t->next;
	task_count--;
	pthread_mutex_unlock(&tasks_lock);
}

/* Under tasks_lock. */
static struct ob_task *task_find(int tid)
{
	struct ob_task *t = *task_slot(tid);

	while (t && t->tid != tid)
		t = t->next;
	return t;
}

/* The calling thread is no task any more. */
static void task_forget(struct ob_task *t)
{
	self = NULL;
	pthread_setspecific(self_key, NULL);
	task_remove(t);
	ob_host_ctx_free(t->ctx);
	free(t);
}

/* --- boot --- */

void ob_host_booted(void)
{
	__atomic_store_n(&booted, 1, __ATOMIC_SEQ_CST);
	ob_futex(&booted, FUTEX_WAKE_PRIVATE, INT_MAX);
}

static void thread_ends(void *task)
{
	if (__atomic_load_n(&state, __ATOMIC_SEQ_CST) != OB_STOPPED)
		ob_k_task_leave(((struct ob_task *)task)->ctx);
	task_forget(task);
}

static void raiser_ends(void *ctx)
{
	raiser = NULL;
	ob_host_ctx_free(ctx);
}

API int obk_boot(const struct obk_config *config, struct obk_memory *out)
{
	struct obk_console *console = config->console;
	struct ob_memory memory;
	struct ob_ctx *boot;
	int expected = OB_NEW, r;

	if (!console || !console->capacity ||
	    (console->capacity & (console->capacity - 1)))
		return -EINVAL;
	if (!__atomic_compare_exchange_n((int *)&state, &expected, OB_BOOTING, 0,
					 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return -EBUSY;
	boot = ob_host_ctx_new();
	r = boot ? ob_memory_map(config, &memory) : -ENOMEM;
	if (r) {
		__atomic_store_n((int *)&state, OB_NEW, __ATOMIC_SEQ_CST);
		return r;
	}
	/* from here on a failure is final: the kernel's data is no longer new */
	ob_console_open(console);
	if (pthread_key_create(&self_key, thread_ends) ||
	    pthread_key_create(&raiser_key, raiser_ends))
		return -EAGAIN;
	r = ob_timer_start();
	if (r)
		return r;
	ob_k_boot(boot, &memory, config->command_line);
	while (!__atomic_load_n(&booted, __ATOMIC_SEQ_CST))
		ob_futex(&booted, FUTEX_WAIT_PRIVATE, 0);
	ob_host_ctx_free(boot);
	__atomic_store_n((int *)&state, OB_RUNNING, __ATOMIC_SEQ_CST);
	*out = (struct obk_memory){
		.ram = memory.ram,
		.ram_bytes = memory.ram_bytes,
		.user = memory.user,
		.user_bytes = memory.user_bytes,
	};
	return 0;
}

API const char *obk_release(void)
{
	return ob_k_release();
}

/* --- tasks --- */

API int obk_task_enter(int like, unsigned int flags)
{
	struct ob_task *t;
	int r = -ENODEV;

	if ((flags & ~OBK_OWN_FILES) || like < 0 ||
	    (flags == OBK_OWN_FILES) != (like == 0))
		return -EINVAL;
	if (self)
		return -EBUSY;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->ctx = ob_host_ctx_new();
	if (!t->ctx) {
		free(t);
		return -ENOMEM;
	}
	pthread_mutex_lock(&enter_lock);
	if (state == OB_RUNNING) {
		r = ob_k_task_enter(t->ctx, like);
		if (r > 0) {
			t->tid = r;
			task_add(t);
		}
	}
	pthread_mutex_unlock(&enter_lock);
	if (r <= 0) {
		ob_host_ctx_free(t->ctx);
		free(t);
		return r;
	}
	/* without it the end of the thread would leave the task behind */
	if (pthread_setspecific(self_key, t)) {
		thread_ends(t);
		return -ENOMEM;
	}
	self = t;
	return r;
}

API void obk_task_leave(void)
{
	if (self)
		thread_ends(self);
}

API long obk_syscall(long number, long a0, long a1, long a2, long a3, long a4,
		     long a5)
{
	const long args[6] = { a0, a1, a2, a3, a4, a5 };
	struct ob_task *t = self;
	long r;

	if (__builtin_expect(!t, 0))
		return -ESRCH;
	if (__builtin_expect(state == OB_STOPPED, 0))
		return -ENODEV;
	r = ob_k_syscall(t->ctx, number, args);
	if (__builtin_expect(!t->ctx->task, 0))
		task_forget(t);
	return r;
}

API long obk_virtio_register(struct obk_virtio_page *page)
{
	struct ob_task *t = self;
	long r;

	if (!t)
		return -ESRCH;
	if (state == OB_STOPPED)
		return -ENODEV;
	r = ob_k_virtio_add(t->ctx, page);
	if (!t->ctx->task)
		task_forget(t);
	return r;
}

API int obk_tasks(void)
{
	int n;

	pthread_mutex_lock(&tasks_lock);
	n = task_count;
	pthread_mutex_unlock(&tasks_lock);
	return n;
}

/* --- interrupts --- */

static struct ob_ctx *raiser_get(void)
{
	struct ob_ctx *c = raiser;

	if (__builtin_expect(!c, 0)) {
		c = ob_host_ctx_new();
		if (!c)
			return NULL;
		if (pthread_setspecific(raiser_key, c)) {
			ob_host_ctx_free(c);
			return NULL;
		}
		raiser = c;
	}
	return c;
}

API uint32_t obk_call(int tid)
{
	struct ob_task *t;
	uint32_t r = (uint32_t)-ESRCH & ~1u;

	pthread_mutex_lock(&tasks_lock);
	t = task_find(tid);
	if (t)
		r = __atomic_load_n(&t->ctx->calls, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&tasks_lock);
	return r;
}

/*
 * Under tasks_lock, so that the context stays this task's.  That cannot last:
 * to raise the interrupt is to run it, at most.
 */
static int interrupt(struct ob_task *t, uint32_t call, struct ob_ctx *c)
{
	/* pairs with the thread that makes it odd: ob_k_syscall() */
	uint32_t now = __atomic_load_n(&t->ctx->calls, __ATOMIC_SEQ_CST);

	if (!(now & 1) || (call && call != now))
		return 0;
	ob_k_interrupt(c, t->ctx, now);
	return 1;
}

API int obk_interrupt(int tid, uint32_t call)
{
	struct ob_ctx *c = raiser_get();
	struct ob_task *t;
	int r = -ESRCH;

	if (!c)
		return -ENOMEM;
	pthread_mutex_lock(&tasks_lock);
	t = task_find(tid);
	if (t)
		r = interrupt(t, call, c);
	pthread_mutex_unlock(&tasks_lock);
	return r;
}

API int obk_raise_irq(int line)
{
	struct ob_ctx *c;

	if (line < OBK_IRQ_FIRST || line > OBK_IRQ_LAST)
		return -EINVAL;
	if (__atomic_load_n(&state, __ATOMIC_SEQ_CST) != OB_RUNNING)
		return -ENODEV;
	c = raiser_get();
	if (!c)
		return -ENOMEM;
	ob_k_irq(c, line);
	return 0;
}

/* --- the end --- */

/* Interrupt every call that is in progress; how many there were. */
static int interrupt_all(struct ob_ctx *c)
{
	struct ob_task *t;
	int i, n = 0;

	pthread_mutex_lock(&tasks_lock);
	for (i = 0; i < OB_BUCKETS; i++)
		for (t = tasks[i]; t; t = t->next)
			n += interrupt(t, 0, c);
	pthread_mutex_unlock(&tasks_lock);
	return n;
}

/*
 * After the CPU was taken for ever: calls that began too late to be seen by
 * interrupt_all() wait to enter.  They look at ob_halted when they are woken.
 */
static void kick_entering(void)
{
	struct ob_task *t;
	int i;

	pthread_mutex_lock(&tasks_lock);
	for (i = 0; i < OB_BUCKETS; i++)
		for (t = tasks[i]; t; t = t->next)
			ob_host_kick(t->ctx);
	pthread_mutex_unlock(&tasks_lock);
}

API int obk_halt(void)
{
	struct ob_ctx *c = raiser_get();
	long i;

	if (!c)
		return -ENOMEM;
	pthread_mutex_lock(&enter_lock);
	if (state != OB_RUNNING && state != OB_CLOSING) {
		pthread_mutex_unlock(&enter_lock);
		return -ENODEV;
	}
	__atomic_store_n((int *)&state, OB_CLOSING, __ATOMIC_SEQ_CST);
	/* pairs with the check in ob_k_syscall(): calls first, then closing */
	__atomic_store_n(&ob_cpu.closing, 1, __ATOMIC_SEQ_CST);
	for (i = 0; interrupt_all(c); i++) {
		if (i == OB_HALT_SECONDS * 1000) {
			pthread_mutex_unlock(&enter_lock);
			return -ETIMEDOUT;
		}
		usleep(1000);
	}
	ob_k_stop();
	__atomic_store_n((int *)&state, OB_STOPPED, __ATOMIC_SEQ_CST);
	ob_threads_join();
	kick_entering();
	ob_timer_stop();
	ob_console_close();
	ob_memory_unmap();
	pthread_mutex_unlock(&enter_lock);
	return 0;
}
