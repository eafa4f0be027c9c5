// SPDX-License-Identifier: MIT
package dev.outboard.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Errno;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.spec.AlgorithmParameterSpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.SecretKeySpec;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * The kernel's ciphers: its own known-answer and fuzz tests of them, which other boots leave out
 * and which compare what the CPU does with the generic code; and each with TLS, where Java's
 * ciphers are the judge.
 */
@Timeout(120)
class CipherTest {
  private static final int[] VERSIONS = {Tls.VERSION_1_2, Tls.VERSION_1_3};

  @Test
  void ciphersPassTheKernelsOwnTests() throws Exception {
    List<String> log = new CopyOnWriteArrayList<>();
    String crypto;
    try (LinuxKernel kernel =
            LinuxKernel.boot(
                LinuxKernel.Options.defaults()
                    .withMemory(64 << 20, 4 << 20)
                    .withCommandLine("")
                    .withConsole(log::add));
        Guest g = new Guest(kernel, 0, 0)) {
      // instantiates the templates: an algorithm is tested when it is first used
      for (Tls.Cipher cipher : Tls.Cipher.values()) {
        connection(g, cipher, Tls.VERSION_1_3);
      }
      // Threads of the kernel's own test what was registered at boot, which may take a moment more.
      long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
      do {
        crypto = read(g, "/proc/crypto");
      } while (crypto.contains("selftest     : unknown") && System.nanoTime() < until);
    }
    assertThat(log).anyMatch(line -> line.contains("extra crypto tests enabled"));
    assertThat(log).noneMatch(line -> line.contains("self-tests") && line.contains("disabled"));
    assertThat(log).noneMatch(line -> line.contains("alg:") && line.contains("failed"));
    List<String> drivers = new ArrayList<>();
    for (String algorithm : crypto.split("\n\n", -1)) {
      if (!algorithm.isBlank()) {
        assertThat(algorithm).contains("selftest     : passed");
        drivers.add(field(algorithm, "driver"));
      }
    }
    assertThat(drivers).containsAll(expectedOfTheCpu());
    // what they are compared with, and what serves on another CPU
    assertThat(drivers).contains("aes-generic", "chacha20-generic", "poly1305-generic");
  }

  /** The drivers that mainline registers on a CPU like this one. */
  private static List<String> expectedOfTheCpu() throws IOException {
    Set<String> cpu =
        Set.of(
            Files.readAllLines(Path.of("/proc/cpuinfo")).stream()
                .filter(l -> l.startsWith("flags"))
                .findFirst()
                .orElseThrow()
                .split("\\s+"));
    List<String> expected = new ArrayList<>();
    if (cpu.contains("aes")) {
      expected.addAll(List.of("generic-gcm-aesni", "ctr-aes-aesni", "cbc-aes-aesni"));
      if (cpu.contains("avx")) {
        expected.add("generic-gcm-aesni-avx");
      }
      if (cpu.containsAll(
          Set.of("avx2", "vaes", "vpclmulqdq", "pclmulqdq", "avx512bw", "avx512vl", "bmi2"))) {
        expected.add("generic-gcm-vaes-avx10_256");
        expected.add("generic-gcm-vaes-avx10_512");
      }
    }
    if (cpu.contains("ssse3")) {
      expected.add("chacha20-simd");
    }
    expected.add("poly1305-simd");
    return expected;
  }

  private static String field(String algorithm, String name) {
    return algorithm
        .lines()
        .filter(l -> l.startsWith(name))
        .map(l -> l.substring(l.indexOf(':') + 2))
        .findFirst()
        .orElse("");
  }

