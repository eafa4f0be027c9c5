// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import java.math.BigInteger;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.UnknownHostException;

/**
 * An address of an interface and the length in bits of the prefix that is its link.
 *
 * @param address IPv4 or IPv6
 * @param prefixBits 1 to 32, or to 128
 */
public record InterfaceAddress(InetAddress address, int prefixBits) {
  /**
   * Parses {@code 10.77.0.2/24} or {@code fd00:77::2/64}.
   *
   * @param key the option's name, for the message
   * @throws IllegalArgumentException if it is not an address with a prefix; the message says what
   *     is wrong with it
   */
  static InterfaceAddress parse(String key, String text) {
    int slash = text.indexOf('/');
    if (slash < 0) {
      throw new IllegalArgumentException(
          key + "=" + text + ": a prefix length is missing, as in 10.77.0.2/24");
    }
    InetAddress address = parseAddress(key, text.substring(0, slash));
    int most = address.getAddress().length * 8;
    int bits;
    try {
      bits = Integer.parseInt(text.substring(slash + 1));
    } catch (NumberFormatException e) {
      bits = -1;
    }
    // A link needs room for two: the device and the host's end of the wire.
    if (bits < 1 || bits > most - 1) {
      throw new IllegalArgumentException(
          key + "=" + text + ": the prefix length is a number from 1 to " + (most - 1));
    }
    return new InterfaceAddress(address, bits);
  }

  /** Parses a numeric address; names are never looked up. */
  static InetAddress parseAddress(String key, String text) {
    try {
      // ofLiteral takes "1.2" for 1.0.0.2: only the dotted quad is wanted.
      if (text.indexOf(':') < 0 && !text.matches("\\d{1,3}(\\.\\d{1,3}){3}")) {
        throw new IllegalArgumentException(text);
      }
      return InetAddress.ofLiteral(text);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(
          key + "=" + text + ": not an IPv4 or IPv6 address in digits", e);
    }
  }

  /** The first address of the prefix that is not the network's own: 10.77.0.1 for 10.77.0.2/24. */
  InetAddress first() {
    BigInteger base = network();
    boolean pointToPoint = prefixBits == bits() - 1;
    return of(pointToPoint ? base : base.add(BigInteger.ONE));
  }

  /** The second address of the prefix. */
  InetAddress second() {
    return of(new BigInteger(1, first().getAddress()).add(BigInteger.ONE));
  }

  boolean contains(InetAddress other) {
    return other.getAddress().length * 8 == bits()
        && new InterfaceAddress(other, prefixBits).network().equals(network());
  }

  /** Whether this is the network's or the broadcast address, which no interface may have. */
  boolean isReserved() {
    if (!(address instanceof Inet4Address) || prefixBits >= 31) {
      return false;
    }
    BigInteger host = new BigInteger(1, address.getAddress()).subtract(network());
    BigInteger last = BigInteger.ONE.shiftLeft(32 - prefixBits).subtract(BigInteger.ONE);
    return host.signum() == 0 || host.equals(last);
  }

  private int bits() {
    return address.getAddress().length * 8;
  }

  private BigInteger network() {
    int hostBits = bits() - prefixBits;
    return new BigInteger(1, address.getAddress()).shiftRight(hostBits).shiftLeft(hostBits);
  }

  private InetAddress of(BigInteger value) {
    byte[] raw = new byte[bits() / 8];
    byte[] digits = value.toByteArray();
    int n = Math.min(digits.length, raw.length);
    System.arraycopy(digits, digits.length - n, raw, raw.length - n, n);
    try {
      return InetAddress.getByAddress(raw);
    } catch (UnknownHostException e) {
      throw new AssertionError(e);
    }
  }

  @Override
  public String toString() {
    return address.getHostAddress() + "/" + prefixBits;
  }
}
