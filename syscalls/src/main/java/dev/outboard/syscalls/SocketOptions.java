// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static dev.outboard.abi.Errno.EINVAL;
import static dev.outboard.abi.Errno.ENOPROTOOPT;
import static dev.outboard.abi.Errno.EOPNOTSUPP;

import dev.outboard.abi.Bpf;
import dev.outboard.abi.Errno;
import dev.outboard.abi.Socket;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The sub-table of socket options: one line per option that crosses to the device. An option
 * without a line answers ENOPROTOOPT: it may hold a pointer, which the device's kernel would follow
 * in the device's memory.
 *
 * <p>Source: {@code include/uapi/asm-generic/socket.h} and, in {@code include/uapi/linux}, {@code
 * in.h in6.h tcp.h udp.h if_packet.h netlink.h tls.h if_xdp.h mptcp.h icmp.h icmpv6.h sctp.h
 * if_alg.h}.
 *
 * <p>Immutable; all methods may be called by any thread and allocate nothing.
 */
public final class SocketOptions {
  /** The form of an option's value. */
  public enum Form {
    /** An int, or for some options a byte. */
    INTEGER,
    /** A structure without pointers, or a shorter form of it. */
    STRUCTURE,
    /** As many bytes as the program says, up to a bound. */
    VARIABLE,
    /** {@code struct sock_fprog}: the filter it points to goes along. */
    FILTER,
    /**
     * getsockopt alone: a structure in which the kernel puts a new descriptor, which is its result.
     */
    DESCRIPTOR,
    /** setsockopt alone: an int, the descriptor of a BPF program, whose handle goes along. */
    PROGRAM,
    /** Served by the hook; what reaches the marshalling all the same is refused. */
    HOOK,
    /** Refused. */
    REFUSED
  }

  /**
   * One option.
   *
   * @param level the level's number
   * @param name the option's number
   * @param levelName the level's name
   * @param cName the option's name
   * @param form the form of its value
   * @param bytes the longest value that crosses
   * @param reads whether getsockopt reads the value as well
   * @param writes whether setsockopt writes to the value
   * @param secret whether the value holds a key, which no trace shows
   * @param errno what an option that does not cross answers, else 0
   * @param note why it does not cross; else empty
   */
  public record Option(
      int level,
      int name,
      String levelName,
      String cName,
      Form form,
      int bytes,
      boolean reads,
      boolean writes,
      boolean secret,
      int errno,
      String note) {
    /** Whether it may reach the device's kernel. */
    public boolean crosses() {
      return form != Form.HOOK && form != Form.REFUSED;
    }

    /** More than any value, so that a length that the kernel refuses as too long stays so. */
    int bound() {
      return bytes + Long.BYTES;
    }

    long key() {
      return SocketOptions.key(level, name);
    }
  }

  /** No value is longer; the device may keep 64 KiB for it. */
  private static final int LONGEST = 32 * 1024;

  private static final List<Option> ROWS;
  private static final long[] KEYS;

  static {
    Builder t = new Builder();
    socket(t);
    ip(t);
    ipv6(t);
    tcp(t);
    others(t);
    t.options.sort(Comparator.comparingLong(Option::key));
    ROWS = List.copyOf(t.options);
    KEYS = ROWS.stream().mapToLong(Option::key).toArray();
  }

  private SocketOptions() {}

  /** All options, by level and number. */
  public static List<Option> rows() {
    return ROWS;
  }

  /** The line of an option, or null. */
  public static @Nullable Option find(int level, int name) {
    int i = Arrays.binarySearch(KEYS, key(level, name));
    return i < 0 ? null : ROWS.get(i);
  }

  /** In the value of an option that makes a descriptor: where it is. */
  public static final int MADE = 4;

  /** Behind it, where the value is longer: SOCK_CLOEXEC and SOCK_NONBLOCK. */
  public static final int MADE_FLAGS = 8;

  /** Whether getsockopt of that option makes a descriptor, which then is its result. */
  public static boolean makesDescriptor(int level, int name) {
    Option o = find(level, name);
    return o != null && o.form() == Form.DESCRIPTOR;
  }

  /** The argument, which setsockopt does not have, with the handle of a program. */
  public static final int HANDLE = 5;

  /** Whether setsockopt of that option names a BPF program. */
  public static boolean namesProgram(int level, int name) {
    Option o = find(level, name);
    return o != null && o.form() == Form.PROGRAM;
  }

  private static long key(int level, int name) {
    return (long) level << 32 | Integer.toUnsignedLong(name);
  }

  // spotless:off

