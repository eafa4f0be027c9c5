// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/**
 * The page of registers that a device shares with the driver, laid out as {@code virtio_page.h} of
 * the kernel port says, which also draws it and explains the handshake.
 *
 * <p>What the driver writes is a request: who reads it here checks it.
 */
final class RegisterPage {
  static final int BYTES = 4096;
  static final int MAGIC_VALUE = 0x4456424f;
  static final int LAYOUT_VERSION = 1;
  static final int MAX_QUEUES = 14;

  static final int MAGIC = 0;
  static final int VERSION = 4;
  static final int DEVICE_ID = 8;
  static final int VENDOR_ID = 12;
  static final int DEVICE_FEATURES = 16;
  static final int DRIVER_FEATURES = 24;
  static final int STATUS = 32;
  static final int STATUS_SERIAL = 36;
  static final int ACK_STATUS = 40;
  static final int ACK_SERIAL = 44;
  static final int CONFIG_GENERATION = 48;
  static final int CONFIG_BYTES = 52;
  static final int QUEUE_COUNT = 56;
  static final int INTERRUPT_LINE = 60;
  static final int ISR = 64;
  static final int CONTROL_KICK = 68;
  static final int MAX_SEGMENT = 72;
  static final int QUEUES = 128;
  static final int CONFIG = 1024;

  static final int QUEUE_BYTES = 64;
  static final int QUEUE_SIZE_MAX = 0;
  static final int QUEUE_SIZE = 4;
  static final int QUEUE_READY = 8;
  static final int QUEUE_KICK = 12;
  static final int QUEUE_DESCRIPTORS = 16;
  static final int QUEUE_DRIVER_AREA = 24;
  static final int QUEUE_DEVICE_AREA = 32;
  static final int QUEUE_KEEPS = 40;

  static final int ISR_STATUS = 1 << 30;
  static final int ISR_CONFIG = 1 << 31;

  private static final VarHandle INT =
      JAVA_INT.withOrder(ByteOrder.LITTLE_ENDIAN).varHandle().withInvokeExactBehavior();
  private static final ValueLayout.OfLong LONG = JAVA_LONG.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final MemorySegment page;

  /**
   * @param page {@link #BYTES} of zeroed memory, aligned to 64, any thread's
   */
  RegisterPage(MemorySegment page) {
    this.page = page.asSlice(0, BYTES, 64);
  }

  long address() {
    return page.address();
  }

  int get(int offset) {
    return (int) INT.getAcquire(page, (long) offset);
  }

  /** Everything written before is seen by the driver that sees this value. */
  void set(int offset, int value) {
    INT.setRelease(page, (long) offset, value);
  }

  long getLong(int offset) {
    return page.get(LONG, offset);
  }

  void setLong(int offset, long value) {
    page.set(LONG, offset, value);
  }

  /** Adds to what the next interrupt will say; partner: the exchange in the driver's handler. */
  void addInterruptReason(int bits) {
    int ignored = (int) INT.getAndBitwiseOr(page, (long) ISR, bits);
  }

  int queue(int index, int field) {
    return get(QUEUES + index * QUEUE_BYTES + field);
  }

  long queueLong(int index, int field) {
    return getLong(QUEUES + index * QUEUE_BYTES + field);
  }

  void setQueue(int index, int field, int value) {
    set(QUEUES + index * QUEUE_BYTES + field, value);
  }

  /** Changes the configuration space so that a driver never takes half a change for a whole. */
  void setConfig(int offset, byte[] bytes) {
    int generation = get(CONFIG_GENERATION);
    set(CONFIG_GENERATION, generation + 1);
    VarHandle.storeStoreFence();
    MemorySegment.copy(bytes, 0, page, JAVA_BYTE, CONFIG + offset, bytes.length);
    set(CONFIG_GENERATION, generation + 2);
  }
}
