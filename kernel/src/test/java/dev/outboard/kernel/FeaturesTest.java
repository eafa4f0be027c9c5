// SPDX-License-Identifier: MIT
package dev.outboard.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Errno;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Features of the kernel's configuration, each used once. What is neither here nor used by the
 * programs of the whole-system tests is not promised.
 */
@Timeout(60)
class FeaturesTest {
  private static final int AF_INET6 = 10;
  private static final int AF_PACKET = 17;
  private static final int SOCK_RAW = 3;
  private static final int SOL_SOCKET = 1;
  private static final int SOL_TCP = 6;
  private static final int RTM_NEWLINK = 16;
  private static final int RTM_GETLINK = 18;
  private static final int RTM_NEWQDISC = 36;
  private static final int IFLA_IFNAME = 3;
  private static final int IFLA_LINK = 5;
  private static final int IFLA_MASTER = 10;
  private static final int IFLA_LINKINFO = 18;
  private static final int IFLA_INFO_KIND = 1;
  private static final int IFLA_INFO_DATA = 2;
  private static final int CREATE = Netlink.NLM_F_CREATE | Netlink.NLM_F_EXCL;

  private static LinuxKernel kernel;
  private Guest g;

  @BeforeAll
  static void boot() throws KernelException {
    kernel = LinuxKernel.boot(LinuxKernel.Options.defaults().withMemory(128 << 20, 16 << 20));
  }

  @AfterAll
  static void halt() {
    kernel.close();
  }

  @BeforeEach
  void enter() {
    g = new Guest(kernel, 0, 0);
    Net.loopbackUp(g);
  }

  @AfterEach
  void leave() {
    g.close();
  }

  @Test
  void theTimeOfDayIsTheHosts() {
    MemorySegment time = g.allocate(16);
    Instant before = Instant.now();
    g.ok(Nr.CLOCK_GETTIME, 0, time.address());
    Instant after = Instant.now();
    Instant there =
        Instant.ofEpochSecond(
            time.get(ValueLayout.JAVA_LONG, 0), time.get(ValueLayout.JAVA_LONG, 8));
    // The host's clock may be slewed by some microseconds a second.
    assertThat(there).isBetween(before.minusMillis(1), after.plusMillis(1));
  }

  // --- helpers

  private String readFile(String path) {
    int fd = (int) g.ok(Nr.OPENAT, -100, g.string(path).address(), 0);
    MemorySegment b = g.allocate(32768);
    StringBuilder s = new StringBuilder();
    for (long n; (n = g.ok(Nr.READ, fd, b.address(), b.byteSize())) > 0; ) {
      s.append(new String(b.asSlice(0, n).toArray(ValueLayout.JAVA_BYTE), StandardCharsets.UTF_8));
    }
    g.ok(Nr.CLOSE, fd);
    return s.toString();
  }

  private void writeFile(String path, String content) {
    int fd = (int) g.ok(Nr.OPENAT, -100, g.string(path).address(), 0101, 0600);
    assertThat(g.ok(Nr.WRITE, fd, g.string(content).address(), content.length()))
        .isEqualTo(content.length());
    g.ok(Nr.CLOSE, fd);
  }

  private int index(String name) {
    int s = (int) g.ok(Nr.SOCKET, Net.AF_INET, Net.SOCK_DGRAM, 0);
    MemorySegment ifr = g.allocate(40);
    ifr.setString(0, name);
    long r = g.call(Nr.IOCTL, s, 0x8933, ifr.address());
    g.ok(Nr.CLOSE, s);
    return r < 0 ? (int) r : ifr.get(ValueLayout.JAVA_INT, 16);
  }

  private void setAddress(String name, int ip, int mask) {
    int s = (int) g.ok(Nr.SOCKET, Net.AF_INET, Net.SOCK_DGRAM, 0);
    MemorySegment ifr = g.allocate(40);
    ifr.setString(0, name);
    ifr.asSlice(16, 16).copyFrom(Net.address(g, ip, 0));
    g.ok(Nr.IOCTL, s, 0x8916, ifr.address());
    ifr.asSlice(16, 16).copyFrom(Net.address(g, mask, 0));
    g.ok(Nr.IOCTL, s, 0x891c, ifr.address());
    g.ok(Nr.CLOSE, s);
  }

