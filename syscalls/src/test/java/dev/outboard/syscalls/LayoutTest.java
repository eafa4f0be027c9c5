// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Architecture;
import dev.outboard.abi.Bpf;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Ioctl;
import dev.outboard.abi.MessageHeader;
import dev.outboard.abi.Sched;
import dev.outboard.abi.Struct;
import dev.outboard.abi.Tpacket;
import java.lang.reflect.Field;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;

/** Sizes, offsets and constants against the C compiler and the headers of this machine. */
class LayoutTest {
  private static final String HEADERS =
      """
      #define _GNU_SOURCE
      #include <stdio.h>
      #include <stddef.h>
      #include <fcntl.h>
      #include <sched.h>
      #include <signal.h>
      #include <time.h>
      #include <utime.h>
      #include <sys/epoll.h>
      #include <sys/ioctl.h>
      #include <sys/resource.h>
      #include <sys/select.h>
      #include <sys/sem.h>
      #include <sys/socket.h>
      #include <sys/stat.h>
      #include <sys/statfs.h>
      #include <sys/sysinfo.h>
      #include <sys/time.h>
      #include <sys/times.h>
      #include <sys/timex.h>
      #include <sys/uio.h>
      #include <sys/utsname.h>
      #include <mqueue.h>
      #include <poll.h>
      #include <net/if.h>
      #include <net/if_arp.h>
      #include <net/route.h>
      #include <netinet/in.h>
      #include <netinet/udp.h>
      #include <linux/audit.h>
      #include <linux/capability.h>
      #include <linux/ethtool.h>
      #include <linux/filter.h>
      #include <linux/icmp.h>
      #include <linux/if_packet.h>
      #include <linux/if_vlan.h>
      #include <linux/mptcp.h>
      #include <linux/net_tstamp.h>
      #include <linux/netlink.h>
      #include <linux/openat2.h>
      #include <linux/seccomp.h>
      #include <linux/sockios.h>
      #include <linux/sched.h>
      #define sched_param kernel_sched_param
      #include <linux/sched/types.h>
      #undef sched_param
      #include <linux/tcp.h>
      #include <linux/tls.h>
      """;

  /** Whose headers are asked. */
  Architecture machine() {
    return Architecture.MACHINE;
  }

  /** What C prints for each expression; expressions with an unknown macro are left out. */
  private Map<String, Long> ask(List<String> expressions) throws Exception {
    StringBuilder body = new StringBuilder();
    for (String e : expressions) {
      boolean macro = e.matches("[A-Z][A-Z0-9_]*");
      body.append(macro ? "#ifdef " + e + "\n" : "");
      body.append("printf(\"%lld\\t%s\\n\", (long long) (").append(e).append("), \"");
      body.append(e).append("\");\n").append(macro ? "#endif\n" : "");
    }
    Map<String, Long> answers = new LinkedHashMap<>();
    for (String line : CProbe.run(machine(), HEADERS, body.toString())) {
      int tab = line.indexOf('\t');
      answers.put(line.substring(tab + 1), Long.parseLong(line.substring(0, tab)));
    }
    return answers;
  }

  /** How C calls a structure where it is not {@code struct} and its name. */
  private static String type(Struct s) {
    return switch (s) {
      case FD_SET -> "fd_set";
      case STACK -> "stack_t";
      case SIGINFO -> "siginfo_t";
      case SIGEVENT -> "sigevent_t";
      case USER_CAP_HEADER -> "struct __user_cap_header_struct";
      case USER_CAP_DATA -> "struct __user_cap_data_struct[2]";
      case SIGACTION -> "struct { void *h; unsigned long f; void *r; unsigned long m; }";
      default -> "struct " + s.cName();
    };
  }

  @Test
  void structuresAreAsLongAsInC() throws Exception {
    List<String> expressions = new ArrayList<>();
    for (Struct s : Struct.values()) {
      expressions.add("sizeof(" + type(s) + ")");
    }
    Map<String, Long> sizes = ask(expressions);
    for (Struct s : Struct.values()) {
      assertThat(sizes.get("sizeof(" + type(s) + ")"))
          .as(s.cName())
          .isEqualTo(here(s).orElse(s.bytes()));
    }
  }

