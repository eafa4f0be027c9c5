// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Memory;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.hook.KnownPlaces.Page;
import dev.outboard.hook.KnownPlaces.Place;
import dev.outboard.posix.Linux;
import dev.outboard.syscalls.SyscallTable;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Patches places in programs' texts as {@link PatchSite} has it, those that trap again and again
 * and those that are known from other programs, and undoes it. ADRs 0025, 0029 and 0056 argue it.
 *
 * <p>Notifier threads call it, each with the notification that it serves.
 */
final class TextPatches {
  private static final long PAGE_BYTES = KnownPlaces.PAGE_BYTES;
  private static final long READ_WRITE = Memory.PROT_READ | Memory.PROT_WRITE;
  private static final long READ_EXECUTE = Memory.PROT_READ | Memory.PROT_EXEC;
  private static final long ANONYMOUS = Memory.MAP_PRIVATE | Memory.MAP_ANONYMOUS;
  private static final int NO_FILE = -1;

  /** Calls with paths whose texts device.c looks at, wherever they stand, and one of no path. */
  private static final Set<Integer> OF_PATHS =
      Stream.of(
              """
              open openat stat lstat newfstatat statx access faccessat faccessat2
              readlink readlinkat mkdir mkdirat rmdir unlink unlinkat chmod fchmodat
              chown lchown fchownat creat mknod mknodat statfs truncate utime utimes
              futimesat utimensat symlink symlinkat rename renameat renameat2 link
              linkat getcwd
              """
                  .trim()
                  .split("\\s+", -1))
          .map(name -> SyscallTable.row(name).x86())
          .collect(Collectors.toUnmodifiableSet());

  /** When there are threads, after so many calls, as one of them has to be held for it. */
  private static final int HELD_HITS = 32;

  /** At which hits a place is tried: what stands in the way may be gone later. */
  private static boolean isTried(int hits) {
    return hits == 2 || (hits > 0 && hits % HELD_HITS == 0);
  }

  private final KnownPlaces places = new KnownPlaces();

  /** Patches the caller's place if it is time; whether its notification is answered. */
  boolean consider(Notification n, ProcessEntry p, ShimState s, long back) {
    PatchSite.Kind kind = kind(n);
    if (kind == null) {
      return false;
    }
    List<PatchSite.Write> writes;
    byte[] code;
    ShimImage image;
    synchronized (s) {
      int hits = s.sites.hit(back);
      boolean early = hits == 1 && ShimSwitches.KNOWN && places.isWorthwhile(back, n.nr());
      if ((!isTried(hits) && !early) || !mayPatch(p, s) || s.holding || s.execing) {
        return false;
      }
      if (n.nr() == SyscallNumbers.RECVMSG && !p.mayHoldDevice()) {
        return false; // Its first one has to be seen: device fds may come with it.
      }
      code = code(n, back);
      image = s.image;
      if (image == null || PatchSite.patch(code, n.nr(), back, 0).isEmpty()) {
        s.sites.done(back);
        return false;
      }
      try (Arena a = Arena.ofConfined()) {
        TaskStatus status = n.statusScratch();
        if (status.read(a, n.tid()) < 0
            || status.tracer != 0
            || (status.threads != 1 && (hits < HELD_HITS || s.phase != ShimState.Phase.ACTIVE))) {
          return false; // There is a later try.
        }
        if (status.threads == 1 && patchKnown(n, p, s, status.user)) {
          return false;
        }
        s.sites.done(back);
        int pointer = image.pointer(kind, code, n.nr(), back);
        if (pointer < 0) {
          return false;
        }
        writes = PatchSite.patch(code, n.nr(), back, pointer);
        image.patched(writes, code, back);
        if (status.threads == 1) {
          int memory = Shim.openMemory(a, p);
          if (memory >= 0) {
            learn(
                p,
                status.user,
                image,
                memory,
                new Place(KnownPlaces.offset(back), n.nr(), kind),
                back,
                a);
            write(memory, a, writes);
            Linux.close(memory);
          }
          return false;
        }
        s.holding = true;
      }
    }
    try {
      return replacePage(n, p, image, code, writes);
    } finally {
      Shim.held(s);
    }
  }

