/* SPDX-License-Identifier: GPL-2.0-only */
/* One CPU, and interrupts only at function calls: plain C is atomic. */
#ifndef _ASM_LIB_CMPXCHG_H
#define _ASM_LIB_CMPXCHG_H

#include <linux/compiler.h>

#define arch_xchg(ptr, x)						\
({									\
	__typeof__(ptr) __xp = (ptr);					\
	__typeof__(*(ptr)) __xn = (__typeof__(*(ptr)))(x);		\
	__typeof__(*(ptr)) __xo = *__xp;				\
	*__xp = __xn;							\
	__xo;								\
})

#define arch_cmpxchg(ptr, o, n)						\
({									\
	__typeof__(ptr) __cp = (ptr);					\
	__typeof__(*(ptr)) __co = (__typeof__(*(ptr)))(o);		\
	__typeof__(*(ptr)) __cn = (__typeof__(*(ptr)))(n);		\
	__typeof__(*(ptr)) __cv = *__cp;				\
	if (__cv == __co)						\
		*__cp = __cn;						\
	__cv;								\
})

#define arch_cmpxchg_local	arch_cmpxchg
#define arch_cmpxchg64		arch_cmpxchg
#define arch_cmpxchg64_local	arch_cmpxchg
#endif