  private String option(int fd, int level, int name) {
    MemorySegment v = g.allocate(32);
    MemorySegment n = g.allocate(4);
    n.set(ValueLayout.JAVA_INT, 0, 32);
    g.ok(Nr.GETSOCKOPT, fd, level, name, v.address(), n.address());
    return v.getString(0);
  }

  private int optionInt(int fd, int level, int name) {
    MemorySegment v = g.allocate(4);
    MemorySegment n = g.allocate(4);
    n.set(ValueLayout.JAVA_INT, 0, 4);
    g.ok(Nr.GETSOCKOPT, fd, level, name, v.address(), n.address());
    return v.get(ValueLayout.JAVA_INT, 0);
  }

  private void createLink(String kind, String name) {
    try (Netlink n = new Netlink(g, Netlink.ROUTE)) {
      n.begin(RTM_NEWLINK, CREATE)
          .link(0, 0, 0)
          .attribute(IFLA_IFNAME, name)
          .nest(IFLA_LINKINFO)
          .attribute(IFLA_INFO_KIND, kind)
          .end();
      assertThat(n.acknowledged()).as("new link of kind %s", kind).isZero();
    }
  }

  private int udp(int port) {
    int s = (int) g.ok(Nr.SOCKET, Net.AF_INET, Net.SOCK_DGRAM, 0);
    g.ok(Nr.BIND, s, Net.address(g, Net.LOOPBACK, port).address(), 16);
    return s;
  }

  private long sendTo(int fd, String data, int ip, int port) {
    return g.call(
        Nr.SENDTO,
        fd,
        g.string(data).address(),
        data.length(),
        0,
        Net.address(g, ip, port).address(),
        16);
  }

  private static int checksum(MemorySegment s) {
    int sum = 0;
    for (long i = 0; i < s.byteSize(); i++) {
      sum += (s.get(ValueLayout.JAVA_BYTE, i) & 0xff) << (i % 2 * 8);
    }
    sum = (sum & 0xffff) + (sum >>> 16);
    return ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
  }

  // --- transports

  private void tcp(int family, MemorySegment address, int bytes, int protocol) {
    int server = (int) g.ok(Nr.SOCKET, family, Net.SOCK_STREAM, protocol);
    g.ok(Nr.BIND, server, address.address(), bytes);
    g.ok(Nr.LISTEN, server, 5);
    int client = (int) g.ok(Nr.SOCKET, family, Net.SOCK_STREAM, protocol);
    g.ok(Nr.CONNECT, client, address.address(), bytes);
    int peer = (int) g.ok(Nr.ACCEPT, server, 0, 0);
    assertThat(g.ok(Nr.WRITE, client, g.string("over").address(), 4)).isEqualTo(4);
    MemorySegment b = g.allocate(16);
    assertThat(g.ok(Nr.READ, peer, b.address(), 16)).isEqualTo(4);
    assertThat(b.getString(0)).isEqualTo("over");
    // SO_PROTOCOL
    assertThat(optionInt(client, SOL_SOCKET, 38)).isEqualTo(protocol == 0 ? SOL_TCP : protocol);
    for (int fd : new int[] {server, client, peer}) {
      g.ok(Nr.CLOSE, fd);
    }
  }

  private MemorySegment address6(int port) {
    MemorySegment a = g.allocate(28);
    a.set(ValueLayout.JAVA_SHORT, 0, (short) AF_INET6);
    a.set(ValueLayout.JAVA_SHORT, 2, Short.reverseBytes((short) port));
    a.set(ValueLayout.JAVA_BYTE, 23, (byte) 1);
    return a;
  }

  @Test
  void tcpOverIpv6() {
    tcp(AF_INET6, address6(80), 28, 0);
  }

  @Test
  void multipathTcp() {
    tcp(Net.AF_INET, Net.address(g, Net.LOOPBACK, 81), 16, 262);
    tcp(AF_INET6, address6(81), 28, 262);
  }

