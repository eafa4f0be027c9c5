/* SPDX-License-Identifier: GPL-2.0-only */
/* Pages, and the linear map between addresses and frames. */
#ifndef _ASM_LIB_PAGE_H
#define _ASM_LIB_PAGE_H

#include <linux/const.h>

#define PAGE_SHIFT	CONFIG_PAGE_SHIFT
#define PAGE_SIZE	(_AC(1, UL) << PAGE_SHIFT)
#define PAGE_MASK	(~(PAGE_SIZE - 1))

#ifndef __ASSEMBLY__
#include <linux/types.h>

/*
 * Kernel RAM, and the user region behind it, lie wherever the host put them.
 * Physically they start low: generic code walks the frame numbers below the
 * first one at boot.
 */
extern unsigned long ob_va_offset;
#define OB_PHYS_BASE		0x400000UL	/* a block of the largest order */
#define PAGE_OFFSET		(ob_va_offset + OB_PHYS_BASE)
#define ARCH_PFN_OFFSET		(OB_PHYS_BASE >> PAGE_SHIFT)

typedef struct { unsigned long pte; } pte_t;
typedef struct { unsigned long pmd; } pmd_t;
typedef struct { unsigned long pgd; } pgd_t;
typedef struct { unsigned long pgprot; } pgprot_t;
typedef struct page *pgtable_t;

#define pte_val(x)	((x).pte)
#define pmd_val(x)	((x).pmd)
#define pgd_val(x)	((x).pgd)
#define pgprot_val(x)	((x).pgprot)
#define __pte(x)	((pte_t) { (x) })
#define __pmd(x)	((pmd_t) { (x) })
#define __pgd(x)	((pgd_t) { (x) })
#define __pgprot(x)	((pgprot_t) { (x) })

#define clear_page(p)			memset((p), 0, PAGE_SIZE)
#define copy_page(to, from)		memcpy((to), (from), PAGE_SIZE)
#define clear_user_page(p, v, pg)	clear_page(p)
#define copy_user_page(to, from, v, pg)	copy_page(to, from)

#define __pa(x)			((unsigned long)(x) - ob_va_offset)
#define __va(x)			((void *)((unsigned long)(x) + ob_va_offset))
#define __pa_symbol(x)		__pa(x)

static inline unsigned long virt_to_pfn(const void *kaddr)
{
	return __pa(kaddr) >> PAGE_SHIFT;
}
#define virt_to_pfn		virt_to_pfn
#define pfn_to_virt(pfn)	__va((unsigned long)(pfn) << PAGE_SHIFT)
#define virt_to_page(addr)	pfn_to_page(virt_to_pfn(addr))
#define page_to_virt(page)	pfn_to_virt(page_to_pfn(page))
#define page_to_phys(page)	((phys_addr_t)page_to_pfn(page) << PAGE_SHIFT)
#define virt_addr_valid(kaddr)	pfn_valid(virt_to_pfn((void *)(kaddr)))

#include <asm-generic/memory_model.h>
#include <asm-generic/getorder.h>
#endif
#endif
