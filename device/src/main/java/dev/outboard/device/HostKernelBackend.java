// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Architecture;
import dev.outboard.abi.Errno;
import dev.outboard.abi.Memory;
import dev.outboard.abi.Sched;
import dev.outboard.abi.Socket;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.InterruptSignal;
import dev.outboard.posix.Linux;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import dev.outboard.virtio.ExportSpec;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The kernel of the device's own machine. A task is the platform thread itself: Linux has
 * credentials and signals for each thread, and these are all of a task that the calls depend on.
 *
 * <p>All tasks share the table of descriptors of this process, which holds the JVM's own files too.
 * {@link Handles} lets a session name only what it has made itself, and keeps the number of a
 * closed descriptor taken while a call is on it. A blocking call is interrupted by {@link
 * InterruptSignal}.
 */
final class HostKernelBackend implements Kernel {
  /** Memory for {@link #allocate}: as many blocks as a device has threads at most. */
  private static final long PRIVATE_BYTES = 256L << 20;

  /** Not the table's pseudo calls: the highest number of asm-generic. */
  private static final int NUMBERS = 512;

  private static final int UTSNAME_FIELD = 65;
  private static final int TIMEVAL_BYTES = 16;

  private final int[] numbers = new int[NUMBERS];
  private final MemorySegment memory;
  private final Blocks blocks;
  private final String release;
  private final String system;
  private final boolean superuser;
  private final HostExports exports;

  /** Without exports. */
  HostKernelBackend() throws DeviceException {
    this(List.of());
  }

  /**
   * @param exports directories that every task sees
   * @throws DeviceException if this machine has no memory for it, or the exports cannot be had
   */
  HostKernelBackend(List<ExportSpec> exports) throws DeviceException {
    for (int n = 0; n < NUMBERS; n++) {
      Row row = SyscallTable.byCanonical(n);
      numbers[n] = row == null ? -1 : row.number(Architecture.MACHINE);
    }
    InterruptSignal.install();
    superuser = Linux.syscall(SyscallNumbers.GETEUID, 0) == 0;
    this.exports = HostExports.open(exports, superuser);
    long address =
        Linux.mmap(
            0,
            PRIVATE_BYTES,
            Memory.PROT_READ | Memory.PROT_WRITE,
            Memory.MAP_PRIVATE | Memory.MAP_ANONYMOUS | Memory.MAP_NORESERVE,
            -1,
            0);
    if (isError(address)) {
      this.exports.close();
      throw new DeviceException("No memory for the device: " + Errno.name((int) -address) + ".");
    }
    memory = Linux.at(address, PRIVATE_BYTES);
    blocks = new Blocks(memory);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment name = arena.allocate(6 * UTSNAME_FIELD);
      Linux.syscall(SyscallNumbers.UNAME, name.address());
      release = field(name, 2);
      system = uname(name);
    }
  }

  /** {@code uname -srvm} out of a {@code struct new_utsname}. */
  static String uname(MemorySegment name) {
    return field(name, 0) + " " + field(name, 2) + " " + field(name, 3) + " " + field(name, 4);
  }

  /** A field of a {@code struct new_utsname}. */
  static String field(MemorySegment name, int i) {
    return name.getString((long) i * UTSNAME_FIELD, StandardCharsets.UTF_8);
  }

  private static boolean isError(long result) {
    return result < 0 && result > -4096;
  }

  @Override
  public String kind() {
    return "host";
  }

  @Override
  public Architecture abi() {
    return Architecture.MACHINE;
  }

  @Override
  public String release() {
    return release;
  }

  @Override
  public String system() {
    return system;
  }

  @Override
  public int enterTask(int likeTid, boolean ownFiles) {
    // A mask of its own: what the program's own mask leaves of a mode is the hook's to say.
    Linux.syscall(SyscallNumbers.UNSHARE, Sched.CLONE_FS);
    Linux.syscall(SyscallNumbers.UMASK, 0);
    long r = exports.enter();
    return (int) (r < 0 ? r : Linux.syscall(SyscallNumbers.GETTID, 0));
  }

  /** The thread ends next, and its credentials with it. */
  @Override
  public void leaveTask() {}

  @Override
  public long syscall(int number, long a0, long a1, long a2, long a3, long a4, long a5) {
    int mine = number >= 0 && number < NUMBERS ? numbers[number] : -1;
    return mine < 0 ? -Errno.ENOSYS : Linux.machineSyscall(mine, a0, a1, a2, a3, a4, a5);
  }

  @Override
  public void interrupt(int tid) {
    InterruptSignal.send(tid);
  }

  /**
   * Linux has turned its restart code into EINTR before we see it; turned back here. A socket with
   * a timeout is never restarted, whatever the handler's flags ({@code signal(7)}).
   */
  @Override
  public long interrupted(long result, int number, int handle, MemorySegment scratch) {
    if (result != -Errno.EINTR) {
      return result;
    }
    scratch.set(ValueLayout.JAVA_LONG, 0, 0);
    scratch.set(ValueLayout.JAVA_LONG, 8, 0);
    scratch.set(ValueLayout.JAVA_INT, TIMEVAL_BYTES, TIMEVAL_BYTES);
    Linux.getsockopt(
        handle,
        Socket.SOL_SOCKET,
        Canonical.receives(number) ? Socket.SO_RCVTIMEO : Socket.SO_SNDTIMEO,
        scratch.address(),
        scratch.address() + TIMEVAL_BYTES);
    boolean timed =
        (scratch.get(ValueLayout.JAVA_LONG, 0) | scratch.get(ValueLayout.JAVA_LONG, 8)) != 0;
    return timed ? -Errno.EINTR : -Errno.ERESTARTSYS;
  }

  /** A signal that comes late runs its handler and is forgotten. */
  @Override
  public void settle() {}

  @Override
  public Blocks blocks() {
    return blocks;
  }

  @Override
  public @Nullable Window map(int fd, long bytes) {
    long address =
        Linux.mmap(0, bytes, Memory.PROT_READ | Memory.PROT_WRITE, Memory.MAP_SHARED, fd, 0);
    return isError(address) ? null : new Mapping(Linux.at(address, bytes));
  }

  private record Mapping(MemorySegment memory) implements Window {
    @Override
    public void close() {
      Linux.munmap(memory.address(), memory.byteSize());
    }
  }

  @Override
  public boolean ownsDescriptorTable() {
    return false;
  }

  @Override
  public boolean privileged() {
    return superuser;
  }

  @Override
  public void close() {
    Linux.munmap(memory.address(), memory.byteSize());
    exports.close();
  }
}
