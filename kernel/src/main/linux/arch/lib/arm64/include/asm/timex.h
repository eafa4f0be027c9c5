/* SPDX-License-Identifier: GPL-2.0-only */
/* The counter of the virtual timer, which programs may read, as a source of entropy. */
#ifndef _ASM_LIB_ARM64_TIMEX_H
#define _ASM_LIB_ARM64_TIMEX_H
typedef unsigned long cycles_t;
static inline cycles_t get_cycles(void)
{
	cycles_t n;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r" (n));
	return n;
}
#define get_cycles get_cycles
#define random_get_entropy() ((unsigned long)get_cycles())
#endif
