// SPDX-License-Identifier: GPL-2.0-only
/* The console ring, and the end of a kernel that has panicked. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "host.h"

#define OB_PANIC_LINES	60	/* of the log, on stderr */

static struct obk_console *console;

void ob_console_open(struct obk_console *c)
{
	console = c;
}

void ob_console_close(void)
{
	console = NULL;
}

/* Called by the owner of the CPU: there is one writer. */
void ob_host_print(const char *s, unsigned int n)
{
	struct obk_console *c = console;
	uint64_t at;
	uint32_t i;

	if (!c)
		return;
	at = c->written;
	for (i = 0; i < n; i++)
		c->data[(at + i) & (c->capacity - 1)] = s[i];
	/* pairs with the reader's acquire of written, then of bell */
	__atomic_store_n(&c->written, at + n, __ATOMIC_RELEASE);
	__atomic_fetch_add(&c->bell, 1, __ATOMIC_RELEASE);
	ob_futex(&c->bell, FUTEX_WAKE, INT_MAX);
}

static void print_string(const char *s)
{
	ob_host_print(s, strlen(s));
}

/*
 * By the frame pointers, which the kernel keeps.  The offsets are those of nm,
 * addr2line and gdb for the object.
 */
void ob_host_backtrace(void)
{
	unsigned long *frame = __builtin_frame_address(0), base;
	char line[64];
	Dl_info info;
	int i;

	if (!dladdr(ob_host_backtrace, &info))
		return;
	base = (unsigned long)info.dli_fbase;
	for (i = 0; i < 32 && frame; i++) {
		unsigned long at = frame[1] - base;

		if (frame[1] < base || at > 64ul << 20)
			break;
		snprintf(line, sizeof(line), "  liboutboard-kernel.so+0x%lx\n", at);
		print_string(line);
		if (frame[0] <= (unsigned long)frame)
			break;
		frame = (unsigned long *)frame[0];
	}
}

static void write_all(const char *s, size_t n)
{
	while (n) {
		ssize_t r = write(STDERR_FILENO, s, n);

		if (r <= 0)
			return;
		s += r;
		n -= r;
	}
}

/* The last lines of the ring, to stderr. */
static void report_log(void)
{
	struct obk_console *c = console;
	uint64_t end, start, floor;
	int lines = 0;

	if (!c)
		return;
	end = c->written;
	floor = end > c->capacity ? end - c->capacity : 0;
	for (start = end; start > floor; start--)
		if (c->data[(start - 1) & (c->capacity - 1)] == '\n' &&
		    ++lines > OB_PANIC_LINES)
			break;
	while (start < end) {
		uint64_t from = start & (c->capacity - 1);
		uint64_t n = c->capacity - from;

		if (n > end - start)
			n = end - start;
		write_all(c->data + from, n);
		start += n;
	}
}

static void __attribute__((noreturn)) end_process(const char *why)
{
	const char *how = getenv("OUTBOARD_PANIC");

	write_all(why, strlen(why));
	report_log();
	if (how && !strcmp(how, "abort"))
		abort();
	_exit(OBK_EXIT_PANIC);
}

void ob_host_panic(void)
{
	ob_host_backtrace();
	end_process("outboard: the library kernel has panicked; its last lines:\n");
}

void ob_host_halted(void)
{
	end_process("outboard: the library kernel has halted itself; its last lines:\n");
}