  @Test
  void congestionControls() {
    assertThat(readFile("/proc/sys/net/ipv4/tcp_congestion_control")).isEqualTo("cubic\n");
    int s = (int) g.ok(Nr.SOCKET, Net.AF_INET, Net.SOCK_STREAM, 0);
    for (String name : List.of("bbr", "dctcp", "reno", "cubic")) {
      g.ok(Nr.SETSOCKOPT, s, SOL_TCP, 13, g.string(name).address(), name.length());
      assertThat(option(s, SOL_TCP, 13)).isEqualTo(name);
    }
    assertThat(g.call(Nr.SETSOCKOPT, s, SOL_TCP, 13, g.string("none").address(), 4))
        .isEqualTo(-Errno.ENOENT);
  }

  @Test
  void udpAndItsFilter() {
    int a = udp(2000);
    int b = udp(2001);
    MemorySegment in = g.allocate(64);
    assertThat(sendTo(a, "one", Net.LOOPBACK, 2001)).isEqualTo(3);
    assertThat(g.ok(Nr.READ, b, in.address(), 64)).isEqualTo(3);
    // BPF_RET | BPF_K: accept none, then all
    MemorySegment filter = g.allocate(8);
    filter.set(ValueLayout.JAVA_SHORT, 0, (short) 6);
    MemorySegment program = g.allocate(16);
    program.set(ValueLayout.JAVA_SHORT, 0, (short) 1);
    program.set(ValueLayout.JAVA_LONG, 8, filter.address());
    g.ok(Nr.SETSOCKOPT, b, SOL_SOCKET, 26, program.address(), 16);
    assertThat(sendTo(a, "two", Net.LOOPBACK, 2001)).isEqualTo(3);
    assertThat(g.call(Nr.RECVFROM, b, in.address(), 64, 0x40, 0, 0)).isEqualTo(-Errno.EAGAIN);
    filter.set(ValueLayout.JAVA_INT, 4, -1);
    g.ok(Nr.SETSOCKOPT, b, SOL_SOCKET, 26, program.address(), 16);
    assertThat(sendTo(a, "three", Net.LOOPBACK, 2001)).isEqualTo(5);
    assertThat(g.ok(Nr.READ, b, in.address(), 64)).isEqualTo(5);
  }

  private MemorySegment echoRequest() {
    MemorySegment m = g.allocate(16);
    m.set(ValueLayout.JAVA_BYTE, 0, (byte) 8);
    m.set(ValueLayout.JAVA_LONG, 8, 0x0102030405060708L);
    m.set(ValueLayout.JAVA_SHORT, 2, (short) checksum(m));
    return m;
  }

  @Test
  void pingSockets() {
    writeFile("/proc/sys/net/ipv4/ping_group_range", "0 2147483647\n");
    int s = (int) g.ok(Nr.SOCKET, Net.AF_INET, Net.SOCK_DGRAM, 1);
    MemorySegment to = Net.address(g, Net.LOOPBACK, 0);
    g.ok(Nr.SENDTO, s, echoRequest().address(), 16, 0, to.address(), 16);
    MemorySegment in = g.allocate(64);
    assertThat(g.ok(Nr.READ, s, in.address(), 64)).isEqualTo(16);
    assertThat(in.get(ValueLayout.JAVA_BYTE, 0)).isZero();
    assertThat(in.get(ValueLayout.JAVA_LONG, 8)).isEqualTo(0x0102030405060708L);
  }

  @Test
  void rawSockets() {
    int s = (int) g.ok(Nr.SOCKET, Net.AF_INET, SOCK_RAW, 1);
    MemorySegment to = Net.address(g, Net.LOOPBACK, 0);
    g.ok(Nr.SENDTO, s, echoRequest().address(), 16, 0, to.address(), 16);
    MemorySegment in = g.allocate(64);
    // the request comes first, on the loopback
    assertThat(g.ok(Nr.READ, s, in.address(), 64)).isEqualTo(36);
    assertThat(in.get(ValueLayout.JAVA_BYTE, 20)).isEqualTo((byte) 8);
    assertThat(g.ok(Nr.READ, s, in.address(), 64)).isEqualTo(36);
    assertThat(in.get(ValueLayout.JAVA_BYTE, 20)).isZero();
  }

