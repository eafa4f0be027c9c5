// SPDX-License-Identifier: MIT
package dev.outboard.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The kernel's own known-answer and fuzz tests of its ciphers, which other boots leave out. */
@Timeout(120)
class CipherTest {
  @Test
  void ciphersPassTheKernelsOwnTests() throws Exception {
    List<String> log = new CopyOnWriteArrayList<>();
    String crypto = "";
    try (LinuxKernel kernel =
            LinuxKernel.boot(
                LinuxKernel.Options.defaults()
                    .withMemory(64 << 20, 4 << 20)
                    .withCommandLine("")
                    .withConsole(log::add));
        Guest g = new Guest(kernel, 0, 0)) {
      // instantiates the templates: an algorithm is tested when it is first used
      Net.loopbackUp(g);
      for (int[] cipher : new int[][] {{51, 40}, {53, 40}, {54, 56}}) {
        int listener = Net.listen(g, 5000 + cipher[0]);
        int client = Net.connect(g, 5000 + cipher[0]);
        g.ok(Nr.SETSOCKOPT, client, 6, 31, g.string("tls").address(), 4);
        MemorySegment info = g.allocate(cipher[1]);
        info.set(ValueLayout.JAVA_SHORT, 0, (short) 0x304);
        info.set(ValueLayout.JAVA_SHORT, 2, (short) cipher[0]);
        g.ok(Nr.SETSOCKOPT, client, 282, 1, info.address(), cipher[1]);
        g.ok(Nr.CLOSE, listener);
      }
      int fd = (int) g.ok(Nr.OPENAT, -100, g.string("/proc/crypto").address(), 0);
      MemorySegment b = g.allocate(65536);
      for (long n; (n = g.ok(Nr.READ, fd, b.address(), 65536)) > 0; ) {
        crypto +=
            new String(b.asSlice(0, n).toArray(ValueLayout.JAVA_BYTE), StandardCharsets.UTF_8);
      }
    }
    assertThat(log).anyMatch(line -> line.contains("extra crypto tests enabled"));
    assertThat(log).noneMatch(line -> line.contains("self-tests") && line.contains("disabled"));
    assertThat(log).noneMatch(line -> line.contains("alg:") && line.contains("failed"));
    boolean gcm = false;
    for (String algorithm : crypto.split("\n\n", -1)) {
      if (!algorithm.isBlank()) {
        assertThat(algorithm).contains("selftest     : passed");
      }
      gcm |= algorithm.contains("driver       : gcm-aes-outboard");
    }
    assertThat(gcm).isTrue();
  }
}
