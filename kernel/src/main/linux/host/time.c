// SPDX-License-Identifier: GPL-2.0-only
/* The host's clocks, its timer, and its randomness. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "host.h"

#define NSEC_PER_SEC	1000000000ull

static int timer_fd = -1;

static unsigned long long clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * NSEC_PER_SEC + t.tv_nsec;
}

unsigned long long ob_host_mono_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

unsigned long long ob_host_real_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

void ob_host_timer(unsigned long long ns)
{
	struct itimerspec it = {
		.it_value = { ns / NSEC_PER_SEC, ns % NSEC_PER_SEC },
	};

	timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &it, NULL);
}

static void timer_main(struct ob_ctx *c)
{
	uint64_t n;

	while (!__atomic_load_n(&ob_halted, __ATOMIC_SEQ_CST))
		if (read(timer_fd, &n, sizeof(n)) == sizeof(n) &&
		    !__atomic_load_n(&ob_halted, __ATOMIC_SEQ_CST))
			ob_k_irq(c, OB_IRQ_TIMER);
	ob_host_ctx_free(c);
}

/* The timer may be set before its thread runs: it then fires late, not never. */
int ob_timer_start(void)
{
	struct ob_ctx *c = ob_host_ctx_new();

	if (!c)
		return -ENOMEM;
	timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (timer_fd < 0)
		return -errno;
	return -ob_thread_start(c, timer_main);
}

void ob_timer_stop(void)
{
	close(timer_fd);
	timer_fd = -1;
}

unsigned long ob_host_random(void *p, unsigned long n)
{
	long r = getrandom(p, n, 0);

	return r < 0 ? 0 : r;
}

int ob_host_eventfd_signal(int fd)
{
	return eventfd_write(fd, 1) ? -errno : 0;
}
