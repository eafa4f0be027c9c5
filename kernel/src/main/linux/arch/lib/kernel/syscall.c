// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table of system calls, with asm-generic numbers.
 *
 * What is refused, with ENOSYS: calls about memory, images and registers,
 * which a task of this kernel does not have (its program's are on the host);
 * calls that make or end tasks, which is the business of obk_task_enter() and
 * obk_task_leave(); signal handlers, for nothing runs them; and the calls that
 * would end the kernel for everybody.
 *
 * Added is one for XDP sockets: asm/ob_xdp.h.
 *
 * O_DIRECT on files is refused with EINVAL, as by a file system that cannot do
 * it: it pins the pages of its buffer, and Linux without an MMU then gives back
 * more references than it took (mm/gup.c).
 */
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/syscalls.h>
#include <linux/unistd.h>
#include <asm/ob_port.h>
#include <asm/ob_xdp.h>
#include <asm/syscall.h>

static bool ob_is_file(struct file *file)
{
	umode_t mode = file_inode(file)->i_mode;

	return S_ISREG(mode) || S_ISBLK(mode);
}

static asmlinkage long ob_openat(int dfd, const char __user *name, int flags,
				 umode_t mode)
{
	return flags & O_DIRECT ? -EINVAL : sys_openat(dfd, name, flags, mode);
}

/* The flags are the caller's memory: what counts is what became of them. */
static asmlinkage long ob_openat2(int dfd, const char __user *name,
				  struct open_how __user *how, size_t size)
{
	long fd = sys_openat2(dfd, name, how, size);
	struct file *file = fd < 0 ? NULL : fget(fd);
	bool direct = file && (file->f_flags & O_DIRECT) && ob_is_file(file);

	if (file)
		fput(file);
	if (!direct)
		return fd;
	close_fd(fd);
	return -EINVAL;
}

static asmlinkage long ob_open_by_handle_at(int fd, struct file_handle __user *h,
					    int flags)
{
	return flags & O_DIRECT ? -EINVAL : sys_open_by_handle_at(fd, h, flags);
}

/* To a pipe the flag says something else. */
static asmlinkage long ob_fcntl(unsigned int fd, unsigned int cmd,
				unsigned long arg)
{
	struct file *file;
	bool is_file;

	if (cmd == F_SETFL && arg & O_DIRECT) {
		file = fget(fd);
		is_file = file && ob_is_file(file);
		if (file)
			fput(file);
		if (is_file)
			return -EINVAL;
	}
	return sys_fcntl(fd, cmd, arg);
}

#define sys_openat		ob_openat
#define sys_openat2		ob_openat2
#define sys_open_by_handle_at	ob_open_by_handle_at
#define sys_fcntl		ob_fcntl
/* memory */
#define sys_brk			sys_ni_syscall
#define sys_mmap		sys_ni_syscall
#define sys_munmap		sys_ni_syscall
#define sys_mremap		sys_ni_syscall
#define sys_mprotect		sys_ni_syscall
#define sys_msync		sys_ni_syscall
#define sys_madvise		sys_ni_syscall
#define sys_process_madvise	sys_ni_syscall
#define sys_remap_file_pages	sys_ni_syscall
#define sys_mseal		sys_ni_syscall
/* images and registers */
#define sys_execve		sys_ni_syscall
#define sys_execveat		sys_ni_syscall
#define sys_ptrace		sys_ni_syscall
#define sys_rt_sigaction	sys_ni_syscall
#define sys_rt_sigreturn	sys_ni_syscall
#define sys_sigaltstack		sys_ni_syscall
/* tasks */
#define sys_clone		sys_ni_syscall
#define sys_clone3		sys_ni_syscall
#define sys_exit		sys_ni_syscall
#define sys_exit_group		sys_ni_syscall
#define sys_set_robust_list	sys_ni_syscall
#define sys_set_tid_address	sys_ni_syscall
/* the kernel itself */
#define sys_reboot		sys_ni_syscall

#define __SYSCALL(nr, call) [nr] = (syscall_fn)(void *)(call),
#define __SYSCALL_WITH_COMPAT(nr, native, compat) __SYSCALL(nr, native)

const syscall_fn sys_call_table[__NR_syscalls] = {
	[0 ... __NR_syscalls - 1] = (syscall_fn)(void *)sys_ni_syscall,
#include <asm/syscall_table_64.h>
#ifdef CONFIG_XDP_SOCKETS
	[OBK_XDP] = (syscall_fn)(void *)ob_xdp,
#endif
};
