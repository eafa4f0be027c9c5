/* SPDX-License-Identifier: GPL-2.0-only */
/* smp_*() are compiler barriers (UP); these are for memory shared with hosts */
#ifndef _ASM_LIB_BARRIER_H
#define _ASM_LIB_BARRIER_H
#define mb()	__atomic_thread_fence(__ATOMIC_SEQ_CST)
#define rmb()	__atomic_thread_fence(__ATOMIC_ACQUIRE)
#define wmb()	__atomic_thread_fence(__ATOMIC_RELEASE)
#define __smp_store_release(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)
#define __smp_load_acquire(p)		__atomic_load_n(p, __ATOMIC_ACQUIRE)
#include <asm-generic/barrier.h>
#endif
