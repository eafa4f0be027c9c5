/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _UAPI_ASM_LIB_SIGCONTEXT_H
#define _UAPI_ASM_LIB_SIGCONTEXT_H
struct sigcontext { unsigned long dummy; };
#endif
