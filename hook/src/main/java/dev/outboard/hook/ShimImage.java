// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.HashMap;
import java.util.Map;

/**
 * What is mapped into a program that was executed, and into all processes forked from it since: the
 * pointers, the stubs and the shim's text. The text of each such process has patches of its own,
 * which lead to stubs that they share; a stub, once there, never changes.
 *
 * <p>Counted: closed when the last process is gone. Any thread may call everything.
 */
final class ShimImage {
  private record Site(long back, int number) {}

  private final ShimFile file = new ShimFile("outboard-shim", ShimLayout.FILE_BYTES);
  private final long number;
  private final long slow;
  private final Map<Site, Integer> stubs = new HashMap<>();
  private int users = 1;
  private boolean closedToChildren;

  /**
   * @param number tells it from all others of the session; the processes that have it can be asked
   */
  ShimImage(ShimBlob blob, long number) {
    this.number = number;
    file.memory().set(ValueLayout.JAVA_LONG, ShimLayout.IMAGE_NUMBER - ShimLayout.BASE, number);
    MemorySegment.copy(
        blob.bytes(),
        0,
        file.memory(),
        ValueLayout.JAVA_BYTE,
        ShimLayout.TEXT - ShimLayout.BASE,
        blob.bytes().length);
    slow = ShimLayout.TEXT + blob.slow();
    try {
      // Processes forked from one that has it share it, and some have fewer rights than others.
      file.makeReadOnly();
    } catch (IllegalStateException e) {
      file.close();
      throw e;
    }
  }

  /** A descriptor of it, to be given to the program that maps it. */
  int fd() {
    return file.fd();
  }

  /** The program has it: those forked from it will have its mapping. */
  synchronized void given() {
    file.closeDescriptor();
  }

  synchronized ShimImage retain() {
    users++;
    return this;
  }

  /** Ends one use; true if it was the last. */
  synchronized boolean release() {
    if (--users == 0) {
      file.close();
      return true;
    }
    return false;
  }

  long number() {
    return number;
  }

  /** No process forked from now on gets a table: one has a seccomp filter of its own. */
  synchronized void closeToChildren() {
    closedToChildren = true;
  }

  synchronized boolean closedToChildren() {
    return closedToChildren;
  }

  /**
   * The pointer that leads to a site's stub, which is made if need be.
   *
   * @return its index, or -1 if there are too many
   */
  synchronized int pointer(PatchSite.Kind kind, int number, long back) {
    Site site = new Site(back, number);
    Integer known = stubs.get(site);
    if (known != null) {
      return known;
    }
    int index = stubs.size();
    if (index >= ShimLayout.MAX_STUBS) {
      return -1;
    }
    long stub = ShimLayout.STUBS + (long) index * ShimLayout.STUB_BYTES;
    byte[] code = PatchSite.stub(kind, number, stub, slow, back);
    MemorySegment.copy(
        code, 0, file.memory(), ValueLayout.JAVA_BYTE, stub - ShimLayout.BASE, code.length);
    file.memory().set(ValueLayout.JAVA_LONG, (long) index * ShimLayout.POINTER_BYTES, stub);
    stubs.put(site, index);
    return index;
  }
}
