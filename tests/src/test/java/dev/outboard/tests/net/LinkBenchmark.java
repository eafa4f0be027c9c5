// SPDX-License-Identifier: MIT
package dev.outboard.tests.net;

import dev.outboard.virtio.NetSpec;
import dev.outboard.virtio.Network;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;

/**
 * Bulk TCP between this machine and a library kernel over a link of one kind, interleaved with the
 * same between two network namespaces of this machine over a veth pair. Run as root:
 *
 * <pre>java ... dev.outboard.tests.net.LinkBenchmark [KIND [MiB [ROUNDS [OPTIONS [GSO]]]]]</pre>
 *
 * KIND is as in {@code --net}: {@code tap} (the default), {@code macvtap}, {@code packet}, {@code
 * xdp}; for the last three a veth pair is made. OPTIONS are further ones of it, as in {@code
 * offload=off}, or {@code -}. GSO is the limit of a segment on both sides, in bytes, if not that of
 * the kernels ({@code gso_max_size}, {@code gso_ipv4_max_size}).
 */
final class LinkBenchmark {
  private static final int SINK = 7001;
  private static final int SOURCE = 7002;
  private static final int BLOCK = 128 << 10;

  private static final long PID = ProcessHandle.current().pid();
  private static final String NET = "10." + (200 + PID / 250 % 50) + "." + PID % 250 + ".";
  private static final String VETH_NET = "10." + (150 + PID / 250 % 50) + "." + PID % 250 + ".";

  /** This machine's interface to the device. */
  private static final String NEAR = "obb" + PID % 100_000;

  /** Kinds that take one end of a veth pair. */
  private static final Set<String> BETWEEN = Set.of("macvtap", "packet", "xdp");

  private LinkBenchmark() {}

  public static void main(String[] args) throws Exception {
    if (args.length == 2 && args[0].equals("peer")) {
      servePeer(Long.parseLong(args[1]));
      return;
    }
    String kind = argument(args, 0, "tap");
    long bytes = Long.parseLong(argument(args, 1, "1024")) << 20;
    int rounds = Integer.parseInt(argument(args, 2, "5"));
    String options = argument(args, 3, "-");
    int gso = Integer.parseInt(argument(args, 4, "0"));
    String namespace = "obb" + PID;
    Process peer = null;
    try {
      Plug plug = plug(kind, options.equals("-") ? "" : "," + options);
      Network network = Network.open(NetSpec.parse(plug.net), List.of());
      try (LibraryKernel kernel = new LibraryKernel()) {
        try {
          network.attach(kernel.guest(), LibraryKernel.LINE, System.err::println);
          GuestSocket.configure(kernel, "eth0", network.config().orElseThrow());
          if (gso > 0) {
            raise(kernel, plug, gso);
          }
          serve(kernel, bytes);
          peer = veth(namespace, bytes);
          compare(kind, plug.peer, bytes, rounds);
          System.out.println(network.counts().orElseThrow());
        } finally {
          network.detach();
        }
      }
      network.close();
    } finally {
      if (peer != null) {
        peer.destroyForcibly().waitFor();
        run("ip", "netns", "del", namespace);
      }
      if (BETWEEN.contains(kind)) {
        run("ip", "link", "del", NEAR);
      }
    }
    // The kernel's tasks that serve are gone with it.
    System.exit(0);
  }

  private static String argument(String[] args, int index, String otherwise) {
    return args.length > index ? args[index] : otherwise;
  }

  /** Where a service is reached: ports of the sink and of the source. */
  private record Peer(InetAddress address, int sink, int source) {}

  /**
   * What the device is plugged into.
   *
   * @param net the value of {@code --net}
   * @param interfaces this machine's, on the way
   */
  private record Plug(String net, Peer peer, List<String> interfaces) {}

  private static Plug plug(String kind, String options) throws IOException, InterruptedException {
    Peer peer = new Peer(InetAddress.ofLiteral(NET + "2"), SINK, SOURCE);
    String address = ",addr=" + NET + "2/24" + options;
    if (!BETWEEN.contains(kind)) {
      return new Plug(kind + ":name=" + NEAR + address, peer, List.of(NEAR));
    }
    String far = NEAR + "f";
    run("ip", "link", "add", NEAR, "type", "veth", "peer", "name", far);
    run("ip", "addr", "add", NET + "1/24", "dev", NEAR);
    run("ip", "link", "set", NEAR, "up");
    run("ip", "link", "set", far, "up");
    String device = far;
    if (kind.equals("macvtap")) {
      device = NEAR + "m";
      run("ip", "link", "add", "link", far, "name", device, "type", kind, "mode", "bridge");
    } else if (kind.equals("xdp")) {
      run("ethtool", "-K", NEAR, "tx", "off");
    }
    return new Plug(kind + ":if=" + device + address, peer, List.of(NEAR, far, device));
  }

  /** Raises the limit of a segment wherever one is; a TAP of this machine refuses it. */
  private static void raise(LibraryKernel kernel, Plug plug, int bytes) throws IOException {
    int index;
    try (GuestSocket any = GuestSocket.tcp(kernel)) {
      index = any.index("eth0");
    }
    for (int attribute : GuestSocket.SEGMENT_LIMITS) {
      GuestSocket.setLink(kernel, index, attribute, bytes);
      for (String name : plug.interfaces) {
        LinkTest.setHostLink(name, attribute, bytes);
      }
    }
  }

