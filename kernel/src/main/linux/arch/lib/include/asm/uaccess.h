/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * User memory is the user region: one range of addresses behind the kernel's
 * RAM, always mapped readable and writable by the host layer.  access_ok()
 * admits nothing else, so that no access to user memory can fault, and no
 * exception table and no signal handler exist.
 *
 * Other threads and other processes write to it at any moment.  The accesses of
 * a fixed size are therefore single volatile ones, and copies are made by a
 * function that the compiler cannot look into: what has been copied and checked
 * is never read a second time.
 */
#ifndef _ASM_LIB_UACCESS_H
#define _ASM_LIB_UACCESS_H

#include <linux/compiler.h>
#include <linux/string.h>
#include <linux/types.h>
#include <linux/unaligned.h>

/* the bounds of the user region; memory.c */
extern unsigned long ob_user_start, ob_user_bytes;

static __always_inline int __access_ok(const void __user *ptr,
				       unsigned long size)
{
	unsigned long offset = (unsigned long)ptr - ob_user_start;

	/* nothing, at NULL for one, is not accessed: ppoll(NULL, 0, ...) */
	return !size ||
	       (size <= ob_user_bytes && offset <= ob_user_bytes - size);
}
#define __access_ok __access_ok

#include <asm-generic/access_ok.h>

void ob_copy(void *to, const void *from, unsigned long n);

/* one access, whatever the alignment */
#define OB_ACCESS(T, p)	(((volatile struct { T v; } __packed *)(p))->v)

#define OB_MOVE(n, to, from, large)					\
	switch (n) {							\
	case 1: OB_ACCESS(u8, to) = OB_ACCESS(u8, from); break;		\
	case 2: OB_ACCESS(u16, to) = OB_ACCESS(u16, from); break;	\
	case 4: OB_ACCESS(u32, to) = OB_ACCESS(u32, from); break;	\
	case 8: OB_ACCESS(u64, to) = OB_ACCESS(u64, from); break;	\
	default: large;							\
	}

static __always_inline __must_check unsigned long
raw_copy_from_user(void *to, const void __user *from, unsigned long n)
{
	const void *p = (const void __force *)from;

	if (__builtin_constant_p(n))
		OB_MOVE(n, to, p, ob_copy(to, p, n))
	else
		ob_copy(to, p, n);
	return 0;
}

static __always_inline __must_check unsigned long
raw_copy_to_user(void __user *to, const void *from, unsigned long n)
{
	void *p = (void __force *)to;

	if (__builtin_constant_p(n))
		OB_MOVE(n, p, from, ob_copy(p, from, n))
	else
		ob_copy(p, from, n);
	return 0;
}
#define INLINE_COPY_FROM_USER
#define INLINE_COPY_TO_USER

static __always_inline int __get_user_fn(size_t size, const void __user *from,
					 void *to)
{
	BUILD_BUG_ON(!__builtin_constant_p(size));
	OB_MOVE(size, to, (const void __force *)from, BUILD_BUG())
	return 0;
}
#define __get_user_fn(sz, u, k)	__get_user_fn(sz, u, k)

static __always_inline int __put_user_fn(size_t size, void __user *to,
					 void *from)
{
	BUILD_BUG_ON(!__builtin_constant_p(size));
	OB_MOVE(size, (void __force *)to, from, BUILD_BUG())
	return 0;
}
#define __put_user_fn(sz, u, k)	__put_user_fn(sz, u, k)

static __always_inline __must_check unsigned long
__clear_user(void __user *to, unsigned long n)
{
	memset((void __force *)to, 0, n);
	return 0;
}
#define __clear_user __clear_user

/*
 * Accesses that other architectures allow to fault.  uaccess.c admits only
 * addresses of the kernel's RAM and image, which do not.
 */
#define __get_kernel_nofault(dst, src, type, label)			\
do {									\
	OB_ACCESS(type, dst) = OB_ACCESS(type, src);			\
	if (0)								\
		goto label;						\
} while (0)

#define __put_kernel_nofault(dst, src, type, label)			\
do {									\
	OB_ACCESS(type, dst) = OB_ACCESS(type, src);			\
	if (0)								\
		goto label;						\
} while (0)

#include <asm-generic/uaccess.h>
#endif
