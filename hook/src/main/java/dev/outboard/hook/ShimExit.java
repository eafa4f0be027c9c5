// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.posix.Processes;
import dev.outboard.posix.Uninterrupted;
import java.io.File;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * Brings the threads of a process out of its stubs, after its text has become what it was: each
 * goes on where it would be without the shim. For who unwinds the stack of a thread finds no
 * function there.
 *
 * <p>Threads that sleep elsewhere are left alone. One that runs, or stands in a stub, is stopped by
 * {@code ptrace(2)} for the moment. What it does in {@code device.c} it ends first, as that takes
 * no longer than the device does. One that waits there to send the rest of something is told that
 * its wait was interrupted ({@link ShimState#leaving}), and returns to the program what was sent: a
 * short count, as if a handler had run.
 *
 * <p>All of it happens on a thread of its own, at whose end the kernel lets go of all that are
 * traced, stopped or not.
 */
final class ShimExit {
  // struct user_regs_struct of x86-64.
  private static final int REGISTERS_BYTES = 27 * 8;
  private static final int RAX = 10 * 8;
  private static final int RDI = 14 * 8;
  private static final int ORIGINAL_RAX = 15 * 8;
  private static final int RIP = 16 * 8;

  private static final int SYSCALL_BYTES = 2;
  private static final long LOOK_NANOS = 50_000;
  private static final long STOP_NANOS = TimeUnit.MILLISECONDS.toNanos(50);
  private static final long TEXT_NANOS = TimeUnit.SECONDS.toNanos(2);
  private static final long HURRY_NANOS = TimeUnit.MILLISECONDS.toNanos(2);

  /** A thread that has no processor cannot stop. */
  private static final long PATIENCE_NANOS = TimeUnit.SECONDS.toNanos(5);

  /** Ends the waits of threads that have trapped. */
  interface Interruption {
    /** Interrupts the device call of a thread of the process, if it makes one. */
    void interrupt(int tid);
  }

  private final ProcessEntry process;
  private final Interruption interruption;
  private final ShimImage image;
  private final @Nullable ShimTable table;
  private final MemorySegment registers;
  private final MemorySegment info;
  private final TaskStatus status;
  private final Arena arena;
  private long started;
  private final Map<Integer, Long> hurried = new HashMap<>();

  private ShimExit(
      ProcessEntry p,
      ShimImage image,
      @Nullable ShimTable table,
      Interruption interruption,
      Arena a) {
    this.process = p;
    this.interruption = interruption;
    this.image = image;
    this.table = table;
    this.registers = a.allocate(REGISTERS_BYTES, 8);
    this.info = a.allocate(Processes.SIGINFO_BYTES, 8);
    this.status = new TaskStatus(a);
    this.arena = a;
  }

  /**
   * Brings all threads out but one.
   *
   * @param table the process's, if it has one: closes that were begun are counted out
   * @param interruption ends waits in the shim
   * @param except a thread that is known to be elsewhere
   */
  static void all(
      ProcessEntry p,
      ShimImage image,
      @Nullable ShimTable table,
      Interruption interruption,
      int except) {
    Thread t =
        Thread.ofPlatform()
            .name("outboard-exit")
            .start(() -> {
              try (Arena a = Arena.ofConfined()) {
                new ShimExit(p, image, table, interruption, a).run(except);
              }
            });
    Uninterrupted.join(t);
  }

  private void run(int except) {
    started = System.nanoTime();
    List<Integer> left = new ArrayList<>();
    String @Nullable [] tids = new File("/proc/" + process.pid() + "/task").list();
    for (String tid : tids == null ? new String[0] : tids) {
      left.add(Integer.parseInt(tid));
    }
    left.removeIf(tid -> tid == except);
    // New threads begin elsewhere, and the text that they run has no patch.
    while (!left.isEmpty() && System.nanoTime() - started < PATIENCE_NANOS) {
      left.removeIf(this::isOut);
      if (!left.isEmpty()) {
        LockSupport.parkNanos(LOOK_NANOS);
      }
    }
  }

  /** Whether the thread is out of the shim now, or gone. */
  private boolean isOut(int tid) {
    long at = sleepsAt(tid);
    if (at != 0 && !isInShim(at)) {
      return true;
    }
    if (isInText(at)) {
      hurry(tid, at);
      return System.nanoTime() - started > TEXT_NANOS;
    }
    if (Processes.ptrace(Processes.PTRACE_SEIZE, tid, 0, 0) < 0) {
      return at == 0; // It is gone, or somebody else traces it, who sees what it does.
    }
    Processes.ptrace(Processes.PTRACE_INTERRUPT, tid, 0, 0);
    long deadline = System.nanoTime() + STOP_NANOS;
    while (Processes.ptrace(Processes.PTRACE_GETREGS, tid, 0, registers.address()) < 0) {
      long now = System.nanoTime();
      if (status.read(arena, tid) < 0
          || status.state == 'Z'
          || (status.state == 'D' && now > deadline)
          || now - started > PATIENCE_NANOS) {
        return true; // It is gone; or it waits in a notification, and traps again.
      }
      LockSupport.parkNanos(LOOK_NANOS);
    }
    long rip = registers.get(ValueLayout.JAVA_LONG, RIP);
    boolean inStub = rip >= ShimLayout.STUBS && rip < ShimLayout.TEXT;
    boolean changed = inStub && leaveStub(rip);
    changed |= restart(tid);
    if (changed) {
      Processes.ptrace(Processes.PTRACE_SETREGS, tid, 0, registers.address());
    }
    Processes.detach(tid, info);
    return !isInText(rip);
  }

  /** A thread that waits in a trap of the shim's own waits no longer. */
  private void hurry(int tid, long at) {
    long now = System.nanoTime();
    Long last = hurried.get(tid);
    if (at > ShimLayout.GATE && (last == null || now - last > HURRY_NANOS)) {
      hurried.put(tid, now);
      interruption.interrupt(tid);
    }
  }

  /** Puts the thread where it would be without the stub. */
  private boolean leaveStub(long rip) {
    long stub =
        ShimLayout.STUBS + (rip - ShimLayout.STUBS) / ShimLayout.STUB_BYTES * ShimLayout.STUB_BYTES;
    byte[] code = image.stub(stub);
    PatchSite.Progress progress = PatchSite.progress(code, (int) (rip - stub));
    long back = PatchSite.back(code);
    if (progress == PatchSite.Progress.COUNTED_IN
        || progress == PatchSite.Progress.COUNTED_OUT_NEXT) {
      ShimTable t = table;
      if (t != null) {
        t.countOut((int) registers.get(ValueLayout.JAVA_LONG, RDI));
      }
    }
    if (progress == PatchSite.Progress.NOT_BEGUN) {
      registers.set(ValueLayout.JAVA_LONG, RIP, PatchSite.replaced(code));
    } else if (progress == PatchSite.Progress.BEFORE || progress == PatchSite.Progress.COUNTED_IN) {
      registers.set(ValueLayout.JAVA_LONG, RAX, PatchSite.number(code));
      registers.set(ValueLayout.JAVA_LONG, ORIGINAL_RAX, -1);
      registers.set(ValueLayout.JAVA_LONG, RIP, back - SYSCALL_BYTES);
    } else {
      // If its call is to be restarted, it will be by the place's own `syscall`.
      registers.set(ValueLayout.JAVA_LONG, RIP, back);
    }
    return true;
  }

  /** A call that ended early for this stop, and would not be restarted by the kernel, is. */
  private boolean restart(int tid) {
    long number = registers.get(ValueLayout.JAVA_LONG, ORIGINAL_RAX);
    if (number < 0
        || registers.get(ValueLayout.JAVA_LONG, RAX) != -Errno.EINTR
        || Processes.stoppedFor(tid, info) != 0
        || status.read(arena, tid) < 0
        || ((status.pending | status.sharedPending) & ~status.blocked) != 0) {
      return false;
    }
    registers.set(ValueLayout.JAVA_LONG, RAX, number);
    registers.set(ValueLayout.JAVA_LONG, ORIGINAL_RAX, -1);
    registers.set(
        ValueLayout.JAVA_LONG, RIP, registers.get(ValueLayout.JAVA_LONG, RIP) - SYSCALL_BYTES);
    return true;
  }

  private static boolean isInShim(long address) {
    return address >= ShimLayout.STUBS && address < ShimLayout.GATE_END;
  }

  private static boolean isInText(long address) {
    return address >= ShimLayout.TEXT && address < ShimLayout.GATE_END;
  }

  /** The address behind the call in which the thread sleeps; 0 if it does not, or is gone. */
  private long sleepsAt(int tid) {
    try {
      String line =
          Files.readString(Path.of("/proc/" + process.pid() + "/task/" + tid + "/syscall")).strip();
      int last = line.lastIndexOf(' ');
      // "running", or the call's number, its arguments, the stack and the instruction pointer.
      return last < 0 ? 0 : Long.parseUnsignedLong(line.substring(last + 3), 16);
    } catch (IOException e) {
      return 0;
    }
  }
}
