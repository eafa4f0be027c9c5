// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory: the kernel's RAM, and the user region behind it.
 *
 * RAM is the kernel's alone.  The user region holds all that system calls may
 * point to: a private part for the process that hosts the kernel, and windows
 * that it shares with others.  The region has struct pages, so that the kernel
 * can take references on what its callers point to (MSG_ZEROCOPY, decryption
 * in place, vmsplice), but the pages are reserved: the allocator never gets
 * them, and dropping the last such reference never frees one.
 */
#include <linux/anon_inodes.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <asm/ob_port.h>
#include <asm/sections.h>

unsigned long ob_va_offset;
EXPORT_SYMBOL(ob_va_offset);

unsigned long ob_user_start, ob_user_bytes;
EXPORT_SYMBOL(ob_user_start);
EXPORT_SYMBOL(ob_user_bytes);

void *empty_zero_page;
EXPORT_SYMBOL(empty_zero_page);

static struct ob_memory ob_memory;

/* Before start_kernel(): where things are. */
void ob_memory_init(const struct ob_memory *memory)
{
	ob_memory = *memory;
	ob_va_offset = (unsigned long)memory->ram - OB_PHYS_BASE;
	ob_user_start = (unsigned long)memory->user;
	ob_user_bytes = memory->user_bytes;
}

/* In setup_arch(): tell memblock, and make the map of pages. */
void __init ob_memory_setup(void)
{
	unsigned long max_zone_pfn[MAX_NR_ZONES] = { 0 };
	unsigned long bytes = ob_memory.ram_bytes + ob_memory.user_bytes;

	memblock_add(OB_PHYS_BASE, bytes);
	memblock_reserve(__pa(ob_memory.user), ob_memory.user_bytes);
	min_low_pfn = PFN_UP(OB_PHYS_BASE);
	max_low_pfn = PFN_DOWN(OB_PHYS_BASE + bytes);
	max_pfn = max_low_pfn;
	high_memory = __va(OB_PHYS_BASE + bytes);
	set_max_mapnr(max_low_pfn - min_low_pfn);

	empty_zero_page = memblock_alloc(PAGE_SIZE, PAGE_SIZE);
	max_zone_pfn[ZONE_NORMAL] = max_low_pfn;
	free_area_init(max_zone_pfn);
}

void __init mem_init(void)
{
	memblock_free_all();
}

/* The init sections are part of the shared object: there is nothing to free. */
void free_initmem(void)
{
}

/*
 * The one VMA.  get_user_pages() without an MMU looks for a VMA and takes
 * virt_to_page(): so there has to be one over exactly what has pages, in the
 * one mm that all tasks share.
 */
static int ob_user_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (vma->vm_start != ob_user_start)
		return -EINVAL;
	/*
	 * /proc/PID/mem goes by these two, and would show a task what others
	 * keep in the region; get_user_pages() goes by VM_READ and VM_WRITE.
	 */
	vm_flags_clear(vma, VM_MAYREAD | VM_MAYWRITE);
	return 0;
}

static unsigned long ob_user_area(struct file *file, unsigned long addr,
				  unsigned long len, unsigned long pgoff,
				  unsigned long flags)
{
	return pgoff || len != ob_user_bytes ? -EINVAL : ob_user_start;
}

static unsigned int ob_user_capabilities(struct file *file)
{
	return NOMMU_MAP_DIRECT | NOMMU_MAP_READ | NOMMU_MAP_WRITE;
}

static const struct file_operations ob_user_fops = {
	.mmap			= ob_user_mmap,
	.get_unmapped_area	= ob_user_area,
	.mmap_capabilities	= ob_user_capabilities,
};

int ob_map_user_region(void)
{
	struct file *file;
	unsigned long at;

	file = anon_inode_getfile("[user]", &ob_user_fops, NULL, O_RDWR);
	if (IS_ERR(file))
		return PTR_ERR(file);
	at = vm_mmap(file, 0, ob_user_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		     0);
	fput(file);
	if (IS_ERR_VALUE(at))
		return at;
	return at == ob_user_start ? 0 : -ENOMEM;
}

/*
 * Linux without an MMU pins a page by taking one reference, and unpins it by
 * giving back a thousand (GUP_PIN_COUNTING_BIAS).  All calls from other files
 * are linked to this one instead.
 */
void __wrap_unpin_user_page(struct page *page);

void __wrap_unpin_user_page(struct page *page)
{
	put_page(page);
}

/*
 * Pages cannot be shown side by side, and Linux without an MMU says so with
 * BUG().  Those that lie so already need nothing (XDP sockets); for others it
 * fails, with which who asks copes: a ring buffer of BPF is ENOMEM.
 */
void *__wrap_vmap(struct page **pages, unsigned int count, unsigned long flags,
		  pgprot_t prot);
void __wrap_vunmap(const void *addr);

void *__wrap_vmap(struct page **pages, unsigned int count, unsigned long flags,
		  pgprot_t prot)
{
	unsigned int i;

	for (i = 1; i < count; i++)
		if (page_to_pfn(pages[i]) != page_to_pfn(pages[0]) + i)
			return NULL;
	return count ? page_address(pages[0]) : NULL;
}

void __wrap_vunmap(const void *addr)
{
}

/* copy_from_kernel_nofault() may read what cannot fault: RAM and the image. */
bool copy_from_kernel_nofault_allowed(const void *p, size_t n)
{
	unsigned long a = (unsigned long)p, b = a + n;

	if (b < a)
		return false;
	return (a >= (unsigned long)_stext && b <= (unsigned long)_end) ||
	       (a >= (unsigned long)ob_memory.ram && b <= ob_user_start);
}
