// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import dev.outboard.posix.Linux;
import java.util.HexFormat;
import java.util.Locale;

/**
 * The hardware address of a network card.
 *
 * @param bits its 48 bits, the first byte highest
 */
public record MacAddress(long bits) {
  private static final HexFormat HEX = HexFormat.ofDelimiter(":");

  /**
   * Parses {@code 02:00:5e:00:53:01}.
   *
   * @throws IllegalArgumentException if it is not one, or not one that a card may have
   */
  static MacAddress parse(String text) {
    byte[] bytes;
    try {
      bytes = HEX.parseHex(text.toLowerCase(Locale.ROOT));
    } catch (IllegalArgumentException e) {
      bytes = new byte[0];
    }
    if (bytes.length != 6) {
      throw new IllegalArgumentException("mac=" + text + ": not six bytes as in 02:00:5e:00:53:01");
    }
    MacAddress mac = of(bytes);
    if ((bytes[0] & 1) != 0 || mac.bits == 0) {
      throw new IllegalArgumentException("mac=" + text + ": a card cannot have a group address");
    }
    return mac;
  }

  /** The address of six bytes. */
  static MacAddress of(byte[] bytes) {
    long bits = 0;
    for (byte b : bytes) {
      bits = bits << 8 | (b & 0xff);
    }
    return new MacAddress(bits);
  }

  /** A random address that is marked as locally administered (IEEE 802, 8.4). */
  static MacAddress random() {
    byte[] bytes = new byte[6];
    Linux.random(bytes);
    bytes[0] = (byte) ((bytes[0] & ~3) | 2);
    return of(bytes);
  }

  /** The six bytes, in the order of the wire. */
  public byte[] bytes() {
    byte[] b = new byte[6];
    for (int i = 0; i < 6; i++) {
      b[i] = (byte) (bits >> (40 - 8 * i));
    }
    return b;
  }

  @Override
  public String toString() {
    return HEX.formatHex(bytes());
  }
}
