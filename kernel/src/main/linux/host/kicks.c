// SPDX-License-Identifier: GPL-2.0-only
/*
 * Kicks that a thread keeps: obk_keep_kicks().
 *
 * The kernel gives a kick on the thread that runs it at that moment, whatever
 * task it is for.  That thread either leaves the kernel, and sees what it has
 * kept, or waits in ob_host_wait(), which gives it away before.
 */
#include "host.h"

static __thread struct obk_kicks *kicks
	__attribute__((tls_model("initial-exec")));

API void obk_keep_kicks(struct obk_kicks *k)
{
	kicks = k;
}

void ob_host_kick_queue(int fd)
{
	struct obk_kicks *k = kicks;

	if (!k || !k->keeps) {
		ob_host_eventfd_signal(fd);
		return;
	}
	if (k->kept != fd + 1)
		ob_kicks_release();
	k->kept = fd + 1;
}

/* The calling thread is not going to do the work itself. */
void ob_kicks_release(void)
{
	struct obk_kicks *k = kicks;
	int kept;

	if (!k || !k->kept)
		return;
	kept = k->kept;
	k->kept = 0;
	ob_host_eventfd_signal(kept - 1);
}
