/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The CPU that the host process runs on, in the terms of mainline's x86 code.
 * For that code alone: it finds the numbers of the features in x86's headers.
 * Written once, before the first initcall of a subsystem.
 */
#ifndef _ASM_LIB_CPUFEATURE_H
#define _ASM_LIB_CPUFEATURE_H
#include <linux/bitops.h>
#include <linux/types.h>
#include <asm/cpufeatures.h>

/* words of x86_capability, those that are filled */
enum {
	CPUID_1_EDX		= 0,
	CPUID_8000_0001_EDX	= 1,
	CPUID_1_ECX		= 4,
	CPUID_8000_0001_ECX	= 6,
	CPUID_7_0_EBX		= 9,
	CPUID_7_ECX		= 16,
	CPUID_7_EDX		= 18,
};

#define X86_VENDOR_INTEL	0
#define X86_VENDOR_AMD		2
#define X86_VENDOR_UNKNOWN	0xff

struct cpuinfo_x86 {
	union {
		struct {
			u8	x86_model;
			u8	x86;		/* family */
			u8	x86_vendor;
			u8	x86_reserved;
		};
		u32	x86_vfm;
	};
	u8	x86_stepping;
	u32	microcode;		/* not known, 0 */
	u32	x86_capability[NCAPINTS] __aligned(sizeof(long));
};

extern struct cpuinfo_x86 boot_cpu_data;

#define cpu_data(cpu)	boot_cpu_data
#define cpu_has(c, bit)	test_bit(bit, (unsigned long *)(c)->x86_capability)
#define boot_cpu_has(bit)	cpu_has(&boot_cpu_data, bit)

/* components of XCR0 */
#define XFEATURE_MASK_SSE	BIT_ULL(1)
#define XFEATURE_MASK_YMM	BIT_ULL(2)
#define XFEATURE_MASK_AVX512	(BIT_ULL(5) | BIT_ULL(6) | BIT_ULL(7))

/* the host saves all of the mask; name is not written */
int cpu_has_xfeatures(u64 mask, const char **name);

#endif
