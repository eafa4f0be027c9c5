// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Architecture;
import dev.outboard.abi.Errno;
import dev.outboard.channel.SlotLayout;
import dev.outboard.kernel.LinuxKernel;
import dev.outboard.virtio.Exports;
import dev.outboard.virtio.KeptKicks;
import dev.outboard.virtio.Network;
import java.lang.foreign.MemorySegment;
import java.util.BitSet;
import org.jspecify.annotations.Nullable;

/**
 * The library kernel in this process.
 *
 * <p>Its user region, the only memory that calls may point to, is divided here:
 *
 * <pre>
 *   0                private                   + window              + window
 *   +----------------+-------------------------+---------------------+----
 *   | blocks         | a session's call slots  | another session's   | ...
 *   +----------------+-------------------------+---------------------+----
 * </pre>
 *
 * <p>Owns the kernel: {@link #close} halts it.
 */
final class LibraryKernelBackend implements Kernel {
  private static final long ALIGN = 4 << 20;

  private final LinuxKernel kernel;
  private final Blocks blocks;
  private final MemorySegment windows;
  private final long windowsOffset;
  private final long windowBytes;
  private final int windowCount;
  private final BitSet used = new BitSet();
  private final String system;
  private volatile @Nullable Network network;
  private volatile @Nullable MemoryGroups memoryGroups;
  private volatile @Nullable ExportOpens opens;

  /** How the user region is divided; the kernel is booted with {@link #userBytes}. */
  record Division(long privateBytes, long windowBytes, int windowCount) {
    /** Enough for what {@code limits} allow. */
    static Division of(Limits limits) {
      // A root and a few helpers each need a block too.
      long blocks = limits.threads() + 4L * limits.sessions() + 16;
      return new Division(
          up(blocks * BLOCK_BYTES), up(limits.slots() * SlotLayout.BYTES), limits.sessions());
    }

    long userBytes() {
      return privateBytes + windowCount * windowBytes;
    }

    private static long up(long bytes) {
      return (bytes + ALIGN - 1) & -ALIGN;
    }
  }

  /**
   * @param kernel booted with a user region of {@link Division#userBytes}; owned by this object
   */
  LibraryKernelBackend(LinuxKernel kernel, Division division) {
    this.kernel = kernel;
    MemorySegment region = kernel.userRegion();
    this.blocks = new Blocks(region.asSlice(0, division.privateBytes));
    this.windowsOffset = division.privateBytes;
    this.windows = region.asSlice(windowsOffset);
    this.windowBytes = division.windowBytes;
    this.windowCount = division.windowCount;
    this.system = askSystem();
  }

  /** What {@code uname} says, asked by a task of its own. */
  private String askSystem() {
    MemorySegment name = blocks.take();
    if (name == null || enterTask(0, true) < 0) {
      return "Linux " + kernel.release();
    }
    try {
      syscall(Canonical.UNAME, name.address(), 0, 0, 0, 0, 0);
      return HostKernelBackend.uname(name);
    } finally {
      leaveTask();
      blocks.give(name);
    }
  }

  @Override
  public String kind() {
    return "library";
  }

  /** The canonical one, on whatever machine it runs: {@code outboard_kernel.h}. */
  @Override
  public Architecture abi() {
    return Architecture.X86_64;
  }

  @Override
  public String release() {
    return kernel.release();
  }

  @Override
  public String system() {
    return system;
  }

  @Override
  public int enterTask(int likeTid, boolean ownFiles) {
    int tid = kernel.enterTask(likeTid, ownFiles);
    if (tid > 0) {
      // What the program's own mask leaves of a mode is the hook's to say.
      syscall(Canonical.UMASK, 0, 0, 0, 0, 0, 0);
    }
    return tid;
  }

  @Override
  public void leaveTask() {
    kernel.leaveTask();
  }

  @Override
  public long syscall(int number, long a0, long a1, long a2, long a3, long a4, long a5) {
    return kernel.syscall(number, a0, a1, a2, a3, a4, a5);
  }

  @Override
  public void interrupt(int tid) {
    kernel.interrupt(tid);
  }

  /**
   * The kernel's own word: ERESTARTSYS follows the handler's SA_RESTART, EINTR does not. The other
   * restart codes are for calls that no signal restarts, or that a host's kernel could not.
   */
  @Override
  public long interrupted(long result, int number, int handle, MemorySegment scratch) {
    return result == -Errno.ERESTARTSYS || result == -Errno.ERESTARTNOINTR
        ? -Errno.ERESTARTSYS
        : -Errno.EINTR;
  }

  /** The kernel never carries an interruption over to another call. */
  @Override
  public void settle() {}

  /** Its network, once the card is plugged in. */
  void network(Network attached) {
    network = attached;
  }

  @Override
  public @Nullable KeptKicks keepKicks() {
    Network n = network;
    return n == null ? null : n.keepKicks();
  }

  /** Its exports, once they are mounted. */
  void exports(Exports mounted) {
    opens = new ExportOpens(this, mounted);
  }

  @Override
  public long opened(int fd, MemorySegment scratch, long status, long at) {
    ExportOpens o = opens;
    return o == null ? 0 : o.opened(fd, scratch, status, at);
  }

  /** Sessions' use of it is counted from here on; it closes them. */
  void memoryGroups(MemoryGroups groups) {
    memoryGroups = groups;
  }

  @Override
  public @Nullable MemoryGroups memoryGroups() {
    return memoryGroups;
  }

  @Override
  public Blocks blocks() {
    return blocks;
  }

  @Override
  public @Nullable Window map(int fd, long bytes) {
    int index;
    synchronized (used) {
      index = used.nextClearBit(0);
      if (index >= windowCount || bytes > windowBytes) {
        return null;
      }
      used.set(index);
    }
    long start = index * windowBytes;
    if (kernel.mapWindow(windowsOffset + start, bytes, fd) < 0) {
      release(index);
      return null;
    }
    return new UserWindow(index, windows.asSlice(start, bytes));
  }

  private void release(int index) {
    synchronized (used) {
      used.clear(index);
    }
  }

  private final class UserWindow implements Window {
    private final int index;
    private final MemorySegment memory;

    UserWindow(int index, MemorySegment memory) {
      this.index = index;
      this.memory = memory;
    }

    @Override
    public MemorySegment memory() {
      return memory;
    }

    @Override
    public void close() {
      if (kernel.unmapWindow(windowsOffset + index * windowBytes, memory.byteSize()) == 0) {
        release(index);
      }
    }
  }

  @Override
  public boolean ownsDescriptorTable() {
    return true;
  }

  @Override
  public boolean privileged() {
    return true;
  }

  @Override
  public void close() {
    MemoryGroups groups = memoryGroups;
    if (groups != null) {
      groups.close();
    }
    kernel.close();
  }
}
