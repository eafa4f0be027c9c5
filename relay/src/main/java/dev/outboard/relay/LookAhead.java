// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Poll;
import dev.outboard.channel.Frame;
import dev.outboard.posix.Uninterrupted;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.PseudoCall;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BooleanSupplier;
import java.util.function.LongSupplier;
import java.util.function.ToLongFunction;
import org.jspecify.annotations.Nullable;

/**
 * Sends the host what has come for sockets that its programs read, before they ask for it. The
 * bytes stay in the sockets' queues until the host says that a program has received them.
 *
 * <p>A socket is looked at when it has an edge, when bytes of it were taken, and when a call wants
 * to know. One thread does all that, by one slot, socket after socket ({@link #serve}); readers of
 * wire and device hand over. The host's word is checked here: it takes no more than it was told.
 *
 * <p>Bounds: what a socket, and all together, may have told that is not taken ({@link
 * Frame.Looked}), and how many sockets wait to be served. A socket that finds no room because of
 * others is given up: its receives are calls then.
 */
final class LookAhead {
  /** What looks, takes and tells; {@link #due} may be called by any thread. */
  interface Looker {
    /** Makes a pseudo call and waits for it; its result. */
    long make(int number, int handle, long first, long second);

    /** The poll mask that came with the last result, or -1. */
    int mask();

    /** Where a look's bytes are. */
    MemorySegment data();

    void tell(Frame.Looked frame);

    /** All sockets that waited have been looked at: what was to go with what was found is to go. */
    void served();

    /** {@link LookAhead#serve} has something to do. */
    void due();
  }

  /** Some that the host does not look at any more may still be here. */
  private static final int MOST_FILES = 2 * Frame.Look.MOST_FILES;

  /** Less room than this is none: frames would become small. */
  private static final int LEAST_BYTES = 4096;

  private static final int READABLE = Poll.POLLIN | Poll.POLLRDNORM;

  /** What ends looking: the end of the stream, an error, urgent data. */
  private static final int ENDS = Poll.POLLRDHUP | Poll.POLLHUP | Poll.POLLERR | Poll.POLLPRI;

  private static final ByteBuffer NOTHING = ByteBuffer.allocate(0);

  /** A socket; all guarded by the LookAhead. */
  private static final class Watched {
    final int handle;
    final int generation;

    /** Told and not yet taken by the host; a part of it is {@link #toTake}. */
    int told;

    /** Taken by the host and not yet out of the socket's queue. */
    int toTake;

    boolean begun;
    boolean stopped;
    boolean ended;
    boolean queued;

    /** How many edges it had had when an edge last had it looked at; -1: none has. */
    int edges = -1;

    /** Of the requests that wait, the first one, and the first one of the host's; 0: none. */
    long first;

    long firstAsked;

    Watched(int handle, int generation) {
      this.handle = handle;
      this.generation = generation;
    }
  }

  private final Looker looker;

  // Guarded by this.
  private final Map<Integer, Watched> files = new HashMap<>();
  private final ArrayDeque<Watched> queue = new ArrayDeque<>();
  private long requests;
  private long asked;
  private long told;
  private long serving;
  private long servingAsked;
  private @Nullable Watched served;

  LookAhead(Looker looker) {
    this.looker = looker;
  }

  /** What the host says; null, or what is wrong with it. */
  synchronized @Nullable String look(Frame.Look frame) {
    Watched before = files.remove(frame.handle());
    if (before != null) {
      before.stopped = true;
      if (before.begun || before.equals(served)) {
        request(before, true);
      } else {
        // Nothing has been done for it, so nothing is to be undone. A host that begins and ends
        // faster than the device looks has no more here than the sockets that it may look at.
        queue.remove(before);
        notifyAll();
      }
    }
    if (frame.generation() == 0) {
      return null;
    }
    if (files.size() >= MOST_FILES) {
      return "the host looks ahead at too many sockets";
    }
    Watched w = new Watched(frame.handle(), frame.generation());
    files.put(w.handle, w);
    request(w, true);
    return null;
  }

