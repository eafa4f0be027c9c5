/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * struct epoll_event is packed, as on x86-64, whatever the processor: the calls
 * of this kernel have one ABI.  The generic header asks the compiler for that
 * processor, and nothing else in it or below it does.
 */
#ifndef _UAPI_ASM_LIB_ARM64_EVENTPOLL_H
#define _UAPI_ASM_LIB_ARM64_EVENTPOLL_H
#include <linux/fcntl.h>
#include <linux/types.h>
#define __x86_64__ 1
#include_next <uapi/linux/eventpoll.h>
#undef __x86_64__
_Static_assert(sizeof(struct epoll_event) == 12, "epoll_event is packed");
#endif
