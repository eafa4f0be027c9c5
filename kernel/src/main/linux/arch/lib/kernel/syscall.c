// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table of system calls, with asm-generic numbers.
 *
 * What is refused, with ENOSYS: calls about memory, images and registers,
 * which a task of this kernel does not have (its program's are on the host);
 * calls that make or end tasks, which is the business of obk_task_enter() and
 * obk_task_leave(); signal handlers, for nothing runs them; and the calls that
 * would end the kernel for everybody.
 */
#include <linux/syscalls.h>
#include <linux/unistd.h>
#include <asm/syscall.h>

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
};