  /** The same. */
  synchronized @Nullable String taken(Frame.Taken frame) {
    Watched w = files.get(frame.handle());
    if (w == null || w.generation != frame.generation() || frame.bytes() > w.told - w.toTake) {
      return "the host took bytes that it was not told";
    }
    w.toTake += frame.bytes();
    request(w, true);
    return null;
  }

  /**
   * Edges that the device has told.
   *
   * @return whether all of them are looked for now
   */
  synchronized boolean ready(List<Frame.Sample> samples) {
    boolean all = true;
    for (Frame.Sample s : samples) {
      all &= sampled(s.handle(), s.mask());
    }
    return all;
  }

  /** Whether it is looked for now. */
  private boolean sampled(int handle, int mask) {
    Watched w = files.get(handle);
    if (w == null || (mask & (READABLE | ENDS)) == 0) {
      return false;
    }
    // A SYNC tells edges again that were told as they came.
    int edges = PseudoCall.edges(mask);
    if (edges >= 0 && edges == w.edges) {
      return false;
    }
    w.edges = edges;
    request(w, false);
    return true;
  }

  /**
   * Has all sockets looked at that a SYNC has returned.
   *
   * @return what to {@link #await}
   */
  synchronized long changed(MemorySegment samples, long count) {
    long most = Math.min(count, samples.byteSize() / PseudoCall.SAMPLE_BYTES);
    for (long i = 0; i < most; i++) {
      long at = i * PseudoCall.SAMPLE_BYTES;
      sampled(
          samples.get(ValueLayout.JAVA_INT_UNALIGNED, at + PseudoCall.SAMPLE_HANDLE),
          samples.get(ValueLayout.JAVA_INT_UNALIGNED, at + PseudoCall.SAMPLE_MASK));
    }
    return requests;
  }

  /** Has one looked at; what to {@link #await}. */
  synchronized long changed(int handle) {
    Watched w = files.get(handle);
    if (w != null) {
      request(w, false);
    }
    return requests;
  }

  private void request(Watched w, boolean ofHost) {
    long number = ++requests;
    w.first = w.first == 0 ? number : w.first;
    if (ofHost) {
      asked = number;
      w.firstAsked = w.firstAsked == 0 ? number : w.firstAsked;
    }
    if (!w.queued) {
      w.queued = true;
      queue.add(w);
      looker.due();
    }
  }

  /** Whether nothing waits to be served: then there is nothing to {@link #awaitAsked}. */
  synchronized boolean isQuiet() {
    return queue.isEmpty() && serving == 0 && servingAsked == 0;
  }

  /** What to {@link #awaitAsked}. */
  synchronized long asked() {
    return asked;
  }

  /** Waits until all requests up to one are served: what they found has been told. */
  synchronized void await(long request, BooleanSupplier over) {
    await(request, over, () -> serving, w -> w.first);
  }

  /**
   * Waits until of all requests of the host up to one the bytes are out of the queues, and nothing
   * is looked at any more that it does not want looked at.
   */
  synchronized void awaitAsked(long request, BooleanSupplier over) {
    await(request, over, () -> servingAsked, w -> w.firstAsked);
  }

  private void await(
      long request, BooleanSupplier over, LongSupplier served, ToLongFunction<Watched> waiting) {
    Uninterrupted.waitUntil(
        this,
        () ->
            over.getAsBoolean()
                || (!upTo(served.getAsLong(), request)
                    && queue.stream().noneMatch(w -> upTo(waiting.applyAsLong(w), request))));
  }

  private static boolean upTo(long number, long request) {
    return number != 0 && number <= request;
  }

  /** Whoever waits may look whether it is to go on. */
  synchronized void wake() {
    notifyAll();
  }