  @Test
  void checksumsOfAnyLength() {
    int s = (int) g.ok(Nr.SOCKET, Net.AF_INET, SOCK_RAW, 1);
    MemorySegment to = Net.address(g, Net.LOOPBACK, 0);
    MemorySegment request = g.allocate(1500);
    MemorySegment in = g.allocate(1500);
    for (int i = 0; i < request.byteSize(); i++) {
      request.set(ValueLayout.JAVA_BYTE, i, (byte) (i * 37 + i / 91));
    }
    for (int n = 8; n < 1480; n += n < 200 ? 1 : 101) {
      request.set(ValueLayout.JAVA_INT, 0, 8);
      request.set(ValueLayout.JAVA_SHORT, 2, (short) checksum(request.asSlice(0, n)));
      g.ok(Nr.SENDTO, s, request.address(), n, 0, to.address(), 16);
      // the request, then what the kernel made of it
      for (int type : new int[] {8, 0}) {
        assertThat(g.ok(Nr.READ, s, in.address(), 1500)).isEqualTo(20 + n);
        assertThat(in.get(ValueLayout.JAVA_BYTE, 20)).isEqualTo((byte) type);
        assertThat(checksum(in.asSlice(0, 20))).isZero();
        assertThat(checksum(in.asSlice(20, n))).as("%d bytes", n).isZero();
      }
    }
  }

  @Test
  void packetSockets() {
    int s = packetSocket("lo", 3);
    int u = udp(2002);
    sendTo(u, "frame", Net.LOOPBACK, 2002);
    MemorySegment in = g.allocate(128);
    assertThat(g.ok(Nr.READ, s, in.address(), 128)).isEqualTo(14 + 20 + 8 + 5);
    assertThat(in.asSlice(42, 5).toArray(ValueLayout.JAVA_BYTE))
        .isEqualTo("frame".getBytes(StandardCharsets.UTF_8));
  }

  @Test
  void unixSocketsPassDescriptors() {
    MemorySegment pair = g.allocate(8);
    g.ok(Nr.SOCKETPAIR, 1, Net.SOCK_DGRAM, 0, pair.address());
    int a = pair.get(ValueLayout.JAVA_INT, 0);
    int b = pair.get(ValueLayout.JAVA_INT, 4);
    int event = (int) g.ok(Nr.EVENTFD2, 5, 0);
    MemorySegment iov = g.allocate(16);
    iov.set(ValueLayout.JAVA_LONG, 0, g.allocate(8).address());
    iov.set(ValueLayout.JAVA_LONG, 8, 1);
    MemorySegment control = g.allocate(24);
    MemorySegment msg = g.allocate(56);
    msg.set(ValueLayout.JAVA_LONG, 16, iov.address());
    msg.set(ValueLayout.JAVA_LONG, 24, 1);
    msg.set(ValueLayout.JAVA_LONG, 32, control.address());
    msg.set(ValueLayout.JAVA_LONG, 40, 20);
    control.set(ValueLayout.JAVA_LONG, 0, 20);
    control.set(ValueLayout.JAVA_INT, 8, SOL_SOCKET);
    control.set(ValueLayout.JAVA_INT, 12, 1);
    control.set(ValueLayout.JAVA_INT, 16, event);
    assertThat(g.ok(Nr.SENDMSG, a, msg.address(), 0)).isEqualTo(1);
    control.fill((byte) 0);
    msg.set(ValueLayout.JAVA_LONG, 40, 24);
    assertThat(g.ok(Nr.RECVMSG, b, msg.address(), 0)).isEqualTo(1);
    int received = control.get(ValueLayout.JAVA_INT, 16);
    assertThat(received).isNotEqualTo(event);
    MemorySegment v = g.allocate(8);
    g.ok(Nr.READ, received, v.address(), 8);
    assertThat(v.get(ValueLayout.JAVA_LONG, 0)).isEqualTo(5);
  }

  // --- netlink and devices

  @Test
  void routeNetlinkDumps() {
    try (Netlink n = new Netlink(g, Netlink.ROUTE)) {
      List<byte[]> links = n.begin(RTM_GETLINK, Netlink.NLM_F_DUMP).link(0, 0, 0).dump();
      assertThat(links).isNotEmpty();
      assertThat(new String(links.getFirst(), StandardCharsets.ISO_8859_1)).contains("lo");
      // RTM_GETADDR, RTM_GETROUTE
      assertThat(n.begin(22, Netlink.NLM_F_DUMP).bytes(0, 0, 0, 0).word(0).dump()).isNotEmpty();
      assertThat(n.begin(26, Netlink.NLM_F_DUMP).bytes(new int[12]).dump()).isNotEmpty();
    }
  }