  private static void socket(Builder t) {
    t.level(1, "SOL_SOCKET");
    t.integer( 1, "SO_DEBUG");
    t.integer( 2, "SO_REUSEADDR");
    t.integer( 3, "SO_TYPE");
    t.integer( 4, "SO_ERROR");
    t.integer( 5, "SO_DONTROUTE");
    t.integer( 6, "SO_BROADCAST");
    t.integer( 7, "SO_SNDBUF");
    t.integer( 8, "SO_RCVBUF");
    t.integer( 9, "SO_KEEPALIVE");
    t.integer(10, "SO_OOBINLINE");
    t.integer(11, "SO_NO_CHECK");
    t.integer(12, "SO_PRIORITY");
    t.struct (13, "SO_LINGER", 8);
    t.integer(14, "SO_BSDCOMPAT");
    t.integer(15, "SO_REUSEPORT");
    t.integer(16, "SO_PASSCRED");
    t.struct (17, "SO_PEERCRED", 12);
    t.integer(18, "SO_RCVLOWAT");
    t.integer(19, "SO_SNDLOWAT");
    t.struct (20, "SO_RCVTIMEO", 16);
    t.struct (21, "SO_SNDTIMEO", 16);
    t.bytes  (25, "SO_BINDTODEVICE", 16);
    t.filter (26, "SO_ATTACH_FILTER");
    t.integer(27, "SO_DETACH_FILTER");
    t.bytes  (28, "SO_PEERNAME", 128);
    t.integer(29, "SO_TIMESTAMP");
    t.integer(30, "SO_ACCEPTCONN");
    t.bytes  (31, "SO_PEERSEC", 4096);
    t.integer(32, "SO_SNDBUFFORCE");
    t.integer(33, "SO_RCVBUFFORCE");
    t.integer(34, "SO_PASSSEC");
    t.integer(35, "SO_TIMESTAMPNS");
    t.integer(36, "SO_MARK");
    t.struct (37, "SO_TIMESTAMPING", 8);
    t.integer(38, "SO_PROTOCOL");
    t.integer(39, "SO_DOMAIN");
    t.integer(40, "SO_RXQ_OVFL");
    t.integer(41, "SO_WIFI_STATUS");
    t.integer(42, "SO_PEEK_OFF");
    t.integer(43, "SO_NOFCS");
    t.integer(44, "SO_LOCK_FILTER");
    t.integer(45, "SO_SELECT_ERR_QUEUE");
    t.integer(46, "SO_BUSY_POLL");
    t.struct (47, "SO_MAX_PACING_RATE", 8);
    t.integer(48, "SO_BPF_EXTENSIONS");
    t.integer(49, "SO_INCOMING_CPU");
    t.program(50, "SO_ATTACH_BPF");
    t.filter (51, "SO_ATTACH_REUSEPORT_CBPF");
    t.program(52, "SO_ATTACH_REUSEPORT_EBPF");
    t.integer(53, "SO_CNX_ADVICE");
    t.struct (55, "SO_MEMINFO", 36);
    t.integer(56, "SO_INCOMING_NAPI_ID");
    t.struct (57, "SO_COOKIE", 8);
    t.bytes  (59, "SO_PEERGROUPS", 4096);
    t.hook   (60, "SO_ZEROCOPY", EOPNOTSUPP, "of TCP and UDP: bytes are copied, and the error queue says so");
    t.struct (61, "SO_TXTIME", 8);
    t.integer(62, "SO_BINDTOIFINDEX");
    t.integer(63, "SO_TIMESTAMP_NEW");
    t.integer(64, "SO_TIMESTAMPNS_NEW");
    t.struct (65, "SO_TIMESTAMPING_NEW", 8);
    t.struct (66, "SO_RCVTIMEO_NEW", 16);
    t.struct (67, "SO_SNDTIMEO_NEW", 16);
    t.integer(68, "SO_DETACH_REUSEPORT_BPF");
    t.integer(69, "SO_PREFER_BUSY_POLL");
    t.integer(70, "SO_BUSY_POLL_BUDGET");
    t.struct (71, "SO_NETNS_COOKIE", 8);
    t.integer(72, "SO_BUF_LOCK");
    t.integer(73, "SO_RESERVE_MEM");
    t.integer(74, "SO_TXREHASH");
    t.integer(75, "SO_RCVMARK");
    t.refuse (76, "SO_PASSPIDFD", ENOPROTOOPT, "its descriptors would be the device's");
    t.refuse (77, "SO_PEERPIDFD", ENOPROTOOPT, "its descriptors would be the device's");
  }

  private static void ip(Builder t) {
    t.level(0, "SOL_IP");
    t.integer( 1, "IP_TOS");
    t.integer( 2, "IP_TTL");
    t.integer( 3, "IP_HDRINCL");
    t.bytes  ( 4, "IP_OPTIONS", 40);
    t.integer( 5, "IP_ROUTER_ALERT");
    t.integer( 6, "IP_RECVOPTS");
    t.integer( 7, "IP_RETOPTS");
    t.integer( 8, "IP_PKTINFO");
    t.bytes  ( 9, "IP_PKTOPTIONS", 4096);
    t.integer(10, "IP_MTU_DISCOVER");
    t.integer(11, "IP_RECVERR");
    t.integer(12, "IP_RECVTTL");
    t.integer(13, "IP_RECVTOS");
    t.integer(14, "IP_MTU");
    t.integer(15, "IP_FREEBIND");
    t.integer(18, "IP_PASSSEC");
    t.integer(19, "IP_TRANSPARENT");
    t.integer(20, "IP_RECVORIGDSTADDR");
    t.integer(21, "IP_MINTTL");
    t.integer(22, "IP_NODEFRAG");
    t.integer(23, "IP_CHECKSUM");
    t.integer(24, "IP_BIND_ADDRESS_NO_PORT");
    t.integer(25, "IP_RECVFRAGSIZE");
    t.integer(26, "IP_RECVERR_RFC4884");
    t.struct (32, "IP_MULTICAST_IF", 12);
    t.integer(33, "IP_MULTICAST_TTL");
    t.integer(34, "IP_MULTICAST_LOOP");
    t.struct (35, "IP_ADD_MEMBERSHIP", 12);
    t.struct (36, "IP_DROP_MEMBERSHIP", 12);
    t.struct (37, "IP_UNBLOCK_SOURCE", 12);
    t.struct (38, "IP_BLOCK_SOURCE", 12);
    t.struct (39, "IP_ADD_SOURCE_MEMBERSHIP", 12);
    t.struct (40, "IP_DROP_SOURCE_MEMBERSHIP", 12);
    t.bytes  (41, "IP_MSFILTER", LONGEST).reads();
    multicast(t);
    t.integer(49, "IP_MULTICAST_ALL");
    t.integer(50, "IP_UNICAST_IF");
    t.integer(51, "IP_LOCAL_PORT_RANGE");
    t.integer(52, "IP_PROTOCOL");
  }

