/* SPDX-License-Identifier: GPL-2.0-only */
/* The asm-generic calls, with the classic ones that the table routes to. */
#define __ARCH_WANT_SYS_CLONE
#define __ARCH_WANT_NEW_STAT
#define __ARCH_WANT_SET_GET_RLIMIT
#include <uapi/asm/unistd.h>
#define NR_syscalls (__NR_syscalls)
