/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Futex words.  Threads of the host change them while the kernel runs: these
 * are real atomic operations, unlike those of atomic.h.
 */
#ifndef _ASM_LIB_FUTEX_H
#define _ASM_LIB_FUTEX_H
#include <linux/futex.h>
#include <linux/uaccess.h>
#include <asm/errno.h>

static inline int futex_atomic_cmpxchg_inatomic(u32 *uval, u32 __user *uaddr,
						u32 oldval, u32 newval)
{
	if (!access_ok(uaddr, sizeof(*uaddr)))
		return -EFAULT;
	__atomic_compare_exchange_n((u32 __force *)uaddr, &oldval, newval, 0,
				    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	*uval = oldval;
	return 0;
}

static inline int arch_futex_atomic_op_inuser(int op, int oparg, int *oval,
					      u32 __user *uaddr)
{
	int *p = (int __force *)uaddr;

	if (!access_ok(uaddr, sizeof(*uaddr)))
		return -EFAULT;
	switch (op) {
	case FUTEX_OP_SET:
		*oval = __atomic_exchange_n(p, oparg, __ATOMIC_SEQ_CST);
		return 0;
	case FUTEX_OP_ADD:
		*oval = __atomic_fetch_add(p, oparg, __ATOMIC_SEQ_CST);
		return 0;
	case FUTEX_OP_OR:
		*oval = __atomic_fetch_or(p, oparg, __ATOMIC_SEQ_CST);
		return 0;
	case FUTEX_OP_ANDN:
		*oval = __atomic_fetch_and(p, ~oparg, __ATOMIC_SEQ_CST);
		return 0;
	case FUTEX_OP_XOR:
		*oval = __atomic_fetch_xor(p, oparg, __ATOMIC_SEQ_CST);
		return 0;
	}
	return -ENOSYS;
}
#endif
