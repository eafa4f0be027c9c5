// SPDX-License-Identifier: MIT
package dev.outboard.kernel;

import dev.outboard.abi.Errno;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** TLS of the kernel on sockets of a guest. Source: {@code linux/tls.h}. */
final class Tls {
  static final int VERSION_1_2 = 0x303;
  static final int VERSION_1_3 = 0x304;
  static final int TX = 1;
  static final int RX = 2;

  private static final int SOL_TCP = 6;
  private static final int TCP_ULP = 31;
  private static final int SOL_TLS = 282;

  /** A cipher, and what its structure of keys has: iv, key, salt, 8 bytes of record number. */
  enum Cipher {
    AES_GCM_128(51, 8, 16, 4),
    AES_GCM_256(52, 8, 32, 4),
    AES_CCM_128(53, 8, 16, 4),
    CHACHA20_POLY1305(54, 12, 32, 0);

    final int number;
    final int ivBytes;
    final int keyBytes;
    final int saltBytes;

    Cipher(int number, int ivBytes, int keyBytes, int saltBytes) {
      this.number = number;
      this.ivBytes = ivBytes;
      this.keyBytes = keyBytes;
      this.saltBytes = saltBytes;
    }

    /** The key that {@link #start} gives to the kernel. */
    byte[] key() {
      return pattern(keyBytes, 1);
    }

    /** What the nonces of a connection start with: salt, then iv. */
    byte[] saltAndIv() {
      return pattern(saltBytes + ivBytes, 101);
    }

    private static byte[] pattern(int bytes, int first) {
      byte[] b = new byte[bytes];
      for (int i = 0; i < bytes; i++) {
        b[i] = (byte) (first + i);
      }
      return b;
    }

    /** Encrypts ({@link #TX}) or decrypts ({@link #RX}) on {@code fd} from here on. */
    void start(Guest g, int fd, int direction, int version) {
      ulp(g, fd);
      MemorySegment info = info(g, version);
      g.ok(Nr.SETSOCKOPT, fd, SOL_TLS, direction, info.address(), info.byteSize());
    }

    /** The argument of {@code TLS_TX} and {@code TLS_RX}. */
    MemorySegment info(Guest g, int version) {
      byte[] nonce = saltAndIv();
      MemorySegment info = g.allocate(4 + ivBytes + keyBytes + saltBytes + 8);
      info.set(ValueLayout.JAVA_SHORT, 0, (short) version);
      info.set(ValueLayout.JAVA_SHORT, 2, (short) number);
      MemorySegment.copy(nonce, saltBytes, info, ValueLayout.JAVA_BYTE, 4, ivBytes);
      MemorySegment.copy(key(), 0, info, ValueLayout.JAVA_BYTE, 4 + ivBytes, keyBytes);
      MemorySegment.copy(nonce, 0, info, ValueLayout.JAVA_BYTE, 4 + ivBytes + keyBytes, saltBytes);
      return info;
    }
  }

  private Tls() {}

  private static void ulp(Guest g, int fd) {
    long r = g.call(Nr.SETSOCKOPT, fd, SOL_TCP, TCP_ULP, g.string("tls").address(), 4);
    // The other direction may have been first.
    if (r < 0 && r != -Errno.EEXIST) {
      throw new AssertionError("TCP_ULP: " + r);
    }
  }

  /** {@code TLS_TX_ZEROCOPY_RO}: sendfile encrypts from the pages of the file. */
  static void zeroCopy(Guest g, int fd) {
    MemorySegment one = g.allocate(4);
    one.set(ValueLayout.JAVA_INT, 0, 1);
    g.ok(Nr.SETSOCKOPT, fd, SOL_TLS, 3, one.address(), 4);
  }
}
