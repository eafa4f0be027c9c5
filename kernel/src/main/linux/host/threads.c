// SPDX-License-Identifier: GPL-2.0-only
/* Contexts, waiting and waking, and the host threads of the kernel. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "host.h"

/* Kernel code runs on them, and a signal handler of nobody: they block all. */
#define OB_STACK_BYTES	(256 * 1024)

/*
 * How long a thread looks for its wake up before it sleeps on the futex: twice
 * as long after each success, half as long after each failure.  Looking takes
 * the processor from whoever is to wake us, if there is no other.  Below the
 * least only one wait in OB_WAIT_PROBE looks, to find out whether it pays again.
 */
#define OB_WAIT_SPINS		300
#define OB_WAIT_SPINS_LEAST	32
#define OB_WAIT_PROBE		64

/* A host thread that the kernel has started. */
struct ob_thread {
	struct ob_ctx *ctx;
	void (*fn)(struct ob_ctx *);
	pthread_t id;
	struct ob_thread *next;
	bool ended;
	jmp_buf end;
};

int ob_halted;

static struct ob_thread *threads;	/* all that are not joined */
static pthread_mutex_t threads_lock = PTHREAD_MUTEX_INITIALIZER;

static struct ob_ctx *free_ctxs;
static pthread_mutex_t ctxs_lock = PTHREAD_MUTEX_INITIALIZER;

long ob_futex(void *word, int op, int value)
{
	return syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

/*
 * --- waiting ---
 * ctx->wake: 0 nothing, -1 asleep, OB_WOKEN or OB_KICKED.
 */

/* Whether c is woken or kicked within the time that has paid lately. */
static bool spin(struct ob_ctx *c)
{
	unsigned int i, n = c->spins;

	if (n < OB_WAIT_SPINS_LEAST)
		n = ++c->probes % OB_WAIT_PROBE ? 0 : OB_WAIT_SPINS;
	for (i = 0; i < n; i++) {
		if (__atomic_load_n(&c->wake, __ATOMIC_ACQUIRE) > 0) {
			c->spins = n < OB_WAIT_SPINS / 2 ? 2 * n : OB_WAIT_SPINS;
			return true;
		}
		ob_spin();
	}
	c->spins /= 2;
	return false;
}

int ob_host_wait(struct ob_ctx *c)
{
	int v;

	ob_kicks_release();
	if (spin(c))
		goto out;
	v = 0;
	if (__atomic_compare_exchange_n(&c->wake, &v, -1, 0, __ATOMIC_SEQ_CST,
					__ATOMIC_ACQUIRE))
		/* pairs with the store in ob_threads_join() */
		while (__atomic_load_n(&c->wake, __ATOMIC_ACQUIRE) == -1 &&
		       !__atomic_load_n(&ob_halted, __ATOMIC_SEQ_CST))
			ob_futex(&c->wake, FUTEX_WAIT_PRIVATE, -1);
out:
	/* pairs with the exchanges in ob_host_wake() and ob_host_kick() */
	v = __atomic_exchange_n(&c->wake, 0, __ATOMIC_SEQ_CST);
	if (__builtin_expect(__atomic_load_n(&ob_halted, __ATOMIC_SEQ_CST), 0)) {
		/* the kernel's frames have no unwind tables: jump over them */
		if (c->host)
			longjmp(((struct ob_thread *)c->host)->end, 1);
		return OB_HALTED;
	}
	return v;
}

void ob_host_wake(struct ob_ctx *c)
{
	if (__atomic_exchange_n(&c->wake, OB_WOKEN, __ATOMIC_SEQ_CST) == -1)
		ob_futex(&c->wake, FUTEX_WAKE_PRIVATE, 1);
}

/* A wake up that is under way is not overwritten. */
void ob_host_kick(struct ob_ctx *c)
{
	int v = -1;

	if (__atomic_compare_exchange_n(&c->wake, &v, OB_KICKED, 0,
					__ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		ob_futex(&c->wake, FUTEX_WAKE_PRIVATE, 1);
	else if (v == 0)
		__atomic_compare_exchange_n(&c->wake, &v, OB_KICKED, 0,
					    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/* --- contexts --- */

struct ob_ctx *ob_host_ctx_new(void)
{
	struct ob_ctx *c;

	pthread_mutex_lock(&ctxs_lock);
	c = free_ctxs;
	if (c)
		free_ctxs = c->entry_next;
	pthread_mutex_unlock(&ctxs_lock);
	if (!c) {
		if (posix_memalign((void **)&c, 64, sizeof(*c)))
			return NULL;
		memset(c, 0, sizeof(*c));
		c->spins = OB_WAIT_SPINS;
		return c;
	}
	/*
	 * A late kick may still come, and a queued interrupt still be looked at:
	 * the one is harmless, the number of the calls tells the other apart.
	 */
	c->task = NULL;
	c->leaving = c->own = 0;
	c->interrupt_hit = 0;
	c->fn = NULL;
	c->host = NULL;
	c->spins = OB_WAIT_SPINS;
	return c;
}

void ob_host_ctx_free(struct ob_ctx *c)
{
	pthread_mutex_lock(&ctxs_lock);
	c->entry_next = free_ctxs;
	free_ctxs = c;
	pthread_mutex_unlock(&ctxs_lock);
}

/* --- threads --- */

static void *thread_main(void *arg)
{
	struct ob_thread *t = arg;

	t->ctx->host = t;
	if (!setjmp(t->end))
		t->fn(t->ctx);		/* may free the context */
	__atomic_store_n(&t->ended, true, __ATOMIC_RELEASE);
	return NULL;
}

/* Join the threads that have ended by themselves; under threads_lock. */
static void reap(void)
{
	struct ob_thread **p = &threads, *t;

	while ((t = *p)) {
		if (!__atomic_load_n(&t->ended, __ATOMIC_ACQUIRE)) {
			p = &t->next;
			continue;
		}
		*p = t->next;
		pthread_join(t->id, NULL);
		free(t);
	}
}

int ob_thread_start(struct ob_ctx *c, void (*fn)(struct ob_ctx *))
{
	struct ob_thread *t = calloc(1, sizeof(*t));
	pthread_attr_t a;
	sigset_t all, old;
	int r;

	if (!t)
		return ENOMEM;
	t->ctx = c;
	t->fn = fn;
	/* faults of the kernel are for whoever handles those of the process */
	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_mutex_lock(&threads_lock);
	reap();
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, OB_STACK_BYTES);
	r = pthread_create(&t->id, &a, thread_main, t);
	pthread_attr_destroy(&a);
	/* static TLS is taken from the stack, and can be too large for it */
	if (r == EINVAL || r == EAGAIN)
		r = pthread_create(&t->id, NULL, thread_main, t);
	if (r) {
		free(t);
	} else {
		t->next = threads;
		threads = t;
	}
	pthread_mutex_unlock(&threads_lock);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r;
}

int ob_host_thread_start(struct ob_ctx *c)
{
	return ob_thread_start(c, c->fn);
}

/* After the CPU was taken for ever: end and join them all. */
void ob_threads_join(void)
{
	struct ob_thread *t;

	__atomic_store_n(&ob_halted, 1, __ATOMIC_SEQ_CST);
	ob_host_timer(1);
	while ((t = threads)) {
		threads = t->next;
		if (!__atomic_load_n(&t->ended, __ATOMIC_ACQUIRE))
			ob_host_wake(t->ctx);
		pthread_join(t->id, NULL);
		free(t);
	}
}
