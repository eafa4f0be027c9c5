// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Memory;
import dev.outboard.abi.Xdp;
import dev.outboard.posix.Linux;
import dev.outboard.posix.SealedMemory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;
import org.jspecify.annotations.Nullable;

/**
 * One of an XDP socket's rings, in memory that the program has mapped: the hook is at one of its
 * ends, as a kernel would be.
 *
 * <p>Shared with the program are the two indices, which only grow, modulo 2^32. Each is written by
 * one end, with a release store after what it covers; the other reads it by an acquire load. What
 * the hook itself has written there it keeps, and never reads again. Of the program's index counts
 * no more than the ring has entries.
 *
 * <p>Owns the memory and its descriptor, until {@link #close}. Not thread-safe: the owner's lock
 * orders all calls. Source: {@code net/xdp/xsk_queue.h}.
 */
final class XdpRing implements AutoCloseable {
  /** Where things are; of the rings of all four kinds, and as where a cache line has 64 bytes. */
  static final int PRODUCER = 0;

  static final int CONSUMER = 128;
  static final int FLAGS = 196;
  static final int ENTRIES = 320;

  private static final VarHandle INT = ValueLayout.JAVA_INT.varHandle();
  private static final long PAGE_MASK = 4095;

  private final int fd;
  private final MemorySegment memory;
  private final int entries;
  private final int width;
  private final boolean produces;
  private int own;

  private XdpRing(int fd, MemorySegment memory, int entries, int width, boolean produces) {
    this.fd = fd;
    this.memory = memory;
    this.entries = entries;
    this.width = width;
    this.produces = produces;
  }

  /** How much memory a ring takes: whole pages. */
  static long bytes(int entries, int width) {
    return ENTRIES + Integer.toUnsignedLong(entries) * width + PAGE_MASK & ~PAGE_MASK;
  }

  /**
   * Makes an empty ring.
   *
   * @param entries how many, a power of two
   * @param width of an entry, in bytes
   * @param produces whether the hook is the one that puts something in
   * @return null without the memory
   */
  static @Nullable XdpRing make(int entries, int width, boolean produces) {
    long size = bytes(entries, width);
    int fd = SealedMemory.allocate("xdp-ring", size);
    if (fd < 0) {
      return null;
    }
    long at = Linux.mmap(0, size, Memory.PROT_READ | Memory.PROT_WRITE, Memory.MAP_SHARED, fd, 0);
    if (at < 0 && at > -4096) {
      Linux.close(fd);
      return null;
    }
    return new XdpRing(fd, Linux.at(at, size), entries, width, produces);
  }

  /** A descriptor of its memory. */
  int fd() {
    return fd;
  }

  /** The size of its memory. */
  long bytes() {
    return memory.byteSize();
  }

  int entries() {
    return entries;
  }

  /** Has the program make a call for what it puts in. */
  void needsWakeup() {
    memory.set(ValueLayout.JAVA_INT, FLAGS, Xdp.RING_NEED_WAKEUP);
  }

  /** How many entries are the hook's: full ones if it takes them out, else free ones. */
  int available() {
    // Acquire: the program has written, or read, the entries before.
    int others = (int) INT.getAcquire(memory, (long) (produces ? CONSUMER : PRODUCER));
    int n = produces ? entries - (own - others) : others - own;
    return n < 0 || n > entries ? entries : n;
  }

  /** Whether the program has something left in a ring that the hook fills. */
  boolean holds() {
    return (int) INT.getAcquire(memory, (long) CONSUMER) != own;
  }

  /** The {@code index}th of the {@link #available} entries: eight bytes of it. */
  long get(int index, int field) {
    return memory.get(ValueLayout.JAVA_LONG, at(index) + field);
  }

  int getInt(int index, int field) {
    return memory.get(ValueLayout.JAVA_INT, at(index) + field);
  }

  void set(int index, int field, long value) {
    memory.set(ValueLayout.JAVA_LONG, at(index) + field, value);
  }

  /** So many of the {@link #available} entries are the program's now. */
  void advance(int count) {
    own += count;
    // Release: the program that sees the index sees the entries.
    INT.setRelease(memory, (long) (produces ? PRODUCER : CONSUMER), own);
  }

  private long at(int index) {
    return ENTRIES + Integer.toUnsignedLong(own + index & entries - 1) * width;
  }

  @Override
  public void close() {
    Linux.munmap(memory.address(), memory.byteSize());
    Linux.close(fd);
  }
}
