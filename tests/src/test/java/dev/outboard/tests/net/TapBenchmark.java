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

/**
 * Bulk TCP between this machine and a library kernel over a TAP, interleaved with the same between
 * two network namespaces of this machine over a veth pair. Run as root:
 *
 * <pre>java ... dev.outboard.tests.net.TapBenchmark [MiB [ROUNDS [OPTIONS]]]</pre>
 *
 * with further options of the TAP, as in {@code offload=off}.
 */
final class TapBenchmark {
  private static final int SINK = 7001;
  private static final int SOURCE = 7002;
  private static final int BLOCK = 128 << 10;

  private static final long PID = ProcessHandle.current().pid();
  private static final String NET = "10." + (200 + PID / 250 % 50) + "." + PID % 250 + ".";
  private static final String VETH_NET = "10." + (150 + PID / 250 % 50) + "." + PID % 250 + ".";

  private TapBenchmark() {}

  public static void main(String[] args) throws Exception {
    if (args.length == 2 && args[0].equals("peer")) {
      servePeer(Long.parseLong(args[1]));
      return;
    }
    long bytes = (args.length > 0 ? Long.parseLong(args[0]) : 1024) << 20;
    int rounds = args.length > 1 ? Integer.parseInt(args[1]) : 5;
    String options = args.length > 2 ? "," + args[2] : "";
    String namespace = "obb" + PID;
    Network network =
        Network.open(
            NetSpec.parse("tap:name=obb" + PID % 100_000 + ",addr=" + NET + "2/24" + options),
            List.of());
    Process peer = null;
    try (LibraryKernel kernel = new LibraryKernel()) {
      try {
        network.attach(kernel.guest(), LibraryKernel.LINE, System.err::println);
        GuestSocket.configure(kernel, "eth0", network.config().orElseThrow());
        serve(kernel, bytes);
        peer = veth(namespace, bytes);
        compare(bytes, rounds);
        System.out.println(network.counts().orElseThrow());
      } finally {
        network.detach();
      }
    } finally {
      if (peer != null) {
        peer.destroyForcibly().waitFor();
        run("ip", "netns", "del", namespace);
      }
      network.close();
    }
    // The kernel's tasks that serve are gone with it.
    System.exit(0);
  }

  private static void compare(long bytes, int rounds) throws IOException {
    InetAddress device = InetAddress.ofLiteral(NET + "2");
    InetAddress other = InetAddress.ofLiteral(VETH_NET + "2");
    double[][] results = new double[4][rounds];
    double[][] cpu = new double[4][rounds];
    // The first round is for the JIT compilers of both.
    for (int i = -1; i < rounds; i++) {
      for (int k = 0; k < 4; k++) {
        InetAddress peer = k % 2 == 0 ? device : other;
        long before = processCpuNanos();
        double rate = k < 2 ? to(peer, bytes) : from(peer, bytes);
        if (i >= 0) {
          results[k][i] = rate;
          cpu[k][i] = (processCpuNanos() - before) / (double) bytes;
        }
      }
    }
    String[] names = {"in, TAP", "in, veth", "out, TAP", "out, veth"};
    for (int k = 0; k < 4; k++) {
      double[] r = results[k];
      Arrays.sort(r);
      Arrays.sort(cpu[k]);
      System.out.printf(
          "%-10s %.2f GB/s (%.2f to %.2f), this process %.2f CPU s/GB%n",
          names[k], r[rounds / 2], r[0], r[rounds - 1], cpu[k][rounds / 2]);
    }
  }

  /**
   * Of the client and, over the TAP, of the device; the peer behind the veth is another process.
   */
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
                TapBenchmark.class.getName(),
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

  private static double to(InetAddress peer, long bytes) throws IOException {
    try (Socket s = new Socket(peer, SINK)) {
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

  private static double from(InetAddress peer, long bytes) throws IOException {
    try (Socket s = new Socket(peer, SOURCE)) {
      byte[] block = new byte[2 * BLOCK];
      InputStream in = s.getInputStream();
      long got = 0;
      long begin = System.nanoTime();
      for (int n = in.read(block); n > 0; n = in.read(block)) {
        got += n;
      }
      if (got != bytes) {
        throw new IOException(got + " of " + bytes + " bytes came");
      }
      return bytes / (double) (System.nanoTime() - begin);
    }
  }
}
