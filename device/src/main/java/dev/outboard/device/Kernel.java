// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Architecture;
import dev.outboard.virtio.KeptKicks;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * The kernel that executes the program's calls: the library kernel, or the one of the device's own
 * machine. One suite of tests runs on both; what differs between them is a bug.
 *
 * <p>A <i>task</i> is what stands in that kernel for a program thread. A platform thread enters
 * one, makes calls as it, and leaves it; the kernel knows the task by the thread, so a thread has
 * at most one. Unless stated otherwise methods may be called by any platform thread; {@link
 * #syscall} only by one that has a task.
 *
 * <p>Every pointer in a call must lie in memory that {@link #allocate} or {@link #map} gave.
 */
interface Kernel extends AutoCloseable {
  /** What kind it is, as on the command line: {@code library} or {@code host}. */
  String kind();

  /**
   * Whose flags and structures its calls take; {@link Architecture#X86_64} if they are canonical.
   */
  Architecture abi();

  /** {@code uname -r}. */
  String release();

  /** {@code uname -srvm}. */
  String system();

  /**
   * Makes the calling thread a new task.
   *
   * @param likeTid the task whose descriptors and namespaces it shares, 0 for the kernel's first
   * @param ownFiles whether it gets an empty table of descriptors instead; where the kernel has
   *     only one table for all tasks this is ignored, and {@link Handles} keeps sessions apart
   * @return the task's id, greater than 0, or {@code -errno}
   */
  int enterTask(int likeTid, boolean ownFiles);

  /** Ends the calling thread's task. */
  void leaveTask();

  /**
   * Makes a system call as the calling thread's task.
   *
   * @param number canonical
   * @return the result or {@code -errno}; when the task was interrupted, one of the kernel's
   *     restart codes or {@code -EINTR}
   */
  long syscall(int number, long a0, long a1, long a2, long a3, long a4, long a5);

  /**
   * Sees to it that a regular file which the calling thread's task has just opened by openat(2) or
   * openat2(2) is found as it is now. To be called for each but those that were opened with O_PATH,
   * before anything is done with it.
   *
   * @param scratch memory from {@link #allocate} or {@link #map}, which nobody else writes
   * @param status where in it is what statx(2) has just said of the file, with AT_STATX_DONT_SYNC,
   *     and afterwards what it would say
   * @param at where in it are {@link #OPENED_BYTES} that are free
   * @return 0, or {@code -errno} with which the open ends: nobody may use the descriptor then
   */
  default long opened(int fd, MemorySegment scratch, long status, long at) {
    return 0;
  }

  /** Bytes of memory that {@link #opened} needs. */
  int OPENED_BYTES = ExportOpens.SCRATCH_BYTES;

  /**
   * Makes the task's blocking call return. It may miss a call that is about to start, so the caller
   * repeats it until the call is out.
   */
  void interrupt(int tid);

  /**
   * What a call that was interrupted is to return to the program's kernel.
   *
   * @param result what {@link #syscall} returned
   * @param number the call
   * @param handle its descriptor, or -1
   * @param scratch at least 32 bytes of the calling thread's memory, from {@link #allocate}
   */
  long interrupted(long result, int number, int handle, MemorySegment scratch);

  /**
   * Forgets an interruption that came after the call which it was for. Called by the interrupted
   * thread between two calls.
   */
  void settle();

  /**
   * Lets the calling thread send itself what its calls hand to the kernel's network card. It closes
   * the answer before it ends.
   *
   * @return null if that is the kernel's own affair, or there is no card
   */
  default @Nullable KeptKicks keepKicks() {
    return null;
  }

  /** Where {@link #allocate} takes its memory from. */
  Blocks blocks();

  /**
   * Zeroed memory for one thread's own structures, {@link #BLOCK_BYTES} long; never visible to a
   * host.
   *
   * @return null if there is none left
   */
  default @Nullable MemorySegment allocate() {
    return blocks().take();
  }

  /** Gives back what {@link #allocate} gave. */
  default void free(MemorySegment block) {
    blocks().give(block);
  }

  /** The bytes that {@link #allocate} gives. */
  long BLOCK_BYTES = 24 * 1024;

  /**
   * Maps a session's shared memory so that pointers into it can be used in calls.
   *
   * @param fd a sealed memfd; stays the caller's
   * @return null if there is no room
   */
  @Nullable Window map(int fd, long bytes);

  /** A session's shared memory in this process. */
  interface Window extends AutoCloseable {
    MemorySegment memory();

    /** Unmaps it. No call that points into it may be under way or start. */
    @Override
    void close();
  }

  /** Groups that a session's tasks are in; null if what sessions use is not counted apart. */
  default @Nullable MemoryGroups memoryGroups() {
    return null;
  }

  /** Whether a session has a table of descriptors to itself, with limits of its own. */
  boolean ownsDescriptorTable();

  /** Whether tasks may take on any credentials: the kernel is ours, or we are its superuser. */
  boolean privileged();

  /** Ends the kernel. No task may be left. */
  @Override
  void close();
}
