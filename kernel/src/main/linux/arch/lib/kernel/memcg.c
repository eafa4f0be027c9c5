// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control groups of sessions: where generic code takes for granted that a group
 * is a process with an mm of its own, which gives its memory back when killed.
 *
 * Here all tasks share one mm, whose owner is process 1, and the memory that a
 * group is charged for is the kernel's own.  The calls from other files than
 * those of the functions are linked to what is here instead.
 */
#include <linux/memcontrol.h>
#include <linux/oom.h>
#include <linux/page_counter.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>

/*
 * A group that is full has nobody to kill: the end of a task would give nothing
 * back that is not given back by its session's.  So the charge fails, and the
 * call with it, without a word in the log, which any program could fill then.
 * For the kernel as a whole all is as ever.
 */
bool __real_out_of_memory(struct oom_control *oc);
bool __wrap_out_of_memory(struct oom_control *oc);

bool __wrap_out_of_memory(struct oom_control *oc)
{
	return !oc->memcg && __real_out_of_memory(oc);
}

/* The group of current, with a reference; NULL if that is the root, or none. */
static struct mem_cgroup *ob_own_memcg(void)
{
	struct mem_cgroup *memcg;

	if (mem_cgroup_disabled() || !in_task() || !current->mm)
		return NULL;
	rcu_read_lock();
	memcg = mem_cgroup_from_task(current);
	if (memcg && (mem_cgroup_is_root(memcg) || !css_tryget(&memcg->css)))
		memcg = NULL;
	rcu_read_unlock();
	return memcg;
}

/*
 * A page of a file is charged to the task that brings it in, not to the owner of
 * the mm.  Whoever has set another group to be charged keeps it.
 */
int __real___mem_cgroup_charge(struct folio *folio, struct mm_struct *mm,
			       gfp_t gfp);
int __wrap___mem_cgroup_charge(struct folio *folio, struct mm_struct *mm,
			       gfp_t gfp);

int __wrap___mem_cgroup_charge(struct folio *folio, struct mm_struct *mm,
			       gfp_t gfp)
{
	struct mem_cgroup *own, *before;
	int ret;

	if (mm || current->active_memcg)
		return __real___mem_cgroup_charge(folio, mm, gfp);
	own = ob_own_memcg();
	if (!own)
		return __real___mem_cgroup_charge(folio, NULL, gfp);
	before = set_active_memcg(own);
	ret = __real___mem_cgroup_charge(folio, NULL, gfp);
	set_active_memcg(before);
	mem_cgroup_put(own);
	return ret;
}

/* Likewise who is charged for events of files, as long as somebody watches. */
struct mem_cgroup *__real_get_mem_cgroup_from_mm(struct mm_struct *mm);
struct mem_cgroup *__wrap_get_mem_cgroup_from_mm(struct mm_struct *mm);

struct mem_cgroup *__wrap_get_mem_cgroup_from_mm(struct mm_struct *mm)
{
	struct mem_cgroup *own = mm == current->mm ? ob_own_memcg() : NULL;

	return own ? own : __real_get_mem_cgroup_from_mm(mm);
}

/*
 * What arrives is charged in an interrupt, and mainline then lets a group go as
 * far above its limit as there are packets: for UDP there is nothing else that
 * would stop them but the limits of all sessions together.  Here they are
 * dropped from an eighth above the limit on.  Up to there a group that is full
 * of what can be reclaimed still receives.
 */
bool __real_mem_cgroup_charge_skmem(struct mem_cgroup *memcg,
				    unsigned int nr_pages, gfp_t gfp);
bool __wrap_mem_cgroup_charge_skmem(struct mem_cgroup *memcg,
				    unsigned int nr_pages, gfp_t gfp);

bool __wrap_mem_cgroup_charge_skmem(struct mem_cgroup *memcg,
				    unsigned int nr_pages, gfp_t gfp)
{
	unsigned long max = READ_ONCE(memcg->memory.max);

	if ((gfp & (__GFP_HIGH | __GFP_NOFAIL)) == __GFP_HIGH &&
	    page_counter_read(&memcg->memory) + nr_pages > max + max / 8)
		gfp &= ~__GFP_HIGH;
	return __real_mem_cgroup_charge_skmem(memcg, nr_pages, gfp);
}
