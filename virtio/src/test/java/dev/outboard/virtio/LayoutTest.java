// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.NetInterface;
import dev.outboard.abi.PacketSocket;
import dev.outboard.abi.Virtio;
import dev.outboard.abi.Xdp;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Offsets and constants against the real headers, by a C program that prints them. */
class LayoutTest {
  private static final String INCLUDES =
      """
      #include <stdio.h>
      #include <stddef.h>
      #include <netinet/in.h>
      #include <sys/ioctl.h>
      #include <sys/uio.h>
      #include <linux/bpf.h>
      #include <linux/if.h>
      #include <linux/if_arp.h>
      #include <linux/if_ether.h>
      #include <linux/if_packet.h>
      #include <linux/if_xdp.h>
      #include <linux/if_tun.h>
      #include <linux/ipv6.h>
      #include <linux/rtnetlink.h>
      #include <linux/sockios.h>
      #include <linux/virtio_config.h>
      #include <linux/virtio_ids.h>
      #include <linux/virtio_net.h>
      #include <linux/virtio_ring.h>
      #include "virtio_page.h"
      """;

  @TempDir Path directory;

  @Test
  void matchesTheHeaders() throws IOException, InterruptedException {
    Map<String, Long> expected = new LinkedHashMap<>();
    page(expected);
    rings(expected);
    net(expected);
    interfaces(expected);
    sockets(expected);

    StringBuilder source = new StringBuilder(INCLUDES).append("int main(void) {\n");
    expected.keySet().forEach(e -> source.append("printf(\"%lld\\n\", (long long)(" + e + "));\n"));
    source.append("return 0; }\n");
    Path file = Files.writeString(directory.resolve("probe.c"), source);
    Path program = directory.resolve("probe");
    Path headers = Path.of("..", "kernel", "src", "main", "linux", "arch", "lib", "include", "asm");
    assertThat(run("gcc", "-iquote", headers.toString(), "-o", program.toString(), file.toString()))
        .isEmpty();
    String[] values = run(program.toString()).split("\n", -1);

    int i = 0;
    for (Map.Entry<String, Long> e : expected.entrySet()) {
      assertThat(Long.parseLong(values[i++])).as(e.getKey()).isEqualTo(e.getValue());
    }
  }

  private static void page(Map<String, Long> m) {
    m.put("sizeof(struct obk_virtio_page)", (long) RegisterPage.BYTES);
    m.put("OBK_VIRTIO_MAGIC", (long) RegisterPage.MAGIC_VALUE);
    m.put("OBK_VIRTIO_VERSION", (long) RegisterPage.LAYOUT_VERSION);
    m.put("OBK_VIRTIO_QUEUES", (long) RegisterPage.MAX_QUEUES);
    m.put("(int)OBK_VIRTIO_ISR_STATUS", (long) RegisterPage.ISR_STATUS);
    m.put("(int)OBK_VIRTIO_ISR_CONFIG", (long) RegisterPage.ISR_CONFIG);
    String p = "offsetof(struct obk_virtio_page, %s)";
    m.put(p.formatted("magic"), (long) RegisterPage.MAGIC);
    m.put(p.formatted("version"), (long) RegisterPage.VERSION);
    m.put(p.formatted("device_id"), (long) RegisterPage.DEVICE_ID);
    m.put(p.formatted("vendor_id"), (long) RegisterPage.VENDOR_ID);
    m.put(p.formatted("device_features"), (long) RegisterPage.DEVICE_FEATURES);
    m.put(p.formatted("driver_features"), (long) RegisterPage.DRIVER_FEATURES);
    m.put(p.formatted("status"), (long) RegisterPage.STATUS);
    m.put(p.formatted("status_serial"), (long) RegisterPage.STATUS_SERIAL);
    m.put(p.formatted("ack_status"), (long) RegisterPage.ACK_STATUS);
    m.put(p.formatted("ack_serial"), (long) RegisterPage.ACK_SERIAL);
    m.put(p.formatted("config_generation"), (long) RegisterPage.CONFIG_GENERATION);
    m.put(p.formatted("config_bytes"), (long) RegisterPage.CONFIG_BYTES);
    m.put(p.formatted("queue_count"), (long) RegisterPage.QUEUE_COUNT);
    m.put(p.formatted("interrupt_line"), (long) RegisterPage.INTERRUPT_LINE);
    m.put(p.formatted("isr"), (long) RegisterPage.ISR);
    m.put(p.formatted("control_kick"), (long) RegisterPage.CONTROL_KICK);
    m.put(p.formatted("max_segment"), (long) RegisterPage.MAX_SEGMENT);
    m.put(p.formatted("queues"), (long) RegisterPage.QUEUES);
    m.put(p.formatted("config"), (long) RegisterPage.CONFIG);
    m.put("sizeof(struct obk_virtio_queue)", (long) RegisterPage.QUEUE_BYTES);
    String q = "offsetof(struct obk_virtio_queue, %s)";
    m.put(q.formatted("size_max"), (long) RegisterPage.QUEUE_SIZE_MAX);
    m.put(q.formatted("size"), (long) RegisterPage.QUEUE_SIZE);
    m.put(q.formatted("ready"), (long) RegisterPage.QUEUE_READY);
    m.put(q.formatted("kick"), (long) RegisterPage.QUEUE_KICK);
    m.put(q.formatted("descriptors"), (long) RegisterPage.QUEUE_DESCRIPTORS);
    m.put(q.formatted("driver_area"), (long) RegisterPage.QUEUE_DRIVER_AREA);
    m.put(q.formatted("device_area"), (long) RegisterPage.QUEUE_DEVICE_AREA);
  }

