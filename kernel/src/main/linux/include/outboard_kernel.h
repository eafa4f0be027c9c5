/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * liboutboard-kernel.so: Linux as a library.  The whole contract with the
 * process that hosts it.
 *
 * One image of the object is one kernel, which boots once.  A process that
 * wants another loads another copy of the file.
 *
 * Results are >= 0, or -errno of the host's <errno.h>.  Unless said otherwise a
 * function may be called by any thread, at any time between obk_boot() and
 * obk_halt(), and does not wait for other calls.
 *
 * The library installs no signal handler, changes no signal mask of a thread
 * that is not its own, and never calls back into its host.  A panic of the
 * kernel prints the reason and the last lines of its log to stderr and ends the
 * process by _exit(OBK_EXIT_PANIC); with OUTBOARD_PANIC=abort in the
 * environment, by abort().
 */
#ifndef OUTBOARD_KERNEL_H
#define OUTBOARD_KERNEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define OBK_EXIT_PANIC	70	/* EX_SOFTWARE */

/*
 * The kernel's console, in memory of the host process.  One writer (the owner
 * of the kernel's CPU), one reader.  The last `capacity` bytes of what was
 * written are valid: byte number n is data[n & (capacity - 1)].
 *
 * The writer stores the bytes, then `written` (release), then adds 1 to `bell`
 * and wakes the bell's futex (not the private kind).  The reader loads the bell,
 * then `written` (acquire), copies, loads `written` again: what it copied below
 * the new value minus capacity may be torn, and counts as lost.  It sleeps on
 * the value of the bell that it loaded first.
 */
struct obk_console {
	uint64_t	written;	/* bytes ever written */
	uint32_t	bell;
	uint32_t	capacity;	/* a power of two; set by the host */
	char		data[];
};

struct obk_config {
	uint64_t	ram_bytes;	/* of the kernel; >= 32 MiB */
	uint64_t	user_bytes;	/* of the user region; >= 4 MiB */
	const char	*command_line;	/* copied */
	struct obk_console *console;	/* lives until obk_halt() has returned */
};

/*
 * Where the memory lies.  Both are multiples of 4 MiB, the user region follows
 * the RAM.  The memory behind RAM is private to the process.
 */
struct obk_memory {
	void		*ram;
	uint64_t	ram_bytes;
	void		*user;		/* the user region */
	uint64_t	user_bytes;
};

/* Boot.  Returns when the first process exists.  -EBUSY: done before. */
int obk_boot(const struct obk_config *config, struct obk_memory *memory);

/* The kernel's release, as of uname -r; valid for the life of the image. */
const char *obk_release(void);

/*
 * The user region: the only memory that system calls may point to, for
 * everything else is EFAULT.  It is always mapped, readable and writable,
 * private and zero at first.
 *
 * obk_map_window() replaces a part of it by the start of a memfd, shared.  The
 * memfd must be as long as the window and sealed with F_SEAL_SHRINK, so that
 * nobody can make an access fault (-EPERM, -EINVAL).  obk_unmap_window() puts
 * private zeroed memory back.  offset and bytes are multiples of the page size.
 * The caller sees to it that no call uses the window meanwhile.
 */
int obk_map_window(uint64_t offset, uint64_t bytes, int memfd);
int obk_unmap_window(uint64_t offset, uint64_t bytes);

/*
 * Make the calling thread a task of the kernel: with open files, directories
 * and namespaces shared with task `like`, which may be in a call; or, with
 * OBK_OWN_FILES and like 0, with a fresh empty table of files.  Credentials are
 * those of root, for the task itself to change.
 *
 * Returns the task's thread id (> 0), -EBUSY if the thread is a task already,
 * -ESRCH if there is no such task, -EAGAIN or -ENOMEM at a limit, -ENODEV after
 * obk_halt() has begun.
 *
 * A thread that ends without obk_task_leave() leaves then.
 */
#define OBK_OWN_FILES	1u
int obk_task_enter(int like, unsigned int flags);
void obk_task_leave(void);

