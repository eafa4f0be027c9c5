// SPDX-License-Identifier: GPL-2.0-only
/* The kernel's RAM and the user region, one mapping of the process. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "host.h"

#define OB_ALIGN	(4ul << 20)	/* the largest block of the page allocator */
#define OB_RAM_MIN	(32ul << 20)
#define OB_BYTES_MAX	(1ul << 40)

static struct ob_memory memory;
static void *mapping;
static unsigned long mapping_bytes;

int ob_memory_map(const struct obk_config *config, struct ob_memory *m)
{
	unsigned long ram = config->ram_bytes, user = config->user_bytes;
	char *p;

	if (ram < OB_RAM_MIN || user < OB_ALIGN || ram > OB_BYTES_MAX ||
	    user > OB_BYTES_MAX || ram % OB_ALIGN || user % OB_ALIGN)
		return -EINVAL;
	mapping_bytes = ram + user + OB_ALIGN;
	p = mmap(NULL, mapping_bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	/* a core file wants the kernel's memory least of all */
	madvise(p, mapping_bytes, MADV_DONTDUMP);
	mapping = p;
	p = (char *)(((unsigned long)p + OB_ALIGN - 1) & -OB_ALIGN);
	memory = (struct ob_memory){
		.ram = p,
		.ram_bytes = ram,
		.user = p + ram,
		.user_bytes = user,
	};
	*m = memory;
	return 0;
}

void ob_memory_unmap(void)
{
	munmap(mapping, mapping_bytes);
	memory = (struct ob_memory){ 0 };
}

static bool window_ok(uint64_t offset, uint64_t bytes)
{
	unsigned long page = sysconf(_SC_PAGESIZE);

	return bytes && bytes <= memory.user_bytes &&
	       offset <= memory.user_bytes - bytes && !(offset % page) &&
	       !(bytes % page);
}

API int obk_map_window(uint64_t offset, uint64_t bytes, int memfd)
{
	struct stat st;
	int seals;

	if (!window_ok(offset, bytes))
		return -EINVAL;
	seals = fcntl(memfd, F_GET_SEALS);
	if (seals < 0)
		return -errno;
	if (!(seals & F_SEAL_SHRINK))
		return -EPERM;
	if (fstat(memfd, &st))
		return -errno;
	if (st.st_size < 0 || (uint64_t)st.st_size < bytes)
		return -EINVAL;
	if (mmap((char *)memory.user + offset, bytes, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED, memfd, 0) == MAP_FAILED) {
		int error = errno;

		/* there must be no hole, whatever the host did */
		obk_unmap_window(offset, bytes);
		return -error;
	}
	return 0;
}

API int obk_unmap_window(uint64_t offset, uint64_t bytes)
{
	if (!window_ok(offset, bytes))
		return -EINVAL;
	if (mmap((char *)memory.user + offset, bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
		 0) == MAP_FAILED)
		return -errno;
	return 0;
}
