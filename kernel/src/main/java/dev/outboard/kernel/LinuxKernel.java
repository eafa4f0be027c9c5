// SPDX-License-Identifier: MIT
package dev.outboard.kernel;

import dev.outboard.abi.Errno;
import dev.outboard.posix.CFunction;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.HashSet;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A Linux kernel in this process: the binding of {@code outboard_kernel.h}.
 *
 * <p>A platform thread that has called {@link #enterTask} is a task of the kernel and may make
 * system calls. They may block, so virtual threads must not make them. All that a call points to
 * must lie in the {@linkplain #userRegion user region}; the kernel answers everything else with
 * {@code -EFAULT}.
 *
 * <p>The kernel installs no signal handler and never calls Java. If it panics, the process ends
 * with exit status {@value #EXIT_PANIC} after the reason and the last lines of its log have been
 * written to standard error.
 *
 * <p>Results are those of the kernel, or {@code -errno}. All methods may be called by any platform
 * thread; each says what it needs. Several kernels can run in one process, each of a copy of the
 * shared object. {@link #close} frees a kernel's threads and memory, but leaves the image of the
 * object mapped: threads may be about to return from it, and to count them would cost every call.
 */
public final class LinuxKernel implements AutoCloseable {
  /** The exit status of a process whose kernel has panicked. */
  public static final int EXIT_PANIC = 70;

  /** System property, and environment variable, that name the shared object. */
  public static final String LIBRARY_PROPERTY = "outboard.kernel";

  public static final String LIBRARY_VARIABLE = "OUTBOARD_KERNEL";

  /** Physical address of the first byte of {@link #ram}, as virtual devices see it. */
  public static final long PHYSICAL_BASE = 0x40_0000;

  /** Interrupt lines that devices may raise. */
  public static final int FIRST_LINE = 4;

  public static final int LAST_LINE = 31;

  private static final int OWN_FILES = 1;

  /** Of a member of {@code struct new_utsname}, its end included. */
  private static final int RELEASE_BYTES = 65;

  /**
   * How to boot.
   *
   * @param library the shared object that {@code kernel/build} has made
   * @param ramBytes memory of the kernel's own; a multiple of 4 MiB, at least 32 MiB; pages are
   *     taken from the machine when first used
   * @param userBytes length of the user region; a multiple of 4 MiB; costs 1.6 % of it in RAM
   * @param commandLine the kernel's command line
   * @param console where its log goes
   */
  public record Options(
      Path library, long ramBytes, long userBytes, String commandLine, ConsoleSink console) {
    /**
     * What is on the command line where control groups are to be: no self tests of ciphers, and no
     * links but those that somebody makes.
     */
    public static final String COUNTING_COMMAND_LINE =
        "cryptomgr.notests=1 fb_tunnels=none bonding.max_bonds=0 dummy.numdummies=0 ifb.numifbs=0";

    /** The same, and who uses what of the memory is not counted. */
    public static final String COMMAND_LINE = COUNTING_COMMAND_LINE + " cgroup_disable=memory";

    /** 256 MiB of RAM, 128 MiB for users, the {@linkplain #locate located} object, no console. */
    public static Options defaults() throws KernelException {
      return new Options(locate(), 256L << 20, 128L << 20, COMMAND_LINE, ConsoleSink.NONE);
    }

    public Options withMemory(long ramBytes, long userBytes) {
      return new Options(library, ramBytes, userBytes, commandLine, console);
    }

    public Options withCommandLine(String commandLine) {
      return new Options(library, ramBytes, userBytes, commandLine, console);
    }

    public Options withConsole(ConsoleSink console) {
      return new Options(library, ramBytes, userBytes, commandLine, console);
    }
  }

  private static final StructLayout CONFIG =
      MemoryLayout.structLayout(
          ValueLayout.JAVA_LONG.withName("ram_bytes"),
          ValueLayout.JAVA_LONG.withName("user_bytes"),
          ValueLayout.ADDRESS.withName("command_line"),
          ValueLayout.ADDRESS.withName("console"));
  private static final StructLayout MEMORY =
      MemoryLayout.structLayout(
          ValueLayout.ADDRESS.withName("ram"),
          ValueLayout.JAVA_LONG.withName("ram_bytes"),
          ValueLayout.ADDRESS.withName("user"),
          ValueLayout.JAVA_LONG.withName("user_bytes"));

  /** Files whose image is in this process already, and has booted. */
  private static final Set<Path> LOADED = new HashSet<>();

  private final Arena arena = Arena.ofShared();
  private final Console console;
  private final String release;
  private final MemorySegment ram;
  private final MemorySegment userRegion;
  private final CFunction syscall;
  private final CFunction taskEnter;
  private final CFunction taskLeave;
  private final CFunction call;
  private final CFunction interrupt;
  private final CFunction raiseIrq;
  private final CFunction mapWindow;
  private final CFunction unmapWindow;
  private final CFunction tasks;
  private final CFunction halt;
  private final CFunction keepKicks;
  private final CFunction virtioRegister;
  private boolean closed;

  private LinuxKernel(Options o, SymbolLookup image) throws KernelException {
    syscall = symbol(image, "obk_syscall");
    taskEnter = symbol(image, "obk_task_enter");
    taskLeave = symbol(image, "obk_task_leave");
    call = symbol(image, "obk_call");
    interrupt = symbol(image, "obk_interrupt");
    raiseIrq = symbol(image, "obk_raise_irq");
    mapWindow = symbol(image, "obk_map_window");
    unmapWindow = symbol(image, "obk_unmap_window");
    tasks = symbol(image, "obk_tasks");
    halt = symbol(image, "obk_halt");
    keepKicks = symbol(image, "obk_keep_kicks");
    virtioRegister = symbol(image, "obk_virtio_register");
    console = new Console(o.console());
    try (Arena scratch = Arena.ofConfined()) {
      MemorySegment config = scratch.allocate(CONFIG);
      MemorySegment memory = scratch.allocate(MEMORY);
      config.set(ValueLayout.JAVA_LONG, 0, o.ramBytes());
      config.set(ValueLayout.JAVA_LONG, 8, o.userBytes());
      config.set(ValueLayout.JAVA_LONG, 16, scratch.allocateFrom(o.commandLine()).address());
      config.set(ValueLayout.JAVA_LONG, 24, console.ring().address());
      int r = symbol(image, "obk_boot").callInt(config.address(), memory.address());
      if (r != 0) {
        console.close();
        throw new KernelException(
            "The library kernel does not boot: "
                + Errno.name(-r)
                + (r == -Errno.EINVAL
                    ? "; memory sizes are multiples of 4 MiB, RAM at least 32 MiB"
                    : ""));
      }
      ram = segment(memory.get(ValueLayout.JAVA_LONG, 0), memory.get(ValueLayout.JAVA_LONG, 8));
      userRegion =
          segment(memory.get(ValueLayout.JAVA_LONG, 16), memory.get(ValueLayout.JAVA_LONG, 24));
      long name = symbol(image, "obk_release").call(0);
      release = MemorySegment.ofAddress(name).reinterpret(RELEASE_BYTES).getString(0);
    }
  }

  /**
   * The shared object of this installation: {@value #LIBRARY_PROPERTY}, else {@value
   * #LIBRARY_VARIABLE}.
   */
  public static Path locate() throws KernelException {
    @Nullable String name = System.getProperty(LIBRARY_PROPERTY);
    if (name == null || name.isEmpty()) {
      name = System.getenv(LIBRARY_VARIABLE);
    }
    if (name == null || name.isEmpty()) {
      throw new KernelException(
          "No library kernel is named: set "
              + LIBRARY_VARIABLE
              + " to what kernel/build prints, or start by ./outboard");
    }
    Path path = Path.of(name);
    if (!Files.isReadable(path)) {
      throw new KernelException("There is no library kernel at " + path + ": run kernel/build");
    }
    return path;
  }

  /**
   * Boots a kernel. Takes some 10 ms, on the stack of the calling thread, which is no task
   * afterwards.
   */
  public static LinuxKernel boot(Options options) throws KernelException {
    return new LinuxKernel(options, load(options.library()));
  }

  /** An image that has not booted: the file's own, or that of a copy. */
  private static synchronized SymbolLookup load(Path library) throws KernelException {
    try {
      Path real = library.toRealPath();
      if (LOADED.add(real)) {
        return SymbolLookup.libraryLookup(real, Arena.global());
      }
      Path copy = Files.createTempFile("outboard-kernel", ".so");
      try {
        Files.copy(real, copy, StandardCopyOption.REPLACE_EXISTING);
        return SymbolLookup.libraryLookup(copy, Arena.global());
      } finally {
        Files.delete(copy);
      }
    } catch (IOException | IllegalArgumentException e) {
      throw new KernelException("Cannot load the library kernel " + library, e);
    }
  }

  /** The release of this kernel, as {@code uname -r} gives it. */
  public String release() {
    return release;
  }

  /**
   * The kernel's own memory, for virtual devices. Whoever writes to it can break the kernel.
   *
   * @return the segment, which lives until {@link #close}
   */
  public MemorySegment ram() {
    return ram;
  }

  /**
   * The memory that system calls may point to: always mapped, zero at first, directly behind {@link
   * #ram}.
   *
   * @return the segment, which lives until {@link #close}
   */
  public MemorySegment userRegion() {
    return userRegion;
  }

  /**
   * Puts the first {@code bytes} of a memfd, shared, in the place of that part of the user region.
   * The memfd must be at least as long and sealed with {@code F_SEAL_SHRINK}; it may be closed
   * afterwards. No call may be using that part.
   *
   * @param offset from the start of the region, a multiple of the page size
   * @param bytes a multiple of the page size
   * @return 0, or {@code -EPERM} if the memfd could shrink, {@code -EINVAL}, {@code -ENOMEM}
   */
  public int mapWindow(long offset, long bytes, int fd) {
    return mapWindow.callInt(offset, bytes, fd);
  }

  /**
   * Puts private, zeroed memory back into a part of the user region. No call may be using it.
   *
   * @return 0, or {@code -errno}
   */
  public int unmapWindow(long offset, long bytes) {
    return unmapWindow.callInt(offset, bytes);
  }

  /**
   * Makes the calling thread a task. Its credentials are root's, for it to change by its own calls.
   *
   * <p>A thread that ends without {@link #leaveTask} leaves then.
   *
   * @param likeTid the task whose open files, directories and namespaces it shares, whatever that
   *     task is doing; 0 with {@code ownFiles}
   * @param ownFiles start with an empty file table, in the first namespaces
   * @return the task's thread id, or {@code -EBUSY} if this thread is a task, {@code -ESRCH} if
   *     there is no such task, {@code -EAGAIN} or {@code -ENOMEM} at a limit, {@code -ENODEV} when
   *     the kernel is closing
   */
  public int enterTask(int likeTid, boolean ownFiles) {
    return taskEnter.callInt(likeTid, ownFiles ? OWN_FILES : 0);
  }

  /** Ends the calling thread's task, if it is one. */
  public void leaveTask() {
    taskLeave.callInt();
  }

  /** How many threads are tasks. */
  public int tasks() {
    return tasks.callInt();
  }

  /**
   * Makes a system call as the calling thread's task. Blocks as the call does.
   *
   * @param number of the asm-generic ABI
   * @return what the kernel returned. After {@link #interrupt} that can be {@code -ERESTARTSYS} or
   *     {@code -ERESTARTNOHAND}. {@code -ESRCH} also means that this thread is no task, {@code
   *     -ENODEV} that the kernel is closing.
   */
  public long syscall(int number, long a0, long a1, long a2, long a3, long a4, long a5) {
    return syscall.call(number, a0, a1, a2, a3, a4, a5);
  }

  /**
   * The number of the call that a task is in.
   *
   * @return an odd number while a call is in progress, an even one between calls or if there is no
   *     such task
   */
  public int callNumber(int tid) {
    return call.callInt(tid);
  }

  /**
   * Ends the sleep of the call that a task is in now, as a signal would. A task that is in no call
   * is left alone, and so is its next call. A call that has not reached the kernel yet counts as
   * none: repeat until it is over.
   *
   * @return true if there was a call to interrupt
   */
  public boolean interrupt(int tid) {
    return interruptCall(tid, 0);
  }

  /**
   * The same for one call only: {@code number} is what {@link #callNumber} said when the caller
   * knew which call it was.
   */
  public boolean interruptCall(int tid, int number) {
    return interrupt.callInt(tid, number) == 1;
  }

  /**
   * Raises an interrupt line, {@value #FIRST_LINE} to {@value #LAST_LINE}. Its handler, and what
   * follows of it, may run on the calling thread.
   */
  public void raiseInterrupt(int line) {
    int r = raiseIrq.callInt(line);
    if (r == -Errno.EINVAL) {
      throw new IllegalArgumentException("interrupt line " + line);
    }
  }

  /**
   * Makes the calling thread keep kicks for virtual devices, as the {@code struct obk_kicks} of
   * {@code outboard_kernel.h} at that address says; 0 ends it. What lies there must stay until
   * then, or until the thread has ended.
   */
  public void keepKicks(long address) {
    keepKicks.callInt(address);
  }

  /**
   * Gives the kernel a virtual device: a page of registers, with a device behind it that answers
   * already ({@code obk_virtio_register} of {@code outboard_kernel.h}). Called by a thread that is
   * a task; the driver has been probed when it returns.
   *
   * @param pageAddress the device's registers, which stay until {@link #close} has returned, as do
   *     the eventfds that they name
   * @return 0, or {@code -EINVAL}, {@code -EBUSY} if the line is taken, {@code -ENODEV} if no
   *     driver takes the device, {@code -ESRCH} if this thread is no task
   */
  public long registerVirtioDevice(long pageAddress) {
    return virtioRegister.call(pageAddress);
  }

  /**
   * Halts the kernel: calls in progress are interrupted, new ones get {@code -ENODEV}, its threads
   * are joined, its memory and the segments given out end. Devices must be quiet by now: nobody may
   * be in {@link #raiseInterrupt}. Waits at most five seconds for calls to end.
   *
   * @throws IllegalStateException if a call does not end; the kernel is unusable, but stays
   */
  @Override
  public synchronized void close() {
    if (closed) {
      return;
    }
    int r = halt.callInt();
    if (r != 0) {
      throw new IllegalStateException("The library kernel does not halt: " + Errno.name(-r));
    }
    closed = true;
    arena.close();
    console.close();
  }

  private MemorySegment segment(long address, long bytes) {
    return MemorySegment.ofAddress(address).reinterpret(bytes, arena, null);
  }

  private static CFunction symbol(SymbolLookup image, String name) throws KernelException {
    return image
        .find(name)
        .map(CFunction::new)
        .orElseThrow(() -> new KernelException("The library kernel has no " + name + ": rebuild"));
  }
}
