// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What is mapped into a program that was executed, and into all processes forked from it since: the
 * pointers, the stubs and the shim's text. The text of each such process has patches of its own,
 * which lead to stubs that they share; a stub, once there, never changes.
 *
 * <p>Counted: closed when the last process is gone. Any thread may call everything.
 */
final class ShimImage {
  private record Site(long back, int number) {}

  /** What was written, and what undoes it. */
  record Patch(PatchSite.Write done, PatchSite.Write undone) {}

  private final ShimFile file = new ShimFile("outboard-shim", ShimLayout.FILE_BYTES);
  private final long number;
  private final long slow;
  private final long special;
  private final Map<Site, Integer> stubs = new HashMap<>();
  private final Set<Long> pages = new HashSet<>();
  private final Map<Long, Patch> patches = new HashMap<>();

  /** The place that has the pointer of {@link PatchSite#XOR_POINTER}; 0 for none. */
  private long reloads;

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
    special = ShimLayout.TEXT + blob.special();
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
   * @param code the site's, as {@link PatchSite#patch} looks at it
   * @return its index, or -1 if there are too many, or if there is one for other code at this place
   */
  synchronized int pointer(PatchSite.Kind kind, byte[] code, int number, long back) {
    Site site = new Site(back, number);
    Integer known = stubs.get(site);
    int index = known == null ? stubs.size() : known;
    boolean reload = PatchSite.isReload(code, number);
    if (known == null && (index >= ShimLayout.MAX_STUBS || (reload && reloads != 0))) {
      return -1;
    }
    long stub = ShimLayout.STUBS + (long) index * ShimLayout.STUB_BYTES;
    boolean asks = kind == PatchSite.Kind.ASK;
    byte[] text = PatchSite.stub(kind, number, code, stub, asks ? special : slow, back);
    MemorySegment place = file.memory().asSlice(stub - ShimLayout.BASE, text.length);
    if (known != null) {
      // It goes by the code of the one that came first, and processes with other rights share it.
      return place.mismatch(MemorySegment.ofArray(text)) < 0 ? known : -1;
    }
    place.copyFrom(MemorySegment.ofArray(text));
    file.memory().set(ValueLayout.JAVA_LONG, (long) index * ShimLayout.POINTER_BYTES, stub);
    if (reload) {
      reloads = back;
      long at = PatchSite.XOR_POINTER - ShimLayout.BASE;
      file.memory().set(ValueLayout.JAVA_LONG_UNALIGNED, at, stub);
    }
    stubs.put(site, index);
    return index;
  }

  /** Notes what a place's patch has changed: it may have to be undone. */
  synchronized void patched(List<PatchSite.Write> writes, byte[] code, long back) {
    for (PatchSite.Write w : writes) {
      int at = (int) (w.address() - back) + PatchSite.BEFORE_BYTES;
      byte[] was = Arrays.copyOfRange(code, at, at + w.bytes().length);
      patches.put(w.address(), new Patch(w, new PatchSite.Write(w.address(), was)));
    }
  }

  /** What was patched in any of the processes that have the image. */
  synchronized List<Patch> patches() {
    return List.copyOf(patches.values());
  }

  /** The same of one page; of some only a part may lie in it. */
  synchronized List<Patch> patchesOf(long page) {
    List<Patch> of = new ArrayList<>();
    for (Patch p : patches.values()) {
      long at = p.done().address();
      if (at < page + KnownPlaces.PAGE_BYTES && at + p.done().bytes().length > page) {
        of.add(p);
      }
    }
    return of;
  }

  /** The code of the stub at an address. */
  byte[] stub(long address) {
    byte[] code = new byte[ShimLayout.STUB_BYTES];
    MemorySegment.copy(
        file.memory(), ValueLayout.JAVA_BYTE, address - ShimLayout.BASE, code, 0, code.length);
    return code;
  }

  /** Notes that a page of the program's text was replaced by a patched copy in its own memory. */
  synchronized void replaced(long page) {
    pages.add(page);
  }

  /** Whether that was done in one of the processes that have the image. */
  synchronized boolean hasReplaced(long page) {
    return pages.contains(page);
  }
}
