// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.outboard.abi.Errno;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.abi.Virtio;
import dev.outboard.posix.Linux;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.function.Consumer;

/**
 * A virtio disk (virtio 1.3, 5.2) over an image file or a block device of this machine. Data go
 * straight between the file and the kernel's memory. A flush waits until the machine's disk has
 * everything; a discard makes a hole in the file.
 */
final class BlockDevice extends RequestDevice {
  private static final int HEADS = 16;
  private static final int SECTORS = 63;
  private static final int PAGE_EXPONENT = 3;
  private static final int PAGE_SECTORS = 8;
  private static final int OPTIMAL_SECTORS = (1 << 20) / Virtio.BLK_SECTOR_BYTES;
  private static final int MAX_RANGE_SECTORS = 1 << 22;
  private static final int MAX_RANGES = 16;

  // Scratch memory: header, ranges, status.
  private static final int RANGES = Virtio.BLK_HEADER_BYTES;
  private static final int RANGES_BYTES = MAX_RANGES * Virtio.BLK_RANGE_BYTES;
  private static final int STATUS = RANGES + RANGES_BYTES;
  private static final int ID = STATUS + 8;
  private static final int SCRATCH_BYTES = ID + 24;

  // linux/falloc.h
  private static final int FALLOC_FL_KEEP_SIZE = 1;
  private static final int FALLOC_FL_PUNCH_HOLE = 2;
  private static final int FALLOC_FL_ZERO_RANGE = 16;

  private static final int WAIT = -1;

  private final int fd;
  private final long bytes;
  private final boolean readOnly;
  private final byte[] serial;

  /**
   * @param fd the image; its owner closes it, after {@link #stop}
   * @param bytes of it that are the disk, a multiple of 512
   * @param serial what the disk calls itself, at most 20 bytes
   */
  BlockDevice(
      GuestKernel kernel,
      int line,
      String name,
      String serial,
      int fd,
      long bytes,
      boolean readOnly,
      Consumer<String> notices)
      throws NetException {
    super(
        kernel,
        line,
        name,
        Virtio.ID_BLOCK,
        1,
        Virtio.bit(Virtio.BLK_F_SEG_MAX)
            | Virtio.bit(Virtio.BLK_F_GEOMETRY)
            | Virtio.bit(Virtio.BLK_F_BLK_SIZE)
            | Virtio.bit(Virtio.BLK_F_TOPOLOGY)
            | Virtio.bit(Virtio.BLK_F_FLUSH)
            | (readOnly
                ? Virtio.bit(Virtio.BLK_F_RO)
                : Virtio.bit(Virtio.BLK_F_DISCARD) | Virtio.bit(Virtio.BLK_F_WRITE_ZEROES)),
        configuration(bytes),
        SCRATCH_BYTES,
        notices);
    this.fd = fd;
    this.bytes = bytes;
    this.readOnly = readOnly;
    this.serial = serial.getBytes(StandardCharsets.US_ASCII);
  }

