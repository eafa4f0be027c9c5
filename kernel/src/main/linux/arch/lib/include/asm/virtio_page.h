/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The registers of a virtual device: what virtio calls a transport. Included by
 * both sides: only plain C in it. outboard_kernel.h says how the kernel gets one.
 *
 * A device is a page of memory that the kernel (the driver) and the device's
 * threads share. Neither side ever calls the other for it: a change is written
 * to the page, and then made known
 *
 *   driver -> device   by a write to an eventfd ("kick")
 *   device -> driver   by a bit in isr and the page's interrupt line
 *
 * All fields are little endian; everybody who reads a word that the other side
 * may write does so once, atomically. "D" fields are written by the device, "K"
 * fields by the kernel. What K fields say is a request and is checked by the
 * device before it acts.
 *
 *      0   4   8   12   16               24               32
 *      +---+---+---+---+----------------+----------------+
 *    0 |mag|ver|dev|ven| features offer.| features taken |
 *      +---+---+---+---+----------------+----------------+
 *   32 |sta|ser|ack|aks|gen|cfb|nq |irq |  status, config
 *      +---+---+---+---+---+---+---+----+
 *   64 |isr|ctl|seg| (a cache line)     |  what happened; control kick; segments
 *      +---+---+------------------------+
 *  128 | queue 0: max size rdy kck  desc  driver  device  (64 bytes)
 *  192 | queue 1 ...
 *      |
 * 1024 | the device's configuration space, config_bytes long
 *      +--------------------------------------------------- 4096
 *
 * The status handshake. The kernel writes status, then adds one to
 * status_serial, then kicks control_kick. The device takes it, writes
 * ack_status, then makes ack_serial the serial that it took, then raises
 * OBK_VIRTIO_ISR_STATUS. That answer is what the kernel waits for where virtio
 * demands one: after FEATURES_OK (is it still set?) and after a reset.
 */
#ifndef _ASM_LIB_VIRTIO_PAGE_H
#define _ASM_LIB_VIRTIO_PAGE_H

#define OBK_VIRTIO_MAGIC	0x4456424fU	/* "OBVD" */
#define OBK_VIRTIO_VERSION	1U
#define OBK_VIRTIO_PAGE_BYTES	4096U
#define OBK_VIRTIO_QUEUES	14U		/* at most */
#define OBK_VIRTIO_CONFIG	1024U		/* offset of the config space */

/* isr: bit n below OBK_VIRTIO_QUEUES says that queue n has used buffers. */
#define OBK_VIRTIO_ISR_STATUS	(1U << 30)	/* a status was answered */
#define OBK_VIRTIO_ISR_CONFIG	(1U << 31)	/* the config space changed */

struct obk_virtio_queue {
	unsigned int		size_max;	/*  0 D entries, a power of two */
	unsigned int		size;		/*  4 K entries chosen */
	unsigned int		ready;		/*  8 K 1: the ring exists */
	int			kick;		/* 12 D eventfd: buffers are there */
	unsigned long long	descriptors;	/* 16 K physical addresses ... */
	unsigned long long	driver_area;	/* 24 K (available ring) */
	unsigned long long	device_area;	/* 32 K (used ring) */
	unsigned int		keeps;		/* 40 D 1: who leaves the kernel may
						   do the work of a kick itself */
	unsigned int		reserved[5];	/* 44 */
};

struct obk_virtio_page {
	unsigned int		magic;		/*  0 D */
	unsigned int		version;	/*  4 D of this layout */
	unsigned int		device_id;	/*  8 D virtio: 1 is a network card */
	unsigned int		vendor_id;	/* 12 D */
	unsigned long long	device_features; /* 16 D offered */
	unsigned long long	driver_features; /* 24 K taken */
	unsigned int		status;		/* 32 K */
	unsigned int		status_serial;	/* 36 K */
	unsigned int		ack_status;	/* 40 D */
	unsigned int		ack_serial;	/* 44 D */
	unsigned int		config_generation; /* 48 D odd: being changed */
	unsigned int		config_bytes;	/* 52 D */
	unsigned int		queue_count;	/* 56 D */
	unsigned int		interrupt_line;	/* 60 D */
	unsigned int		isr;		/* 64 D sets bits, K takes them */
	int			control_kick;	/* 68 D eventfd: the status changed */
	unsigned int		max_segment;	/* 72 D a network card: bytes of the
						   largest TCP segment, 0: virtio's */
	unsigned int		reserved[13];	/* 76 */
	struct obk_virtio_queue	queues[OBK_VIRTIO_QUEUES]; /* 128 */
	unsigned char		config[OBK_VIRTIO_PAGE_BYTES - OBK_VIRTIO_CONFIG];
};

_Static_assert(sizeof(struct obk_virtio_queue) == 64, "queue registers");
_Static_assert(__builtin_offsetof(struct obk_virtio_page, isr) == 64, "isr");
_Static_assert(__builtin_offsetof(struct obk_virtio_page, config) ==
	       OBK_VIRTIO_CONFIG, "config space");
_Static_assert(sizeof(struct obk_virtio_page) == OBK_VIRTIO_PAGE_BYTES, "page");

#endif
