// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

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

  /** What the device is to be told about this network. */
  NetworkConfig config();

  /** Features of virtio-net (5.1.3) that this backend carries out, of those it has a say in. */
  long features();

  /** The driver has chosen among {@link #features}: nothing else may be given to it from now on. */
  void accept(long features);

  /** What to poll: readable when {@link #receive}, writable when {@link #transmit} can go on. */
  int descriptor();

  /**
   * Takes one frame.
   *
   * @param vectors room for header and frame, at least {@link #largestFrame} bytes
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

  /** Bytes of the largest frame, its header included. */
  int largestFrame();

  /** Why there will be no more frames, for the user; empty if unknown. */
  String epitaph();

  @Override
  void close();
}
