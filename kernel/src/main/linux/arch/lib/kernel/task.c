// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tasks, and what they do: system calls, their interruption, their ends.
 *
 * A host thread that has called ob_k_task_enter() is a task of this kernel: a
 * process of one thread, child of process 1, in the one mm that all share.  It
 * shares open files, directories and namespaces with another task, or has a
 * fresh file table.
 */
#include <linux/errno.h>
#include <linux/fdtable.h>
#include <linux/fs_struct.h>
#include <linux/nsproxy.h>
#include <linux/pid.h>
#include <linux/ptrace.h>
#include <linux/resume_user_mode.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/signal.h>
#include <linux/unistd.h>
#include <asm/syscall.h>

#include "cpu.h"

/* Of process 1, which never runs: whoever makes a task drives it. */
static struct ob_ctx *ob_init_ctx;

/* --- interruption --- */

/*
 * An interrupt is for one call: for the one that was in progress when it was
 * asked for.  target->calls tells.  The thread of target makes it odd before
 * it enters, and even while it owns the CPU: so whoever owns the CPU and finds
 * the number that it looks for may set the flag, and the call will clear it
 * before it ends.  A call that has ended in the meantime has another number,
 * and the one after it is left alone.
 */
void ob_k_interrupt(struct ob_ctx *self, struct ob_ctx *target,
		    unsigned int call)
{
	__atomic_store_n(&target->interrupt, call, __ATOMIC_RELAXED);
	if (!__atomic_exchange_n(&target->interrupt_queued, 1,
				 __ATOMIC_SEQ_CST)) {
		target->interrupt_next = __atomic_load_n(&ob_cpu.interrupted,
							 __ATOMIC_RELAXED);
		while (!__atomic_compare_exchange_n(&ob_cpu.interrupted,
						    &target->interrupt_next,
						    target, 1, __ATOMIC_SEQ_CST,
						    __ATOMIC_RELAXED))
			;
	}
	ob_k_irq(self, OB_IRQ_SIGNAL);
}

void ob_interrupt_irq(void)
{
	struct ob_ctx *c, *next;

	/* pairs with the push in ob_k_interrupt() */
	c = __atomic_exchange_n(&ob_cpu.interrupted, NULL, __ATOMIC_SEQ_CST);
	for (; c; c = next) {
		next = c->interrupt_next;
		/* before the number is read: a later one queues again */
		__atomic_store_n(&c->interrupt_queued, 0, __ATOMIC_SEQ_CST);
		if (!c->task ||
		    __atomic_load_n(&c->calls, __ATOMIC_SEQ_CST) !=
		    __atomic_load_n(&c->interrupt, __ATOMIC_SEQ_CST))
			continue;
		c->interrupt_hit = 1;
		set_notify_signal(c->task);
	}
}

/* --- system calls --- */

/*
 * The work of a task that goes back to where it came from.  True: the call has
 * to be made again.  A call that an interrupt ended is not: its result goes to
 * the caller as it is, but for two.  ERESTART_RESTARTBLOCK means nothing to
 * anybody but this kernel, and ERESTARTNOINTR forbids to give the call up, so
 * the next sleep ends instead.
 */
static bool ob_exit_work(struct ob_ctx *self, long *ret)
{
	unsigned long flags;
	struct ksignal ksig;

	while ((flags = READ_ONCE(current_thread_info()->flags)) & _TIF_WORK) {
		if (flags & (_TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL)) {
			/* no signal has a handler; one that kills ends here */
			if (WARN_ON_ONCE(get_signal(&ksig)))
				signal_setup_done(0, &ksig, 0);
		} else if (flags & _TIF_NOTIFY_RESUME) {
			resume_user_mode_work(current_pt_regs());
		}
		restore_saved_sigmask();
	}
	switch (*ret) {
	case -ERESTARTSYS:
	case -ERESTARTNOHAND:
		return !self->interrupt_hit;
	case -ERESTARTNOINTR:
		if (self->interrupt_hit)
			set_thread_flag(TIF_NOTIFY_SIGNAL);
		return true;
	case -ERESTART_RESTARTBLOCK:
		if (self->interrupt_hit)
			*ret = -EINTR;
		else
			*ret = current->restart_block.fn(&current->restart_block);
		break;
	}
	return false;
}

static __always_inline long ob_call(long nr, const long *a)
{
	return sys_call_table[nr](a[0], a[1], a[2], a[3], a[4], a[5]);
}

/*
 * A call begins before its thread enters, and ends while it still owns the CPU.
 * Pairs with the readers of calls in ob_interrupt_irq() and the host layer.
 */
static __always_inline void ob_call_begins(struct ob_ctx *self)
{
	__atomic_store_n(&self->calls, self->calls + 1, __ATOMIC_RELEASE);
}

static __always_inline void ob_call_ends(struct ob_ctx *self)
{
	__atomic_store_n(&self->calls, self->calls + 1, __ATOMIC_RELEASE);
}

/* Leave with work to do: it may be the end of the task. */
static noinline long ob_syscall_work(struct ob_ctx *self, long nr,
				     const long *a, long ret)
{
	if (__builtin_setjmp(self->base_jb)) {
		ob_settle(self);
		ob_call_ends(self);
		return -ESRCH;
	}
	do {
		while (ob_exit_work(self, &ret))
			ret = ob_call(nr, a);
	} while (ret == -ERESTART_RESTARTBLOCK ||
		 (READ_ONCE(current_thread_info()->flags) & _TIF_WORK));
	self->interrupt_hit = 0;
	ob_call_ends(self);
	ob_leave(self);
	return ret;
}

