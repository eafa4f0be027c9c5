// SPDX-License-Identifier: MIT
/*
 * Boots the library kernel that is its argument and asks it for a little of everything that a
 * processor has a say in: structures, threads that wait for each other, interruption, atomics under
 * contention.  Prints one line for each; ends with status 1 at the first that is not as it should be.
 *
 * The same program on every architecture, for the calls are the same: numbers of asm-generic, and
 * x86-64's structures.  It declares what it passes itself, so that no header of the machine says
 * otherwise.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "outboard_kernel.h"

/* asm-generic */
enum {
	NR_eventfd2 = 19, NR_epoll_create1, NR_epoll_ctl, NR_epoll_pwait,
	NR_fcntl = 25, NR_ioctl = 29, NR_openat = 56, NR_close = 57, NR_read = 63,
	NR_write = 64, NR_ppoll = 73, NR_newfstatat = 79, NR_uname = 160,
	NR_gettid = 178, NR_socket = 198, NR_bind = 200, NR_listen, NR_accept,
	NR_connect, NR_getsockname, NR_sendto = 206, NR_recvfrom, NR_setsockopt,
	NR_socketpair = 199, NR_statx = 291,
};

struct packed_event {
	uint32_t events;
	uint64_t data;
} __attribute__((packed));

struct address {
	uint16_t family, port;
	uint32_t ip;
	char zero[8];
};

/* the user region, a block for each thread */
#define BLOCK	(256 * 1024)
#define THREADS	8

static struct {
	int (*boot)(const struct obk_config *, struct obk_memory *);
	const char *(*release)(void);
	int (*enter)(int, unsigned int);
	void (*leave)(void);
	long (*syscall)(long, long, long, long, long, long, long);
	uint32_t (*call)(int);
	int (*interrupt)(int, uint32_t);
	int (*halt)(void);
} k;

static struct obk_memory memory;
static int first;	/* the task that others share files with */

static void check(int ok, const char *what, long value)
{
	if (!ok) {
		printf("%s: %ld\n", what, value);
		exit(1);
	}
}

static long call(long nr, long a, long b, long c, long d, long e, long f)
{
	return k.syscall(nr, a, b, c, d, e, f);
}

static char *block(int i)
{
	return (char *)memory.user + i * BLOCK;
}

static long must(const char *what, long r)
{
	check(r >= 0, what, r);
	return r;
}

static void structures(char *m)
{
	struct packed_event *e = (void *)m;
	long fd, ep, n;
	uint64_t *value = (void *)(m + 4096);

	fd = must("eventfd2", call(NR_eventfd2, 0, 04000, 0, 0, 0, 0));
	ep = must("epoll_create1", call(NR_epoll_create1, 0, 0, 0, 0, 0, 0));
	e->events = 1;
	e->data = 0x1122334455667788;
	must("epoll_ctl", call(NR_epoll_ctl, ep, 1, fd, (long)e, 0, 0));
	*value = 7;
	check(call(NR_write, fd, (long)value, 8, 0, 0, 0) == 8, "write", 0);
	memset(m, 0, 64);
	n = call(NR_epoll_pwait, ep, (long)m, 2, 1000, 0, 8);
	check(n == 1, "epoll_pwait", n);
	check(e->events == 1 && e->data == 0x1122334455667788,
	      "epoll_event is not packed", e->data);
	n = call(NR_read, fd, (long)value, 8, 0, 0, 0);
	check(n == 8 && *value == 7, "eventfd", n);

	/* O_DIRECTORY and O_NOFOLLOW of x86-64: a directory opens, a file does not */
	strcpy(m, "/proc");
	must("O_DIRECTORY", call(NR_openat, -100, (long)m, 0x10000 | 0x20000, 0, 0, 0));
	strcpy(m, "/proc/version");
	n = call(NR_openat, -100, (long)m, 0x10000, 0, 0, 0);
	check(n == -20, "O_DIRECTORY of a file", n);
	strcpy(m, "/proc/self");
	n = call(NR_openat, -100, (long)m, 0x20000, 0, 0, 0);
	check(n == -40, "O_NOFOLLOW of a link", n);
	strcpy(m, "/proc/version");
	n = call(NR_openat, -100, (long)m, 0x4000, 0, 0, 0);
	check(n == -22, "O_DIRECT", n);	/* refused by the port, and so known */

	/* what it cannot point to is EFAULT */
	n = call(NR_uname, (long)&n, 0, 0, 0, 0, 0);
	check(n == -14, "uname to memory that is not the kernel's", n);
	must("uname", call(NR_uname, (long)m, 0, 0, 0, 0, 0));
	printf("structures and flags as on x86-64; %s %s %s\n", m, m + 130, m + 260);
}

