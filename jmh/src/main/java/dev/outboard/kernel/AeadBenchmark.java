// SPDX-License-Identifier: MIT
package dev.outboard.kernel;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Socket;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/**
 * Sealing a record by the library kernel's ciphers as a program gets at them, an AF_ALG socket
 * ({@code crypto/algif_aead.c}): a sendmsg, which copies the record, and a read, which encrypts it
 * and appends the tag. To be compared with {@code openssl speed -evp aes-128-gcm -bytes 16384};
 * {@code TlsBenchmark} of the kernel's tests has the ciphers without the sockets.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
public class AeadBenchmark {
  // System calls, asm-generic/unistd.h.
  private static final int CLOSE = 57;
  private static final int READ = 63;
  private static final int SOCKET = 198;
  private static final int BIND = 200;
  private static final int ACCEPT = 202;
  private static final int SETSOCKOPT = 208;
  private static final int SENDMSG = 211;

  // linux/if_alg.h.
  private static final int SOL_ALG = 279;
  private static final int ALG_SET_KEY = 1;
  private static final int ALG_SET_IV = 2;
  private static final int ALG_SET_OP = 3;
  private static final int ALG_SET_AEAD_ASSOCLEN = 4;
  private static final int ALG_SET_AEAD_AUTHSIZE = 5;
  private static final int ALG_OP_ENCRYPT = 1;
  private static final int ADDRESS_BYTES = 88;

  private static final int TAG_BYTES = 16;
  private static final int IV_BYTES = 12;
  private static final int CMSG_HEADER = 16;

  /** Bytes of a record. */
  @Param({"16384", "64"})
  private int bytes;

  /** The cipher, and bytes of its key. */
  @Param({"gcm(aes) 16", "gcm(aes) 32", "rfc7539(chacha20,poly1305) 32"})
  private String cipher;

  private LinuxKernel kernel;
  private MemorySegment memory;
  private long used;
  private int operation;
  private MemorySegment message;
  private MemorySegment sealed;

  /** The calling thread becomes a task of a kernel. */
  @Setup
  public void prepare() throws KernelException {
    kernel = LinuxKernel.boot(LinuxKernel.Options.defaults());
    ok(kernel.enterTask(0, true));
    memory = kernel.userRegion();
    String[] parts = cipher.split(" ");
    int key = Integer.parseInt(parts[1]);
    int named = (int) ok(call(SOCKET, Socket.AF_ALG, Socket.SOCK_SEQPACKET, 0, 0, 0));
    MemorySegment address = allocate(ADDRESS_BYTES);
    address.set(ValueLayout.JAVA_SHORT, 0, (short) Socket.AF_ALG);
    put(address.asSlice(2), "aead");
    put(address.asSlice(24), parts[0]);
    ok(call(BIND, named, address.address(), ADDRESS_BYTES, 0, 0));
    MemorySegment secret = allocate(key);
    ok(call(SETSOCKOPT, named, SOL_ALG, ALG_SET_KEY, secret.address(), key));
    ok(call(SETSOCKOPT, named, SOL_ALG, ALG_SET_AEAD_AUTHSIZE, 0, TAG_BYTES));
    operation = (int) ok(call(ACCEPT, named, 0, 0, 0, 0));
    ok(call(CLOSE, named, 0, 0, 0, 0));
    message = message(allocate(bytes));
    sealed = allocate(bytes + TAG_BYTES);
    if (seal() != bytes + TAG_BYTES) {
      throw new AssertionError("a record of " + bytes + " bytes is not sealed");
    }
  }

  /** A {@code struct msghdr} with one part and the three control messages. */
  private MemorySegment message(MemorySegment record) {
    MemorySegment control = allocate(3 * 64);
    long at = control(control, 0, ALG_SET_OP, 4);
    control.set(ValueLayout.JAVA_INT, CMSG_HEADER, ALG_OP_ENCRYPT);
    control.set(ValueLayout.JAVA_INT, at + CMSG_HEADER, IV_BYTES);
    at = control(control, at, ALG_SET_IV, 4 + IV_BYTES);
    at = control(control, at, ALG_SET_AEAD_ASSOCLEN, 4);
    MemorySegment part = allocate(16);
    part.set(ValueLayout.JAVA_LONG, 0, record.address());
    part.set(ValueLayout.JAVA_LONG, 8, record.byteSize());
    MemorySegment header = allocate(56);
    header.set(ValueLayout.JAVA_LONG, 16, part.address());
    header.set(ValueLayout.JAVA_LONG, 24, 1);
    header.set(ValueLayout.JAVA_LONG, 32, control.address());
    header.set(ValueLayout.JAVA_LONG, 40, at);
    return header;
  }

  /** A {@code struct cmsghdr} for so many bytes; where the next one goes. */
  private static long control(MemorySegment control, long at, int type, int data) {
    control.set(ValueLayout.JAVA_LONG, at, CMSG_HEADER + data);
    control.set(ValueLayout.JAVA_INT, at + 8, SOL_ALG);
    control.set(ValueLayout.JAVA_INT, at + 12, type);
    return at + CMSG_HEADER + ((data + 7) & ~7);
  }

  @Benchmark
  public long seal() {
    ok(call(SENDMSG, operation, message.address(), 0, 0, 0));
    return ok(call(READ, operation, sealed.address(), sealed.byteSize(), 0, 0));
  }

  @TearDown
  public void end() {
    kernel.leaveTask();
    kernel.close();
  }

  private MemorySegment allocate(long size) {
    MemorySegment piece = memory.asSlice(used, size);
    used = (used + size + 63) & ~63L;
    return piece;
  }

  private static void put(MemorySegment to, String text) {
    byte[] ascii = text.getBytes(StandardCharsets.US_ASCII);
    MemorySegment.copy(ascii, 0, to, ValueLayout.JAVA_BYTE, 0, ascii.length);
  }

  private long call(int number, long a0, long a1, long a2, long a3, long a4) {
    return kernel.syscall(number, a0, a1, a2, a3, a4, 0);
  }

  private static long ok(long result) {
    if (result < 0) {
      throw new AssertionError(Errno.name((int) -result));
    }
    return result;
  }
}