long ob_k_syscall(struct ob_ctx *self, long nr, const long *a)
{
	long ret;

	if ((unsigned long)nr >= __NR_syscalls)
		return -ENOSYS;
	ob_call_begins(self);
	if (unlikely(!ob_enter(self))) {
		ob_call_ends(self);
		return -ENODEV;
	}
	/* after the lock's exchange: who closes has seen the call, or we see it */
	if (unlikely(READ_ONCE(ob_cpu.closing)))
		ret = -ENODEV;
	else
		ret = ob_call(nr, a);
	if (unlikely(READ_ONCE(current_thread_info()->flags) & _TIF_WORK))
		return ob_syscall_work(self, nr, a, ret);
	ob_call_ends(self);
	ob_leave(self);
	return ret;
}

/*
 * Run a function of the kernel as a call of the task of self. It must not ask
 * to be restarted.
 */
long ob_run(struct ob_ctx *self, long (*fn)(void *), void *arg)
{
	static const long none[6];
	long ret = -ENODEV;

	ob_call_begins(self);
	if (!ob_enter(self)) {
		ob_call_ends(self);
		return ret;
	}
	if (!READ_ONCE(ob_cpu.closing))
		ret = fn(arg);
	if (READ_ONCE(current_thread_info()->flags) & _TIF_WORK)
		return ob_syscall_work(self, __NR_getpid, none, ret);
	ob_call_ends(self);
	ob_leave(self);
	return ret;
}

/* --- threads --- */

static noinline void ob_kthread(struct ob_ctx *self)
{
	int (*fn)(void *) = self->fn_fn;

	if (__builtin_setjmp(self->base_jb)) {
		ob_settle(self);
		ob_host_ctx_free(self);
		return;
	}
	ob_first_run(self);
	fn(self->fn_arg);
	/* It executed something: that is process 1. */
	ob_init_ctx = self;
	ob_leave(self);
	ob_host_booted();
}

/*
 * A kernel thread gets a host thread; a task of ours comes with its context,
 * which is passed as its stack.
 */
int copy_thread(struct task_struct *p, const struct kernel_clone_args *args)
{
	struct ob_ctx *c;

	memset(&p->thread, 0, sizeof(p->thread));
	if (!args->fn) {
		c = (struct ob_ctx *)args->stack;
		if (!c)
			return -EINVAL;
		c->task = p;
		p->thread.ctx = c;
		return 0;
	}
	c = ob_host_ctx_new();
	if (!c)
		return -ENOMEM;
	c->task = p;
	c->fn = ob_kthread;
	c->fn_fn = args->fn;
	c->fn_arg = args->fn_arg;
	p->thread.ctx = c;
	if (ob_host_thread_start(c)) {
		ob_host_ctx_free(c);
		return -EAGAIN;
	}
	return 0;
}

/* --- tasks --- */

/* What a task has in common with the others of its session. */
struct ob_shared {
	struct files_struct	*files;
	struct fs_struct	*fs;
	struct nsproxy		*nsproxy;
};

/* Take references on what the task with this thread id has. */
static int ob_get_shared(pid_t pid, struct ob_shared *s)
{
	struct task_struct *like;
	int ret = -ESRCH;

	rcu_read_lock();
	like = find_task_by_vpid(pid);
	if (like && !(like->flags & PF_KTHREAD) && !is_global_init(like))
		get_task_struct(like);
	else
		like = NULL;
	rcu_read_unlock();
	if (!like)
		return ret;

	/* a task that ends gives these up one by one, under this lock */
	task_lock(like);
	if (like->files && like->fs && like->nsproxy) {
		s->files = like->files;
		atomic_inc(&s->files->count);
		s->fs = like->fs;
		spin_lock(&s->fs->lock);
		s->fs->users++;
		spin_unlock(&s->fs->lock);
		s->nsproxy = like->nsproxy;
		get_nsproxy(s->nsproxy);
		ret = 0;
	}
	task_unlock(like);
	put_task_struct(like);
	return ret;
}

/* Replace what current got from process 1. */
static void ob_share(struct ob_shared *s)
{
	struct fs_struct *fs;
	bool last;

	task_lock(current);
	swap(current->files, s->files);
	fs = current->fs;
	spin_lock(&fs->lock);
	current->fs = s->fs;
	last = !--fs->users;
	spin_unlock(&fs->lock);
	task_unlock(current);

	put_files_struct(s->files);
	if (last)
		free_fs_struct(fs);
	switch_task_namespaces(current, s->nsproxy);
}

/* End current, the task of self, and give the CPU away. */
static noinline void ob_end(struct ob_ctx *self)
{
	if (__builtin_setjmp(self->base_jb)) {
		ob_settle(self);
		return;
	}
	do_exit(0);
}

int ob_k_task_enter(struct ob_ctx *self, int like)
{
	/* a process that reaps itself; files and directories are copies */
	struct kernel_clone_args args = {
		.flags		= CLONE_VM,
		.exit_signal	= SIGCHLD,
		.stack		= (unsigned long)self,
	};
	struct ob_ctx *init = ob_init_ctx;
	struct ob_shared shared;
	int ret = 0;
	pid_t pid;

	ob_enter(init);
	pid = kernel_clone(&args);
	ob_leave(init);
	if (pid < 0) {
		self->task = NULL;
		return pid;
	}
	ob_first_run(self);
	set_task_comm(current, "outboard");
	if (like) {
		ret = ob_get_shared(like, &shared);
		if (ret) {
			ob_end(self);
			return ret;
		}
		ob_share(&shared);
	}
	ob_leave(self);
	return pid;
}

void ob_k_task_leave(struct ob_ctx *self)
{
	if (!self->task)
		return;
	/* as a call, so that a halt waits for it */
	ob_call_begins(self);
	if (ob_enter(self))
		ob_end(self);
	ob_call_ends(self);
}
