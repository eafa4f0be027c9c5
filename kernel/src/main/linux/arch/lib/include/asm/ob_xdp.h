/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Frames of XDP sockets by a call.
 *
 * A program's rings and packets are its own machine's.  Here its socket has
 * memory of the kernel's instead, and rings that the port keeps going, and this
 * call takes frames out of them and puts frames in:
 *
 *	syscall(OBK_XDP, fd, operation, ...)
 *
 * No program is given the call: it is for the process that hosts the kernel.
 * All else about the socket is what it is in mainline.
 *
 *	OBK_XDP_MEMORY			XDP_UMEM_REG; errors as of that
 *	OBK_XDP_RING, option		XDP_RX_RING and its kin; errors as of those
 *	OBK_XDP_BIND, index, queue, flags	bind(); there is no XDP_SHARED_UMEM
 *	OBK_XDP_RECEIVE, data, bytes	frames that have come, as many as there is
 *					room for: how many bytes they take
 *	OBK_XDP_SEND, data, bytes, flags	sendmsg(): how many of the frames in
 *					data are sent, or, if there is none, what the
 *					call says; what is not sent is forgotten
 *
 * A frame in data is a header of two words, how long it is and how long what
 * an XDP program has put before it (0 for those that are sent), then that, then
 * the frame; the next one begins at a multiple of 8.
 */
#ifndef _ASM_LIB_OB_XDP_H
#define _ASM_LIB_OB_XDP_H

/* one of those that asm-generic leaves to an architecture */
#define OBK_XDP			244

#define OBK_XDP_MEMORY		0
#define OBK_XDP_RING		1
#define OBK_XDP_BIND		2
#define OBK_XDP_RECEIVE		3
#define OBK_XDP_SEND		4

struct obk_xdp_frame {
	unsigned int	bytes;
	unsigned int	before;
};

#endif