  /** Whether the shim is there, and a call by it would find a table or be given one. */
  private static boolean mayPatch(ProcessEntry p, ShimState s) {
    ShimImage image = s.image;
    return s.phase == ShimState.Phase.ACTIVE
        || (s.phase == ShimState.Phase.FORKED
            && image != null
            && !image.closedToChildren()
            && !p.isNeverCached());
  }

  /** What a call's place is patched for; null if it is to go on trapping. */
  private static PatchSite.@Nullable Kind kind(Notification n) {
    return switch (n.nr()) {
      case SyscallNumbers.CLOSE -> PatchSite.Kind.CLOSE;
      case SyscallNumbers.SENDFILE -> ShimSwitches.FILES ? PatchSite.Kind.ASK : null;
      case SyscallNumbers.POLL, SyscallNumbers.PSELECT6 ->
          ShimSwitches.LOOKS ? PatchSite.Kind.ASK : null;
      case SyscallNumbers.IOCTL,
          SyscallNumbers.FCNTL,
          SyscallNumbers.FSTAT,
          SyscallNumbers.NEWFSTATAT ->
          ShimSwitches.QUESTIONS || (ShimSwitches.PATHS && n.nr() == SyscallNumbers.NEWFSTATAT)
              ? PatchSite.Kind.ASK
              : null;
      case SyscallNumbers.RT_SIGACTION -> ShimSwitches.HANDLERS ? PatchSite.Kind.ASK : null;
      case SyscallNumbers.EPOLL_CTL -> ShimSwitches.SETS ? PatchSite.Kind.ASK : null;
      case SyscallNumbers.EPOLL_WAIT, SyscallNumbers.EPOLL_PWAIT ->
          ShimSwitches.SETS && ShimSwitches.WAITS ? PatchSite.Kind.ASK : null;
      default ->
          ShimSwitches.PATHS && OF_PATHS.contains(n.nr())
              ? PatchSite.Kind.ASK
              : n.row().passes() ? PatchSite.Kind.PASS : null;
    };
  }

  /**
   * Patches all places that are known of the text in which the caller traps, if it is known. The
   * process has one thread, and nobody traces it.
   *
   * @return whether the caller's place is one of them
   */
  private boolean patchKnown(Notification n, ProcessEntry p, ShimState s, int user) {
    long back = n.instructionPointer();
    ShimImage image = s.image;
    List<Page> candidates = ShimSwitches.KNOWN ? places.candidates(back, n.nr(), user) : List.of();
    if (image == null || candidates.isEmpty()) {
      return false;
    }
    long page = back & -PAGE_BYTES;
    try (Arena a = Arena.ofConfined()) {
      int memory = Shim.openMemory(a, p);
      if (memory < 0) {
        return false;
      }
      try {
        MemorySegment content = a.allocate(PAGE_BYTES, Long.BYTES);
        for (Page found : candidates) {
          if (isThere(found, image, memory, page, content)) {
            for (Page other : places.pages(found)) {
              long there = page - found.at() + other.at();
              if (isThere(other, image, memory, there, content)) {
                patchKnown(other, p, s, image, memory, there, content);
              }
            }
            return true;
          }
        }
        return false;
      } finally {
        Linux.close(memory);
      }
    }
  }

  /** Whether a page is there, but for what has been patched; {@code content} is room for it. */
  private static boolean isThere(
      Page page, ShimImage image, int memory, long address, MemorySegment content) {
    if (!Shim.readAll(memory, content, address)) {
      return false;
    }
    if (!page.is(content)) {
      restore(content, image.patchesOf(address), address);
    }
    return page.is(content);
  }