  private static void rings(Map<String, Long> m) {
    m.put("sizeof(struct vring_desc)", (long) Virtio.DESC_BYTES);
    m.put("offsetof(struct vring_desc, addr)", (long) Virtio.DESC_ADDRESS);
    m.put("offsetof(struct vring_desc, len)", (long) Virtio.DESC_LENGTH);
    m.put("offsetof(struct vring_desc, flags)", (long) Virtio.DESC_FLAGS);
    m.put("offsetof(struct vring_desc, next)", (long) Virtio.DESC_NEXT);
    m.put("VRING_DESC_F_NEXT", (long) Virtio.DESC_F_NEXT);
    m.put("VRING_DESC_F_WRITE", (long) Virtio.DESC_F_WRITE);
    m.put("VRING_DESC_F_INDIRECT", (long) Virtio.DESC_F_INDIRECT);
    m.put("offsetof(struct vring_avail, flags)", (long) Virtio.AVAIL_FLAGS);
    m.put("offsetof(struct vring_avail, idx)", (long) Virtio.AVAIL_INDEX);
    m.put("offsetof(struct vring_avail, ring)", (long) Virtio.AVAIL_RING);
    m.put("VRING_AVAIL_F_NO_INTERRUPT", (long) Virtio.AVAIL_F_NO_INTERRUPT);
    m.put("offsetof(struct vring_used, flags)", (long) Virtio.USED_FLAGS);
    m.put("offsetof(struct vring_used, idx)", (long) Virtio.USED_INDEX);
    m.put("offsetof(struct vring_used, ring)", (long) Virtio.USED_RING);
    m.put("sizeof(struct vring_used_elem)", (long) Virtio.USED_ENTRY_BYTES);
    m.put("VRING_USED_F_NO_NOTIFY", (long) Virtio.USED_F_NO_NOTIFY);
    m.put("VIRTIO_RING_F_EVENT_IDX", (long) Virtio.RING_F_EVENT_IDX);
    m.put("VIRTIO_RING_F_INDIRECT_DESC", (long) Virtio.RING_F_INDIRECT_DESC);
    m.put("VIRTIO_F_VERSION_1", (long) Virtio.F_VERSION_1);
    m.put("VIRTIO_CONFIG_S_ACKNOWLEDGE", (long) Virtio.STATUS_ACKNOWLEDGE);
    m.put("VIRTIO_CONFIG_S_DRIVER", (long) Virtio.STATUS_DRIVER);
    m.put("VIRTIO_CONFIG_S_DRIVER_OK", (long) Virtio.STATUS_DRIVER_OK);
    m.put("VIRTIO_CONFIG_S_FEATURES_OK", (long) Virtio.STATUS_FEATURES_OK);
    m.put("VIRTIO_CONFIG_S_NEEDS_RESET", (long) Virtio.STATUS_NEEDS_RESET);
    m.put("VIRTIO_CONFIG_S_FAILED", (long) Virtio.STATUS_FAILED);
    m.put("sizeof(struct iovec)", (long) IoVectors.ENTRY_BYTES);
  }

