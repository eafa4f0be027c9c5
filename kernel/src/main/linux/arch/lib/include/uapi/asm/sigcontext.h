/* SPDX-License-Identifier: GPL-2.0-only */
/* No signal is ever delivered: the type exists for generic code only. */
#ifndef _UAPI_ASM_LIB_SIGCONTEXT_H
#define _UAPI_ASM_LIB_SIGCONTEXT_H
struct sigcontext { unsigned long dummy; };
#endif