  /** inet_diag_req_v2 for all states. */
  private static Netlink inetDiag(Netlink n, int protocol) {
    return n.begin(20, Netlink.NLM_F_DUMP)
        .bytes(Net.AF_INET, protocol, 0, 0)
        .word(-1)
        .bytes(new int[48]);
  }

  @Test
  void socketDiagnosis() {
    int tcp = Net.listen(g, 4000);
    int udp = udp(4001);
    int raw = (int) g.ok(Nr.SOCKET, Net.AF_INET, SOCK_RAW, 1);
    MemorySegment pair = g.allocate(8);
    g.ok(Nr.SOCKETPAIR, 1, Net.SOCK_STREAM, 0, pair.address());
    int packet = (int) g.ok(Nr.SOCKET, AF_PACKET, SOCK_RAW, 0);
    try (Netlink n = new Netlink(g, Netlink.SOCK_DIAG)) {
      assertThat(inetDiag(n, 6).dump())
          .anyMatch(m -> (m[4] & 0xff) == 4000 >> 8 && (m[5] & 0xff) == (4000 & 0xff));
      assertThat(inetDiag(n, 17).dump())
          .anyMatch(m -> (m[4] & 0xff) == 4001 >> 8 && (m[5] & 0xff) == (4001 & 0xff));
      assertThat(inetDiag(n, 255).dump()).isNotEmpty();
      // unix_diag_req: all states, show peers
      assertThat(
              n.begin(20, Netlink.NLM_F_DUMP)
                  .bytes(1, 0, 0, 0)
                  .word(-1)
                  .word(0)
                  .word(4)
                  .word(-1)
                  .word(-1)
                  .dump())
          .hasSizeGreaterThanOrEqualTo(2);
      // packet_diag_req
      assertThat(
              n.begin(20, Netlink.NLM_F_DUMP)
                  .bytes(AF_PACKET, 0, 0, 0)
                  .word(0)
                  .word(0)
                  .word(-1)
                  .word(-1)
                  .dump())
          .isNotEmpty();
    }
    for (int fd : new int[] {tcp, udp, raw, packet}) {
      g.ok(Nr.CLOSE, fd);
    }
  }

  @Test
  void genericNetlinkFamilies() {
    try (Netlink n = new Netlink(g, Netlink.GENERIC)) {
      // GENL_ID_CTRL, CTRL_CMD_GETFAMILY
      String all = "";
      for (byte[] m : n.begin(16, Netlink.NLM_F_DUMP).bytes(3, 1, 0, 0).dump()) {
        all += new String(m, StandardCharsets.ISO_8859_1);
      }
      assertThat(all).contains("nlctrl").contains("ethtool").contains("mptcp_pm");
    }
  }

  @Test
  void devicesByNetlink() {
    createLink("dummy", "dummy7");
    createLink("bridge", "bridge7");
    createLink("veth", "veth7");
    int dummy = index("dummy7");
    int bridge = index("bridge7");
    assertThat(dummy).isPositive();
    assertThat(bridge).isPositive();
    assertThat(index("veth7")).isPositive();
    assertThat(index("veth0")).as("the other end").isPositive();
    try (Netlink n = new Netlink(g, Netlink.ROUTE)) {
      n.begin(RTM_NEWLINK, CREATE)
          .link(0, 0, 0)
          .attribute(IFLA_IFNAME, "vlan7")
          .attribute(IFLA_LINK, dummy)
          .nest(IFLA_LINKINFO)
          .attribute(IFLA_INFO_KIND, "vlan")
          .nest(IFLA_INFO_DATA)
          .attributeShort(1, 42)
          .end()
          .end();
      assertThat(n.acknowledged()).isZero();
      n.begin(RTM_NEWLINK, 0).link(dummy, 0, 0).attribute(IFLA_MASTER, bridge);
      assertThat(n.acknowledged()).isZero();
      assertThat(
              n.begin(RTM_NEWLINK, CREATE)
                  .link(0, 0, 0)
                  .nest(IFLA_LINKINFO)
                  .attribute(IFLA_INFO_KIND, "nothing")
                  .end()
                  .acknowledged())
          .isEqualTo(-Errno.EOPNOTSUPP);
    }
    assertThat(index("vlan7")).isPositive();
    assertThat(readFile("/sys/class/net/dummy7/brport/bridge/bridge/stp_state")).isEqualTo("0\n");
    assertThat(readFile("/proc/net/dev")).contains("vlan7").contains("bridge7").contains("veth7");
  }

