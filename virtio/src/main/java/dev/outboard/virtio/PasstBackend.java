// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.abi.Virtio.NET_HEADER_BYTES;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.posix.Spawn;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * A {@code passt(1)} process, which turns the card's frames into sockets of the machine: no
 * privilege is needed, and none is kept (started by root it becomes nobody).
 *
 * <p>It is given one end of a socketpair and ends with it, so that it cannot outlive this process,
 * however that ends. On the wire each frame has its length before it, four bytes, big endian; there
 * is no virtio header, hence no offload: the driver finishes its packets, and large ones come by
 * the MTU of 65520 instead.
 *
 * <p>Addresses are fixed by options, so nothing has to be asked by DHCP. The gateway's address
 * stands for the machine: connecting to it reaches the machine's loopback.
 */
final class PasstBackend implements NetBackend {
  private static final int LENGTH_BYTES = 4;
  private static final int ETHERNET_BYTES = 14;

  /** What passt(1) calls the largest frame, and a VLAN tag. */
  private static final int MAX_FRAME = 65535 + 4;

  private static final int SOCKET_BUFFER_BYTES = 4 << 20;
  private static final int STARTUP_MILLIS = 10_000;
  private static final int MAX_MESSAGE_BYTES = 16 << 10;

  private static final ValueLayout.OfInt BIG_ENDIAN_INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN);

  // struct msghdr of x86-64 and all other 64-bit machines.
  private static final int MSGHDR_BYTES = 56;
  private static final int MSGHDR_IOV = 16;
  private static final int MSGHDR_IOVLEN = 24;

  /** The device's IPv6 network: a unique local prefix (RFC 4193) of "ob". */
  private static final InterfaceAddress ADDRESS6 =
      InterfaceAddress.parse("addr6", "fd00:6f62::15/64");

  private static final InetAddress GATEWAY6 = InterfaceAddress.parseAddress("gw6", "fd00:6f62::2");

  private final Arena arena = Arena.ofShared();
  private final int socket;
  private final int pid;
  private final Messages messages;
  private final NetworkConfig config;

  // Of the receiving thread: the length to come, how much of it is there, and of the frame.
  private final MemorySegment lengthIn = arena.allocate(LENGTH_BYTES, 4);
  private final MemorySegment nextLengthIn = arena.allocate(LENGTH_BYTES, 4);
  private final MemorySegment messageIn = arena.allocate(MSGHDR_BYTES, 8);
  private final IoVectors partsIn = new IoVectors(arena, IoVectors.CALL_LIMIT);
  private int lengthHave;
  private long frameHave;
  private boolean skipFrame;

  // Of the transmitting thread: what is left of a frame that was sent in part.
  private final MemorySegment lengthOut = arena.allocate(LENGTH_BYTES, 4);
  private final MemorySegment messageOut = arena.allocate(MSGHDR_BYTES, 8);
  private final IoVectors partsOut = new IoVectors(arena, IoVectors.CALL_LIMIT);
  private long leftOut;

  private boolean closed;

  private PasstBackend(int socket, int pid, Messages messages, NetworkConfig config) {
    this.socket = socket;
    this.pid = pid;
    this.messages = messages;
    this.config = config;
  }

  /** The path of passt, or null if it is not installed. */
  static @Nullable Path find() {
    String path = System.getenv("PATH");
    // Debian puts it where a user's PATH always leads; sbin is for others.
    String all = (path == null ? "" : path) + ":/usr/bin:/usr/local/bin:/usr/sbin";
    for (String directory : all.split(":", -1)) {
      if (!directory.isEmpty()) {
        Path file = Path.of(directory, "passt");
        if (Files.isExecutable(file)) {
          return file;
        }
      }
    }
    return null;
  }

  /**
   * Starts passt and waits until it answers.
   *
   * @throws NetException if it is not there or refuses; it has ended then
   */
  static PasstBackend open(NetSpec.Passt spec, List<PortMapping> publish, Resolver resolver)
      throws NetException {
    Path program = find();
    if (program == null) {
      throw new NetException(
          "passt is not installed; install it (apt-get install passt), or use --net tap:... or --net"
              + " none");
    }
    if (!Routes.hasDefault(Routes.IPV4)) {
      throw new NetException(
          "passt needs a default route, which this machine does not have; use --net tap:... or --net"
              + " none");
    }
    boolean ipv6 = Routes.hasDefault(Routes.IPV6);
    List<String> notices = new ArrayList<>(resolver.notices());
    List<InetAddress> nameservers = new ArrayList<>(resolver.nameservers());
    InetAddress forward = null;
    if (nameservers.isEmpty() && !resolver.loopback().isEmpty()) {
      forward = third(spec);
      nameservers.add(forward);
      notices.add(
          "the name server "
              + resolver.loopback().getFirst().getHostAddress()
              + " of this machine is on its loopback; the device reaches it as "
              + forward.getHostAddress());
    }
    nameservers.removeIf(a -> !ipv6 && !(a instanceof Inet4Address));
    MacAddress mac = spec.mac();
    NetworkConfig config =
        new NetworkConfig(
            mac == null ? MacAddress.random() : mac,
            spec.mtu(),
            0,
            ipv6 ? List.of(spec.address(), ADDRESS6) : List.of(spec.address()),
            ipv6 ? List.of(spec.gateway(), GATEWAY6) : List.of(spec.gateway()),
            nameservers,
            resolver.searchDomains(),
            resolver.options(),
            notices);
    PasstBackend backend = spawn(command(program, spec, ipv6, publish, forward, resolver), config);
    try {
      backend.awaitAnswer();
      return backend;
    } catch (NetException e) {
      backend.close();
      throw e;
    }
  }

  /** An address of the link that is nobody's, for the name server. */
  private static InetAddress third(NetSpec.Passt spec) {
    InterfaceAddress link = spec.address();
    InetAddress candidate = link.second();
    while (candidate.equals(link.address()) || candidate.equals(spec.gateway())) {
      byte[] raw = candidate.getAddress();
      raw[3]++;
      candidate =
          InterfaceAddress.parseAddress(
              "dns",
              (raw[0] & 255) + "." + (raw[1] & 255) + "." + (raw[2] & 255) + "." + (raw[3] & 255));
    }
    return candidate;
  }

  private static List<String> command(
      Path program,
      NetSpec.Passt spec,
      boolean ipv6,
      List<PortMapping> publish,
      @Nullable InetAddress forward,
      Resolver resolver) {
    List<String> command =
        new ArrayList<>(
            List.of(
                program.toString(),
                "--foreground",
                "--stderr",
                "--quiet",
                "--fd",
                "3",
                "--no-dhcp",
                "--no-dhcpv6",
                "--no-ra",
                "--address",
                spec.address().address().getHostAddress(),
                "--netmask",
                Integer.toString(spec.address().prefixBits()),
                "--gateway",
                spec.gateway().getHostAddress()));
    if (ipv6) {
      command.addAll(
          List.of(
              "--address", ADDRESS6.address().getHostAddress(),
              "--gateway", GATEWAY6.getHostAddress()));
    } else {
      command.add("--ipv4-only");
    }
    if (forward != null) {
      command.addAll(
          List.of(
              "--dns", resolver.loopback().getFirst().getHostAddress(),
              "--dns-forward", forward.getHostAddress()));
    }
    for (PortMapping mapping : publish) {
      command.add(mapping.udp() ? "--udp-ports" : "--tcp-ports");
      command.add(portOption(mapping));
    }
    return command;
  }

  private static String portOption(PortMapping mapping) {
    InetAddress address = mapping.address();
    return (address == null ? "" : address.getHostAddress() + "/")
        + mapping.outerPort()
        + ":"
        + mapping.devicePort();
  }

  private static PasstBackend spawn(List<String> command, NetworkConfig config)
      throws NetException {
    try (Arena scratch = Arena.ofConfined()) {
      MemorySegment pair = scratch.allocate(2 * JAVA_INT.byteSize(), 4);
      int type = Socket.SOCK_STREAM | Socket.SOCK_CLOEXEC;
      check("a socketpair", Linux.socketpair(Socket.AF_UNIX, type, 0, pair.address()));
      int ours = pair.getAtIndex(JAVA_INT, 0);
      int its = pair.getAtIndex(JAVA_INT, 1);
      long piped = Linux.pipe2(pair.address(), Fcntl.O_CLOEXEC);
      if (piped < 0) {
        Linux.close(ours);
        Linux.close(its);
        check("a pipe", piped);
      }
      int reading = pair.getAtIndex(JAVA_INT, 0);
      int writing = pair.getAtIndex(JAVA_INT, 1);
      MemorySegment bytes = scratch.allocate(JAVA_INT);
      bytes.set(JAVA_INT, 0, SOCKET_BUFFER_BYTES);
      for (int fd : new int[] {ours, its}) {
        // The kernel cuts it to its limit; any size works.
        Linux.setsockopt(fd, Socket.SOL_SOCKET, Socket.SO_SNDBUF, bytes.address(), 4);
      }
      long pid =
          new Spawn(command)
              .open(0, "/dev/null", Fcntl.O_RDONLY)
              .duplicate(writing, 1)
              .duplicate(writing, 2)
              .duplicate(its, 3)
              .closeFrom(4)
              .newSession()
              .start();
      Linux.close(its);
      Linux.close(writing);
      if (pid < 0) {
        Linux.close(ours);
        Linux.close(reading);
        throw new NetException("cannot start passt: " + Errno.name((int) -pid));
      }
      return new PasstBackend(ours, (int) pid, new Messages(reading), config);
    }
  }

  private static void check(String what, long result) throws NetException {
    if (result < 0) {
      throw new NetException("cannot make " + what + ": " + Errno.name((int) -result));
    }
  }

  /** Asks for the gateway's hardware address until somebody answers: then passt is at work. */
  private void awaitAnswer() throws NetException {
    long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(STARTUP_MILLIS);
    try (Arena scratch = Arena.ofConfined()) {
      MemorySegment request = scratch.allocate(LENGTH_BYTES + 42);
      request.set(BIG_ENDIAN_INT, 0, 42);
      MemorySegment.copy(arpRequest(), 0, request, ValueLayout.JAVA_BYTE, LENGTH_BYTES, 42);
      MemorySegment header = scratch.allocate(NET_HEADER_BYTES, 8);
      MemorySegment frame = scratch.allocate(MAX_FRAME);
      IoVectors buffer = new IoVectors(scratch, 2);
      buffer.add(header.address(), NET_HEADER_BYTES);
      buffer.add(frame.address(), frame.byteSize());
      MemorySegment polled = scratch.allocate(8, 4);
      polled.set(JAVA_INT, 0, socket);
      polled.set(ValueLayout.JAVA_SHORT, 4, (short) Poll.POLLIN);
      if (Linux.write(socket, request.address(), request.byteSize()) != request.byteSize()) {
        throw new NetException(epitaph());
      }
      while (System.nanoTime() < deadline) {
        Linux.poll(polled.address(), 1, 100);
        long n = receive(buffer);
        if (n == -Errno.EPIPE || n == -Errno.ECONNRESET) {
          throw new NetException(epitaph());
        }
        if (n > 0 && isArpReply(frame)) {
          return;
        }
      }
      throw new NetException("passt was started but does not answer; try --net tap:...");
    }
  }

  private byte[] arpRequest() {
    byte[] mac = config.mac().bytes();
    return ByteBuffer.allocate(42)
        .putLong(0xffff_ffff_ffff_0000L | (mac[0] & 0xff) << 8 | (mac[1] & 0xff))
        .put(mac, 2, 4)
        .putShort((short) 0x0806)
        // Ethernet, IPv4, their lengths, a request (RFC 826)
        .putLong(0x0001_0800_0604_0001L)
        .put(mac)
        .put(config.addresses().getFirst().address().getAddress())
        .put(new byte[6])
        .put(config.gateways().getFirst().getAddress())
        .array();
  }

  private static boolean isArpReply(MemorySegment frame) {
    return frame.get(BIG_ENDIAN_INT, 12) == 0x0806_0001
        && frame.get(BIG_ENDIAN_INT, 18) == 0x0604_0002;
  }

  @Override
  public NetworkConfig config() {
    return config;
  }

  @Override
  public long features() {
    return 0;
  }

  @Override
  public void accept(long features) {
    // A new driver, new buffers: what an old one got of a frame is gone, so is its rest.
    skipFrame = frameHave > 0;
  }

  @Override
  public int descriptor() {
    return socket;
  }

  @Override
  public int largestReceived() {
    return MAX_FRAME + NET_HEADER_BYTES;
  }

  @Override
  public int largestSent() {
    return MAX_FRAME + NET_HEADER_BYTES;
  }

  @Override
  public long receive(IoVectors vectors) {
    while (true) {
      if (lengthHave < LENGTH_BYTES) {
        partsIn.clear();
        partsIn.add(lengthIn.address() + lengthHave, LENGTH_BYTES - lengthHave);
        long n = receiveParts();
        if (n < 0) {
          return n;
        }
        lengthHave += (int) n;
        continue;
      }
      long length = Integer.toUnsignedLong(lengthIn.get(BIG_ENDIAN_INT, 0));
      if (length < ETHERNET_BYTES || length > MAX_FRAME) {
        return -Errno.EPROTO;
      }
      long wanted = length - frameHave;
      partsIn.clear();
      slice(vectors, NET_HEADER_BYTES + frameHave, wanted, partsIn);
      // The next frame's length comes with the end of this one: one call a frame.
      partsIn.add(nextLengthIn.address(), LENGTH_BYTES);
      long n = receiveParts();
      if (n < 0) {
        return n;
      }
      frameHave += Math.min(n, wanted);
      if (frameHave == length) {
        lengthHave = (int) Math.max(0, n - wanted);
        MemorySegment.copy(nextLengthIn, 0, lengthIn, 0, LENGTH_BYTES);
        frameHave = 0;
        if (skipFrame) {
          skipFrame = false;
          continue;
        }
        Linux.at(vectors.base(0), NET_HEADER_BYTES).fill((byte) 0);
        return length + NET_HEADER_BYTES;
      }
    }
  }

  /** A positive number of bytes, or {@code -errno}; the end of the stream is EPIPE. */
  private long receiveParts() {
    messageIn.set(JAVA_LONG, MSGHDR_IOV, partsIn.address());
    messageIn.set(JAVA_LONG, MSGHDR_IOVLEN, partsIn.count());
    long n = Linux.recvmsg(socket, messageIn.address(), Socket.MSG_DONTWAIT);
    return n == 0 ? -Errno.EPIPE : n;
  }

  @Override
  public long transmit(IoVectors vectors) {
    if (leftOut == 0) {
      long bytes = 0;
      for (int i = 0; i < vectors.count(); i++) {
        bytes += vectors.length(i);
      }
      bytes -= NET_HEADER_BYTES;
      lengthOut.set(BIG_ENDIAN_INT, 0, (int) bytes);
      partsOut.clear();
      partsOut.add(lengthOut.address(), LENGTH_BYTES);
      slice(vectors, NET_HEADER_BYTES, bytes, partsOut);
      leftOut = bytes + LENGTH_BYTES;
    }
    while (leftOut > 0) {
      messageOut.set(JAVA_LONG, MSGHDR_IOV, partsOut.address());
      messageOut.set(JAVA_LONG, MSGHDR_IOVLEN, partsOut.count());
      long n =
          Linux.sendmsg(socket, messageOut.address(), Socket.MSG_DONTWAIT | Socket.MSG_NOSIGNAL);
      if (n < 0) {
        return n;
      }
      leftOut -= n;
      skip(partsOut, n);
    }
    return 0;
  }

  /** Appends {@code bytes} of {@code from}, beginning {@code skip} bytes into it, to {@code to}. */
  private static void slice(IoVectors from, long skip, long bytes, IoVectors to) {
    long before = skip;
    long left = bytes;
    for (int i = 0; left > 0 && i < from.count(); i++) {
      long length = from.length(i);
      if (before >= length) {
        before -= length;
        continue;
      }
      long part = Math.min(left, length - before);
      to.add(from.base(i) + before, part);
      left -= part;
      before = 0;
    }
  }

  private static void skip(IoVectors vectors, long bytes) {
    long left = bytes;
    while (vectors.count() > 0 && left >= vectors.length(0)) {
      left -= vectors.length(0);
      vectors.consume(1);
    }
    if (left > 0) {
      vectors.set(0, vectors.base(0) + left, vectors.length(0) - left);
    }
  }

  @Override
  public String epitaph() {
    String said = messages.last();
    return said.isEmpty() ? "passt ended" : "passt ended: " + said;
  }

  /** The process, for tests. */
  int pid() {
    return pid;
  }

  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    Linux.close(socket);
    // It ends by itself when its socket does.
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(1);
    while (Linux.wait4(pid, 0, Processes.WNOHANG) == 0) {
      if (System.nanoTime() > deadline) {
        Linux.kill(pid, Processes.SIG_KILL);
        Linux.wait4(pid, 0, 0);
        break;
      }
      try {
        Thread.sleep(1);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        deadline = 0;
      }
    }
    messages.close();
    arena.close();
  }

  /** What passt writes to its standard error, the end of it. */
  private static final class Messages implements AutoCloseable {
    private final int fd;
    private final Thread reader;
    private final StringBuilder text = new StringBuilder();

    Messages(int fd) {
      this.fd = fd;
      this.reader = Thread.ofPlatform().daemon().name("passt-messages").start(this::read);
    }

    private void read() {
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment buffer = arena.allocate(1024);
        long n;
        while ((n = Linux.read(fd, buffer.address(), buffer.byteSize())) > 0) {
          byte[] bytes = buffer.asSlice(0, n).toArray(ValueLayout.JAVA_BYTE);
          synchronized (text) {
            text.append(new String(bytes, StandardCharsets.UTF_8));
            if (text.length() > MAX_MESSAGE_BYTES) {
              text.delete(0, text.length() - MAX_MESSAGE_BYTES);
            }
          }
        }
      }
    }

    /** The last line that says something, once the process has closed its end or 200 ms later. */
    String last() {
      try {
        reader.join(200);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
      String all;
      synchronized (text) {
        all = text.toString();
      }
      String[] lines =
          Arrays.stream(all.split("\n", -1))
              .map(String::strip)
              // Without a syslog it says so for each line that it prints.
              .filter(s -> !s.isEmpty() && !s.startsWith("Failed to send "))
              .filter(s -> !s.startsWith("Don't run as root"))
              .toArray(String[]::new);
      return lines.length == 0 ? "" : lines[lines.length - 1];
    }

    @Override
    public void close() {
      try {
        reader.join(1000);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
      if (!reader.isAlive()) {
        Linux.close(fd);
      }
    }
  }
}
