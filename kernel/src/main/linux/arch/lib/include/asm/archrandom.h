/* SPDX-License-Identifier: GPL-2.0-only */
/* The host's getrandom() is this architecture's random number instruction. */
#ifndef _ASM_LIB_ARCHRANDOM_H
#define _ASM_LIB_ARCHRANDOM_H
#include <linux/types.h>

unsigned long ob_host_random(void *p, unsigned long n);

static inline size_t __must_check arch_get_random_longs(unsigned long *v,
							size_t max)
{
	return ob_host_random(v, max * sizeof(*v)) / sizeof(*v);
}

static inline size_t __must_check arch_get_random_seed_longs(unsigned long *v,
							     size_t max)
{
	return arch_get_random_longs(v, max);
}
#endif
