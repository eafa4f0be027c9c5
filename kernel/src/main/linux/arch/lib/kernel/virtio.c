// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio over a page that the device's threads share with us.
 *
 * asm/virtio_page.h says what is in the page and who writes it. Physical
 * addresses are offsets into the kernel's memory, which the device has mapped:
 * there is nothing for a DMA API to translate, and none is configured.
 *
 * The device is another thread of this process and as fast or slow as any: the
 * transport sleeps until it has answered, with a limit, and never spins.
 */
#define pr_fmt(fmt) "virtio-page: " fmt

#include <linux/device.h>
#include <linux/err.h>
#include <linux/interrupt.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <linux/wait.h>
#include <asm/ob_port.h>
#include <asm/virtio_page.h>

/* A device that takes longer to take a status is gone. */
#define ANSWER_TIMEOUT	(5 * HZ)

struct page_device {
	struct virtio_device	vdev;
	struct obk_virtio_page	*page;
	wait_queue_head_t	answered;
	struct virtqueue	*queues[OBK_VIRTIO_QUEUES];
};

static struct device *page_root;

static struct page_device *to_page_device(struct virtio_device *vdev)
{
	return container_of(vdev, struct page_device, vdev);
}

static u32 load(const u32 *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void store(u32 *p, u32 v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

/* --- status --- */

static u8 page_get_status(struct virtio_device *vdev)
{
	return load(&to_page_device(vdev)->page->ack_status);
}

static bool page_answered(struct page_device *d)
{
	return load(&d->page->ack_serial) == d->page->status_serial;
}

/* Write a status and wait until the device has taken it. */
static bool page_change_status(struct page_device *d, u8 status)
{
	struct obk_virtio_page *p = d->page;

	store(&p->status, status);
	/* pairs with the device's load of the serial: status is older */
	store(&p->status_serial, p->status_serial + 1);
	ob_host_eventfd_signal(p->control_kick);
	if (wait_event_timeout(d->answered, page_answered(d), ANSWER_TIMEOUT))
		return true;
	dev_err(&d->vdev.dev, "the device does not answer\n");
	virtio_break_device(&d->vdev);
	return false;
}

static void page_set_status(struct virtio_device *vdev, u8 status)
{
	page_change_status(to_page_device(vdev), status);
}

static void page_reset(struct virtio_device *vdev)
{
	struct page_device *d = to_page_device(vdev);

	/* virtio 1.3, 2.4.2: wait until the status reads as zero */
	if (load(&d->page->ack_status) && page_change_status(d, 0) &&
	    load(&d->page->ack_status))
		dev_err(&vdev->dev, "the device refuses to reset\n");
}

/* --- features and configuration --- */

static u64 page_get_features(struct virtio_device *vdev)
{
	return to_page_device(vdev)->page->device_features;
}

static int page_finalize_features(struct virtio_device *vdev)
{
	struct page_device *d = to_page_device(vdev);

	vring_transport_features(vdev);
	if (!__virtio_test_bit(vdev, VIRTIO_F_VERSION_1)) {
		dev_err(&vdev->dev, "a device has to offer VERSION_1\n");
		return -EINVAL;
	}
	d->page->driver_features = vdev->features;
	return 0;
}

static bool page_config_range(struct page_device *d, unsigned int offset,
			      unsigned int len)
{
	unsigned int bytes = min_t(unsigned int, d->page->config_bytes,
				   sizeof(d->page->config));

	return offset <= bytes && len <= bytes - offset;
}

static void page_get(struct virtio_device *vdev, unsigned int offset,
		     void *buf, unsigned int len)
{
	struct page_device *d = to_page_device(vdev);

	if (page_config_range(d, offset, len))
		memcpy(buf, d->page->config + offset, len);
	else
		memset(buf, 0, len);
	rmb();	/* before the generation is read again */
}

/* The devices that there are have nothing in it that a driver may set. */
static void page_set(struct virtio_device *vdev, unsigned int offset,
		     const void *buf, unsigned int len)
{
	dev_warn_once(&vdev->dev, "a write to the configuration is ignored\n");
}

static u32 page_generation(struct virtio_device *vdev)
{
	u32 *g = &to_page_device(vdev)->page->config_generation;
	u32 v;

	/* odd: the device's thread is between its two increments */
	while ((v = load(g)) & 1)
		cpu_relax();
	return v;
}

/* --- queues --- */

static bool page_notify(struct virtqueue *vq)
{
	struct obk_virtio_queue *q =
		&to_page_device(vq->vdev)->page->queues[vq->index];

	/* one host call while the CPU is held, and only if the device asked */
	if (q->keeps)
		ob_host_kick_queue(q->kick);
	else
		ob_host_eventfd_signal(q->kick);
	return true;
}

static irqreturn_t page_interrupt(int irq, void *p)
{
	struct page_device *d = p;
	u32 bits = __atomic_exchange_n(&d->page->isr, 0, __ATOMIC_SEQ_CST);
	u32 queues = bits & (BIT(OBK_VIRTIO_QUEUES) - 1);

	if (!bits)
		return IRQ_NONE;
	if (bits & OBK_VIRTIO_ISR_STATUS)
		wake_up(&d->answered);
	if (bits & OBK_VIRTIO_ISR_CONFIG) {
		if (load(&d->page->ack_status) & VIRTIO_CONFIG_S_NEEDS_RESET) {
			dev_err(&d->vdev.dev, "the device has failed\n");
			virtio_break_device(&d->vdev);
		}
		virtio_config_changed(&d->vdev);
	}
	for (; queues; queues &= queues - 1) {
		struct virtqueue *vq = READ_ONCE(d->queues[__ffs(queues)]);

		if (vq)
			vring_interrupt(irq, vq);
	}
	return IRQ_HANDLED;
}

static void page_synchronize_cbs(struct virtio_device *vdev)
{
	synchronize_irq(to_page_device(vdev)->page->interrupt_line);
}

static void page_del_vqs(struct virtio_device *vdev)
{
	struct page_device *d = to_page_device(vdev);
	struct virtqueue *vq, *next;

	list_for_each_entry_safe(vq, next, &vdev->vqs, list) {
		store(&d->page->queues[vq->index].ready, 0);
		WRITE_ONCE(d->queues[vq->index], NULL);
		synchronize_irq(d->page->interrupt_line);
		vring_del_virtqueue(vq);
	}
}

static struct virtqueue *page_setup_vq(struct page_device *d, unsigned int i,
				       struct virtqueue_info *info)
{
	struct obk_virtio_queue *q = &d->page->queues[i];
	unsigned int size = READ_ONCE(q->size_max);
	struct virtqueue *vq;

	if (!size || q->ready)
		return ERR_PTR(-ENOENT);
	vq = vring_create_virtqueue(i, size, SMP_CACHE_BYTES, &d->vdev, true,
				    true, info->ctx, page_notify,
				    info->callback, info->name);
	if (!vq)
		return ERR_PTR(-ENOMEM);
	vq->num_max = size;
	q->size = virtqueue_get_vring_size(vq);
	q->descriptors = virtqueue_get_desc_addr(vq);
	q->driver_area = virtqueue_get_avail_addr(vq);
	q->device_area = virtqueue_get_used_addr(vq);
	store(&q->ready, 1);
	WRITE_ONCE(d->queues[i], vq);
	return vq;
}

static int page_find_vqs(struct virtio_device *vdev, unsigned int n,
			 struct virtqueue *vqs[], struct virtqueue_info info[],
			 struct irq_affinity *affinity)
{
	struct page_device *d = to_page_device(vdev);
	unsigned int i, index = 0;

	for (i = 0; i < n; i++) {
		if (!info[i].name) {
			vqs[i] = NULL;
			continue;
		}
		if (index >= min(d->page->queue_count, OBK_VIRTIO_QUEUES))
			vqs[i] = ERR_PTR(-ENOENT);
		else
			vqs[i] = page_setup_vq(d, index++, &info[i]);
		if (IS_ERR(vqs[i])) {
			page_del_vqs(vdev);
			return PTR_ERR(vqs[i]);
		}
	}
	return 0;
}

static const char *page_bus_name(struct virtio_device *vdev)
{
	return "outboard";
}

static const struct virtio_config_ops page_config_ops = {
	.get			= page_get,
	.set			= page_set,
	.generation		= page_generation,
	.get_status		= page_get_status,
	.set_status		= page_set_status,
	.reset			= page_reset,
	.find_vqs		= page_find_vqs,
	.del_vqs		= page_del_vqs,
	.synchronize_cbs	= page_synchronize_cbs,
	.get_features		= page_get_features,
	.finalize_features	= page_finalize_features,
	.bus_name		= page_bus_name,
};

/* --- devices --- */

static void page_release(struct device *dev)
{
	struct page_device *d = to_page_device(dev_to_virtio(dev));

	free_irq(d->page->interrupt_line, d);
	kfree(d);
}

/*
 * Segments above 64 KiB (BIG TCP): nothing in virtio forbids them, as the header
 * has the size of the pieces and not of the whole, but the driver never says
 * that its device takes them.  gso_max_size can be raised up to this.
 */
static void page_allow_segments(struct page_device *d)
{
	unsigned int bytes = READ_ONCE(d->page->max_segment);
	struct net_device *dev;

	if (bytes <= TSO_LEGACY_MAX_SIZE)
		return;
	rtnl_lock();
	for_each_netdev(&init_net, dev)
		if (dev->dev.parent == &d->vdev.dev)
			netif_set_tso_max_size(dev, bytes);
	rtnl_unlock();
}

/* obk_virtio_register(), inside the kernel */
static long page_add(void *arg)
{
	struct obk_virtio_page *page = arg;
	struct page_device *d;
	int err;

	if (!page || page->magic != OBK_VIRTIO_MAGIC ||
	    page->version != OBK_VIRTIO_VERSION ||
	    page->queue_count > OBK_VIRTIO_QUEUES ||
	    page->interrupt_line >= NR_IRQS)
		return -EINVAL;
	if (!page_root) {
		struct device *root = root_device_register("outboard");

		if (IS_ERR(root))
			return PTR_ERR(root);
		page_root = root;
	}
	d = kzalloc(sizeof(*d), GFP_KERNEL);
	if (!d)
		return -ENOMEM;
	d->page = page;
	init_waitqueue_head(&d->answered);
	d->vdev.id.device = page->device_id;
	d->vdev.id.vendor = page->vendor_id;
	d->vdev.config = &page_config_ops;
	d->vdev.dev.parent = page_root;
	d->vdev.dev.release = page_release;
	err = request_irq(page->interrupt_line, page_interrupt, 0,
			  "virtio-page", d);
	if (err) {
		kfree(d);
		return err;
	}
	err = register_virtio_device(&d->vdev);
	if (err) {
		put_device(&d->vdev.dev);
		return err;
	}
	/* a driver that refused leaves the device registered, but not running */
	if (!(page_get_status(&d->vdev) & VIRTIO_CONFIG_S_DRIVER_OK)) {
		unregister_virtio_device(&d->vdev);
		return -ENODEV;
	}
	page_allow_segments(d);
	return 0;
}

long ob_k_virtio_add(struct ob_ctx *self, struct obk_virtio_page *page)
{
	return ob_run(self, page_add, page);
}
