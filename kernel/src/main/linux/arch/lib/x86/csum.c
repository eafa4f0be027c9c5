// SPDX-License-Identifier: GPL-2.0-only
/*
 * The sum under all checksums of the internet protocols, by x86's code: ten
 * times as fast as the one in C, which counts where no device computes them.
 *
 * What lib/checksum.c makes of the sum keeps its names, so x86's get others.
 */
#define csum_partial	x86_csum_partial
#define ip_compute_csum	x86_ip_compute_csum
#include <linux/export.h>
#include <linux/unaligned.h>
#include <net/checksum.h>

#undef EXPORT_SYMBOL
#define EXPORT_SYMBOL(name)

/*
 * For a length that is no multiple of 8, x86's code reads behind the end and
 * repairs the fault that this may be.  There are none here (ADR 0011): it is
 * given whole words.
 */
static inline unsigned long load_unaligned_zeropad(const void *p)
{
	return 0;
}

#include "../../x86/lib/csum-partial_64.c"

/* 16 bits, for data that starts at an even place of the sum */
unsigned int do_csum(const unsigned char *buff, int len)
{
	int words, shift = 0;
	u64 sum, tail = 0;

	if (len <= 0)
		return 0;
	words = len & ~7;
	sum = (__force u32)x86_csum_partial(buff, words, 0);
	buff += words;
	if (len & 4) {
		tail = get_unaligned((u32 *)buff);
		buff += 4;
		shift = 32;
	}
	if (len & 2) {
		tail |= (u64)get_unaligned((u16 *)buff) << shift;
		buff += 2;
		shift += 16;
	}
	if (len & 1)
		tail |= (u64)*buff << shift;
	sum += (u32)tail + (tail >> 32);
	/* up to 34 bits, twice down to 16 */
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}
