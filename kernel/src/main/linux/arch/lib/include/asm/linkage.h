/* SPDX-License-Identifier: GPL-2.0-only */
/* Functions written in assembly: x86's files, in user code without mitigations. */
#ifndef _ASM_LIB_LINKAGE_H
#define _ASM_LIB_LINKAGE_H
#define __ALIGN		.balign 16, 0x90
#define __ALIGN_STR	".balign 16, 0x90"
#ifdef __ASSEMBLY__
#define RET		ret
#endif
#endif
