/* SPDX-License-Identifier: GPL-2.0-only */
/* These stay undefined in the kernel object: the host's libc has them. */
#ifndef _ASM_LIB_STRING_H
#define _ASM_LIB_STRING_H
#include <linux/types.h>
#define __HAVE_ARCH_MEMCPY
#define __HAVE_ARCH_MEMMOVE
#define __HAVE_ARCH_MEMSET
#define __HAVE_ARCH_MEMCMP
#define __HAVE_ARCH_MEMCHR
#define __HAVE_ARCH_STRLEN
#define __HAVE_ARCH_STRNLEN
#define __HAVE_ARCH_STRCMP
#define __HAVE_ARCH_STRCHR
#define __HAVE_ARCH_STRRCHR
extern void *memcpy(void *, const void *, size_t);
extern void *memmove(void *, const void *, size_t);
extern void *memset(void *, int, size_t);
extern int memcmp(const void *, const void *, size_t);
extern void *memchr(const void *, int, size_t);
extern size_t strlen(const char *);
extern size_t strnlen(const char *, size_t);
extern int strcmp(const char *, const char *);
extern char *strchr(const char *, int);
extern char *strrchr(const char *, int);
#endif