  /** The size of a structure that is not the same on every machine. */
  private OptionalInt here(Struct s) {
    return switch (s) {
      case EPOLL_EVENT -> OptionalInt.of(machine().epollEventBytes());
      // Crosses as a struct statx.
      case STAT -> OptionalInt.of(machine() == Architecture.ARM64 ? 128 : s.bytes());
      default -> OptionalInt.empty();
    };
  }

  @Test
  void fieldsAreWhereCHasThem() throws Exception {
    Map<String, Integer> offsets = new LinkedHashMap<>();
    offsets.put("offsetof(struct msghdr, msg_name)", MessageHeader.NAME);
    offsets.put("offsetof(struct msghdr, msg_namelen)", MessageHeader.NAME_BYTES);
    offsets.put("offsetof(struct msghdr, msg_iov)", MessageHeader.IOV);
    offsets.put("offsetof(struct msghdr, msg_iovlen)", MessageHeader.IOV_COUNT);
    offsets.put("offsetof(struct msghdr, msg_control)", MessageHeader.CONTROL);
    offsets.put("offsetof(struct msghdr, msg_controllen)", MessageHeader.CONTROL_BYTES);
    offsets.put("offsetof(struct msghdr, msg_flags)", MessageHeader.FLAGS);
    offsets.put("sizeof(struct msghdr)", MessageHeader.BYTES);
    offsets.put("offsetof(struct mmsghdr, msg_len)", MessageHeader.MMSG_LEN);
    offsets.put("sizeof(struct mmsghdr)", MessageHeader.MMSG_BYTES);
    offsets.put("offsetof(struct iovec, iov_base)", MessageHeader.IOV_BASE);
    offsets.put("offsetof(struct iovec, iov_len)", MessageHeader.IOV_LEN);
    offsets.put("sizeof(struct iovec)", MessageHeader.IOV_BYTES);
    offsets.put("offsetof(struct cmsghdr, cmsg_len)", MessageHeader.CMSG_LEN);
    offsets.put("offsetof(struct cmsghdr, cmsg_level)", MessageHeader.CMSG_LEVEL);
    offsets.put("offsetof(struct cmsghdr, cmsg_type)", MessageHeader.CMSG_TYPE);
    offsets.put("sizeof(struct cmsghdr)", MessageHeader.CMSG_BYTES);
    ringFields(offsets);
    offsets.put("offsetof(struct ifreq, ifr_data)", IoctlRequests.IFR_DATA);
    offsets.put("sizeof(struct ifreq)", IoctlRequests.IFREQ_BYTES);
    offsets.put("offsetof(struct ifconf, ifc_len)", IoctlRequests.IFC_LENGTH);
    offsets.put("offsetof(struct ifconf, ifc_buf)", IoctlRequests.IFC_BUFFER);
    offsets.put("sizeof(struct ifconf)", IoctlRequests.IFCONF_BYTES);
    offsets.put("offsetof(struct rtentry, rt_dev)", IoctlRequests.ROUTE_DEVICE);
    offsets.put("sizeof(struct rtentry)", IoctlRequests.ROUTE_BYTES);
    offsets.put("sizeof(struct in6_rtmsg)", IoctlRequests.ROUTE6_BYTES);
    offsets.put("sizeof(struct hwtstamp_config)", IoctlRequests.HWTSTAMP_BYTES);
    offsets.put("sizeof(struct vlan_ioctl_args)", 56);
    offsets.put("sizeof(struct arpreq)", 68);
    offsets.put("offsetof(struct sock_fprog, len)", SocketOptions.FPROG_LENGTH);
    offsets.put("offsetof(struct sock_fprog, filter)", SocketOptions.FPROG_FILTER);
    offsets.put("sizeof(struct sock_fprog)", SocketOptions.FPROG_BYTES);
    offsets.put("sizeof(struct sock_filter)", Bpf.INSTRUCTION_BYTES);
    offsets.put("offsetof(struct seccomp_data, nr)", Bpf.DATA_NUMBER);
    offsets.put("offsetof(struct seccomp_data, arch)", Bpf.DATA_ARCH);
    offsets.put("offsetof(struct seccomp_data, args)", Bpf.DATA_ARGS);
    offsets.put("offsetof(struct ethtool_link_settings, link_mode_masks_nwords)", 15);
    Map<String, Long> answers = ask(List.copyOf(offsets.keySet()));
    offsets.forEach((what, is) -> assertThat(answers.get(what)).as(what).isEqualTo((long) is));
  }

