/* SPDX-License-Identifier: GPL-2.0-only */
/* The generic ones, around what arch/arm64/lib/csum.c has. */
#ifndef _ASM_LIB_ARM64_CHECKSUM_H
#define _ASM_LIB_ARM64_CHECKSUM_H
#include <linux/in6.h>

#define _HAVE_ARCH_IPV6_CSUM
__sum16 csum_ipv6_magic(const struct in6_addr *saddr,
			const struct in6_addr *daddr,
			__u32 len, __u8 proto, __wsum sum);

#define do_csum do_csum
unsigned int do_csum(const unsigned char *buff, int len);
#include <asm-generic/checksum.h>
#endif
