// SPDX-License-Identifier: GPL-2.0-only
/*
 * The first process.
 *
 * The root file system gets an /init of a format of our own; executing it
 * makes a user process of kernel_init(), whose mm has the user region and
 * nothing else.  That process never runs: it is what all tasks are cloned of,
 * and their parent, which wants to hear nothing of their ends.
 */
#include <linux/binfmts.h>
#include <linux/elf.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/init_syscalls.h>
#include <linux/kdev_t.h>
#include <linux/major.h>
#include <linux/miscdevice.h>
#include <linux/resource.h>
#include <linux/sched/signal.h>
#include <linux/signal.h>
#include <asm/ob_port.h>

#define OB_INIT_MAGIC "\177OUTBOARD-INIT"

/*
 * Limits that are the host's business are none here: the descriptors and the
 * threads of a program are counted where it runs.
 */
static void ob_lift_limits(void)
{
	struct rlimit *r = current->signal->rlim;

	r[RLIMIT_NOFILE] = (struct rlimit){ 1 << 20, 1 << 20 };
	r[RLIMIT_NPROC] = (struct rlimit){ RLIM_INFINITY, RLIM_INFINITY };
	r[RLIMIT_MEMLOCK] = (struct rlimit){ RLIM_INFINITY, RLIM_INFINITY };
}

/*
 * Nothing can handle a signal, and the default action of most would end a
 * task: SIGPIPE, for one, is the host's to send.  What is blocked is still
 * queued, so signalfd works.  An ignored SIGCHLD makes children reap
 * themselves.
 */
static void ob_ignore_signals(void)
{
	int sig;

	spin_lock_irq(&current->sighand->siglock);
	for (sig = 1; sig <= _NSIG; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			current->sighand->action[sig - 1].sa.sa_handler = SIG_IGN;
	spin_unlock_irq(&current->sighand->siglock);
}

static int ob_load_binary(struct linux_binprm *bprm)
{
	int ret;

	if (memcmp(bprm->buf, OB_INIT_MAGIC, sizeof(OB_INIT_MAGIC) - 1))
		return -ENOEXEC;
	ret = begin_new_exec(bprm);
	if (ret)
		return ret;
	setup_new_exec(bprm);
	ret = ob_map_user_region();
	if (ret)
		return ret;
	ob_lift_limits();
	ob_ignore_signals();
	finalize_exec(bprm);
	return 0;
}

static struct linux_binfmt ob_binfmt = {
	.module		= THIS_MODULE,
	.load_binary	= ob_load_binary,
};

static int __init ob_binfmt_init(void)
{
	register_binfmt(&ob_binfmt);
	return 0;
}
core_initcall(ob_binfmt_init);

/* What a program expects of a root directory, as far as there is something. */
static int __init ob_rootfs_init(void)
{
	static const struct {
		const char *name;
		unsigned int major, minor;
	} nodes[] = {
		{ "/dev/null", MEM_MAJOR, 3 },
		{ "/dev/zero", MEM_MAJOR, 5 },
		{ "/dev/full", MEM_MAJOR, 7 },
		{ "/dev/random", MEM_MAJOR, 8 },
		{ "/dev/urandom", MEM_MAJOR, 9 },
		{ "/dev/net/tun", MISC_MAJOR, TUN_MINOR },
	};
	struct file *file;
	loff_t pos = 0;
	ssize_t written;
	int i;

	file = filp_open("/init", O_CREAT | O_WRONLY, 0700);
	if (IS_ERR(file))
		return PTR_ERR(file);
	written = kernel_write(file, OB_INIT_MAGIC "\n", sizeof(OB_INIT_MAGIC),
			       &pos);
	__fput_sync(file);	/* now: a file open for writing is not executed */
	if (written != sizeof(OB_INIT_MAGIC))
		return -EIO;

	init_mkdir("/dev", 0755);
	init_mkdir("/dev/net", 0755);
	init_mkdir("/proc", 0555);
	init_mkdir("/sys", 0555);
	init_mkdir("/tmp", 01777);
	for (i = 0; i < ARRAY_SIZE(nodes); i++)
		init_mknod(nodes[i].name, S_IFCHR | 0666,
			   new_encode_dev(MKDEV(nodes[i].major, nodes[i].minor)));
	init_mount("proc", "/proc", "proc", 0, NULL);
	init_mount("sysfs", "/sys", "sysfs", 0, NULL);
	return 0;
}
rootfs_initcall(ob_rootfs_init);

void flush_thread(void)
{
}