  /** {@code struct virtio_blk_config}, 5.2.4. */
  private static byte[] configuration(long bytes) {
    long sectors = bytes / Virtio.BLK_SECTOR_BYTES;
    ByteBuffer config = ByteBuffer.allocate(Virtio.BLK_CONFIG_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    config.putLong(Virtio.BLK_CONFIG_CAPACITY, sectors);
    // A header and a status beside them.
    config.putInt(Virtio.BLK_CONFIG_SEG_MAX, QUEUE_SIZE - 2);
    long cylinders = Math.min(sectors / (HEADS * SECTORS), 0xffff);
    config.putShort(Virtio.BLK_CONFIG_CYLINDERS, (short) cylinders);
    config.put(Virtio.BLK_CONFIG_HEADS, (byte) HEADS);
    config.put(Virtio.BLK_CONFIG_SECTORS, (byte) SECTORS);
    config.putInt(Virtio.BLK_CONFIG_BLK_SIZE, Virtio.BLK_SECTOR_BYTES);
    config.put(Virtio.BLK_CONFIG_PHYSICAL_EXPONENT, (byte) PAGE_EXPONENT);
    config.putShort(Virtio.BLK_CONFIG_MIN_IO, (short) PAGE_SECTORS);
    config.putInt(Virtio.BLK_CONFIG_OPTIMAL_IO, OPTIMAL_SECTORS);
    config.putInt(Virtio.BLK_CONFIG_DISCARD_SECTORS, MAX_RANGE_SECTORS);
    config.putInt(Virtio.BLK_CONFIG_DISCARD_SEGMENTS, MAX_RANGES);
    config.putInt(Virtio.BLK_CONFIG_DISCARD_ALIGNMENT, PAGE_SECTORS);
    config.putInt(Virtio.BLK_CONFIG_ZEROES_SECTORS, MAX_RANGE_SECTORS);
    config.putInt(Virtio.BLK_CONFIG_ZEROES_SEGMENTS, 1);
    config.put(Virtio.BLK_CONFIG_ZEROES_MAY_UNMAP, (byte) 1);
    return config.array();
  }

  @Override
  void enter() {
    // A thread needs nothing of its own.
  }

  @Override
  boolean serve(Request request) throws RingViolation {
    if (request.readable.bytes() < Virtio.BLK_HEADER_BYTES || request.writable.bytes() < 1) {
      throw new RingViolation(
          "request queue: a request without a header or a status (virtio 5.2.6)");
    }
    request.readable.copyOut(memory(), request.scratch, RANGES + RANGES_BYTES);
    return finish(request, carryOut(request, false));
  }

  @Override
  void serveSlowly(Request request) {
    if (!finish(request, carryOut(request, true))) {
      throw new IllegalStateException("a worker may wait");
    }
  }

  private boolean finish(Request request, int status) {
    if (status == WAIT) {
      return false;
    }
    // The status is the last byte; what is before it was read, or does not count.
    long last = request.writable.bytes() - 1;
    request.scratch.set(JAVA_BYTE, STATUS, (byte) status);
    request.data.clear();
    request.data.addPart(request.writable, last, 1);
    request.data.copyIn(memory(), request.scratch.asSlice(STATUS, 1), 1);
    request.written = last + 1;
    return true;
  }

  private int carryOut(Request request, boolean mayWait) {
    MemorySegment s = request.scratch;
    int type = s.get(JAVA_INT, Virtio.BLK_HEADER_TYPE);
    long sector = s.get(JAVA_LONG, Virtio.BLK_HEADER_SECTOR);
    long in = request.writable.bytes() - 1;
    long out = request.readable.bytes() - Virtio.BLK_HEADER_BYTES;
    return switch (type) {
      case Virtio.BLK_T_IN -> {
        if (!fits(sector, in)) {
          yield Virtio.BLK_S_IOERR;
        }
        long at = sector * Virtio.BLK_SECTOR_BYTES;
        long n = FileIo.read(fd, at, request.writable, 0, in, request.data, mayWait);
        yield n == FileIo.WAIT ? WAIT : status(n == in);
      }
      case Virtio.BLK_T_OUT -> {
        if (readOnly || !fits(sector, out)) {
          yield Virtio.BLK_S_IOERR;
        }
        if (out > FileIo.INLINE_WRITE_BYTES && !mayWait) {
          yield WAIT;
        }
        long at = sector * Virtio.BLK_SECTOR_BYTES;
        yield status(
            FileIo.write(
                    fd, at, request.readable, Virtio.BLK_HEADER_BYTES, out, request.data, false)
                == out);
      }
      case Virtio.BLK_T_FLUSH ->
          mayWait ? status(Linux.syscall(SyscallNumbers.FDATASYNC, fd) == 0) : WAIT;
      case Virtio.BLK_T_GET_ID -> {
        MemorySegment id = s.asSlice(ID, Virtio.BLK_ID_BYTES).fill((byte) 0);
        MemorySegment.copy(serial, 0, id, JAVA_BYTE, 0, serial.length);
        request.writable.copyIn(memory(), id, Math.min(in, Virtio.BLK_ID_BYTES));
        yield Virtio.BLK_S_OK;
      }
      case Virtio.BLK_T_DISCARD, Virtio.BLK_T_WRITE_ZEROES -> {
        if (readOnly || out == 0 || out % Virtio.BLK_RANGE_BYTES != 0 || out > RANGES_BYTES) {
          yield Virtio.BLK_S_IOERR;
        }
        yield mayWait ? ranges(s, type == Virtio.BLK_T_DISCARD, (int) out) : WAIT;
      }
      default -> Virtio.BLK_S_UNSUPP;
    };
  }

  private static int status(boolean good) {
    return good ? Virtio.BLK_S_OK : Virtio.BLK_S_IOERR;
  }

  /** Whether a range of whole sectors lies on the disk; any values are allowed. */
  private boolean fits(long sector, long length) {
    return length % Virtio.BLK_SECTOR_BYTES == 0
        && sector >= 0
        && sector <= bytes / Virtio.BLK_SECTOR_BYTES
        && length <= bytes - sector * Virtio.BLK_SECTOR_BYTES;
  }

  private int ranges(MemorySegment s, boolean discard, int length) {
    for (int at = RANGES; at < RANGES + length; at += Virtio.BLK_RANGE_BYTES) {
      long sector = s.get(JAVA_LONG, at);
      long count = Integer.toUnsignedLong(s.get(JAVA_INT, at + 8)) * Virtio.BLK_SECTOR_BYTES;
      boolean hole = discard || (s.get(JAVA_INT, at + 12) & Virtio.BLK_RANGE_F_UNMAP) != 0;
      if (!fits(sector, count)) {
        return Virtio.BLK_S_IOERR;
      }
      long r =
          Linux.syscall(
              SyscallNumbers.FALLOCATE,
              fd,
              FALLOC_FL_KEEP_SIZE | (hole ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE),
              sector * Virtio.BLK_SECTOR_BYTES,
              count,
              0,
              0);
      if (r == -Errno.EOPNOTSUPP) {
        return Virtio.BLK_S_UNSUPP;
      }
      if (r < 0) {
        return Virtio.BLK_S_IOERR;
      }
    }
    return Virtio.BLK_S_OK;
  }
}