  private void patchKnown(
      Page page,
      ProcessEntry p,
      ShimState s,
      ShimImage image,
      int memory,
      long address,
      MemorySegment content) {
    List<PatchSite.Write> writes = new ArrayList<>();
    for (Place place : page.places()) {
      if (place.number() == SyscallNumbers.RECVMSG && !p.mayHoldDevice()) {
        continue;
      }
      long back = address + place.offset();
      byte[] code = place.code(page.content());
      int pointer = image.pointer(place.kind(), code, place.number(), back);
      if (pointer >= 0) {
        List<PatchSite.Write> of = PatchSite.patch(code, place.number(), back, pointer);
        image.patched(of, code, back);
        writes.addAll(of);
        s.sites.done(back);
      }
    }
    // What else is patched there stays.
    if (!writes.isEmpty() && Shim.readAll(memory, content, address)) {
      int[] span = KnownPlaces.apply(content, writes, address);
      Shim.writeAll(memory, content.asSlice(span[0], span[1] - span[0]), address + span[0]);
    }
  }

  /** Keeps a place that is about to be patched for processes to come. */
  private void learn(
      ProcessEntry p, int user, ShimImage image, int memory, Place place, long back, Arena a) {
    long page = back & -PAGE_BYTES;
    if (!ShimSwitches.KNOWN || !KnownPlaces.isWithinPage(back)) {
      return;
    }
    TextMapping text = TextMapping.of(p, page);
    MemorySegment content = a.allocate(PAGE_BYTES, Long.BYTES);
    if (text == null || !Shim.readAll(memory, content, page)) {
      return;
    }
    restore(content, image.patchesOf(page), page);
    byte[] bytes = content.toArray(ValueLayout.JAVA_BYTE);
    if (!PatchSite.isReload(place.code(bytes), place.number())) { // Of these an image has one.
      places.learn(user, text.file(), page - text.start() + text.offset(), bytes, place);
    }
  }

  private static void write(int memory, Arena a, List<PatchSite.Write> writes) {
    for (PatchSite.Write w : writes) {
      MemorySegment bytes = a.allocateFrom(ValueLayout.JAVA_BYTE, w.bytes());
      if (!Shim.writeAll(memory, bytes, w.address())) {
        return; // The later ones lead to the earlier.
      }
    }
  }

  /**
   * Has the caller put a patched copy of a page of its text in the page's place. {@code mremap}
   * does that between two instructions of any other thread: the kernel moves a page of running code
   * like this whenever it migrates one.
   */
  private static boolean replacePage(
      Notification n, ProcessEntry p, ShimImage image, byte[] code, List<PatchSite.Write> writes) {
    long back = n.instructionPointer();
    long page = (back - 1) & -PAGE_BYTES;
    for (PatchSite.Write w : writes) {
      if (w.address() < page || w.address() + w.bytes().length > page + PAGE_BYTES) {
        return false;
      }
    }
    if (!image.hasReplaced(page) && TextMapping.of(p, page) == null) {
      return false;
    }
    try (Arena a = Arena.ofConfined()) {
      int memory = Shim.openMemory(a, p);
      if (memory < 0) {
        return false;
      }
      HeldThread t = HeldThread.seize(n, a);
      if (t != null && t.begin()) {
        MemorySegment copy = a.allocate(PAGE_BYTES);
        if (Shim.readAll(memory, copy, page) && isThere(code, copy, back, page)) {
          for (PatchSite.Write w : writes) {
            w.to(copy, page);
          }
          if (replace(t, memory, copy, page)) {
            image.replaced(page);
          }
        }
        t.again();
      }
      Linux.close(memory);
      return t != null;
    }
  }

