// SPDX-License-Identifier: GPL-2.0-only
/*
 * XDP sockets whose rings and memory are the kernel's own: asm/ob_xdp.h.
 *
 * The memory is pages of RAM one behind the other, which need no vmap() to be
 * seen so.  They live as long as the socket does, by the references that it has
 * taken, and so does what is kept of them, which is in the last of them.  The
 * port stands where a program stands otherwise: at the other ends of the rings.
 */
#include <linux/file.h>
#include <linux/gfp.h>
#include <linux/if_xdp.h>
#include <linux/mm.h>
#include <linux/net.h>
#include <linux/random.h>
#include <linux/uaccess.h>
#include <net/sock.h>
#include <net/xdp_sock.h>
#include <net/xsk_buff_pool.h>
#include <asm/ob_port.h>
#include <asm/ob_xdp.h>
#include "../../../net/xdp/xsk_queue.h"

#define CHUNK_BYTES	4096
#define MOST_BYTES	(2 << 20)
#define LEAST_BYTES	(128 << 10)

/* Entries of rings; those for receiving have room for all frames that there are. */
#define RECEIVING	(MOST_BYTES / CHUNK_BYTES)
#define SENDING		64

/* Of one socket's memory. */
struct ob_frames {
	u32 receiving;		/* frames 0 to that; behind them those for sending */
	u32 mark;		/* what is in front of a frame that none has written to */
	u32 filled;		/* those for receiving are in the fill ring */
	u32 unused;		/* how many in: */
	u32 frames[SENDING];	/* what is free to be sent from */
};

static struct ob_frames *ob_frames(struct xdp_umem *umem)
{
	return umem->addrs + umem->size - CHUNK_BYTES;
}

/* --- memory --- */

/* What xdp_umem_reg() is about to pin for the task that is in ob_xdp_memory(). */
static struct {
	struct task_struct *task;
	unsigned long start, pages;
} ob_pinning;

long __real_pin_user_pages(unsigned long start, unsigned long nr_pages,
			   unsigned int gup_flags, struct page **pages);
long __wrap_pin_user_pages(unsigned long start, unsigned long nr_pages,
			   unsigned int gup_flags, struct page **pages);
void __wrap_unpin_user_pages_dirty_lock(struct page **pages,
					unsigned long npages, bool make_dirty);

long __wrap_pin_user_pages(unsigned long start, unsigned long nr_pages,
			   unsigned int gup_flags, struct page **pages)
{
	unsigned long i;

	if (ob_pinning.task != current || ob_pinning.start != start ||
	    ob_pinning.pages != nr_pages)
		return __real_pin_user_pages(start, nr_pages, gup_flags, pages);
	for (i = 0; i < nr_pages; i++) {
		pages[i] = virt_to_page((void *)(start + (i << PAGE_SHIFT)));
		get_page(pages[i]);
	}
	return nr_pages;
}

/* As in memory.c: one reference was taken.  None of these pages has a file. */
void __wrap_unpin_user_pages_dirty_lock(struct page **pages,
					unsigned long npages, bool make_dirty)
{
	unsigned long i;

	for (i = 0; i < npages; i++)
		put_page(pages[i]);
}

static void ob_mark(struct xdp_umem *umem, u32 frame)
{
	memset32(umem->addrs + frame * CHUNK_BYTES, ob_frames(umem)->mark,
		 XDP_PACKET_HEADROOM / sizeof(u32));
}

/* Give the kernel a frame to receive into. */
static void ob_fill(struct xdp_sock *xs, struct xsk_queue *fill, u32 frame)
{
	struct xdp_umem_ring *ring = (struct xdp_umem_ring *)fill->ring;
	u32 at = ring->ptrs.producer;

	ob_mark(xs->umem, frame);
	ring->desc[at & fill->ring_mask] = (u64)frame * CHUNK_BYTES;
	smp_store_release(&ring->ptrs.producer, at + 1);
}

static void ob_fill_all(struct xdp_sock *xs)
{
	struct ob_frames *f;
	u32 i;

	if (!xs->umem || !xs->fq_tmp)
		return;
	f = ob_frames(xs->umem);
	if (f->filled)
		return;
	for (i = 0; i < f->receiving; i++)
		ob_fill(xs, xs->fq_tmp, i);
	f->filled = 1;
}

