/* SPDX-License-Identifier: GPL-2.0-only */
/* The number of interrupt lines. */
#ifndef _ASM_LIB_IRQ_H
#define _ASM_LIB_IRQ_H
#include <asm/ob_cpu.h>
#define NR_IRQS OB_NR_IRQS
#include <asm-generic/irq.h>
#endif
