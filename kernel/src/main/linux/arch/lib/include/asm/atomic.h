/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One CPU, and interrupts only at function calls: plain C is atomic.
 */
#ifndef _ASM_LIB_ATOMIC_H
#define _ASM_LIB_ATOMIC_H

#include <linux/types.h>
#include <asm/cmpxchg.h>
#include <asm/barrier.h>

#define arch_atomic_read(v)		READ_ONCE((v)->counter)
#define arch_atomic_set(v, i)		WRITE_ONCE(((v)->counter), (i))
#define arch_atomic64_read(v)		READ_ONCE((v)->counter)
#define arch_atomic64_set(v, i)		WRITE_ONCE(((v)->counter), (i))

#define ATOMIC64_INIT(i)		{ (i) }

#define OB_ATOMIC_OP(pfx, T, I, op, c_op)				\
static __always_inline void arch_##pfx##_##op(I i, T *v)		\
{									\
	v->counter = v->counter c_op i;					\
}
#define OB_ATOMIC_RET(pfx, T, I, op, c_op)				\
static __always_inline I arch_##pfx##_##op##_return(I i, T *v)		\
{									\
	return v->counter = v->counter c_op i;				\
}
#define OB_ATOMIC_FETCH(pfx, T, I, op, c_op)				\
static __always_inline I arch_##pfx##_fetch_##op(I i, T *v)		\
{									\
	I old = v->counter;						\
									\
	v->counter = old c_op i;					\
	return old;							\
}
#define OB_ATOMIC(pfx, T, I)						\
	OB_ATOMIC_OP(pfx, T, I, add, +)					\
	OB_ATOMIC_OP(pfx, T, I, sub, -)					\
	OB_ATOMIC_OP(pfx, T, I, and, &)					\
	OB_ATOMIC_OP(pfx, T, I, or, |)					\
	OB_ATOMIC_OP(pfx, T, I, xor, ^)					\
	OB_ATOMIC_RET(pfx, T, I, add, +)				\
	OB_ATOMIC_RET(pfx, T, I, sub, -)				\
	OB_ATOMIC_FETCH(pfx, T, I, add, +)				\
	OB_ATOMIC_FETCH(pfx, T, I, sub, -)				\
	OB_ATOMIC_FETCH(pfx, T, I, and, &)				\
	OB_ATOMIC_FETCH(pfx, T, I, or, |)				\
	OB_ATOMIC_FETCH(pfx, T, I, xor, ^)

OB_ATOMIC(atomic, atomic_t, int)
OB_ATOMIC(atomic64, atomic64_t, s64)

#define arch_atomic_add_return		arch_atomic_add_return
#define arch_atomic_sub_return		arch_atomic_sub_return
#define arch_atomic_fetch_add		arch_atomic_fetch_add
#define arch_atomic_fetch_sub		arch_atomic_fetch_sub
#define arch_atomic_fetch_and		arch_atomic_fetch_and
#define arch_atomic_fetch_or		arch_atomic_fetch_or
#define arch_atomic_fetch_xor		arch_atomic_fetch_xor
#define arch_atomic64_add_return	arch_atomic64_add_return
#define arch_atomic64_sub_return	arch_atomic64_sub_return
#define arch_atomic64_fetch_add		arch_atomic64_fetch_add
#define arch_atomic64_fetch_sub		arch_atomic64_fetch_sub
#define arch_atomic64_fetch_and		arch_atomic64_fetch_and
#define arch_atomic64_fetch_or		arch_atomic64_fetch_or
#define arch_atomic64_fetch_xor		arch_atomic64_fetch_xor
#endif