  private int packetSocket(String device, int protocol) {
    int s = (int) g.ok(Nr.SOCKET, AF_PACKET, SOCK_RAW, 0);
    MemorySegment at = g.allocate(20);
    at.set(ValueLayout.JAVA_SHORT, 0, (short) AF_PACKET);
    at.set(ValueLayout.JAVA_SHORT, 2, Short.reverseBytes((short) protocol));
    at.set(ValueLayout.JAVA_INT, 4, index(device));
    g.ok(Nr.BIND, s, at.address(), 20);
    return s;
  }

  @Test
  void framesCrossAVethPair() {
    try (Netlink n = new Netlink(g, Netlink.ROUTE)) {
      n.begin(RTM_NEWLINK, CREATE)
          .link(0, 0, 0)
          .attribute(IFLA_IFNAME, "left")
          .nest(IFLA_LINKINFO)
          .attribute(IFLA_INFO_KIND, "veth")
          .nest(IFLA_INFO_DATA)
          .nest(1)
          .link(0, 0, 0)
          .attribute(IFLA_IFNAME, "right")
          .end()
          .end()
          .end();
      assertThat(n.acknowledged()).isZero();
    }
    Net.up(g, "right");
    Net.up(g, "left");
    setAddress("left", 0x0a010001, 0xffffff00);
    int arp = packetSocket("right", 0x0806);
    int s = (int) g.ok(Nr.SOCKET, Net.AF_INET, Net.SOCK_DGRAM, 0);
    assertThat(sendTo(s, "x", 0x0a010002, 9)).isEqualTo(1);
    MemorySegment in = g.allocate(128);
    assertThat(g.ok(Nr.READ, arp, in.address(), 128)).isEqualTo(42);
    // who has 10.1.0.2
    assertThat(in.get(ValueLayout.JAVA_INT_UNALIGNED, 38)).isEqualTo(0x0200010a);
  }

  @Test
  void queueingDisciplines() {
    createLink("dummy", "dummy8");
    try (Netlink n = new Netlink(g, Netlink.ROUTE)) {
      for (String kind : List.of("fq", "fq_codel", "pfifo")) {
        n.begin(RTM_NEWQDISC, Netlink.NLM_F_CREATE | 0x100)
            .bytes(0, 0, 0, 0)
            .word(index("dummy8"))
            .word(0)
            .word(-1)
            .word(0)
            .attribute(1, kind);
        assertThat(n.acknowledged()).as(kind).isZero();
      }
    }
    writeFile("/proc/sys/net/core/default_qdisc", "fq\n");
    assertThat(readFile("/proc/sys/net/core/default_qdisc")).isEqualTo("fq\n");
  }

  @Test
  void networkNamespaces() {
    createLink("dummy", "dummy9");
    g.ok(Nr.UNSHARE, 0x40000000);
    assertThat(index("dummy9")).isEqualTo(-Errno.ENODEV);
    assertThat(readFile("/proc/self/net/dev")).contains("lo").doesNotContain("dummy9");
  }

  @Test
  void tunDevices() {
    int tun = (int) g.ok(Nr.OPENAT, -100, g.string("/dev/net/tun").address(), 2);
    MemorySegment ifr = g.allocate(40);
    ifr.setString(0, "tun7");
    ifr.set(ValueLayout.JAVA_SHORT, 16, (short) 0x1001);
    g.ok(Nr.IOCTL, tun, 0x400454caL, ifr.address());
    setAddress("tun7", 0x0a090001, 0xffffff00);
    Net.up(g, "tun7");
    int s = (int) g.ok(Nr.SOCKET, Net.AF_INET, Net.SOCK_DGRAM, 0);
    assertThat(sendTo(s, "through", 0x0a090002, 7)).isEqualTo(7);
    MemorySegment in = g.allocate(2048);
    // the router solicitation of IPv6 may come first
    long n;
    do {
      n = g.ok(Nr.READ, tun, in.address(), 2048);
    } while (in.get(ValueLayout.JAVA_BYTE, 0) != 0x45);
    assertThat(n).isEqualTo(20 + 8 + 7);
    assertThat(in.asSlice(28, 7).toArray(ValueLayout.JAVA_BYTE))
        .isEqualTo("through".getBytes(StandardCharsets.UTF_8));
    g.ok(Nr.CLOSE, tun);
    assertThat(index("tun7")).isEqualTo(-Errno.ENODEV);
  }