static long ob_xdp_memory(struct socket *sock)
{
	struct xdp_sock *xs = xdp_sk(sock->sk);
	struct xdp_umem_reg reg = { .chunk_size = CHUNK_BYTES };
	u32 count, sending, i;
	struct ob_frames *f;
	size_t bytes;
	void *memory;
	long r;

	if (xs->state != XSK_READY || xs->umem)
		return -EBUSY;
	for (bytes = MOST_BYTES; ; bytes /= 2) {
		memory = alloc_pages_exact(bytes, GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN);
		if (memory)
			break;
		if (bytes == LEAST_BYTES)
			return -ENOMEM;
	}
	/* Two tasks may be here: to wait for memory is to let another run. */
	if (ob_pinning.task) {
		free_pages_exact(memory, bytes);
		return -EAGAIN;
	}
	ob_pinning.task = current;
	ob_pinning.start = (unsigned long)memory;
	ob_pinning.pages = bytes >> PAGE_SHIFT;
	reg.addr = (unsigned long)memory;
	reg.len = bytes;
	r = sock->ops->setsockopt(sock, SOL_XDP, XDP_UMEM_REG,
				  KERNEL_SOCKPTR(&reg), sizeof(reg));
	ob_pinning.task = NULL;
	if (!r) {
		count = bytes / CHUNK_BYTES;
		sending = min(count / 4, SENDING);
		f = ob_frames(xs->umem);
		f->mark = get_random_u32();
		f->receiving = count - 1 - sending;
		f->unused = sending;
		for (i = 0; i < sending; i++)
			f->frames[i] = f->receiving + i;
		ob_fill_all(xs);
	}
	free_pages_exact(memory, bytes);
	return r;
}

static long ob_xdp_ring(struct socket *sock, int option)
{
	int entries = option == XDP_TX_RING || option == XDP_UMEM_COMPLETION_RING ?
		SENDING : RECEIVING;
	long r;

	switch (option) {
	case XDP_RX_RING:
	case XDP_TX_RING:
	case XDP_UMEM_FILL_RING:
	case XDP_UMEM_COMPLETION_RING:
		break;
	default:
		return -ENOPROTOOPT;
	}
	r = sock->ops->setsockopt(sock, SOL_XDP, option,
				  KERNEL_SOCKPTR(&entries), sizeof(entries));
	if (!r && option == XDP_UMEM_FILL_RING)
		ob_fill_all(xdp_sk(sock->sk));
	return r;
}

static long ob_xdp_bind(struct socket *sock, u32 index, u32 queue, u32 flags)
{
	struct sockaddr_xdp address = {
		.sxdp_family = AF_XDP,
		.sxdp_flags = flags,
		.sxdp_ifindex = index,
		.sxdp_queue_id = queue,
	};

	if (flags & ~(XDP_COPY | XDP_ZEROCOPY | XDP_USE_NEED_WAKEUP))
		return -EINVAL;
	return sock->ops->bind(sock, (struct sockaddr *)&address, sizeof(address));
}

/* --- frames --- */

static long ob_xdp_receive(struct xdp_sock *xs, char __user *to, size_t room)
{
	struct xdp_rxtx_ring *ring;
	struct obk_xdp_frame head;
	size_t done = 0, bytes;
	struct xdp_desc *desc;
	u32 at, frame, words, i;
	u32 *start;

	if (xs->state != XSK_BOUND || !xs->rx)
		return -ENXIO;
	ring = (struct xdp_rxtx_ring *)xs->rx->ring;
	for (at = ring->ptrs.consumer;
	     at != smp_load_acquire(&ring->ptrs.producer); at++) {
		desc = &ring->desc[at & xs->rx->ring_mask];
		frame = desc->addr / CHUNK_BYTES;
		start = xs->umem->addrs + frame * CHUNK_BYTES;
		words = desc->addr % CHUNK_BYTES / sizeof(u32);
		for (i = 0; i < words && start[i] == ob_frames(xs->umem)->mark; i++)
			;
		head.bytes = desc->len;
		head.before = (words - i) * sizeof(u32);
		bytes = sizeof(head) + head.before + head.bytes;
		if (bytes > room - done)
			break;
		if (copy_to_user(to + done, &head, sizeof(head)) ||
		    copy_to_user(to + done + sizeof(head), start + i,
				 head.before + head.bytes))
			return done ? done : -EFAULT;
		ob_fill(xs, xs->pool->fq, frame);
		smp_store_release(&ring->ptrs.consumer, at + 1);
		done = min(ALIGN(done + bytes, 8), room);
	}
	return done;
}

