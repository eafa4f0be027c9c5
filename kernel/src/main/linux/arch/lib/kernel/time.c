// SPDX-License-Identifier: GPL-2.0-only
/* Time: the host's clocks, and one timer of the host. */
#include <linux/clockchips.h>
#include <linux/clocksource.h>
#include <linux/init.h>
#include <linux/sched/clock.h>
#include <linux/timekeeping.h>
#include <asm/ob_port.h>

static u64 ob_clock_read(struct clocksource *cs)
{
	return ob_host_mono_ns();
}

static struct clocksource ob_clocksource = {
	.name	= "host",
	.rating	= 400,
	.read	= ob_clock_read,
	.mask	= CLOCKSOURCE_MASK(64),
	.flags	= CLOCK_SOURCE_IS_CONTINUOUS,
};

unsigned long long notrace sched_clock(void)
{
	return ob_host_mono_ns();
}

void read_persistent_clock64(struct timespec64 *ts)
{
	*ts = ns_to_timespec64(ob_host_real_ns());
}

/*
 * Until it takes the clock above Linux counts ticks, of which few come while it
 * boots: its time of day is late by some milliseconds then, which programs see
 * that compare a packet's time with the host's clock (ping).
 */
static int __init ob_set_clock(void)
{
	struct timespec64 now = ns_to_timespec64(ob_host_real_ns());

	return do_settimeofday64(&now);
}
late_initcall(ob_set_clock);

/*
 * To set the host's timer is a system call, and most timers are put off before
 * they fire.  So it is set lazily: when it is armed for an earlier moment than
 * what is asked, it is left alone, and set again when it fires too early.
 */
static u64 ob_deadline;		/* what the kernel wants, 0: nothing */
static u64 ob_armed;		/* what the host will do, 0: nothing */

static int ob_next_event(unsigned long delta, struct clock_event_device *ced)
{
	u64 t = ob_host_mono_ns() + delta;

	ob_deadline = t;
	if (!ob_armed || t < ob_armed) {
		ob_armed = t;
		ob_host_timer(t);
	}
	return 0;
}

static int ob_timer_off(struct clock_event_device *ced)
{
	ob_deadline = 0;
	return 0;
}

static struct clock_event_device ob_clockevent = {
	.name			= "host",
	.rating			= 400,
	.features		= CLOCK_EVT_FEAT_ONESHOT,
	.set_next_event		= ob_next_event,
	.set_state_shutdown	= ob_timer_off,
	.set_state_oneshot_stopped = ob_timer_off,
};

void ob_timer_irq(void)
{
	ob_armed = 0;
	if (!ob_deadline)
		return;
	if (ob_host_mono_ns() < ob_deadline) {
		ob_armed = ob_deadline;
		ob_host_timer(ob_deadline);
		return;
	}
	ob_deadline = 0;
	ob_clockevent.event_handler(&ob_clockevent);
}

void __init time_init(void)
{
	ob_clockevent.cpumask = cpumask_of(0);
	clocksource_register_hz(&ob_clocksource, NSEC_PER_SEC);
	clockevents_config_and_register(&ob_clockevent, NSEC_PER_SEC, 1000,
					LONG_MAX);
}
