// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.abi.Xdp;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.stream.Stream;

/**
 * The memory of a program's frames, which stays where it is in the program: what XDP_UMEM_REG
 * names.
 *
 * <p>It is reached by {@code /proc/PID/mem}, whose descriptor stands for the memory of the process
 * as it was then: after an exec, or the last thread's end, it leads nowhere. So a frame never gets
 * into what another program has there. An address that the program has given another use since is
 * its own affair, as it is told in {@code docs/differences.md}.
 *
 * <p>Owns the descriptor, until {@link #close}. Addresses of frames are the program's and may be
 * anything. Immutable but for that. Source: {@code net/xdp/xdp_umem.c}, {@code xsk_queue.h}, {@code
 * xsk_buff_pool.c}.
 */
final class XdpMemory implements AutoCloseable {
  /** No frame. */
  static final long NONE = -1;

  private static final int LEAST_CHUNK = 2048;
  private static final long PAGE = 4096;
  private static final long ADDRESS_MASK = (1L << Xdp.UNALIGNED_OFFSET_SHIFT) - 1;

  /**
   * What the kernel has behind a frame: {@code struct skb_shared_info}, and what it leaves free.
   */
  private static final int BEHIND = 320 + 128;

  /**
   * What a program asks for.
   *
   * @param address where it is in the program, and
   * @param length how long, in bytes as all sizes here
   * @param chunk the room of a frame
   * @param headroom what is free before a frame, beside what a kernel leaves free
   * @param flags of XDP_UMEM_REG
   */
  record Request(long address, long length, int chunk, int headroom, int flags) {
    /** Reads {@code struct xdp_umem_reg}, of which there are so many bytes. */
    static Request read(MemorySegment from, int bytes) {
      return new Request(
          from.get(ValueLayout.JAVA_LONG, 0),
          from.get(ValueLayout.JAVA_LONG, Xdp.UMEM_REG_LENGTH),
          from.get(ValueLayout.JAVA_INT, Xdp.UMEM_REG_CHUNK),
          from.get(ValueLayout.JAVA_INT, Xdp.UMEM_REG_HEADROOM),
          bytes < Xdp.UMEM_REG_BYTES ? 0 : from.get(ValueLayout.JAVA_INT, Xdp.UMEM_REG_FLAGS));
    }

    boolean unaligned() {
      return (flags & Xdp.UMEM_UNALIGNED_CHUNKS) != 0;
    }

    /** The checks of {@code xdp_umem_reg()}: 0, or -EINVAL. */
    long check() {
      boolean good =
          Integer.compareUnsigned(chunk, LEAST_CHUNK) >= 0
              && Integer.compareUnsigned(chunk, (int) PAGE) <= 0
              && (flags & ~Xdp.UMEM_UNALIGNED_CHUNKS) == 0
              && (unaligned() || Integer.bitCount(chunk) == 1)
              && (address & PAGE - 1) == 0
              && Long.compareUnsigned(address + length, address) >= 0
              && Long.compareUnsigned(length, Integer.toUnsignedLong(-1) * PAGE) <= 0
              && Long.compareUnsigned(length, chunk) >= 0
              && (unaligned() || (length & chunk - 1) == 0)
              && Integer.compareUnsigned(headroom, chunk - Xdp.PACKET_HEADROOM - BEHIND) <= 0;
      return good ? 0 : -Errno.EINVAL;
    }
  }

  private final Request request;
  private final int fd;

  XdpMemory(Request request, int fd) {
    this.request = request;
    this.fd = fd;
  }

  /**
   * Whether the memory could be pinned to be written to: it is all there.
   *
   * @param maps {@code /proc/PID/maps}
   * @return 0; -EFAULT if nothing is there, -ENOMEM if not all is
   */
  static long writable(Path maps, Request r) {
    long at = r.address();
    long end = r.address() + r.length();
    try (Stream<String> lines = Files.lines(maps)) {
      for (Iterator<String> i = lines.iterator(); i.hasNext() && at != end; ) {
        String line = i.next();
        int dash = line.indexOf('-');
        int space = line.indexOf(' ', dash);
        if (dash < 0 || space < 0 || line.length() < space + 3) {
          break;
        }
        long from = Long.parseUnsignedLong(line, 0, dash, 16);
        long to = Long.parseUnsignedLong(line, dash + 1, space, 16);
        if (Long.compareUnsigned(to, at) <= 0) {
          continue;
        }
        if (Long.compareUnsigned(from, at) > 0 || line.charAt(space + 2) != 'w') {
          break;
        }
        at = Long.compareUnsigned(to, end) < 0 ? to : end;
      }
    } catch (IOException | UncheckedIOException | NumberFormatException e) {
      return -Errno.EFAULT;
    }
    return at == end ? 0 : at == r.address() ? -Errno.EFAULT : -Errno.ENOMEM;
  }

  /** Opens the memory of a process; the descriptor, or {@code -errno}. */
  static int open(ProcessEntry process) {
    try (Arena a = Arena.ofConfined()) {
      return Shim.openMemory(a, process);
    }
  }

  /** The longest frame that is received. */
  int longest() {
    return request.chunk() - request.headroom() - Xdp.PACKET_HEADROOM;
  }

  /** What an entry of the fill ring names, {@link #NONE} if it is not in the memory. */
  long chunk(long entry) {
    if (!request.unaligned()) {
      long base = entry & -request.chunk();
      return Long.compareUnsigned(base, request.length()) < 0 ? base : NONE;
    }
    long base = entry & ADDRESS_MASK;
    return base <= request.length() - request.chunk() ? base : NONE;
  }

  /** Where a frame is that lies in a chunk, as its descriptor says it. */
  long handle(long chunk) {
    long offset = (long) request.headroom() + Xdp.PACKET_HEADROOM;
    return request.unaligned() ? chunk | offset << Xdp.UNALIGNED_OFFSET_SHIFT : chunk + offset;
  }

  /** Where a frame is that a descriptor says is to be sent; {@link #NONE} if it cannot be. */
  long frame(long handle, int bytes, int options) {
    long length = Integer.toUnsignedLong(bytes);
    if (length == 0 || length > request.chunk() || options != 0) {
      return NONE;
    }
    if (!request.unaligned()) {
      boolean inside =
          Long.compareUnsigned(handle, request.length()) < 0
              && (handle & request.chunk() - 1) + length <= request.chunk();
      return inside ? handle : NONE;
    }
    long at = (handle & ADDRESS_MASK) + (handle >>> Xdp.UNALIGNED_OFFSET_SHIFT);
    return at <= request.length() - length ? at : NONE;
  }

  /** Puts a received frame, and what is before it, into a chunk; false if it is not there. */
  boolean write(long chunk, int before, MemorySegment from) {
    long at = request.address() + chunk + request.headroom() + Xdp.PACKET_HEADROOM - before;
    return Linux.syscall(SyscallNumbers.PWRITE64, fd, from.address(), from.byteSize(), at, 0, 0)
        == from.byteSize();
  }

  /** Copies a frame that is to be sent; false if it is not there. */
  boolean read(long frame, MemorySegment to) {
    return Processes.pread(fd, to.address(), to.byteSize(), request.address() + frame)
        == to.byteSize();
  }

  @Override
  public void close() {
    Linux.close(fd);
  }
}