  private static void ringFields(Map<String, Integer> to) {
    field(to, "tpacket_req", "tp_block_size", Tpacket.REQ_BLOCK_SIZE);
    field(to, "tpacket_req", "tp_block_nr", Tpacket.REQ_BLOCK_NR);
    field(to, "tpacket_req", "tp_frame_size", Tpacket.REQ_FRAME_SIZE);
    field(to, "tpacket_req", "tp_frame_nr", Tpacket.REQ_FRAME_NR);
    to.put("sizeof(struct tpacket_req)", Tpacket.REQ_BYTES);
    field(to, "tpacket_req3", "tp_retire_blk_tov", Tpacket.REQ3_RETIRE_TOV);
    field(to, "tpacket_req3", "tp_sizeof_priv", Tpacket.REQ3_SIZEOF_PRIV);
    field(to, "tpacket_req3", "tp_feature_req_word", Tpacket.REQ3_FEATURES);
    to.put("sizeof(struct tpacket_req3)", Tpacket.REQ3_BYTES);
    field(to, "tpacket_stats_v3", "tp_packets", Tpacket.STATS_PACKETS);
    field(to, "tpacket_stats_v3", "tp_drops", Tpacket.STATS_DROPS);
    field(to, "tpacket_stats_v3", "tp_freeze_q_cnt", Tpacket.STATS_FREEZES);
    to.put("sizeof(struct tpacket_stats_v3)", Tpacket.STATS_BYTES);
    field(to, "tpacket_hdr", "tp_status", Tpacket.H1_STATUS);
    field(to, "tpacket_hdr", "tp_len", Tpacket.H1_LEN);
    field(to, "tpacket_hdr", "tp_snaplen", Tpacket.H1_SNAPLEN);
    field(to, "tpacket_hdr", "tp_mac", Tpacket.H1_MAC);
    field(to, "tpacket_hdr", "tp_net", Tpacket.H1_NET);
    field(to, "tpacket_hdr", "tp_sec", Tpacket.H1_SEC);
    field(to, "tpacket_hdr", "tp_usec", Tpacket.H1_USEC);
    to.put("sizeof(struct tpacket_hdr)", Tpacket.H1_BYTES);
    field(to, "tpacket2_hdr", "tp_status", Tpacket.H2_STATUS);
    field(to, "tpacket2_hdr", "tp_len", Tpacket.H2_LEN);
    field(to, "tpacket2_hdr", "tp_snaplen", Tpacket.H2_SNAPLEN);
    field(to, "tpacket2_hdr", "tp_mac", Tpacket.H2_MAC);
    field(to, "tpacket2_hdr", "tp_net", Tpacket.H2_NET);
    field(to, "tpacket2_hdr", "tp_sec", Tpacket.H2_SEC);
    field(to, "tpacket2_hdr", "tp_nsec", Tpacket.H2_NSEC);
    field(to, "tpacket2_hdr", "tp_vlan_tci", Tpacket.H2_VLAN_TCI);
    field(to, "tpacket2_hdr", "tp_vlan_tpid", Tpacket.H2_VLAN_TPID);
    field(to, "tpacket2_hdr", "tp_padding", Tpacket.H2_PADDING);
    to.put("sizeof(struct tpacket2_hdr)", Tpacket.H2_BYTES);
    field(to, "tpacket3_hdr", "tp_next_offset", Tpacket.H3_NEXT);
    field(to, "tpacket3_hdr", "tp_sec", Tpacket.H3_SEC);
    field(to, "tpacket3_hdr", "tp_nsec", Tpacket.H3_NSEC);
    field(to, "tpacket3_hdr", "tp_snaplen", Tpacket.H3_SNAPLEN);
    field(to, "tpacket3_hdr", "tp_len", Tpacket.H3_LEN);
    field(to, "tpacket3_hdr", "tp_status", Tpacket.H3_STATUS);
    field(to, "tpacket3_hdr", "tp_mac", Tpacket.H3_MAC);
    field(to, "tpacket3_hdr", "tp_net", Tpacket.H3_NET);
    field(to, "tpacket3_hdr", "hv1.tp_rxhash", Tpacket.H3_RXHASH);
    field(to, "tpacket3_hdr", "hv1.tp_vlan_tci", Tpacket.H3_VLAN_TCI);
    field(to, "tpacket3_hdr", "hv1.tp_vlan_tpid", Tpacket.H3_VLAN_TPID);
    field(to, "tpacket3_hdr", "hv1.tp_padding", Tpacket.H3_PADDING);
    to.put("sizeof(struct tpacket3_hdr)", Tpacket.H3_BYTES);
    field(to, "tpacket_block_desc", "version", Tpacket.BLOCK_VERSION);
    field(to, "tpacket_block_desc", "offset_to_priv", Tpacket.BLOCK_PRIV_OFFSET);
    field(to, "tpacket_block_desc", "hdr.bh1.block_status", Tpacket.BLOCK_STATUS);
    field(to, "tpacket_block_desc", "hdr.bh1.num_pkts", Tpacket.BLOCK_PACKETS);
    field(to, "tpacket_block_desc", "hdr.bh1.offset_to_first_pkt", Tpacket.BLOCK_FIRST);
    field(to, "tpacket_block_desc", "hdr.bh1.blk_len", Tpacket.BLOCK_LEN);
    field(to, "tpacket_block_desc", "hdr.bh1.seq_num", Tpacket.BLOCK_SEQUENCE);
    field(to, "tpacket_block_desc", "hdr.bh1.ts_first_pkt.ts_sec", Tpacket.BLOCK_FIRST_SEC);
    field(to, "tpacket_block_desc", "hdr.bh1.ts_first_pkt.ts_nsec", Tpacket.BLOCK_FIRST_NSEC);
    field(to, "tpacket_block_desc", "hdr.bh1.ts_last_pkt.ts_sec", Tpacket.BLOCK_LAST_SEC);
    field(to, "tpacket_block_desc", "hdr.bh1.ts_last_pkt.ts_nsec", Tpacket.BLOCK_LAST_NSEC);
    to.put("sizeof(struct tpacket_block_desc)", Tpacket.BLOCK_BYTES);
    field(to, "tpacket_auxdata", "tp_status", Tpacket.AUX_STATUS);
    field(to, "tpacket_auxdata", "tp_len", Tpacket.AUX_LEN);
    field(to, "tpacket_auxdata", "tp_snaplen", Tpacket.AUX_SNAPLEN);
    field(to, "tpacket_auxdata", "tp_net", Tpacket.AUX_NET);
    field(to, "tpacket_auxdata", "tp_vlan_tci", Tpacket.AUX_VLAN_TCI);
    field(to, "tpacket_auxdata", "tp_vlan_tpid", Tpacket.AUX_VLAN_TPID);
    to.put("sizeof(struct tpacket_auxdata)", Tpacket.AUX_BYTES);
    to.put("(int) (TPACKET2_HDRLEN)", 52);
    to.put("(int) (TPACKET3_HDRLEN)", 68);
  }