static void loopback_up(char *m)
{
	long s = must("socket", call(NR_socket, 2, 2, 0, 0, 0, 0));

	memset(m, 0, 40);
	strcpy(m, "lo");
	*(short *)(m + 16) = 1 | 64;	/* IFF_UP | IFF_RUNNING */
	must("SIOCSIFFLAGS", call(NR_ioctl, s, 0x8914, (long)m, 0, 0, 0));
	call(NR_close, s, 0, 0, 0, 0, 0);
}

#define TRANSFER	(64l << 20)
static int listener;

static uint64_t next(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state;
}

static void *sender(void *arg)
{
	char *m = block(1);
	struct address *a = (void *)m;
	uint64_t state = 1;
	long s, sent, n, i;

	must("enter", k.enter(first, 0));
	*a = *(struct address *)arg;
	s = must("socket", call(NR_socket, 2, 1, 0, 0, 0, 0));
	must("connect", call(NR_connect, s, (long)a, 16, 0, 0, 0));
	for (sent = 0; sent < TRANSFER; sent += 65536) {
		for (i = 0; i < 8192; i++)
			((uint64_t *)m)[i] = next(&state);
		for (i = 0; i < 65536; i += n)
			n = must("send", call(NR_sendto, s, (long)m + i,
					      65536 - i, 0, 0, 0));
	}
	must("close", call(NR_close, s, 0, 0, 0, 0, 0));
	k.leave();
	return NULL;
}

/* Numbered words over TCP on lo: checksums, copies, two threads that wait for each other. */
static void tcp(char *m)
{
	struct address *a = (void *)m;
	uint64_t state = 1;
	pthread_t t;
	long got, n, i, s, have = 0;

	loopback_up(m);
	listener = must("socket", call(NR_socket, 2, 1, 0, 0, 0, 0));
	memset(a, 0, sizeof(*a));
	a->family = 2;
	a->ip = 0x0100007f;
	must("bind", call(NR_bind, listener, (long)a, 16, 0, 0, 0));
	must("listen", call(NR_listen, listener, 8, 0, 0, 0, 0));
	*(int *)(m + 64) = 16;
	must("getsockname", call(NR_getsockname, listener, (long)a,
				 (long)m + 64, 0, 0, 0));
	struct address to = *a;
	pthread_create(&t, NULL, sender, &to);
	s = must("accept", call(NR_accept, listener, 0, 0, 0, 0, 0));
	for (got = 0; (n = must("recv", call(NR_recvfrom, s, (long)m + have,
					     65536 - have, 0, 0, 0))) > 0; got += n) {
		have += n;
		for (i = 0; i + 8 <= have; i += 8)
			check(*(uint64_t *)(m + i) == next(&state), "byte",
			      got + i);
		memmove(m, m + i, have - i);
		have -= i;
	}
	check(got == TRANSFER && !have, "bytes", got);
	pthread_join(t, NULL);
	printf("%ld MiB of TCP over lo, as sent\n", TRANSFER >> 20);
}

static int pair[2];
static volatile int sleeper;

static void *sleeps(void *arg)
{
	int n = must("enter", k.enter(first, 0));

	__atomic_store_n(&sleeper, n, __ATOMIC_RELEASE);
	*(long *)arg = call(NR_recvfrom, pair[0], (long)block(1), 1, 0, 0, 0);
	k.leave();
	return NULL;
}

