// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import dev.outboard.channel.Decoded.Malformed;
import dev.outboard.channel.Decoded.Received;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * Frames to bytes and back: the one place where kind numbers and layouts are.
 *
 * <p>A frame is a header of 8 bytes and a body; all numbers are little-endian:
 *
 * <pre>
 *   0         4      6      8
 *   +---------+------+------+-------------------+
 *   | length  | kind | zero | body              |
 *   +---------+------+------+-------------------+
 * </pre>
 *
 * <p>{@code length} counts the header and is at most {@link #MAX_BYTES}. A string is a u16 length
 * and that many bytes of UTF-8. A body must have exactly the length that its contents say; nothing
 * is looked at before it is known to be there. Errors are values ({@link Malformed}).
 */
public final class FrameCodec {
  /** The longest frame, header included. */
  public static final int MAX_BYTES = 64 * 1024;

  public static final int HEADER_BYTES = 8;

  /** The versions that this side speaks. */
  public static final int LOWEST_VERSION = 3;

  public static final int HIGHEST_VERSION = 8;

  /** From this version on, bytes may be sent ahead over a stream. */
  public static final int AHEAD_VERSION = 4;

  /** From this version on, bytes may be looked at ahead of their receive over a stream. */
  public static final int LOOK_VERSION = 5;

  /** From this version on, a call over a stream says how far its data go. */
  public static final int EXTENT_VERSION = 6;

  /**
   * From this version on, options and closes may go ahead over a stream, an open brings the file's
   * attributes, and a sendfile says what would come of the next one.
   */
  public static final int CERTAIN_VERSION = 7;

  /** From this version on, options may stand in the ring of a lent slot. */
  public static final int RING_OPTIONS_VERSION = 8;

  /** From this version on, a device says whether names may be asked of nobody but it. */
  public static final int NAMES_VERSION = 8;

  /** The most samples that one Ready frame carries. */
  public static final int MAX_SAMPLES = 1024;

  /** The longest string, in bytes; a longer one is cut when it is sent. */
  public static final int MAX_STRING_BYTES = 16 * 1024;

  private static final int MAX_NOTICES = 16;
  private static final int MAGIC = 0x6472_626f; // "obrd"

  private static final int HELLO = 1;
  private static final int WELCOME = 2;
  private static final int ATTACH = 3;
  private static final int ATTACHED = 4;
  private static final int DETACH = 5;
  private static final int DETACHED = 6;
  private static final int INTERRUPT = 7;
  private static final int READY = 8;
  private static final int NOTICE = 9;
  private static final int COUNTS_REQUEST = 10;
  private static final int COUNTS = 11;
  private static final int PING = 12;
  private static final int PONG = 13;
  private static final int BYE = 14;
  private static final int AHEAD = 19;
  private static final int DONE = 20;
  private static final int LOOK = 21;
  private static final int LOOKED = 22;
  private static final int TAKEN = 23;

  /** Attach: the slot is for the program itself. */
  private static final int LENT = 1;

  private static final int OWN_NAMES = 1;

  /** Ahead: nothing else of the slot's is on its way. */
  private static final int FIRST = 1;

  /** Ahead: the stream ends behind the bytes. */
  private static final int END = 2;

  /** Ahead: an option is set to the bytes. */
  private static final int OPTION = 4;

  /** Ahead: the handle is closed. */
  private static final int CLOSE = 8;

  /** Looked: no more will be told. */
  private static final int LAST = 1;

  /** Looked: nor is it of use to ask again. */
  private static final int NEVER = 2;

  private FrameCodec() {}

  /** A buffer that holds any frame. */
  public static ByteBuffer newBuffer() {
    return ByteBuffer.allocate(MAX_BYTES).order(ByteOrder.LITTLE_ENDIAN);
  }

  /**
   * Writes a frame at the start of {@code to} and flips it.
   *
   * @throws IllegalArgumentException if the frame is longer than {@link #MAX_BYTES}: our bug
   */
  public static void encode(Frame frame, ByteBuffer to) {
    to.clear();
    to.putInt(0).putInt(0);
    int kind =
        switch (frame) {
          case Frame.Hello f -> {
            to.putInt(MAGIC);
            to.putShort((short) f.lowestVersion()).putShort((short) f.highestVersion());
            to.putInt(f.slots());
            putString(to, f.client());
            yield HELLO;
          }
          case Welcome f -> {
            to.putInt(MAGIC);
            to.putShort((short) f.version()).putShort((short) f.notices().size());
            to.putInt(f.slots()).putLong(f.slotBytes());
            putString(to, f.kernel());
            putString(to, f.release());
            putString(to, f.system());
            putString(to, f.resolvConf());
            if (f.notices().size() > MAX_NOTICES) {
              throw new IllegalArgumentException("more than " + MAX_NOTICES + " notices");
            }
            if (f.devicePaths().size() > DevicePaths.MAX_PATHS
                || !f.devicePaths().stream().allMatch(DevicePaths::valid)) {
              throw new IllegalArgumentException("device paths " + f.devicePaths());
            }
            to.putShort((short) f.devicePaths().size());
            for (String path : f.devicePaths()) {
              putString(to, path);
            }
            for (String notice : f.notices()) {
              putString(to, notice);
            }
            if (f.version() >= NAMES_VERSION) {
              to.putInt(f.ownNames() ? OWN_NAMES : 0);
            }
            yield WELCOME;
          }
          case Frame.Attach f -> {
            to.putLong(f.id()).putInt(f.pid()).putInt(f.tid()).putInt(f.likeSlot());
            to.putInt(f.lent() ? LENT : 0);
            f.credentials().encode(to);
            yield ATTACH;
          }
          case Frame.Attached f -> {
            to.putLong(f.id()).putInt(f.slot());
            yield ATTACHED;
          }
          case Frame.Detach f -> {
            to.putInt(f.slot());
            yield DETACH;
          }
          case Frame.Detached f -> {
            to.putInt(f.slot());
            yield DETACHED;
          }
          case Frame.Interrupt f -> {
            to.putInt(f.slot()).putInt(f.sequence());
            yield INTERRUPT;
          }
          case Frame.Ready f -> {
            if (f.samples().size() > MAX_SAMPLES) {
              throw new IllegalArgumentException("more than " + MAX_SAMPLES + " samples");
            }
            for (Frame.Sample s : f.samples()) {
              to.putInt(s.handle()).putInt(s.mask()).putLong(s.stamp());
            }
            yield READY;
          }
          case Frame.Notice f -> {
            putString(to, f.line());
            yield NOTICE;
          }
          case Frame.CountsRequest f -> {
            to.putLong(f.id());
            yield COUNTS_REQUEST;
          }
          case Frame.Counts f -> {
            DeviceCounts c = f.counts();
            to.putLong(f.id());
            to.putInt(c.sessions()).putInt(c.slots()).putInt(c.handles()).putInt(c.watched());
            to.putInt(c.tasks()).putInt(c.threads()).putInt(c.descriptors()).putInt(0);
            to.putLong(c.calls()).putLong(c.interrupts());
            yield COUNTS;
          }
          case Frame.Ping f -> {
            to.putLong(f.id());
            yield PING;
          }
          case Frame.Pong f -> {
            to.putLong(f.id());
            yield PONG;
          }
          case Frame.Bye f -> {
            putString(to, f.why());
            yield BYE;
          }
          case Frame.Ahead f -> {
            int count = f.bytes().remaining();
            putAhead(f.slot(), f.first(), f.kind(), f.handle(), f.flags(), count, to);
            to.put(f.bytes().duplicate());
            yield AHEAD;
          }
          case Frame.Done f -> {
            to.putInt(f.slot()).putInt(f.bytes()).putInt(f.frames()).putInt(f.errno());
            yield DONE;
          }
          case Frame.Look f -> {
            to.putInt(f.slot()).putInt(f.handle()).putInt(f.generation());
            yield LOOK;
          }
          case Frame.Looked f -> {
            to.putInt(f.handle()).putInt(f.generation());
            to.putInt((f.end() ? LAST : 0) | (f.never() ? NEVER : 0)).putInt(f.errno());
            to.putInt(f.bytes().remaining());
            to.put(f.bytes().duplicate());
            yield LOOKED;
          }
          case Frame.Taken f -> {
            to.putInt(f.slot()).putInt(f.handle()).putInt(f.generation()).putInt(f.bytes());
            yield TAKEN;
          }
          case ServiceFrame f -> ServiceCodec.encode(f, to);
          case Frame.Unknown f ->
              throw new IllegalArgumentException("kind " + f.kind() + " is not ours to send");
        };
    to.putInt(0, to.position());
    to.putShort(4, (short) kind);
    to.flip();
  }

  /**
   * Writes all of a {@link Frame.Ahead} of kind BYTES but its bytes, which are to follow, behind
   * what is in a buffer.
   *
   * @param count how many there will be, at most {@link Frame.Ahead#MAX_BYTES}
   */
  public static void beginAhead(
      int slot, boolean first, int handle, int flags, int count, ByteBuffer to) {
    int start = to.position();
    to.putInt(0).putShort((short) AHEAD).putShort((short) 0);
    putAhead(slot, first, Frame.Ahead.Kind.BYTES, handle, flags, count, to);
    to.putInt(start, to.position() - start + count);
  }

  private static void putAhead(
      int slot,
      boolean first,
      Frame.Ahead.Kind kind,
      int handle,
      int flags,
      int count,
      ByteBuffer to) {
    to.putInt(slot).putInt((first ? FIRST : 0) | bits(kind));
    to.putInt(handle).putInt(flags).putInt(count);
  }

  /**
   * The length that a header announces, if it is one that a frame may have.
   *
   * @param header a buffer whose next {@link #HEADER_BYTES} are a frame's header; not consumed
   * @return the frame's length, header included, or -1
   */
  public static int length(ByteBuffer header) {
    int length = header.getInt(header.position());
    return length >= HEADER_BYTES && length <= MAX_BYTES ? length : -1;
  }

  /** Reads the frame that {@code from} holds: exactly one, from position to limit. */
  public static Decoded decode(ByteBuffer from) {
    if (from.remaining() < HEADER_BYTES) {
      return new Malformed("a frame of " + from.remaining() + " bytes has no header");
    }
    int length = from.getInt();
    int kind = Short.toUnsignedInt(from.getShort());
    int zero = from.getShort();
    if (length != from.remaining() + HEADER_BYTES) {
      return new Malformed(
          "a frame says " + length + " bytes and has " + (from.remaining() + HEADER_BYTES));
    }
    if (zero != 0) {
      return new Malformed("a frame of kind " + kind + " has bits in its reserved field");
    }
    Reader in = new Reader(from);
    Frame frame =
        switch (kind) {
          case HELLO -> hello(in);
          case WELCOME -> welcome(in);
          case ATTACH -> attach(in);
          case ATTACHED -> new Frame.Attached(in.u64(), in.i32());
          case DETACH -> new Frame.Detach(in.i32());
          case DETACHED -> new Frame.Detached(in.i32());
          case INTERRUPT -> new Frame.Interrupt(in.i32(), in.i32());
          case READY -> ready(in);
          case NOTICE -> new Frame.Notice(in.string());
          case COUNTS_REQUEST -> new Frame.CountsRequest(in.u64());
          case COUNTS -> counts(in);
          case PING -> new Frame.Ping(in.u64());
          case PONG -> new Frame.Pong(in.u64());
          case BYE -> new Frame.Bye(in.string());
          case AHEAD -> ahead(in);
          case DONE -> done(in);
          case LOOK -> look(in);
          case LOOKED -> looked(in);
          case TAKEN -> taken(in);
          default -> {
            if (ServiceCodec.knows(kind)) {
              yield ServiceCodec.decode(kind, in);
            }
            in.skipAll();
            yield new Frame.Unknown(kind, length);
          }
        };
    if (!in.good) {
      return new Malformed("a frame of kind " + kind + " with " + length + " bytes is cut short");
    }
    if (from.hasRemaining()) {
      return new Malformed(
          "a frame of kind " + kind + " has " + from.remaining() + " bytes too many");
    }
    return new Received(frame);
  }

  private static Frame hello(Reader in) {
    in.magic();
    return new Frame.Hello(in.u16(), in.u16(), in.i32(), in.string());
  }

  private static Frame welcome(Reader in) {
    in.magic();
    int version = in.u16();
    int noticeCount = in.u16();
    int slots = in.i32();
    long slotBytes = in.u64();
    String kernel = in.string();
    String release = in.string();
    String system = in.string();
    String resolvConf = in.string();
    int pathCount = in.u16();
    if (noticeCount > MAX_NOTICES || pathCount > DevicePaths.MAX_PATHS) {
      in.good = false;
    }
    List<String> paths = new ArrayList<>();
    for (int i = 0; in.good && i < pathCount; i++) {
      String path = in.string();
      in.good &= DevicePaths.valid(path);
      paths.add(path);
    }
    List<String> notices = new ArrayList<>();
    for (int i = 0; in.good && i < noticeCount; i++) {
      notices.add(in.string());
    }
    int flags = version >= NAMES_VERSION ? in.i32() : 0;
    in.good &= (flags & ~OWN_NAMES) == 0;
    return new Welcome(
        version, slots, slotBytes, kernel, release, system, resolvConf, paths, notices, flags != 0);
  }

  private static Frame attach(Reader in) {
    long id = in.u64();
    int pid = in.i32();
    int tid = in.i32();
    int like = in.i32();
    int flags = in.i32();
    in.good &= (flags & ~LENT) == 0;
    return new Frame.Attach(id, pid, tid, like, (flags & LENT) != 0, in.credentials());
  }

  private static Frame ahead(Reader in) {
    int slot = in.i32();
    int flags = in.i32();
    int handle = in.i32();
    int messageFlags = in.i32();
    ByteBuffer bytes = in.bytes(in.i32());
    Frame.Ahead.Kind kind =
        switch (flags & ~FIRST) {
          case END -> Frame.Ahead.Kind.END;
          case OPTION -> Frame.Ahead.Kind.OPTION;
          case CLOSE -> Frame.Ahead.Kind.CLOSE;
          default -> Frame.Ahead.Kind.BYTES;
        };
    in.good &= slot >= 0 && (flags & ~FIRST) == bits(kind);
    in.good &=
        switch (kind) {
          case BYTES -> bytes.hasRemaining();
          case END -> true;
          case OPTION -> bytes.remaining() == Integer.BYTES && Frame.Ahead.isOption(messageFlags);
          case CLOSE -> !bytes.hasRemaining() && messageFlags == 0;
        };
    return new Frame.Ahead(slot, (flags & FIRST) != 0, kind, handle, messageFlags, bytes);
  }

  private static int bits(Frame.Ahead.Kind kind) {
    return switch (kind) {
      case BYTES -> 0;
      case END -> END;
      case OPTION -> OPTION;
      case CLOSE -> CLOSE;
    };
  }

  private static Frame done(Reader in) {
    Frame.Done done = new Frame.Done(in.i32(), in.i32(), in.i32(), in.i32());
    in.good &= done.slot() >= 0 && done.bytes() >= 0 && done.frames() >= 0 && done.errno() >= 0;
    return done;
  }

  private static Frame look(Reader in) {
    Frame.Look look = new Frame.Look(in.i32(), in.i32(), in.i32());
    in.good &= look.slot() >= 0 && look.generation() >= 0;
    return look;
  }

  private static Frame looked(Reader in) {
    int handle = in.i32();
    int generation = in.i32();
    int flags = in.i32();
    int errno = in.i32();
    ByteBuffer bytes = in.bytes(in.i32());
    in.good &= (flags & ~(LAST | NEVER)) == 0 && generation > 0 && errno >= 0;
    return new Frame.Looked(
        handle, generation, (flags & LAST) != 0, (flags & NEVER) != 0, errno, bytes);
  }

  private static Frame taken(Reader in) {
    Frame.Taken taken = new Frame.Taken(in.i32(), in.i32(), in.i32(), in.i32());
    in.good &= taken.slot() >= 0 && taken.generation() > 0 && taken.bytes() > 0;
    return taken;
  }

  private static Frame ready(Reader in) {
    int count = in.remaining() / 16;
    if (in.remaining() % 16 != 0 || count > MAX_SAMPLES) {
      in.good = false;
      return new Frame.Ready(List.of());
    }
    List<Frame.Sample> samples = new ArrayList<>(count);
    for (int i = 0; i < count; i++) {
      samples.add(new Frame.Sample(in.i32(), in.i32(), in.u64()));
    }
    return new Frame.Ready(samples);
  }

  private static Frame counts(Reader in) {
    long id = in.u64();
    int sessions = in.i32();
    int slots = in.i32();
    int handles = in.i32();
    int watched = in.i32();
    int tasks = in.i32();
    int threads = in.i32();
    int descriptors = in.i32();
    in.i32();
    return new Frame.Counts(
        id,
        new DeviceCounts(
            sessions, slots, handles, watched, tasks, threads, descriptors, in.u64(), in.u64()));
  }

  static void putString(ByteBuffer to, String s) {
    byte[] bytes = s.getBytes(StandardCharsets.UTF_8);
    int length = bytes.length;
    if (length > MAX_STRING_BYTES) {
      length = MAX_STRING_BYTES;
      // Not in the middle of a character: continuation bytes are 10xxxxxx.
      while (length > 0 && (bytes[length] & 0xc0) == 0x80) {
        length--;
      }
    }
    to.putShort((short) length).put(bytes, 0, length);
  }

  /** Takes fields from a body; once one is not there, all are zero and {@code good} is false. */
  static final class Reader {
    private final ByteBuffer from;
    boolean good = true;

    Reader(ByteBuffer from) {
      this.from = from;
    }

    private boolean has(int bytes) {
      good &= from.remaining() >= bytes;
      return good;
    }

    int remaining() {
      return from.remaining();
    }

    void magic() {
      good &= i32() == MAGIC;
    }

    int u16() {
      return has(2) ? Short.toUnsignedInt(from.getShort()) : 0;
    }

    int i32() {
      return has(4) ? from.getInt() : 0;
    }

    long u64() {
      return has(8) ? from.getLong() : 0;
    }

    String string() {
      int length = u16();
      if (!good || length > MAX_STRING_BYTES || !has(length)) {
        good = false;
        return "";
      }
      ByteBuffer bytes = from.slice(from.position(), length);
      from.position(from.position() + length);
      try {
        return StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
      } catch (CharacterCodingException e) {
        good = false;
        return "";
      }
    }

    Credentials credentials() {
      Credentials credentials = good ? Credentials.decode(from) : null;
      if (credentials == null) {
        good = false;
        return Credentials.user(-1, -1);
      }
      return credentials;
    }

    /** A view of the next bytes. */
    ByteBuffer bytes(int count) {
      if (!good || count < 0 || !has(count)) {
        good = false;
        return from.slice(from.position(), 0);
      }
      ByteBuffer bytes = from.slice(from.position(), count);
      from.position(from.position() + count);
      return bytes;
    }

    void skipAll() {
      from.position(from.limit());
    }
  }
}