  /** At the levels of both IPs. */
  private static void multicast(Builder t) {
    t.struct (42, "MCAST_JOIN_GROUP", 136);
    t.struct (43, "MCAST_BLOCK_SOURCE", 264);
    t.struct (44, "MCAST_UNBLOCK_SOURCE", 264);
    t.struct (45, "MCAST_LEAVE_GROUP", 136);
    t.struct (46, "MCAST_JOIN_SOURCE_GROUP", 264);
    t.struct (47, "MCAST_LEAVE_SOURCE_GROUP", 264);
    t.bytes  (48, "MCAST_MSFILTER", LONGEST).reads();
  }

  private static void ipv6(Builder t) {
    t.level(41, "SOL_IPV6");
    t.integer( 1, "IPV6_ADDRFORM");
    t.integer( 2, "IPV6_2292PKTINFO");
    t.integer( 3, "IPV6_2292HOPOPTS");
    t.integer( 4, "IPV6_2292DSTOPTS");
    t.integer( 5, "IPV6_2292RTHDR");
    t.bytes  ( 6, "IPV6_2292PKTOPTIONS", LONGEST);
    t.integer( 7, "IPV6_CHECKSUM");
    t.integer( 8, "IPV6_2292HOPLIMIT");
    t.bytes  ( 9, "IPV6_NEXTHOP", 128);
    t.integer(11, "IPV6_FLOWINFO");
    t.integer(16, "IPV6_UNICAST_HOPS");
    t.integer(17, "IPV6_MULTICAST_IF");
    t.integer(18, "IPV6_MULTICAST_HOPS");
    t.integer(19, "IPV6_MULTICAST_LOOP");
    t.struct (20, "IPV6_ADD_MEMBERSHIP", 20);
    t.struct (21, "IPV6_DROP_MEMBERSHIP", 20);
    t.integer(22, "IPV6_ROUTER_ALERT");
    t.integer(23, "IPV6_MTU_DISCOVER");
    t.integer(24, "IPV6_MTU");
    t.integer(25, "IPV6_RECVERR");
    t.integer(26, "IPV6_V6ONLY");
    t.struct (27, "IPV6_JOIN_ANYCAST", 20);
    t.struct (28, "IPV6_LEAVE_ANYCAST", 20);
    t.integer(29, "IPV6_MULTICAST_ALL");
    t.integer(30, "IPV6_ROUTER_ALERT_ISOLATE");
    t.integer(31, "IPV6_RECVERR_RFC4884");
    t.bytes  (32, "IPV6_FLOWLABEL_MGR", 2048).reads().writes();
    t.integer(33, "IPV6_FLOWINFO_SEND");
    t.integer(36, "IPV6_HDRINCL");
    multicast(t);
    t.integer(49, "IPV6_RECVPKTINFO");
    t.struct (50, "IPV6_PKTINFO", 20);
    t.integer(51, "IPV6_RECVHOPLIMIT");
    t.integer(52, "IPV6_HOPLIMIT");
    t.integer(53, "IPV6_RECVHOPOPTS");
    t.bytes  (54, "IPV6_HOPOPTS", 2048);
    t.bytes  (55, "IPV6_RTHDRDSTOPTS", 2048);
    t.integer(56, "IPV6_RECVRTHDR");
    t.bytes  (57, "IPV6_RTHDR", 2048);
    t.integer(58, "IPV6_RECVDSTOPTS");
    t.bytes  (59, "IPV6_DSTOPTS", 2048);
    t.integer(60, "IPV6_RECVPATHMTU");
    t.struct (61, "IPV6_PATHMTU", 32);
    t.integer(62, "IPV6_DONTFRAG");
    t.integer(63, "IPV6_USE_MIN_MTU");
    t.integer(66, "IPV6_RECVTCLASS");
    t.integer(67, "IPV6_TCLASS");
    t.integer(70, "IPV6_AUTOFLOWLABEL");
    t.integer(72, "IPV6_ADDR_PREFERENCES");
    t.integer(73, "IPV6_MINHOPCOUNT");
    t.integer(74, "IPV6_RECVORIGDSTADDR");
    t.integer(75, "IPV6_TRANSPARENT");
    t.integer(76, "IPV6_UNICAST_IF");
    t.integer(77, "IPV6_RECVFRAGSIZE");
    t.integer(78, "IPV6_FREEBIND");
  }

