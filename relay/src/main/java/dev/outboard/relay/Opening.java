// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.channel.PlainText;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HexFormat;
import org.jspecify.annotations.Nullable;

/**
 * What the two ends of a connection say first: the host which stream it wants to begin or go on
 * with, the device what it has of it. All numbers are little-endian.
 *
 * <pre>
 *   from the host:   magic u32 "obln", lowest version u16, highest version u16,
 *                    kind u16 (1 begin, 2 go on, 3 status), zero u16, patience ms u32,
 *                    stream 16 bytes (go on; otherwise zeros), received u64
 *   from the device: magic u32, version u16, status u16, patience ms u32, length u16, zero u16,
 *                    stream 16 bytes, received u64, then so many bytes of UTF-8
 * </pre>
 *
 * <p>The fields before {@code kind} and {@code patience}, and that the text tells what is wrong if
 * the status is not zero, are the same in all versions.
 */
final class Opening {
  /** The versions of the records that this side speaks. */
  static final int LOWEST_VERSION = 1;

  static final int HIGHEST_VERSION = 2;

  /** From this version on there is {@link Kind#STATUS}. */
  static final int STATUS_VERSION = 2;

  static final int OK = 0;

  /** The two sides have no version in common. */
  static final int OTHER_VERSION = 1;

  /** There is no such stream, or not any more. */
  static final int NO_STREAM = 2;

  /** The device cannot serve one more, or nothing at all. */
  static final int NOT_NOW = 3;

  private static final int MAGIC = 0x6e6c_626f; // "obln"
  private static final int REQUEST_BYTES = 40;
  private static final int ANSWER_BYTES = 40;
  private static final int MAX_TEXT = 1024;
  private static final int ID_BYTES = 16;

  /** The id of a stream that is to begin. */
  static final String NONE = "0".repeat(2 * ID_BYTES);

  /** What a connection is for. */
  enum Kind {
    /** A new stream. */
    BEGIN(1),
    /** A stream that there is. */
    GO_ON(2),
    /** Questions about what the device does. */
    STATUS(3);

    private final int number;

    Kind(int number) {
      this.number = number;
    }

    private static @Nullable Kind of(int number) {
      for (Kind kind : values()) {
        if (kind.number == number) {
          return kind;
        }
      }
      return null;
    }
  }

  /**
   * @param stream 32 hexadecimal digits
   */
  record Request(
      int lowestVersion,
      int highestVersion,
      Kind kind,
      Duration patience,
      String stream,
      long received) {
    /** The highest version that both ends speak, or this end's if there is none. */
    int version() {
      return highestVersion < LOWEST_VERSION
          ? HIGHEST_VERSION
          : Math.min(highestVersion, HIGHEST_VERSION);
    }
  }

  /**
   * @param version that both speak, or the highest that the device does
   * @param text why not, if status is not {@link #OK}
   */
  record Answer(
      int version, int status, Duration patience, String stream, long received, String text) {}

  private Opening() {}

  static void send(Connection connection, Request request) throws IOException {
    ByteBuffer b = direct(REQUEST_BYTES);
    b.putInt(MAGIC);
    b.putShort((short) request.lowestVersion()).putShort((short) request.highestVersion());
    b.putShort((short) request.kind().number).putShort((short) 0);
    b.putInt((int) request.patience().toMillis());
    b.put(HexFormat.of().parseHex(request.stream())).putLong(request.received());
    connection.write(b.flip(), direct(0));
  }

  static Request receiveRequest(Connection connection) throws IOException {
    ByteBuffer b = receive(connection, REQUEST_BYTES);
    magic(b);
    int lowest = Short.toUnsignedInt(b.getShort());
    int highest = Short.toUnsignedInt(b.getShort());
    Kind kind = Kind.of(Short.toUnsignedInt(b.getShort()));
    int zero = b.getShort();
    Duration patience = Duration.ofMillis(Integer.toUnsignedLong(b.getInt()));
    String stream = id(b);
    long received = b.getLong();
    boolean known = kind != null && (kind != Kind.STATUS || highest >= STATUS_VERSION);
    if (lowest <= HIGHEST_VERSION && (!known || zero != 0)) {
      throw new IOException("it asks for what there is not");
    }
    // Of a version that this end does not know, whatever it asks for: it is refused.
    Kind wanted = kind == null ? Kind.BEGIN : kind;
    return new Request(lowest, highest, wanted, patience, stream, received);
  }

  static void send(Connection connection, Answer answer) throws IOException {
    byte[] text = answer.text().getBytes(StandardCharsets.UTF_8);
    int length = Math.min(text.length, MAX_TEXT);
    ByteBuffer b = direct(ANSWER_BYTES + length);
    b.putInt(MAGIC).putShort((short) answer.version()).putShort((short) answer.status());
    b.putInt((int) answer.patience().toMillis()).putShort((short) length).putShort((short) 0);
    b.put(HexFormat.of().parseHex(answer.stream())).putLong(answer.received());
    b.put(text, 0, length);
    connection.write(b.flip(), direct(0));
  }

  static Answer receiveAnswer(Connection connection) throws IOException {
    ByteBuffer b = receive(connection, ANSWER_BYTES);
    magic(b);
    int version = Short.toUnsignedInt(b.getShort());
    int status = b.getShort();
    Duration patience = Duration.ofMillis(Integer.toUnsignedLong(b.getInt()));
    int length = Short.toUnsignedInt(b.getShort());
    b.getShort();
    String stream = id(b);
    long received = b.getLong();
    if (length > MAX_TEXT) {
      throw new IOException("it gives a reason of " + length + " bytes");
    }
    byte[] text = new byte[length];
    receive(connection, length).get(text);
    String plain = PlainText.of(new String(text, StandardCharsets.UTF_8));
    return new Answer(version, status, patience, stream, received, plain);
  }

  private static void magic(ByteBuffer b) throws IOException {
    if (b.getInt() != MAGIC) {
      throw new IOException("it does not speak Outboard's protocol");
    }
  }

  private static String id(ByteBuffer b) {
    byte[] id = new byte[ID_BYTES];
    b.get(id);
    return HexFormat.of().formatHex(id);
  }

  /** So many bytes and no more: what follows is for others. */
  private static ByteBuffer receive(Connection connection, int bytes) throws IOException {
    ByteBuffer all = direct(bytes);
    while (all.hasRemaining()) {
      ByteBuffer some = connection.read();
      if (some == null) {
        throw new EOFException("the other side closed the connection");
      }
      int n = Math.min(some.remaining(), all.remaining());
      all.put(all.position(), some, some.position(), n);
      all.position(all.position() + n);
      some.position(some.position() + n);
    }
    return all.flip();
  }

  private static ByteBuffer direct(int bytes) {
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }
}
