/* SPDX-License-Identifier: GPL-2.0-only */
/* There is no ptrace(2), and so nothing to describe. */
#ifndef _UAPI_ASM_LIB_PTRACE_H
#define _UAPI_ASM_LIB_PTRACE_H
#endif
