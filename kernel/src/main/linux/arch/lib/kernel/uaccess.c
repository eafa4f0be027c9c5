// SPDX-License-Identifier: GPL-2.0-only
/* Access to user memory; see asm/uaccess.h for why nothing here can fault. */
#include <linux/errno.h>
#include <linux/export.h>
#include <linux/string.h>
#include <linux/uaccess.h>

/*
 * Out of line, so that the compiler cannot merge a copy with later reads of
 * its source.
 */
noinline void ob_copy(void *to, const void *from, unsigned long n)
{
	memcpy(to, from, n);
}
EXPORT_SYMBOL(ob_copy);

/* How many bytes there are up to the end of the user region, at most count. */
static long ob_readable(const char __user *src, long count)
{
	unsigned long offset = (unsigned long)src - ob_user_start;

	if (count < 0 || offset >= ob_user_bytes)
		return 0;
	return min_t(unsigned long, count, ob_user_bytes - offset);
}

long strncpy_from_user(char *dst, const char __user *src, long count)
{
	const volatile char *p = (const char __force *)src;
	long i, n = ob_readable(src, count);

	for (i = 0; i < n; i++) {
		dst[i] = p[i];
		if (!dst[i])
			return i;
	}
	return n == count ? count : -EFAULT;
}
EXPORT_SYMBOL(strncpy_from_user);

long strnlen_user(const char __user *src, long count)
{
	const volatile char *p = (const char __force *)src;
	long i, n = ob_readable(src, count);

	for (i = 0; i < n; i++)
		if (!p[i])
			return i + 1;
	return n == count ? count + 1 : 0;
}
EXPORT_SYMBOL(strnlen_user);

/* supplied by the host's C library */
EXPORT_SYMBOL(memcpy);
EXPORT_SYMBOL(memmove);
EXPORT_SYMBOL(memset);
