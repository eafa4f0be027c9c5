// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** User memory as a kernel sees it: copy in, copy out, or fault. */
interface Space {
  /** EFAULT. */
  final class Fault extends Exception {
    private static final long serialVersionUID = 1;
  }

  byte[] get(long address, long bytes) throws Fault;

  void put(long address, byte[] from) throws Fault;

  default int word(long address) throws Fault {
    return view(get(address, Integer.BYTES)).getInt();
  }

  default long quad(long address) throws Fault {
    return view(get(address, Long.BYTES)).getLong();
  }

  default void putWord(long address, int value) throws Fault {
    byte[] bytes = new byte[Integer.BYTES];
    view(bytes).putInt(value);
    put(address, bytes);
  }

  default void putQuad(long address, long value) throws Fault {
    byte[] bytes = new byte[Long.BYTES];
    view(bytes).putLong(value);
    put(address, bytes);
  }

  static ByteBuffer view(byte[] bytes) {
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }
}
