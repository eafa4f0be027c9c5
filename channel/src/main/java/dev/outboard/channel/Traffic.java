// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import dev.outboard.syscalls.Call;
import java.util.concurrent.atomic.LongAdder;

/**
 * Counts the bytes that a session moves between host and device: of each call its number, arguments
 * and data, of each reply its result and data, and all frames.
 *
 * <p>A structure that a call reads and writes counts both ways. Memory that the two sides share
 * counts as if it were sent, which is what another transport would have to do. Any thread may add
 * and read; a reading while calls go on is a moment's view.
 */
public final class Traffic {
  /** The sequence number, the call's number, its flags and arguments. */
  public static final int CALL_BYTES = 4 + 4 + 4 + 6 * 8;

  /** The sequence number, the result, the poll mask and its stamp. */
  public static final int REPLY_BYTES = 4 + 8 + 4 + 8;

  private final LongAdder toDevice = new LongAdder();
  private final LongAdder fromDevice = new LongAdder();

  Traffic() {}

  /** Bytes from the host to the device. */
  public long toDevice() {
    return toDevice.sum();
  }

  /** Bytes from the device to the host. */
  public long fromDevice() {
    return fromDevice.sum();
  }

  /** A call goes out. */
  void call(Call c) {
    toDevice.add(CALL_BYTES + c.toDevice);
  }

  /** Its reply has come. */
  void reply(Call c) {
    long result = c.result;
    long data = 0;
    if (result >= 0) {
      // The result is the device's word; it can have filled what was reserved and no more.
      data = c.fromDevice + (c.receives ? Math.min(result, c.carried) : 0);
    }
    fromDevice.add(REPLY_BYTES + data);
  }

  /** A frame goes out. */
  void frameOut(int bytes) {
    toDevice.add(bytes);
  }

  /** Bytes of frames have come. */
  void framesIn(int bytes) {
    fromDevice.add(bytes);
  }
}