  // --- files and descriptors

  @Test
  void procAndSysAndSysctl() {
    assertThat(readFile("/proc/version")).contains(kernel.release());
    assertThat(readFile("/proc/self/status")).contains("Threads:\t1\n").contains("Pid:\t" + g.tid);
    assertThat(readFile("/sys/class/net/lo/mtu")).isEqualTo("65536\n");
    writeFile("/proc/sys/net/ipv4/ip_forward", "1\n");
    assertThat(readFile("/proc/sys/net/ipv4/ip_forward")).isEqualTo("1\n");
    assertThat(readFile("/proc/filesystems")).contains("tmpfs").contains("sysfs");
    assertThat(readFile("/proc/net/protocols"))
        .contains("MPTCP")
        .contains("TCPv6")
        .contains("PING");
  }

  @Test
  void tmpfsMounts() {
    g.ok(Nr.MKDIRAT, -100, g.string("/tmp/m").address(), 0755);
    long tmpfs = g.string("tmpfs").address();
    g.ok(Nr.MOUNT, tmpfs, g.string("/tmp/m").address(), tmpfs, 0, 0);
    writeFile("/tmp/m/file", "content");
    assertThat(readFile("/tmp/m/file")).isEqualTo("content");
    assertThat(readFile("/proc/mounts")).contains("tmpfs /tmp/m tmpfs");
    g.ok(Nr.UMOUNT2, g.string("/tmp/m").address(), 0);
    assertThat(g.call(Nr.OPENAT, -100, g.string("/tmp/m/file").address(), 0))
        .isEqualTo(-Errno.ENOENT);
  }

  @Test
  void sendfileToASocket() {
    writeFile("/tmp/data", "0123456789");
    MemorySegment pair = g.allocate(8);
    g.ok(Nr.SOCKETPAIR, 1, Net.SOCK_STREAM, 0, pair.address());
    int fd = (int) g.ok(Nr.OPENAT, -100, g.string("/tmp/data").address(), 0);
    assertThat(g.ok(Nr.SENDFILE, pair.get(ValueLayout.JAVA_INT, 0), fd, 0, 100)).isEqualTo(10);
    MemorySegment b = g.allocate(16);
    assertThat(g.ok(Nr.READ, pair.get(ValueLayout.JAVA_INT, 4), b.address(), 16)).isEqualTo(10);
    assertThat(b.getString(0)).isEqualTo("0123456789");
  }

  @Test
  void deviceNodes() {
    for (String name : List.of("/dev/zero", "/dev/urandom")) {
      int fd = (int) g.ok(Nr.OPENAT, -100, g.string(name).address(), 0);
      assertThat(g.ok(Nr.READ, fd, g.allocate(32).address(), 32)).isEqualTo(32);
      g.ok(Nr.CLOSE, fd);
    }
  }

  @Test
  void inotify() {
    int fd = (int) g.ok(Nr.INOTIFY_INIT1, 0);
    g.ok(Nr.INOTIFY_ADD_WATCH, fd, g.string("/tmp").address(), 0x100);
    writeFile("/tmp/watched", "x");
    MemorySegment b = g.allocate(256);
    assertThat(g.ok(Nr.READ, fd, b.address(), 256)).isGreaterThan(16);
    assertThat(b.getString(16)).isEqualTo("watched");
  }

