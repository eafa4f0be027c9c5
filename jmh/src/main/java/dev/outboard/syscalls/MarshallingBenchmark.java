// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import dev.outboard.abi.MessageHeader;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;

/**
 * The host's half of marshalling one {@code sendmsg} of two pieces. The program's memory is this
 * process's, so that no system call is in it.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class MarshallingBenchmark {
  private static final Row SENDMSG = Objects.requireNonNull(SyscallTable.byName("sendmsg"));

  /** Bytes of the message. */
  @Param({"64", "4096", "65536"})
  private int bytes;

  private final Arena arena = Arena.ofShared();
  private final OwnMemory memory = new OwnMemory();
  private final long[] args = new long[6];
  private Call call;

  @Setup
  public void prepare() {
    call = new Call(arena.allocate(160 * 1024, 4096));
    MemorySegment payload = arena.allocate(bytes, 64);
    MemorySegment vectors = arena.allocate(32, 8);
    vectors.set(ValueLayout.JAVA_LONG, 0, payload.address());
    vectors.set(ValueLayout.JAVA_LONG, 8, bytes / 2);
    vectors.set(ValueLayout.JAVA_LONG, 16, payload.address() + bytes / 2);
    vectors.set(ValueLayout.JAVA_LONG, 24, bytes / 2);
    MemorySegment message = arena.allocate(MessageHeader.BYTES, 8);
    message.set(ValueLayout.JAVA_LONG, MessageHeader.IOV, vectors.address());
    message.set(ValueLayout.JAVA_LONG, MessageHeader.IOV_COUNT, 2);
    args[0] = 3;
    args[1] = message.address();
  }

  @Benchmark
  public long sendmsg() {
    return HostMarshaller.encode(SENDMSG, args, memory, call);
  }

  /** This process as the program; addresses are trusted. */
  private static final class OwnMemory implements ProgramMemory {
    private static MemorySegment at(long address, long bytes) {
      return MemorySegment.ofAddress(address).reinterpret(bytes);
    }

    @Override
    public long read(long address, MemorySegment to, long offset, long bytes) {
      MemorySegment.copy(at(address, bytes), 0, to, offset, bytes);
      return 0;
    }

    @Override
    public long write(long address, MemorySegment from, long offset, long bytes) {
      MemorySegment.copy(from, offset, at(address, bytes), 0, bytes);
      return 0;
    }

    @Override
    public long readVector(
        long iovAddress, int iovCount, long skip, MemorySegment to, long offset, long maxBytes) {
      MemorySegment vectors = at(iovAddress, 16L * iovCount);
      long done = 0;
      for (int i = 0; i < iovCount && done < maxBytes; i++) {
        long piece = Math.min(vectors.get(ValueLayout.JAVA_LONG, 16L * i + 8), maxBytes - done);
        read(vectors.get(ValueLayout.JAVA_LONG, 16L * i), to, offset + done, piece);
        done += piece;
      }
      return done;
    }

    @Override
    public long writeVector(
        long iovAddress, int iovCount, long skip, MemorySegment from, long offset, long bytes) {
      throw new UnsupportedOperationException("nothing is received here");
    }

    @Override
    public long vectorLength(long iovAddress, int iovCount) {
      MemorySegment vectors = at(iovAddress, 16L * iovCount);
      long length = 0;
      for (int i = 0; i < iovCount; i++) {
        length += vectors.get(ValueLayout.JAVA_LONG, 16L * i + 8);
      }
      return length;
    }

    @Override
    public long readString(long address, MemorySegment to, long offset, long max) {
      throw new UnsupportedOperationException("there is no path here");
    }
  }
}