  private static void tcp(Builder t) {
    t.level(6, "SOL_TCP");
    t.integer( 1, "TCP_NODELAY");
    t.integer( 2, "TCP_MAXSEG");
    t.integer( 3, "TCP_CORK");
    t.integer( 4, "TCP_KEEPIDLE");
    t.integer( 5, "TCP_KEEPINTVL");
    t.integer( 6, "TCP_KEEPCNT");
    t.integer( 7, "TCP_SYNCNT");
    t.integer( 8, "TCP_LINGER2");
    t.integer( 9, "TCP_DEFER_ACCEPT");
    t.integer(10, "TCP_WINDOW_CLAMP");
    t.bytes  (11, "TCP_INFO", 512);
    t.integer(12, "TCP_QUICKACK");
    t.bytes  (13, "TCP_CONGESTION", 16);
    t.struct (14, "TCP_MD5SIG", 216).secret();
    t.integer(16, "TCP_THIN_LINEAR_TIMEOUTS");
    t.integer(17, "TCP_THIN_DUPACK");
    t.integer(18, "TCP_USER_TIMEOUT");
    t.integer(19, "TCP_REPAIR");
    t.integer(20, "TCP_REPAIR_QUEUE");
    t.integer(21, "TCP_QUEUE_SEQ");
    t.bytes  (22, "TCP_REPAIR_OPTIONS", 256);
    t.integer(23, "TCP_FASTOPEN");
    t.integer(24, "TCP_TIMESTAMP");
    t.integer(25, "TCP_NOTSENT_LOWAT");
    t.bytes  (26, "TCP_CC_INFO", 64);
    t.integer(27, "TCP_SAVE_SYN");
    t.bytes  (28, "TCP_SAVED_SYN", 4096);
    t.struct (29, "TCP_REPAIR_WINDOW", 20);
    t.integer(30, "TCP_FASTOPEN_CONNECT");
    t.bytes  (31, "TCP_ULP", 16);
    t.struct (32, "TCP_MD5SIG_EXT", 216).secret();
    t.bytes  (33, "TCP_FASTOPEN_KEY", 32).secret();
    t.integer(34, "TCP_FASTOPEN_NO_COOKIE");
    t.refuse (35, "TCP_ZEROCOPY_RECEIVE", ENOPROTOOPT, "it maps the kernel's pages into the program");
    t.integer(36, "TCP_INQ");
    t.integer(37, "TCP_TX_DELAY");
    t.bytes  (38, "TCP_AO_ADD_KEY", 512).secret();
    t.bytes  (39, "TCP_AO_DEL_KEY", 512);
    t.bytes  (40, "TCP_AO_INFO", 256).reads();
    t.bytes  (41, "TCP_AO_GET_KEYS", LONGEST).reads().secret();
    t.bytes  (42, "TCP_AO_REPAIR", 256).reads();
    t.integer(43, "TCP_IS_MPTCP");
  }

