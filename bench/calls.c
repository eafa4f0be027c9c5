// SPDX-License-Identifier: MIT
/*
 * Times single operations as a program sees them, one JSON object on stdout.
 * Run it natively and under `outboard run`; bench/compare does both.
 *
 *   calls [OPERATION...]    default: all
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
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

/* Microseconds per call, the median of nine batches. */
static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

#define BATCHES 9
#define TIME(n, call) ({						\
	double batch_[BATCHES];						\
	for (int b_ = 0; b_ < BATCHES; b_++) {				\
		double t_ = now();					\
		for (int i_ = 0; i_ < (n); i_++) {			\
			call;						\
		}							\
		batch_[b_] = (now() - t_) / (n) * 1e6;			\
	}								\
	qsort(batch_, BATCHES, sizeof(double), by_value);		\
	batch_[BATCHES / 2];						\
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
static double op_untrapped(void) { return TIME(20000, syscall(SYS_getppid)); }

/* One byte from a descriptor of the host: trapped and continued. */
static double op_host_read(void)
{
	int f = open("/dev/zero", O_RDONLY);
	char c;
	double r;

	need(f >= 0, "/dev/zero");
	r = TIME(4000, need(read(f, &c, 1) == 1, "read"));
	close(f);
	return r;
}

/* The least that a device call does. */
static double op_device_null(void)
{
	int s = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a;
	double r;

	need(s >= 0, "socket");
	r = TIME(2000, socklen_t n = sizeof(a);
		       need(!getsockname(s, (void *)&a, &n), "getsockname"));
	close(s);
	return r;
}

/* socket and close. */
static double op_socket_close(void)
{
	return TIME(500, int s = socket(AF_INET, SOCK_DGRAM, 0);
			 need(s >= 0, "socket"); close(s));
}

/* Round trip of one byte between two threads, blocking. */
static double op_tcp_rr(void)
{
	pthread_t t;
	int c, s;
	char b = 1;
	double r;

	connected(&c, &s);
	need(!pthread_create(&t, NULL, echo, &s), "thread");
	r = TIME(500, need(send(c, &b, 1, 0) == 1 && recv(c, &b, 1, 0) == 1, "rr"));
	shutdown(c, SHUT_RDWR);
	pthread_join(t, NULL);
	close(c);
	close(s);
	return r;
}

/* Bulk TCP over the device's loopback, GB/s. */
static double op_tcp_bulk(void)
{
	static char b[128 * 1024];
	long total = 512L << 20, done = 0;
	pthread_t t;
	int c, s;
	double t0;

	connected(&c, &s);
	need(!pthread_create(&t, NULL, sink, &s), "thread");
	t0 = now();
	while (done < total) {
		ssize_t n = send(c, b, sizeof(b), 0);

		need(n > 0, "send");
		done += n;
	}
	shutdown(c, SHUT_WR);
	pthread_join(t, NULL);
	close(c);
	close(s);
	return total / (now() - t0) / 1e9;
}

static const struct {
	const char *name, *unit;
	double (*run)(void);
} ops[] = {
	{ "untrapped", "us", op_untrapped },
	{ "host_read", "us", op_host_read },
	{ "device_null", "us", op_device_null },
	{ "socket_close", "us", op_socket_close },
	{ "tcp_rr", "us", op_tcp_rr },
	{ "tcp_bulk", "GB/s", op_tcp_bulk },
};

int main(int argc, char **argv)
{
	const char *sep = "{";

	for (unsigned i = 0; i < sizeof(ops) / sizeof(*ops); i++) {
		int wanted = argc == 1;

		for (int j = 1; j < argc; j++)
			wanted |= !strcmp(argv[j], ops[i].name);
		if (!wanted)
			continue;
		printf("%s\"%s\": %.4g", sep, ops[i].name, ops[i].run());
		fflush(stdout);
		sep = ", ";
	}
	puts("}");
	return 0;
}