/*
 * A system call by the calling thread's task, in the asm-generic ABI: numbers
 * of asm-generic/unistd.h, struct layouts of 64-bit generic, except for struct
 * epoll_event, which is packed as on x86-64; the same on every processor.
 *
 * Returns what the kernel returned.  That includes -ERESTARTSYS (-512) and
 * -ERESTARTNOHAND (-514), but only after obk_interrupt().  -ESRCH also means:
 * the thread is no task, or its task was killed in the call.  -ENODEV also
 * means: the kernel is being halted.
 */
long obk_syscall(long number, long a0, long a1, long a2, long a3, long a4,
		 long a5);

/*
 * The number of the call that task `tid` is in: odd.  Even: it is in none.
 * -ESRCH (as an unsigned value, even and > 2^31): no such task.
 */
uint32_t obk_call(int tid);

/*
 * End the sleep of a call, as a signal would: it returns -ERESTARTSYS,
 * -ERESTARTNOHAND, -EINTR, or what it has done so far.  A call that does not
 * sleep, or not interruptibly, goes on.
 *
 * call 0: the call that is in progress now.  Otherwise only call number
 * `call` of obk_call().  A later call is never interrupted by it, and a task
 * that is in no call is left alone.  A call whose thread has not reached the
 * kernel yet counts as none: who needs a call to end repeats until it has.
 *
 * Returns 1: asked for; 0: no such call is in progress; -ESRCH: no such task.
 */
int obk_interrupt(int tid, uint32_t call);

/*
 * Raise interrupt line OBK_IRQ_FIRST..OBK_IRQ_LAST of the kernel.  Its handler
 * runs at once on the calling thread if the kernel is idle.
 */
#define OBK_IRQ_FIRST	4
#define OBK_IRQ_LAST	31
int obk_raise_irq(int line);

/*
 * What a device's thread would be woken for, the thread that caused it can do
 * itself, once it is out of the kernel.  While `keeps` is not 0, a kick that the
 * kernel gives on the thread of this struct, for a queue whose registers allow it,
 * is not written to the queue's eventfd: that plus 1 is in `kept`, and the thread
 * owes the eventfd a write, or the queue the work.  If it sleeps in the kernel
 * after the kick, or there is one of another queue, the kernel writes instead.
 *
 * Both fields are the thread's own: it reads and changes them when it is not in
 * the kernel, which does so only on that thread.
 */
struct obk_kicks {
	int32_t		keeps;		/* H */
	int32_t		kept;		/* K; the host takes it by writing 0 */
};

/*
 * Make this the struct of the calling thread; NULL: it has none any more. It
 * lives until then, or until the thread ends.
 */
void obk_keep_kicks(struct obk_kicks *kicks);

/*
 * Give the kernel a virtual device: a page of registers, laid out as
 * arch/lib/include/asm/virtio_page.h says, filled in, and with a device behind
 * it that answers already, for the driver is probed before this returns. The
 * page and its eventfds stay the caller's, and stay, until obk_halt() has
 * returned. The device finds what a driver names at physical address
 * OBK_PHYSICAL_BASE + n in byte n of RAM or, behind it, of the user region.
 *
 * Returns 0, -EINVAL for a page that is not one, -EBUSY for a line that is
 * taken, -ENODEV if no driver has taken the device, -ESRCH if the calling
 * thread is no task.
 */
#define OBK_PHYSICAL_BASE	0x400000u
struct obk_virtio_page;
long obk_virtio_register(struct obk_virtio_page *page);

/* How many host threads are tasks now. */
int obk_tasks(void);

/*
 * End the kernel: new calls return -ENODEV, calls in progress are interrupted,
 * its threads are joined, its memory is unmapped.  -ETIMEDOUT: a call did not
 * end within five seconds; everything stays as it is, no new call is admitted.
 * The image may be unloaded when every thread that was a task has called
 * obk_task_leave() or has ended.
 */
int obk_halt(void);

#ifdef __cplusplus
}
#endif
#endif