/* A thread that sleeps in the kernel is interrupted; one that does not is not. */
static void interruption(char *m)
{
	pthread_t t;
	long r = 0;
	int i;

	must("socketpair", call(NR_socketpair, 1, 1, 0, (long)m, 0, 0));
	memcpy(pair, m, sizeof(pair));
	pthread_create(&t, NULL, sleeps, &r);
	while (!__atomic_load_n(&sleeper, __ATOMIC_ACQUIRE) ||
	       !(k.call(sleeper) & 1))
		usleep(1000);
	check(k.interrupt(first, 0) == 0, "interrupt of nothing", 0);
	/* a call that has not reached the kernel yet counts as none: repeat */
	for (i = 0; i < 5000 && k.interrupt(sleeper, 0) == 1; i++)
		usleep(1000);
	pthread_join(t, NULL);
	check(r == -512, "an interrupted recv", r);
	printf("a sleeping call is interrupted\n");
}

#define ROUNDS	2000
static int ring[THREADS][2];
static pthread_barrier_t start;

static void *passes(void *arg)
{
	int i = (long)arg, n;
	uint64_t *value = (void *)block(i + 1);

	must("enter", k.enter(first, 0));
	pthread_barrier_wait(&start);
	for (n = 0; n < ROUNDS; n++) {
		check(call(NR_read, ring[i][0], (long)value, 8, 0, 0, 0) == 8,
		      "read", n);
		check(*value == (uint64_t)n * THREADS + i, "token", *value);
		++*value;
		check(call(NR_write, ring[(i + 1) % THREADS][1], (long)value, 8,
			   0, 0, 0) == 8, "write", n);
	}
	k.leave();
	return NULL;
}

/*
 * A token around a ring of threads: each waits for the one before it, so that every wake up that is
 * lost is a hang.  All but one are asleep, and all meet at the lock of the kernel's CPU.
 */
static void contention(char *m)
{
	pthread_t t[THREADS];
	uint64_t *value = (void *)m;
	long i;

	pthread_barrier_init(&start, NULL, THREADS + 1);
	for (i = 0; i < THREADS; i++) {
		must("socketpair", call(NR_socketpair, 1, 1, 0, (long)m, 0, 0));
		memcpy(ring[i], m, sizeof(ring[i]));
	}
	for (i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, passes, (void *)i);
	pthread_barrier_wait(&start);
	*value = 0;
	check(call(NR_write, ring[0][1], (long)value, 8, 0, 0, 0) == 8, "write",
	      0);
	for (i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	check(call(NR_read, ring[0][0], (long)value, 8, 0, 0, 0) == 8, "read", 0);
	check(*value == (uint64_t)ROUNDS * THREADS, "token at the end", *value);
	printf("%d hand-overs between %d threads, none lost\n", ROUNDS * THREADS,
	       THREADS);
}

static void symbols(const char *path)
{
	void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!so) {
		printf("%s\n", dlerror());
		exit(1);
	}
	k.boot = dlsym(so, "obk_boot");
	k.release = dlsym(so, "obk_release");
	k.enter = dlsym(so, "obk_task_enter");
	k.leave = dlsym(so, "obk_task_leave");
	k.syscall = dlsym(so, "obk_syscall");
	k.call = dlsym(so, "obk_call");
	k.interrupt = dlsym(so, "obk_interrupt");
	k.halt = dlsym(so, "obk_halt");
	check(k.boot && k.release && k.enter && k.leave && k.syscall && k.call &&
	      k.interrupt && k.halt, "a symbol is missing", 0);
}

int main(int argc, char **argv)
{
	struct obk_console *console = calloc(1, sizeof(*console) + 65536);
	struct obk_config config = {
		.ram_bytes = 64 << 20,
		.user_bytes = 4 << 20,
		.command_line = "cryptomgr.notests=1",
		.console = console,
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	check(argc == 2, "usage: smoke liboutboard-kernel.so", argc);
	console->capacity = 65536;
	symbols(argv[1]);
	must("boot", k.boot(&config, &memory));
	printf("booted %s\n", k.release());
	if (getenv("SMOKE_LOG"))
		fwrite(console->data, 1, console->written, stdout);
	first = must("enter", k.enter(0, OBK_OWN_FILES));
	structures(block(0));
	tcp(block(0));
	interruption(block(0));
	contention(block(0));
	k.leave();
	must("halt", k.halt());
	printf("halted\n");
	return 0;
}