  private static void field(Map<String, Integer> to, String struct, String name, int offset) {
    to.put("offsetof(struct " + struct + ", " + name + ")", offset);
  }

  @Test
  void ethtoolCommandsAreAsLongAsTheirStructures() throws Exception {
    Map<String, String> commands =
        Map.ofEntries(
            Map.entry("ETHTOOL_GSET", "ethtool_cmd"),
            Map.entry("ETHTOOL_GDRVINFO", "ethtool_drvinfo"),
            Map.entry("ETHTOOL_GWOL", "ethtool_wolinfo"),
            Map.entry("ETHTOOL_GLINK", "ethtool_value"),
            Map.entry("ETHTOOL_GMSGLVL", "ethtool_value"),
            Map.entry("ETHTOOL_GTSO", "ethtool_value"),
            Map.entry("ETHTOOL_GUFO", "ethtool_value"),
            Map.entry("ETHTOOL_GGSO", "ethtool_value"),
            Map.entry("ETHTOOL_GGRO", "ethtool_value"),
            Map.entry("ETHTOOL_GFLAGS", "ethtool_value"),
            Map.entry("ETHTOOL_GPFLAGS", "ethtool_value"),
            Map.entry("ETHTOOL_GCOALESCE", "ethtool_coalesce"),
            Map.entry("ETHTOOL_GRINGPARAM", "ethtool_ringparam"),
            Map.entry("ETHTOOL_GPAUSEPARAM", "ethtool_pauseparam"),
            Map.entry("ETHTOOL_GCHANNELS", "ethtool_channels"),
            Map.entry("ETHTOOL_GET_TS_INFO", "ethtool_ts_info"),
            Map.entry("ETHTOOL_GMODULEINFO", "ethtool_modinfo"),
            Map.entry("ETHTOOL_GEEE", "ethtool_eee"),
            Map.entry("ETHTOOL_GFECPARAM", "ethtool_fecparam"),
            Map.entry("ETHTOOL_GPERMADDR", "ethtool_perm_addr"),
            Map.entry("ETHTOOL_GSSET_INFO", "ethtool_sset_info"),
            Map.entry("ETHTOOL_GFEATURES", "ethtool_gfeatures"),
            Map.entry("ETHTOOL_SFEATURES", "ethtool_sfeatures"),
            Map.entry("ETHTOOL_GLINKSETTINGS", "ethtool_link_settings"));
    List<String> expressions = new ArrayList<>();
    commands.forEach((command, struct) -> {
      expressions.add(command);
      expressions.add("sizeof(struct " + struct + ")");
    });
    Map<String, Long> answers = ask(expressions);
    DeviceSpace memory = new DeviceSpace();
    commands.forEach((command, struct) -> {
      Long number = answers.get(command);
      Long size = answers.get("sizeof(struct " + struct + ")");
      memory.data.set(Wire.INT, 0, number == null ? -1 : number.intValue());
      assertThat((long) EthtoolCommands.bytes(memory.data, 0)).as(command).isEqualTo(size);
    });
  }

