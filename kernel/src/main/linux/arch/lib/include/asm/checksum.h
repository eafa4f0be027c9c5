/* SPDX-License-Identifier: GPL-2.0-only */
/* The generic ones, around a sum of x86's: x86/csum.c. */
#ifndef _ASM_LIB_CHECKSUM_H
#define _ASM_LIB_CHECKSUM_H
#define do_csum do_csum
unsigned int do_csum(const unsigned char *buff, int len);
#include <asm-generic/checksum.h>
#endif