  private static void others(Builder t) {
    t.level(17, "SOL_UDP");
    t.integer(  1, "UDP_CORK");
    t.integer(100, "UDP_ENCAP");
    t.integer(101, "UDP_NO_CHECK6_TX");
    t.integer(102, "UDP_NO_CHECK6_RX");
    t.integer(103, "UDP_SEGMENT");
    t.integer(104, "UDP_GRO");

    t.level(58, "SOL_ICMPV6");
    t.struct (  1, "ICMPV6_FILTER", 32);
    t.integer(  7, "IPV6_CHECKSUM");

    sctp(t);

    t.level(136, "SOL_UDPLITE");
    t.integer( 10, "UDPLITE_SEND_CSCOV");
    t.integer( 11, "UDPLITE_RECV_CSCOV");

    t.level(255, "SOL_RAW");
    t.struct (  1, "ICMP_FILTER", 4);
    t.integer(  7, "IPV6_CHECKSUM");

    t.level(263, "SOL_PACKET");
    t.bytes  (  1, "PACKET_ADD_MEMBERSHIP", 40);
    t.bytes  (  2, "PACKET_DROP_MEMBERSHIP", 40);
    t.integer(  3, "PACKET_RECV_OUTPUT");
    t.hook   (  5, "PACKET_RX_RING", ENOPROTOOPT, "filled by the hook");
    t.bytes  (  6, "PACKET_STATISTICS", 12);
    t.integer(  7, "PACKET_COPY_THRESH");
    t.integer(  8, "PACKET_AUXDATA");
    t.integer(  9, "PACKET_ORIGDEV");
    t.integer( 10, "PACKET_VERSION");
    t.integer( 11, "PACKET_HDRLEN").reads();
    t.integer( 12, "PACKET_RESERVE");
    t.refuse ( 13, "PACKET_TX_RING", ENOPROTOOPT, "its ring is memory of the device's kernel");
    t.integer( 14, "PACKET_LOSS");
    t.integer( 15, "PACKET_VNET_HDR");
    t.integer( 16, "PACKET_TX_TIMESTAMP");
    t.integer( 17, "PACKET_TIMESTAMP");
    t.struct ( 18, "PACKET_FANOUT", 8);
    t.integer( 19, "PACKET_TX_HAS_OFF");
    t.integer( 20, "PACKET_QDISC_BYPASS");
    t.struct ( 21, "PACKET_ROLLOVER_STATS", 24);
    t.filter ( 22, "PACKET_FANOUT_DATA");
    t.integer( 23, "PACKET_IGNORE_OUTGOING");
    t.integer( 24, "PACKET_VNET_HDR_SZ");

    t.level(270, "SOL_NETLINK");
    t.integer(  1, "NETLINK_ADD_MEMBERSHIP");
    t.integer(  2, "NETLINK_DROP_MEMBERSHIP");
    t.integer(  3, "NETLINK_PKTINFO");
    t.integer(  4, "NETLINK_BROADCAST_ERROR");
    t.integer(  5, "NETLINK_NO_ENOBUFS");
    t.integer(  8, "NETLINK_LISTEN_ALL_NSID");
    t.bytes  (  9, "NETLINK_LIST_MEMBERSHIPS", 4096);
    t.integer( 10, "NETLINK_CAP_ACK");
    t.integer( 11, "NETLINK_EXT_ACK");
    t.integer( 12, "NETLINK_GET_STRICT_CHK");

    t.level(279, "SOL_ALG");
    t.bytes  (  1, "ALG_SET_KEY", LONGEST).secret();
    t.bytes  (  5, "ALG_SET_AEAD_AUTHSIZE", 64); // the length itself is the value
    t.refuse (  7, "ALG_SET_KEY_BY_KEY_SERIAL", ENOPROTOOPT, "keyrings are the host's");

    t.level(282, "SOL_TLS");
    t.bytes  (  1, "TLS_TX", 128).secret();
    t.bytes  (  2, "TLS_RX", 128).secret();
    t.integer(  3, "TLS_TX_ZEROCOPY_RO");
    t.integer(  4, "TLS_RX_EXPECT_NO_PAD");

    t.level(283, "SOL_XDP");
    t.hook   (  1, "XDP_MMAP_OFFSETS", ENOPROTOOPT, "with --bpf=device");
    t.hook   (  2, "XDP_RX_RING", ENOPROTOOPT, "the hook's memory, with --bpf=device");
    t.hook   (  3, "XDP_TX_RING", ENOPROTOOPT, "the hook's memory, with --bpf=device");
    t.hook   (  4, "XDP_UMEM_REG", ENOPROTOOPT, "the program's memory, with --bpf=device");
    t.hook   (  5, "XDP_UMEM_FILL_RING", ENOPROTOOPT, "the hook's memory, with --bpf=device");
    t.hook   (  6, "XDP_UMEM_COMPLETION_RING", ENOPROTOOPT, "the hook's memory, with --bpf=device");
    t.struct (  7, "XDP_STATISTICS", 48);
    t.struct (  8, "XDP_OPTIONS", 4);

    t.level(284, "SOL_MPTCP");
    t.bytes  (  1, "MPTCP_INFO", 512);
    t.bytes  (  2, "MPTCP_TCPINFO", LONGEST).reads();
    t.bytes  (  3, "MPTCP_SUBFLOW_ADDRS", LONGEST).reads();
    t.refuse (  4, "MPTCP_FULL_INFO", ENOPROTOOPT, "holds pointers to two more buffers");
  }