  @Test
  void constantsAreThoseOfTheHeaders() throws Exception {
    Map<String, Long> ours = new LinkedHashMap<>();
    for (Class<?> c : List.of(Fcntl.class, Sched.class, Ioctl.class)) {
      for (Field f : c.getFields()) {
        int value = f.getInt(null);
        int here = f.getName().startsWith("O_") ? machine().openFlags(value) : value;
        ours.put(f.getName(), here & 0xffffffffL);
      }
    }
    ours.remove("O_LARGEFILE"); // glibc says 0 where it is always on
    for (SocketOptions.Option o : SocketOptions.rows()) {
      ours.put(o.cName(), (long) o.name());
      if (!o.levelName().equals("SOL_ICMPV6") && !o.levelName().equals("SOL_UDPLITE")) {
        ours.put(o.levelName(), (long) o.level());
      }
    }
    // Names that libc gives to another of two forms, or to a number of its own.
    ours.remove("IPV6_ADD_MEMBERSHIP");
    ours.remove("IPV6_DROP_MEMBERSHIP");
    for (IoctlRequests.Request q : IoctlRequests.rows()) {
      ours.put(q.name(), Integer.toUnsignedLong(q.number()));
    }
    Map<String, Long> theirs = ask(List.copyOf(ours.keySet()));
    assertThat(theirs).hasSizeGreaterThan(300);
    theirs.forEach(
        (name, value) -> assertThat(ours.get(name)).as(name).isEqualTo(value & 0xffffffffL));
  }
}