  private static void sockets(Map<String, Long> m) {
    m.put("PACKET_ADD_MEMBERSHIP", (long) PacketSocket.ADD_MEMBERSHIP);
    m.put("PACKET_VNET_HDR", (long) PacketSocket.VNET_HDR);
    m.put("PACKET_IGNORE_OUTGOING", (long) PacketSocket.IGNORE_OUTGOING);
    m.put("PACKET_MR_PROMISC", (long) PacketSocket.MR_PROMISC);
    m.put("ETH_P_ALL", (long) PacketSocket.ETH_P_ALL);
    m.put("ARPHRD_ETHER", (long) NetInterface.ARPHRD_ETHER);
    m.put("sizeof(struct virtio_net_hdr)", (long) PacketSocket.VNET_HDR_BYTES);
    m.put("sizeof(struct packet_mreq)", (long) PacketSocket.MREQ_BYTES);
    m.put("offsetof(struct packet_mreq, mr_type)", (long) PacketSocket.MREQ_TYPE);
    m.put("sizeof(struct sockaddr_ll)", (long) PacketSocket.ADDRESS_BYTES);
    m.put("offsetof(struct sockaddr_ll, sll_protocol)", (long) PacketSocket.ADDRESS_PROTOCOL);
    m.put("offsetof(struct sockaddr_ll, sll_ifindex)", (long) PacketSocket.ADDRESS_INDEX);
    m.put("XDP_MMAP_OFFSETS", (long) Xdp.MMAP_OFFSETS);
    m.put("XDP_RX_RING", (long) Xdp.RX_RING);
    m.put("XDP_TX_RING", (long) Xdp.TX_RING);
    m.put("XDP_UMEM_REG", (long) Xdp.UMEM_REG);
    m.put("XDP_UMEM_FILL_RING", (long) Xdp.UMEM_FILL_RING);
    m.put("XDP_UMEM_COMPLETION_RING", (long) Xdp.UMEM_COMPLETION_RING);
    m.put("XDP_STATISTICS", (long) Xdp.STATISTICS);
    m.put("XDP_OPTIONS", (long) Xdp.OPTIONS);
    m.put("XDP_PGOFF_RX_RING", Xdp.PGOFF_RX_RING);
    m.put("XDP_PGOFF_TX_RING", Xdp.PGOFF_TX_RING);
    m.put("XDP_UMEM_PGOFF_FILL_RING", Xdp.PGOFF_FILL_RING);
    m.put("XDP_UMEM_PGOFF_COMPLETION_RING", Xdp.PGOFF_COMPLETION_RING);
    m.put("sizeof(struct xdp_mmap_offsets)", (long) Xdp.MMAP_OFFSETS_BYTES);
    m.put("sizeof(struct xdp_ring_offset)", (long) Xdp.RING_OFFSET_BYTES);
    m.put("offsetof(struct xdp_umem_reg, len)", (long) Xdp.UMEM_REG_LENGTH);
    m.put("offsetof(struct xdp_umem_reg, chunk_size)", (long) Xdp.UMEM_REG_CHUNK);
    m.put("offsetof(struct xdp_umem_reg, headroom)", (long) Xdp.UMEM_REG_HEADROOM);
    m.put("offsetof(struct xdp_umem_reg, flags)", (long) Xdp.UMEM_REG_FLAGS);
    m.put("XDP_UMEM_UNALIGNED_CHUNK_FLAG", (long) Xdp.UMEM_UNALIGNED_CHUNKS);
    m.put("XSK_UNALIGNED_BUF_OFFSET_SHIFT", (long) Xdp.UNALIGNED_OFFSET_SHIFT);
    m.put("sizeof(struct xdp_statistics)", (long) Xdp.STATISTICS_BYTES);
    m.put("offsetof(struct xdp_statistics, rx_dropped)", (long) Xdp.STATS_DROPPED);
    m.put("offsetof(struct xdp_statistics, tx_invalid_descs)", (long) Xdp.STATS_TX_INVALID);
    m.put("offsetof(struct xdp_statistics, rx_ring_full)", (long) Xdp.STATS_RING_FULL);
    m.put("offsetof(struct xdp_statistics, rx_fill_ring_empty_descs)", (long) Xdp.STATS_FILL_EMPTY);
    m.put("offsetof(struct xdp_statistics, tx_ring_empty_descs)", (long) Xdp.STATS_TX_EMPTY);
    m.put("sizeof(struct xdp_options)", (long) Xdp.OPTIONS_BYTES);
    m.put("sizeof(struct xdp_desc)", (long) Xdp.DESC_BYTES);
    m.put("offsetof(struct xdp_desc, len)", (long) Xdp.DESC_LENGTH);
    m.put("offsetof(struct xdp_desc, options)", (long) Xdp.DESC_OPTIONS);
    m.put("sizeof(struct sockaddr_xdp)", (long) Xdp.ADDRESS_BYTES);
    m.put("offsetof(struct sockaddr_xdp, sxdp_flags)", (long) Xdp.ADDRESS_FLAGS);
    m.put("offsetof(struct sockaddr_xdp, sxdp_ifindex)", (long) Xdp.ADDRESS_INDEX);
    m.put("offsetof(struct sockaddr_xdp, sxdp_queue_id)", (long) Xdp.ADDRESS_QUEUE);
    m.put("XDP_COPY", (long) Xdp.COPY);
    m.put("XDP_ZEROCOPY", (long) Xdp.ZEROCOPY);
    m.put("XDP_USE_NEED_WAKEUP", (long) Xdp.USE_NEED_WAKEUP);
    m.put("XDP_RING_NEED_WAKEUP", (long) Xdp.RING_NEED_WAKEUP);
    m.put("BPF_MAP_CREATE", (long) Xdp.MAP_CREATE);
    m.put("BPF_MAP_UPDATE_ELEM", (long) Xdp.MAP_UPDATE_ELEM);
    m.put("BPF_PROG_LOAD", (long) Xdp.PROG_LOAD);
    m.put("BPF_LINK_CREATE", (long) Xdp.LINK_CREATE);
    m.put("BPF_MAP_TYPE_XSKMAP", (long) Xdp.MAP_TYPE_XSKMAP);
    m.put("BPF_PROG_TYPE_XDP", (long) Xdp.PROG_TYPE_XDP);
    m.put("BPF_XDP", (long) Xdp.ATTACH_XDP);
    m.put("BPF_PSEUDO_MAP_FD", (long) Xdp.PSEUDO_MAP_FD);
    m.put("BPF_FUNC_redirect_map", (long) Xdp.FUNC_REDIRECT_MAP);
    m.put("XDP_PASS", (long) Xdp.ACTION_PASS);
    m.put("offsetof(struct xdp_md, rx_queue_index)", (long) Xdp.MD_RX_QUEUE_INDEX);
  }

