// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Places in texts of files, as the dynamic linker's and libc's, that were patched in one process
 * and can be patched in the next before they trap there.
 *
 * <p>What {@link PatchSite} takes as proof that two bytes are a {@code syscall} instruction is that
 * it has trapped. Here it has trapped in another process; so a place is known together with the
 * whole page in which it lies, and only a page of exactly that content has it. Pages of one file
 * keep their distances, hence one that has been found leads to the others; each of them is compared
 * by itself. ADR 0056 argues it.
 *
 * <p>A program might jump to where two such bytes are a part of another instruction, and have that
 * learned. So places serve processes of the user of whose process they were learned, who could do
 * them any harm as it is; and those that were learned of root's serve all.
 *
 * <p>Bounded: when it is full, what is known is used and nothing is added. Any thread may call
 * everything; what it returns never changes.
 */
final class KnownPlaces {
  static final int PAGE_BYTES = 4096;

  private static final int ROOT = 0;
  private static final int MAX_PAGES = 512;
  private static final int MAX_COUNTED = 8192;

  /** A place that traps once in each process is worth a patch after so many. */
  private static final int OFTEN = 4;

  /**
   * @param offset of the return address in its page
   * @param number the call's
   */
  record Place(int offset, int number, PatchSite.Kind kind) {
    /** What {@link PatchSite#patch} looks at. */
    byte[] code(byte[] page) {
      return Arrays.copyOfRange(
          page, offset - PatchSite.BEFORE_BYTES, offset + PatchSite.AFTER_BYTES);
    }
  }

  /** A page with places. */
  static final class Page {
    private final Text text;
    private final long at;
    private final byte[] content;
    private final List<Place> places;

    private Page(Text text, long at, byte[] content, List<Place> places) {
      this.text = text;
      this.at = at;
      this.content = content;
      this.places = places;
    }

    /** Its offset from the beginning of its text, in bytes. */
    long at() {
      return at;
    }

    /** What it holds without any patch; not to be changed. */
    byte[] content() {
      return content;
    }

    List<Place> places() {
      return places;
    }

    /** Whether memory begins with just this content. */
    boolean is(MemorySegment memory) {
      return memory.asSlice(0, PAGE_BYTES).mismatch(MemorySegment.ofArray(content)) < 0;
    }
  }

  private record Key(int user, String file) {}

  /** The pages of one file; guarded by the object that knows it. */
  static final class Text {
    private final int user;
    private final Map<Long, Page> pages = new HashMap<>();

    private Text(int user) {
      this.user = user;
    }
  }

  private final Map<Key, Text> texts = new HashMap<>();
  private final Map<Integer, List<Page>> index = new HashMap<>();
  private final Map<Integer, Integer> counts = new HashMap<>();
  private int pageCount;

  private static int key(long back, int number) {
    return offset(back) << Short.SIZE | number;
  }

  /** Where in its page an address is. */
  static int offset(long address) {
    return (int) (address & (PAGE_BYTES - 1));
  }

  /** Whether all that is looked at of a place is in one page. */
  static boolean isWithinPage(long back) {
    int offset = offset(back);
    return offset >= PatchSite.BEFORE_BYTES && offset <= PAGE_BYTES - PatchSite.AFTER_BYTES;
  }

  /**
   * Counts a place's first trap in a process.
   *
   * @return whether it is worth a patch, though it may not trap again in this one: it is frequent,
   *     or may be known
   */
  synchronized boolean isWorthwhile(long back, int number) {
    if (counts.size() >= MAX_COUNTED) {
      counts.clear();
    }
    int key = key(back, number);
    return counts.merge(key, 1, Integer::sum) >= OFTEN || index.containsKey(key);
  }

  /**
   * Pages that may have that place; mostly none or one.
   *
   * @param user whose the process is: its effective user's number
   */
  synchronized List<Page> candidates(long back, int number, int user) {
    List<Page> all = index.getOrDefault(key(back, number), List.of());
    return all.stream().filter(p -> p.text.user == user || p.text.user == ROOT).toList();
  }

  /** All pages of the text of one that was found. */
  synchronized List<Page> pages(Page found) {
    return List.copyOf(found.text.pages.values());
  }

  /**
   * Adds a place.
   *
   * @param user whose the process is in which it was patched
   * @param file names the file, and no other that exists at the time
   * @param at the page's offset from the beginning of the text
   * @param content the page's, without any patch
   */
  synchronized void learn(int user, String file, long at, byte[] content, Place place) {
    Key key = new Key(user, file);
    Text text = texts.get(key);
    Page old = text == null ? null : text.pages.get(at);
    if (old == null && pageCount >= MAX_PAGES) {
      return;
    }
    List<Place> places = new ArrayList<>();
    if (old != null && Arrays.equals(old.content, content)) {
      if (old.places.contains(place)) {
        return;
      }
      places.addAll(old.places);
    } // Else the file has been changed.
    places.add(place);
    if (text == null) {
      text = new Text(user);
      texts.put(key, text);
    }
    Page page = new Page(text, at, content, List.copyOf(places));
    text.pages.put(at, page);
    forget(old);
    for (Place p : page.places) {
      index.merge(key(p.offset, p.number), List.of(page), KnownPlaces::join);
    }
    pageCount += old == null ? 1 : 0;
  }

  private void forget(@Nullable Page old) {
    if (old == null) {
      return;
    }
    for (Place p : old.places) {
      index.computeIfPresent(
          key(p.offset, p.number),
          (k, pages) -> {
            List<Page> left = new ArrayList<>(pages);
            left.remove(old);
            return left.isEmpty() ? null : List.copyOf(left);
          });
    }
  }

  private static List<Page> join(List<Page> a, List<Page> b) {
    List<Page> all = new ArrayList<>(a);
    all.addAll(b);
    return List.copyOf(all);
  }

  /**
   * A page as it is to be with patches.
   *
   * @param memory its present content
   * @return from and to where it changes: offsets in it
   */
  static int[] apply(MemorySegment memory, List<PatchSite.Write> writes, long page) {
    int from = PAGE_BYTES;
    int to = 0;
    for (PatchSite.Write w : writes) {
      int at = (int) (w.address() - page);
      w.to(memory, page);
      from = Math.min(from, at);
      to = Math.max(to, at + w.bytes().length);
    }
    return new int[] {from, to};
  }
}
