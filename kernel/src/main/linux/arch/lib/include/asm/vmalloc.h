/* SPDX-License-Identifier: GPL-2.0-only */
/* Nothing: there is no vmalloc space. */
#ifndef _ASM_LIB_VMALLOC_H
#define _ASM_LIB_VMALLOC_H
#endif
