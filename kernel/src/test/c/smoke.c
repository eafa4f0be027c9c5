// SPDX-License-Identifier: MIT
/*
 * Boots the library kernel that is its argument and asks it for a little of everything that a
 * processor has a say in: structures, checksums, ciphers, timers, memory that is shared with others,
 * threads that wait for each other, interruption, atomics under contention, the end.  Prints one line
 * for each; ends with status 1 at the first that is not as it should be.
 *
 * The same program on every architecture, for the calls are the same: numbers of asm-generic, and
 * x86-64's structures.  It declares what it passes itself, so that no header of the machine says
 * otherwise.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "outboard_kernel.h"

/* asm-generic */
enum {
	NR_eventfd2 = 19, NR_epoll_create1, NR_epoll_ctl, NR_epoll_pwait,
	NR_ioctl = 29, NR_openat = 56, NR_close = 57, NR_read = 63,
	NR_write = 64, NR_sendfile = 71, NR_ppoll = 73, NR_uname = 160,
	NR_socket = 198, NR_socketpair, NR_bind, NR_listen, NR_accept,
	NR_connect, NR_getsockname, NR_sendto = 206, NR_recvfrom, NR_setsockopt,
	NR_shutdown = 210, NR_sendmsg, NR_statx = 291,
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
	int (*map_window)(uint64_t, uint64_t, int);
	int (*unmap_window)(uint64_t, uint64_t);
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

/* Two ends of a connection over lo: ends[0] has connected. */
static void tcp_pair(char *m, int ends[2])
{
	struct address *a = (void *)m;
	long l = must("socket", call(NR_socket, 2, 1, 0, 0, 0, 0));

	memset(a, 0, sizeof(*a));
	a->family = 2;
	a->ip = 0x0100007f;
	must("bind", call(NR_bind, l, (long)a, 16, 0, 0, 0));
	must("listen", call(NR_listen, l, 8, 0, 0, 0, 0));
	*(int *)(m + 64) = 16;
	must("getsockname", call(NR_getsockname, l, (long)a, (long)m + 64, 0,
				 0, 0));
	ends[0] = must("socket", call(NR_socket, 2, 1, 0, 0, 0, 0));
	must("connect", call(NR_connect, ends[0], (long)a, 16, 0, 0, 0));
	ends[1] = must("accept", call(NR_accept, l, 0, 0, 0, 0, 0));
	call(NR_close, l, 0, 0, 0, 0, 0);
}

static void close_pair(int ends[2])
{
	call(NR_close, ends[0], 0, 0, 0, 0, 0);
	call(NR_close, ends[1], 0, 0, 0, 0, 0);
}

/* What an edge-triggered epoll says of a connection, step by step. */
static void readiness(char *m)
{
	struct packed_event *e = (void *)m;
	int ends[2];
	long ep, n;

	tcp_pair(m, ends);
	ep = must("epoll_create1", call(NR_epoll_create1, 0, 0, 0, 0, 0, 0));
	/* IN, OUT, RDHUP, ET */
	e->events = 1u | 4u | 0x2000u | 1u << 31;
	e->data = ends[1];
	must("epoll_ctl", call(NR_epoll_ctl, ep, 1, ends[1], (long)e, 0, 0));
	n = call(NR_epoll_pwait, ep, (long)e, 4, 1000, 0, 8);
	check(n == 1 && e->events == 4, "at first OUT", e->events);
	check(!call(NR_epoll_pwait, ep, (long)e, 4, 0, 0, 8), "no edge", 0);
	must("send", call(NR_sendto, ends[0], (long)m + 64, 5, 0, 0, 0));
	n = call(NR_epoll_pwait, ep, (long)e, 4, 1000, 0, 8);
	check(n == 1 && e->events == 5 && e->data == (uint64_t)ends[1],
	      "then IN", e->events);
	check(!call(NR_epoll_pwait, ep, (long)e, 4, 0, 0, 8), "no edge", 0);
	must("shutdown", call(NR_shutdown, ends[0], 1, 0, 0, 0, 0));
	n = call(NR_epoll_pwait, ep, (long)e, 4, 1000, 0, 8);
	check(n == 1 && e->events == 0x2005, "then RDHUP", e->events);
	call(NR_close, ep, 0, 0, 0, 0, 0);
	close_pair(ends);
	printf("edges of a connection by epoll\n");
}

/* A file of the kernel's own memory goes into a connection without a copy of ours. */
static void transfer(char *m)
{
	uint64_t state = 7;
	int ends[2];
	long file, i, got, n, at, bytes = 300000;
	char *path = m, *data = m + 4096;

	strcpy(path, "/smoke");
	file = must("open", call(NR_openat, -100, (long)path, 2 | 0100 | 01000,
				 0600, 0, 0));
	for (at = 0; at < bytes; at += 50000) {
		for (i = 0; i < 50000 / 8; i++)
			((uint64_t *)data)[i] = next(&state);
		check(call(NR_write, file, (long)data, 50000, 0, 0, 0) == 50000,
		      "write", at);
	}
	/* the size, 40 bytes into statx */
	must("statx", call(NR_statx, -100, (long)path, 0, 0x7ff, (long)data, 0));
	check(*(uint64_t *)(data + 40) == (uint64_t)bytes, "size",
	      *(uint64_t *)(data + 40));
	tcp_pair(data, ends);
	state = 7;
	for (at = 0; at < bytes; at = *(long *)m) {
		*(long *)m = at;
		n = must("sendfile", call(NR_sendfile, ends[0], file, (long)m,
					  50000, 0, 0));
		check(n == 50000 && *(long *)m == at + n, "sendfile", n);
		for (got = 0; got < n; got += i)
			i = must("recv", call(NR_recvfrom, ends[1],
					      (long)data + got, n - got, 0, 0,
					      0));
		for (i = 0; i < n / 8; i++)
			check(((uint64_t *)data)[i] == next(&state), "word", i);
	}
	call(NR_close, file, 0, 0, 0, 0, 0);
	close_pair(ends);
	printf("%ld bytes of a file by sendfile\n", bytes);
}

/* RFC 1071, by pairs of bytes */
static uint16_t sum(const unsigned char *p, long n, uint32_t s)
{
	for (long i = 0; i < n; i++)
		s += i % 2 ? p[i] : p[i] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return ~s;
}

/*
 * Echoes of all lengths and of odd addresses: the kernel checks our sums and we
 * check its own, over a pseudo header as well.  lo does without those of TCP.
 */
static void checksums(char *m, int v6)
{
	unsigned char *out = (void *)(m + 4096), *in = (void *)(m + 16384);
	int request = v6 ? 128 : 8, reply = v6 ? 129 : 0, head = v6 ? 0 : 20;
	uint64_t state = 3;
	long s, n, i, bytes;

	memset(m, 0, 28);
	*(uint16_t *)m = v6 ? 10 : 2;
	if (v6)
		m[23] = 1;
	else
		memcpy(m + 4, "\x7f\0\0\1", 4);
	s = must("socket", call(NR_socket, v6 ? 10 : 2, 3, v6 ? 58 : 1, 0, 0, 0));
	for (bytes = 8; bytes < 600; bytes += 1) {
		unsigned char *o = out + bytes % 8;
		/* ::1 twice, the length, the protocol */
		uint32_t pseudo = v6 ? 1 + 1 + bytes + 58 : 0;

		for (i = 8; i < bytes; i++)
			o[i] = next(&state) >> 56;
		memset(o, 0, 8);
		o[0] = request;
		o[6] = bytes >> 8;
		o[7] = bytes;
		i = sum(o, bytes, pseudo);
		o[2] = i >> 8;
		o[3] = i;
		n = call(NR_sendto, s, (long)o, bytes, 0, (long)m, v6 ? 28 : 16);
		check(n == bytes, "send of an echo", n);
		do {	/* our own request comes as well */
			n = must("an echo", call(NR_recvfrom, s, (long)in, 2048,
						 0, 0, 0));
			check(n == bytes + head, "length of an echo", n);
		} while (in[head] != reply);
		check(!memcmp(in + head + 4, o + 4, bytes - 4), "echo", bytes);
		check(!sum(in + head, bytes, pseudo), "sum of an echo", bytes);
	}
	call(NR_close, s, 0, 0, 0, 0, 0);
	printf("checksums of %s\n", v6 ? "IPv6" : "IPv4");
}

/* A known answer of AES-GCM from AF_ALG: test case 4 of its specification. */
static void cipher(char *m)
{
	static const unsigned char key[] =
		"\xfe\xff\xe9\x92\x86\x65\x73\x1c\x6d\x6a\x8f\x94\x67\x30\x83\x08";
	static const unsigned char iv[] =
		"\xca\xfe\xba\xbe\xfa\xce\xdb\xad\xde\xca\xf8\x88";
	static const unsigned char additional[] =
		"\xfe\xed\xfa\xce\xde\xad\xbe\xef\xfe\xed\xfa\xce\xde\xad\xbe\xef"
		"\xab\xad\xda\xd2";
	static const unsigned char plain[] =
		"\xd9\x31\x32\x25\xf8\x84\x06\xe5\xa5\x59\x09\xc5\xaf\xf5\x26\x9a"
		"\x86\xa7\xa9\x53\x15\x34\xf7\xda\x2e\x4c\x30\x3d\x8a\x31\x8a\x72"
		"\x1c\x3c\x0c\x95\x95\x68\x09\x53\x2f\xcf\x0e\x24\x49\xa6\xb5\x25"
		"\xb1\x6a\xed\xf5\xaa\x0d\xe6\x57\xba\x63\x7b\x39";
	static const unsigned char tag[] =
		"\x5b\xc9\x4f\xbc\x32\x21\xa5\xdb\x94\xfa\xe9\x5a\xe7\x12\x1a\x47";
	struct { uint64_t len; uint32_t level, type; } *c;
	struct { char *name; uint32_t length, none; struct { void *p; long n; } *iov;
		 long iovs; void *control; long control_length; long flags; } *h;
	char *text = m + 4096;
	long s, o, n;

	memset(m, 0, 4096);
	*(uint16_t *)m = 38;
	strcpy(m + 2, "aead");
	strcpy(m + 24, "gcm(aes)");
	s = must("AF_ALG", call(NR_socket, 38, 5, 0, 0, 0, 0));
	must("gcm(aes)", call(NR_bind, s, (long)m, 88, 0, 0, 0));
	memcpy(m, key, 16);
	must("key", call(NR_setsockopt, s, 279, 1, (long)m, 16, 0));
	must("tag", call(NR_setsockopt, s, 279, 5, 0, 16, 0));
	o = must("accept", call(NR_accept, s, 0, 0, 0, 0, 0));

	memset(m, 0, 512);
	h = (void *)m;
	h->iov = (void *)(m + 128);
	h->iovs = 1;
	h->iov->p = text;
	h->iov->n = 20 + 60;
	h->control = c = (void *)(m + 256);
	/* encrypt; the IV; how much is only authenticated */
	c->len = 20, c->level = 279, c->type = 3;
	*(uint32_t *)(c + 1) = 1;
	c = (void *)((char *)c + 24);
	c->len = 16 + 4 + 12, c->level = 279, c->type = 2;
	*(uint32_t *)(c + 1) = 12;
	memcpy((char *)(c + 1) + 4, iv, 12);
	c = (void *)((char *)c + 32);
	c->len = 20, c->level = 279, c->type = 4;
	*(uint32_t *)(c + 1) = 20;
	h->control_length = 24 + 32 + 24;
	memcpy(text, additional, 20);
	memcpy(text + 20, plain, 60);
	n = call(NR_sendmsg, o, (long)h, 0, 0, 0, 0);
	check(n == 80, "text", n);
	n = call(NR_read, o, (long)text, 20 + 60 + 16, 0, 0, 0);
	check(n == 96, "encrypted text", n);
	check(!memcmp(text + 80, tag, 16), "the tag differs", 0);
	call(NR_close, o, 0, 0, 0, 0, 0);
	call(NR_close, s, 0, 0, 0, 0, 0);
	printf("AES-GCM has its known answer\n");
}

/* TLS 1.3 of the kernel: what one end encrypts the other one decrypts. */
static void ktls(char *m, int type, const char *name)
{
	int ends[2], i, key = type == 54 ? 12 + 32 + 8 : 8 + 16 + 4 + 8;
	uint64_t state = 5;
	char *data = m + 4096;
	long n, got, j, bytes = 60000;

	tcp_pair(m, ends);
	for (i = 0; i < 2; i++) {
		strcpy(m, "tls");
		must("ULP", call(NR_setsockopt, ends[i], 6, 31, (long)m, 4, 0));
		memset(m, 0, 64);
		*(uint16_t *)m = 0x304;
		*(uint16_t *)(m + 2) = type;
		memset(m + 4, 0x5a, key - 8);
		must(name, call(NR_setsockopt, ends[i], 282, 1 + i, (long)m,
				4 + key, 0));
	}
	for (i = 0; i < 16; i++) {
		uint64_t before = state;

		for (j = 0; j < bytes / 8; j++)
			((uint64_t *)data)[j] = next(&state);
		n = call(NR_sendto, ends[0], (long)data, bytes, 0, 0, 0);
		check(n == bytes, "send by TLS", n);
		memset(data, 0, bytes);
		for (got = 0; got < bytes; got += n) {
			n = must("receive by TLS",
				 call(NR_recvfrom, ends[1], (long)data + got,
				      bytes - got, 0, 0, 0));
			check(n, "end of TLS", got);
		}
		state = before;
		for (j = 0; j < bytes / 8; j++)
			check(((uint64_t *)data)[j] == next(&state), "word", j);
	}
	close_pair(ends);
	printf("kernel TLS 1.3 with %s\n", name);
}

static long milliseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The host's timer: no time limit ends before its time, and each ends. */
static void timers(char *m)
{
	struct { long seconds, ns; } *limit = (void *)m;
	long before, i, n;

	for (i = 1; i <= 10; i++) {
		limit->seconds = 0;
		limit->ns = i * 3000000;
		before = milliseconds();
		n = call(NR_ppoll, 0, 0, (long)limit, 0, 8, 0);
		check(n == 0, "ppoll", n);
		check(milliseconds() - before >= 3 * i - 1, "a timer is early", i);
	}
	printf("timers are not early\n");
}

/* Memory that another address of the process shares, as call slots are. */
static void window(char *m)
{
	uint64_t at = 3 << 20, bytes = 1 << 16;
	char *in = (char *)memory.user + at, *other;
	int fd = memfd_create("smoke", MFD_ALLOW_SEALING), ends[2];
	long n;

	check(fd >= 0 && !ftruncate(fd, bytes), "memfd", fd);
	n = k.map_window(at, bytes, fd);
	check(n == -1, "a window that is not sealed", n);	/* EPERM */
	check(!fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), "seal", 0);
	must("map_window", k.map_window(at, bytes, fd));
	other = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	must("socketpair", call(NR_socketpair, 1, 1, 0, (long)m, 0, 0));
	memcpy(ends, m, sizeof(ends));
	strcpy(other + 5, "through the window");
	n = call(NR_write, ends[0], (long)in + 5, 19, 0, 0, 0);
	check(n == 19, "write from a window", n);
	n = call(NR_read, ends[1], (long)in + 30001, 19, 0, 0, 0);
	check(n == 19 && !strcmp(other + 30001, "through the window"),
	      "read into a window", n);
	must("unmap_window", k.unmap_window(at, bytes));
	check(!in[5] && other[5] == 't', "what is left of a window", 0);
	munmap(other, bytes);
	close_pair(ends);
	printf("a window of shared memory\n");
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

/* The kernel ends while a call sleeps in it and a thread is a task. */
static void the_end(char *m)
{
	pthread_t t;
	long r = 0;

	must("socketpair", call(NR_socketpair, 1, 1, 0, (long)m, 0, 0));
	memcpy(pair, m, sizeof(pair));
	__atomic_store_n(&sleeper, 0, __ATOMIC_RELEASE);
	pthread_create(&t, NULL, sleeps, &r);
	while (!__atomic_load_n(&sleeper, __ATOMIC_ACQUIRE) ||
	       !(k.call(sleeper) & 1))
		usleep(1000);
	usleep(10000);
	must("halt", k.halt());
	pthread_join(t, NULL);
	/* interrupted, or too late */
	check(r == -512 || r == -19, "a recv at the end", r);
	r = call(NR_socket, 2, 1, 0, 0, 0, 0);
	check(r == -19, "a call after the end", r);
	k.leave();
	printf("halted\n");
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
	k.map_window = dlsym(so, "obk_map_window");
	k.unmap_window = dlsym(so, "obk_unmap_window");
	k.halt = dlsym(so, "obk_halt");
	check(k.boot && k.release && k.enter && k.leave && k.syscall && k.call &&
	      k.interrupt && k.map_window && k.unmap_window && k.halt,
	      "a symbol is missing", 0);
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
	readiness(block(0));
	transfer(block(0));
	checksums(block(0), 0);
	checksums(block(0), 1);
	cipher(block(0));
	ktls(block(0), 51, "AES-128-GCM");
	ktls(block(0), 54, "ChaCha20-Poly1305");
	timers(block(0));
	window(block(0));
	interruption(block(0));
	contention(block(0));
	the_end(block(0));
	return 0;
}