  /** Nearly all name an association in the value, so getsockopt reads it. */
  private static void sctp(Builder t) {
    t.level(132, "SOL_SCTP");
    t.bytes  (  0, "SCTP_RTOINFO", 16).reads();
    t.bytes  (  1, "SCTP_ASSOCINFO", 20).reads();
    t.struct (  2, "SCTP_INITMSG", 8);
    t.integer(  3, "SCTP_NODELAY");
    t.integer(  4, "SCTP_AUTOCLOSE");
    t.bytes  (  5, "SCTP_SET_PEER_PRIMARY_ADDR", 136).reads();
    t.bytes  (  6, "SCTP_PRIMARY_ADDR", 136).reads();
    t.struct (  7, "SCTP_ADAPTATION_LAYER", 4);
    t.integer(  8, "SCTP_DISABLE_FRAGMENTS");
    t.bytes  (  9, "SCTP_PEER_ADDR_PARAMS", 160).reads();
    t.bytes  ( 10, "SCTP_DEFAULT_SEND_PARAM", 32).reads();
    t.bytes  ( 11, "SCTP_EVENTS", 64);
    t.integer( 12, "SCTP_I_WANT_MAPPED_V4_ADDR");
    t.bytes  ( 13, "SCTP_MAXSEG", 8).reads();
    t.bytes  ( 14, "SCTP_STATUS", 256).reads();
    t.bytes  ( 15, "SCTP_GET_PEER_ADDR_INFO", 160).reads();
    t.bytes  ( 16, "SCTP_DELAYED_SACK", 12).reads();
    t.bytes  ( 17, "SCTP_CONTEXT", 8).reads();
    t.integer( 18, "SCTP_FRAGMENT_INTERLEAVE");
    t.integer( 19, "SCTP_PARTIAL_DELIVERY_POINT");
    t.bytes  ( 20, "SCTP_MAX_BURST", 8).reads();
    t.bytes  ( 21, "SCTP_AUTH_CHUNK", 4);
    t.bytes  ( 22, "SCTP_HMAC_IDENT", 256).reads();
    t.bytes  ( 23, "SCTP_AUTH_KEY", LONGEST).secret();
    t.bytes  ( 24, "SCTP_AUTH_ACTIVE_KEY", 8).reads();
    t.bytes  ( 25, "SCTP_AUTH_DELETE_KEY", 8).reads();
    t.bytes  ( 26, "SCTP_PEER_AUTH_CHUNKS", 1024).reads();
    t.bytes  ( 27, "SCTP_LOCAL_AUTH_CHUNKS", 1024).reads();
    t.integer( 28, "SCTP_GET_ASSOC_NUMBER");
    t.bytes  ( 29, "SCTP_GET_ASSOC_ID_LIST", LONGEST);
    t.integer( 30, "SCTP_AUTO_ASCONF");
    t.bytes  ( 31, "SCTP_PEER_ADDR_THLDS", 144).reads();
    t.integer( 32, "SCTP_RECVRCVINFO");
    t.integer( 33, "SCTP_RECVNXTINFO");
    t.bytes  ( 34, "SCTP_DEFAULT_SNDINFO", 16).reads();
    t.bytes  ( 35, "SCTP_AUTH_DEACTIVATE_KEY", 8).reads();
    t.integer( 36, "SCTP_REUSE_PORT");
    t.bytes  ( 37, "SCTP_PEER_ADDR_THLDS_V2", 144).reads();
    t.bytes  (100, "SCTP_SOCKOPT_BINDX_ADD", LONGEST);
    t.bytes  (101, "SCTP_SOCKOPT_BINDX_REM", LONGEST);
    t.makes  (102, "SCTP_SOCKOPT_PEELOFF", 8);
    t.bytes  (107, "SCTP_SOCKOPT_CONNECTX_OLD", LONGEST);
    t.bytes  (108, "SCTP_GET_PEER_ADDRS", LONGEST).reads();
    t.bytes  (109, "SCTP_GET_LOCAL_ADDRS", LONGEST).reads();
    t.bytes  (110, "SCTP_SOCKOPT_CONNECTX", LONGEST);
    t.refuse (111, "SCTP_SOCKOPT_CONNECTX3", ENOPROTOOPT, "holds a pointer; libsctp then takes CONNECTX");
    t.bytes  (112, "SCTP_GET_ASSOC_STATS", 512).reads();
    t.bytes  (113, "SCTP_PR_SUPPORTED", 8).reads();
    t.bytes  (114, "SCTP_DEFAULT_PRINFO", 16).reads();
    t.bytes  (115, "SCTP_PR_ASSOC_STATUS", 32).reads();
    t.bytes  (116, "SCTP_PR_STREAM_STATUS", 32).reads();
    t.bytes  (117, "SCTP_RECONFIG_SUPPORTED", 8).reads();
    t.bytes  (118, "SCTP_ENABLE_STREAM_RESET", 8).reads();
    t.bytes  (119, "SCTP_RESET_STREAMS", LONGEST);
    t.bytes  (120, "SCTP_RESET_ASSOC", 4);
    t.bytes  (121, "SCTP_ADD_STREAMS", 8);
    t.makes  (122, "SCTP_SOCKOPT_PEELOFF_FLAGS", 12);
    t.bytes  (123, "SCTP_STREAM_SCHEDULER", 8).reads();
    t.bytes  (124, "SCTP_STREAM_SCHEDULER_VALUE", 8).reads();
    t.bytes  (125, "SCTP_INTERLEAVING_SUPPORTED", 8).reads();
    t.bytes  (127, "SCTP_EVENT", 8).reads();
    t.bytes  (128, "SCTP_ASCONF_SUPPORTED", 8).reads();
    t.bytes  (129, "SCTP_AUTH_SUPPORTED", 8).reads();
    t.bytes  (130, "SCTP_ECN_SUPPORTED", 8).reads();
    t.bytes  (131, "SCTP_EXPOSE_POTENTIALLY_FAILED_STATE", 8).reads();
    t.bytes  (132, "SCTP_REMOTE_UDP_ENCAPS_PORT", 144).reads();
    t.bytes  (133, "SCTP_PLPMTUD_PROBE_INTERVAL", 144).reads();
  }

  // spotless:on

  // ---- host ----

  // Slots of Call.saved.
  private static final int ROOM = 0;
  private static final int UNIT = 1;

  // Arguments of getsockopt and setsockopt.
  private static final int LEVEL = 1;
  private static final int NAME = 2;
  private static final int VALUE = 3;
  private static final int LENGTH = 4;