  private static void net(Map<String, Long> m) {
    m.put("VIRTIO_ID_NET", (long) Virtio.ID_NET);
    m.put("VIRTIO_NET_F_CSUM", (long) Virtio.NET_F_CSUM);
    m.put("VIRTIO_NET_F_GUEST_CSUM", (long) Virtio.NET_F_GUEST_CSUM);
    m.put("VIRTIO_NET_F_MTU", (long) Virtio.NET_F_MTU);
    m.put("VIRTIO_NET_F_MAC", (long) Virtio.NET_F_MAC);
    m.put("VIRTIO_NET_F_GUEST_TSO4", (long) Virtio.NET_F_GUEST_TSO4);
    m.put("VIRTIO_NET_F_GUEST_TSO6", (long) Virtio.NET_F_GUEST_TSO6);
    m.put("VIRTIO_NET_F_GUEST_ECN", (long) Virtio.NET_F_GUEST_ECN);
    m.put("VIRTIO_NET_F_HOST_TSO4", (long) Virtio.NET_F_HOST_TSO4);
    m.put("VIRTIO_NET_F_HOST_TSO6", (long) Virtio.NET_F_HOST_TSO6);
    m.put("VIRTIO_NET_F_HOST_ECN", (long) Virtio.NET_F_HOST_ECN);
    m.put("VIRTIO_NET_F_MRG_RXBUF", (long) Virtio.NET_F_MRG_RXBUF);
    m.put("VIRTIO_NET_F_STATUS", (long) Virtio.NET_F_STATUS);
    m.put("VIRTIO_NET_S_LINK_UP", (long) Virtio.NET_STATUS_LINK_UP);
    m.put("sizeof(struct virtio_net_hdr_mrg_rxbuf)", (long) Virtio.NET_HEADER_BYTES);
    m.put(
        "offsetof(struct virtio_net_hdr_mrg_rxbuf, num_buffers)", (long) Virtio.NET_HEADER_BUFFERS);
    m.put("offsetof(struct virtio_net_config, mac)", (long) Virtio.NET_CONFIG_MAC);
    m.put("offsetof(struct virtio_net_config, status)", (long) Virtio.NET_CONFIG_STATUS);
    m.put(
        "offsetof(struct virtio_net_config, max_virtqueue_pairs)",
        (long) Virtio.NET_CONFIG_QUEUE_PAIRS);
    m.put("offsetof(struct virtio_net_config, mtu)", (long) Virtio.NET_CONFIG_MTU);
    m.put("offsetof(struct virtio_net_config, mtu) + 2", (long) Virtio.NET_CONFIG_BYTES);
  }

