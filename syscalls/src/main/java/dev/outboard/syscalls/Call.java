// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * A system call in canonical form: asm-generic number and structure layouts, so that host and
 * device may be of different architectures.
 *
 * <p>Where an argument is a pointer, {@link #args} holds an offset into {@link #data}, or {@link
 * #NULL}. Mutable and reused; owned by one thread at a time.
 */
public final class Call {
  /** What stands for a null pointer in {@link #args}. */
  public static final long NULL = -1;

  /** The most bytes of a stream that one call carries; longer transfers go in pieces. */
  public static final int PIECE_BYTES = 128 * 1024;

  /** asm-generic system call number, or a {@code PseudoCall}. */
  public int number;

  /** Of {@link #flags}: after all that went ahead on the file of the first argument. */
  public static final int AFTER = 1;

  /** The same, but EAGAIN if that is held up. */
  public static final int AFTER_OR_AGAIN = 2;

  /** These say how; the rest of {@link #flags} is for the host's end of the stream. */
  public static final int ORDER = 3;

  /** From {@link #SENT_SHIFT} on stands how many frames the call must come after. */
  public static final int SENT_KNOWN = 8;

  public static final int SENT_SHIFT = 4;

  /** How the call is to be ordered among what went ahead over a stream; 0 anywhere else. */
  public int flags;

  public final long[] args = new long[6];

  /** What the device's kernel returned: a result or {@code -errno}. */
  public long result;

  /** Input and output bytes. On the host this is shared memory that the device may change. */
  public MemorySegment data;

  /**
   * How many bytes the program asked to move from where this call starts, set by {@link
   * HostMarshaller#encode}; 0 for a call that moves none. Host side only.
   */
  public long wanted;

  /**
   * How many of {@link #wanted} this call carries. If it is less, a blocking stream goes on with
   * the next piece, and a datagram is too long (EMSGSIZE). Host side only.
   */
  public long carried;

  /**
   * How many of the bytes that the call received {@link HostMarshaller#decode} could not write to
   * the program's memory; they are in {@link #data} still. Host side only.
   */
  public long undelivered;

  /**
   * What the call reads and writes of {@link #data} lies before this, in bytes; nothing is known of
   * what lies behind it. Of use where the data have to be compared.
   */
  public long extent;

  /** How many bytes of {@link #data} the host wrote for this call. Host side only. */
  public long toDevice;

  /**
   * How many bytes of {@link #data} are for the call to fill, but for those that its result counts.
   * Host side only.
   */
  public long fromDevice;

  /** Whether the call's result, if not negative, counts more such bytes. Host side only. */
  public boolean receives;

  /** What decode must remember of encode, where no device can change it. */
  final long[] saved = new long[8];

  /** Staging memory for structures of the program, where no device can change them. */
  final MemorySegment staging = Arena.ofAuto().allocate(HostMarshaller.STAGING_BYTES, 16);

  public Call(MemorySegment data) {
    this.data = data;
  }

  /** Starts a call that has no arguments yet and no data. */
  public void start(int callNumber) {
    number = callNumber;
    flags = 0;
    Arrays.fill(args, 0);
    result = 0;
    wanted = 0;
    carried = 0;
    undelivered = 0;
    extent = data.byteSize();
    toDevice = 0;
    fromDevice = 0;
    receives = false;
  }
}
