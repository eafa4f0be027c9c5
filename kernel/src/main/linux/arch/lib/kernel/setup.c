// SPDX-License-Identifier: GPL-2.0-only
/* Boot, console, delays, and the small hooks that generic code wants. */
#include <linux/console.h>
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/panic_notifier.h>
#include <linux/ptrace.h>
#include <linux/reboot.h>
#include <linux/sched/debug.h>
#include <linux/seq_file.h>
#include <linux/start_kernel.h>
#include <linux/utsname.h>
#include <asm/ob_port.h>
#include <asm/setup.h>

/* --- console --- */

static void ob_console_write(struct console *con, const char *s, unsigned int n)
{
	ob_host_print(s, n);
}

static struct console ob_console = {
	.name	= "outboard",
	.write	= ob_console_write,
	.flags	= CON_PRINTBUFFER | CON_ANYTIME,
	.index	= -1,
};

/* The last of the panic notifiers: the process does not outlive its kernel. */
static int ob_panic(struct notifier_block *nb, unsigned long event, void *msg)
{
	console_verbose();
	ob_host_panic();
}

static struct notifier_block ob_panic_notifier = {
	.notifier_call	= ob_panic,
	.priority	= INT_MIN,
};

/* --- boot --- */

void __ref ob_boot_main(const struct ob_memory *memory, const char *cmdline)
{
	ob_memory_init(memory);
	strscpy(boot_command_line, cmdline, COMMAND_LINE_SIZE);
	start_kernel();
}

void __init setup_arch(char **cmdline_p)
{
	static char cmdline[COMMAND_LINE_SIZE] __initdata;

	strscpy(cmdline, boot_command_line, COMMAND_LINE_SIZE);
	*cmdline_p = cmdline;

	register_console(&ob_console);
	atomic_notifier_chain_register(&panic_notifier_list, &ob_panic_notifier);
	parse_early_param();
	ob_memory_setup();
}

const char *ob_k_release(void)
{
	return init_utsname()->release;
}

/* --- delays: the CPU is a thread, busy waiting is by the host's clock --- */

void __init calibrate_delay(void)
{
	loops_per_jiffy = NSEC_PER_SEC / HZ;
}

void __delay(unsigned long ns)
{
	u64 end = ob_host_mono_ns() + ns;

	while (ob_host_mono_ns() < end)
		;
}
EXPORT_SYMBOL(__delay);

void __udelay(unsigned long us)
{
	__delay(us * NSEC_PER_USEC);
}
EXPORT_SYMBOL(__udelay);

void __ndelay(unsigned long ns)
{
	__delay(ns);
}
EXPORT_SYMBOL(__ndelay);

/* in units of 2^-32 seconds */
void __const_udelay(unsigned long x)
{
	__delay((x * NSEC_PER_SEC) >> 32);
}
EXPORT_SYMBOL(__const_udelay);

/* --- the end; reboot(2) is refused, so only a panic's timeout gets here --- */

void machine_restart(char *cmd)
{
	ob_host_halted();
}

void machine_halt(void)
{
	ob_host_halted();
}

void machine_power_off(void)
{
	ob_host_halted();
}

/* --- debugging aids --- */

void show_regs(struct pt_regs *regs)
{
}

void show_stack(struct task_struct *task, unsigned long *sp, const char *loglvl)
{
	if (!task || task == current)
		ob_host_backtrace();
}

/* --- /proc/cpuinfo --- */

static int cpuinfo_show(struct seq_file *m, void *v)
{
	seq_puts(m, "processor\t: 0\nmodel name\t: library\n");
	return 0;
}

static void *cpuinfo_start(struct seq_file *m, loff_t *pos)
{
	return *pos < 1 ? (void *)1 : NULL;
}

static void *cpuinfo_next(struct seq_file *m, void *v, loff_t *pos)
{
	++*pos;
	return NULL;
}

static void cpuinfo_stop(struct seq_file *m, void *v)
{
}

const struct seq_operations cpuinfo_op = {
	.start	= cpuinfo_start,
	.next	= cpuinfo_next,
	.stop	= cpuinfo_stop,
	.show	= cpuinfo_show,
};

/* --- ptrace(2) is refused: no task has registers --- */

void user_disable_single_step(struct task_struct *task)
{
}

void ptrace_disable(struct task_struct *task)
{
}

long arch_ptrace(struct task_struct *task, long request, unsigned long addr,
		 unsigned long data)
{
	return -EIO;
}
