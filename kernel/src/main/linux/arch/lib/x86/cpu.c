// SPDX-License-Identifier: GPL-2.0-only
/* What the CPU can do, for mainline's x86 code: asm/cpufeature.h. */
#include <linux/bitops.h>
#include <linux/cache.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <asm/cpu_device_id.h>

struct cpuinfo_x86 boot_cpu_data;
EXPORT_SYMBOL(boot_cpu_data);

static u64 xcr0 __ro_after_init;	/* register state that the host saves */

int cpu_has_xfeatures(u64 mask, const char **name)
{
	return (xcr0 & mask) == mask;
}
EXPORT_SYMBOL(cpu_has_xfeatures);

static void __init cpuid(u32 leaf, u32 *a, u32 *b, u32 *c, u32 *d)
{
	*a = leaf;
	*c = 0;
	asm volatile("cpuid" : "+a" (*a), "=b" (*b), "+c" (*c), "=d" (*d));
}

/* Leaves that are not there read as zero, other than by the instruction. */
static void __init capabilities(u32 max, u32 leaf, int b, int c, int d)
{
	u32 r[4];

	if (leaf > max)
		return;
	cpuid(leaf, &r[0], &r[1], &r[2], &r[3]);
	if (b >= 0)
		boot_cpu_data.x86_capability[b] = r[1];
	if (c >= 0)
		boot_cpu_data.x86_capability[c] = r[2];
	if (d >= 0)
		boot_cpu_data.x86_capability[d] = r[3];
}

/* What works on registers that the host does not save is as good as missing. */
static void __init forget(const u16 *feature, int n)
{
	while (n--)
		__clear_bit(*feature++,
			    (unsigned long *)boot_cpu_data.x86_capability);
}

static int __init cpu_init(void)
{
	static const u16 avx[] __initconst = {
		X86_FEATURE_AVX, X86_FEATURE_AVX2, X86_FEATURE_F16C,
		X86_FEATURE_FMA, X86_FEATURE_VAES, X86_FEATURE_VPCLMULQDQ,
	};
	static const u16 avx512[] __initconst = {
		X86_FEATURE_AVX512F, X86_FEATURE_AVX512BW,
		X86_FEATURE_AVX512CD, X86_FEATURE_AVX512DQ,
		X86_FEATURE_AVX512VL, X86_FEATURE_AVX512IFMA,
		X86_FEATURE_AVX512VBMI, X86_FEATURE_AVX512_VBMI2,
		X86_FEATURE_AVX512_VNNI, X86_FEATURE_AVX512_BITALG,
		X86_FEATURE_AVX512_VPOPCNTDQ,
	};
	struct cpuinfo_x86 *cpu = &boot_cpu_data;
	u32 max, extended, a, b, c, d;

	cpuid(0, &max, &b, &c, &d);
	switch (b) {	/* the first four letters of the name */
	case 0x756e6547: cpu->x86_vendor = X86_VENDOR_INTEL; break;
	case 0x68747541: cpu->x86_vendor = X86_VENDOR_AMD; break;
	default: cpu->x86_vendor = X86_VENDOR_UNKNOWN; break;
	}
	cpuid(0x80000000, &extended, &b, &c, &d);

	cpuid(1, &a, &b, &c, &d);
	cpu->x86 = (a >> 8) & 0xf;
	cpu->x86_model = (a >> 4) & 0xf;
	cpu->x86_stepping = a & 0xf;
	if (cpu->x86 >= 6)
		cpu->x86_model |= (a >> 12) & 0xf0;
	if (cpu->x86 == 0xf)
		cpu->x86 += (a >> 20) & 0xff;

	capabilities(max, 1, -1, CPUID_1_ECX, CPUID_1_EDX);
	capabilities(max, 7, CPUID_7_0_EBX, CPUID_7_ECX, CPUID_7_EDX);
	capabilities(extended, 0x80000001, -1, CPUID_8000_0001_ECX,
		     CPUID_8000_0001_EDX);

	if (boot_cpu_has(X86_FEATURE_OSXSAVE)) {
		asm volatile("xgetbv" : "=a" (a), "=d" (d) : "c" (0));
		xcr0 = a | (u64)d << 32;
	}
	if (!cpu_has_xfeatures(XFEATURE_MASK_SSE | XFEATURE_MASK_YMM, NULL))
		forget(avx, ARRAY_SIZE(avx));
	if (!cpu_has_xfeatures(XFEATURE_MASK_SSE | XFEATURE_MASK_YMM |
			       XFEATURE_MASK_AVX512, NULL))
		forget(avx512, ARRAY_SIZE(avx512));
	return 0;
}
early_initcall(cpu_init);
