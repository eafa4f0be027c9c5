// SPDX-License-Identifier: MIT
package dev.outboard.kernel;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The kernel's TLS in records of 16 KiB over its loopback, interleaved with {@code openssl speed}
 * of the same cipher. One thread is both ends: it fills the connection, then takes everything out.
 * All figures are per second of CPU time, as those of openssl are, so that other work on the
 * machine counts less.
 *
 * <pre>java ... dev.outboard.kernel.TlsBenchmark [ROUNDS [CIPHER...]]</pre>
 *
 * What the columns say:
 *
 * <ul>
 *   <li>{@code send}: the kernel encrypts; the other end throws the records away.
 *   <li>{@code plain}: the same without TLS, what the rest of {@code send} costs.
 *   <li>{@code seal}: the cipher alone, by the difference of the two.
 *   <li>{@code both}: the other end decrypts.
 *   <li>{@code file}: as {@code send}, by sendfile; {@code file0} with {@code TLS_TX_ZEROCOPY_RO}.
 *   <li>{@code openssl}: {@code openssl speed -bytes 16384}; the last column is seal to it.
 * </ul>
 */
final class TlsBenchmark {
  private static final int RECORD = 16384;
  private static final int BATCH = 16 * RECORD;
  private static final long BYTES = 1L << 30;
  private static final int MSG_TRUNC = 0x20;
  private static final int MSG_DONTWAIT = 0x40;
  private static final String[] COLUMNS = {
    "send", "plain", "seal", "both", "file", "file0", "openssl"
  };

  private final LinuxKernel kernel;
  private int port = 6000;

  private TlsBenchmark(LinuxKernel kernel) {
    this.kernel = kernel;
  }

  public static void main(String[] args) throws Exception {
    int rounds = args.length > 0 ? Integer.parseInt(args[0]) : 5;
    List<Tls.Cipher> ciphers = new ArrayList<>();
    for (int i = 1; i < args.length; i++) {
      ciphers.add(Tls.Cipher.valueOf(args[i]));
    }
    if (ciphers.isEmpty()) {
      ciphers.addAll(Arrays.asList(Tls.Cipher.values()));
    }
    try (LinuxKernel kernel = LinuxKernel.boot(LinuxKernel.Options.defaults())) {
      TlsBenchmark b = new TlsBenchmark(kernel);
      System.out.printf("%-18s", "GB/CPU s, median");
      for (String c : COLUMNS) {
        System.out.printf("%9s", c);
      }
      System.out.printf("%9s   spread of seal%n", "ratio");
      for (Tls.Cipher c : ciphers) {
        b.compare(c, rounds);
      }
    }
    System.exit(0);
  }

  private void compare(Tls.Cipher c, int rounds) throws IOException, InterruptedException {
    double[][] r = new double[COLUMNS.length][rounds];
    // The first round is for Java's compilers.
    for (int i = -1; i < rounds; i++) {
      double send = run(c, true, false, false, false);
      double plain = run(c, false, false, false, false);
      double[] one = {
        send,
        plain,
        1 / (1 / send - 1 / plain),
        run(c, true, true, false, false),
        run(c, true, false, true, false),
        run(c, true, false, true, true),
        openssl(c)
      };
      for (int k = 0; i >= 0 && k < one.length; k++) {
        r[k][i] = one[k];
      }
    }
    System.out.printf("%-18s", c.name());
    for (double[] column : r) {
      Arrays.sort(column);
      System.out.printf("%9.2f", column[rounds / 2]);
    }
    System.out.printf(
        "%9.2f   %.2f to %.2f%n", r[2][rounds / 2] / r[6][rounds / 2], r[2][0], r[2][rounds - 1]);
  }

  /** GB of payload per second of CPU time. */
  private double run(Tls.Cipher c, boolean seal, boolean open, boolean file, boolean zeroCopy) {
    try (Guest g = new Guest(kernel, 0, 0)) {
      Net.loopbackUp(g);
      int listener = Net.listen(g, ++port);
      int out = Net.connect(g, port);
      int in = (int) g.ok(Nr.ACCEPT, listener, 0, 0);
      if (seal) {
        c.start(g, out, Tls.TX, Tls.VERSION_1_3);
      }
      if (open) {
        c.start(g, in, Tls.RX, Tls.VERSION_1_3);
      }
      if (zeroCopy) {
        Tls.zeroCopy(g, out);
      }
      MemorySegment data = g.allocate(BATCH);
      MemorySegment sink = g.allocate(BATCH);
      MemorySegment offset = g.allocate(8);
      int fd = -1;
      if (file) {
        // O_RDWR | O_CREAT
        fd = (int) g.ok(Nr.OPENAT, -100, g.string("/tmp/data").address(), 0102, 0600);
        g.ok(Nr.WRITE, fd, data.address(), BATCH);
      }
      long begin = cpuNanos();
      for (long sent = 0; sent < BYTES; ) {
        long n;
        if (file) {
          offset.set(ValueLayout.JAVA_LONG, 0, 0);
          n = g.ok(Nr.SENDFILE, out, fd, offset.address(), BATCH);
        } else {
          n = g.ok(Nr.SENDTO, out, data.address(), BATCH, 0, 0, 0);
        }
        sent += n;
        int flags = MSG_DONTWAIT | (open ? 0 : MSG_TRUNC);
        while (g.call(Nr.RECVFROM, in, sink.address(), BATCH, flags, 0, 0) > 0) {}
      }
      double rate = BYTES / (double) (cpuNanos() - begin);
      for (int f : new int[] {listener, out, in}) {
        g.ok(Nr.CLOSE, f);
      }
      return rate;
    }
  }

  private static long cpuNanos() {
    return ProcessHandle.current().info().totalCpuDuration().orElseThrow().toNanos();
  }

  private static double openssl(Tls.Cipher c) throws IOException, InterruptedException {
    String name =
        switch (c) {
          case AES_GCM_128 -> "aes-128-gcm";
          case AES_GCM_256 -> "aes-256-gcm";
          case AES_CCM_128 -> "aes-128-ccm";
          case CHACHA20_POLY1305 -> "chacha20-poly1305";
        };
    Process p =
        new ProcessBuilder(
                "openssl", "speed", "-evp", name, "-bytes", "" + RECORD, "-seconds", "1", "-mr")
            .redirectErrorStream(true)
            .start();
    String text = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    p.waitFor();
    Matcher m = Pattern.compile("(?m)^\\+F:.*:([0-9.]+)$").matcher(text);
    if (!m.find()) {
      throw new IOException(text);
    }
    return Double.parseDouble(m.group(1)) / 1e9;
  }
}
