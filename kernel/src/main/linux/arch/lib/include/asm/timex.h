/* SPDX-License-Identifier: GPL-2.0-only */
/* The cycle counter, as a source of entropy. */
#ifndef _ASM_LIB_TIMEX_H
#define _ASM_LIB_TIMEX_H
typedef unsigned long cycles_t;
static inline cycles_t get_cycles(void)
{
	return __builtin_ia32_rdtsc();
}
#define get_cycles get_cycles
#define random_get_entropy() ((unsigned long)get_cycles())
#endif