  /** Has the thread put what {@code copy} holds in a page's place. */
  private static boolean replace(HeldThread t, int memory, MemorySegment copy, long page) {
    long staging = t.call(SyscallNumbers.MMAP, 0, PAGE_BYTES, READ_WRITE, ANONYMOUS, NO_FILE, 0);
    if (staging <= 0) {
      return false;
    }
    boolean done =
        Shim.writeAll(memory, copy, staging)
            && t.call(SyscallNumbers.MPROTECT, staging, PAGE_BYTES, READ_EXECUTE) == 0
            && t.call(
                    SyscallNumbers.MREMAP,
                    staging,
                    PAGE_BYTES,
                    PAGE_BYTES,
                    Memory.MREMAP_MAYMOVE | Memory.MREMAP_FIXED,
                    page)
                == page;
    if (!done) {
      t.call(SyscallNumbers.MUNMAP, staging, PAGE_BYTES);
    }
    return done;
  }

  /** Whether the code that was judged is that of the copy, as far as that has it. */
  private static boolean isThere(byte[] code, MemorySegment copy, long back, long page) {
    for (int i = 0; i < code.length; i++) {
      long at = back - PatchSite.BEFORE_BYTES + i - page;
      if (at >= 0 && at < PAGE_BYTES && copy.get(ValueLayout.JAVA_BYTE, at) != code[i]) {
        return false;
      }
    }
    return true;
  }

  /** What {@link PatchSite#patch} looks at; zeros if it cannot be read. */
  private static byte[] code(Notification n, long back) {
    byte[] code = new byte[PatchSite.BEFORE_BYTES + PatchSite.AFTER_BYTES];
    MemorySegment scratch = n.statScratch();
    if (n.memory().read(back - PatchSite.BEFORE_BYTES, scratch, 0, code.length) == 0) {
      MemorySegment.copy(scratch, ValueLayout.JAVA_BYTE, 0, code, 0, code.length);
    }
    return code;
  }

  /** Has the caller bring its text into the state in which it was. */
  static boolean undo(Notification n, ProcessEntry p, ShimImage image) {
    Map<Long, List<ShimImage.Patch>> pages = new HashMap<>();
    for (ShimImage.Patch patch : image.patches()) {
      PatchSite.Write done = patch.done();
      long last = done.address() + done.bytes().length - 1 & -PAGE_BYTES;
      for (long page = done.address() & -PAGE_BYTES; page <= last; page += PAGE_BYTES) {
        pages.computeIfAbsent(page, x -> new ArrayList<>()).add(patch);
      }
    }
    List<TextMapping> texts = TextMapping.all(p);
    pages
        .keySet()
        .removeIf(
            page -> !image.hasReplaced(page) && texts.stream().noneMatch(m -> m.contains(page)));
    try (Arena a = Arena.ofConfined()) {
      int memory = Shim.openMemory(a, p);
      HeldThread t = memory < 0 || pages.isEmpty() ? null : HeldThread.seize(n, a);
      if (t != null && t.begin()) {
        pages.forEach((page, patches) -> {
          MemorySegment copy = a.allocate(PAGE_BYTES);
          if (Shim.readAll(memory, copy, page) && restore(copy, patches, page)) {
            image.replaced(page);
            replace(t, memory, copy, page);
          }
        });
        t.again();
      }
      if (memory >= 0) {
        Linux.close(memory);
      }
      return t != null;
    }
  }

  /**
   * Undoes those patches that are there; whether one was. Of a patch that goes beyond the page's
   * end, or began before it, what lies in the page.
   */
  static boolean restore(MemorySegment copy, List<ShimImage.Patch> patches, long page) {
    boolean any = false;
    for (ShimImage.Patch patch : patches) {
      byte[] done = patch.done().bytes();
      long at = patch.done().address() - page;
      int from = (int) Math.max(0, -at);
      int to = (int) Math.min(done.length, PAGE_BYTES - at);
      if (from >= to) {
        continue;
      }
      byte[] is = new byte[to - from];
      MemorySegment.copy(copy, ValueLayout.JAVA_BYTE, at + from, is, 0, is.length);
      if (Arrays.equals(is, Arrays.copyOfRange(done, from, to))) {
        MemorySegment.copy(
            patch.undone().bytes(), from, copy, ValueLayout.JAVA_BYTE, at + from, is.length);
        any = true;
      }
    }
    return any;
  }
}