/* Take back what was sent from. */
static void ob_reap(struct xdp_sock *xs)
{
	struct xsk_queue *completed = xs->pool->cq;
	struct xdp_umem_ring *ring = (struct xdp_umem_ring *)completed->ring;
	struct ob_frames *f = ob_frames(xs->umem);
	u32 at;

	for (at = ring->ptrs.consumer;
	     at != smp_load_acquire(&ring->ptrs.producer); at++)
		if (!WARN_ON_ONCE(f->unused == SENDING))
			f->frames[f->unused++] =
				ring->desc[at & completed->ring_mask] / CHUNK_BYTES;
	smp_store_release(&ring->ptrs.consumer, at);
}

static long ob_kick(struct socket *sock, u32 flags)
{
	struct msghdr m = { .msg_flags = flags & MSG_DONTWAIT };

	if (sock->file->f_flags & O_NONBLOCK)
		m.msg_flags |= MSG_DONTWAIT;
	return sock->ops->sendmsg(sock, &m, 0);
}

/*
 * One frame after the other, so that it is known which have gone.  To go back
 * is allowed because nothing sleeps between the call's end and here, where there
 * is one CPU and no preemption.
 */
static long ob_xdp_send(struct socket *sock, const char __user *from, size_t bytes,
			u32 flags)
{
	struct xdp_sock *xs = xdp_sk(sock->sk);
	struct xdp_rxtx_ring *ring;
	struct obk_xdp_frame head;
	struct ob_frames *f;
	long sent = 0, r = 0;
	size_t at = 0;
	u32 end, frame;

	if (xs->state != XSK_BOUND || !xs->tx || !bytes)
		return ob_kick(sock, flags);
	ring = (struct xdp_rxtx_ring *)xs->tx->ring;
	f = ob_frames(xs->umem);
	while (!r && at < bytes && bytes - at > sizeof(head)) {
		if (copy_from_user(&head, from + at, sizeof(head)))
			return sent ? sent : -EFAULT;
		at += sizeof(head);
		if (!head.bytes || head.bytes > CHUNK_BYTES || head.before ||
		    head.bytes > bytes - at)
			return sent ? sent : -EINVAL;
		ob_reap(xs);
		if (!f->unused) {
			r = -EAGAIN;
			break;
		}
		frame = f->frames[--f->unused];
		if (copy_from_user(xs->umem->addrs + frame * CHUNK_BYTES,
				   from + at, head.bytes)) {
			f->frames[f->unused++] = frame;
			return sent ? sent : -EFAULT;
		}
		end = ring->ptrs.producer;
		ring->desc[end & xs->tx->ring_mask] = (struct xdp_desc){
			.addr = (u64)frame * CHUNK_BYTES,
			.len = head.bytes,
		};
		smp_store_release(&ring->ptrs.producer, end + 1);
		r = ob_kick(sock, flags);
		if (xs->tx->cached_cons != end + 1) {
			ring->ptrs.producer = end;
			xs->tx->cached_prod = end;
			f->frames[f->unused++] = frame;
			break;
		}
		sent++;
		at = ALIGN(at + head.bytes, 8);
	}
	return sent ? sent : r;
}

long ob_xdp(int fd, int operation, unsigned long a, unsigned long b,
	    unsigned long c)
{
	struct socket *sock;
	int err;
	long r;

	sock = sockfd_lookup(fd, &err);
	if (!sock)
		return err;
	if (sock->sk->sk_family != AF_XDP) {
		sockfd_put(sock);
		return -ENOPROTOOPT;
	}
	lock_sock(sock->sk);
	switch (operation) {
	case OBK_XDP_MEMORY:
		r = ob_xdp_memory(sock);
		break;
	case OBK_XDP_RING:
		r = ob_xdp_ring(sock, a);
		break;
	case OBK_XDP_BIND:
		r = ob_xdp_bind(sock, a, b, c);
		break;
	case OBK_XDP_RECEIVE:
		r = ob_xdp_receive(xdp_sk(sock->sk), (char __user *)a, b);
		break;
	case OBK_XDP_SEND:
		r = ob_xdp_send(sock, (const char __user *)a, b, c);
		break;
	default:
		r = -EINVAL;
	}
	release_sock(sock->sk);
	sockfd_put(sock);
	return r;
}
