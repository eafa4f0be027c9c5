// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.abi.Virtio.NET_HEADER_BYTES;

/**
 * Where a network card's frames go and come from.
 *
 * <p>Frames are read from and written to the guest's memory directly, each preceded by a header of
 * {@link dev.outboard.abi.Virtio#NET_HEADER_BYTES} bytes as virtio has it (5.1.6). {@link #receive}
 * is called by one thread and {@link #transmit} by another; {@link #close} after both have ended.
 * No method but {@code close} may be called after it.
 */
interface NetBackend extends AutoCloseable {
  /** Result of {@link #receive} and {@link #transmit}: nothing to be had now, or no room. */
  long AGAIN = -dev.outboard.abi.Errno.EAGAIN;

  /** The largest IP packet, an Ethernet header with a VLAN tag, and virtio's header. */
  int LARGEST_FRAME = 65535 + 18 + NET_HEADER_BYTES;

  /** What the device is to be told about this network. */
  NetworkConfig config();

  /** Features of virtio-net (5.1.3) that this backend carries out, of those it has a say in. */
  long features();

  /** Those of {@link #features} that a driver must take: what comes in cannot do without. */
  default long needed() {
    return 0;
  }

  /** The driver has chosen among {@link #features}: nothing else may be given to it from now on. */
  void accept(long features);

  /** What to poll: readable when {@link #receive}, writable when {@link #transmit} can go on. */
  int descriptor();

  /**
   * Milliseconds of silence after which {@link #isThere} is to be asked; -1 if the end of the
   * network makes {@link #descriptor} readable.
   */
  default int lookMillis() {
    return -1;
  }

  /** Whether the network has not ended unnoticed. Called by the thread that receives. */
  default boolean isThere() {
    return true;
  }

  /**
   * Takes one frame.
   *
   * @param vectors room for header and frame; a larger frame is cut to it
   * @return bytes of header and frame, {@link #AGAIN}, or another {@code -errno} after which there
   *     will be no more frames
   */
  long receive(IoVectors vectors);

  /**
   * Sends one frame, its header first.
   *
   * @return bytes sent, {@link #AGAIN}, after which the same frame must be tried again, or another
   *     {@code -errno}: the frame is refused and lost
   */
  long transmit(IoVectors vectors);

  /**
   * Sends what {@link #transmit} has only taken so far. Called by its thread, when there is no more
   * for the moment and now and then before.
   *
   * @return false if there was no room, and it has to be called again when there is
   */
  default boolean flush() {
    return true;
  }

  /**
   * Bytes of the largest frame that {@link #receive} gives, its header included. If it is more than
   * {@link #LARGEST_FRAME}, then until the first of those there may be room for less; it is cut.
   */
  int largestReceived();

  /**
   * Bytes of the largest frame that {@link #transmit} takes, its header included. If it is more
   * than {@link #LARGEST_FRAME}, the driver may be made to send such segments (BIG TCP).
   */
  int largestSent();

  /** Whether segments of IPv6 above 64 KiB do not cross, though others do. */
  default boolean splitsJumbo() {
    return false;
  }

  /** Why there will be no more frames, for the user; empty if unknown. */
  String epitaph();

  @Override
  void close();
}