  /** setsockopt: 0 or more, or what to answer. */
  static long encodeSet(long[] a, ProgramMemory m, Call out) {
    int length = (int) a[LENGTH];
    if (length < 0) {
      return -EINVAL;
    }
    Option o = find((int) a[LEVEL], (int) a[NAME]);
    if (o == null) {
      return unknown(a, m, out, length);
    }
    out.saved[ROOM] = 0;
    return switch (o.form()) {
      case HOOK, REFUSED -> -o.errno();
      case DESCRIPTOR -> -ENOPROTOOPT;
      case FILTER -> encodeFilter(a, m, out, length);
      case PROGRAM -> {
        // Whose descriptor it is has been found out; the number is the caller's to fill in.
        out.args[VALUE] = Call.NULL;
        yield length == Integer.BYTES ? 0 : -EINVAL;
      }
      case INTEGER, STRUCTURE, VARIABLE -> {
        int crosses = Math.min(length, o.bound());
        out.args[LENGTH] = crosses;
        if (a[VALUE] == 0) {
          out.args[VALUE] = Call.NULL;
          yield 0;
        }
        int copied = Math.min(length, o.bytes());
        long error = copied == 0 ? 0 : m.read(a[VALUE], out.data, 0, copied);
        for (int i = copied; i < crosses; i++) {
          out.data.set(Wire.BYTE, i, (byte) 0); // the kernel looks at the length only
        }
        out.args[VALUE] = 0;
        out.saved[ROOM] = o.writes() ? copied : 0;
        yield error < 0 ? error : crosses;
      }
    };
  }

  /** sk_setsockopt() fetches an int before it looks at the name. */
  private static long unknown(long[] a, ProgramMemory m, Call out, int length) {
    if ((int) a[LEVEL] != Socket.SOL_SOCKET) {
      return -ENOPROTOOPT;
    }
    if (length < Integer.BYTES) {
      return -EINVAL;
    }
    long error = m.read(a[VALUE], out.staging, 0, Integer.BYTES);
    return error < 0 ? error : -ENOPROTOOPT;
  }

  private static long encodeFilter(long[] a, ProgramMemory m, Call out, int length) {
    // Also what a kernel answers to the descriptor of a BPF program in PACKET_FANOUT_DATA's place.
    if (length != FPROG_BYTES) {
      return -EINVAL;
    }
    MemorySegment s = out.staging;
    long error = m.read(a[VALUE], s, 0, FPROG_BYTES);
    if (error < 0) {
      return error;
    }
    int instructions = Short.toUnsignedInt(s.get(Wire.SHORT, FPROG_LENGTH));
    if (instructions > Bpf.MAX_INSTRUCTIONS) {
      return -EINVAL;
    }
    long bytes = (long) instructions * Bpf.INSTRUCTION_BYTES;
    if (bytes > 0) {
      error = m.read(s.get(Wire.LONG, FPROG_FILTER), out.data, FPROG_BYTES, bytes);
      if (error < 0) {
        return error;
      }
    }
    out.data.set(Wire.LONG, FPROG_LENGTH, instructions);
    out.data.set(Wire.LONG, FPROG_FILTER, FPROG_BYTES);
    out.args[VALUE] = 0;
    out.args[LENGTH] = FPROG_BYTES;
    return FPROG_BYTES + bytes;
  }

  static final int FPROG_LENGTH = 0;
  static final int FPROG_FILTER = 8;
  static final int FPROG_BYTES = 16;

  /** What setsockopt wrote, back to the program. */
  static long decodeSet(long[] a, Call done, ProgramMemory m) {
    long bytes = done.saved[ROOM];
    return bytes == 0 ? 0 : m.write(a[VALUE], done.data, done.args[VALUE], bytes);
  }

  /** getsockopt: 0 or more, or what to answer. */
  static long encodeGet(long[] a, ProgramMemory m, Call out) {
    // The length first: every protocol of the kernel looks at it before it looks at the option.
    long error = m.read(a[LENGTH], out.staging, 0, Integer.BYTES);
    if (error < 0) {
      return error;
    }
    int length = out.staging.get(Wire.INT, 0);
    if (length < 0) {
      return -EINVAL;
    }
    Option o = find((int) a[LEVEL], (int) a[NAME]);
    if (o == null) {
      return -ENOPROTOOPT;
    }
    if (!o.crosses()) {
      return -o.errno();
    }
    if (o.form() == Form.PROGRAM) {
      return -ENOPROTOOPT;
    }
    int unit = unit(o);
    int room = Math.min(length, o.bound());
    int at = 16;
    if (o.reads() && room > 0) {
      error = m.read(a[VALUE], out.data, at, Math.min(room, o.bytes()));
      if (error < 0) {
        return error;
      }
    }
    out.data.set(Wire.INT, 0, room);
    out.args[LENGTH] = 0;
    out.args[VALUE] = a[VALUE] == 0 ? Call.NULL : at;
    out.saved[ROOM] = room;
    out.saved[UNIT] = unit;
    return at + (long) room * unit;
  }

  /** A filter's length counts instructions, all others count bytes. */
  static int unit(Option o) {
    return o.form() == Form.FILTER ? Bpf.INSTRUCTION_BYTES : 1;
  }

  /** The value and its length, back to the program. */
  static long decodeGet(long[] a, Call done, ProgramMemory m) {
    // Some options report more than they had room to copy (NETLINK_LIST_MEMBERSHIPS,
    // SO_GET_FILTER).
    int length = Math.max(0, done.data.get(Wire.INT, done.args[LENGTH]));
    long copied = HostMarshaller.clamp(length, done.saved[ROOM]);
    if (copied > 0) {
      if (done.args[VALUE] == Call.NULL) {
        return -Errno.EFAULT;
      }
      long error = m.write(a[VALUE], done.data, done.args[VALUE], copied * done.saved[UNIT]);
      if (error < 0) {
        return error;
      }
    }
    done.staging.set(Wire.INT, 0, length);
    return m.write(a[LENGTH], done.staging, 0, Integer.BYTES);
  }