  @Test
  void recordsOfEachCipherAndVersion() throws Exception {
    try (LinuxKernel kernel = LinuxKernel.boot(LinuxKernel.Options.defaults());
        Guest g = new Guest(kernel, 0, 0)) {
      MemorySegment data = g.allocate(100_000);
      for (int i = 0; i < data.byteSize(); i++) {
        data.set(ValueLayout.JAVA_BYTE, i, (byte) (i * 31 + i / 777));
      }
      int file = (int) g.ok(Nr.OPENAT, -100, g.string("/tmp/tls").address(), 0102, 0600);
      g.ok(Nr.WRITE, file, data.address(), data.byteSize());
      MemorySegment in = g.allocate(data.byteSize());
      int opened = 0;
      for (Tls.Cipher cipher : Tls.Cipher.values()) {
        for (int version : VERSIONS) {
          int[] ends = connection(g, cipher, version);
          cipher.start(g, ends[1], Tls.RX, version);
          opened++;
          send(g, ends[0], data);
          receive(g, ends[1], in.fill((byte) 0));
          assertThat(in.mismatch(data)).as("%s %x", cipher, version).isEqualTo(-1);
          MemorySegment offset = g.allocate(8);
          if (version == Tls.VERSION_1_3) {
            Tls.zeroCopy(g, ends[0]);
          }
          assertThat(g.ok(Nr.SENDFILE, ends[0], file, offset.address(), data.byteSize()))
              .isEqualTo(data.byteSize());
          receive(g, ends[1], in.fill((byte) 0));
          assertThat(in.mismatch(data)).as("%s %x, from a file", cipher, version).isEqualTo(-1);

          // no key of this version can be given twice
          MemorySegment again = cipher.info(g, version);
          assertThat(g.call(Nr.SETSOCKOPT, ends[0], 282, Tls.TX, again.address(), again.byteSize()))
              .isEqualTo(-Errno.EBUSY);

          // one end has no keys: what is on the wire, and what becomes of a forgery
          int[] wire = connection(g, cipher, version);
          send(g, wire[0], data.asSlice(0, 1000));
          MemorySegment record = g.allocate(1100);
          int n = (int) g.ok(Nr.RECVFROM, wire[1], record.address(), record.byteSize(), 0, 0, 0);
          byte[] sealed = record.asSlice(0, n).toArray(ValueLayout.JAVA_BYTE);
          if (cipher != Tls.Cipher.AES_CCM_128) {
            assertThat(open(cipher, version, sealed))
                .isEqualTo(data.asSlice(0, 1000).toArray(ValueLayout.JAVA_BYTE));
          }
          int[] forged = plain(g);
          cipher.start(g, forged[1], Tls.RX, version);
          record.set(ValueLayout.JAVA_BYTE, n - 1, (byte) ~sealed[n - 1]);
          send(g, forged[0], record.asSlice(0, n));
          assertThat(g.call(Nr.READ, forged[1], in.address(), in.byteSize()))
              .as("a forged record, %s %x", cipher, version)
              .isEqualTo(-Errno.EBADMSG);
          for (int[] pair : List.of(ends, wire, forged)) {
            g.ok(Nr.CLOSE, pair[0]);
            g.ok(Nr.CLOSE, pair[1]);
          }
        }
      }
      String counts = read(g, "/proc/net/tls_stat");
      assertThat(counts).containsPattern("TlsTxSw\\s+" + 2 * opened + "\n");
      assertThat(counts).containsPattern("TlsRxSw\\s+" + 2 * opened + "\n");
      assertThat(counts).containsPattern("TlsDecryptError\\s+" + opened + "\n");
    }
  }

  /** What one record contains, by Java's ciphers. */
  private static byte[] open(Tls.Cipher cipher, int version, byte[] record) throws Exception {
    boolean old = version == Tls.VERSION_1_2;
    boolean gcm = cipher != Tls.Cipher.CHACHA20_POLY1305;
    // 1.2 sends the second part of AES's nonces along
    int explicit = old && gcm ? cipher.ivBytes : 0;
    byte[] nonce = cipher.saltAndIv();
    if (explicit > 0) {
      System.arraycopy(record, 5, nonce, cipher.saltBytes, explicit);
    }
    // the record's number is 0, with which the others are combined
    ByteBuffer header = ByteBuffer.allocate(13);
    int length = record.length - 5 - explicit;
    byte[] associated =
        old
            ? header.putLong(0).put(record, 0, 3).putShort((short) (length - 16)).array()
            : Arrays.copyOf(record, 5);
    Cipher java = Cipher.getInstance(gcm ? "AES/GCM/NoPadding" : "ChaCha20-Poly1305");
    AlgorithmParameterSpec parameters =
        gcm ? new GCMParameterSpec(128, nonce) : new IvParameterSpec(nonce);
    java.init(
        Cipher.DECRYPT_MODE, new SecretKeySpec(cipher.key(), gcm ? "AES" : "ChaCha20"), parameters);
    java.updateAAD(associated);
    byte[] content = java.doFinal(record, 5 + explicit, length);
    // 1.3 adds the type of the record, 23
    return old ? content : Arrays.copyOf(content, content.length - 1);
  }

  private static int port = 5000;

  private static int[] plain(Guest g) {
    Net.loopbackUp(g);
    int listener = Net.listen(g, ++port);
    int client = Net.connect(g, port);
    int server = (int) g.ok(Nr.ACCEPT, listener, 0, 0);
    g.ok(Nr.CLOSE, listener);
    return new int[] {client, server};
  }

  /** Two ends, of which the first encrypts. */
  private static int[] connection(Guest g, Tls.Cipher cipher, int version) {
    int[] ends = plain(g);
    cipher.start(g, ends[0], Tls.TX, version);
    return ends;
  }

  private static void send(Guest g, int fd, MemorySegment data) {
    assertThat(g.ok(Nr.WRITE, fd, data.address(), data.byteSize())).isEqualTo(data.byteSize());
  }

  private static void receive(Guest g, int fd, MemorySegment into) {
    for (long got = 0; got < into.byteSize(); ) {
      got += g.ok(Nr.READ, fd, into.address() + got, into.byteSize() - got);
    }
  }

  private static String read(Guest g, String path) {
    StringBuilder text = new StringBuilder();
    int fd = (int) g.ok(Nr.OPENAT, -100, g.string(path).address(), 0);
    MemorySegment b = g.allocate(65536);
    for (long n; (n = g.ok(Nr.READ, fd, b.address(), 65536)) > 0; ) {
      text.append(
          new String(b.asSlice(0, n).toArray(ValueLayout.JAVA_BYTE), StandardCharsets.UTF_8));
    }
    g.ok(Nr.CLOSE, fd);
    return text.toString();
  }
}
