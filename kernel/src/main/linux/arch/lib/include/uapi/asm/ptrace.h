/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _UAPI_ASM_LIB_PTRACE_H
#define _UAPI_ASM_LIB_PTRACE_H
#endif