  /** Collects options; lives while the class is initialised. */
  private static final class Builder {
    private final List<Option> options = new ArrayList<>(256);
    private int level;
    private String levelName = "";

    void level(int number, String name) {
      level = number;
      levelName = name;
    }

    Builder integer(int name, String cName) {
      return add(name, cName, Form.INTEGER, Integer.BYTES, 0, "");
    }

    Builder struct(int name, String cName, int bytes) {
      return add(name, cName, Form.STRUCTURE, bytes, 0, "");
    }

    Builder bytes(int name, String cName, int most) {
      return add(name, cName, Form.VARIABLE, most, 0, "");
    }

    void filter(int name, String cName) {
      // For getsockopt the bound counts instructions.
      add(name, cName, Form.FILTER, Bpf.MAX_INSTRUCTIONS, 0, "");
    }

    void makes(int name, String cName, int bytes) {
      add(name, cName, Form.DESCRIPTOR, bytes, 0, "").reads();
    }

    void program(int name, String cName) {
      add(name, cName, Form.PROGRAM, Integer.BYTES, 0, "with --bpf=device; else EINVAL");
    }

    void refuse(int name, String cName, int errno, String why) {
      add(name, cName, Form.REFUSED, 0, errno, why);
    }

    void hook(int name, String cName, int errno, String how) {
      add(name, cName, Form.HOOK, 0, errno, how);
    }

    /** getsockopt reads the value too. */
    Builder reads() {
      Option o = options.getLast();
      last(true, o.writes(), o.secret());
      return this;
    }

    /** setsockopt writes to the value too. */
    void writes() {
      Option o = options.getLast();
      last(o.reads(), true, o.secret());
    }

    /** The value holds a key. */
    Builder secret() {
      Option o = options.getLast();
      last(o.reads(), o.writes(), true);
      return this;
    }

    private Builder add(int name, String cName, Form form, int bytes, int errno, String note) {
      options.add(
          new Option(level, name, levelName, cName, form, bytes, false, false, false, errno, note));
      return this;
    }

    private void last(boolean reads, boolean writes, boolean secret) {
      Option o = options.removeLast();
      options.add(
          new Option(
              o.level(),
              o.name(),
              o.levelName(),
              o.cName(),
              o.form(),
              o.bytes(),
              reads,
              writes,
              secret,
              o.errno(),
              o.note()));
    }
  }

  // Options that do not make it show whether a send is waited for: of the socket, and of TCP.
  private static final long QUIET_SOCKET = bits(2, 5, 6, 8, 9, 10, 12, 18, 20, 33, 36);
  private static final long QUIET_TCP = bits(1, 3, 4, 5, 6, 12, 13, 18);

  /** Whether a stream's sends may end before they are made all the same when this option is set. */
  public static boolean leavesSends(long level, long name) {
    long options =
        level == Socket.SOL_SOCKET ? QUIET_SOCKET : level == Socket.IPPROTO_TCP ? QUIET_TCP : 0;
    return name >= 0 && name <= 63 && (options & 1L << name) != 0;
  }

  /**
   * Whether from this option on MSG_PEEK may find something else than a receive would, or MSG_TRUNC
   * not throw it away.
   */
  public static boolean changesPeeks(long level, long name) {
    return (level == Socket.SOL_SOCKET && name == Socket.SO_PEEK_OFF)
        || (level == Socket.IPPROTO_TCP && name == Socket.TCP_REPAIR)
        || level == Socket.SOL_TLS;
  }

  // Options that may be asked for without the hook, which neither answers nor learns from them. The
  // shim has the same sets (layout.h).
  private static final long ASKED_SOCKET =
      bits(2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 15, 30, 36, 38, 39);
  private static final long ASKED_IP = bits(1, 2, 10, 14);
  private static final long ASKED_IPV6 = bits(16, 23, 24, 26);
  private static final long ASKED_TCP = bits(1, 2, 3, 4, 5, 6, 9, 11, 12, 13, 18, 25);

  /** The bytes of the longest value of an option that {@link #asked} has. */
  public static final int ASKED_BYTES = 512;

  /**
   * Which options of a level a program may ask the device for without the hook.
   *
   * @return a bit for each number below 64
   */
  public static long asked(int level) {
    return switch (level) {
      case Socket.SOL_SOCKET -> ASKED_SOCKET;
      case Socket.SOL_IP -> ASKED_IP;
      case Socket.SOL_IPV6 -> ASKED_IPV6;
      case Socket.IPPROTO_TCP -> ASKED_TCP;
      default -> 0;
    };
  }

  /** Whether a program may ask the device for an option without the hook. */
  public static boolean isAsked(long level, long name) {
    return level == (int) level
        && name >= 0
        && name <= 63
        && (asked((int) level) & 1L << name) != 0;
  }

  private static long bits(int... numbers) {
    long bits = 0;
    for (int n : numbers) {
      bits |= 1L << n;
    }
    return bits;
  }
}