  /** Serves all sockets that wait for it. The looker's thread. */
  void serve() {
    while (true) {
      Watched w;
      int take;
      synchronized (this) {
        w = queue.poll();
        if (w == null) {
          break;
        }
        w.queued = false;
        served = w;
        serving = w.first;
        servingAsked = w.firstAsked;
        w.first = 0;
        w.firstAsked = 0;
        take = w.toTake;
      }
      boolean goesOn = take == 0 || (take(w, take) && mayHaveMore());
      synchronized (this) {
        servingAsked = 0;
        notifyAll();
      }
      if (goesOn) {
        look(w);
      }
      synchronized (this) {
        served = null;
        serving = 0;
        if (w.stopped) {
          // Its room is for others; what is still to be taken counts until it is.
          told -= w.told - w.toTake;
          w.told = w.toTake;
        }
        if (w.ended && w.told == 0) {
          files.remove(w.handle, w);
        }
        notifyAll();
      }
    }
    looker.served();
  }

  /** Of the socket of the last call, which is watched: what comes later is an edge. */
  private boolean mayHaveMore() {
    int mask = looker.mask();
    return mask == -1 || (mask & (READABLE | ENDS)) != 0;
  }

  private boolean take(Watched w, int count) {
    long r = looker.make(PseudoCall.TAKE, w.handle, count, 0);
    synchronized (this) {
      w.toTake -= count;
      w.told -= count;
      told -= count;
    }
    if (r != count) {
      end(w, true, r < 0 ? (int) -r : Errno.EIO);
    }
    return r == count;
  }

  private void look(Watched w) {
    if (stopped(w)) {
      return;
    }
    boolean answered = w.begun;
    if (!w.begun) {
      synchronized (this) {
        w.begun = true;
      }
      long r = looker.make(PseudoCall.WATCH, w.handle, 1, 0);
      if (r < 0) {
        end(w, true, 0);
        return;
      }
    }
    while (true) {
      int over;
      int room;
      synchronized (this) {
        over = w.told;
        room = (int) Math.min(Frame.Looked.FILE_BYTES - w.told, Frame.Looked.SESSION_BYTES - told);
      }
      if (stopped(w)) {
        return;
      }
      if (room < LEAST_BYTES) {
        // Others have all the room; for what is not there none is needed.
        if (over == 0
            && (looker.make(PseudoCall.SAMPLE, w.handle, 0, 0) & (READABLE | ENDS)) != 0) {
          end(w, false, 0);
        } else if (!answered) {
          tellThatNothingCame(w);
        }
        return;
      }
      int most = Math.min(room, Call.PIECE_BYTES);
      long r = looker.make(PseudoCall.LOOK, w.handle, over, most);
      if (r > 0) {
        tell(w, (int) Math.min(r, most));
        answered = true;
      } else if (r < 0) {
        // A kernel that can only look from a queue's start is asked again when that is reached.
        if (over == 0 || r != -Errno.EOPNOTSUPP) {
          end(w, true, 0);
        }
        return;
      }
      int mask = looker.mask();
      boolean ends = mask == -1 || (mask & ENDS) != 0;
      if (r == 0 && ends) {
        end(w, true, 0);
        return;
      }
      if (r < most && !ends) {
        if (!answered) {
          tellThatNothingCame(w);
        }
        return;
      }
    }
  }

  private void tell(Watched w, int bytes) {
    ByteBuffer all = looker.data().asSlice(0, bytes).asByteBuffer();
    for (int at = 0; at < bytes; ) {
      int part = Math.min(bytes - at, Frame.Looked.MAX_BYTES);
      synchronized (this) {
        if (w.stopped) {
          return;
        }
        w.told += part;
        told += part;
      }
      looker.tell(new Frame.Looked(w.handle, w.generation, false, false, 0, all.slice(at, part)));
      at += part;
    }
  }

  /** The host is to know that it is looked at. */
  private void tellThatNothingCame(Watched w) {
    looker.tell(new Frame.Looked(w.handle, w.generation, false, false, 0, NOTHING));
  }

  private void end(Watched w, boolean never, int errno) {
    w.ended = true;
    looker.tell(new Frame.Looked(w.handle, w.generation, true, never, errno, NOTHING));
  }

  private synchronized boolean stopped(Watched w) {
    return w.stopped || w.ended;
  }
}