  private static void compare(String kind, Peer device, long bytes, int rounds) throws IOException {
    Peer other = new Peer(InetAddress.ofLiteral(VETH_NET + "2"), SINK, SOURCE);
    double[][] results = new double[4][rounds];
    double[][] cpu = new double[4][rounds];
    double[][] ratios = new double[2][rounds];
    // The first round is for the JIT compilers of both.
    for (int i = -1; i < rounds; i++) {
      double[] rates = new double[4];
      for (int k = 0; k < 4; k++) {
        Peer peer = k % 2 == 0 ? device : other;
        long before = processCpuNanos();
        rates[k] = k < 2 ? to(peer, bytes) : from(peer, bytes);
        if (i >= 0) {
          results[k][i] = rates[k];
          cpu[k][i] = (processCpuNanos() - before) / (double) bytes;
        }
      }
      if (i >= 0) {
        ratios[0][i] = rates[0] / rates[1];
        ratios[1][i] = rates[2] / rates[3];
      }
    }
    String[] names = {"to, " + kind, "to, veth", "from, " + kind, "from, veth"};
    for (int k = 0; k < 4; k++) {
      double[] r = results[k];
      Arrays.sort(r);
      Arrays.sort(cpu[k]);
      System.out.printf(
          "%-14s %.2f GB/s (%.2f to %.2f), this process %.2f CPU s/GB%n",
          names[k], r[rounds / 2], r[0], r[rounds - 1], cpu[k][rounds / 2]);
    }
    for (int k = 0; k < 2; k++) {
      Arrays.sort(ratios[k]);
      System.out.printf(
          "%-14s %.2f of veth (%.2f to %.2f)%n",
          names[2 * k], ratios[k][rounds / 2], ratios[k][0], ratios[k][rounds - 1]);
    }
  }

  /** Of the client and, over a link, of the device; the peer behind the veth is another process. */
  private static long processCpuNanos() {
    return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
        .getProcessCpuTime();
  }

  private static void serve(LibraryKernel kernel, long bytes) {
    for (int port : new int[] {SINK, SOURCE}) {
      kernel
          .task(
              "serve " + port,
              () -> {
                GuestSocket listener = GuestSocket.tcp(kernel);
                listener.bind(InetAddress.ofLiteral("0.0.0.0"), port);
                listener.listen();
                MemorySegment block = kernel.allocate(2 * BLOCK);
                try {
                  while (true) {
                    try (GuestSocket s = listener.accept()) {
                      if (port == SINK) {
                        while (s.receive(block) > 0) {}
                        s.send(block.asSlice(0, 1));
                      } else {
                        for (long i = 0; i < bytes; i += BLOCK) {
                          s.send(block.asSlice(0, BLOCK));
                        }
                        // The client ends it.
                        s.receive(block);
                      }
                    }
                  }
                } catch (AssertionError e) {
                  // The kernel is being halted.
                  return;
                }
              })
          .setName("serve " + port);
    }
  }

  /** The same by Java's sockets, in the namespace. */
  private static void servePeer(long bytes) throws IOException, InterruptedException {
    for (int port : new int[] {SINK, SOURCE}) {
      ServerSocket listener = new ServerSocket(port);
      Thread.ofPlatform()
          .start(() -> {
            byte[] block = new byte[2 * BLOCK];
            while (true) {
              try (Socket s = listener.accept()) {
                if (port == SINK) {
                  while (s.getInputStream().read(block) > 0) {}
                  s.getOutputStream().write(1);
                } else {
                  for (long i = 0; i < bytes; i += BLOCK) {
                    s.getOutputStream().write(block, 0, BLOCK);
                  }
                  int ignored = s.getInputStream().read();
                }
              } catch (IOException e) {
                System.err.println(e);
              }
            }
          });
    }
    System.out.println("ready");
    Thread.sleep(Long.MAX_VALUE);
  }

  private static Process veth(String namespace, long bytes) throws Exception {
    String near = "obv" + PID % 100_000;
    run("ip", "netns", "add", namespace);
    run("ip", "link", "add", near, "type", "veth", "peer", "name", "eth0", "netns", namespace);
    run("ip", "addr", "add", VETH_NET + "1/24", "dev", near);
    run("ip", "link", "set", near, "up");
    run("ip", "-n", namespace, "addr", "add", VETH_NET + "2/24", "dev", "eth0");
    run("ip", "-n", namespace, "link", "set", "eth0", "up");
    Process peer =
        new ProcessBuilder(
                "ip",
                "netns",
                "exec",
                namespace,
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                LinkBenchmark.class.getName(),
                "peer",
                Long.toString(bytes))
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    if (peer.inputReader().readLine() == null) {
      throw new IOException("the peer does not start");
    }
    return peer;
  }

  private static void run(String... command) throws IOException, InterruptedException {
    if (new ProcessBuilder(command).inheritIO().start().waitFor() != 0) {
      throw new IOException(String.join(" ", command));
    }
  }

  private static double to(Peer peer, long bytes) throws IOException {
    try (Socket s = new Socket(peer.address, peer.sink)) {
      byte[] block = new byte[BLOCK];
      OutputStream out = s.getOutputStream();
      long begin = System.nanoTime();
      for (long i = 0; i < bytes; i += BLOCK) {
        out.write(block);
      }
      s.shutdownOutput();
      if (s.getInputStream().read() < 0) {
        throw new IOException("the peer did not take it all");
      }
      return bytes / (double) (System.nanoTime() - begin);
    }
  }

  private static double from(Peer peer, long bytes) throws IOException {
    try (Socket s = new Socket(peer.address, peer.source)) {
      byte[] block = new byte[2 * BLOCK];
      InputStream in = s.getInputStream();
      long got = 0;
      long begin = System.nanoTime();
      while (got < bytes) {
        int n = in.read(block);
        if (n < 0) {
          throw new IOException(got + " of " + bytes + " bytes came");
        }
        got += n;
      }
      return bytes / (double) (System.nanoTime() - begin);
    }
  }
}
