// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

/**
 * Segments above 64 KiB. Virtio's header has the size of the pieces and not of the whole, and IP's
 * length is 0 (IPv4) or in an option (IPv6), so they cross whatever carries virtio's headers, if
 * the machine's kernel can hold them: since Linux 6.6 the buffer of a frame that a process sends
 * may be made of more than 17 pages ({@code alloc_skb_with_frags()}), and since 6.3 IPv4 takes
 * them.
 */
final class BigTcp {
  private static final int MAJOR = 6;
  private static final int MINOR = 6;

  /**
   * Half of what Linux segments (GSO_MAX_SIZE). Twice as much was seen to cross too, but not always
   * (ENOBUFS): then the segment is lost.
   */
  private static final int MAX_SEGMENT = 4 * 65535;

  /**
   * Bytes of the largest frame that a kernel gives to a process, virtio's header included: whoever
   * sent it may have been allowed all that Linux segments (GSO_MAX_SIZE), and the interfaces on the
   * way have no limit for what they receive. A TAP's own limit is 64 KiB.
   */
  static final int LARGEST_RECEIVED = 8 * 65535 - 65535 + NetBackend.LARGEST_FRAME;

  private static final int LARGEST_SENT =
      isSince(System.getProperty("os.version", ""), MAJOR, MINOR)
          ? MAX_SEGMENT - 65535 + NetBackend.LARGEST_FRAME
          : NetBackend.LARGEST_FRAME;

  private BigTcp() {}

  /**
   * Bytes of the largest frame that this machine takes from a process, virtio's header included.
   */
  static int largestFrame() {
    return LARGEST_SENT;
  }

  /** Whether a kernel's release, as in {@code 6.12.1-amd64}, is a version or a later one. */
  static boolean isSince(String release, int major, int minor) {
    String[] parts = release.split("[^0-9]", 3);
    if (parts.length < 2 || parts[0].isEmpty() || parts[1].isEmpty()) {
      return false;
    }
    int first = Integer.parseInt(parts[0]);
    return first > major || (first == major && Integer.parseInt(parts[1]) >= minor);
  }
}
