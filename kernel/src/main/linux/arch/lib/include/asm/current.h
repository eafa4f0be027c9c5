/* SPDX-License-Identifier: GPL-2.0-only */
/* current is a word of the CPU's state. */
#ifndef _ASM_LIB_CURRENT_H
#define _ASM_LIB_CURRENT_H
#ifndef __ASSEMBLY__
#include <asm/ob_cpu.h>
extern struct ob_cpu ob_cpu;
#define current	(ob_cpu.curr)
#endif
#endif
