/* SPDX-License-Identifier: GPL-2.0-only */
/* What the host layer and the virtio transport ask of each other. */
#ifndef _ASM_LIB_VIRTIO_PAGE_H
#define _ASM_LIB_VIRTIO_PAGE_H
#include <outboard_virtio.h>

/*
 * Host layer: add one to an eventfd of the host. Never sleeps; called with
 * interrupts off and by whoever runs the CPU, so it is one host call at most.
 */
void obk_host_kick(int eventfd);

/* Transport: the body of obk_virtio_register(), run inside the kernel. */
long obk_virtio_add(void *page);

#endif