  @Test
  void timerfdAndEpoll() {
    int timer = (int) g.ok(Nr.TIMERFD_CREATE, 1, 0);
    int epoll = (int) g.ok(Nr.EPOLL_CREATE1, 0);
    // packed, as on x86-64: events, then data
    MemorySegment event = g.allocate(12);
    event.set(ValueLayout.JAVA_INT, 0, 1);
    event.set(ValueLayout.JAVA_LONG_UNALIGNED, 4, 77);
    g.ok(Nr.EPOLL_CTL, epoll, 1, timer, event.address());
    MemorySegment spec = g.allocate(32);
    spec.set(ValueLayout.JAVA_LONG, 24, 20_000_000);
    MemorySegment got = g.allocate(12);
    assertThat(g.ok(Nr.EPOLL_PWAIT, epoll, got.address(), 1, 0, 0, 8)).isZero();
    long begin = System.nanoTime();
    g.ok(Nr.TIMERFD_SETTIME, timer, 0, spec.address(), 0);
    assertThat(g.ok(Nr.EPOLL_PWAIT, epoll, got.address(), 1, -1, 0, 8)).isEqualTo(1);
    assertThat(System.nanoTime() - begin).isGreaterThan(19_000_000);
    assertThat(got.get(ValueLayout.JAVA_LONG_UNALIGNED, 4)).isEqualTo(77);
  }

  @Test
  void signalfd() {
    MemorySegment mask = g.allocate(8);
    mask.set(ValueLayout.JAVA_LONG, 0, 1L << 9);
    g.ok(Nr.RT_SIGPROCMASK, 0, mask.address(), 0, 8);
    int fd = (int) g.ok(Nr.SIGNALFD4, -1, mask.address(), 8, 0);
    g.ok(Nr.TGKILL, g.tid, g.tid, 10);
    MemorySegment info = g.allocate(128);
    assertThat(g.ok(Nr.READ, fd, info.address(), 128)).isEqualTo(128);
    assertThat(info.get(ValueLayout.JAVA_INT, 0)).isEqualTo(10);
  }

  @Test
  void pipesAndDuplicates() {
    MemorySegment pipe = g.allocate(8);
    g.ok(Nr.PIPE2, pipe.address(), 0);
    int w = (int) g.ok(Nr.DUP, pipe.get(ValueLayout.JAVA_INT, 4));
    g.ok(Nr.CLOSE, pipe.get(ValueLayout.JAVA_INT, 4));
    assertThat(g.ok(Nr.WRITE, w, pipe.address(), 8)).isEqualTo(8);
    assertThat(g.ok(Nr.READ, pipe.get(ValueLayout.JAVA_INT, 0), pipe.address(), 8)).isEqualTo(8);
  }

  /** What would map pages side by side fails, and does not end the kernel. */
  @Test
  void mapsOfBpfThatWouldNeedAnMmu() {
    final int mapCreate = 0;
    final int array = 2;
    final int ringBuffer = 27;
    final int userRingBuffer = 31;
    final int arena = 33;
    final int mmapable = 1 << 10;
    MemorySegment a = g.allocate(72);
    for (int type : new int[] {ringBuffer, userRingBuffer}) {
      a.fill((byte) 0);
      a.set(ValueLayout.JAVA_INT, 0, type);
      a.set(ValueLayout.JAVA_INT, 12, 4096);
      assertThat(g.call(Nr.BPF, mapCreate, a.address(), 72)).isEqualTo(-Errno.ENOMEM);
    }
    a.fill((byte) 0);
    a.set(ValueLayout.JAVA_INT, 0, arena);
    a.set(ValueLayout.JAVA_INT, 12, 1);
    a.set(ValueLayout.JAVA_INT, 16, mmapable);
    assertThat(g.call(Nr.BPF, mapCreate, a.address(), 72)).isEqualTo(-Errno.EINVAL);
    a.fill((byte) 0);
    a.set(ValueLayout.JAVA_INT, 0, array);
    a.set(ValueLayout.JAVA_INT, 4, 4);
    a.set(ValueLayout.JAVA_INT, 8, 8);
    a.set(ValueLayout.JAVA_INT, 12, 16);
    a.set(ValueLayout.JAVA_INT, 16, mmapable);
    long map = g.ok(Nr.BPF, mapCreate, a.address(), 72);
    assertThat(g.call(Nr.MMAP, 0, 4096, 1, 1, map, 0)).isEqualTo(-Errno.ENOSYS);
    g.ok(Nr.CLOSE, map);
  }
}