  private static void interfaces(Map<String, Long> m) {
    m.put("IFNAMSIZ", (long) NetInterface.IFNAMSIZ);
    m.put("TUNSETIFF", (long) NetInterface.TUNSETIFF);
    m.put("TUNSETOFFLOAD", (long) NetInterface.TUNSETOFFLOAD);
    m.put("TUNSETVNETHDRSZ", (long) NetInterface.TUNSETVNETHDRSZ);
    m.put("IFF_TAP", (long) NetInterface.IFF_TAP);
    m.put("IFF_NO_PI", (long) NetInterface.IFF_NO_PI);
    m.put("IFF_VNET_HDR", (long) NetInterface.IFF_VNET_HDR);
    m.put("TUN_F_CSUM", (long) NetInterface.TUN_F_CSUM);
    m.put("TUN_F_TSO4", (long) NetInterface.TUN_F_TSO4);
    m.put("TUN_F_TSO6", (long) NetInterface.TUN_F_TSO6);
    m.put("TUN_F_TSO_ECN", (long) NetInterface.TUN_F_TSO_ECN);
    m.put("SIOCGIFFLAGS", (long) NetInterface.SIOCGIFFLAGS);
    m.put("SIOCSIFFLAGS", (long) NetInterface.SIOCSIFFLAGS);
    m.put("SIOCGIFADDR", (long) NetInterface.SIOCGIFADDR);
    m.put("SIOCSIFADDR", (long) NetInterface.SIOCSIFADDR);
    m.put("SIOCGIFNETMASK", (long) NetInterface.SIOCGIFNETMASK);
    m.put("SIOCSIFNETMASK", (long) NetInterface.SIOCSIFNETMASK);
    m.put("SIOCGIFMTU", (long) NetInterface.SIOCGIFMTU);
    m.put("SIOCSIFMTU", (long) NetInterface.SIOCSIFMTU);
    m.put("SIOCGIFINDEX", (long) NetInterface.SIOCGIFINDEX);
    m.put("SIOCDIFADDR", (long) NetInterface.SIOCDIFADDR);
    m.put("sizeof(struct ifreq)", (long) NetInterface.IFREQ_BYTES);
    m.put("offsetof(struct ifreq, ifr_ifru)", (long) NetInterface.IFREQ_UNION);
    m.put("sizeof(struct in6_ifreq)", (long) NetInterface.IN6_IFREQ_BYTES);
    m.put("offsetof(struct in6_ifreq, ifr6_prefixlen)", (long) NetInterface.IN6_IFREQ_PREFIX);
    m.put("offsetof(struct in6_ifreq, ifr6_ifindex)", (long) NetInterface.IN6_IFREQ_INDEX);
    m.put("RTM_NEWADDR", (long) NetInterface.RTM_NEWADDR);
    m.put("IFA_LOCAL", (long) NetInterface.IFA_LOCAL);
    m.put("IFA_F_NODAD", (long) NetInterface.IFA_F_NODAD);
    m.put(
        "NLM_F_REQUEST | NLM_F_ACK | NLM_F_EXCL | NLM_F_CREATE",
        (long) NetInterface.NETLINK_CREATE);
    m.put("NLMSG_LENGTH(offsetof(struct nlmsgerr, error))", (long) NetInterface.NETLINK_ERROR);
    String message = "NLMSG_LENGTH(offsetof(struct ifaddrmsg, %s))";
    m.put(message.formatted("ifa_family"), (long) NetInterface.NEW_ADDRESS_FAMILY);
    m.put(message.formatted("ifa_prefixlen"), (long) NetInterface.NEW_ADDRESS_PREFIX);
    m.put(message.formatted("ifa_flags"), (long) NetInterface.NEW_ADDRESS_FLAGS);
    m.put(message.formatted("ifa_index"), (long) NetInterface.NEW_ADDRESS_INDEX);
    m.put("NLMSG_LENGTH(sizeof(struct ifaddrmsg))", (long) NetInterface.NEW_ADDRESS_ATTRIBUTE);
    m.put(
        "NLMSG_LENGTH(sizeof(struct ifaddrmsg)) + RTA_LENGTH(0)", (long) NetInterface.NEW_ADDRESS);
    m.put(
        "NLMSG_LENGTH(sizeof(struct ifaddrmsg)) + RTA_LENGTH(sizeof(struct in6_addr))",
        (long) NetInterface.NEW_ADDRESS_BYTES);
  }

  private static String run(String... command) throws IOException, InterruptedException {
    Process p = new ProcessBuilder(command).redirectErrorStream(true).start();
    String output = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(p.waitFor()).as(output).isZero();
    return output;
  }
}
