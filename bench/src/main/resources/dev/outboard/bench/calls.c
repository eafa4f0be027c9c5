// SPDX-License-Identifier: MIT
/*
 * Times single operations as a program sees them. `outboard bench calls` runs it in each mode.
 *
 * A line of standard input names an operation and says how many seconds it may take; the answer is
 * a line of JSON: how much was done, and in how many seconds. Ends with its input.
 *
 * With the argument "filtered" it puts itself under a seccomp filter first, which allows all calls.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void need(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

/* Between two looks at the clock, so that looking costs nothing. */
#define BATCH 64

/* Repeats CALL for LIMIT seconds; how often, and how long it really took. */
struct result { double amount, seconds; };
#define REPEAT(limit, call) ({						\
	struct result r_ = { 0, 0 };					\
	double begin_ = now();						\
	do {								\
		for (int i_ = 0; i_ < BATCH; i_++) {			\
			call;						\
		}							\
		r_.amount += BATCH;					\
		r_.seconds = now() - begin_;				\
	} while (r_.seconds < (limit));					\
	r_;								\
})

static void connected(int *client, int *server)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	need(l >= 0, "socket");
	need(!bind(l, (void *)&a, n) && !listen(l, 1), "listen");
	need(!getsockname(l, (void *)&a, &n), "getsockname");
	*client = socket(AF_INET, SOCK_STREAM, 0);
	need(!connect(*client, (void *)&a, n), "connect");
	*server = accept(l, NULL, NULL);
	need(*server >= 0, "accept");
	setsockopt(*client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(*server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	close(l);
}

static void *echo(void *arg)
{
	int s = *(int *)arg;
	char c;

	while (recv(s, &c, 1, 0) == 1)
		if (send(s, &c, 1, MSG_NOSIGNAL) != 1)
			break;
	return NULL;
}

static void *sink(void *arg)
{
	static char b[128 * 1024];
	int s = *(int *)arg;

	while (recv(s, b, sizeof(b), 0) > 0)
		;
	return NULL;
}

/* One call that no filter traps: what a filter costs those that it lets go. */
static struct result op_untrapped(double limit)
{
	return REPEAT(limit, syscall(SYS_getppid));
}

/* What every program under a filter pays, and outboard is measured against. */
static void allow_all(void)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = { .len = 1, .filter = &allow };

	need(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
	need(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "PR_SET_SECCOMP");
}

/* One byte from a descriptor of the host. */
static struct result op_host_read(double limit)
{
	int f = open("/dev/zero", O_RDONLY);
	char c;
	struct result r;

	need(f >= 0, "/dev/zero");
	r = REPEAT(limit, need(read(f, &c, 1) == 1, "read"));
	close(f);
	return r;
}

/* 1 KiB of a file of the host, which the page cache has. */
static struct result op_host_pread(double limit)
{
	int f = open("/proc/self/exe", O_RDONLY);
	char b[1024];
	struct result r;

	need(f >= 0, "/proc/self/exe");
	r = REPEAT(limit, need(pread(f, b, sizeof(b), 0) == sizeof(b), "pread"));
	close(f);
	return r;
}

/* The least that a device call does. */
static struct result op_device_null(double limit)
{
	int s = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a;
	struct result r;

	need(s >= 0, "socket");
	r = REPEAT(limit, socklen_t n = sizeof(a);
		   need(!getsockname(s, (void *)&a, &n), "getsockname"));
	close(s);
	return r;
}

/* Whose turn it is; memory that two processes share. */
enum { PARENTS, CHILDS, NOBODYS };

static void hand_over(_Atomic int *turn, int to)
{
	*turn = to;
	syscall(SYS_futex, turn, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static int await_turn(_Atomic int *turn, int other)
{
	while (*turn == other)
		syscall(SYS_futex, turn, FUTEX_WAIT, other, NULL, NULL, 0);
	return *turn;
}

/* Round trip between two processes that sleep: the least that two processes can do for each other. */
static struct result op_futex_rr(double limit)
{
	_Atomic int *turn = mmap(NULL, sizeof(*turn), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct result r;
	pid_t child;

	need(turn != MAP_FAILED, "mmap");
	child = fork();
	need(child >= 0, "fork");
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (await_turn(turn, PARENTS) == CHILDS)
			hand_over(turn, PARENTS);
		_exit(0);
	}
	r = REPEAT(limit, hand_over(turn, CHILDS); await_turn(turn, CHILDS));
	hand_over(turn, NOBODYS);
	need(waitpid(child, NULL, 0) == child, "waitpid");
	munmap(turn, sizeof(*turn));
	return r;
}

/* socket and close. */
static struct result op_socket_close(double limit)
{
	return REPEAT(limit, int s = socket(AF_INET, SOCK_DGRAM, 0);
		      need(s >= 0, "socket"); close(s));
}

/* Round trip of one byte between two threads, blocking. */
static struct result op_tcp_rr(double limit)
{
	pthread_t t;
	int c, s;
	char b = 1;
	struct result r;

	connected(&c, &s);
	need(!pthread_create(&t, NULL, echo, &s), "thread");
	r = REPEAT(limit, need(send(c, &b, 1, 0) == 1 && recv(c, &b, 1, 0) == 1, "rr"));
	shutdown(c, SHUT_RDWR);
	pthread_join(t, NULL);
	close(c);
	close(s);
	return r;
}

/* Bulk TCP over the loopback, in bytes. */
static struct result op_tcp_bulk(double limit)
{
	static char b[128 * 1024];
	struct result r = { 0, 0 };
	double begin;
	pthread_t t;
	int c, s;

	connected(&c, &s);
	need(!pthread_create(&t, NULL, sink, &s), "thread");
	begin = now();
	while (now() - begin < limit) {
		ssize_t n = send(c, b, sizeof(b), 0);

		need(n > 0, "send");
		r.amount += n;
	}
	shutdown(c, SHUT_WR);
	pthread_join(t, NULL);
	r.seconds = now() - begin;
	close(c);
	close(s);
	return r;
}

static const struct {
	const char *name;
	struct result (*run)(double limit);
} ops[] = {
	{ "untrapped", op_untrapped },
	{ "host_read", op_host_read },
	{ "host_pread", op_host_pread },
	{ "device_null", op_device_null },
	{ "device_null_one_cpu", op_device_null },
	{ "futex_rr_one_cpu", op_futex_rr },
	{ "socket_close", op_socket_close },
	{ "tcp_rr", op_tcp_rr },
	{ "tcp_bulk", op_tcp_bulk },
};

int main(int argc, char **argv)
{
	char name[32];
	double limit;

	if (argc == 2 && !strcmp(argv[1], "filtered"))
		allow_all();
	while (scanf("%31s %lf", name, &limit) == 2) {
		unsigned i = 0;

		while (i < sizeof(ops) / sizeof(*ops) && strcmp(ops[i].name, name))
			i++;
		if (i == sizeof(ops) / sizeof(*ops)) {
			fprintf(stderr, "there is no operation %s\n", name);
			return 2;
		}
		struct result r = ops[i].run(limit);

		printf("{\"amount\": %.0f, \"seconds\": %.9f}\n", r.amount, r.seconds);
		fflush(stdout);
	}
	return 0;
}
