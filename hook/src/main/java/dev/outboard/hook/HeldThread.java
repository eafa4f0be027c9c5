// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Processes;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * Makes a thread of the program that waits in a notification carry out other calls than the one
 * that it made, by {@code ptrace(2)}.
 *
 * <p>The thread is seized and interrupted, so that it stops when it has been answered, before an
 * instruction of the program's runs; signals wait. With its registers changed it goes back to the
 * {@code syscall} that it came from, once for each call. In the end registers and signal mask are
 * as they were, but for the result ({@link #finish}), or the thread makes its own call, as if
 * nothing had been ({@link #again}). Nothing is written to its stack or its code. Calls that it
 * makes here may trap, and are let through ({@link ThreadEntry#held}).
 *
 * <p>ptrace obeys one thread: the one that calls, from {@link #seize} to the end. It must hold no
 * lock that serving another notification needs.
 */
final class HeldThread {
  /** No result: the thread is gone, or cannot be brought to make the call. */
  static final long GONE = Long.MIN_VALUE;

  // struct user_regs_struct of x86-64.
  private static final int REGISTERS_BYTES = 27 * 8;
  private static final int RAX = 10 * 8;
  private static final int ORIGINAL_RAX = 15 * 8;
  private static final int RIP = 16 * 8;
  private static final int RSP = 19 * 8;

  /** Where the registers of a call's arguments are, in their order: rdi, rsi, rdx, r10, r8, r9. */
  private static final int[] ARGUMENTS = {14 * 8, 13 * 8, 12 * 8, 7 * 8, 9 * 8, 8 * 8};

  private static final int SYSCALL_BYTES = 2;
  private static final int MASK_BYTES = 8;
  private static final int INFO_BYTES = 88;
  private static final int INFO_EXIT = 2;

  /** A call's entry, its end, and a few stops for what cannot be held back (SIGSTOP). */
  private static final int MOST_STOPS = 64;

  /** Mostly it has stopped after some microseconds; to sleep takes longer. */
  private static final int SPINS = 64;

  private static final long LOOK_NANOS = 20_000;
  private static final long PATIENCE_NANOS = TimeUnit.SECONDS.toNanos(10);

  private final Notification n;
  private int tid;
  private final MemorySegment before;
  private final MemorySegment registers;
  private final MemorySegment mask;
  private final MemorySegment info;
  private boolean stopDue;
  private boolean gone;

  /** Where the {@code syscall} is by which calls are made; 0 for the one that has trapped. */
  private long instruction;

  /** It may be in a call that replaces the program, and gives it the first thread's number. */
  private boolean executes;

  private HeldThread(Notification n, Arena a) {
    this.n = n;
    this.tid = n.tid();
    this.before = a.allocate(REGISTERS_BYTES, 8);
    this.registers = a.allocate(REGISTERS_BYTES, 8);
    this.mask = a.allocate(2 * MASK_BYTES, 8);
    this.info = a.allocate(Processes.SIGINFO_BYTES, 8);
  }

  /**
   * Takes hold of the notification's thread, which waits on; {@link #begin} or {@link #refuse} must
   * follow.
   *
   * @return null if the thread cannot be traced: then nothing is done
   */
  static @Nullable HeldThread seize(Notification n, Arena a) {
    n.willBlock();
    // Without that option a call's end cannot be told from other stops.
    int tid = n.tid();
    if (Processes.ptrace(Processes.PTRACE_SEIZE, tid, 0, Processes.PTRACE_O_TRACESYSGOOD) < 0) {
      return null;
    }
    // From here on the thread must be let go, and for that it has to stop.
    Processes.ptrace(Processes.PTRACE_INTERRUPT, tid, 0, 0);
    n.thread().held = true;
    return new HeldThread(n, a);
  }

  /** Answers the notification with an error instead of holding its thread, which is let go. */
  void refuse(long error) {
    n.answer(error);
    if (stopped(before)) {
      release();
    } else {
      n.thread().held = false;
    }
  }

  /**
   * Answers the notification, and has the thread stop.
   *
   * @return false if it is gone
   */
  boolean begin() {
    n.answerHeld();
    if (!stopped(before)) {
      n.thread().held = false;
      gone = true;
      return false;
    }
    Processes.ptrace(Processes.PTRACE_GETSIGMASK, tid, MASK_BYTES, mask.address());
    mask.set(ValueLayout.JAVA_LONG, MASK_BYTES, -1);
    Processes.ptrace(Processes.PTRACE_SETSIGMASK, tid, MASK_BYTES, mask.address() + MASK_BYTES);
    return true;
  }

  /**
   * Has the thread make a call.
   *
   * @param arguments at most six; the others are the trapped call's own
   * @return its result, {@code -errno}, or {@link #GONE}: then the thread is let go, and nothing
   *     that follows has an effect
   */
  long call(int number, long... arguments) {
    if (gone) {
      return GONE;
    }
    registers.copyFrom(before);
    for (int i = 0; i < arguments.length; i++) {
      registers.set(ValueLayout.JAVA_LONG, ARGUMENTS[i], arguments[i]);
    }
    gone = !make(number);
    return gone ? GONE : registers.get(ValueLayout.JAVA_LONG, RAX);
  }

  /**
   * Has the thread execute a program.
   *
   * @return 0 if it does now: then it is stopped before the new program's first instruction, and is
   *     the process's only thread; {@code -errno}, or {@link #GONE}
   */
  long execute(int number, long... arguments) {
    executes = true;
    long r = call(number, arguments);
    executes = false;
    if (r == 0) {
      n.process().held = true;
      before.copyFrom(registers);
    }
    return r;
  }

  /** Whether it waits for what comes next: it has not been killed. */
  boolean isStopped() {
    return !gone && Processes.ptrace(Processes.PTRACE_GETREGS, tid, 0, registers.address()) == 0;
  }

  /** Of a thread that has begun a program: the address of its first instruction. */
  long entry() {
    return before.get(ValueLayout.JAVA_LONG, RIP);
  }

  /** Of a thread that has begun a program: its stack pointer. */
  long stack() {
    return before.get(ValueLayout.JAVA_LONG, RSP);
  }

  /** Of a thread that has begun a program: the stack pointer that it is to go on with. */
  void stack(long address) {
    before.set(ValueLayout.JAVA_LONG, RSP, address);
  }

  /** Calls are made by the {@code syscall} instruction that is there, from now on. */
  void callAt(long address) {
    instruction = address;
  }

  /** Lets the thread go on with a result of the call that had trapped. */
  void finish(long result) {
    before.set(ValueLayout.JAVA_LONG, RAX, result);
    letGo();
  }

  /** Lets the thread make the call that had trapped, as if for the first time. */
  void again() {
    before.set(ValueLayout.JAVA_LONG, RAX, n.nr());
    before.set(ValueLayout.JAVA_LONG, RIP, before.get(ValueLayout.JAVA_LONG, RIP) - SYSCALL_BYTES);
    letGo();
  }

  /**
   * Carries out the {@code mmap} of the notification on the start of {@code fd}, and answers it.
   *
   * @param fd a descriptor of the hook's
   * @return false if the thread cannot be traced: then nothing is done, and nothing answered
   */
  static boolean map(Notification n, int fd) {
    try (Arena a = Arena.ofConfined()) {
      HeldThread t = seize(n, a);
      if (t == null) {
        return false;
      }
      long number = n.addFd(fd, Fcntl.O_CLOEXEC);
      if (number < 0) {
        t.refuse(number == -Errno.EMFILE ? -Errno.ENOMEM : -Errno.EINTR);
        return true;
      }
      if (!t.begin()) {
        return true;
      }
      long[] own = n.args();
      long result = t.call(SyscallNumbers.MMAP, own[0], own[1], own[2], own[3], number, 0);
      if (result != GONE && t.call(SyscallNumbers.CLOSE, number) != GONE) {
        n.heldResult(result);
        t.finish(result);
      }
      return true;
    }
  }

  private void letGo() {
    if (gone) {
      return;
    }
    before.set(ValueLayout.JAVA_LONG, ORIGINAL_RAX, -1); // nothing is to be restarted
    Processes.ptrace(Processes.PTRACE_SETREGS, tid, 0, before.address());
    Processes.ptrace(Processes.PTRACE_SETSIGMASK, tid, MASK_BYTES, mask.address());
    release();
  }

  /** Makes a call with the arguments in {@link #registers}, which are the thread's afterwards. */
  private boolean make(int number) {
    registers.set(ValueLayout.JAVA_LONG, RAX, number);
    registers.set(ValueLayout.JAVA_LONG, ORIGINAL_RAX, -1);
    registers.set(
        ValueLayout.JAVA_LONG,
        RIP,
        instruction != 0 ? instruction : before.get(ValueLayout.JAVA_LONG, RIP) - SYSCALL_BYTES);
    Processes.ptrace(Processes.PTRACE_SETREGS, tid, 0, registers.address());
    for (int i = 0; i < MOST_STOPS; i++) {
      Processes.ptrace(Processes.PTRACE_SYSCALL, tid, 0, 0);
      if (!stopped(registers)) {
        free();
        return false;
      }
      long r = Processes.ptrace(Processes.PTRACE_GET_SYSCALL_INFO, tid, INFO_BYTES, info.address());
      if (r > 0 && info.get(ValueLayout.JAVA_BYTE, 0) == INFO_EXIT) {
        return true;
      }
      if (Processes.ptrace(Processes.PTRACE_GETSIGINFO, tid, 0, info.address()) == 0) {
        stopDue |= info.get(ValueLayout.JAVA_INT, 0) == Processes.SIG_STOP;
      }
    }
    // Something stops it again and again. It has not made the call, and makes its own.
    again();
    return false;
  }

  /** Waits until the thread has stopped, and reads its registers; false if it is gone. */
  @SuppressWarnings(
      "ThreadPriorityCheck") // It yields to that thread, if there is no other processor.
  private boolean stopped(MemorySegment into) {
    // Not by wait(2): whoever waits for the program's first process takes its stops.
    for (int i = 0; i < SPINS; i++) {
      if (Processes.ptrace(Processes.PTRACE_GETREGS, tid, 0, into.address()) == 0) {
        return true;
      }
      Thread.yield();
    }
    long deadline = System.nanoTime() + PATIENCE_NANOS;
    while (Processes.ptrace(Processes.PTRACE_GETREGS, tid, 0, into.address()) < 0) {
      try (Arena a = Arena.ofConfined()) {
        TaskStatus status = new TaskStatus(a);
        long known = status.read(a, tid);
        if (known < 0 && executes && tid != n.process().pid()) {
          tid = n.process().pid();
          continue;
        }
        if (known < 0 || status.state == 'Z') {
          // A dead one stays until its tracer has seen its end; but the program's first process is
          // waited for by somebody else.
          if (tid != n.process().pid() || n.process().parentPid() != Processes.getpid()) {
            Processes.waitTask(tid, 0, Processes.WNOHANG);
          }
          return false;
        }
      }
      // What it executes may lie on a disk, or a file system that lets it wait for long.
      if (System.nanoTime() - deadline > 0 && !executes) {
        return false;
      }
      LockSupport.parkNanos(LOOK_NANOS);
    }
    return true;
  }

  private void free() {
    n.thread().held = false;
    n.process().held = false;
  }

  private void release() {
    free();
    Processes.ptrace(Processes.PTRACE_DETACH, tid, 0, 0);
    if (stopDue) {
      Processes.tgkill(n.process().pid(), tid, Processes.SIG_STOP);
    }
  }
}
